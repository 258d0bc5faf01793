//! Tokens whose `kid` is in no set: a rotation, or a flood (threats K4, K5).

use super::*;

const COOLDOWN: u64 = 30_000;

fn scene() -> Scene {
    Scene::fetched(&json!({ "refresh": "1h" }), &named(&["a"]))
}

/// A token with an unknown `kid` waits for a fetch that does not bring its key.
fn miss(scene: &mut Scene, kid: &str) {
    assert_eq!(scene.lookup(kid), Known::Wait, "{kid}");
    let fetch = scene.expect_fetch();
    scene.answered(&fetch, &answer(200, &named(&["a"])));
    assert_eq!(scene.look(kid, true), Known::Unknown, "{kid}");
    let now = scene.ticks();
    scene.ring.record_miss(kid, now);
}

#[test]
fn an_unknown_key_is_fetched_and_found() {
    let mut scene = scene();
    assert_eq!(scene.lookup("b"), Known::Wait);
    let fetch = scene.expect_fetch();
    assert_eq!(scene.lookup("b"), Known::Wait);
    assert_eq!(scene.lookup("a"), Known::Found, "the others do not wait");
    assert_eq!(scene.poll(), None, "one at a time");
    scene.answered(&fetch, &answer(200, &named(&["a", "b"])));
    assert_eq!(scene.look("b", true), Known::Found);
    assert_eq!(scene.ring.generation(), 2);
}

#[test]
fn a_flood_of_unknown_keys_causes_one_fetch_a_cooldown() {
    let mut scene = scene();
    let mut fetches = 0;
    // Ten minutes, a hundred tokens a second.
    for nth in 0..60_000 {
        let _ = scene.lookup(&format!("flood-{nth}"));
        if let Some(fetch) = scene.poll() {
            fetches += 1;
            scene.answered(&fetch, &answer(200, &named(&["a"])));
        }
        scene.pass(10);
    }
    assert_eq!(fetches, 600_000 / COOLDOWN);
}

#[test]
fn a_rotation_during_a_flood_is_taken_within_one_cooldown() {
    let mut scene = scene();
    let mut document = named(&["a"]);
    let mut found_after = None;
    for nth in 0..20_000_u64 {
        if nth == 7_777 {
            document = named(&["a", "rotated"]);
        }
        let _ = scene.lookup(&format!("flood-{nth}"));
        if nth >= 7_777 && found_after.is_none() && scene.lookup("rotated") == Known::Found {
            found_after = Some((nth - 7_777) * 10);
        }
        if let Some(fetch) = scene.poll() {
            scene.answered(&fetch, &answer(200, &document));
        }
        scene.pass(10);
    }
    let found_after = found_after.expect("never found");
    assert!(found_after <= COOLDOWN, "{found_after} ms");
}

#[test]
fn a_key_that_was_sought_in_vain_is_sought_again_after_ever_longer_pauses() {
    let mut scene = Scene::fetched(&json!({ "refresh": "5m" }), &named(&["a"]));
    // 30 s, doubled, up to `refresh`; a flood of others may not shorten it, and a refresh does not end it.
    for pause in [30, 60, 120, 240, 300, 300] {
        miss(&mut scene, "gone");
        for second in 0..pause {
            assert_eq!(
                scene.lookup("gone"),
                Known::Unknown,
                "{second} of {pause} s"
            );
            if let Some(fetch) = scene.poll() {
                scene.answered(&fetch, &answer(200, &named(&["a"])));
            }
            scene.pass(1_000);
        }
    }
}

#[test]
fn who_was_sought_in_vain_is_found_as_soon_as_any_fetch_brings_it() {
    let mut scene = scene();
    miss(&mut scene, "late");
    scene.pass(COOLDOWN);
    assert_eq!(scene.lookup("other"), Known::Wait);
    let fetch = scene.expect_fetch();
    scene.answered(&fetch, &answer(200, &named(&["a", "late"])));
    assert_eq!(scene.lookup("late"), Known::Found);
}

#[test]
fn the_memory_of_keys_sought_in_vain_is_bounded() {
    let mut scene = scene();
    miss(&mut scene, "first");
    let now = scene.ticks();
    for nth in 0..10_000 {
        scene.ring.record_miss(&format!("flood-{nth}"), now);
    }
    scene.pass(COOLDOWN);
    // Forgotten, and so free to cause a fetch again; the cooldown holds nevertheless.
    assert_eq!(scene.lookup("flood-0"), Known::Wait);
    let fetch = scene.expect_fetch();
    scene.answered(&fetch, &answer(200, &named(&["a"])));
    assert_eq!(scene.lookup("first"), Known::Unknown);
    assert_eq!(scene.poll(), None);
}

#[test]
fn a_key_id_that_is_too_long_is_not_remembered() {
    let mut scene = scene();
    let (longest, long) = ("x".repeat(256), "x".repeat(257));
    for key_id in [&longest, &long] {
        scene.ring.record_miss(key_id, scene.ticks());
    }
    assert_eq!(scene.lookup(&longest), Known::Unknown);
    assert_eq!(scene.lookup(&long), Known::Wait);
}

#[test]
fn while_authgear_fails_nobody_knows_whether_a_key_is_unknown() {
    let mut scene = scene();
    assert_eq!(scene.lookup("b"), Known::Wait);
    let fetch = scene.expect_fetch();
    scene.unanswered(&fetch);
    assert_eq!(scene.look("b", true), Known::Unavailable);
    assert_eq!(scene.lookup("c"), Known::Unavailable);
    assert_eq!(
        scene.lookup("a"),
        Known::Found,
        "known keys are not at stake"
    );
    // The back-off stands: a flood does not shorten it.
    assert_eq!(scene.poll(), None);
    let (_, fetch) = scene.until_fetch();
    assert_eq!(scene.lookup("b"), Known::Wait);
    scene.answered(&fetch, &answer(200, &named(&["a", "b"])));
    assert_eq!(scene.lookup("b"), Known::Found);
}

#[test]
fn who_comes_during_a_fetch_waits_for_it_whatever_the_cooldown() {
    let mut scene = Scene::fetched(&json!({}), &named(&["a"]));
    miss(&mut scene, "x");
    let (seconds, fetch) = scene.until_fetch();
    assert!(seconds >= 240, "{seconds}");
    assert_eq!(scene.lookup("b"), Known::Wait);
    scene.answered(&fetch, &answer(200, &named(&["a", "b"])));
    assert_eq!(scene.lookup("b"), Known::Found);
}
