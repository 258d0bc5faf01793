//! `projects[].jwt`: the requirements on access tokens, and where they are read from.

use std::time::Duration;

use super::cookie::CookieRole;
use super::error::{Collector, Problem};
use super::field::Field;
use super::kind::{Absent, Array, Flag, List, OrNull, Span, Text};
use super::section::Section;
use super::table::{Member, Object, object};
use super::text::{TOKEN_PATTERN, string, token};
use super::units::{days, minutes, seconds};
use crate::endpoint::Endpoint;
use crate::jose::Algorithm;

/// The requirements on access tokens.
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
    /// Cookies that may contain a token.
    pub cookies: Vec<String>,
    /// Headers that may contain a token.
    pub headers: Vec<TokenHeader>,
    /// How often a verified token is confirmed with the resolver, at most; `None`: never.
    pub revalidate: Option<Duration>,
}

/// A header that may contain a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHeader {
    /// Its name, in lower case.
    pub name: String,
    /// The scheme in front of the token; `None`: the value is the token.
    pub scheme: Option<String>,
}

object! {
    /// What access tokens must look like.
    of_jwt at "projects[].jwt" {
        AUDIENCES: List<String> = "audiences",
            List::new("strings", Text::new("an audience", string).or(Absent::Like(r#"["https://auth.example.com"]"#))).at_least_one(),
            "A token must be meant for one of these (`aud`). The default is `endpoint`. Compared byte by byte.";
        CLIENT_IDS: List<String> = "client_ids",
            List::new("strings", Text::new("a client ID", string).or(Absent::Is("[]"))),
            "A token must have been issued to one of these (`client_id`). Empty: to any client of the project. If it is not empty, \
             opaque access tokens are refused, in a header and in an `app_access_token` cookie: nobody says to whom they were issued.";
        ALGORITHMS: List<Algorithm> = "algorithms",
            List::new("strings", Text::new(ALGORITHM, Algorithm::parse).or(Absent::Is(r#"["RS256"]"#)).pattern("^([RP]S(256|384|512)|ES256|EdDSA)$"))
                .at_least_one(),
            "Out of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `EdDSA`. Authgear signs with `RS256`.";
        CLOCK_SKEW: Span = "clock_skew",
            Span::new(seconds(30), seconds(0), minutes(5)),
            "How far Envoy's clock and Authgear's may differ. Widens `exp`, `nbf` and `iat`.";
        MAX_LIFETIME: OrNull<Span> = "max_lifetime",
            OrNull(Span::within(seconds(1), days(365))),
            "The longest time from `iat` to `exp` that is accepted. `null`: any. If it is set, a token needs `iat`.";
        REQUIRE_TYP: Flag = "require_typ",
            Flag(true),
            "The token's header must say `at+jwt` ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)). `false` also accepts `JWT` \
             and no `typ`; then only `audiences` tells an access token from an ID token. Leave it on.";
        COOKIES: List<String> = "cookies",
            List::new("names", Text::new("a cookie name (no wildcards)", token).or(Absent::Like(r#"["app_access_token"]"#)).pattern(TOKEN_PATTERN)),
            "Cookies that may hold a JWT, in the order in which they are looked at. The default is `cookie_prefix` and \
             `app_access_token`. Any name will do: where the resolver is asked about such a token, it goes under Authgear's own name. \
             [What counts beside it.](behaviour.md#which-credential-counts)";
        HEADERS: Array = "headers",
            Array::new(&of_header::OBJECT, "an array of {\"name\", \"scheme\"}", r#"[{ "name": "authorization", "scheme": "Bearer" }]"#),
            "Headers that may hold a token, see [`projects[].jwt.headers[]`](#projectsjwtheaders). `[]`: none.";
        REVALIDATE: OrNull<Span> = "revalidate",
            OrNull(Span::within(seconds(1), days(1))),
            "A verified token is confirmed with the resolver, in the background, at most this often. Once the resolver \
             says no, the token is refused. While it answers without a verdict, the token gets 503. `null`: never. Needs sessions, \
             `cached_tokens` and `endpoint` among the `audiences`. [What is promised.](behaviour.md#confirmed-tokens)";
    }
}

object! {
    /// A header that may hold a token.
    of_header at "projects[].jwt.headers[]" with r#"{
        "if": { "properties": { "name": { "const": "authorization" } } },
        "then": { "properties": { "scheme": { "type": "string" } }, "required": ["scheme"] }
    }"# {
        NAME: Text<String> = "name",
            Text::new("a header name in lower case (no wildcards), such as \"authorization\"", header_name).pattern("^[!#$%&'+.^_`|~0-9a-z-]+$"),
            "The header's name, in lower case. No name twice.";
        SCHEME: OrNull<Text<String>> = "scheme",
            OrNull(Text::new("an authentication scheme (no wildcards), such as \"Bearer\", or null", token).pattern(TOKEN_PATTERN)),
            "What stands before the token and one space, in any case. `null`: the whole value is the token. `authorization` needs one.";
    }
}

const ALGORITHM: &str =
    "an asymmetric algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256 or EdDSA";

impl JwtPolicy {
    #[inline(never)]
    pub(super) fn read(
        section: &Section<'_>,
        endpoint: Option<&Endpoint>,
        cookie_prefix: Option<&str>,
        errors: &mut Collector,
    ) -> Option<Self> {
        let origin = endpoint.map(Endpoint::origin);
        let audiences = section
            .given(&of_jwt::AUDIENCES, errors)
            .unwrap_or_else(|| Some(origin.into_iter().map(str::to_owned).collect()));
        let client_ids = section.value(&of_jwt::CLIENT_IDS, errors);
        for (member, texts) in [
            (&of_jwt::AUDIENCES, &audiences),
            (&of_jwt::CLIENT_IDS, &client_ids),
        ] {
            warn_of_texts(&section.path_of(member.name), texts, origin, errors);
        }
        let algorithms = section.value(&of_jwt::ALGORITHMS, errors);
        let clock_skew = section.value(&of_jwt::CLOCK_SKEW, errors);
        let max_lifetime = section.value(&of_jwt::MAX_LIFETIME, errors);
        let require_typ = section.value(&of_jwt::REQUIRE_TYP, errors);
        let cookies = section.given(&of_jwt::COOKIES, errors).unwrap_or_else(|| {
            let prefix = cookie_prefix.unwrap_or_default();
            Some(vec![CookieRole::AccessToken.with_prefix(prefix)])
        });
        let headers = section.list(&of_jwt::HEADERS, errors, read_headers);
        let revalidate = section.get(&of_jwt::REVALIDATE);
        if let Some(field) = revalidate.filter(|field| !field.is_null()) {
            let known = |audiences: &Vec<String>| {
                origin.is_none_or(|origin| audiences.iter().any(|audience| audience == origin))
            };
            if !audiences.as_ref().is_none_or(known) {
                field.contradiction(
                    "the resolver knows no tokens but those for \"endpoint\", which is not among \"audiences\"",
                    errors,
                );
            }
        }
        let revalidate = section.value(&of_jwt::REVALIDATE, errors);
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

/// Of texts that are no token's, though they are like a token's.
fn warn_of_texts(
    path: &str,
    texts: &Option<Vec<String>>,
    endpoint: Option<&str>,
    errors: &mut Collector,
) {
    for (nth, text) in texts.iter().flatten().enumerate() {
        let like = |endpoint: &str| {
            text != endpoint && text.trim_end_matches('/').eq_ignore_ascii_case(endpoint)
        };
        let problem = if text.contains(char::is_whitespace) {
            "contains a space"
        } else if endpoint.is_some_and(like) {
            "differs from \"endpoint\""
        } else {
            continue;
        };
        errors.warn(
            format!("{path}[{nth}]"),
            format!("{problem}, and is compared byte by byte"),
        );
    }
}

fn read_headers(field: &Field<'_>, errors: &mut Collector) -> Option<Vec<TokenHeader>> {
    let mut headers: Vec<TokenHeader> = Vec::new();
    for item in field.items(of_jwt::HEADERS.kind.expected, errors)? {
        let Some(section) = Section::read(&item, &of_header::OBJECT, errors) else {
            continue;
        };
        let name = section.require(&of_header::NAME, errors);
        let scheme = section.value(&of_header::SCHEME, errors);
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

fn header_name(text: &str) -> Option<String> {
    token(text).filter(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase()))
}
