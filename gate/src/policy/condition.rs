//! Conditions on a principal: what `allow` asks beyond who may pass at all.

use std::time::Duration;

use crate::claim::{Claim, ClaimPath, Scalar};
use crate::principal::{Method, Principal, TokenFacts, User};

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The user has one of these roles.
    RolesAny(Vec<String>),
    /// The user has all of these roles.
    RolesAll(Vec<String>),
    /// The user is verified, or is not.
    Verified(bool),
    /// The user is anonymous, or is not.
    Anonymous(bool),
    /// The user can reauthenticate, or cannot.
    CanReauthenticate(bool),
    /// The user authenticated by one of these methods (RFC 8176).
    AmrAny(Vec<String>),
    /// The user authenticated by all of these methods.
    AmrAll(Vec<String>),
    /// The user authenticated at most so long ago. A time that is not known is too long ago.
    MaxAuthAge(Duration),
    /// The token was issued to one of these clients.
    ClientIds(Vec<String>),
    /// The token has one of these scopes.
    ScopesAny(Vec<String>),
    /// The token has all of these scopes.
    ScopesAll(Vec<String>),
    /// The token makes this claim.
    Claim(ClaimPath, ClaimTest),
    /// All conditions of one of these alternatives hold.
    AnyOf(Vec<Vec<Condition>>),
}

/// What is asked of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimTest {
    /// It is there and not `null`, or not.
    Present(bool),
    /// It is one of these values, or an array with one of them.
    AnyOf(Vec<Scalar>),
}

/// A condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Which one.
    pub condition: ConditionName,
    /// Only a token could answer, and a session was presented.
    pub needs_token: bool,
}

/// The names of the conditions, as members of `allow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "`ConditionName::text` says it")]
pub enum ConditionName {
    RolesAny,
    RolesAll,
    Verified,
    Anonymous,
    CanReauthenticate,
    AmrAny,
    AmrAll,
    MaxAuthAge,
    ClientIds,
    ScopesAny,
    ScopesAll,
    Claims,
    AnyOf,
}

impl ConditionName {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::RolesAny,
        Self::RolesAll,
        Self::Verified,
        Self::Anonymous,
        Self::CanReauthenticate,
        Self::AmrAny,
        Self::AmrAll,
        Self::MaxAuthAge,
        Self::ClientIds,
        Self::ScopesAny,
        Self::ScopesAll,
        Self::Claims,
        Self::AnyOf,
    ];

    /// The name of the member.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::RolesAny => "roles_any",
            Self::RolesAll => "roles_all",
            Self::Verified => "verified",
            Self::Anonymous => "anonymous",
            Self::CanReauthenticate => "can_reauthenticate",
            Self::AmrAny => "amr_any",
            Self::AmrAll => "amr_all",
            Self::MaxAuthAge => "max_auth_age",
            Self::ClientIds => "client_ids",
            Self::ScopesAny => "scopes_any",
            Self::ScopesAll => "scopes_all",
            Self::Claims => "claims",
            Self::AnyOf => "any_of",
        }
    }

    /// The rank of those that are asked last.
    pub(super) const MAX_RANK: u8 = 2;

    /// In which order conditions are asked: what nothing can mend first, then what another token, then what another login can.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::ScopesAny | Self::ScopesAll => 1,
            Self::AmrAny | Self::AmrAll | Self::MaxAuthAge => 2,
            _ => 0,
        }
    }

    /// Whether only a token has what is asked for.
    #[must_use]
    pub(crate) const fn is_of_tokens(self) -> bool {
        matches!(
            self,
            Self::ClientIds | Self::ScopesAny | Self::ScopesAll | Self::Claims
        )
    }

    /// Whether only a user has what is asked for.
    #[must_use]
    pub(crate) const fn is_of_users(self) -> bool {
        !self.is_of_tokens() && !matches!(self, Self::AnyOf)
    }
}

/// Whether all conditions hold; the first that does not. `unix`: now.
pub(super) fn check(
    conditions: &[Condition],
    principal: &Principal,
    unix: u64,
) -> Result<(), Unmet> {
    let mut all = conditions.iter();
    all.try_for_each(|condition| condition.check(principal, unix))
}

