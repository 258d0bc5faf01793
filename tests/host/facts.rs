//! Who there is, what they present, and how Authgear answers.

use std::sync::OnceLock;
use std::time::Duration;

use devkit::keys::{SigningKey, Token, User};
use serde_json::{Value, json};

use super::streams::{Headers, HttpCall, May};

pub(super) const ORIGIN: &str = "https://auth.example.com";
/// When every test begins.
pub(super) const EPOCH: Duration = Duration::from_secs(1_767_225_600);
/// Alice's session, as her cookie has it.
pub(super) const SESSION: &str = "session=alice";
/// A token that only the resolver can judge.
pub(super) const OPAQUE: &str = "kWlxrvZl4b0nT2lSyqMxw6kcHjaYSl3d";

/// Keys, and what is signed with them.
pub(super) struct Facts {
    pub(super) jwk: Value,
    /// Alice's token.
    pub(super) token: String,
    /// Hers, too, but its time is over.
    pub(super) expired: String,
    /// Hers by its claims: a stranger has signed it.
    pub(super) forged: String,
    alice: User,
}

/// The same for all tests of a process.
pub(super) fn facts() -> &'static Facts {
    static FACTS: OnceLock<Facts> = OnceLock::new();
    FACTS.get_or_init(|| {
        let (key, stranger) = (SigningKey::es256(), SigningKey::es256());
        let now = EPOCH.as_secs();
        let alice = User::new("alice")
            .roles(&["admin"])
            .authenticated_at(i64::try_from(now - 10).ok());
        let token = |iat: u64| {
            Token::user(ORIGIN, &alice)
                .claim("iat", iat)
                .claim("exp", iat + 1_800)
        };
        Facts {
            jwk: key.jwk(),
            token: token(now - 5).sign(&key),
            expired: token(now - 7_200).sign(&key),
            forged: token(now - 5).sign(&stranger.with_kid(&key.kid)),
            alice,
        }
    })
}

/// Is forwarded as Alice.
pub(super) fn alice() -> May {
    May::GoOnAs(facts().alice.headers())
}

/// Is forwarded as nobody.
pub(super) fn nobody() -> May {
    May::GoOnAs(Vec::new())
}

/// A request with one more header, where one is given, and with all that a client may forge.
pub(super) fn request(path: &str, header: Option<(&str, &str)>) -> Headers {
    let mut headers = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "app.example.com"),
        (":path", path),
        ("x-authgear-user-id", "root"),
        ("x-authgear-user-id", "admin"),
        ("x_authgear_user-roles", "admin"),
        ("x-authgear-of-tomorrow", "yes"),
        ("connection", "x-authgear-session-valid, close"),
        ("accept", "*/*"),
    ];
    headers.extend(header);
    bytes(&headers)
}

pub(super) fn bearer(token: &str) -> Headers {
    request("/api", Some(("authorization", &format!("Bearer {token}"))))
}

pub(super) fn cookie(cookie: &str) -> Headers {
    request("/api", Some(("cookie", cookie)))
}

pub(super) fn trailers() -> Headers {
    bytes(&[
        ("x-checksum", "1"),
        ("x-authgear-user-id", "root"),
        ("x_authgear_user_roles", "admin"),
    ])
}

pub(super) fn bytes(headers: &[(&str, &str)]) -> Headers {
    let headers = headers.iter();
    headers
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

/// Keys in the configuration, and no sessions: no call is made.
pub(super) fn alone() -> Value {
    let keys = json!({ "keys": [facts().jwk] });
    with_rules(json!({ "endpoint": ORIGIN, "jwks": { "inline": keys }, "session": null }))
}

/// Keys in the configuration, and sessions.
pub(super) fn sessions() -> Value {
    with_rules(json!({
        "endpoint": ORIGIN, "cluster": "authgear", "jwks": { "inline": { "keys": [facts().jwk] } },
        "session": { "relay_set_cookie": true },
    }))
}

/// Keys that are fetched, and no sessions.
pub(super) fn fetched_keys() -> Value {
    with_rules(json!({ "endpoint": ORIGIN, "cluster": "authgear", "session": null }))
}

/// All that the smallest configuration has.
pub(super) fn everything() -> Value {
    with_rules(json!({ "endpoint": ORIGIN, "cluster": "authgear" }))
}

fn with_rules(mut project: Value) -> Value {
    project["jwt"] = json!({ "algorithms": ["ES256"] });
    json!({
        "projects": [project],
        "rules": [
            { "match": { "path": "/open" }, "require": "none" },
            { "match": { "path_prefix": "/blog" }, "require": "optional" },
        ],
    })
}

/// How Authgear answers a call. `None`: it does not.
pub(super) fn authgear(call: &HttpCall) -> Option<(Headers, Vec<u8>)> {
    if call.header(":path").ends_with("/jwks") {
        return Some(key_set());
    }
    Some(resolution(call.header("cookie").contains(SESSION)))
}

pub(super) fn key_set() -> (Headers, Vec<u8>) {
    let headers = bytes(&[(":status", "200"), ("content-type", "application/json")]);
    let body = json!({ "keys": [facts().jwk] }).to_string();
    (headers, body.into_bytes())
}

/// What the resolver says of a session: it is Alice's, or nobody's.
pub(super) fn resolution(valid: bool) -> (Headers, Vec<u8>) {
    let mut headers = bytes(&[(":status", "200"), ("set-cookie", "session=renewed")]);
    if valid {
        let alice = facts().alice.headers();
        let alice = alice.iter().map(|(name, value)| (&**name, &**value));
        headers.extend(bytes(&alice.collect::<Vec<_>>()));
    } else {
        headers.extend(bytes(&[("x-authgear-session-valid", "false")]));
    }
    (headers, Vec::new())
}
