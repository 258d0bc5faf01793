//! What the filter is for, on this host: so that the other tests fail only for their own causes.

use std::time::Duration;

use super::facts::{
    alice, alone, bearer, cookie, everything, facts, fetched_keys, nobody, request, sessions,
};
use super::meddle::{Answer, Which};
use super::streams::{Fate, May};
use super::wasm::{INTERNAL_FAILURE, UNIMPLEMENTED};
use super::world::World;

/// A world with one plugin.
fn world(configuration: &serde_json::Value) -> (World, u32) {
    let mut world = World::new();
    let (root, taken) = world.plugin(configuration);
    assert!(taken, "{}", world.story());
    (world, root)
}

#[test]
fn a_valid_token_goes_on_as_its_user_and_nobody_else() {
    let (mut world, root) = world(&alone());
    let stream = world.open(root, bearer(&facts().token), alice());
    assert!(world.fate(stream).is_forwarded(), "{}", world.story());
    world.assert_sound();
}

#[test]
fn who_presents_nothing_or_nothing_good_is_answered() {
    let (mut world, root) = world(&alone());
    for headers in [
        request("/api", None),
        bearer(&facts().expired),
        bearer(&facts().forged),
        cookie("session=made-up"),
    ] {
        let stream = world.open(root, headers, May::Never);
        assert_eq!(world.fate(stream), Fate::Answered(401), "{}", world.story());
    }
    world.assert_sound();
}

#[test]
fn what_is_open_to_all_goes_on_as_nobody() {
    let (mut world, root) = world(&alone());
    for path in ["/open", "/blog"] {
        let stream = world.open(root, request(path, None), nobody());
        assert!(world.fate(stream).is_forwarded(), "{}", world.story());
    }
    world.assert_sound();
}

#[test]
fn a_session_waits_for_the_resolver_and_is_cached() {
    let (mut world, root) = world(&sessions());
    let streams = [(); 2].map(|()| world.open(root, cookie("session=alice"), alice()));
    assert_eq!(
        streams.map(|stream| world.fate(stream)),
        [(); 2].map(|()| Fate::Paused)
    );
    let calls = world.under_way();
    assert_eq!(calls[0].cluster, "authgear");
    assert_eq!(calls[0].timeout, Duration::from_secs(1));
    assert_eq!(world.answer_calls(root), 1, "{}", world.story());
    for stream in streams {
        assert!(world.fate(stream).is_forwarded(), "{}", world.story());
    }
    assert_eq!(world.respond(streams[0]), ["session=renewed"]);
    assert!(world.respond(streams[1]).is_empty());
    let later = world.open(root, cookie("session=alice"), alice());
    assert!(world.fate(later).is_forwarded(), "{}", world.story());
    let stranger = world.open(root, cookie("session=made-up"), May::Never);
    assert_eq!(world.answer_calls(root), 1);
    assert_eq!(world.fate(stranger), Fate::Answered(401));
    world.assert_sound();
}

#[test]
fn a_token_waits_for_the_keys() {
    let (mut world, root) = world(&fetched_keys());
    let good = world.open(root, bearer(&facts().token), alice());
    let bad = world.open(root, bearer(&facts().forged), May::Never);
    assert_eq!(
        [good, bad].map(|stream| world.fate(stream)),
        [(); 2].map(|()| Fate::Paused)
    );
    world.tick(root);
    assert_eq!(world.answer_calls(root), 1, "{}", world.story());
    assert!(world.fate(good).is_forwarded(), "{}", world.story());
    assert_eq!(world.fate(bad), Fate::Answered(401), "{}", world.story());
    world.assert_sound();
}

#[test]
fn without_a_resolver_a_session_is_503() {
    let (mut world, root) = world(&everything());
    let failed = world.open(root, cookie("session=alice"), May::Never);
    for _ in 0..3 {
        for call in world.under_way() {
            world.answer(root, call.token, None);
        }
        world.advance(Duration::from_millis(100));
        world.tick(root);
    }
    assert_eq!(world.fate(failed), Fate::Answered(503), "{}", world.story());
    let silent = world.open(root, cookie("session=bob"), May::Never);
    for _ in 0..100 {
        world.advance(Duration::from_millis(100));
        world.tick(root);
    }
    assert_eq!(world.fate(silent), Fate::Answered(503), "{}", world.story());
    world.assert_sound();
}

#[test]
fn with_the_keys_in_its_configuration_it_works_on_a_host_that_can_do_next_to_nothing() {
    const MISSING: [&str; 12] = [
        "proxy_http_call",
        "proxy_set_tick_period_milliseconds",
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_define_metric",
        "proxy_increment_metric",
        "proxy_record_metric",
        "proxy_call_foreign_function",
        "proxy_set_effective_context",
        "proxy_get_property",
        "proxy_log",
        "proxy_continue_stream",
    ];
    for status in [INTERNAL_FAILURE, UNIMPLEMENTED, 1, 2, 3, 999] {
        let mut world = World::with(|host| {
            host.meddle = vec![(Which::Every(MISSING.to_vec()), Answer::Status(status))];
        });
        let (root, taken) = world.plugin(&alone());
        assert!(taken, "{status}: {}", world.story());
        let good = world.open(root, bearer(&facts().token), alice());
        assert!(world.fate(good).is_forwarded(), "{}", world.story());
        let bad = world.open(root, bearer(&facts().expired), May::Never);
        assert_eq!(world.fate(bad), Fate::Answered(401), "{}", world.story());
        world.tick(root);
        world.close(good);
        world.close(bad);
        world.assert_sound();
    }
}
