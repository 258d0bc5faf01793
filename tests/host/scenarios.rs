//! What is done over and over, each time with another host call gone wrong.
//!
//! A scenario proceeds whatever came of what it did before: a host does not know what the module could not do.

use std::time::Duration;

use serde_json::json;

use super::facts::{
    alice, alone, bearer, bytes, cookie, everything, facts, fetched_keys, nobody, request,
    sessions, trailers,
};
use super::streams::May;
use super::world::World;

/// A scenario, and what it is called in a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) run: fn(&mut World),
}

const TICK: Duration = Duration::from_millis(100);

/// A good token, and bad ones.
pub(super) fn token(world: &mut World) {
    let (root, _) = world.plugin(&alone());
    for _ in 0..2 {
        let good = world.open(root, bearer(&facts().token), alice());
        world.respond(good);
        world.close(good);
    }
    world.open(root, bearer(&facts().forged), May::Never);
    world.open(root, bearer(&facts().expired), May::Never);
    world.tick(root);
}

/// Requests that are refused, and one that passes without a credential.
pub(super) fn refusal(world: &mut World) {
    let (root, _) = world.plugin(&alone());
    world.open(root, request("/api", None), May::Never);
    let mut two = bearer(&facts().token);
    two.extend(bytes(&[("authorization", "Bearer another")]));
    world.open(root, two, May::Never);
    world.open(root, request("/api/%2e%2e/open", None), May::Never);
    let mut grpc = request("/api", None);
    grpc.extend(bytes(&[("content-type", "application/grpc")]));
    let grpc = world.open(root, grpc, May::Never);
    world.close(grpc);
    world.open(root, request("/open", None), nobody());
    world.open(root, request("/blog", None), nobody());
    world.tick(root);
}

/// Cold sessions: a crowd, a client that leaves, a session that is nobody's.
pub(super) fn cold_session(world: &mut World) {
    let (root, _) = world.plugin(&sessions());
    let first = world.open(root, cookie("session=alice"), alice());
    world.open(root, cookie("session=alice"), alice());
    let stranger = world.open(root, cookie("session=made-up"), May::Never);
    let leaver = world.open(root, cookie("session=alice"), alice());
    world.close(leaver);
    world.answer_calls(root);
    world.respond(first);
    world.close(stranger);
    settle(world, root);
    world.open(root, cookie("session=alice"), alice());
    world.open(root, cookie("session=made-up"), May::Never);
    settle(world, root);
}

/// A session whose call is never answered, and one whose call fails.
pub(super) fn no_resolver(world: &mut World) {
    let (root, _) = world.plugin(&sessions());
    let leader = world.open(root, cookie("session=alice"), May::Never);
    world.open(root, cookie("session=alice"), May::Never);
    world.open(root, cookie("session=bob"), May::Never);
    for call in world.under_way() {
        world.answer(root, call.token, None);
    }
    world.close(leader);
    for _ in 0..6 {
        world.advance(Duration::from_millis(600));
        world.tick(root);
    }
}

/// Tokens that wait for keys.
pub(super) fn wait_for_keys(world: &mut World) {
    let (root, _) = world.plugin(&fetched_keys());
    // One that is refused comes first: the one that is settled next must not be taken for it.
    world.open(root, bearer(&facts().forged), May::Never);
    world.open(root, bearer(&facts().token), alice());
    world.open(root, bearer(&facts().forged), May::Never);
    let leaver = world.open(root, bearer(&facts().token), alice());
    world.tick(root);
    world.close(leaver);
    settle(world, root);
    world.open(root, bearer(&facts().token), alice());
    world.open(root, bearer(&facts().expired), May::Never);
}

/// Two workers of one process: one gets the keys from the other.
pub(super) fn shared_keys(world: &mut World) {
    let (one, _) = world.plugin(&fetched_keys());
    let (other, _) = world.plugin(&fetched_keys());
    world.open(one, bearer(&facts().token), alice());
    world.open(other, bearer(&facts().token), alice());
    world.open(other, bearer(&facts().forged), May::Never);
    for _ in 0..3 {
        world.tick(one);
        world.tick(other);
        world.answer_calls(one);
        world.advance(TICK);
    }
    world.open(other, bearer(&facts().token), alice());
    world.open(one, bearer(&facts().forged), May::Never);
    world.delete_root(one);
    world.tick(other);
}

/// Trailers, of streams that were forwarded, that wait, and that were answered.
pub(super) fn with_trailers(world: &mut World) {
    let (root, _) = world.plugin(&sessions());
    let forwarded = world.open(root, bearer(&facts().token), alice());
    world.trailers(forwarded, trailers());
    let answered = world.open(root, bearer(&facts().forged), May::Never);
    world.trailers(answered, trailers());
    let waits = world.open(root, cookie("session=alice"), alice());
    let stranger = world.open(root, cookie("session=made-up"), May::Never);
    world.trailers(waits, trailers());
    world.trailers(stranger, trailers());
    world.answer_calls(root);
    settle(world, root);
    let late = world.open(root, cookie("session=carol"), May::Never);
    world.answer_calls(root);
    world.trailers(late, trailers());
}

/// A new configuration, while streams of the old one wait; then one that is refused.
pub(super) fn reload(world: &mut World) {
    let (root, _) = world.plugin(&everything());
    world.open(root, cookie("session=alice"), alice());
    world.open(root, bearer(&facts().token), alice());
    world.configure(root, &alone());
    world.open(root, bearer(&facts().token), alice());
    // There are no sessions any more, unless the configuration could not be read, and the earlier one stays.
    world.open(root, cookie("session=alice"), alice());
    world.open(root, cookie("session=made-up"), May::Never);
    settle(world, root);
    settle(world, root);
    world.configure(root, &json!({ "projects": [], "colour": "red" }));
    world.open(root, bearer(&facts().token), alice());
    world.open(root, bearer(&facts().forged), May::Never);
    world.tick(root);
    world.delete_root(root);
}

/// A broken configuration that is accepted: first after a good one, then, in another plugin, after none.
pub(super) fn taken_though_broken(world: &mut World) {
    let mut broken = alone();
    broken["on_invalid_config"] = json!("close");
    broken["colour"] = json!("red");
    let (good, _) = world.plugin(&alone());
    let (later, _) = world.plugin(&broken);
    world.open(later, bearer(&facts().token), alice());
    world.open(later, request("/api", None), May::Never);
    world.tick(later);
    world.delete_root(good);
    world.delete_root(later);
    let (closed, _) = world.plugin(&broken);
    let stream = world.open(closed, bearer(&facts().token), May::Never);
    world.trailers(stream, trailers());
    world.open(closed, request("/open", None), May::Never);
    world.tick(closed);
    world.close(stream);
}

/// Nothing but time: keys are fetched, and fetched again.
pub(super) fn on_tick(world: &mut World) {
    let (root, _) = world.plugin(&fetched_keys());
    for _ in 0..3 {
        world.tick(root);
        world.answer_calls(root);
        world.advance(Duration::from_secs(301));
    }
    world.open(root, bearer(&facts().token), alice());
    // Longer than any key set is valid: the next one cannot be fetched.
    world.advance(Duration::from_secs(40_000));
    world.open(root, bearer(&facts().token), May::Never);
    world.tick(root);
    world.tick(root);
}

/// All calls in flight are answered, and time passes.
fn settle(world: &mut World, root: u32) {
    world.tick(root);
    world.answer_calls(root);
    world.advance(TICK);
}
