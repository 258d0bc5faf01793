//! What is sent to a route, and what should come of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONNECTION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::json;

use super::spelling::{Spelling, spellings};
use super::target::Target;
use super::token::Token;

/// What is different about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: no credential at all.
    NoCredential,
    /// Identity headers that only the gateway may write.
    Forged(Forgery),
    /// A token that claims to need no signature.
    Unsigned,
    /// Cookies of a session's name, with garbage in them.
    Cookie,
    /// Another spelling of the path, named.
    Spelling(&'static str),
    /// The good token.
    Token,
    /// The good token and forged identity headers.
    TokenAndForged,
}

/// How identity headers are forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// As the gateway spells them.
    Plain,
    /// With `_`, which CGI takes for `-`.
    Underscores,
    /// As the gateway spells them, and `Connection` tells whoever is next to remove them.
    Connection,
}

impl Kind {
    /// In a few words.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::NoCredential => "no credential".to_owned(),
            Self::Forged(Forgery::Plain) => "forged x-authgear-user-id".to_owned(),
            Self::Forged(Forgery::Underscores) => "forged x_authgear_user_id".to_owned(),
            Self::Forged(Forgery::Connection) => "forged, and in Connection".to_owned(),
            Self::Unsigned => "token with alg: none".to_owned(),
            Self::Cookie => "cookie with garbage".to_owned(),
            Self::Spelling(what) => format!("path: {what}"),
            Self::Token => "the good token".to_owned(),
            Self::TokenAndForged => "the good token, forged headers".to_owned(),
        }
    }

    /// Whether the good token is sent.
    pub(crate) fn has_token(&self) -> bool {
        matches!(self, Self::Token | Self::TokenAndForged)
    }
}

/// A request of the plan.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) kind: Kind,
    pub(crate) method: Method,
    /// Path and query, as they are sent.
    pub(crate) target: String,
}

/// What the command line asks for.
pub(crate) struct Wishes {
    /// Names of session cookies.
    pub(crate) cookies: Vec<String>,
    pub(crate) post: bool,
    /// Whether the paths are asked for as they are given.
    pub(crate) exact: bool,
    pub(crate) token: Option<Token>,
    /// Whether the backend echoes the headers that reach it.
    pub(crate) echo: bool,
    /// What every request has.
    pub(crate) headers: HeaderMap,
    /// What no honest client sends: a name, and a user's ID.
    pub(crate) marker: String,
}

/// The requests to one route, in the order in which they are sent.
pub(crate) fn plan(target: &Target, wishes: &Wishes) -> Vec<Probe> {
    let path = if wishes.exact {
        target.path.clone()
    } else {
        let folder = target.path.trim_end_matches('/');
        format!("{folder}/{}", wishes.marker)
    };
    let probe = |kind: Kind, method: &Method, path: &str| Probe {
        kind,
        method: method.clone(),
        target: format!("{path}{}", target.query),
    };
    let kinds = [
        Kind::NoCredential,
        Kind::Forged(Forgery::Plain),
        Kind::Forged(Forgery::Underscores),
        Kind::Forged(Forgery::Connection),
        Kind::Unsigned,
        Kind::Cookie,
    ];
    let by = |method: Method| {
        let kinds = kinds.iter();
        let probes = kinds.map(|kind| probe(kind.clone(), &method, &path));
        probes.collect::<Vec<_>>()
    };
    let mut probes = by(Method::GET);
    let odd = spellings(&path, &wishes.marker).into_iter();
    probes.extend(
        odd.map(|Spelling { name, path }| probe(Kind::Spelling(name), &Method::GET, &path)),
    );
    if wishes.post {
        probes.extend(by(Method::POST));
    }
    if wishes.token.is_some() {
        probes.push(probe(Kind::Token, &Method::GET, &path));
        if wishes.echo {
            probes.push(probe(Kind::TokenAndForged, &Method::GET, &path));
        }
    }
    probes
}

