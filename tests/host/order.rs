//! A host that calls back out of order, twice, or from within a host call: no request passes by it, and the VM traps only where
//! `src/filter/sdk.rs` says so.

use std::time::Duration;

use super::facts::{
    alice, alone, bearer, cookie, everything, facts, fetched_keys, key_set, nobody, request,
    resolution, sessions, trailers,
};
use super::meddle::Reentry;
use super::streams::{Fate, May};
use super::world::World;

/// The panics of the SDK on what no supported host does.
const NO_CONTEXT: &str = "invalid context_id";
const NO_TOKEN: &str = "invalid token_id";
const TWICE: &str = "duplicate context_id";
const NO_ROOT: &str = "invalid root_context_id";
const WITHIN: &str = "already borrowed";

const TICK: Duration = Duration::from_millis(100);

/// A world with one plugin.
fn world(configuration: &serde_json::Value) -> (World, u32) {
    let mut world = World::new();
    let (root, taken) = world.plugin(configuration);
    assert!(taken, "{}", world.story());
    (world, root)
}

/// The VM has trapped as the SDK's list has it, and nobody got in.
#[track_caller]
fn assert_trapped(world: &World, panic: &str) {
    let trap = world.trap().unwrap_or_default();
    assert!(
        trap.contains(panic),
        "{trap:?}, not {panic:?}\n{}",
        world.story()
    );
    assert_eq!(
        world.violations(),
        Vec::<String>::new(),
        "{}",
        world.story()
    );
}

#[test]
fn headers_that_are_given_twice_are_decided_once() {
    let (mut world, root) = world(&sessions());
    let good = world.open(root, bearer(&facts().token), alice());
    let bad = world.open(root, bearer(&facts().forged), May::Never);
    let waits = world.open(root, cookie("session=alice"), alice());
    for stream in [good, bad, waits] {
        world.headers(stream);
    }
    assert_eq!(world.under_way().len(), 1);
    world.answer_calls(root);
    assert!(world.fate(waits).is_forwarded(), "{}", world.story());
    world.headers(bad);
    world.assert_sound();
}

#[test]
fn headers_that_are_given_again_after_the_resolver_refused_go_nowhere() {
    let (mut world, root) = world(&sessions());
    let stranger = world.open(root, cookie("session=made-up"), May::Never);
    world.answer_calls(root);
    world.headers(stranger);
    world.trailers(stranger, trailers());
    assert_eq!(world.fate(stranger), Fate::Answered(401));
    world.assert_sound();
}

#[test]
fn trailers_before_headers_go_nowhere() {
    let (mut world, root) = world(&alone());
    let stream = world.create_stream(root, bearer(&facts().forged), May::Never);
    world.trailers(stream, trailers());
    world.headers(stream);
    let good = world.create_stream(root, bearer(&facts().token), alice());
    world.trailers(good, trailers());
    assert_eq!(world.fate(good), Fate::Paused, "{}", world.story());
    world.assert_sound();
}

#[test]
fn trailers_of_a_stream_that_waits_go_nowhere_before_its_headers() {
    let (mut world, root) = world(&sessions());
    let stream = world.open(root, cookie("session=alice"), alice());
    for _ in 0..2 {
        world.trailers(stream, trailers());
    }
    assert_eq!(world.fate(stream), Fate::Paused, "{}", world.story());
    world.answer_calls(root);
    world.trailers(stream, trailers());
    assert!(world.fate(stream).is_forwarded(), "{}", world.story());
    world.assert_sound();
}

#[test]
fn trailers_that_the_host_does_not_show_go_nowhere() {
    let (mut world, root) = world(&sessions());
    let stream = world.open(root, bearer(&facts().token), alice());
    // The host says that there is one, and has none.
    let action = world.call("proxy_on_request_trailers", &[stream, 1]);
    assert_eq!(action, Some(1), "{}", world.story());
    let waits = world.open(root, cookie("session=alice"), May::Never);
    world.call("proxy_on_request_trailers", &[waits, 1]);
    world.tick(root);
    world.assert_sound();
    let ends = |(name, (_, count)): (&String, &(u32, i64))| {
        let is_end = name.contains("forwarded") || name.contains("refused");
        is_end.then_some(*count)
    };
    let metrics = world.host().metrics.iter();
    let counted: i64 = metrics.filter_map(ends).sum();
    assert_eq!(counted, 2, "each request is counted once");
}

