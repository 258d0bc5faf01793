//! Tokens whose `kid` is in no set: a rotation, or a flood (threats K4, K5).

use super::*;

const COOLDOWN: u64 = 30_000;

fn fixture() -> Fixture {
    Fixture::fetched(&json!({ "refresh": "1h" }), &named(&["a"]))
}

/// A token with an unknown `kid` waits for a fetch that does not bring its key.
fn miss(fixture: &mut Fixture, kid: &str) {
    assert_eq!(fixture.lookup(kid), Known::Wait, "{kid}");
    let fetch = fixture.expect_fetch();
    fixture.answered(&fetch, &answer(200, &named(&["a"])));
    assert_eq!(fixture.look(kid, true), Known::Unknown, "{kid}");
    let now = fixture.ticks();
    fixture.ring.record_miss(kid, now);
}

#[test]
fn an_unknown_key_is_fetched_and_found() {
    let mut fixture = fixture();
    assert_eq!(fixture.lookup("b"), Known::Wait);
    let fetch = fixture.expect_fetch();
    assert_eq!(fixture.lookup("b"), Known::Wait);
    assert_eq!(fixture.lookup("a"), Known::Found, "the others do not wait");
    assert_eq!(fixture.poll(), None, "one at a time");
    fixture.answered(&fetch, &answer(200, &named(&["a", "b"])));
    assert_eq!(fixture.look("b", true), Known::Found);
    assert_eq!(fixture.ring.generation(), 2);
}

#[test]
fn a_flood_of_unknown_keys_causes_one_fetch_a_cooldown() {
    let mut fixture = fixture();
    let mut fetches = 0;
    // Ten minutes, a hundred tokens a second.
    for nth in 0..60_000 {
        let _ = fixture.lookup(&format!("flood-{nth}"));
        if let Some(fetch) = fixture.poll() {
            fetches += 1;
            fixture.answered(&fetch, &answer(200, &named(&["a"])));
        }
        fixture.pass(10);
    }
    assert_eq!(fetches, 600_000 / COOLDOWN);
}

#[test]
fn a_rotation_during_a_flood_is_taken_within_one_cooldown() {
    let mut fixture = fixture();
    let mut document = named(&["a"]);
    let mut found_after = None;
    for nth in 0..20_000_u64 {
        if nth == 7_777 {
            document = named(&["a", "rotated"]);
        }
        let _ = fixture.lookup(&format!("flood-{nth}"));
        if nth >= 7_777 && found_after.is_none() && fixture.lookup("rotated") == Known::Found {
            found_after = Some((nth - 7_777) * 10);
        }
        if let Some(fetch) = fixture.poll() {
            fixture.answered(&fetch, &answer(200, &document));
        }
        fixture.pass(10);
    }
    let found_after = found_after.expect("never found");
    assert!(found_after <= COOLDOWN, "{found_after} ms");
}

#[test]
fn a_missed_key_is_fetched_again_after_ever_longer_pauses() {
    let mut fixture = Fixture::fetched(&json!({ "refresh": "5m" }), &named(&["a"]));
    // 30 s, doubled, up to `refresh`; a flood of others may not shorten it, and a refresh does not end it.
    for pause in [30, 60, 120, 240, 300, 300] {
        miss(&mut fixture, "gone");
        for second in 0..pause {
            assert_eq!(
                fixture.lookup("gone"),
                Known::Unknown,
                "{second} of {pause} s"
            );
            if let Some(fetch) = fixture.poll() {
                fixture.answered(&fetch, &answer(200, &named(&["a"])));
            }
            fixture.pass(1_000);
        }
    }
}

#[test]
fn a_missed_key_is_found_as_soon_as_any_fetch_brings_it() {
    let mut fixture = fixture();
    miss(&mut fixture, "late");
    fixture.pass(COOLDOWN);
    assert_eq!(fixture.lookup("other"), Known::Wait);
    let fetch = fixture.expect_fetch();
    fixture.answered(&fetch, &answer(200, &named(&["a", "late"])));
    assert_eq!(fixture.lookup("late"), Known::Found);
}

#[test]
fn the_list_of_missed_keys_is_bounded() {
    let mut fixture = fixture();
    miss(&mut fixture, "first");
    let now = fixture.ticks();
    for nth in 0..10_000 {
        fixture.ring.record_miss(&format!("flood-{nth}"), now);
    }
    fixture.pass(COOLDOWN);
    // Evicted, and so free to cause a fetch again; the cooldown still applies.
    assert_eq!(fixture.lookup("flood-0"), Known::Wait);
    let fetch = fixture.expect_fetch();
    fixture.answered(&fetch, &answer(200, &named(&["a"])));
    assert_eq!(fixture.lookup("first"), Known::Unknown);
    assert_eq!(fixture.poll(), None);
}

#[test]
fn a_key_id_that_is_too_long_is_not_recorded() {
    let mut fixture = fixture();
    let (longest, long) = ("x".repeat(256), "x".repeat(257));
    for key_id in [&longest, &long] {
        fixture.ring.record_miss(key_id, fixture.ticks());
    }
    assert_eq!(fixture.lookup(&longest), Known::Unknown);
    assert_eq!(fixture.lookup(&long), Known::Wait);
}

#[test]
fn while_authgear_fails_nobody_knows_whether_a_key_is_unknown() {
    let mut fixture = fixture();
    assert_eq!(fixture.lookup("b"), Known::Wait);
    let fetch = fixture.expect_fetch();
    fixture.unanswered(&fetch);
    assert_eq!(fixture.look("b", true), Known::Unavailable);
    assert_eq!(fixture.lookup("c"), Known::Unavailable);
    assert_eq!(
        fixture.lookup("a"),
        Known::Found,
        "known keys are not affected"
    );
    // The back-off applies: a flood does not shorten it.
    assert_eq!(fixture.poll(), None);
    let (_, fetch) = fixture.until_fetch();
    assert_eq!(fixture.lookup("b"), Known::Wait);
    fixture.answered(&fetch, &answer(200, &named(&["a", "b"])));
    assert_eq!(fixture.lookup("b"), Known::Found);
}

#[test]
fn who_comes_during_a_fetch_waits_for_it_whatever_the_cooldown() {
    let mut fixture = Fixture::fetched(&json!({}), &named(&["a"]));
    miss(&mut fixture, "x");
    let (seconds, fetch) = fixture.until_fetch();
    assert!(seconds >= 240, "{seconds}");
    assert_eq!(fixture.lookup("b"), Known::Wait);
    fixture.answered(&fetch, &answer(200, &named(&["a", "b"])));
    assert_eq!(fixture.lookup("b"), Known::Found);
}
