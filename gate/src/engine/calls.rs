//! The calls that are under way: what each is for, and when its answer is lost.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::callout::Call;
use crate::jwks::{self, FetchId};
use crate::per_project::PerProject;
use crate::session::{Question, SessionCounts, SessionCredential};
use crate::time::Ticks;

/// How much longer than its timeout a call, and whoever waits for it, may take: the host enforces the timeout.
pub(super) const CALL_GRACE: Duration = Duration::from_millis(500);

/// How many calls may be given up at once.
const MAX_GIVEN_UP: usize = 1_024;

/// A call that the host is to make now. The host reports to
/// [`Engine::handle_dispatched`](super::Engine::handle_dispatched) whether it has made it.
#[derive(Debug)]
pub struct OutgoingCall {
    /// The call.
    pub call: Call,
    pub(super) purpose: Purpose,
}

/// What a call is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Keys {
        project: usize,
        fetch: FetchId,
    },
    Session {
        project: usize,
        credential: SessionCredential,
        /// What this worker has a lease on, if workers share.
        question: Option<Question>,
    },
}

impl Purpose {
    /// Whose call it is.
    pub(super) fn project(&self) -> usize {
        let (Self::Keys { project, .. } | Self::Session { project, .. }) = self;
        *project
    }

    /// The longest body that is read, in bytes. The resolver's is empty.
    pub(super) fn max_body_bytes(&self) -> usize {
        match self {
            Self::Keys { .. } => jwks::MAX_BODY_BYTES,
            Self::Session { .. } => 0,
        }
    }
}

/// The calls that are under way, by the host's tokens.
#[derive(Debug, Default)]
pub(super) struct Calls {
    under_way: HashMap<u32, UnderWay>,
    /// By the moment after which their answers are lost: the SDK drops those to streams that have ended.
    lost: BTreeSet<(Ticks, u32)>,
    /// How many of them are for one session.
    sessions: SessionCounts,
    /// How many of them are one project's.
    projects: PerProject<usize>,
}

#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) purpose: Purpose,
    pub(super) since: Ticks,
    until: Ticks,
}

impl Calls {
    pub(super) fn insert(&mut self, token: u32, purpose: Purpose, timeout: Duration, now: Ticks) {
        self.remove(token);
        let until = now.after(timeout).after(CALL_GRACE);
        self.lost.insert((until, token));
        self.projects.change(purpose.project(), |calls| {
            *calls = calls.saturating_add(1);
        });
        if let Purpose::Session {
            project,
            credential,
            ..
        } = &purpose
        {
            self.sessions.add(*project, credential);
        }
        let under_way = UnderWay {
            purpose,
            since: now,
            until,
        };
        self.under_way.insert(token, under_way);
    }

    pub(super) fn remove(&mut self, token: u32) -> Option<UnderWay> {
        let under_way = self.under_way.remove(&token)?;
        self.lost.remove(&(under_way.until, token));
        self.projects.change(under_way.purpose.project(), |calls| {
            *calls = calls.saturating_sub(1);
        });
        if let Purpose::Session {
            project,
            credential,
            ..
        } = &under_way.purpose
        {
            self.sessions.remove(*project, credential);
        }
        Some(under_way)
    }

    pub(super) fn purpose(&self, token: u32) -> Option<&Purpose> {
        Some(&self.under_way.get(&token)?.purpose)
    }

    /// Gives up calls whose answers are lost: at most [`MAX_GIVEN_UP`].
    pub(super) fn give_up_lost(&mut self, now: Ticks) {
        for _ in 0..MAX_GIVEN_UP {
            let first = self.lost.first().copied();
            let Some((_, token)) = first.filter(|(until, _)| *until <= now) else {
                break;
            };
            self.remove(token);
        }
    }

    /// How many are for one session of this credential's.
    pub(super) fn for_session(&self, project: usize, credential: &SessionCredential) -> usize {
        self.sessions.most(project, credential)
    }

    /// How many are this project's.
    pub(super) fn of(&self, project: usize) -> usize {
        self.projects.get(project)
    }
}
