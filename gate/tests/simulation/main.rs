//! A simulation of the engine's world: workers as Envoy runs them, an Authgear that fails and recovers, users, crowds and
//! attackers. All of it follows from a seed, and each step is judged by what is true at Authgear and what
//! docs/behaviour.md grants, never by what the engine caches.
//!
//! `DURATION=60 make simulate` lives one world after the other for so many seconds; `SEED=… STEPS=… make simulate` lives one
//! again, and prints its last events.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod answers;
mod authgear;
mod bounds;
mod callbacks;
mod changes;
mod clients;
mod ends;
mod host;
mod judge;
mod jwt;
mod knowledge;
mod ledger;
mod random;
mod scenario;
mod shared;
mod tokens;
mod trace;
mod upstream;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use world::{Ends, World};

/// What is wrong in a world, if anything; and how its requests ended.
fn live(seed: u64, steps: u64, traced: bool) -> Result<(Ends, u32), String> {
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
            None => Ok((world.ends, world.tokens)),
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
fn run(seed: u64, steps: u64) -> Ends {
    match live(seed, steps, false) {
        Ok((ends, _)) => ends,
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

#[test]
fn worlds_of_fixed_seeds_hold() {
    let worlds = (0..60).map(|seed| run(seed, STEPS));
    let ends = worlds.fold(Ends::default(), |all, ends| Ends {
        users: all.users + ends.users,
        nobody: all.nobody + ends.nobody,
        unauthenticated: all.unauthenticated + ends.unauthenticated,
        unavailable: all.unavailable + ends.unavailable,
        other: all.other + ends.other,
        left: all.left + ends.left,
    });
    println!("{ends:?}");
    let each = [
        ends.users,
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
