//! Requests that wait for the resolver, and what they get (threats H13, Q3).

use super::*;

const SESSION: [(&str, &str); 1] = [("cookie", "session=s")];

#[test]
fn the_resolvers_word_decides_under_every_requirement() {
    let opaque = format!("Bearer {OPAQUE}");
    let token = [("authorization", opaque.as_str())];
    let failed = answer(500, &ALICE.headers(), b"");
    for (headers, answer, on_optional, on_user) in [
        (&SESSION, Some(yes()), "alice", "alice"),
        (&token, Some(yes()), "alice", "alice"),
        (&SESSION, Some(no()), "anonymous", "401 unauthenticated"),
        (
            &token,
            Some(silence()),
            "401 invalid_token",
            "401 invalid_token",
        ),
        // On the cookie of a login Authgear says yes or no.
        (
            &SESSION,
            Some(silence()),
            "503 unavailable",
            "503 unavailable",
        ),
        (
            &SESSION,
            Some(failed.clone()),
            "503 unavailable",
            "503 unavailable",
        ),
        (&token, Some(failed), "503 unavailable", "503 unavailable"),
        (&SESSION, None, "503 unavailable", "503 unavailable"),
    ] {
        for (path, expected) in [("/optional", on_optional), ("/", on_user)] {
            let mut fixture = Fixture::new();
            let pending = fixture.wait(path, headers);
            assert_eq!(fixture.gate.patience(&pending), Duration::from_secs(1));
            assert_eq!(
                fixture.resolve(pending, answer.as_ref()),
                expected,
                "{path} {answer:?}"
            );
        }
    }
}

#[test]
fn a_verdict_is_used_again_under_the_rule_at_hand_while_it_is_fresh() {
    let mut fixture = Fixture::new();
    let pending = fixture.wait("/", &SESSION);
    fixture.resolve(pending, Some(&yes()));
    fixture.pass(9);
    assert_eq!(fixture.get("/optional", &SESSION), "alice");
    assert_eq!(
        fixture.get("/", &[("cookie", "session=t")]),
        "wait for Session"
    );
    fixture.pass(1);
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&no())), "401 unauthenticated");
    fixture.pass(1);
    assert_eq!(fixture.get("/", &SESSION), "401 unauthenticated");
    assert_eq!(
        fixture.get("/optional", &SESSION),
        "anonymous",
        "the verdict is kept, not what a rule made of it"
    );
    fixture.pass(1);
    assert_eq!(fixture.get("/", &SESSION), "wait for Session");
}

#[test]
fn a_failure_is_not_cached() {
    let mut fixture = Fixture::new();
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, None), "503 unavailable");
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
}

#[test]
fn the_same_answer_means_to_each_who_waits_what_its_rule_says() {
    let mut fixture = Fixture::new();
    let waiting = ["/", "/optional", "/"].map(|path| fixture.wait(path, &SESSION));
    let verdict = Ok(Verdict::Invalid);
    let steps =
        waiting.map(|pending| shown(&fixture.gate.session_settled(pending, &verdict, fixture.now)));
    assert_eq!(
        steps,
        ["401 unauthenticated", "anonymous", "401 unauthenticated"]
    );
}

#[test]
fn who_waits_for_the_resolver_is_not_helped_by_keys_nor_the_other_way_round() {
    let mut fixture = Fixture::new();
    let pending = fixture.wait("/", &SESSION);
    let step = fixture
        .gate
        .keys_settled(pending, true, fixture.now, &fixture.verifier);
    assert_eq!(shown(&step), "503 unavailable");
    let mut fixture = Fixture::remote();
    let good = bearer(&alice());
    let pending = fixture.wait("/", &[("authorization", &good)]);
    let step = fixture
        .gate
        .session_settled(pending, &Ok(Verdict::Invalid), fixture.now);
    assert_eq!(shown(&step), "503 unavailable");
}

#[test]
fn what_waits_never_shows_a_secret() {
    let mut fixture = Fixture::remote();
    let good = bearer(&alice());
    let signature = good.rsplit('.').next().unwrap();
    for headers in [
        [("authorization", good.as_str())],
        [("cookie", "session=c0ffee")],
    ] {
        let shown = format!("{:?}", fixture.wait("/", &headers));
        assert!(
            !shown.contains(signature) && !shown.contains("c0ffee"),
            "{shown}"
        );
    }
}

#[test]
fn a_call_of_an_unknown_project_is_no_yes() {
    let mut fixture = Fixture::new();
    let credential = SessionCredential::Cookies("session=s".into());
    let answer = yes();
    assert_eq!(
        fixture.resolved(7, &credential, Some(&answer)),
        Err(ResolverError::NoAnswer)
    );
    assert!(fixture.gate.project(7).is_none());
    assert!(fixture.gate.session_policy(7).is_none());
}
