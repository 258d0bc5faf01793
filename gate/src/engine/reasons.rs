//! Every text that says why a request is refused: a test checks that the documentation has them all. And what the answers look like
//! from outside, for `authgear-filter probe`.
//!
//! Each `match` names every variant: a new one does not compile until it is listed.

use std::iter::successors;
use std::time::Duration;

use super::{Reason, Reply, TokenSource};
use crate::credential::Conflict;
use crate::jwt::TokenError;
use crate::policy::{ConditionName, PathRefused, Unmet};
use crate::principal::{UserError, is_reserved};
use crate::session::ResolverError;

/// The names of all reasons, and the texts of all errors of tokens and of credentials that contradict each other.
#[must_use]
pub fn reasons() -> Vec<String> {
    let names = all().map(|reason| reason.name().to_owned());
    let errors = successors(Some(TokenError::Malformed), |error| after_error(*error))
        .map(|error| error.to_string());
    let conflicts = successors(Some(Conflict::SeveralTokens), |conflict| {
        after_conflict(*conflict)
    })
    .map(|conflict| conflict.to_string());
    names.chain(errors).chain(conflicts).collect()
}

/// The status and the code of every answer, each pair once.
#[must_use]
pub fn answers() -> Vec<(u32, &'static str)> {
    let mut answers = Vec::new();
    for reply in all().map(|reason| Reply::new(reason, false)) {
        let answer = (reply.status(), reply.code());
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    answers
}

/// Whether a header is one of the family that only the gateway may write.
#[must_use]
pub fn is_identity_header(name: &[u8]) -> bool {
    is_reserved(name)
}

fn all() -> impl Iterator<Item = Reason> {
    successors(Some(Reason::NoCredential), |reason| after_reason(*reason))
}

fn after_reason(reason: Reason) -> Option<Reason> {
    Some(match reason {
        Reason::NoCredential => Reason::NoProject,
        Reason::NoProject => Reason::ClientIdentityHeaders,
        Reason::ClientIdentityHeaders => Reason::Conflict(Conflict::SeveralTokens),
        Reason::Conflict(_) => Reason::Path(PathRefused::Readings),
        Reason::Path(_) => Reason::Token(TokenError::Malformed, TokenSource::Header),
        Reason::Token(..) => Reason::InvalidOpaqueToken,
        Reason::InvalidOpaqueToken => Reason::InvalidSession,
        Reason::InvalidSession => Reason::NotAUser,
        Reason::NotAUser => Reason::NotAMachine,
        Reason::NotAMachine => after_unmet(None),
        Reason::Unmet(unmet) => after_unmet(Some(unmet)),
        Reason::KeysUnavailable(_) => Reason::ResolverUnavailable(ResolverError::NoAnswer),
        Reason::ResolverUnavailable(_) => Reason::TokenUnconfirmed,
        Reason::TokenUnconfirmed => Reason::CircuitOpen(Duration::ZERO),
        Reason::CircuitOpen(_) => Reason::TimedOut,
        Reason::TimedOut => Reason::Overloaded,
        Reason::Overloaded => Reason::InvalidConfiguration,
        Reason::InvalidConfiguration => Reason::Internal,
        Reason::Internal => return None,
    })
}

/// Each condition, and each of those that need a token.
fn after_unmet(last: Option<Unmet>) -> Reason {
    let needs_token = |condition: ConditionName| condition.is_of_tokens();
    let all = ConditionName::ALL;
    let every = all.iter().map(|condition| (condition, false)).chain(
        all.iter()
            .filter(|name| needs_token(**name))
            .map(|condition| (condition, true)),
    );
    let mut every = every.map(|(condition, needs_token)| Unmet {
        condition: *condition,
        needs_token,
    });
    if let Some(last) = last {
        every.find(|unmet| *unmet == last);
    }
    every
        .next()
        .map_or(Reason::KeysUnavailable(Duration::ZERO), Reason::Unmet)
}

fn after_error(error: TokenError) -> Option<TokenError> {
    Some(match error {
        TokenError::Malformed => TokenError::TooLong,
        TokenError::TooLong => TokenError::UnsupportedHeader,
        TokenError::UnsupportedHeader => TokenError::Algorithm,
        TokenError::Algorithm => TokenError::Type,
        TokenError::Type => TokenError::Claims,
        TokenError::Claims => TokenError::Issuer,
        TokenError::Issuer => TokenError::Audience,
        TokenError::Audience => TokenError::NotAccepted,
        TokenError::NotAccepted => TokenError::Client,
        TokenError::Client => TokenError::Expired,
        TokenError::Expired => TokenError::NotYetValid,
        TokenError::NotYetValid => TokenError::IssuedInTheFuture,
        TokenError::IssuedInTheFuture => TokenError::Lifetime,
        TokenError::Lifetime => TokenError::SenderConstrained,
        TokenError::SenderConstrained => TokenError::Identity(UserError::UserId),
        TokenError::Identity(_) => TokenError::UnknownKey,
        TokenError::UnknownKey => TokenError::KeyMismatch,
        TokenError::KeyMismatch => TokenError::Signature,
        TokenError::Signature => TokenError::Revoked,
        TokenError::Revoked => return None,
    })
}

fn after_conflict(conflict: Conflict) -> Option<Conflict> {
    match conflict {
        Conflict::SeveralTokens => None,
    }
}
