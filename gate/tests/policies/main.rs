//! Configurations and requests that are drawn from seeds, judged twice: by the engine, and by a naive evaluator that follows
//! docs/behaviour.md and docs/configuration.md word by word, and shares nothing with the engine but the text of the
//! configuration.
//!
//! `readings`, `client`, `rules` and `decision` are the evaluator; `configurations`, `requests` and `paths` draw; `driver` runs the engine.
//! `SEED=… cargo test --package authgear-gate --test policies -- --nocapture` repeats one seed.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod client;
mod configurations;
mod cores;
mod decision;
mod driver;
mod paths;
#[path = "../simulation/random.rs"]
mod random;
mod readings;
mod requests;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use cores::on_all_cores;
use decision::{Case, Memory, Outcomes, Question, Verdict};
use driver::Driver;
use random::Random;
use requests::{Octets, Says, Source};

/// How many configurations are drawn with care, so that few are refused; each judges so many requests.
const SEEDS: u64 = 960;
const REQUESTS: u64 = 100;

/// How many configurations are drawn without care, and only read.
const CARELESS: u64 = 15_000;

/// What was met, and how often.
type Tally = BTreeMap<String, u64>;

#[test]
fn the_engine_decides_as_the_documentation_says() {
    let mut tally = Tally::new();
    if let Some(seed) = seed() {
        check(seed, &mut tally);
        return println!("{tally:#?}");
    }
    let tally = tally_of(SEEDS, check);
    show(&tally);
    expect(&tally, EACH);
    let times = |what: &str| tally.get(what).copied().unwrap_or_default();
    assert!(times("configuration refused") * 100 <= times("configuration taken"));
    // Where the documentation leaves open which of two answers is given.
    for (what, times) in tally.iter().filter(|(what, _)| what.starts_with("unsure")) {
        assert!(times * 200 < tally["request"], "{what}: {times} times");
    }
}

#[test]
fn configurations_are_refused_for_the_documented_contradictions_and_no_others() {
    let mut tally = Tally::new();
    let judge = |seed, tally: &mut Tally| {
        let config = configurations::draw(&mut Random::new(seed), false);
        let _ = driver_of(seed, &config, tally);
    };
    if let Some(seed) = seed() {
        judge(seed, &mut tally);
        return println!("{tally:#?}");
    }
    let tally = tally_of(CARELESS, judge);
    show(&tally);
    expect(&tally, EACH_REFUSED);
}

/// A browser takes `\` for a slash and leaves `%5C` as it is, so that the first of these is `/admin` to it.
#[test]
fn each_way_to_read_a_path_counts_alone_too() {
    let mut random = Random::new(0);
    let mut config = configurations::draw(&mut random, true);
    let public = json!({ "match": { "path_prefix": "/public/" }, "require": "none" });
    config["rules"] = json!([public]);
    config["default"] = json!({ "require": "user" });
    let mut driver = Driver::new(&config.to_string()).unwrap();
    let mut request = requests::draw(&mut random, &mut Source::new(&config), 1_767_225_600);
    request.method = "GET".to_owned();
    request.authority = "app.example.com".to_owned();
    for path in [r"/public/a%5Cb\..\..\admin", "/public/a%2Fb/../..%3F"] {
        request.path = Octets(path.as_bytes().to_vec());
        let right = Case::new(&config, &request, &Memory::new()).judge();
        let (verdicts, _) = driver.run(std::slice::from_ref(&request));
        assert!(
            right.iter().any(|(expected, _)| *expected == verdicts[0]),
            "{path}: {verdicts:?}"
        );
    }
}

/// What so many seeds have met.
fn tally_of(seeds: u64, meet: impl Fn(u64, &mut Tally) + Sync) -> Tally {
    let shares = on_all_cores(seeds, |share| {
        let mut tally = Tally::new();
        share.for_each(|seed| meet(seed, &mut tally));
        tally
    });
    let mut tally = Tally::new();
    for (what, times) in shares.into_iter().flatten() {
        *tally.entry(what).or_default() += times;
    }
    tally
}

fn seed() -> Option<u64> {
    let seed = std::env::var("SEED").ok()?;
    Some(seed.parse().expect("SEED is a number"))
}

