//! Verdicts that are remembered, and for how long (threats J11, Q1, Q5, E1, E2).

use super::*;

/// A memory, its policy and its clock in milliseconds.
struct Scene {
    cache: SessionCache,
    policy: SessionPolicy,
    now: u64,
}

impl Scene {
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

    fn recall(&mut self, credential: &str) -> Option<bool> {
        match self
            .cache
            .recall(&cookies(credential), Ticks::from_millis(self.now))
        {
            Recalled::Fresh { verdict, .. } => Some(verdict != Verdict::Invalid),
            Recalled::Nothing => None,
        }
    }

    /// Whether whoever asks now has it asked for again.
    fn refreshes(&mut self, credential: &str) -> bool {
        let now = Ticks::from_millis(self.now);
        match self.cache.recall(&cookies(credential), now) {
            Recalled::Fresh { refresh, .. } => refresh,
            Recalled::Nothing => panic!("not remembered"),
        }
    }

    /// For how many milliseconds, at most a day, the verdict is remembered.
    fn lasts(&mut self, credential: &str) -> u64 {
        let start = self.now;
        let (mut low, mut high) = (0, 86_400_000);
        while low < high {
            let middle = (low + high) / 2;
            self.now = start + middle;
            if self.recall(credential).is_some() {
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
fn a_yes_and_a_no_are_remembered_each_for_its_time() {
    for (session, yes_for, no_for) in [
        (json!({}), 10_000, 2_000),
        (json!({ "ttl": "1h", "negative_ttl": "0s" }), 3_600_000, 0),
        (json!({ "ttl": "0s", "negative_ttl": "500ms" }), 0, 500),
    ] {
        let mut scene = Scene::new(&session);
        assert_eq!(scene.recall("session=a"), None);
        assert_eq!(scene.settle("session=a", Some(&yes())), Ok(true));
        assert_eq!(scene.lasts("session=a"), yes_for, "{session}");
        assert_eq!(scene.settle("session=b", Some(&no())), Ok(false));
        assert_eq!(scene.lasts("session=b"), no_for, "{session}");
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
        let mut scene = Scene::new(&json!({}));
        let mut answer = yes();
        answer.headers.push((
            "cache-control".to_owned(),
            cache_control.as_bytes().to_vec(),
        ));
        assert_eq!(scene.settle("session=a", Some(&answer)), Ok(true));
        assert_eq!(scene.lasts("session=a"), millis, "{cache_control:?}");
    }
    let mut scene = Scene::new(&json!({}));
    let mut answer = yes();
    for value in [&b"max-age=7"[..], b"\xff", b"max-age=4"] {
        answer
            .headers
            .push(("cache-control".to_owned(), value.to_vec()));
    }
    scene.settle("session=a", Some(&answer)).unwrap();
    assert_eq!(scene.lasts("session=a"), 4_000);
}

#[test]
fn an_error_is_never_remembered_and_costs_nobody_their_session() {
    let mut scene = Scene::new(&json!({}));
    let error = Err(ResolverError::Status(500));
    assert_eq!(scene.settle("session=a", Some(&answer(500, &[]))), error);
    assert_eq!(
        scene.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
    assert_eq!(scene.recall("session=a"), None);
    scene.settle("session=a", Some(&yes())).unwrap();
    assert_eq!(
        scene.settle("session=a", Some(&answer(500, &[]))),
        Ok(true),
        "it is fresh still"
    );
    scene.now += 10_000;
    assert_eq!(scene.settle("session=a", Some(&answer(500, &[]))), error);
}

#[test]
fn a_yes_is_given_again_while_the_resolver_fails_for_stale_if_error() {
    for (session, fresh, good) in [
        (json!({ "stale_if_error": "1m" }), 10_000, 70_000),
        (json!({ "ttl": "0s", "stale_if_error": "1m" }), 0, 60_000),
    ] {
        let mut scene = Scene::new(&session);
        scene.settle("session=a", Some(&yes())).unwrap();
        let start = scene.now;
        for (at, expected) in [
            (fresh, Ok(true)),
            (good - 1, Ok(true)),
            (good, Err(ResolverError::NoAnswer)),
        ] {
            scene.now = start + at;
            assert_eq!(scene.recall("session=a"), None, "not without asking");
            assert_eq!(scene.settle("session=a", None), expected, "{session} {at}");
        }
    }
}

#[test]
fn what_clients_can_cause_gives_no_yes_again_and_takes_none_away() {
    let mut scene = Scene::new(&json!({ "stale_if_error": "1m" }));
    scene.settle("session=a", Some(&yes())).unwrap();
    scene.now += 10_000;
    for status in [204, 302, 400, 401, 403, 404, 429, 431] {
        let judged = scene.settle("session=a", Some(&answer(status, &[])));
        assert!(judged.is_err(), "{status}");
    }
    let garbage = answer(200, &[("x-authgear-session-valid", "maybe")]);
    let judged = scene.settle("session=a", Some(&garbage));
    assert_eq!(judged, Err(ResolverError::Unclear));
    assert_eq!(scene.settle("session=a", None), Ok(true), "an outage");
    let failed = answer(502, &[]);
    assert_eq!(scene.settle("session=a", Some(&failed)), Ok(true));
}

#[test]
fn a_no_ends_a_yes_at_once_and_is_never_stale() {
    let mut scene = Scene::new(&json!({ "stale_if_error": "1h", "negative_ttl": "0s" }));
    scene.settle("session=a", Some(&yes())).unwrap();
    assert_eq!(scene.settle("session=a", Some(&no())), Ok(false));
    assert_eq!(scene.recall("session=a"), None);
    assert_eq!(
        scene.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
    let mut scene = Scene::new(&json!({ "stale_if_error": "1h" }));
    scene.settle("session=a", Some(&no())).unwrap();
    scene.now += 2_000;
    assert_eq!(
        scene.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
    // Logged in again with the same cookie.
    scene.settle("session=a", Some(&no())).unwrap();
    scene.settle("session=a", Some(&yes())).unwrap();
    assert_eq!(scene.recall("session=a"), Some(true));
}

#[test]
fn no_store_is_not_kept_for_bad_times_either() {
    let mut scene = Scene::new(&json!({ "stale_if_error": "1h" }));
    let mut answer = yes();
    answer
        .headers
        .push(("cache-control".to_owned(), b"no-store".to_vec()));
    scene.settle("session=a", Some(&yes())).unwrap();
    scene.settle("session=a", Some(&answer)).unwrap();
    assert_eq!(
        scene.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
}

#[test]
fn every_byte_of_a_credential_tells_it_from_others() {
    let mut scene = Scene::new(&json!({}));
    scene
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
        assert_eq!(scene.recall(other), None, "{other}");
    }
    let bearer = SessionCredential::Bearer("session=a; app_session=bc".into());
    let recalled = scene.cache.recall(&bearer, Ticks::from_millis(scene.now));
    assert_eq!(recalled, Recalled::Nothing);
}

#[test]
fn the_memory_is_bounded_and_made_up_cookies_drive_out_no_session() {
    let mut scene = Scene::new(&json!({ "ttl": "1h", "negative_ttl": "5m" }));
    scene.settle("session=good", Some(&yes())).unwrap();
    for nth in 0..10_000 {
        scene
            .settle(&format!("session=made-up-{nth}"), Some(&no()))
            .unwrap();
    }
    assert_eq!(scene.recall("session=good"), Some(true));
    for nth in 0..10 {
        scene
            .settle(&format!("session={nth}"), Some(&yes()))
            .unwrap();
    }
    assert_eq!(scene.cache.len(), 4);
    assert_eq!(
        (scene.cache.take_evicted(), scene.cache.take_evicted()),
        (7, 0)
    );
    assert_eq!(
        (scene.recall("session=5"), scene.recall("session=6")),
        (None, Some(true))
    );
    let longest = format!("session={}", "x".repeat(4_096 - 8));
    assert_eq!(scene.settle(&longest, Some(&yes())), Ok(true));
    assert_eq!(scene.recall(&longest), Some(true));
    let long = format!("{longest}x");
    assert_eq!(scene.settle(&long, Some(&yes())), Ok(true));
    assert_eq!(scene.recall(&long), None);
}

#[test]
fn a_memory_of_none_remembers_nothing() {
    let mut scene = Scene::new(&json!({ "stale_if_error": "1h" }));
    scene.cache = SessionCache::new(0);
    assert_eq!(scene.settle("session=a", Some(&yes())), Ok(true));
    assert_eq!(scene.recall("session=a"), None);
    assert_eq!(
        scene.settle("session=a", None),
        Err(ResolverError::NoAnswer)
    );
    assert_eq!(scene.cache.len(), 0);
}

#[test]
fn a_session_in_use_is_asked_for_again_before_its_time_is_over() {
    let mut scene = Scene::new(&json!({ "ttl": "10s" }));
    scene.settle("session=a", Some(&yes())).unwrap();
    scene.now += 4_999;
    assert!(!scene.refreshes("session=a"));
    scene.now += 1;
    assert!(scene.refreshes("session=a"));
    assert!(
        !scene.refreshes("session=a"),
        "one of those who ask has it asked for"
    );
    // Nothing comes of it: the next is told after a while.
    scene.now += 2_499;
    assert!(!scene.refreshes("session=a"));
    scene.now += 1;
    assert!(scene.refreshes("session=a"));
    scene.settle("session=a", Some(&yes())).unwrap();
    scene.now += 4_999;
    assert!(
        !scene.refreshes("session=a"),
        "the answer starts its time anew"
    );
    assert_eq!(scene.lasts("session=a"), 5_001);
}

#[test]
fn what_is_remembered_for_less_than_a_second_and_every_no_is_not_asked_for_ahead() {
    let mut scene = Scene::new(&json!({ "ttl": "999ms", "negative_ttl": "5m" }));
    scene.settle("session=a", Some(&yes())).unwrap();
    scene.settle("session=b", Some(&no())).unwrap();
    scene.now += 998;
    assert!(!scene.refreshes("session=a"));
    scene.now += 290_000;
    assert!(!scene.refreshes("session=b"));
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
            let recalled = cache.recall(&credential, Ticks::from_millis(*millis));
            matches!(recalled, Recalled::Fresh { refresh: true, .. })
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
    let mut scene = Scene {
        cache: SessionCache::new(64),
        ..Scene::new(&json!({ "ttl": "1h" }))
    };
    let bob = yes_but("x-authgear-user-id", Some("bob"));
    assert_eq!(scene.settle("bob", Some(&bob)), Ok(true));
    let alice = |nth: usize| format!("session=a; app_session={nth}");
    for nth in 0..8 {
        assert_eq!(scene.settle(&alice(nth), Some(&yes())), Ok(true));
    }
    assert_eq!((scene.cache.len(), scene.cache.take_evicted()), (9, 0));
    // Asked for again, it is the last to go.
    assert_eq!(scene.settle(&alice(0), Some(&yes())), Ok(true));
    assert_eq!((scene.cache.len(), scene.cache.take_evicted()), (9, 0));
    for nth in 8..1_000 {
        assert_eq!(scene.settle(&alice(nth), Some(&yes())), Ok(true));
        assert_eq!((scene.cache.len(), scene.cache.take_evicted()), (9, 1));
        assert_eq!(scene.recall("bob"), Some(true), "{nth}");
        let first = (nth < 15).then_some(true);
        assert_eq!(scene.recall(&alice(0)), first, "{nth}");
    }
    for nth in 0..1_000 {
        let remembered = (nth >= 992).then_some(true);
        assert_eq!(scene.recall(&alice(nth)), remembered, "{nth}");
    }
}

#[test]
fn what_is_forgotten_takes_no_place_of_its_users() {
    let mut scene = Scene {
        cache: SessionCache::new(64),
        ..Scene::new(&json!({ "ttl": "1h" }))
    };
    let bob = yes_but("x-authgear-user-id", Some("bob"));
    for nth in 0..8 {
        assert_eq!(scene.settle(&nth.to_string(), Some(&yes())), Ok(true));
    }
    // Ended, or another's now.
    assert_eq!(scene.settle("0", Some(&no())), Ok(false));
    assert_eq!(scene.settle("1", Some(&bob)), Ok(true));
    for nth in 8..10 {
        assert_eq!(scene.settle(&nth.to_string(), Some(&yes())), Ok(true));
    }
    assert_eq!((scene.cache.len(), scene.cache.take_evicted()), (9, 0));
    assert_eq!(scene.settle("10", Some(&yes())), Ok(true));
    assert_eq!((scene.cache.len(), scene.cache.take_evicted()), (9, 1));
    assert_eq!((scene.recall("1"), scene.recall("2")), (Some(true), None));
}
