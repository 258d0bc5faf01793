//! Each host call of a scenario goes wrong in each way, one by one: no request passes by it, and the VM traps only where
//! `src/filter/sdk.rs` says so.

use std::collections::BTreeSet;

use super::meddle::{Answer, Which};
use super::scenarios::{self, Scenario};
use super::wasm::{Host, INTERNAL_FAILURE};
use super::world::World;

/// A trap that is known, and that `src/filter/sdk.rs` lists with the reason why no supported host gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// The SDK takes three statuses of `proxy_http_call` only.
    DispatchStatus,
    /// The SDK takes a token once, while it is under way.
    TokenUnderWay,
    /// The SDK takes answers only to calls that the host said it had made.
    UnknownToken,
    /// Rust's hash maps need random numbers.
    Entropy,
    /// The SDK has the context that made a call be the effective one as it is answered.
    EffectiveContext,
}

impl Known {
    /// The call that goes wrong, and what the panic says.
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::DispatchStatus, "proxy_http_call", "unexpected status"),
        (Self::TokenUnderWay, "proxy_http_call", "duplicate token_id"),
        (Self::UnknownToken, "proxy_http_call", "invalid token_id"),
        (
            Self::EffectiveContext,
            "proxy_set_effective_context",
            "called `Result::unwrap()` on an `Err` value",
        ),
        (
            Self::Entropy,
            "random_get",
            "failed to generate random data",
        ),
        // Errors that WASI does not know.
        (Self::Entropy, "random_get", "out of bounds memory access"),
        (
            Self::EffectiveContext,
            "proxy_set_effective_context",
            "unexpected status",
        ),
    ];

    fn of(call: &str, panic: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        let known = all.find(|(_, name, says)| *name == call && panic.contains(says));
        known.map(|(known, _, _)| *known)
    }
}

/// Those of Proxy-Wasm, and a number that is none.
const STATUSES: [u32; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 999];

/// All that can go wrong with this call.
fn answers(call: &str) -> Vec<Answer> {
    let mut answers: Vec<Answer> = STATUSES.map(Answer::Status).to_vec();
    answers.push(Answer::DoneBut(10));
    answers.extend(match call {
        "proxy_get_buffer_bytes"
        | "proxy_get_header_map_pairs"
        | "proxy_get_property"
        | "proxy_get_shared_data"
        | "proxy_call_foreign_function" => {
            vec![Answer::Empty, Answer::Garbage, Answer::Oversized]
        }
        "proxy_get_current_time_nanoseconds" | "clock_time_get" => {
            vec![Answer::Number(0), Answer::Number(u64::MAX)]
        }
        "proxy_http_call" => vec![
            Answer::Number(0),
            Answer::Number(u64::MAX),
            Answer::TokenUnderWay,
        ],
        "proxy_define_metric" => vec![Answer::Number(0), Answer::Number(u64::MAX)],
        _ => Vec::new(),
    });
    answers
}

/// From where on host calls go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// The very first one.
    Start,
    /// The first one after a root was configured: what comes before is the same in another scenario, which begins there.
    Configured,
}

/// Whether the last of these calls defines or records one metric among many: all that can go wrong was tried with the first.
fn like_the_last(calls: &[&str]) -> bool {
    matches!(calls, [.., before, last] if before == last && last.ends_with("_metric"))
}

