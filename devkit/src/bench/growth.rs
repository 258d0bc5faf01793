//! Whether a request costs more where more is cached or configured: it should not.

use std::collections::BTreeMap;
use std::rc::Rc;

use rand::RngCore as _;
use serde_json::{Value, json};

use super::idle::{rounded, settled_memory};
use super::measure::{Effort, Gateway, Variant, measure as measure_variants};
use super::report::Figures;
use super::requests::{ANSWERED, Requests, sessions, sign_tokens, with_sessions, with_tokens};
use super::{Bench, gateways};
use crate::keys::{SigningKey, b64};

/// How many of each thing.
#[derive(Clone, Debug)]
pub struct Sizes(&'static [usize]);

impl Sizes {
    /// Up to what the filter is made for.
    pub const FULL: Self = Self(&[1, 100, 10_000]);
    /// Only to see that it works.
    pub const QUICK: Self = Self(&[10]);
}

const KINDS: [&str; 6] = [
    "cached tokens",
    "cached sessions",
    "keys",
    "rules",
    "rules with conditions",
    "projects",
];

/// As many projects as there may be.
const MAX_PROJECTS: usize = 100;

/// Rows of the kind, the count, the cost of a request, and the memory after all requests.
pub(super) fn measure(bench: &Bench<'_>, sizes: &Sizes) -> anyhow::Result<Value> {
    let most = sizes.0.iter().copied().max().unwrap_or(1);
    bench.options.say(&format!("growth: signing {most} tokens"));
    // ES256, because it signs fast; what is measured is not verified again.
    let key = SigningKey::es256();
    let tokens = sign_tokens(most, &bench.user, &key);
    let sessions = sessions(most);
    let mut documents = vec![(gateways::JWKS.to_owned(), json!({ "keys": [key.jwk()] }))];
    for count in sizes.0 {
        let others = (1..*count).map(|_| another_key());
        let keys: Vec<Value> = others.chain([key.jwk()]).collect();
        documents.push((keys_path(*count), json!({ "keys": keys })));
    }
    let origin = bench.origin(&documents)?;

    let plain = bench.start(gateways::plain(origin.address()))?;
    let one = &tokens[..1];
    let mut variants = vec![
        Variant::new("base", &plain, &with_tokens(ANSWERED, one))?,
        Variant::new(
            "base_session",
            &plain,
            &with_sessions(ANSWERED, &sessions[..1]),
        )?,
    ];
    let mut rows: Vec<(&str, usize, Rc<Gateway>)> = Vec::new();
    for kind in KINDS {
        for count in counts(kind, sizes) {
            let (requests, base): (Requests, _) = match kind {
                "cached tokens" => (with_tokens(ANSWERED, &tokens[..count]), "base"),
                "cached sessions" => (with_sessions(ANSWERED, &sessions[..count]), "base_session"),
                _ => (with_tokens(ANSWERED, one), "base"),
            };
            let configuration = configuration(kind, count);
            let gateway = bench.start(gateways::ours(origin.address(), &configuration))?;
            variants.push(Variant::new(name(kind, count), &gateway, &requests)?.beside(base));
            rows.push((kind, count, gateway));
        }
    }
    let effort = Effort {
        rounds: bench.options.rounds.min(20),
        requests: bench.options.requests,
    };
    let figures = measure_variants(&mut variants, &origin, effort, |what| {
        bench.options.say(&format!("growth: {what}"));
    })?;
    let figures = Figures::new(&variants, figures);
    let row = |(kind, count, gateway): (&str, usize, Rc<Gateway>)| {
        let added = figures.added(&name(kind, count));
        let memory = bench.runtime.block_on(settled_memory(&gateway.envoy));
        json!({
            "of": kind,
            "count": count,
            "added_us_per_request": added.map(|added| rounded(added.median)),
            "memory_mib": rounded(memory),
        })
    };
    Ok(rows.into_iter().map(row).collect())
}

/// One, some, and the most.
fn counts(kind: &str, sizes: &Sizes) -> Vec<usize> {
    let of_projects = |count: &usize| match *count {
        10_000 => MAX_PROJECTS,
        100 => 10,
        other => other,
    };
    match kind {
        "projects" => sizes.0.iter().map(of_projects).collect(),
        _ => sizes.0.to_vec(),
    }
}

fn name(kind: &str, count: usize) -> String {
    format!("{count} {kind}")
}

fn keys_path(count: usize) -> String {
    format!("/keys/{count}")
}

fn configuration(kind: &str, count: usize) -> Value {
    let mut configuration = gateways::configuration();
    configuration["projects"][0]["jwt"] = json!({ "algorithms": ["ES256", "RS256"] });
    match kind {
        "keys" => configuration["projects"][0]["jwks"] = json!({ "uri": keys_path(count) }),
        "rules" => {
            // None of them matches: the whole list has been considered when the default applies.
            let rule = |n| json!({ "match": { "path_prefix": format!("/section-{n}/") }, "require": "user" });
            configuration["rules"] = (0..count).map(rule).collect();
        }
        "rules with conditions" => {
            let allow = json!({
                "roles_any": ["owner", "admin"],
                "verified": true,
                "anonymous": false,
                "scopes_any": ["openid"],
                "max_auth_age": "365d",
            });
            // The last one matches, and all of its conditions hold.
            let others = (1..count).map(|n| json!({ "path_prefix": format!("/section-{n}/") }));
            let matches = others.chain([json!({})]);
            let rule = |matches| json!({ "match": matches, "require": "user", "allow": allow });
            configuration["rules"] = matches.map(rule).collect();
        }
        "projects" => {
            let first = configuration["projects"][0].clone();
            let other = |n| {
                let mut project = first.clone();
                project["endpoint"] = json!(format!("https://auth-{n}.example.com"));
                project["hosts"] = json!([format!("app-{n}.example.com")]);
                project["jwks"] = json!({ "inline": { "keys": [another_key()] } });
                project
            };
            let others = (1..count).map(other);
            configuration["projects"] = others.chain([first.clone()]).collect();
        }
        _ => {
            let limits = ["cached_tokens", "cached_sessions"].map(|limit| (limit, count.max(100)));
            configuration["limits"] = json!(BTreeMap::from(limits));
        }
    }
    configuration
}

/// A public key that nobody has the private one of.
fn another_key() -> Value {
    let mut modulus = [0; 256];
    rand::rngs::OsRng.fill_bytes(&mut modulus);
    modulus[0] |= 0x80;
    modulus[255] |= 1;
    let id = crate::keys::random_uuid();
    json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": b64(&modulus), "e": "AQAB" })
}
