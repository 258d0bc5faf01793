//! A request that waits.

use super::{Place, Reason, Reply, Route};
use crate::session::SessionCredential;

/// A request that waits, and all that is needed to go on with it. Going on uses it up.
#[derive(Debug)]
pub(super) struct Pending {
    route: Route,
    need: Need,
}

/// What a request waits for.
pub(super) enum Need {
    /// Keys.
    Keys(KeyWait),
    /// The resolver's verdict on this credential.
    Session(SessionCredential),
}

/// A token that waits for its key.
pub(super) struct KeyWait {
    pub(super) token: Vec<u8>,
    pub(super) place: Place,
    pub(super) session_first: Option<SessionCredential>,
    pub(super) fallback: Option<SessionCredential>,
}

impl Pending {
    pub(super) fn new(route: Route, need: Need) -> Self {
        Self { route, need }
    }

    /// What it waits for.
    pub(super) fn need(&self) -> &Need {
        &self.need
    }

    /// The place of the project whose keys or verdict it waits for.
    pub(super) fn project(&self) -> usize {
        self.route.project
    }

    /// Gives it up: there is no room to wait, or it has waited long enough.
    pub(super) fn give_up(self, reason: Reason) -> Reply {
        Reply::new(reason, self.route.grpc)
    }

    pub(super) fn resume(self) -> (Route, Need) {
        (self.route, self.need)
    }
}

impl std::fmt::Debug for Need {
    /// Without the secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Keys(_) => "Keys",
            Self::Session(_) => "Session",
        })
    }
}
