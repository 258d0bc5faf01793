//! The JOSE header.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::TokenError;
use crate::config::JwtPolicy;
use crate::jose::Algorithm;
use crate::jose::json::{object, present};

/// The parts of a header that are needed after it was checked against the policy.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: String,
}

/// RFC 7515 §4.1. Parameters that name or carry a key (`jwk`, `jku`, `x5u`, `x5c`) are ignored.
#[derive(Deserialize)]
struct RawHeader<'t> {
    #[serde(borrow)]
    alg: Cow<'t, str>,
    #[serde(borrow)]
    kid: Cow<'t, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    typ: Option<Cow<'t, str>>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    zip: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    cty: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    enc: Option<IgnoredAny>,
}

impl Header {
    pub(super) fn parse(json: &[u8], policy: &JwtPolicy) -> Result<Self, TokenError> {
        let raw: RawHeader<'_> = object(json).ok_or(TokenError::Malformed)?;
        let extensions = [raw.crit, raw.b64, raw.zip, raw.cty, raw.enc];
        if extensions.iter().any(Option::is_some) {
            return Err(TokenError::UnsupportedHeader);
        }
        let algorithm = Algorithm::parse(&raw.alg)
            .filter(|algorithm| policy.algorithms.contains(algorithm))
            .ok_or(TokenError::Algorithm)?;
        if !is_access_token_type(raw.typ.as_deref(), policy.require_typ) {
            return Err(TokenError::Type);
        }
        Ok(Self {
            algorithm,
            key_id: raw.kid.into_owned(),
        })
    }
}

/// RFC 9068 §4: `at+jwt`, with or without `application/`. Where the operator does not require it, absent or plain `JWT`
/// will do, but never the type of another kind of token.
fn is_access_token_type(typ: Option<&str>, required: bool) -> bool {
    let Some(typ) = typ else {
        return !required;
    };
    typ.eq_ignore_ascii_case("at+jwt")
        || typ.eq_ignore_ascii_case("application/at+jwt")
        || (!required && typ.eq_ignore_ascii_case("JWT"))
}
