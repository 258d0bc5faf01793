//! The life of keys: fetch, refresh, back-off, staleness (threats J7, J11).

use super::*;

#[test]
fn the_first_fetch_is_made_at_once_and_waited_for() {
    let mut fixture = Fixture::new(&json!({}));
    assert_eq!(fixture.ring.generation(), 0);
    assert_eq!(fixture.lookup("a"), Known::Wait);
    let fetch = fixture.expect_fetch();
    assert_eq!(fixture.poll(), None, "one at a time");
    assert_eq!(fixture.lookup("a"), Known::Wait);
    fixture.pass(100);
    let fetched = fixture.answered(&fetch, &answer(200, &named(&["a", "b"])));
    assert_eq!(
        fetched,
        Fetched::Replaced {
            keys: 2,
            dropped: Vec::new(),
            recovered: false
        }
    );
    assert_eq!(
        (fixture.lookup("a"), fixture.lookup("b")),
        (Known::Found, Known::Found)
    );
    assert_eq!(fixture.ring.generation(), 1);
    assert_eq!(fixture.poll(), None);
}

#[test]
fn keys_are_fetched_ahead_of_time() {
    // 80 to 95 per cent of five minutes.
    for (entropy, seconds) in [(0, 240), (u64::MAX, 285), (0x1ff, 263)] {
        let mut fixture = Fixture::new(&json!({}));
        fixture.entropy = entropy;
        let fetch = fixture.expect_fetch();
        fixture.answered(&fetch, &answer(200, &named(&["a"])));
        assert_eq!(fixture.until_fetch().0, seconds, "{entropy:x}");
        assert_eq!(
            fixture.lookup("a"),
            Known::Found,
            "the old ones are used meanwhile"
        );
    }
}

#[test]
fn the_same_document_keeps_the_generation_and_another_starts_the_next() {
    let mut fixture = Fixture::fetched(&json!({}), &named(&["a"]));
    let (_, fetch) = fixture.until_fetch();
    let same = fixture.answered(&fetch, &answer(200, &named(&["a"])));
    assert_eq!(same, Fetched::Confirmed { recovered: false });
    assert_eq!(fixture.ring.generation(), 1);
    let (waited, fetch) = fixture.until_fetch();
    assert_eq!(waited, 240);
    fixture.answered(&fetch, &answer(200, &named(&["b"])));
    assert_eq!(fixture.ring.generation(), 2);
    assert_eq!(fixture.lookup("b"), Known::Found);
    assert_eq!(
        fixture.lookup("a"),
        Known::Wait,
        "gone at once: it may only come back by another fetch"
    );
}

#[test]
fn failures_are_followed_by_ever_longer_pauses() {
    for (entropy, pauses) in [
        (
            0,
            [
                500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
            ],
        ),
        (
            u64::MAX,
            [
                1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000,
            ],
        ),
    ] {
        let mut fixture = Fixture::fetched(&json!({ "max_stale": "24h" }), &named(&["a"]));
        fixture.entropy = entropy;
        fixture.pass(300_000);
        for (nth, pause) in (1..).zip(pauses) {
            let fetch = fixture.expect_fetch();
            let bad = answer(500, b"");
            let failed = if nth % 2 == 0 {
                fixture.answered(&fetch, &bad)
            } else {
                fixture.unanswered(&fetch)
            };
            let Fetched::Failed {
                failures, retry_in, ..
            } = failed
            else {
                panic!("{failed:?}");
            };
            assert_eq!((failures, retry_in), (nth, Duration::from_millis(pause)));
            assert_eq!(fixture.lookup("a"), Known::Found, "the last set is used");
            fixture.pass(pause - 1);
            assert_eq!(fixture.poll(), None, "{nth}");
            fixture.pass(1);
        }
        let fetch = fixture.expect_fetch();
        let good = fixture.answered(&fetch, &answer(200, &named(&["a"])));
        assert_eq!(good, Fetched::Confirmed { recovered: true });
    }
}

