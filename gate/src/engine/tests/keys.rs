//! Requests that wait for keys, and what they get (threats K12, J6, J7).

use super::*;

fn due_fetches(fixture: &mut Fixture) -> Vec<crate::jwks::Fetch> {
    let polled = fixture.gate.poll_keys(ALONE, true, fixture.now).into_iter();
    let fetches = polled.filter_map(|(project, polled)| {
        assert_eq!((project, polled.fetch_ended), (0, false));
        polled.fetch
    });
    fetches.collect()
}

/// The fetch that is due now.
fn fetch(fixture: &mut Fixture) -> crate::jwks::Fetch {
    let mut due = due_fetches(fixture);
    assert_eq!(due.len(), 1);
    due.remove(0)
}

fn fetched(fixture: &mut Fixture, fetch: &crate::jwks::Fetch, answer: Option<&Answer>) -> KeyEvent {
    fixture
        .gate
        .fetched(0, fetch.id, answer.ok_or(None), ALONE, fixture.now, 0)
}

fn settled(fixture: &mut Fixture, pending: WaitingRequest) -> String {
    shown(
        &fixture
            .gate
            .keys_settled(pending, true, fixture.now, &fixture.verifier),
    )
}

#[test]
fn a_token_waits_for_the_first_keys() {
    let mut fixture = Fixture::remote();
    let (good, bad) = (bearer(&alice()), bearer(&alice().subject("x")));
    let bad = format!("{bad}AAAA");
    let pending = fixture.wait("/", &[("authorization", &good)]);
    let forged = fixture.wait("/optional", &[("authorization", &bad)]);
    assert_eq!(fixture.gate.patience(&pending), Duration::from_secs(5));
    // What is refused at sight, and who needs no keys, do not wait.
    assert_eq!(
        fixture.get("/", &[("authorization", "Bearer a.b.c")]),
        "401 invalid_token"
    );
    assert_eq!(fixture.get("/", &[]), "401 unauthenticated");
    assert_eq!(
        fixture.get("/none", &[("authorization", &good)]),
        "unchecked"
    );
    let fetch = fetch(&mut fixture);
    assert!(due_fetches(&mut fixture).is_empty(), "one at a time");
    assert_eq!(
        fetched(&mut fixture, &fetch, Some(&jwks(&[&KEY]))),
        KeyEvent::Settled
    );
    assert_eq!(settled(&mut fixture, pending), "alice");
    assert_eq!(settled(&mut fixture, forged), "401 invalid_token");
    assert_eq!(fixture.get("/", &[("authorization", &good)]), "alice");
}

#[test]
fn without_keys_nobody_passes_who_must_be_known() {
    let mut fixture = Fixture::remote();
    let (good, in_cookie) = (bearer(&alice()), cookie(&alice()));
    let pending = fixture.wait("/", &[("authorization", &good)]);
    let fetch = fetch(&mut fixture);
    assert_eq!(fetched(&mut fixture, &fetch, None), KeyEvent::Settled);
    assert_eq!(settled(&mut fixture, pending), "503 unavailable");
    for path in ["/", "/optional"] {
        assert_eq!(
            fixture.get(path, &[("authorization", &good)]),
            "503 unavailable",
            "{path}"
        );
        assert_eq!(
            fixture.get(path, &[("cookie", &in_cookie)]),
            "503 unavailable",
            "{path}"
        );
    }
    // Requests that need no keys do not wait.
    assert_eq!(
        fixture.get("/none", &[("authorization", &good)]),
        "unchecked"
    );
    assert_eq!(fixture.get("/optional", &[]), "anonymous");
    assert_eq!(
        fixture.get("/", &[("cookie", "session=s")]),
        "wait for Session"
    );
    fixture.pass(1);
    assert_eq!(
        fixture.get("/", &[("authorization", &good)]),
        "wait for Keys"
    );
}