/// The headers of a request. `issuer` is the authority that the filter named in a challenge, if it has.
pub(crate) fn headers(
    probe: &Probe,
    target: &Target,
    wishes: &Wishes,
    issuer: Option<&str>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // No `text/html`: a gateway may turn the filter's answer into a redirect for browsers.
    headers.insert(
        http::header::ACCEPT,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        http::header::USER_AGENT,
        HeaderValue::from_static(concat!("authgear-filter-probe/", env!("CARGO_PKG_VERSION"))),
    );
    put(&mut headers, http::header::HOST, &target.authority);
    for (name, value) in &wishes.headers {
        headers.insert(name, value.clone());
    }
    match probe.kind {
        Kind::NoCredential | Kind::Spelling(_) | Kind::Token => {}
        Kind::Forged(forgery) => forge(&mut headers, forgery, &identity(&wishes.marker)),
        Kind::TokenAndForged => {
            // Whatever arrives of them is told from the token's identity.
            let identity = identity(&wishes.marker).map(|(name, _)| (name, &*wishes.marker));
            for forgery in [Forgery::Underscores, Forgery::Connection] {
                forge(&mut headers, forgery, &identity);
            }
        }
        Kind::Unsigned => {
            let token = unsigned_token(issuer.unwrap_or(&target.authority), &wishes.marker);
            put(&mut headers, AUTHORIZATION, &format!("Bearer {token}"));
        }
        Kind::Cookie => {
            let cookies = wishes.cookies.iter();
            let garbage = |name: &String| format!("{name}={}", wishes.marker);
            let cookies: Vec<String> = cookies.map(garbage).collect();
            put(&mut headers, COOKIE, &cookies.join("; "));
        }
    }
    if let Some(token) = wishes.token.as_ref().filter(|_| probe.kind.has_token()) {
        headers.insert(AUTHORIZATION, token.authorization());
    }
    headers
}

