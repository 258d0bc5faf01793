//! Whether a principal may pass.

use super::rule::{Require, Requirement};
use crate::principal::Principal;

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
}

/// Whether a requirement lets somebody pass.
///
/// # Errors
/// [`Denial`], with its reason.
pub(crate) fn authorize(
    who: Authenticated<'_>,
    requirement: &Requirement,
) -> Result<Permit, Denial> {
    match (requirement.require, who) {
        (Require::None, _) => Ok(Permit::Anonymous),
        (_, Authenticated::Principal(principal)) if principal.user().is_some() => {
            Ok(Permit::Principal)
        }
        // Where anybody may pass, a machine passes without a principal.
        (Require::Optional, Authenticated::Principal(_))
        | (Require::Optional, Authenticated::Nobody { deliberate: false }) => Ok(Permit::Anonymous),
        (Require::User, Authenticated::Principal(_)) => Err(Denial::NotAUser),
        (_, Authenticated::Nobody { .. }) => Err(Denial::Unauthenticated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::{Assertion, Method, Subject, User};

    #[test]
    fn every_principal_meets_every_requirement() {
        let user = User::new(&Assertion {
            user_id: "alice",
            anonymous: false,
            verified: true,
            can_reauthenticate: true,
            roles: &[],
            amr: &[],
            authenticated_at: None,
        });
        let alice = Principal::new(Subject::User(user.unwrap()), Method::Session);
        let machine = Principal::new(Subject::Machine, Method::Token { client_id: None });
        let nobody = |deliberate| Authenticated::Nobody { deliberate };
        let (anonymous, principal) = (Ok(Permit::Anonymous), Ok(Permit::Principal));
        let (unauthenticated, not_a_user) = (Err(Denial::Unauthenticated), Err(Denial::NotAUser));
        for (who, none, optional, user) in [
            (
                Authenticated::Principal(&alice),
                anonymous,
                principal,
                principal,
            ),
            (
                Authenticated::Principal(&machine),
                anonymous,
                anonymous,
                not_a_user,
            ),
            (nobody(false), anonymous, anonymous, unauthenticated),
            (nobody(true), anonymous, unauthenticated, unauthenticated),
        ] {
            for (require, expected) in [
                (Require::None, none),
                (Require::Optional, optional),
                (Require::User, user),
            ] {
                let permitted = authorize(who, &Requirement { require });
                assert_eq!(permitted, expected, "{who:?} {require:?}");
            }
        }
    }
}
