//! `projects[].jwt`: what access tokens must look like, and where they may be.

use std::time::Duration;

use super::Algorithm;
use super::cookie::CookieRole;
use super::endpoint::Endpoint;
use super::error::{Collector, Problem};
use super::project::{DAY, MINUTE, SECOND};
use super::reader::Field;

/// What access tokens must look like.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtPolicy {
    /// A token must be meant for one of these.
    pub audiences: Vec<String>,
    /// A token must have been issued to one of these clients; empty: to any.
    pub client_ids: Vec<String>,
    /// The algorithms a token may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// How far this clock and Authgear's may differ.
    pub clock_skew: Duration,
    /// The longest lifetime, from `iat` to `exp`, that is accepted.
    pub max_lifetime: Option<Duration>,
    /// Whether the header must say `at+jwt` (RFC 9068 §2.1).
    pub require_typ: bool,
    /// Cookies that may hold a token.
    pub cookies: Vec<String>,
    /// Headers that may hold a token.
    pub headers: Vec<TokenHeader>,
    /// How often a verified token is confirmed with the resolver, at most; `None`: never.
    pub revalidate: Option<Duration>,
}

/// A header that may hold a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHeader {
    /// Its name, in lower case.
    pub name: String,
    /// The scheme in front of the token; `None`: the value is the token.
    pub scheme: Option<String>,
}

impl JwtPolicy {
    pub(super) fn read(
        field: Option<&Field<'_>>,
        endpoint: Option<&Endpoint>,
        cookie_prefix: Option<&str>,
        errors: &mut Collector,
    ) -> Option<Self> {
        let issuer = endpoint.map(|endpoint| endpoint.origin().to_owned());
        let defaults = Self {
            audiences: issuer.into_iter().collect(),
            client_ids: Vec::new(),
            algorithms: vec![Algorithm::Rs256],
            clock_skew: SECOND.saturating_mul(30),
            max_lifetime: None,
            require_typ: true,
            cookies: vec![CookieRole::AccessToken.with_prefix(cookie_prefix.unwrap_or_default())],
            headers: vec![TokenHeader {
                name: "authorization".to_owned(),
                scheme: Some("Bearer".to_owned()),
            }],
            revalidate: None,
        };
        let Some(field) = field else {
            return Some(defaults);
        };
        let mut section = field.section(errors)?;
        let audiences = section.read("audiences", defaults.audiences, |field| {
            field.some_strings("an audience", errors, some_string)
        });
        let client_ids = section.read("client_ids", defaults.client_ids, |field| {
            field.strings("a client ID", errors, some_string)
        });
        let algorithms = section.read("algorithms", defaults.algorithms, |field| {
            let expected =
                "an asymmetric algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256 or EdDSA";
            field.some_strings(expected, errors, Algorithm::parse)
        });
        let clock_skew = section.read("clock_skew", defaults.clock_skew, |field| {
            field.duration(Duration::ZERO..=MINUTE.saturating_mul(5), errors)
        });
        let max_lifetime = section.read("max_lifetime", None, |field| {
            if field.is_null() {
                return Some(None);
            }
            field
                .duration(SECOND..=DAY.saturating_mul(365), errors)
                .map(Some)
        });
        let require_typ = section.read("require_typ", defaults.require_typ, |field| {
            field.bool(errors)
        });
        let cookies = section.read("cookies", defaults.cookies, |field| {
            field.strings(COOKIE, errors, cookie_name)
        });
        let headers = section.read("headers", defaults.headers, |field| {
            read_headers(field, errors)
        });
        let revalidate = section.get("revalidate").filter(|field| !field.is_null());
        let revalidate = match revalidate {
            None => Some(None),
            Some(field) => {
                let origin = endpoint.map(Endpoint::origin);
                let known = |audiences: &Vec<String>| {
                    origin.is_none_or(|origin| audiences.iter().any(|audience| audience == origin))
                };
                if !audiences.as_ref().is_none_or(known) {
                    field.contradiction(
                        "the resolver knows no tokens but those for \"endpoint\", which is not among \"audiences\"",
                        errors,
                    );
                }
                field.duration(SECOND..=DAY, errors).map(Some)
            }
        };
        section.finish(errors);
        Some(Self {
            audiences: audiences?,
            client_ids: client_ids?,
            algorithms: algorithms?,
            clock_skew: clock_skew?,
            max_lifetime: max_lifetime?,
            require_typ: require_typ?,
            cookies: cookies?,
            headers: headers?,
            revalidate: revalidate?,
        })
    }
}

fn read_headers(field: &Field<'_>, errors: &mut Collector) -> Option<Vec<TokenHeader>> {
    let mut headers: Vec<TokenHeader> = Vec::new();
    for item in field.items("an array of {\"name\", \"scheme\"}", errors)? {
        let Some(mut section) = item.section(errors) else {
            continue;
        };
        let expected = "a header name in lower case, such as \"authorization\"";
        let name = section
            .require("name", expected, errors)
            .and_then(|field| field.parsed(expected, errors, header_name));
        let scheme = match section.get("scheme") {
            Some(field) if !field.is_null() => field
                .parsed(
                    "an authentication scheme, such as \"Bearer\", or null",
                    errors,
                    token,
                )
                .map(Some),
            _ => Some(None),
        };
        section.finish(errors);
        let (Some(name), Some(scheme)) = (name, scheme) else {
            continue;
        };
        if name == "authorization" && scheme.is_none() {
            item.contradiction(
                "\"authorization\" needs a \"scheme\" (RFC 9110 §11.6.2)",
                errors,
            );
        }
        if headers.iter().any(|header| header.name == name) {
            errors.add(item.path(), Problem::Duplicate);
        }
        headers.push(TokenHeader { name, scheme });
    }
    Some(headers)
}

const COOKIE: &str = "a cookie name";

fn some_string(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) fn cookie_name(text: &str) -> Option<String> {
    token(text)
}

fn header_name(text: &str) -> Option<String> {
    token(text).filter(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase()))
}

/// RFC 9110 §5.6.2.
fn token(text: &str) -> Option<String> {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!text.is_empty() && text.bytes().all(is_tchar)).then(|| text.to_owned())
}
