//! Hosts that cannot do everything: what a configuration needs is refused at load, in one line; what it does not need is not
//! missed.

use serde_json::Value;

use super::facts::{alice, alone, bearer, everything, facts};
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

#[test]
fn what_calls_need_is_refused_where_it_is_not_there() {
    for (function, what) in [
        ("proxy_http_call", "calls (proxy_http_call)"),
        (
            "proxy_set_tick_period_milliseconds",
            "ticks (proxy_set_tick_period_milliseconds)",
        ),
        (
            "proxy_set_effective_context",
            "acting for a request that waits (proxy_set_effective_context)",
        ),
    ] {
        for status in [1, INTERNAL_FAILURE, UNIMPLEMENTED, 999] {
            let (world, _, taken) = without(&[function], status, &everything());
            assert!(!taken, "{function} {status}: {}", world.story());
            assert_eq!(world.lines(ERROR), [format!("{LACKS}{what}")]);
            world.assert_sound();
            let (mut world, root, taken) = without(&[function], status, &alone());
            assert!(taken, "{function} {status}: {}", world.story());
            let stream = world.open(root, bearer(&facts().token), alice());
            assert!(world.fate(stream).is_forwarded(), "{}", world.story());
            world.assert_sound();
        }
    }
}

#[test]
fn all_that_is_missing_is_said_in_one_line() {
    let missing = [
        "proxy_http_call",
        "proxy_set_tick_period_milliseconds",
        "proxy_set_effective_context",
    ];
    let (world, _, taken) = without(&missing, UNIMPLEMENTED, &everything());
    assert!(!taken);
    let [line] = world.lines(ERROR)[..] else {
        panic!("{}", world.story());
    };
    assert!(missing.iter().all(|name| line.contains(name)), "{line}");
    world.assert_sound();
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
    for function in [
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_define_metric",
        "proxy_increment_metric",
        "proxy_record_metric",
        "proxy_get_property",
        "proxy_call_foreign_function",
        "proxy_log",
    ] {
        for status in [1, INTERNAL_FAILURE, UNIMPLEMENTED, 999] {
            let (mut world, root, taken) = without(&[function], status, &everything());
            assert!(taken, "{function} {status}: {}", world.story());
            let session = super::facts::cookie("session=alice");
            let session = world.open(root, session, alice());
            let token = world.open(root, bearer(&facts().token), alice());
            world.tick(root);
            world.answer_calls(root);
            for stream in [session, token] {
                assert!(
                    world.fate(stream).is_forwarded(),
                    "{function}: {}",
                    world.story()
                );
            }
            world.assert_sound();
        }
    }
}
