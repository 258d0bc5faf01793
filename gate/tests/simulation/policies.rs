//! What the operator asks of whom, drawn for a world, and judged by the evaluator of `tests/policies`, which knows the
//! documents alone.

use serde_json::{Map, Value, json};

use crate::authgear::Identity;
use crate::decision::{self, Memory, Verdict};
use crate::paths;
use crate::random::Random;
use crate::requests::{Octets, Request, User};
use crate::rules::{self, Asked, Route};
use crate::scenario::ISSUER;

const PATHS: [&str; 6] = ["/none/x", "/optional/x", "/x", "/a", "/a/b", "/admin"];

/// The members of a configuration that say what is asked.
pub(crate) fn draw(random: &mut Random) -> Value {
    let mut rules = vec![
        json!({ "match": { "path_prefix": "/none" }, "require": "none" }),
        json!({ "match": { "path_prefix": "/optional" }, "require": "optional" }),
    ];
    for _ in 0..random.between(3, 7) {
        let mut rule = draw_requirement(random);
        rule["match"] = draw_match(random);
        let mut with = rules.clone();
        with.insert(random.index(with.len() + 1), rule);
        let config = json!({ "projects": [{ "endpoint": ISSUER, "session": {} }], "rules": with });
        if rules::contradictions(&config).is_empty() {
            rules = with;
        }
    }
    json!({ "rules": rules, "default": draw_requirement(random) })
}

fn draw_match(random: &mut Random) -> Value {
    let paths = [
        json!({ "path": "/a" }),
        json!({ "path": "/x" }),
        json!({ "path": "/a/*" }),
        json!({ "path_prefix": "/a" }),
        json!({ "path_prefix": "/admin" }),
        json!({}),
    ];
    let mut matches = random.of(&paths).clone();
    match random.below(8) {
        0 => matches["headers"] = json!({ "x-mode": "beta" }),
        1 => matches["query"] = json!({ "mode": ["beta", "next"] }),
        2 => matches["methods"] = json!(["POST"]),
        3 => matches["not"] = json!({ "path": "/a/b" }),
        4 => matches["hosts"] = json!(["app.example.com"]),
        _ => {}
    }
    matches
}

fn draw_requirement(random: &mut Random) -> Value {
    match random.below(10) {
        0 => json!({ "require": "none" }),
        1 | 2 => json!({ "require": "optional" }),
        3..6 => json!({ "require": "user" }),
        _ => {
            let mut allow = Map::new();
            for _ in 0..random.between(1, 2) {
                let (name, value) = draw_condition(random);
                allow.insert(name.to_owned(), value);
            }
            if random.percent(20) {
                let mut alternative = || {
                    let (name, value) = draw_condition(random);
                    json!({ name: value })
                };
                allow = Map::new();
                allow.insert("any_of".to_owned(), json!([alternative(), alternative()]));
            }
            json!({ "require": "user", "allow": allow })
        }
    }
}

fn draw_condition(random: &mut Random) -> (&'static str, Value) {
    match random.below(13) {
        0 | 1 => ("roles_any", json!(["admin", "owner"])),
        2 => ("roles_all", json!(["admin", "staff"])),
        3 | 4 => ("verified", json!(random.percent(70))),
        5 => ("anonymous", json!(random.percent(30))),
        6 => ("can_reauthenticate", json!(random.percent(50))),
        7 => ("max_auth_age", json!(*random.of(&["1h", "15m"]))),
        8 => ("claims", json!({ "tenant": ["acme"] })),
        9..12 => ("scopes_any", json!(["read", "write"])),
        _ => ("client_ids", json!(["app"])),
    }
}

/// What a request is for.
pub(crate) fn target(random: &mut Random) -> Request {
    let path = if random.percent(8) {
        paths::draw(random, &json!({}))
    } else {
        let queries = [
            "",
            "",
            "",
            "?mode=beta",
            "?mode=next&a",
            "?Mode=beta",
            "?mode=old",
        ];
        let (path, query) = (*random.of(&PATHS), *random.of(&queries));
        format!("{path}{query}").into_bytes()
    };
    let headers: &[(&str, &str)] = match random.below(8) {
        0 => &[("x-mode", "beta")],
        1 => &[("x_mode", "beta")],
        2 => &[("x-mode", "old"), ("x-mode", "beta")],
        _ => &[],
    };
    let headers = headers.iter();
    Request {
        method: (*random.of(&["GET", "GET", "GET", "POST", "HEAD", "get"])).to_owned(),
        authority: (*random.of(&["app.example.com", "app.example.com", "other.test", ""]))
            .to_owned(),
        path: Octets(path),
        headers: headers
            .map(|(name, value)| (*name, Octets(value.as_bytes().to_vec())))
            .collect(),
        ..Request::default()
    }
}

/// What a policy asks of a request.
pub(crate) fn route(policy: &Value, target: &Request) -> Route {
    rules::route(policy, target, &mut Vec::new())
}

/// What becomes of a user, by what is true of them. `by_token`: they were authenticated by a token that was verified here.
pub(crate) fn judge(
    asked: &Asked,
    now: u64,
    user: &User,
    by_token: Option<Identity>,
) -> (Verdict, Vec<String>) {
    let claims = by_token.map(claims);
    let config = json!({ "projects": [{ "endpoint": ISSUER }] });
    let memory = Memory::new();
    let request = Request {
        now,
        ..Request::default()
    };
    let mut case = decision::Case::new(&config, &request, &memory);
    let verdict = case.admits(asked, user, claims.as_ref());
    let notes = std::mem::take(&mut case.notes);
    (verdict, notes)
}

/// What a token claims beyond what the resolver knows as well.
pub(crate) fn claims(identity: Identity) -> Value {
    let Identity { user, edition } = identity;
    json!({
        "client_id": if user % 3 == 0 { "web" } else { "app" },
        "tenant": if (user + edition) % 2 == 0 { "acme" } else { "beta" },
        "scope": if user % 3 == 0 { "openid read" } else { "openid" },
    })
}

/// What is true of a user.
pub(crate) fn facts(id: &str, identity: Identity) -> User {
    let Identity { user, edition } = identity;
    let number = user + edition;
    let mut roles = vec![format!("edition-{edition}")];
    for (role, nth) in [("admin", 2), ("staff", 3)] {
        if number % nth == 0 {
            roles.push(role.to_owned());
        }
    }
    User {
        id: id.to_owned(),
        anonymous: number % 5 == 4,
        verified: number % 4 != 3,
        can_reauthenticate: number % 3 != 1,
        roles,
        amr: Vec::new(),
        authenticated_at: Some(1_136_171_045),
    }
}