#[test]
fn a_rotated_key_is_fetched_once_and_the_old_tokens_go_with_their_key() {
    let next = SigningKey::es256().with_kid("b-key");
    let (old, new) = (bearer(&alice()), format!("Bearer {}", alice().sign(&next)));
    let mut fixture = Fixture::remote();
    let first = fetch(&mut fixture);
    fetched(&mut fixture, &first, Some(&jwks(&[&KEY])));
    assert_eq!(fixture.get("/", &[("authorization", &old)]), "alice");
    let pending = fixture.wait("/", &[("authorization", &new)]);
    assert_eq!(
        fixture.get("/", &[("authorization", &old)]),
        "alice",
        "it does not wait"
    );
    let second = fetch(&mut fixture);
    assert_eq!(
        fetched(&mut fixture, &first, Some(&jwks(&[]))),
        KeyEvent::Late
    );
    fetched(&mut fixture, &second, Some(&jwks(&[&next])));
    assert_eq!(settled(&mut fixture, pending), "alice");
    assert_eq!(
        fixture.get("/", &[("authorization", &old)]),
        "401 invalid_token",
        "a cached verdict as well"
    );
    assert!(due_fetches(&mut fixture).is_empty(), "within the cooldown");
}

#[test]
fn a_token_of_a_key_that_does_not_come_is_refused_and_causes_no_more_fetches() {
    let stranger = format!(
        "Bearer {}",
        alice().sign(&SigningKey::es256().with_kid("strange"))
    );
    let mut fixture = Fixture::remote();
    let first = fetch(&mut fixture);
    fetched(&mut fixture, &first, Some(&jwks(&[&KEY])));
    for path in ["/", "/optional"] {
        let mut fixture = Fixture::remote();
        let first = fetch(&mut fixture);
        fetched(&mut fixture, &first, Some(&jwks(&[&KEY])));
        let pending = fixture.wait(path, &[("authorization", &stranger)]);
        let second = fetch(&mut fixture);
        fetched(&mut fixture, &second, Some(&jwks(&[&KEY])));
        assert_eq!(
            settled(&mut fixture, pending),
            "401 invalid_token",
            "{path}"
        );
        fixture.pass(29);
        assert_eq!(
            fixture.get(path, &[("authorization", &stranger)]),
            "401 invalid_token",
            "{path}"
        );
        assert!(due_fetches(&mut fixture).is_empty());
    }
    // Where Authgear cannot be asked, nobody knows.
    let pending = fixture.wait("/", &[("authorization", &stranger)]);
    let second = fetch(&mut fixture);
    fetched(&mut fixture, &second, None);
    assert_eq!(settled(&mut fixture, pending), "503 unavailable");
    assert_eq!(
        fixture.get("/", &[("authorization", &stranger)]),
        "503 unavailable"
    );
}

#[test]
fn keys_that_are_too_old_are_not_believed_not_even_for_tokens_seen_before() {
    let good = bearer(&alice().claim("exp", UNIX + 100_000));
    let mut fixture = Fixture::remote();
    let first = fetch(&mut fixture);
    fetched(&mut fixture, &first, Some(&jwks(&[&KEY])));
    assert_eq!(fixture.get("/", &[("authorization", &good)]), "alice");
    for (seconds, expected) in [(3_900, "alice"), (1, "503 unavailable")] {
        fixture.pass(seconds);
        while let Some(fetch) = due_fetches(&mut fixture).pop() {
            fetched(&mut fixture, &fetch, None);
        }
        assert_eq!(
            fixture.get("/", &[("authorization", &good)]),
            expected,
            "{seconds}"
        );
    }
}

#[test]
fn an_answer_for_an_unknown_project_is_nothing() {
    let mut fixture = Fixture::remote();
    let first = fetch(&mut fixture);
    let event = fixture
        .gate
        .fetched(7, first.id, Ok(&jwks(&[&KEY])), ALONE, fixture.now, 0);
    assert_eq!(event, KeyEvent::Late);
}

#[test]
fn a_gate_is_ready_while_it_has_keys_that_are_good() {
    assert!(
        Fixture::new().gate.is_ready(Ticks::default()),
        "inline keys, at once"
    );
    let mut fixture = Fixture::with(json!({ "refresh": "1m", "max_stale": "1m" }), json!({}));
    let is_ready = |fixture: &Fixture| fixture.gate.is_ready(fixture.now.ticks);
    assert!(!is_ready(&fixture), "before the first fetch");
    let first = fetch(&mut fixture);
    assert!(!is_ready(&fixture), "during it");
    fetched(&mut fixture, &first, None);
    assert!(!is_ready(&fixture), "after one that failed");
    fixture.pass(10);
    let second = fetch(&mut fixture);
    fetched(&mut fixture, &second, Some(&jwks(&[&KEY])));
    assert!(is_ready(&fixture));
    fixture.pass(119);
    assert!(is_ready(&fixture), "the last set serves");
    fixture.pass(2);
    assert!(!is_ready(&fixture), "it is too old");
}
