//! A request that waits.

use super::project::TokenCase;
use super::{Place, Reason, Reply, Scene};
use crate::config::Requirement;
use crate::session::SessionCredential;
use crate::time::Now;

/// A request that waits, and all that is needed to go on with it. Going on uses it up.
#[derive(Debug)]
pub(super) struct Pending {
    requirement: Requirement,
    project: usize,
    grpc: bool,
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
    pub(super) fn for_keys(scene: &Scene, case: TokenCase<'_>) -> Self {
        let wait = KeyWait {
            token: case.token.to_vec(),
            place: case.place,
            session_first: case.session_first,
            fallback: case.fallback,
        };
        Self::new(scene, Need::Keys(wait))
    }

    pub(super) fn for_session(scene: &Scene, credential: SessionCredential) -> Self {
        Self::new(scene, Need::Session(credential))
    }

    fn new(scene: &Scene, need: Need) -> Self {
        Self {
            requirement: scene.requirement.clone(),
            project: scene.project,
            grpc: scene.grpc,
            need,
        }
    }

    /// What it waits for.
    pub(super) fn need(&self) -> &Need {
        &self.need
    }

    /// The place of the project whose keys or verdict it waits for.
    pub(super) fn project(&self) -> usize {
        self.project
    }

    /// Gives it up: there is no room to wait, or it has waited long enough.
    pub(super) fn give_up(self, reason: Reason) -> Reply {
        Reply::new(reason, self.grpc)
    }

    pub(super) fn resume(self, now: Now) -> (Scene, Need) {
        let scene = Scene {
            requirement: self.requirement,
            project: self.project,
            grpc: self.grpc,
            now,
        };
        (scene, self.need)
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
