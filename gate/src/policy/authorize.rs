//! May this principal?

use crate::config::{Require, Requirement};
use crate::principal::Principal;

/// What authentication has found out, as far as authorisation asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Authenticated<'p> {
    /// This principal.
    Principal(&'p Principal),
    /// No credential that holds. `deliberate`: a token was presented by the client's own intent, and is bad.
    Nobody {
        /// A bad token that was presented on purpose is never taken for nobody.
        deliberate: bool,
    },
}

/// Leave to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// As the principal.
    Principal,
    /// As nobody in particular.
    Anonymous,
}

/// Why a request may not go on.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Denial {
    /// A user is asked for, and nobody was authenticated.
    #[error("unauthenticated")]
    Unauthenticated,
    /// A user is asked for, and a machine was authenticated.
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
        // A machine is nobody where anybody may pass.
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
