//! Configurations, drawn at random.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use testkit::SigningKey;

use crate::random::Random;
use crate::rules::{ENDPOINTS, contradictions};

pub(crate) const AUDIENCES: [&str; 5] = [
    ENDPOINTS[0],
    ENDPOINTS[1],
    "https://api.example.com",
    "https://api.example.com/jobs",
    ENDPOINTS[2],
];
pub(crate) const CLIENTS: [&str; 3] = ["web", "app", "job"];
pub(crate) const ROLE_KEYS: [&str; 3] = ["admin", "owner", "staff"];
pub(crate) const METHODS_OF_LOGIN: [&str; 3] = ["mfa", "otp", "pwd"];
pub(crate) const SCOPES: [&str; 4] = ["openid", "partner", "read", "write"];

/// Values of `max_auth_age`, and how many seconds they are.
pub(crate) const AGES_IN_RULES: [(&str, u64); 5] = [
    ("10s", 10),
    ("60s", 60),
    ("5m", 300),
    ("15m", 900),
    ("1h", 3_600),
];

/// The paths of rules.
pub(crate) const PATHS: [&str; 13] = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/c",
    "/A",
    "/admin",
    "/admin/",
    "/Admin/x",
    "/public",
    "/public/",
    "/caf\u{e9}",
    "/x",
];

/// Those with segments that stand for any one, and for all below.
pub(crate) const PATTERNS: [&str; 6] = ["/a/*", "/*/b", "/a/*/c", "/*", "/a/**", "/*/b/**"];

/// A configuration. `careful`: what contradicts itself is drawn again.
pub(crate) fn draw(random: &mut Random, careful: bool) -> Value {
    let mut config = json!({ "projects": draw_projects(random), "rules": [] });
    if random.percent(25) {
        let headers = json!({ "admin": "x-authgear-role-admin", "staff": "x-authgear-role-crew" });
        config["upstream"] = json!({ "role_headers": headers });
    }
    if random.percent(70) {
        config["default"] = draw_requirement(random, careful);
    }
    for _ in 0..20 {
        if !careful || contradictions(&config).is_empty() {
            break;
        }
        config["default"] = draw_requirement(random, careful);
    }
    for _ in 0..random.between(1, 7) {
        for _ in 0..20 {
            let mut rule = draw_requirement(random, careful);
            rule["match"] = draw_match(random);
            let mut with = config.clone();
            with["rules"].as_array_mut().unwrap().push(rule);
            if !careful || contradictions(&with).is_empty() {
                config = with;
                break;
            }
        }
    }
    config
}

/// Those of projects, and of nobody.
const HOSTS: [&str; 12] = [
    "app.example.com",
    "www.example.com",
    "other.test",
    "*.example.com",
    "*.example.com",
    "*.b.example.com",
    "a.b.example.com",
    "*.example.org",
    "example.com",
    "10.0.0.1",
    "my_service",
    "*.test",
];

/// One to three, for all hosts or for some.
fn draw_projects(random: &mut Random) -> Value {
    let count = *random.of(&[1, 1, 1, 2, 2, 3]);
    let mut hosts = vec![Vec::new(); count];
    let guarded = count > 1 || random.percent(20);
    for (nth, host) in HOSTS.iter().enumerate().filter(|_| guarded) {
        let taken = hosts.iter().flatten().any(|other| other == host);
        // Most requests are for the first of them.
        if !taken && random.percent(if nth < 3 { 80 } else { 40 }) {
            hosts[random.index(count)].push(*host);
        }
    }
    // A domain of one within a domain of another.
    if count > 1 && random.percent(30) {
        for hosts in &mut hosts {
            hosts.retain(|host| !["*.example.com", "*.b.example.com"].contains(host));
        }
        hosts[0].push("*.example.com");
        hosts[1].push("*.b.example.com");
    }
    let mut projects = Vec::new();
    let mut others = false;
    for (nth, hosts) in hosts.iter_mut().enumerate() {
        // One may guard all others.
        if hosts.is_empty() && others || nth == 0 && count > 1 && random.percent(40) {
            hosts.push(["first.test", "second.test", "third.test"][nth]);
        }
        if !others && random.percent(30) {
            hosts.clear();
        }
        others |= hosts.is_empty();
        projects.push(draw_project(random, nth, hosts));
    }
    json!(projects)
}

