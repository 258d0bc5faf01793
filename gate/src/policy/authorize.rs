//! Whether a principal may pass.

use super::condition::{Unmet, check};
use super::rule::{Require, Requirement};
use crate::principal::{Principal, Subject};

/// The result of authentication, as authorisation needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Authenticated<'p> {
    /// This principal was authenticated.
    Principal(&'p Principal),
    /// There is no valid credential. `deliberate`: the client presented a token on purpose, and it is invalid.
    Nobody {
        /// A request with such a token never passes as anonymous.
        deliberate: bool,
    },
}

/// A request that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// As the principal.
    Principal,
    /// Without a principal.
    Anonymous,
}

/// Why a request may not pass.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The rule requires a user, and nobody was authenticated.
    #[error("unauthenticated")]
    Unauthenticated,
    /// The rule requires a user, and a machine was authenticated.
    #[error("not_a_user")]
    NotAUser,
    /// The rule requires a machine, and a user was authenticated, or a client that does not say which.
    #[error("not_a_machine")]
    NotAMachine,
    /// A condition does not hold.
    #[error("condition_not_met")]
    Unmet(Unmet),
}

/// Whether a requirement lets somebody pass. `unix`: now.
///
/// # Errors
/// [`Denial`], with its reason.
pub(crate) fn authorize(
    who: Authenticated<'_>,
    requirement: &Requirement,
    unix: u64,
) -> Result<Permit, Denial> {
    let principal = match (requirement.require, who) {
        (Require::None, _) | (Require::Optional, Authenticated::Nobody { deliberate: false }) => {
            return Ok(Permit::Anonymous);
        }
        (_, Authenticated::Nobody { .. }) => return Err(Denial::Unauthenticated),
        (_, Authenticated::Principal(principal)) => principal,
    };
    match (requirement.require, principal.subject()) {
        (Require::Optional, Subject::User(_)) => return Ok(Permit::Principal),
        // Where anybody may pass, a machine passes without a principal.
        (Require::Optional, Subject::Machine(_)) => return Ok(Permit::Anonymous),
        (require, Subject::User(_)) if !require.takes_users() => return Err(Denial::NotAMachine),
        (require, Subject::Machine(_)) if !require.takes_machines() => {
            return Err(Denial::NotAUser);
        }
        (_, Subject::Machine(None)) => return Err(Denial::NotAMachine),
        (_, Subject::User(_) | Subject::Machine(Some(_))) => {}
    }
    check(&requirement.allow, principal, unix).map_err(Denial::Unmet)?;
    Ok(Permit::Principal)
}