#[test]
fn a_response_before_the_request_is_no_trap() {
    let (mut world, root) = world(&sessions());
    let early = world.create_stream(root, cookie("session=alice"), alice());
    assert!(world.respond(early).is_empty());
    world.headers(early);
    assert!(world.respond(early).is_empty());
    world.answer_calls(root);
    world.assert_sound();
}

#[test]
fn an_answer_after_the_stream_has_ended_resumes_nobody() {
    let (mut world, root) = world(&sessions());
    let stream = world.open(root, cookie("session=alice"), May::Never);
    world.close(stream);
    assert_eq!(world.answer_calls(root), 1);
    world.tick(root);
    assert_eq!(world.fate(stream), Fate::Paused);
    world.assert_sound();
}

#[test]
fn who_waits_for_the_call_of_a_stream_that_has_ended_is_not_stranded() {
    let (mut world, root) = world(&sessions());
    let leader = world.open(root, cookie("session=alice"), May::Never);
    let follower = world.open(root, cookie("session=alice"), alice());
    world.close(leader);
    for _ in 0..100 {
        world.answer_calls(root);
        world.advance(TICK);
        world.tick(root);
    }
    assert!(world.fate(follower).is_forwarded(), "{}", world.story());
    world.assert_sound();
}

#[test]
fn an_answer_that_comes_twice_or_to_no_call_traps_and_lets_nobody_in() {
    let (mut world, root) = world(&sessions());
    let stranger = world.open(root, cookie("session=made-up"), May::Never);
    let token = world.under_way()[0].token;
    world.answer(root, token, Some(resolution(false)));
    assert_eq!(world.fate(stranger), Fate::Answered(401));
    world.open(root, cookie("session=another"), May::Never);
    world.answer(root, token, Some(resolution(true)));
    assert_trapped(&world, NO_TOKEN);
    for token in [0, 4_711, u32::MAX] {
        let (mut world, root) = self::world(&sessions());
        world.open(root, cookie("session=made-up"), May::Never);
        world.answer(root, token, Some(resolution(true)));
        assert_trapped(&world, NO_TOKEN);
    }
}

#[test]
fn answers_in_another_order_go_to_those_who_asked() {
    let (mut world, root) = world(&sessions());
    let one = world.open(root, cookie("session=alice"), alice());
    let other = world.open(root, cookie("session=made-up"), May::Never);
    let calls = world.under_way();
    world.answer(root, calls[1].token, super::facts::authgear(&calls[1]));
    world.answer(root, calls[0].token, super::facts::authgear(&calls[0]));
    assert!(world.fate(one).is_forwarded(), "{}", world.story());
    assert_eq!(world.fate(other), Fate::Answered(401));
    world.assert_sound();
}

#[test]
fn an_answer_of_another_kind_lets_nobody_in() {
    // The resolver's answer to a fetch of keys, and a key set to a call to the resolver.
    let (mut world, root) = world(&everything());
    let waits = world.open(root, cookie("session=made-up"), May::Never);
    let token = world.open(root, bearer(&facts().token), May::Never);
    // The resolver is asked once more, without what the client chose.
    for _ in 0..2 {
        world.tick(root);
        for call in world.under_way() {
            let for_keys = call.header(":path").ends_with("/jwks");
            let answer = if for_keys {
                resolution(true)
            } else {
                key_set()
            };
            world.answer(root, call.token, Some(answer));
        }
    }
    assert_eq!(world.fate(waits), Fate::Answered(503), "{}", world.story());
    assert_eq!(world.fate(token), Fate::Answered(503), "{}", world.story());
    world.assert_sound();
}

