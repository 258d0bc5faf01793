//! Hosts that cannot do everything: what a configuration needs is refused at load, in one line; what it does not need is not
//! missed.

use serde_json::{Value, json};

use super::facts::{
    OPAQUE, SESSION, alice, alone, bearer, cookie, everything, facts, fetched_keys, nobody,
    request, sessions,
};
use super::meddle::{Answer, Which};
use super::streams::{Fate, May};
use super::wasm::{ERROR, INTERNAL_FAILURE, UNIMPLEMENTED};
use super::world::World;

/// A host that answers these functions so, and a plugin in it. Whether its configuration was taken.
fn without(functions: &[&'static str], status: u32, configuration: &Value) -> (World, u32, bool) {
    let mut world = World::with(|host| {
        host.meddle = vec![(Which::Every(functions.to_vec()), Answer::Status(status))];
    });
    let (root, taken) = world.plugin(configuration);
    (world, root, taken)
}

const LACKS: &str = "configuration refused: configuration: the host lacks what it needs: ";

/// What only a configuration that makes calls needs.
const FOR_CALLS: [(&str, &str); 3] = [
    ("proxy_http_call", "calls (proxy_http_call)"),
    (
        "proxy_set_tick_period_milliseconds",
        "ticks (proxy_set_tick_period_milliseconds)",
    ),
    (
        "proxy_set_effective_context",
        "acting for a request that waits (proxy_set_effective_context)",
    ),
];

/// What no configuration needs.
const FOR_NOTHING: [&str; 9] = [
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_call_foreign_function",
    "proxy_get_property",
    "proxy_log",
    // There is WASI's.
    "proxy_get_current_time_nanoseconds",
];

/// The statuses by which hosts answer for what they do not have.
const STATUSES: [u32; 4] = [1, INTERNAL_FAILURE, UNIMPLEMENTED, 999];

/// Each of them alone, and all of them.
fn each_and_all<T: Copy>(all: &[T]) -> impl Iterator<Item = &[T]> {
    all.chunks(1).chain([all])
}

/// Configurations that make calls.
fn calling() -> [(&'static str, Value); 4] {
    let mut confirmed = alone();
    let project = &mut confirmed["projects"][0];
    project["cluster"] = "authgear".into();
    project["session"] = json!({});
    project["jwt"]["revalidate"] = "1m".into();
    [
        ("fetched keys and sessions", everything()),
        ("fetched keys", fetched_keys()),
        ("sessions", sessions()),
        ("confirmed tokens", confirmed),
    ]
}

/// Tokens are judged, and no call is made.
fn assert_serves_tokens(world: &mut World, root: u32, case: &str) {
    for (headers, expected) in [
        (request("/open", None), Some(nobody())),
        (request("/blog", None), Some(nobody())),
        (bearer(&facts().token), Some(alice())),
        (request("/api", None), None),
        (bearer(&facts().forged), None),
        (bearer(OPAQUE), None),
        (cookie("session=made-up"), None),
    ] {
        let refused = expected.is_none();
        let stream = world.open(root, headers, expected.unwrap_or(May::Never));
        if refused {
            let fate = world.fate(stream);
            assert_eq!(fate, Fate::Answered(401), "{case}: {}", world.story());
        } else {
            let forwarded = world.fate(stream).is_forwarded();
            assert!(forwarded, "{case}: {}", world.story());
        }
    }
    assert!(world.under_way().is_empty(), "{case}: {}", world.story());
}

/// Tokens and sessions are judged, with the keys and the resolver's answers that come.
fn assert_serves_sessions(world: &mut World, root: u32, case: &str) {
    let good = [cookie(SESSION), bearer(&facts().token)];
    let good = good.map(|headers| world.open(root, headers, alice()));
    let stranger = world.open(root, cookie("session=made-up"), May::Never);
    world.tick(root);
    world.answer_calls(root);
    for stream in good {
        let forwarded = world.fate(stream).is_forwarded();
        assert!(forwarded, "{case}: {}", world.story());
    }
    for stream in [
        stranger,
        world.open(root, request("/api", None), May::Never),
    ] {
        let fate = world.fate(stream);
        assert_eq!(fate, Fate::Answered(401), "{case}: {}", world.story());
    }
}

#[test]
fn what_calls_need_is_refused_where_it_is_not_there_all_of_it_in_one_line() {
    for (fixture, configuration) in calling() {
        for missing in each_and_all(&FOR_CALLS) {
            let (functions, names): (Vec<&str>, Vec<&str>) = missing.iter().copied().unzip();
            for status in STATUSES {
                let (world, _, taken) = without(&functions, status, &configuration);
                let case = format!("{fixture} without {functions:?}, {status}");
                assert!(!taken, "{case}: {}", world.story());
                let line = format!("{LACKS}{}", names.join(", "));
                assert_eq!(world.lines(ERROR), [line], "{case}");
                world.assert_sound();
            }
        }
    }
}

#[test]
fn set_to_close_it_closes_where_it_is_not_there() {
    let mut configuration = everything();
    configuration["on_invalid_config"] = "close".into();
    for missing in each_and_all(&FOR_CALLS) {
        let functions: Vec<&str> = missing.iter().map(|(function, _)| *function).collect();
        for status in STATUSES {
            let (mut world, root, taken) = without(&functions, status, &configuration);
            assert!(taken, "{functions:?} {status}: {}", world.story());
            for headers in [
                request("/api", None),
                bearer(&facts().token),
                cookie(SESSION),
            ] {
                let stream = world.open(root, headers, May::Never);
                let fate = world.fate(stream);
                assert_eq!(fate, Fate::Answered(503), "{}", world.story());
            }
            let lines = world.lines(ERROR);
            assert!(lines[0].starts_with(LACKS), "{lines:?}");
            world.assert_sound();
        }
    }
}

#[test]
fn inline_keys_without_sessions_miss_nothing_that_only_calls_need() {
    let for_calls = FOR_CALLS.map(|(function, _)| function);
    let all: Vec<&str> = for_calls.into_iter().chain(FOR_NOTHING).collect();
    for functions in each_and_all(&all) {
        for status in STATUSES {
            let (mut world, root, taken) = without(functions, status, &alone());
            let case = format!("{functions:?} {status}");
            assert!(taken, "{case}: {}", world.story());
            assert_serves_tokens(&mut world, root, &case);
            world.assert_sound();
        }
    }
}

#[test]
fn a_host_that_says_yes_to_everything_cannot_make_calls() {
    // To a call to nobody, and to acting for nobody.
    for (function, answer) in [
        ("proxy_http_call", Answer::Status(0)),
        ("proxy_set_effective_context", Answer::Status(0)),
    ] {
        let mut world = World::with(|host| {
            host.meddle = vec![(Which::Every(vec![function]), answer)];
        });
        let (_, taken) = world.plugin(&everything());
        assert!(!taken, "{function}: {}", world.story());
        assert_eq!(world.lines(ERROR).len(), 1, "{}", world.story());
        world.assert_sound();
    }
}

#[test]
fn without_any_clock_everything_is_refused() {
    let clocks = ["proxy_get_current_time_nanoseconds", "clock_time_get"];
    for configuration in [alone(), everything()] {
        let (mut world, root, taken) = without(&clocks, UNIMPLEMENTED, &configuration);
        assert!(!taken, "{}", world.story());
        let line = format!("{LACKS}a clock (proxy_get_current_time_nanoseconds)");
        assert_eq!(world.lines(ERROR), [line]);
        let stream = world.open(root, bearer(&facts().token), May::Never);
        assert_eq!(world.fate(stream), Fate::Answered(503));
        world.assert_sound();
    }
}

#[test]
fn one_clock_is_enough() {
    for clock in ["proxy_get_current_time_nanoseconds", "clock_time_get"] {
        let (mut world, root, taken) = without(&[clock], UNIMPLEMENTED, &everything());
        assert!(taken, "{clock}: {}", world.story());
        world.tick(root);
        world.answer_calls(root);
        let good = world.open(root, bearer(&facts().token), alice());
        assert!(world.fate(good).is_forwarded(), "{}", world.story());
        let late = world.open(root, bearer(&facts().expired), May::Never);
        assert_eq!(world.fate(late), Fate::Answered(401));
        world.assert_sound();
    }
}

#[test]
fn what_no_configuration_needs_is_not_missed() {
    for functions in each_and_all(&FOR_NOTHING) {
        for status in STATUSES {
            let (mut world, root, taken) = without(functions, status, &everything());
            let case = format!("{functions:?} {status}");
            assert!(taken, "{case}: {}", world.story());
            assert_serves_sessions(&mut world, root, &case);
            world.assert_sound();
        }
    }
}

/// A configuration that is wrong for another reason is closed whatever the host lacks.
#[test]
fn what_cannot_be_understood_is_closed_on_a_host_that_can_do_nothing() {
    let for_calls = FOR_CALLS.map(|(function, _)| function);
    let all: Vec<&str> = for_calls.into_iter().chain(FOR_NOTHING).collect();
    let configuration = json!({ "projects": 7, "on_invalid_config": "close" });
    for status in STATUSES {
        let (mut world, root, taken) = without(&all, status, &configuration);
        assert!(taken, "{status}: {}", world.story());
        let stream = world.open(root, bearer(&facts().token), May::Never);
        assert_eq!(world.fate(stream), Fate::Answered(503), "{status}");
        world.assert_sound();
    }
}
