//! Verdicts that are cached, and for how long (threats J11, Q1, Q5, E1, E2).

use super::*;

/// A cache, its policy and its clock in milliseconds.
struct Fixture {
    cache: SessionCache,
    policy: SessionPolicy,
    now: u64,
}

impl Fixture {
    fn new(session: &Value) -> Self {
        Self {
            cache: SessionCache::new(4),
            policy: policy(session),
            now: 1_000,
        }
    }

    fn settle(&mut self, credential: &str, answer: Option<&Answer>) -> Result<bool, ResolverError> {
        let (credential, now) = (cookies(credential), Ticks::from_millis(self.now));
        let said = Verdict::read(answer);
        let verdict = self.cache.settle(
            &credential,
            said,
            Heard {
                answer,
                asked_at: now,
            },
            &self.policy,
            now,
            0,
        )?;
        Ok(verdict != Verdict::Invalid)
    }

    fn get(&mut self, credential: &str) -> Option<bool> {
        match self
            .cache
            .get(&cookies(credential), Ticks::from_millis(self.now))
        {
            CacheLookup::Hit { verdict, .. } => Some(verdict != Verdict::Invalid),
            CacheLookup::Miss => None,
        }
    }

    /// Whether whoever asks now has it asked for again.
    fn refreshes(&mut self, credential: &str) -> bool {
        let now = Ticks::from_millis(self.now);
        match self.cache.get(&cookies(credential), now) {
            CacheLookup::Hit { refresh, .. } => refresh,
            CacheLookup::Miss => panic!("not cached"),
        }
    }