#[test]
fn without_keys_the_pauses_stay_short_while_requests_need_some() {
    // The first is that of the back-off.
    for (entropy, first, pause) in [(0, 500, 1_000), (u64::MAX, 1_000, 2_000)] {
        for (stale, name) in [(false, "never any"), (true, "too old")] {
            let mut fixture = if stale {
                let policy = json!({ "refresh": "1s", "max_stale": "1s" });
                Fixture::fetched(&policy, &named(&["a"]))
            } else {
                Fixture::new(&json!({}))
            };
            if stale {
                fixture.pass(2_001);
            }
            fixture.entropy = entropy;
            for nth in 1..100 {
                let fetch = fixture.expect_fetch();
                let failed = fixture.unanswered(&fetch);
                let Fetched::Failed {
                    retry_in,
                    serves_for,
                    ..
                } = failed
                else {
                    panic!("{failed:?}");
                };
                let pause = if nth == 1 { first } else { pause };
                let expected = Duration::from_millis(pause);
                assert_eq!((retry_in, serves_for), (expected, None), "{name} {nth}");
                // In the pause no request waits: the lookup says when the next fetch is due.
                let now = fixture.ticks();
                let found = fixture.ring.lookup("a", Algorithm::Es256, false, now);
                assert!(
                    matches!(found, Lookup::Unavailable(retry_in) if retry_in == expected),
                    "{name} {nth}: {found:?}"
                );
                fixture.pass(pause - 1);
                assert_eq!(fixture.poll(), None, "{name} {nth}");
                fixture.pass(1);
                assert_eq!(fixture.lookup("a"), Known::Wait, "{name} {nth}: due now");
            }
            let fetch = fixture.expect_fetch();
            fixture.answered(&fetch, &answer(200, &named(&["b"])));
            assert_eq!(fixture.lookup("b"), Known::Found, "{name}");
        }
    }
}

#[test]
fn without_keys_that_nobody_needs_the_pauses_grow_and_the_first_who_does_ends_them() {
    let mut fixture = Fixture::new(&json!({}));
    fixture.entropy = u64::MAX;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (seconds, fetch) = fixture.until_fetch();
        fixture.unanswered(&fetch);
        pauses.push(seconds);
    }
    assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60]);
    fixture.pass(1_999);
    assert_eq!(fixture.lookup("a"), Known::Unavailable);
    assert_eq!(fixture.poll(), None);
    fixture.pass(1);
    assert_eq!(fixture.lookup("a"), Known::Wait);
    fixture.expect_fetch();
}

#[test]
fn how_long_the_last_set_can_still_be_used_is_reported_to_its_end() {
    for (at, expected) in [
        (300, Some(600)),
        (899, Some(1)),
        (900, Some(0)),
        (901, None),
    ] {
        let mut fixture = Fixture::fetched(
            &json!({ "refresh": "5m", "max_stale": "10m" }),
            &named(&["a"]),
        );
        fixture.pass(at * 1_000);
        let fetch = fixture.expect_fetch();
        let failed = fixture.unanswered(&fetch);
        let Fetched::Failed { serves_for, .. } = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(serves_for.map(|left| left.as_secs()), expected, "{at}");
        let age = fixture.ring.age(fixture.ticks());
        assert_eq!(age, Some(Duration::from_secs(at)), "it grows");
    }
}

#[test]
fn ten_thousand_failures_overflow_nothing() {
    let mut fixture = Fixture::new(&json!({}));
    fixture.entropy = u64::MAX;
    for _ in 0..10_000 {
        let (_, fetch) = fixture.until_fetch();
        fixture.unanswered(&fetch);
    }
    assert!(fixture.until_fetch().0 <= 60);
}

#[test]
fn authgear_may_ask_for_a_longer_pause_within_reason() {
    for (retry_after, seconds, without_keys) in [
        ("3", 3, 3),
        ("10", 10, 10),
        ("11", 11, 10),
        ("30", 30, 10),
        ("600", 600, 10),
        ("86400", 600, 10),
        ("0", 1, 1),
        ("-5", 1, 1),
        ("soon", 1, 1),
        ("18446744073709551616", 1, 1),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1, 1),
    ] {
        let policy = json!({ "max_stale": "24h" });
        let mut serving = Fixture::fetched(&policy, &named(&["a"]));
        serving.pass(300_000);
        for (mut fixture, seconds) in [(serving, seconds), (Fixture::new(&policy), without_keys)] {
            fixture.entropy = u64::MAX;
            let fetch = fixture.expect_fetch();
            let failed = fixture.answered(
                &fetch,
                &with_header(answer(503, b""), "retry-after", retry_after),
            );
            let Fetched::Failed { retry_in, .. } = failed else {
                panic!("{failed:?}");
            };
            assert_eq!(retry_in.as_secs(), seconds, "{retry_after}");
        }
    }
}

