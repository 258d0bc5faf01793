//! Verifies access tokens.
//!
//! A token is [inspected](InspectedToken::inspect) first: its form, its header and its claims are checked against the
//! project's policy. That is cheap, and a token that fails costs no more. Only then is its signature
//! [verified](InspectedToken::verify) with the key that its `kid` names, and only a [`VerifiedToken`] says who it is.

mod cache;
mod claims;
mod facts;
mod header;
mod inspect;
#[cfg(test)]
mod tests;

pub(crate) use cache::{CachedToken, Standing, TokenCache};
pub(crate) use inspect::{InspectedToken, RevalidationScope, VerifiedToken};

use thiserror::Error;

use crate::jose::NoKey;
use crate::principal::UserError;

/// Why a token is refused. For logs and metrics: the answer to the client is the same, whatever the reason.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a compact JWS (RFC 7515 §7.1) in strict base64url with a JSON header.
    #[error("malformed")]
    Malformed,
    /// Longer than `limits.token_bytes`.
    #[error("too_long")]
    TooLong,
    /// The header has a parameter that changes the meaning of the token: `crit`, `b64`, `zip`, `cty`, `enc`.
    #[error("unsupported_header")]
    UnsupportedHeader,
    /// The algorithm is not on the project's list.
    #[error("algorithm_not_allowed")]
    Algorithm,
    /// The `typ` is not that of an access token (RFC 9068 §4).
    #[error("wrong_type")]
    Type,
    /// The claims are not JSON, lack a required member, or have one of the wrong type, or twice.
    #[error("malformed_claims")]
    Claims,
    /// The `iss` is not the project's origin.
    #[error("wrong_issuer")]
    Issuer,
    /// No `aud` is on the project's list.
    #[error("wrong_audience")]
    Audience,
    /// The rule at hand accepts no credential of its kind.
    #[error("not_accepted")]
    NotAccepted,
    /// The `client_id` is not on the project's list.
    #[error("client_not_allowed")]
    Client,
    /// Past `exp`.
    #[error("expired")]
    Expired,
    /// Before `nbf`.
    #[error("not_yet_valid")]
    NotYetValid,
    /// Issued in the future.
    #[error("issued_in_the_future")]
    IssuedInTheFuture,
    /// Valid for longer than `jwt.max_lifetime`.
    #[error("lifetime_too_long")]
    Lifetime,
    /// Bound by `cnf` (RFC 7800) to a key, and a bearer does not prove that it has the key.
    #[error("sender_constrained")]
    SenderConstrained,
    /// Its claims about the user cannot be written into headers.
    #[error("identity_not_representable")]
    Identity(#[from] UserError),
    /// No key of the set has its `kid`.
    #[error("unknown_key")]
    UnknownKey,
    /// The key of its `kid` is not one for its algorithm.
    #[error("key_mismatch")]
    KeyMismatch,
    /// The signature is wrong.
    #[error("wrong_signature")]
    Signature,
    /// Authgear's resolver has revoked it.
    #[error("revoked")]
    Revoked,
}

impl From<NoKey> for TokenError {
    fn from(error: NoKey) -> Self {
        match error {
            NoKey::UnknownKeyId => Self::UnknownKey,
            NoKey::KeyMismatch => Self::KeyMismatch,
        }
    }
}
