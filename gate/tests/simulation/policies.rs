//! What the operator asks of whom, drawn for a world, and judged by the evaluator of `tests/policies`, which knows the
//! documents alone.

use serde_json::{Value, json};

use crate::authgear::Identity;
use crate::decision::{self, Memory, Verdict};
use crate::host::EPOCH;
use crate::paths;
use crate::projects::ORIGINS;
use crate::random::Random;
use crate::requests::{Octets, Request, User};
use crate::rules::{self, Asked, Route};
use crate::scenario::ISSUER;

/// Another audience than the project.
const API: &str = "https://api.example.com";

const PATHS: [&str; 12] = [
    "/none/x",
    "/optional/x",
    "/x",
    "/a",
    "/a/b",
    "/admin",
    "/m",
    "/m/x",
    "/b",
    "/b/c",
    "/b/d/e",
    "/c",
];

const METHODS: [&str; 10] = [
    "GET", "GET", "GET", "GET", "GET", "GET", "POST", "POST", "HEAD", "get",
];

/// The host of the other project, where there is one.
pub(crate) const OTHER_HOST: &str = "other.test";

const HOSTS: [&str; 8] = [
    "app.example.com",
    "app.example.com",
    "app.example.com",
    "APP.example.com:443",
    OTHER_HOST,
    OTHER_HOST,
    "www.example.com",
    "",
];

/// The members of a configuration that say what is asked.
pub(crate) fn draw(tenants: bool, random: &mut Random) -> Value {
    let mut projects = json!([{ "endpoint": ISSUER, "session": {}, "hosts": [] }]);
    if tenants {
        if random.percent(50) {
            projects[0]["hosts"] = json!(["app.example.com"]);
        }
        let other = json!({ "endpoint": ORIGINS[1], "session": {}, "hosts": [OTHER_HOST] });
        projects.as_array_mut().unwrap().push(other);
    }
    let mut rules = vec![
        json!({ "match": { "path_prefix": "/none" }, "require": "none" }),
        json!({ "match": { "path_prefix": "/optional" }, "require": "optional" }),
    ];
    for nth in 0..random.between(7, 12) {
        let mut rule = draw_requirement(random, nth < 2);
        rule["match"] = if nth < 2 {
            json!({ "path_prefix": if nth == 0 { "/m/x" } else { "/m" } })
        } else {
            draw_match(random)
        };
        let mut with = rules.clone();
        with.insert(random.index(with.len() + 1), rule);
        let config = json!({ "projects": projects, "rules": with });
        if rules::contradictions(&config).is_empty() {
            rules = with;
        }
    }
    loop {
        let default = draw_requirement(random, false);
        let config = json!({ "projects": projects, "default": default });
        if rules::contradictions(&config).is_empty() {
            return json!({ "projects": projects, "rules": rules, "default": default });
        }
    }
}

