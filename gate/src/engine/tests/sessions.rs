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
        (&token, Some(no()), "401 invalid_token", "401 invalid_token"),
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
            let mut scene = Scene::new();
            let pending = scene.wait(path, headers);
            assert_eq!(scene.gate.patience(&pending), Duration::from_secs(1));
            assert_eq!(
                scene.resolve(pending, answer.as_ref()),
                expected,
                "{path} {answer:?}"
            );
        }
    }
}

#[test]
fn a_verdict_is_used_again_under_the_rule_at_hand_while_it_is_fresh() {
    let mut scene = Scene::new();
    let pending = scene.wait("/", &SESSION);
    scene.resolve(pending, Some(&yes()));
    scene.pass(9);
    assert_eq!(scene.get("/optional", &SESSION), "alice");
    assert_eq!(
        scene.get("/", &[("cookie", "session=t")]),
        "wait for Session"
    );
    scene.pass(1);
    let pending = scene.wait("/", &SESSION);
    assert_eq!(scene.resolve(pending, Some(&no())), "401 unauthenticated");
    scene.pass(1);
    assert_eq!(scene.get("/", &SESSION), "401 unauthenticated");
    assert_eq!(
        scene.get("/optional", &SESSION),
        "anonymous",
        "the verdict is kept, not what a rule made of it"
    );
    scene.pass(1);
    assert_eq!(scene.get("/", &SESSION), "wait for Session");
}

#[test]
fn a_failure_is_not_remembered() {
    let mut scene = Scene::new();
    let pending = scene.wait("/", &SESSION);
    assert_eq!(scene.resolve(pending, None), "503 unavailable");
    let pending = scene.wait("/", &SESSION);
    assert_eq!(scene.resolve(pending, Some(&yes())), "alice");
}

#[test]
fn the_same_answer_means_to_each_who_waits_what_its_rule_says() {
    let mut scene = Scene::new();
    let waiting = ["/", "/optional", "/"].map(|path| scene.wait(path, &SESSION));
    let verdict = Ok(Verdict::Invalid);
    let steps = waiting.map(|pending| shown(&scene.gate.session_settled(pending, &verdict)));
    assert_eq!(
        steps,
        ["401 unauthenticated", "anonymous", "401 unauthenticated"]
    );
}

#[test]
fn who_waits_for_the_resolver_is_not_helped_by_keys_nor_the_other_way_round() {
    let mut scene = Scene::new();
    let pending = scene.wait("/", &SESSION);
    let step = scene
        .gate
        .keys_settled(pending, true, scene.now, &scene.verifier);
    assert_eq!(shown(&step), "503 unavailable");
    let mut scene = Scene::remote();
    let good = bearer(&alice());
    let pending = scene.wait("/", &[("authorization", &good)]);
    let step = scene.gate.session_settled(pending, &Ok(Verdict::Invalid));
    assert_eq!(shown(&step), "503 unavailable");
}

#[test]
fn what_waits_never_shows_a_secret() {
    let mut scene = Scene::remote();
    let good = bearer(&alice());
    let signature = good.rsplit('.').next().unwrap();
    for headers in [
        [("authorization", good.as_str())],
        [("cookie", "session=c0ffee")],
    ] {
        let shown = format!("{:?}", scene.wait("/", &headers));
        assert!(
            !shown.contains(signature) && !shown.contains("c0ffee"),
            "{shown}"
        );
    }
}

#[test]
fn a_call_of_an_unknown_project_is_no_yes() {
    let mut scene = Scene::new();
    let credential = SessionCredential::Cookies("session=s".into());
    let answer = yes();
    assert_eq!(
        scene.resolved(7, &credential, Some(&answer)),
        Err(ResolverError::NoAnswer)
    );
    assert!(scene.gate.project(7).is_none());
    assert!(scene.gate.session_policy(7).is_none());
}
