//! A request that waits.

use super::{Reason, Reply, Route, TokenSource};
use crate::session::SessionCredential;

/// A request that waits, with all that is needed to proceed with it. Proceeding consumes it.
#[derive(Debug)]
pub(super) struct WaitingRequest {
    route: Route,
    wait_for: WaitFor,
}

/// What a request waits for.
pub(super) enum WaitFor {
    /// Keys.
    Keys(KeyWait),
    /// The resolver's verdict on this credential.
    Session(SessionCredential),
}

/// A token that waits for its key.
pub(super) struct KeyWait {
    pub(super) token: Vec<u8>,
    pub(super) source: TokenSource,
    pub(super) session_first: Option<SessionCredential>,
    pub(super) fallback: Option<SessionCredential>,
}

impl WaitingRequest {
    pub(super) fn new(route: Route, wait_for: WaitFor) -> Self {
        Self { route, wait_for }
    }

    /// Keeps what Envoy calls it.
    pub(super) fn keep_id(&mut self, request_id: Option<&str>) {
        self.route.request_id = request_id.map(Box::from);
    }

    /// What it waits for.
    pub(super) fn wait_for(&self) -> &WaitFor {
        &self.wait_for
    }

    /// The index of the project whose keys or verdict it waits for.
    pub(super) fn project(&self) -> usize {
        self.route.project
    }

    /// Ends it with this reason: too many requests wait, or it has waited long enough.
    pub(super) fn give_up(self, reason: Reason) -> Reply {
        self.route.reply(reason)
    }

    pub(super) fn resume(self) -> (Route, WaitFor) {
        (self.route, self.wait_for)
    }
}

impl std::fmt::Debug for WaitFor {
    /// Without the secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Keys(_) => "Keys",
            Self::Session(_) => "Session",
        })
    }
}