fn show(tally: &Tally) {
    for (what, times) in tally {
        println!("{times:>6} {what}");
    }
}

fn expect(tally: &Tally, each: &[&str]) {
    for what in each {
        let times = tally.get(*what).copied().unwrap_or_default();
        assert!(times >= 100, "{what}: {times} times");
    }
}

/// What must be met a hundred times.
const EACH: &[&str] = &[
    "ambiguous host",
    "ambiguous method",
    "ambiguous path",
    "ambiguous path of many readings",
    "ambiguous readings",
    "readings agree",
    "near rule and another",
    "header asked, for nobody",
    "header asked, for some",
    "header asked, for all",
    "header asked to be there, for nobody",
    "header asked to be there, for some",
    "header asked to be there, for all",
    "header asked not to be there, for nobody",
    "header asked not to be there, for some",
    "header asked not to be there, for all",
    "parameter asked, for nobody",
    "parameter asked, for some",
    "parameter asked, for all",
    "parameter asked to be there, for nobody",
    "parameter asked to be there, for some",
    "parameter asked to be there, for all",
    "parameter asked not to be there, for nobody",
    "parameter asked not to be there, for some",
    "parameter asked not to be there, for all",
    "a query within the path",
    "project by its host",
    "project by its domain",
    "project by its host, within another's domain",
    "project by its domain, within another's domain",
    "project of all others",
    "project of a request that names no host",
    "token of another project",
    "token signed with another project's key",
    "session of another project",
    "not, no",
    "not, yes",
    "near rule asks for less",
    "near rule asks for more",
    "require none",
    "require optional",
    "require user",
    "require machine",
    "require user or machine",
    "require user and machine",
    "two tokens in headers",
    "good token in a header",
    "good token in a header, not accepted",
    "bad token in a header",
    "good token in a cookie alone",
    "bad token in a cookie",
    "token in a cookie, not accepted",
    "a user's token in a cookie beside sessions",
    "another token in a cookie beside sessions",
    "token presented again",
    "session seen before",
    "two at once",
    "two at once ask 1",
    "two at once ask 2",
    "resolver asked by authorization",
    "resolver asked by cookie",
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
    "client_ids holds",
    "client_ids fails",
    "claims by name holds",
    "claims by name fails",
    "claims by path holds",
    "claims by path fails",
    "claims present true holds",
    "claims present true fails",
    "claims present false holds",
    "claims present false fails",
    "any_of holds",
    "any_of fails",
    "scopes_any holds",
    "scopes_any fails",
    "scopes_all holds",
    "scopes_all fails",
    "amr_any holds",
    "amr_any fails",
    "amr_all holds",
    "amr_all fails",
    "max_auth_age holds",
    "max_auth_age fails",
    "max_auth_age over by 0",
    "max_auth_age over by 1",
    "header of a role, has it: true",
    "header of a role, has it: false",
    "forwarded unchecked",
    "forwarded anonymous",
    "forwarded user",
    "forwarded machine",
    "answered 400 invalid_request",
    "answered 401 unauthenticated",
    "answered 401 invalid_token",
    "answered 401 insufficient_user_authentication",
    "answered 403 forbidden",
    "answered 403 insufficient_scope",
    "answered 421 misdirected_request",
    "answered 503 unavailable",
];

/// The same of configurations.
const EACH_REFUSED: &[&str] = &[
    "configuration taken",
    "configuration refused",
    "refused: none asks",
    "refused: optional allows",
    "refused: machine with sessions",
    "refused: machine without audiences",
    "refused: sessions that are off",
    "refused: clients that the project refuses",
    "refused: a token's condition without tokens",
    "refused: a user's condition without users",
    "refused: a user's condition for machines too",
    "refused: never reached",
];

/// An engine of this configuration; `None`: it is refused, and rightly.
fn driver_of(seed: u64, config: &Value, tally: &mut Tally) -> Option<Driver> {
    let mut count = |what: String| *tally.entry(what).or_default() += 1;
    let contradictions = rules::contradictions(config);
    match Driver::new(&config.to_string()) {
        Ok(driver) => {
            let none = contradictions.is_empty();
            assert!(
                none,
                "SEED={seed}: not refused: {contradictions:?}\n{config}"
            );
            count("configuration taken".to_owned());
            Some(driver)
        }
        Err(errors) => {
            let none = contradictions.is_empty();
            assert!(!none, "SEED={seed}: refused, and why? {errors}\n{config}");
            count("configuration refused".to_owned());
            for what in contradictions {
                count(format!("refused: {what}"));
            }
            None
        }
    }
}

