//! Tokens in headers (RFC 6750 §2.1).

use super::{Conflict, Headers};
use crate::config::TokenHeader;

/// What was presented as a token, by its form alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BearerToken<'r> {
    /// Three segments: a JWT, to be verified here.
    Jwt(&'r [u8]),
    /// One segment, as Authgear makes opaque tokens: for the resolver.
    Opaque(&'r str),
    /// Neither: it is invalid without a call.
    Malformed,
    /// Longer than the limit.
    TooLong,
}

impl<'r> BearerToken<'r> {
    pub(super) fn parse(token: &'r [u8], longest: usize) -> Self {
        if token.len() > longest {
            return Self::TooLong;
        }
        match dots(token) {
            2 => Self::Jwt(token),
            0 => opaque(token).map_or(Self::Malformed, Self::Opaque),
            _ => Self::Malformed,
        }
    }
}

/// The token of the request, if it presents one.
pub(super) fn read<'r>(
    headers: &'r Headers<'r>,
    sources: &[TokenHeader],
    longest: usize,
) -> Result<Option<BearerToken<'r>>, Conflict> {
    let mut presented: Option<&[u8]> = None;
    for source in sources {
        let mut lines = headers
            .iter()
            .filter(|(name, _)| *name == source.name.as_bytes());
        // Where the whole value is the token, an empty one is none.
        if source.scheme.is_none() && lines.clone().all(|(_, value)| value.is_empty()) {
            continue;
        }
        let Some((_, value)) = lines.next() else {
            continue;
        };
        if lines.next().is_some() {
            return Err(Conflict::SeveralTokens);
        }
        let token = match &source.scheme {
            Some(scheme) => match behind_scheme(value, scheme) {
                // A list of credentials that begins with a token is no token, because it contains a comma.
                Some(token) => token,
                None if is_listed(value, scheme) => return Err(Conflict::SeveralTokens),
                None => continue,
            },
            None => value,
        };
        if presented.is_some_and(|other| other != token) {
            return Err(Conflict::SeveralTokens);
        }
        presented = Some(token);
    }
    Ok(presented.map(|token| BearerToken::parse(token, longest)))
}

/// Whether a credential of this scheme comes after others in a list: Envoy joins repeated headers with a comma before the
/// filter sees them. Other schemes may use commas for their own purposes.
fn is_listed(value: &[u8], scheme: &str) -> bool {
    let elements = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements
        .skip(1)
        .any(|element| behind_scheme(element, scheme).is_some())
}

/// The text after the scheme, in any case, and one space, as Authgear's resolver reads it. `None`: another scheme.
fn behind_scheme<'v>(value: &'v [u8], scheme: &str) -> Option<&'v [u8]> {
    let (head, tail) = match value.iter().position(|byte| *byte == b' ') {
        Some(space) => (value.get(..space)?, value.get(space.saturating_add(1)..)?),
        None => (value, &[][..]),
    };
    head.eq_ignore_ascii_case(scheme.as_bytes()).then_some(tail)
}

/// How many dots there are, counted up to three.
pub(super) fn dots(token: &[u8]) -> usize {
    memchr::memchr_iter(b'.', token).take(3).count()
}

/// Authgear's opaque tokens have 32 letters and digits. Tokens of a similar form go to the resolver too, so that Authgear
/// may change the form; what cannot be such a token causes no call.
fn opaque(token: &[u8]) -> Option<&str> {
    const LENGTHS: std::ops::RangeInclusive<usize> = 20..=512;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if LENGTHS.contains(&token.len()) && token.iter().all(fits) {
        std::str::from_utf8(token).ok()
    } else {
        None
    }
}