fn draw_match(random: &mut Random) -> Value {
    let paths = [
        json!({ "path": "/a" }),
        json!({ "path": "/x" }),
        json!({ "path": "/a/*" }),
        json!({ "path_prefix": "/a" }),
        json!({ "path_prefix": "/admin" }),
        json!({ "path_prefix": "/b" }),
        json!({ "path_prefix": "/b/c" }),
        json!({ "path_prefix": "/b/d" }),
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

fn draw_requirement(random: &mut Random, for_machines: bool) -> Value {
    let kind = if for_machines {
        random.between(5, 6)
    } else {
        random.below(14)
    };
    let mut asked = match kind {
        0 => return json!({ "require": "none" }),
        1 | 2 => json!({ "require": "optional" }),
        3..5 => json!({ "require": "user" }),
        5 => json!({ "require": "machine" }),
        6 => json!({ "require": ["user", "machine"] }),
        _ => json!({ "require": "user", "allow": draw_allow(random, draw_condition) }),
    };
    let for_machines = asked["require"] == "machine" || asked["require"].is_array();
    if for_machines && random.percent(60) {
        asked["allow"] = draw_allow(random, draw_condition_on_tokens);
    }
    if random.percent(12) {
        let kinds = [
            json!(["jwt"]),
            json!(["session"]),
            json!(["jwt", "session"]),
        ];
        asked["accept"] = random.of(&kinds).clone();
    }
    if for_machines || random.percent(12) {
        let audiences = [
            json!([API]),
            json!([API]),
            json!([ISSUER, API]),
            json!([ISSUER]),
        ];
        asked["audiences"] = random.of(&audiences).clone();
    }
    asked
}

fn draw_allow(random: &mut Random, draw: fn(&mut Random) -> (&'static str, Value)) -> Value {
    let mut one = || {
        let (name, value) = draw(random);
        json!({ name: value })
    };
    let (first, second) = (one(), one());
    match random.below(5) {
        0 => json!({ "any_of": [first, second] }),
        1 | 2 => first,
        _ => {
            let mut both = first;
            let more = second.as_object().unwrap().clone();
            both.as_object_mut().unwrap().extend(more);
            both
        }
    }
}

fn draw_condition(random: &mut Random) -> (&'static str, Value) {
    match random.below(13) {
        0 | 1 => ("roles_any", json!(["admin", "owner"])),
        2 => (
            "roles_all",
            random
                .of(&[json!(["admin", "staff"]), json!(["staff"])])
                .clone(),
        ),
        3 | 4 => ("verified", json!(random.percent(70))),
        5 => ("anonymous", json!(random.percent(50))),
        6 => ("can_reauthenticate", json!(random.percent(50))),
        7..9 => ("max_auth_age", json!(*random.of(&["1h", "15m"]))),
        _ => draw_condition_on_tokens(random),
    }
}

fn draw_condition_on_tokens(random: &mut Random) -> (&'static str, Value) {
    let scopes = [json!(["read", "write"]), json!(["read"]), json!(["write"])];
    let claims = [
        json!({ "tenant": ["acme"] }),
        json!({ "tenant": "beta" }),
        json!({ "/org/id": [0, 1], "tenant": { "present": true } }),
        json!({ "/org/id": [0, 2] }),
    ];
    match random.below(11) {
        0..4 => ("claims", random.of(&claims).clone()),
        4..7 => ("scopes_any", random.of(&scopes).clone()),
        7..9 => ("scopes_all", json!(["openid", "read"])),
        _ => ("client_ids", json!(["app", "m0", "m2"])),
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
        method: (*random.of(&METHODS)).to_owned(),
        authority: (*random.of(&HOSTS)).to_owned(),
        path: Octets(path),
        headers: headers
            .map(|(name, value)| (*name, Octets(value.as_bytes().to_vec())))
            .collect(),
        ..Request::default()
    }
}

/// The project that judges a request.
pub(crate) fn project_of(policy: &Value, target: &Request) -> Option<usize> {
    let project = rules::project_of(policy, &target.authority, &mut Vec::new())?;
    ORIGINS
        .iter()
        .position(|origin| project["endpoint"] == *origin)
}

/// All that a policy may look at.
pub(crate) fn key_of(target: &Request) -> String {
    let Request {
        method,
        authority,
        path,
        headers,
        ..
    } = target;
    format!("{method} {authority} {path:?} {headers:?}")
}

/// What a policy asks of a request.
pub(crate) fn route(policy: &Value, target: &Request) -> Route {
    rules::route(policy, target, &mut Vec::new())
}

/// Whether a token is for all audiences that are asked for; the project has its own alone.
pub(crate) fn is_meant(asked: &Asked, project: usize, audiences: &[&str]) -> bool {
    asked.audiences.iter().all(|one| match one {
        None => audiences.contains(&ORIGINS[project]),
        Some(one) => audiences
            .iter()
            .any(|mine| one.iter().any(|other| mine == other)),
    })
}

/// What becomes of a user, or, without one, of a machine, by what is true of them. `claims`: those of the token by which
/// they were authenticated.
pub(crate) fn judge(
    asked: &Asked,
    project: usize,
    now: u64,
    user: Option<&User>,
    claims: Option<&Value>,
) -> (Verdict, Vec<String>) {
    let config = json!({ "projects": [{ "endpoint": ORIGINS[project] }] });
    let memory = Memory::new();
    let request = Request {
        now,
        ..Request::default()
    };
    let mut case = decision::Case::new(&config, &request, &memory);
    let verdict = case.admits(asked, user, claims);
    let notes = std::mem::take(&mut case.notes);
    (verdict, notes)
}

/// What a token claims beyond what the resolver knows as well.
pub(crate) fn claims(identity: Identity) -> Value {
    let Identity { user, edition } = identity;
    json!({
        "client_id": if user % 3 == 0 { "web" } else { "app" },
        "tenant": if (user + edition) % 2 == 0 { "acme" } else { "beta" },
        "org": { "id": user % 3 },
        "scope": if user % 3 < 2 { "openid read" } else { "openid" },
    })
}

/// The audiences of a token.
pub(crate) fn audiences(random: &mut Random, project: usize, machine: bool) -> Vec<&'static str> {
    match random.below(10) {
        0..6 if !machine => vec![ORIGINS[project]],
        6..8 => vec![ORIGINS[project], API],
        _ => vec![API],
    }
}

/// The client that acts in the place of a user.
pub(crate) fn client(identity: Identity) -> String {
    format!("m{}", identity.user)
}

/// Whose client these headers name, if they name one and say nothing else.
pub(crate) fn client_in(headers: &[(String, String)]) -> Option<usize> {
    let [(name, client)] = headers else {
        return None;
    };
    let user = client
        .strip_prefix('m')
        .filter(|_| name == "x-authgear-client-id");
    user?.parse().ok()
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
        authenticated_at: match number % 4 {
            0 => None,
            1 => Some(EPOCH - 7_200),
            nth => Some(EPOCH - 300 * nth as u64),
        },
    }
}