/// The keys of the projects. Nothing is ever signed with them: a stub knows whose signature is whose.
pub(crate) static KEYS: LazyLock<[SigningKey; 3]> =
    LazyLock::new(|| [(); 3].map(|()| SigningKey::es256().with_kid("key")));

fn draw_project(random: &mut Random, nth: usize, hosts: &[&str]) -> Value {
    let mut project = json!({
        "endpoint": ENDPOINTS[nth], "cluster": "authgear",
        "jwks": { "inline": { "keys": [KEYS[nth].jwk()] } },
        "jwt": { "algorithms": ["ES256"] },
        "session": { "ttl": "0s", "negative_ttl": "0s" },
        "hosts": hosts,
    });
    if random.percent(50) {
        project["session"]["ttl"] = json!("1h");
    }
    if random.percent(10) {
        project["session"] = Value::Null;
    }
    if random.percent(40) {
        project["jwt"]["audiences"] = random
            .of(&[json!([ENDPOINTS[nth], AUDIENCES[2]]), json!([AUDIENCES[2]])])
            .clone();
    }
    if random.percent(18) {
        project["jwt"]["client_ids"] = json!(list(random, &CLIENTS));
    }
    project
}

/// One or two of these, in their order.
fn list(random: &mut Random, of: &[&'static str]) -> Vec<&'static str> {
    let (one, other) = (random.index(of.len()), random.index(of.len()));
    let chosen = of
        .iter()
        .enumerate()
        .filter(|(nth, _)| *nth == one || *nth == other);
    chosen.map(|(_, text)| *text).collect()
}

fn draw_match(random: &mut Random) -> Value {
    let mut matches = json!({});
    match random.below(20) {
        0 => {}
        1..9 => matches["path"] = json!(random.of(&PATHS)),
        9..12 => matches["path"] = json!(random.of(&PATTERNS)),
        12 => matches["path_prefix"] = json!(random.of(&PATTERNS[..4])),
        _ => matches["path_prefix"] = json!(random.of(&PATHS)),
    }
    if random.percent(25) {
        let methods = [
            json!(["GET"]),
            json!(["POST"]),
            json!(["HEAD"]),
            json!(["GET", "POST"]),
            json!(["DELETE", "POST"]),
        ];
        matches["methods"] = random.of(&methods).clone();
    }
    if random.percent(25) {
        let hosts = [
            json!(["app.example.com"]),
            json!(["*.example.com"]),
            json!(["app.example.com", "other.test"]),
            json!(["*.example.org", "www.example.com"]),
            json!(["*.b.example.com"]),
        ];
        matches["hosts"] = random.of(&hosts).clone();
    }
    if random.percent(20) {
        matches["headers"] = draw_client_conditions(random, HEADERS);
    }
    if random.percent(20) {
        matches["query"] = draw_client_conditions(random, PARAMETERS);
    }
    if random.percent(20) {
        let not = [
            json!({ "path": "/a/b" }),
            json!({ "path": "/a/*" }),
            json!({ "path_prefix": "/public" }),
            json!({ "path_prefix": "/a/" }),
            json!({ "methods": ["GET"] }),
            json!({ "path_prefix": "/admin", "methods": ["POST"] }),
            json!({ "hosts": ["app.example.com"] }),
            json!({ "path": "/x", "hosts": ["*.example.com"] }),
            json!({ "path_prefix": "/a", "query": { "bulk": ["yes", "no"] } }),
        ];
        matches["not"] = random.of(&not).clone();
        if random.percent(20) {
            matches["not"]["headers"] = draw_client_conditions(random, HEADERS);
        }
        if random.percent(20) {
            matches["not"]["query"] = draw_client_conditions(random, PARAMETERS);
        }
    }
    matches
}

const HEADERS: [&str; 3] = ["x-mode", "x-bulk", "x_mode"];
const PARAMETERS: [&str; 3] = ["mode", "bulk", "Mode"];

/// What is asked of headers, or of the query.
fn draw_client_conditions(random: &mut Random, names: [&str; 3]) -> Value {
    let asked = [
        json!("beta"),
        json!(["beta", "next"]),
        json!("yes"),
        json!(["yes"]),
        json!({ "present": true }),
        json!({ "present": false }),
    ];
    let mut conditions = json!({});
    for _ in 0..*random.of(&[1, 1, 1, 2]) {
        let name = *random.of(&[names[0], names[0], names[0], names[1], names[1], names[2]]);
        conditions[name] = random.of(&asked).clone();
        // A list in a header, which no parameter has.
        if name.starts_with('x') && random.percent(10) {
            conditions[name] = random.of(&[json!("old, beta"), json!("beta,next")]).clone();
        }
    }
    conditions
}

/// What a rule asks, or `default`.
fn draw_requirement(random: &mut Random, careful: bool) -> Value {
    let require = match random.below(100) {
        0..12 => json!("none"),
        12..25 => json!("optional"),
        25..62 => json!("user"),
        62..80 => json!("machine"),
        _ => random
            .of(&[json!(["user", "machine"]), json!(["machine", "user"])])
            .clone(),
    };
    let mut asked = json!({ "require": require });
    let text = require.as_str().unwrap_or("both");
    if text == "none" && careful {
        return asked;
    }
    let for_machines = matches!(text, "machine" | "both");
    if random.percent(25) {
        let accept = [
            json!(["jwt"]),
            json!(["session"]),
            json!(["jwt", "session"]),
            json!(["session", "jwt"]),
        ];
        asked["accept"] = random.of(&accept).clone();
    }
    if random.percent(if for_machines { 80 } else { 15 }) {
        asked["audiences"] = json!(list(random, &AUDIENCES));
    }
    if text == "both" && random.percent(50) {
        asked["accept"] = json!(["jwt", "session"]);
    }
    let allows = !matches!(text, "none" | "optional");
    if random.percent(if allows { 60 } else { 5 }) {
        let conditions = random.between(1, 3);
        asked["allow"] = Value::Object(draw_allow(random, text, conditions, true));
    }
    asked
}

const OF_USERS: [&str; 10] = [
    "roles_any",
    "roles_all",
    "verified",
    "anonymous",
    "can_reauthenticate",
    "amr_any",
    "amr_all",
    "max_auth_age",
    "max_auth_age",
    "max_auth_age",
];
const OF_ALL: [&str; 5] = ["client_ids", "claims", "claims", "scopes_any", "scopes_all"];

fn draw_allow(
    random: &mut Random,
    require: &str,
    conditions: u64,
    outermost: bool,
) -> Map<String, Value> {
    let mut allow = Map::new();
    for _ in 0..conditions {
        let of_users = match require {
            "machine" => 5,
            "both" if outermost => 10,
            "both" => 50,
            _ => 65,
        };
        let name = if outermost && random.percent(15) {
            "any_of"
        } else if random.percent(of_users) {
            *random.of(&OF_USERS)
        } else {
            *random.of(&OF_ALL)
        };
        let value = match name {
            "roles_any" | "roles_all" => json!(list(random, &ROLE_KEYS)),
            "amr_any" | "amr_all" => json!(list(random, &METHODS_OF_LOGIN)),
            "scopes_any" | "scopes_all" => json!(list(random, &SCOPES)),
            "client_ids" => json!(list(random, &CLIENTS)),
            "max_auth_age" => json!(random.of(&AGES_IN_RULES).0),
            "claims" => draw_claims(random),
            "any_of" => {
                let alternatives = (0..random.between(1, 3)).map(|_| {
                    let conditions = random.between(1, 2);
                    Value::Object(draw_allow(random, require, conditions, false))
                });
                Value::Array(alternatives.collect())
            }
            _ => json!(random.percent(50)),
        };
        allow.insert(name.to_owned(), value);
    }
    allow
}

fn draw_claims(random: &mut Random) -> Value {
    let names = [
        "tenant",
        "tenant",
        "/tenant",
        "https://example.com/claims/tenant",
        "/org/id",
        "/org/id",
        "/org/a~1b",
        "/org",
    ];
    let values = [
        json!("acme"),
        json!("acme"),
        json!(["acme", "beta"]),
        json!(["acme", "beta"]),
        json!(["acme", 3]),
        json!(["acme", 3]),
        json!(3),
        json!("3"),
        json!(true),
        json!([true, "true"]),
        json!(-1.5),
        json!(9_007_199_254_740_991_u64),
        json!({ "present": true }),
        json!({ "present": true }),
        json!({ "present": false }),
        json!({ "present": false }),
    ];
    let mut claims = json!({});
    for _ in 0..random.between(1, 2) {
        claims[*random.of(&names)] = random.of(&values).clone();
    }
    claims
}
