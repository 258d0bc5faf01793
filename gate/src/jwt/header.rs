//! The JOSE header.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::TokenError;
use crate::config::{Algorithm, JwtPolicy};

/// What of a header is left once it was held against the policy.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: String,
}

/// RFC 7515 §4.1. Parameters that name or carry a key (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
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

/// A member that is there must be of its type: `null` is not the same as absent.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A JSON object in strict UTF-8, of bounded depth; `serde` would read an array into a struct as well, and step over
/// what it does not look for however deep that is.
pub(super) fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Option<T> {
    let text = std::str::from_utf8(json).ok()?;
    if depth(json) > DEEPEST {
        return None;
    }
    let starts = text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{');
    starts.then(|| serde_json::from_str(text).ok()).flatten()
}

/// Deeper than any token that Authgear or its hooks make.
const DEEPEST: usize = 32;

/// How deep JSON nests; of text that is no JSON, a number as good as any.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = json;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'"' => rest = behind_string(tail),
            b'[' | b'{' => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What follows the string that `json` is in.
fn behind_string(json: &[u8]) -> &[u8] {
    let mut rest = json;
    while let Some(end) = memchr::memchr2(b'"', b'\\', rest) {
        // Whatever is escaped ends no string.
        let escape = rest.get(end) == Some(&b'\\');
        let length = if escape { 2 } else { 1 };
        rest = rest.get(end.saturating_add(length)..).unwrap_or_default();
        if !escape {
            return rest;
        }
    }
    &[]
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
