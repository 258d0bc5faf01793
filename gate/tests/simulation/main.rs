//! A simulation of the engine's world: workers as Envoy runs them, an Authgear that fails and recovers, users, crowds and
//! attackers. All of it follows from a seed, and each step is judged by what is true at Authgear and what
//! docs/behaviour.md grants, never by what the engine caches. What is asked of whom is drawn, too, and judged by the naive
//! evaluator of `tests/policies`.
//!
//! `DURATION=60 make simulate` lives one world after the other for so many seconds; `SEED=… STEPS=… make simulate` lives one
//! again, and prints its last events.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod answers;
mod authgear;
mod bounds;
mod callbacks;
mod changes;
#[allow(dead_code, reason = "tests/policies uses all of it")]
#[path = "../policies/client.rs"]
mod client;
mod clients;
#[allow(dead_code, reason = "tests/policies uses all of it")]
#[path = "../policies/configurations.rs"]
mod configurations;
#[path = "../policies/cores.rs"]
mod cores;
#[allow(dead_code, reason = "tests/policies uses all of it")]
#[path = "../policies/decision.rs"]
mod decision;
mod ends;
mod host;
mod judge;
mod jwt;
mod knowledge;
mod ledger;
#[allow(dead_code, reason = "tests/policies uses all of it")]
#[path = "../policies/paths.rs"]
mod paths;
mod policies;
mod projects;
mod random;
#[allow(dead_code, reason = "tests/policies uses all of it")]
#[path = "../policies/readings.rs"]
mod readings;
#[allow(dead_code, reason = "tests/policies uses all of it")]
#[path = "../policies/requests.rs"]
mod requests;
#[allow(dead_code, reason = "tests/policies uses all of it")]
#[path = "../policies/rules.rs"]
mod rules;
mod scenario;
mod shared;
mod tokens;
mod trace;
mod upstream;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use cores::on_all_cores;
use world::{Ends, Met, World};

/// How a world has been.
#[derive(Debug, PartialEq)]
struct Lived {
    ends: Ends,
    /// How many calls were made in it.
    calls: u32,
    met: Met,
}

/// What is wrong in a world, if anything; and how its requests ended.
fn live(seed: u64, steps: u64, traced: bool) -> Result<Lived, String> {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, traced);
        let mut step = 0;
        while step < steps && world.violation.is_none() {
            world.step();
            step += 1;
        }
        if world.violation.is_none() {
            world.end();
        }
        match world.violation {
            None => Ok(Lived {
                ends: world.ends,
                calls: world.tokens,
                met: world.met.into_inner(),
            }),
            Some(violation) => Err(format!("{violation} (seed {seed}, step {step})")),
        }
    }));
    lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("the engine panicked: {}", text.unwrap_or_default()))
    })
}

/// Lives a world; one that goes wrong is lived again for its story.
fn run(seed: u64, steps: u64) -> Lived {
    match live(seed, steps, false) {
        Ok(lived) => lived,
        Err(violation) => {
            let again = live(seed, steps, true).err();
            let story = trace::last();
            panic!(
                "{violation}\n\n{story}\nAgain: SEED={seed} STEPS={steps} make simulate\n{}",
                if again.as_ref() == Some(&violation) {
                    ""
                } else {
                    "(the second time it went otherwise)"
                }
            );
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

const STEPS: u64 = 3_000;

/// What must be met a hundred times.
const EACH: &[&str] = &[
    "roles_any holds",
    "roles_any fails",
    "roles_all holds",
    "roles_all fails",
    "verified holds",
    "verified fails",
    "anonymous holds",
    "anonymous fails",
    "can_reauthenticate holds",
    "can_reauthenticate fails",
    "max_auth_age fails",
    "client_ids holds",
    "client_ids fails",
    "claims by name holds",
    "claims by name fails",
    "scopes_any holds",
    "scopes_any fails",
    "any_of holds",
    "any_of fails",
    "scopes_all holds",
    "scopes_all fails",
    "claims by path holds",
    "claims by path fails",
    "max_auth_age holds",
    "a project's token at another",
    "a project's session at another",
    "forwarded user of another project",
    "a host without a project",
    "require none",
    "require optional",
    "require user",
    "require machine",
    "require user or machine",
    "a token for another audience",
    "a token that is not accepted",
    "a session that is not accepted",
    "a user by a token",
    "a user by a session",
    "forwarded unchecked",
    "forwarded anonymous",
    "forwarded user",
    "forwarded user who has waited",
    "forwarded machine",
    "answered 400 invalid_request",
    "answered 401 unauthenticated",
    "answered 401 invalid_token",
    "answered 401 insufficient_user_authentication",
    "answered 403 forbidden",
    "answered 403 insufficient_scope",
    "answered 421 misdirected_request",
    "answered 503 unavailable",
    "denied after a wait",
];

#[test]
fn worlds_of_fixed_seeds_hold() {
    let shares = on_all_cores(60, |share| {
        share.map(|seed| run(seed, STEPS)).collect::<Vec<Lived>>()
    });
    let worlds: Vec<Lived> = shares.into_iter().flatten().collect();
    let all = worlds.iter().map(|lived| lived.ends);
    let ends = all.fold(Ends::default(), |all, ends| Ends {
        users: all.users + ends.users,
        machines: all.machines + ends.machines,
        nobody: all.nobody + ends.nobody,
        unauthenticated: all.unauthenticated + ends.unauthenticated,
        unavailable: all.unavailable + ends.unavailable,
        other: all.other + ends.other,
        left: all.left + ends.left,
    });
    println!("{ends:?}");
    let mut met = Met::new();
    for (what, times) in worlds.into_iter().flat_map(|lived| lived.met) {
        *met.entry(what).or_default() += times;
    }
    println!("{met:#?}");
    for what in EACH {
        let times = met.get(*what).copied().unwrap_or_default();
        assert!(times >= 100, "{what}: {times} times");
    }
    let each = [
        ends.users,
        ends.machines,
        ends.nobody,
        ends.unauthenticated,
        ends.unavailable,
        ends.other,
        ends.left,
    ];
    assert!(each.iter().all(|count| *count > 100), "{ends:?}");
}

#[test]
fn the_same_seed_makes_the_same_world() {
    assert_eq!(live(7, STEPS, false), live(7, STEPS, true));
}

/// `make simulate`.
#[test]
#[ignore = "as long as one likes"]
fn worlds_hold_for_a_while() {
    let steps = number("STEPS").unwrap_or(20_000);
    if let Some(seed) = number("SEED") {
        let outcome = live(seed, steps, true);
        println!("{}{outcome:?}", trace::last());
        assert!(outcome.is_ok());
        return;
    }
    let until = Instant::now() + Duration::from_secs(number("DURATION").unwrap_or(60));
    let first = number("FROM").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap().as_secs() << 16
    });
    let (mut worlds, begun) = (0, Instant::now());
    while Instant::now() < until {
        run(first + worlds, steps);
        worlds += 1;
    }
    let pace = (worlds * steps) as f64 / begun.elapsed().as_secs_f64();
    println!("{worlds} worlds of {steps} steps from seed {first}: {pace:.0} steps a second");
}