#[test]
fn an_answer_to_a_root_that_has_gone_is_dropped() {
    let (mut world, root) = world(&fetched_keys());
    let stream = world.open(root, bearer(&facts().token), May::Never);
    world.tick(root);
    let calls = world.under_way();
    assert_eq!(calls.len(), 1);
    world.delete_root(root);
    world.answer(root, calls[0].token, Some(key_set()));
    assert_eq!(world.fate(stream), Fate::Paused);
    world.close(stream);
    world.assert_sound();
}

#[test]
fn a_root_that_goes_while_streams_wait_lets_nobody_in_by_it() {
    let (mut world, root) = world(&sessions());
    let (good, bad) = (
        world.open(root, cookie("session=alice"), alice()),
        world.open(root, cookie("session=made-up"), May::Never),
    );
    world.delete_root(root);
    for stream in [good, bad] {
        world.headers(stream);
        world.trailers(stream, trailers());
    }
    world.answer_calls(root);
    for stream in [good, bad] {
        world.respond(stream);
        world.close(stream);
    }
    world.assert_sound();
}

#[test]
fn streams_of_a_root_without_a_configuration_are_answered() {
    let mut world = World::new();
    let root = world.bare_root();
    for headers in [bearer(&facts().token), request("/open", None)] {
        let stream = world.open(root, headers, May::Never);
        world.trailers(stream, trailers());
        assert_eq!(world.fate(stream), Fate::Answered(503), "{}", world.story());
    }
    world.tick(root);
    world.assert_sound();
}

#[test]
fn streams_of_a_root_whose_configuration_was_refused_are_answered() {
    let mut world = World::new();
    let (root, taken) = world.plugin(&serde_json::json!({ "projects": [] }));
    assert!(!taken);
    let stream = world.open(root, bearer(&facts().token), May::Never);
    assert_eq!(world.fate(stream), Fate::Answered(503), "{}", world.story());
    world.assert_sound();
}

#[test]
fn a_root_that_is_configured_again_keeps_its_streams_apart() {
    let (mut world, root) = world(&sessions());
    let before = world.open(root, cookie("session=alice"), alice());
    let stranger = world.open(root, cookie("session=made-up"), May::Never);
    for _ in 0..3 {
        assert!(world.configure(root, &alone()), "{}", world.story());
    }
    let after = world.open(root, cookie("session=alice"), May::Never);
    assert_eq!(world.fate(after), Fate::Answered(401), "{}", world.story());
    world.answer_calls(root);
    world.tick(root);
    assert!(world.fate(before).is_forwarded(), "{}", world.story());
    assert_eq!(
        world.fate(stranger),
        Fate::Answered(401),
        "{}",
        world.story()
    );
    world.assert_sound();
}

#[test]
fn a_tick_before_the_configuration_is_no_trap() {
    let mut world = World::new();
    let root = world.bare_root();
    world.tick(root);
    assert!(world.configure(root, &alone()), "{}", world.story());
    let stream = world.open(root, request("/open", None), nobody());
    assert!(world.fate(stream).is_forwarded());
    world.assert_sound();
}

#[test]
fn a_clock_that_steps_back_lets_nobody_in() {
    let (mut world, root) = world(&everything());
    world.tick(root);
    world.answer_calls(root);
    let session = world.open(root, cookie("session=alice"), alice());
    world.answer_calls(root);
    assert!(world.fate(session).is_forwarded(), "{}", world.story());
    world.host_mut().since_1970 = Duration::ZERO;
    world.host_mut().monotonic = Duration::ZERO;
    let early = world.open(root, bearer(&facts().token), May::Never);
    assert_eq!(world.fate(early), Fate::Answered(401), "{}", world.story());
    world.open(root, bearer(&facts().expired), May::Never);
    world.open(root, cookie("session=made-up"), May::Never);
    world.tick(root);
    world.answer_calls(root);
    world.assert_sound();
}

