//! What opens and closes the circuit breaker, and what an outage leaves of what was known (threat R10).

use super::*;

/// Asks about a user's session and answers.
fn ask(fixture: &mut Fixture, session: &str, answer: Option<&Answer>) -> String {
    let cookie = format!("session={session}");
    match fixture.enter("/", &[("cookie", &cookie)]) {
        Step::Wait(pending) => fixture.resolve(pending, answer),
        step => shown(&step),
    }
}

/// The resolver's word on the user of this name.
fn yes_to(user: &str) -> Answer {
    answer(200, &User::new(user).headers(), b"")
}

/// The checks that are wanted are answered.
fn answer_checks(fixture: &mut Fixture) {
    for (_, credential) in fixture.gate.take_background_calls() {
        if credential == SessionCredential::Nothing {
            let _ = fixture.resolved(0, &credential, Some(&silence()));
        }
    }
}

/// The resolver without its store of sessions: 200 for who presents nothing, 500 for all others.
#[test]
fn a_resolver_that_answers_checks_alone_is_left_alone_all_the_same() {
    for session in [json!({ "ttl": "0s" }), json!({})] {
        let mut fixture = Fixture::with(json!({ "inline": { "keys": [KEY.jwk()] } }), session);
        let users: Vec<String> = (0..20).map(|nth| format!("user{nth}")).collect();
        for user in &users {
            ask(&mut fixture, user, Some(&yes_to(user)));
        }
        fixture.pass(60);
        let failed = answer(500, &[], b"");
        let mut asked = 0;
        for _second in 0..120 {
            for user in &users {
                let cookie = format!("session={user}");
                if let Step::Wait(pending) = fixture.enter("/", &[("cookie", &cookie)]) {
                    asked += 1;
                    assert_eq!(fixture.resolve(pending, Some(&failed)), "503 unavailable");
                }
                answer_checks(&mut fixture);
            }
            fixture.pass(1);
        }
        // Five, and then two for each back-off of a second up to half a minute.
        assert!((5..30).contains(&asked), "{asked} calls");
        // It has its store again: one user's answer ends it.
        fixture.pass(60);
        let mut ends = Vec::new();
        for user in &users {
            ends.push(ask(&mut fixture, user, Some(&yes_to(user))));
            answer_checks(&mut fixture);
        }
        assert_eq!(ends[0], "503 unavailable", "a check comes first");
        assert!(
            !ends[1..].contains(&"503 unavailable".to_owned()),
            "{ends:?}"
        );
        assert_eq!(fixture.gate.levels(fixture.now).open_breakers, 0);
    }
}

#[test]
fn a_session_that_has_ended_is_a_strangers() {
    let mut fixture = Fixture::new();
    let users: Vec<String> = (0..20).map(|nth| format!("user{nth}")).collect();
    for user in &users {
        ask(&mut fixture, user, Some(&yes_to(user)));
    }
    fixture.pass(60);
    for user in &users {
        assert_eq!(ask(&mut fixture, user, Some(&no())), "401 unauthenticated");
    }
    fixture.pass(60);
    for user in &users {
        assert_eq!(ask(&mut fixture, user, None), "503 unavailable");
        answer_checks(&mut fixture);
    }
    assert_eq!(fixture.gate.levels(fixture.now).open_breakers, 0);
}

/// Whoever was banned can lock their own session by a flood, so that all its calls end in 500.
#[test]
fn no_failure_that_a_user_causes_makes_a_stale_yes_last_longer() {
    let mut fixture = Fixture::with(
        json!({ "inline": { "keys": [KEY.jwk()] } }),
        json!({ "ttl": "2s", "stale_if_error": "10s" }),
    );
    assert_eq!(ask(&mut fixture, "s", Some(&yes())), "alice");
    let locked = answer(500, &[], b"");
    // Twelve seconds from the last real answer, however often it is asked for meanwhile.
    for second in 0..60 {
        for _ in 0..10 {
            let end = ask(&mut fixture, "s", Some(&locked));
            let expected = if second < 12 {
                "alice"
            } else {
                "503 unavailable"
            };
            assert_eq!(end, expected, "{second}");
            for (_, credential) in fixture.gate.take_background_calls() {
                // Refreshes fail as well; checks are answered.
                let check = credential == SessionCredential::Nothing;
                let said = if check { silence() } else { locked.clone() };
                let _ = fixture.resolved(0, &credential, Some(&said));
            }
        }
        fixture.pass(1);
    }
}