/// All requests of one seed, to one engine.
fn check(seed: u64, tally: &mut Tally) {
    let mut random = Random::new(seed);
    let config = configurations::draw(&mut random, true);
    let Some(mut driver) = driver_of(seed, &config, tally) else {
        return;
    };
    let mut source = Source::new(&config);
    let mut presented = BTreeSet::new();
    let mut memory = Memory::new();
    let mut now = 1_767_225_600;
    let mut last: Option<requests::Request> = None;
    for nth in 0..REQUESTS {
        now += random.below(3);
        let request = match last {
            Some(last) if random.percent(15) => last.later(&mut random, &source, now),
            _ => requests::draw(&mut random, &mut source, now),
        };
        last = Some(request.clone());
        let mut together = vec![request];
        // Another request of the same client may join the call.
        if random.percent(30) {
            let other = together[0].elsewhere(&mut random, &source);
            together.push(other);
        }
        let mut cases: Vec<_> = together
            .iter()
            .map(|request| Case::new(&config, request, &memory))
            .collect();
        let right: Vec<Outcomes> = cases.iter_mut().map(Case::judge).collect();
        let (verdicts, asked) = driver.run(&together);
        let met: Vec<_> = cases.into_iter().map(|case| case.notes).collect();
        assert!(
            fits(&right, &verdicts, &asked),
            "SEED={seed}, request {nth}\n{config}\n{together:?}\nmet: {met:?}\n\
             expected {right:#?}\nfound {verdicts:#?}\nasked {asked:#?}"
        );
        let mut notes: Vec<String> = met.into_iter().flatten().collect();
        if together.len() > 1 {
            notes.push("two at once".to_owned());
            if !asked.is_empty() && right.iter().all(|right| right[0].1.is_some()) {
                notes.push(format!("two at once ask {}", asked.len()));
            }
        }
        for token in &together[0].tokens {
            if !presented.insert(token.text.clone()) {
                notes.push("token presented again".to_owned());
            }
        }
        for verdict in &verdicts {
            notes.push("request".to_owned());
            notes.push(match verdict {
                Verdict::Forwarded(as_whom, _) => format!("forwarded {as_whom}"),
                Verdict::Answered(status, code, _) => format!("answered {status} {code}"),
            });
        }
        for note in notes {
            *tally.entry(note).or_default() += 1;
        }
        match &together[0].resolver {
            Says::Yes(user) => {
                let cached = asked
                    .into_iter()
                    .filter(|(whose, _)| is_cached(&config, whose));
                memory.extend(cached.map(|question| (question, user.clone())));
            }
            Says::NoVerdict(_) if !asked.is_empty() => memory.clear(),
            _ => {}
        }
    }
}

/// Whether one outcome of each request is what was found, and they ask together what was asked.
fn fits(right: &[Outcomes], verdicts: &[Verdict], asked: &BTreeSet<Question>) -> bool {
    let mut ways = vec![BTreeSet::new()];
    for (right, verdict) in right.iter().zip(verdicts) {
        let questions = right.iter().filter(|(expected, _)| expected == verdict);
        let questions: Vec<_> = questions.map(|(_, question)| question).collect();
        let mut more = Vec::new();
        for way in &ways {
            for question in &questions {
                let mut way: BTreeSet<Question> = way.clone();
                way.extend((*question).clone());
                more.push(way);
            }
        }
        ways = more;
    }
    ways.contains(asked)
}

/// `whose`: the endpoint of the project whose resolver was asked, and by what.
fn is_cached(config: &Value, whose: &str) -> bool {
    let projects = config["projects"].as_array().unwrap();
    let of = |project: &&Value| whose.starts_with(project["endpoint"].as_str().unwrap());
    let project = projects.iter().find(of).unwrap();
    project["session"]["ttl"] == json!("1h")
}