#[test]
fn callbacks_of_contexts_that_are_not_there_trap_and_let_nobody_in() {
    const DEAD: u32 = 77;
    for (callback, numbers) in [
        ("proxy_on_request_headers", &[DEAD, 5, 1][..]),
        ("proxy_on_request_trailers", &[DEAD, 1]),
        ("proxy_on_response_headers", &[DEAD, 1, 1]),
        ("proxy_on_delete", &[DEAD]),
        ("proxy_on_tick", &[DEAD]),
        ("proxy_on_configure", &[DEAD, 0]),
        ("proxy_on_vm_start", &[DEAD, 0]),
    ] {
        let (mut world, root) = world(&sessions());
        world.open(root, cookie("session=made-up"), May::Never);
        world.call(callback, numbers);
        assert_trapped(&world, NO_CONTEXT);
    }
}

#[test]
fn callbacks_of_a_stream_that_has_ended_trap_and_let_nobody_in() {
    for callback in ["proxy_on_request_headers", "proxy_on_delete"] {
        let (mut world, root) = world(&alone());
        let stream = world.open(root, bearer(&facts().token), alice());
        world.close(stream);
        world.call(
            callback,
            &[stream, 5, 1][..if callback == "proxy_on_delete" { 1 } else { 3 }],
        );
        assert_trapped(&world, NO_CONTEXT);
    }
}

#[test]
fn contexts_that_are_made_twice_or_of_no_root_trap() {
    let (mut world, root) = world(&alone());
    let stream = world.open(root, bearer(&facts().forged), May::Never);
    world.call("proxy_on_context_create", &[stream, root]);
    assert_trapped(&world, TWICE);
    let (mut world, root) = self::world(&alone());
    world.call("proxy_on_context_create", &[root, 0]);
    assert_trapped(&world, TWICE);
    let (mut world, _) = self::world(&alone());
    world.call("proxy_on_context_create", &[9, 8]);
    assert_trapped(&world, NO_ROOT);
}

#[test]
fn an_answer_from_within_the_call_traps_and_lets_nobody_in() {
    let (mut world, root) = world(&sessions());
    world.host_mut().reentry = Some(Reentry::AnswerAtOnce);
    let stream = world.open(root, cookie("session=made-up"), May::Never);
    assert_trapped(&world, NO_TOKEN);
    assert_eq!(world.fate(stream), Fate::Paused);
}

#[test]
fn a_callback_from_within_the_answer_to_a_stream_traps_and_lets_nobody_in() {
    for reentry in [Reentry::ResponseHeaders, Reentry::Delete] {
        let (mut world, root) = world(&alone());
        world.host_mut().reentry = Some(reentry);
        let stream = world.open(root, bearer(&facts().forged), May::Never);
        assert_trapped(&world, WITHIN);
        assert_eq!(world.fate(stream), Fate::Answered(401), "{reentry:?}");
    }
}

#[test]
fn a_callback_from_within_an_answer_on_a_tick_is_taken() {
    // No context of a stream is in use then: nothing is borrowed.
    for reentry in [Reentry::ResponseHeaders, Reentry::Delete] {
        let (mut world, root) = world(&sessions());
        let streams = ["one", "two", "three"].map(|name| {
            let cookie = cookie(&format!("session={name}"));
            world.open(root, cookie, May::Never)
        });
        world.host_mut().reentry = Some(reentry);
        world.advance(Duration::from_secs(60));
        world.tick(root);
        world.tick(root);
        for stream in streams {
            assert_eq!(world.fate(stream), Fate::Answered(503), "{}", world.story());
        }
        world.assert_sound();
    }
}

#[test]
fn a_tick_from_within_a_tick_traps_and_lets_nobody_in() {
    let (mut world, root) = world(&sessions());
    world.open(root, cookie("session=made-up"), May::Never);
    world.host_mut().reentry = Some(Reentry::Tick);
    world.advance(Duration::from_secs(60));
    world.tick(root);
    assert_trapped(&world, WITHIN);
}