/// The headers of a user who is somebody, with all that a gateway would say of him.
fn identity(marker: &str) -> [(&'static str, &str); 9] {
    [
        ("x-authgear-session-valid", "true"),
        ("x-authgear-user-id", marker),
        ("x-authgear-user-anonymous", "false"),
        ("x-authgear-user-verified", "true"),
        ("x-authgear-user-can-reauthenticate", "true"),
        ("x-authgear-user-roles", "admin"),
        ("x-authgear-session-amr", "pwd mfa"),
        ("x-authgear-role-admin", "true"),
        ("x-authgear-client-id", marker),
    ]
}

fn forge(headers: &mut HeaderMap, forgery: Forgery, identity: &[(&str, &str)]) {
    for (name, value) in identity {
        let name = match forgery {
            Forgery::Plain | Forgery::Connection => (*name).to_owned(),
            Forgery::Underscores => name.replace('-', "_"),
        };
        if let Ok(name) = HeaderName::try_from(name) {
            put(headers, name, value);
        }
    }
    if forgery == Forgery::Connection {
        put(
            headers,
            CONNECTION,
            "close, x-authgear-user-id, x-authgear-session-valid",
        );
    }
}

/// A value that is none is not sent: there is none among ours, all of them visible ASCII.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// All that a token of this issuer has, but a signature (RFC 8725 §2.1).
fn unsigned_token(issuer: &str, subject: &str) -> String {
    let origin = format!("https://{issuer}");
    let header = json!({ "alg": "none", "typ": "at+jwt", "kid": "probe" });
    // The years 2001 and 2100: no clock is needed.
    let claims = json!({
        "iss": origin, "aud": [origin], "sub": subject, "client_id": "authgear-probe", "jti": subject,
        "iat": 1_000_000_000_u64, "exp": 4_102_444_800_u64,
        "https://authgear.com/claims/user/is_anonymous": false,
    });
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.", part(header), part(claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        Wishes {
            cookies: vec!["session".to_owned(), "app_session".to_owned()],
            post: false,
            exact: false,
            token: None,
            echo: false,
            headers: HeaderMap::new(),
            marker: "probe-1".to_owned(),
        }
    }

    fn targets(url: &str, wishes: &Wishes) -> Vec<String> {
        let target = Target::parse(url).unwrap();
        let probes = plan(&target, wishes).into_iter();
        probes
            .map(|probe| format!("{} {}", probe.method, probe.target))
            .collect()
    }

    #[test]
    fn a_path_that_does_not_exist_is_asked_for_below_the_route() {
        for (url, first) in [
            ("http://h/account?a=b", "GET /account/probe-1?a=b"),
            ("http://h/account/", "GET /account/probe-1"),
            ("http://h", "GET /probe-1"),
        ] {
            let targets = targets(url, &wishes());
            assert_eq!(targets[0], first);
            assert!(
                targets.iter().all(|target| target.contains("robe-1")),
                "{targets:?}"
            );
        }
        let exact = Wishes {
            exact: true,
            ..wishes()
        };
        assert_eq!(targets("http://h/account/?a", &exact)[0], "GET /account/?a");
    }

    #[test]
    fn nothing_but_get_is_sent_unless_asked_for() {
        let get = targets("http://h/account", &wishes());
        assert!(get.iter().all(|target| target.starts_with("GET ")));
        let post = Wishes {
            post: true,
            ..wishes()
        };
        let all = targets("http://h/account", &post);
        assert_eq!(all.len(), get.len() + 6);
    }

    #[test]
    fn the_good_token_is_sent_where_it_is_said_and_nowhere_else() {
        let wishes = Wishes {
            token: Token::parse("a.good.token").ok(),
            echo: true,
            ..wishes()
        };
        let target = Target::parse("http://h/account").unwrap();
        let probes = plan(&target, &wishes);
        let with_token = probes.iter().filter(|probe| {
            headers(probe, &target, &wishes, None)
                .get(AUTHORIZATION)
                .is_some_and(|value| value == "Bearer a.good.token")
        });
        let kinds: Vec<_> = with_token.map(|probe| probe.kind.clone()).collect();
        assert_eq!(kinds, [Kind::Token, Kind::TokenAndForged]);
    }

    /// So that only its missing signature is wrong with it.
    #[test]
    fn the_unsigned_token_is_of_the_issuer_that_the_filter_names() {
        let target = Target::parse("http://h:1/account").unwrap();
        let probe = Probe {
            kind: Kind::Unsigned,
            method: Method::GET,
            target: "/account/probe-1".to_owned(),
        };
        for (named, issuer) in [
            (Some("auth.example.com"), "https://auth.example.com"),
            (None, "https://h:1"),
        ] {
            let headers = headers(&probe, &target, &wishes(), named);
            let value = headers[AUTHORIZATION].to_str().unwrap();
            let parts: Vec<&str> = value.strip_prefix("Bearer ").unwrap().split('.').collect();
            assert_eq!((parts.len(), parts[2]), (3, ""));
            let part = |text: &str| -> serde_json::Value {
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
            };
            assert_eq!(part(parts[0])["alg"], "none");
            assert_eq!(part(parts[1])["iss"], issuer);
            assert_eq!(part(parts[1])["aud"][0], issuer);
        }
    }

    #[test]
    fn every_forged_header_is_one_of_the_family() {
        for forgery in [Forgery::Plain, Forgery::Underscores, Forgery::Connection] {
            let mut headers = HeaderMap::new();
            forge(&mut headers, forgery, &identity("somebody"));
            let connection = headers.remove(CONNECTION);
            let nominated = connection.is_some_and(|value| {
                let value = value.to_str().unwrap();
                ["x-authgear-user-id", "x-authgear-session-valid"]
                    .iter()
                    .all(|name| value.contains(name))
            });
            assert_eq!(nominated, forgery == Forgery::Connection);
            assert_eq!(headers.len(), 9);
            for name in headers.keys() {
                assert!(gate::engine::is_identity_header(name.as_str().as_bytes()));
            }
        }
    }
}