impl Condition {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> ConditionName {
        match self {
            Self::RolesAny(_) => ConditionName::RolesAny,
            Self::RolesAll(_) => ConditionName::RolesAll,
            Self::Verified(_) => ConditionName::Verified,
            Self::Anonymous(_) => ConditionName::Anonymous,
            Self::CanReauthenticate(_) => ConditionName::CanReauthenticate,
            Self::AmrAny(_) => ConditionName::AmrAny,
            Self::AmrAll(_) => ConditionName::AmrAll,
            Self::MaxAuthAge(_) => ConditionName::MaxAuthAge,
            Self::ClientIds(_) => ConditionName::ClientIds,
            Self::ScopesAny(_) => ConditionName::ScopesAny,
            Self::ScopesAll(_) => ConditionName::ScopesAll,
            Self::Claim(..) => ConditionName::Claims,
            Self::AnyOf(_) => ConditionName::AnyOf,
        }
    }

    /// Calls `see` with this condition and all that it consists of.
    pub(crate) fn visit<'c>(&'c self, see: &mut dyn FnMut(&'c Self)) {
        see(self);
        if let Self::AnyOf(alternatives) = self {
            for condition in alternatives.iter().flatten() {
                condition.visit(see);
            }
        }
    }

    fn check(&self, principal: &Principal, unix: u64) -> Result<(), Unmet> {
        let condition = self.name();
        let (holds, needs_token) = match (self, principal.method()) {
            (Self::AnyOf(alternatives), _) => return any_of(alternatives, principal, unix),
            (_, Method::Session) if condition.is_of_tokens() => (false, true),
            (_, Method::Session) => (self.holds_for_user(principal, unix), false),
            (_, Method::Token { client_id, facts }) => {
                let of_token = self.holds_for_token(client_id.as_deref(), facts);
                (
                    of_token.unwrap_or_else(|| self.holds_for_user(principal, unix)),
                    false,
                )
            }
        };
        if holds {
            return Ok(());
        }
        Err(Unmet {
            condition,
            needs_token,
        })
    }

    /// `None`: it does not ask for what a token alone has.
    fn holds_for_token(&self, client: Option<&str>, facts: &TokenFacts) -> Option<bool> {
        let has = |scope: &String| facts.scopes.iter().any(|item| **item == **scope);
        Some(match self {
            Self::ClientIds(clients) => clients.iter().any(|id| Some(id.as_str()) == client),
            Self::ScopesAny(scopes) => scopes.iter().any(has),
            Self::ScopesAll(scopes) => scopes.iter().all(has),
            Self::Claim(path, test) => {
                let mut claims = facts.claims.iter();
                claims.any(|claim| claim.path() == path && test.holds(claim))
            }
            _ => return None,
        })
    }

    fn holds_for_user(&self, principal: &Principal, unix: u64) -> bool {
        principal
            .user()
            .is_some_and(|user| self.holds_for(user, unix))
    }

    fn holds_for(&self, user: &User, unix: u64) -> bool {
        let in_role = |role: &String| user.roles().any(|item| item == role);
        let by_method = |method: &String| user.amr().any(|item| item == method);
        match self {
            Self::RolesAny(roles) => roles.iter().any(in_role),
            Self::RolesAll(roles) => roles.iter().all(in_role),
            Self::Verified(expected) => user.is_verified() == *expected,
            Self::Anonymous(expected) => user.is_anonymous() == *expected,
            Self::CanReauthenticate(expected) => user.can_reauthenticate() == *expected,
            Self::AmrAny(methods) => methods.iter().any(by_method),
            Self::AmrAll(methods) => methods.iter().all(by_method),
            Self::MaxAuthAge(longest) => user
                .authenticated_at()
                .is_some_and(|at| unix.saturating_sub(at) <= longest.as_secs()),
            _ => false,
        }
    }
}

impl ClaimTest {
    fn holds(&self, claim: &Claim) -> bool {
        match self {
            Self::Present(expected) => claim.is_present() == *expected,
            Self::AnyOf(values) => claim.values().iter().any(|value| values.contains(value)),
        }
    }
}

fn any_of(alternatives: &[Vec<Condition>], principal: &Principal, unix: u64) -> Result<(), Unmet> {
    let mut needs_token = true;
    for alternative in alternatives {
        match check(alternative, principal, unix) {
            Ok(()) => return Ok(()),
            Err(unmet) => needs_token &= unmet.needs_token,
        }
    }
    Err(Unmet {
        condition: ConditionName::AnyOf,
        needs_token,
    })
}