    /// For how many milliseconds, at most a day, the verdict is cached.
    fn lasts(&mut self, credential: &str) -> u64 {
        let start = self.now;
        let (mut low, mut high) = (0, 86_400_000);
        while low < high {
            let middle = (low + high) / 2;
            self.now = start + middle;
            if self.get(credential).is_some() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.now = start;
        low
    }
}

#[test]
fn a_yes_and_a_no_are_cached_each_for_its_time() {
    for (session, yes_for, no_for) in [
        (json!({}), 10_000, 2_000),
        (json!({ "ttl": "1h", "negative_ttl": "0s" }), 3_600_000, 0),
        (json!({ "ttl": "0s", "negative_ttl": "500ms" }), 0, 500),
    ] {
        let mut fixture = Fixture::new(&session);
        assert_eq!(fixture.get("session=a"), None);
        assert_eq!(fixture.settle("session=a", Some(&yes())), Ok(true));
        assert_eq!(fixture.lasts("session=a"), yes_for, "{session}");
        assert_eq!(fixture.settle("session=b", Some(&no())), Ok(false));
        assert_eq!(fixture.lasts("session=b"), no_for, "{session}");
    }
}

#[test]
fn the_resolver_may_ask_for_a_shorter_time_but_not_a_longer_one() {
    for (cache_control, millis) in [
        ("no-store", 0),
        ("No-Cache", 0),
        ("private, no-store", 0),
        ("max-age=0", 0),
        ("max-age=3", 3_000),
        ("MAX-AGE=3", 3_000),
        ("public, max-age=\"3\"", 3_000),
        ("max-age=5, max-age=3", 3_000),
        ("max-age=3600", 10_000),
        ("max-age=99999999999999999999", 0),
        ("max-age=-1", 0),
        ("max-age=", 0),
        ("max-age=soon", 0),
        ("s-maxage=1, private", 10_000),
        ("", 10_000),
    ] {
        let mut fixture = Fixture::new(&json!({}));
        let mut answer = yes();
        answer.headers.push((
            "cache-control".to_owned(),
            cache_control.as_bytes().to_vec(),
        ));
        assert_eq!(fixture.settle("session=a", Some(&answer)), Ok(true));
        assert_eq!(fixture.lasts("session=a"), millis, "{cache_control:?}");
    }
    let mut fixture = Fixture::new(&json!({}));
    let mut answer = yes();
    for value in [&b"max-age=7"[..], b"\xff", b"max-age=4"] {
        answer
            .headers
            .push(("cache-control".to_owned(), value.to_vec()));
    }
    fixture.settle("session=a", Some(&answer)).unwrap();
    assert_eq!(fixture.lasts("session=a"), 4_000);
}

#[test]
fn an_error_is_never_cached_and_costs_nobody_their_session() {
    let mut fixture = Fixture::new(&json!({}));
    let error = Err(ResolverError::Status(500));
    assert_eq!(fixture.settle("session=a", Some(&answer(500, &[]))), error);
    assert_eq!(
        fixture.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
    assert_eq!(fixture.get("session=a"), None);
    fixture.settle("session=a", Some(&yes())).unwrap();
    assert_eq!(
        fixture.settle("session=a", Some(&answer(500, &[]))),
        Ok(true),
        "it is fresh still"
    );
    fixture.now += 10_000;
    assert_eq!(fixture.settle("session=a", Some(&answer(500, &[]))), error);
}

#[test]
fn a_yes_is_given_again_while_the_resolver_fails_for_stale_if_error() {
    for (session, fresh, good) in [
        (json!({ "stale_if_error": "1m" }), 10_000, 70_000),
        (json!({ "ttl": "0s", "stale_if_error": "1m" }), 0, 60_000),
    ] {
        let mut fixture = Fixture::new(&session);
        fixture.settle("session=a", Some(&yes())).unwrap();
        let start = fixture.now;
        for (at, expected) in [
            (fresh, Ok(true)),
            (good - 1, Ok(true)),
            (good, Err(ResolverError::NoAnswer)),
        ] {
            fixture.now = start + at;
            assert_eq!(fixture.get("session=a"), None, "not without asking");
            assert_eq!(
                fixture.settle("session=a", None),
                expected,
                "{session} {at}"
            );
        }
    }
}

#[test]
fn what_clients_can_cause_gives_no_yes_again_and_takes_none_away() {
    let mut fixture = Fixture::new(&json!({ "stale_if_error": "1m" }));
    fixture.settle("session=a", Some(&yes())).unwrap();
    fixture.now += 10_000;
    for status in [204, 302, 400, 401, 403, 404, 429, 431] {
        let judged = fixture.settle("session=a", Some(&answer(status, &[])));
        assert!(judged.is_err(), "{status}");
    }
    let garbage = answer(200, &[("x-authgear-session-valid", "maybe")]);
    let judged = fixture.settle("session=a", Some(&garbage));
    assert_eq!(judged, Err(ResolverError::Unclear));
    assert_eq!(fixture.settle("session=a", None), Ok(true), "an outage");
    let failed = answer(502, &[]);
    assert_eq!(fixture.settle("session=a", Some(&failed)), Ok(true));
}

#[test]
fn a_no_ends_a_yes_at_once_and_is_never_stale() {
    let mut fixture = Fixture::new(&json!({ "stale_if_error": "1h", "negative_ttl": "0s" }));
    fixture.settle("session=a", Some(&yes())).unwrap();
    assert_eq!(fixture.settle("session=a", Some(&no())), Ok(false));
    assert_eq!(fixture.get("session=a"), None);
    assert_eq!(
        fixture.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
    let mut fixture = Fixture::new(&json!({ "stale_if_error": "1h" }));
    fixture.settle("session=a", Some(&no())).unwrap();
    fixture.now += 2_000;
    assert_eq!(
        fixture.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
    // Logged in again with the same cookie.
    fixture.settle("session=a", Some(&no())).unwrap();
    fixture.settle("session=a", Some(&yes())).unwrap();
    assert_eq!(fixture.get("session=a"), Some(true));
}

#[test]
fn no_store_is_not_kept_for_bad_times_either() {
    let mut fixture = Fixture::new(&json!({ "stale_if_error": "1h" }));
    let mut answer = yes();
    answer
        .headers
        .push(("cache-control".to_owned(), b"no-store".to_vec()));
    fixture.settle("session=a", Some(&yes())).unwrap();
    fixture.settle("session=a", Some(&answer)).unwrap();
    assert_eq!(
        fixture.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
}

#[test]
fn every_byte_of_a_credential_distinguishes_it_from_others() {
    let mut fixture = Fixture::new(&json!({}));
    fixture
        .settle("session=a; app_session=bc", Some(&yes()))
        .unwrap();
    for other in [
        "session=a; app_session=b",
        "session=ab; app_session=c",
        "session=a",
        "app_session=bc",
        "app_session=bc; session=a",
        "session=A; app_session=bc",
        "session=a;app_session=bc",
        "",
    ] {
        assert_eq!(fixture.get(other), None, "{other}");
    }
    let bearer = SessionCredential::Bearer("session=a; app_session=bc".into());
    let recalled = fixture.cache.get(&bearer, Ticks::from_millis(fixture.now));
    assert_eq!(recalled, CacheLookup::Miss);
}

#[test]
fn the_memory_is_bounded_and_made_up_cookies_drive_out_no_session() {
    let mut fixture = Fixture::new(&json!({ "ttl": "1h", "negative_ttl": "5m" }));
    fixture.settle("session=good", Some(&yes())).unwrap();
    for nth in 0..10_000 {
        fixture
            .settle(&format!("session=made-up-{nth}"), Some(&no()))
            .unwrap();
    }
    assert_eq!(fixture.get("session=good"), Some(true));
    for nth in 0..10 {
        fixture
            .settle(&format!("session={nth}"), Some(&yes()))
            .unwrap();
    }
    assert_eq!(fixture.cache.len(), 4);
    assert_eq!(
        (fixture.cache.take_evicted(), fixture.cache.take_evicted()),
        (7, 0)
    );
    assert_eq!(
        (fixture.get("session=5"), fixture.get("session=6")),
        (None, Some(true))
    );
    let longest = format!("session={}", "x".repeat(4_096 - 8));
    assert_eq!(fixture.settle(&longest, Some(&yes())), Ok(true));
    assert_eq!(fixture.get(&longest), Some(true));
    let long = format!("{longest}x");
    assert_eq!(fixture.settle(&long, Some(&yes())), Ok(true));
    assert_eq!(fixture.get(&long), None);
}

#[test]
fn a_cache_of_none_caches_nothing() {
    let mut fixture = Fixture::new(&json!({ "stale_if_error": "1h" }));
    fixture.cache = SessionCache::new(0);
    assert_eq!(fixture.settle("session=a", Some(&yes())), Ok(true));
    assert_eq!(fixture.get("session=a"), None);
    assert_eq!(
        fixture.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
    assert_eq!(fixture.cache.len(), 0);
}

#[test]
fn a_session_in_use_is_asked_for_again_before_its_time_is_over() {
    let mut fixture = Fixture::new(&json!({ "ttl": "10s" }));
    fixture.settle("session=a", Some(&yes())).unwrap();
    fixture.now += 4_999;
    assert!(!fixture.refreshes("session=a"));
    fixture.now += 1;
    assert!(fixture.refreshes("session=a"));
    assert!(
        !fixture.refreshes("session=a"),
        "one of those who ask has it asked for"
    );
    // The refresh fails: another is due after a while.
    fixture.now += 2_499;
    assert!(!fixture.refreshes("session=a"));
    fixture.now += 1;
    assert!(fixture.refreshes("session=a"));
    fixture.settle("session=a", Some(&yes())).unwrap();
    fixture.now += 4_999;
    assert!(
        !fixture.refreshes("session=a"),
        "the answer starts its time anew"
    );
    assert_eq!(fixture.lasts("session=a"), 5_001);
}

#[test]
fn what_is_cached_for_less_than_a_second_and_every_no_is_not_refreshed_ahead() {
    let mut fixture = Fixture::new(&json!({ "ttl": "999ms", "negative_ttl": "5m" }));
    fixture.settle("session=a", Some(&yes())).unwrap();
    fixture.settle("session=b", Some(&no())).unwrap();
    fixture.now += 998;
    assert!(!fixture.refreshes("session=a"));
    fixture.now += 290_000;
    assert!(!fixture.refreshes("session=b"));
}

#[test]
fn sessions_that_began_together_are_not_asked_for_together() {
    let policy = policy(&json!({ "ttl": "10s" }));
    let first_refresh = |entropy| {
        let mut cache = SessionCache::new(4);
        let (credential, answer) = (cookies("session=a"), yes());
        let said = Verdict::read(Some(&answer));
        let start = Ticks::default();
        cache
            .settle(
                &credential,
                said,
                Heard {
                    answer: Some(&answer),
                    asked_at: start,
                },
                &policy,
                start,
                entropy,
            )
            .unwrap();
        let due = |millis: &u64| {
            let recalled = cache.get(&credential, Ticks::from_millis(*millis));
            matches!(recalled, CacheLookup::Hit { refresh: true, .. })
        };
        (0..10_000).find(due)
    };
    assert_eq!(
        [0, 0x1ff, u64::MAX].map(first_refresh),
        [Some(5_000), Some(6_248), Some(7_500)]
    );
}

#[test]
fn a_user_has_eight_entries_and_drives_out_nobody_elses() {
    let mut fixture = Fixture {
        cache: SessionCache::new(64),
        ..Fixture::new(&json!({ "ttl": "1h" }))
    };
    let bob = yes_but("x-authgear-user-id", Some("bob"));
    assert_eq!(fixture.settle("bob", Some(&bob)), Ok(true));
    let alice = |nth: usize| format!("session=a; app_session={nth}");
    for nth in 0..8 {
        assert_eq!(fixture.settle(&alice(nth), Some(&yes())), Ok(true));
    }
    assert_eq!((fixture.cache.len(), fixture.cache.take_evicted()), (9, 0));
    // Asked for again, it is the last to go.
    assert_eq!(fixture.settle(&alice(0), Some(&yes())), Ok(true));
    assert_eq!((fixture.cache.len(), fixture.cache.take_evicted()), (9, 0));
    for nth in 8..1_000 {
        assert_eq!(fixture.settle(&alice(nth), Some(&yes())), Ok(true));
        assert_eq!((fixture.cache.len(), fixture.cache.take_evicted()), (9, 1));
        assert_eq!(fixture.get("bob"), Some(true), "{nth}");
        let first = (nth < 15).then_some(true);
        assert_eq!(fixture.get(&alice(0)), first, "{nth}");
    }
    for nth in 0..1_000 {
        let expected = (nth >= 992).then_some(true);
        assert_eq!(fixture.get(&alice(nth)), expected, "{nth}");
    }
}

#[test]
fn what_is_removed_does_not_count_against_its_user() {
    let mut fixture = Fixture {
        cache: SessionCache::new(64),
        ..Fixture::new(&json!({ "ttl": "1h" }))
    };
    let bob = yes_but("x-authgear-user-id", Some("bob"));
    for nth in 0..8 {
        assert_eq!(fixture.settle(&nth.to_string(), Some(&yes())), Ok(true));
    }
    // Ended, or another's now.
    assert_eq!(fixture.settle("0", Some(&no())), Ok(false));
    assert_eq!(fixture.settle("1", Some(&bob)), Ok(true));
    for nth in 8..10 {
        assert_eq!(fixture.settle(&nth.to_string(), Some(&yes())), Ok(true));
    }
    assert_eq!((fixture.cache.len(), fixture.cache.take_evicted()), (9, 0));
    assert_eq!(fixture.settle("10", Some(&yes())), Ok(true));
    assert_eq!((fixture.cache.len(), fixture.cache.take_evicted()), (9, 1));
    assert_eq!((fixture.get("1"), fixture.get("2")), (Some(true), None));
}