/// Runs the scenario with each of its host calls gone wrong, and then with all calls of each function. The known traps
/// are those that occur, no more and no fewer.
fn try_all(scenario: Scenario, from: From, known: &[Known]) {
    let mut world = World::new();
    (scenario.run)(&mut world);
    world.assert_sound();
    let calls = world.host().calls.clone();
    let names: BTreeSet<&'static str> = calls.iter().copied().collect();
    let first = match from {
        From::Start => 0,
        From::Configured => world.first_configured(),
    };
    let one = calls.iter().enumerate().skip(first);
    let one = one.map(|(nth, name)| (Which::Nth(nth), *name, like_the_last(&calls[..=nth])));
    let every = names
        .iter()
        .map(|name| (Which::Every(vec![name]), *name, false));
    let mut occurred = BTreeSet::new();
    let mut failures = Vec::new();
    let mut cases = 0;
    for (which, name, alike) in one.chain(every) {
        let answers = if alike {
            vec![Answer::Status(INTERNAL_FAILURE)]
        } else {
            answers(name)
        };
        for answer in answers {
            cases += 1;
            let change = |host: &mut Host| host.meddle = vec![(which.clone(), answer)];
            let mut world = if from == From::Configured && matches!(which, Which::Nth(_)) {
                World::recalled(change)
            } else {
                World::with(change)
            };
            (scenario.run)(&mut world);
            let trap = world.trap();
            let trap_is_known = trap.and_then(|panic| Known::of(name, panic));
            occurred.extend(trap_is_known);
            let violations = world.violations();
            if !violations.is_empty() || (trap.is_some() && trap_is_known.is_none()) {
                failures.push(format!(
                    "{}, {which:?} ({name}), {answer:?}: {violations:?}\n{}",
                    scenario.name,
                    world.story()
                ));
            }
        }
    }
    println!(
        "{}: {} host calls, {cases} cases",
        scenario.name,
        calls.len()
    );
    assert!(
        failures.is_empty(),
        "{} of {cases} cases:\n{}",
        failures.len(),
        failures
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    let expected: BTreeSet<Known> = known.iter().copied().collect();
    assert_eq!(occurred, expected, "known traps of {}", scenario.name);
}

macro_rules! scenario {
    ($name:ident) => {
        Scenario {
            name: stringify!($name),
            run: scenarios::$name,
        }
    };
}

use Known::{DispatchStatus, EffectiveContext, Entropy, TokenUnderWay, UnknownToken};

#[test]
fn of_a_token() {
    try_all(scenario!(token), From::Start, &[Entropy]);
}

#[test]
fn of_a_refusal() {
    try_all(scenario!(refusal), From::Configured, &[Entropy]);
}

#[test]
fn of_a_cold_session() {
    let known = [
        DispatchStatus,
        EffectiveContext,
        Entropy,
        TokenUnderWay,
        UnknownToken,
    ];
    try_all(scenario!(cold_session), From::Configured, &known);
}

#[test]
fn without_a_resolver() {
    let known = [
        DispatchStatus,
        EffectiveContext,
        Entropy,
        TokenUnderWay,
        UnknownToken,
    ];
    try_all(scenario!(no_resolver), From::Configured, &known);
}

#[test]
fn of_tokens_that_wait_for_keys() {
    let known = [DispatchStatus, EffectiveContext, Entropy, UnknownToken];
    try_all(scenario!(wait_for_keys), From::Configured, &known);
}

#[test]
fn of_keys_that_are_shared() {
    let known = [DispatchStatus, EffectiveContext, Entropy, UnknownToken];
    try_all(scenario!(shared_keys), From::Configured, &known);
}

#[test]
fn of_trailers() {
    let known = [
        DispatchStatus,
        EffectiveContext,
        Entropy,
        TokenUnderWay,
        UnknownToken,
    ];
    try_all(scenario!(with_trailers), From::Configured, &known);
}

#[test]
fn of_a_reload() {
    let known = [
        DispatchStatus,
        EffectiveContext,
        Entropy,
        TokenUnderWay,
        UnknownToken,
    ];
    try_all(scenario!(reload), From::Configured, &known);
}

#[test]
fn of_a_broken_configuration() {
    try_all(scenario!(taken_though_broken), From::Configured, &[Entropy]);
}

#[test]
fn of_ticks() {
    let known = [DispatchStatus, EffectiveContext, Entropy, UnknownToken];
    try_all(scenario!(on_tick), From::Configured, &known);
}