#[test]
fn the_last_good_keys_are_used_for_max_stale_longer_and_no_longer() {
    let mut fixture = Fixture::fetched(
        &json!({ "refresh": "5m", "max_stale": "10m" }),
        &named(&["a"]),
    );
    for (at, expected) in [
        (0, Known::Found),
        (300_000, Known::Found),
        (899_999, Known::Found),
        (900_000, Known::Found),
        (900_001, Known::Unavailable),
        (10_000_000, Known::Unavailable),
    ] {
        let start = 77_000;
        fixture.now = start + at;
        while let Some(fetch) = fixture.poll() {
            fixture.unanswered(&fetch);
        }
        assert_eq!(fixture.lookup("a"), expected, "{at} ms");
        assert_eq!(
            fixture.ring.is_current(fixture.ticks()),
            expected == Known::Found,
            "{at} ms"
        );
    }
    let (_, fetch) = fixture.until_fetch();
    assert_eq!(fixture.lookup("a"), Known::Wait);
    let back = fixture.answered(&fetch, &answer(200, &named(&["a"])));
    assert_eq!(back, Fetched::Confirmed { recovered: true });
    assert_eq!(fixture.lookup("a"), Known::Found);
    assert_eq!(fixture.ring.generation(), 1);
}

#[test]
fn a_bad_document_does_not_replace_a_good_one() {
    for bad in [
        &b""[..],
        b"{}",
        b"<html>",
        br#"{"keys":[]}"#,
        br#"{"keys":[{"kty":"oct"}]}"#,
    ] {
        let mut fixture = Fixture::fetched(&json!({}), &named(&["a"]));
        let (_, fetch) = fixture.until_fetch();
        assert!(matches!(
            fixture.answered(&fetch, &answer(200, bad)),
            Fetched::Failed { .. }
        ));
        assert_eq!(fixture.lookup("a"), Known::Found);
        assert_eq!(fixture.ring.generation(), 1);
    }
}

#[test]
fn a_fetch_whose_answer_never_comes_is_given_up() {
    let mut fixture = Fixture::new(&json!({ "timeout": "2s" }));
    let lost = fixture.expect_fetch();
    fixture.pass(2_999);
    assert_eq!(fixture.poll(), None);
    assert_eq!(fixture.lookup("a"), Known::Wait);
    fixture.pass(1);
    let next = fixture.expect_fetch();
    assert_ne!(lost.id, next.id);
    // Its answer comes after all: it is too late, and nothing is rolled back.
    assert_eq!(
        fixture.answered(&lost, &answer(200, &named(&["old"]))),
        Fetched::Late
    );
    assert_eq!(fixture.lookup("old"), Known::Wait);
    fixture.answered(&next, &answer(200, &named(&["new"])));
    assert_eq!(
        fixture.answered(&lost, &answer(200, &named(&["old"]))),
        Fetched::Late
    );
    assert_eq!(fixture.unanswered(&next), Fetched::Late, "answered twice");
    assert_eq!(fixture.lookup("new"), Known::Found);
    assert_eq!(fixture.ring.generation(), 1);
}

#[test]
fn keys_in_the_configuration_are_never_fetched_and_never_old() {
    let (set, _) = KeySet::parse(&named(&["a"])).unwrap();
    let mut ring = KeyRing::inline(set);
    for now in [0, u64::MAX].map(Ticks::from_millis) {
        assert_eq!(ring.poll(testing::ALONE, now), Polled::default());
        assert!(ring.is_current(now));
        assert!(matches!(
            ring.lookup("a", Algorithm::Es256, false, now),
            Lookup::Found(_)
        ));
        assert!(matches!(
            ring.lookup("b", Algorithm::Es256, false, now),
            Lookup::Unknown(NoKey::UnknownKeyId)
        ));
        assert!(matches!(
            ring.lookup("a", Algorithm::Rs256, false, now),
            Lookup::Unknown(NoKey::KeyMismatch)
        ));
        ring.record_miss("b", now);
        assert_eq!(
            ring.answered(FetchId::default(), None, testing::ALONE, now, 0),
            Fetched::Late
        );
    }
    assert_eq!(ring.generation(), 1);
}

#[test]
fn a_key_that_does_not_suit_the_algorithm_causes_no_fetch() {
    let mut fixture = Fixture::fetched(&json!({}), &named(&["a"]));
    let now = fixture.ticks();
    let found = fixture.ring.lookup("a", Algorithm::Rs256, false, now);
    assert!(matches!(found, Lookup::Unknown(NoKey::KeyMismatch)));
    assert_eq!(fixture.poll(), None);
}
