//! Calls in the background: each has one outcome, and is counted once.

use super::*;

const OUTCOMES: [Counter; 5] = [
    Counter::Revalidation,
    Counter::RevalidationConfirmed,
    Counter::RevalidationRefused,
    Counter::RevalidationUnknown,
    Counter::RevalidationFailed,
];

/// Tokens are confirmed every ten minutes, sessions cached for a second.
fn revalidating() -> Host {
    Host::serving(|config| {
        config["projects"][0]["jwt"]["revalidate"] = json!("10m");
        config["projects"][0]["session"] = json!({ "ttl": "1s" });
    })
}

/// A token of the user of this name.
fn token_of(user: &str) -> String {
    let user = User::new(user).authenticated_at(Some(1_767_225_590));
    let token = Token::user(ISSUER, &user)
        .claim("iat", UNIX - 100)
        .claim("exp", UNIX + 1_700);
    bearer(&token)
}

fn present(host: &mut Host, token: &str) {
    let decision = host.request(7, &[("authorization", token)]);
    assert!(!decision.starts_with("503"), "{decision}");
}

fn bad_gateway() -> Answer {
    answer(502, &[], b"")
}

/// The token is asked about again after a second, and confirmed, which leaves a place for others.
fn is_asked_about_soon(host: &mut Host, token: &str, case: &str) {
    host.pass(999);
    present(host, token);
    host.tick();
    let of_token = |host: &Host| {
        let calls = host.calls.iter();
        let presented = ("authorization", token.to_owned());
        calls
            .filter(|(_, call)| call.headers.contains(&presented))
            .count()
    };
    assert_eq!(of_token(host), 0, "{case}");
    host.pass(1);
    present(host, token);
    host.tick();
    assert_eq!(of_token(host), 1, "{case}");
}

#[test]
fn a_confirmation_that_ends_in_an_outage_is_asked_for_again_soon() {
    for answer in [None, Some(bad_gateway()), Some(answer(500, &[], b""))] {
        let mut host = revalidating();
        let token = token_of("a");
        host.counted();
        present(&mut host, &token);
        host.tick();
        assert_eq!(host.calls.len(), 1);
        host.answer_all(answer.as_ref(), Caller::Root);
        assert_eq!(host.count(OUTCOMES), [1, 0, 0, 0, 1]);
        is_asked_about_soon(&mut host, &token, "an outage");
        host.answer_all(Some(&silence()), Caller::Root);
        assert_eq!(host.count(OUTCOMES), [1, 0, 0, 1, 0]);
        host.assert_idle();
    }
}

#[test]
fn a_confirmation_whose_answer_is_lost_is_asked_for_again_soon() {
    let mut host = revalidating();
    let token = token_of("a");
    host.counted();
    present(&mut host, &token);
    host.tick();
    let (lost, _) = host.calls.pop().expect("a call");
    host.pass(1_500);
    // Another callback of the root's than a tick.
    host.perform(Caller::Root);
    host.assert_idle();
    assert_eq!(host.count(OUTCOMES), [1, 0, 0, 0, 1]);
    // Should it come after all, it has had its outcome.
    host.answer(lost, Some(&yes()), Caller::Root);
    assert_eq!(host.count(OUTCOMES), [0; 5]);
    is_asked_about_soon(&mut host, &token, "lost");
}

#[test]
fn a_confirmation_that_takes_longer_than_until_the_next_is_one() {
    let mut host = Host::serving(|config| {
        config["projects"][0]["jwt"]["revalidate"] = json!("1s");
        config["projects"][0]["session"] = json!({ "timeout": "5s" });
    });
    let token = token_of("a");
    host.counted();
    for _ in 0..5 {
        present(&mut host, &token);
        host.tick();
        host.pass(1_000);
    }
    assert_eq!(host.calls.len(), 1);
    host.answer_all(None, Caller::Root);
    assert_eq!(host.count(OUTCOMES), [1, 0, 0, 0, 1]);
}

#[test]
fn a_confirmation_beyond_the_limit_is_asked_for_again_soon() {
    let mut host = revalidating();
    // Beside the tokens there is a check.
    host.session(1, "stranger");
    host.answer_all(Some(&bad_gateway()), Caller::Request(1));
    host.session(2, "another");
    host.tick();
    assert_eq!(host.calls.len(), 2, "a session and a check");
    let tokens: Vec<String> = (0..65).map(|nth| token_of(&format!("u{nth}"))).collect();
    host.counted();
    for token in &tokens {
        present(&mut host, token);
    }
    // One is dropped as 64 calls and the check are too many, one as users' calls are limited to 64.
    let [started, _, _, _, failed] = host.count(OUTCOMES);
    assert_eq!((started, failed), (65, 2));
    host.tick();
    host.tick();
    assert_eq!(host.calls.len(), 2 + 63);
    let under_way = std::mem::take(&mut host.calls);
    for (token, call) in under_way {
        let presented = |(name, _): &(&str, String)| *name == "authorization";
        if call.headers.iter().any(presented) {
            host.answer(token, Some(&silence()), Caller::Root);
        }
    }
    assert_eq!(host.count(OUTCOMES), [0, 0, 0, 63, 0]);
    // More may be scheduled again.
    is_asked_about_soon(&mut host, &tokens[63], "too many background calls");
    host.calls.clear();
    present(&mut host, &tokens[64]);
    host.tick();
    assert_eq!(host.calls.len(), 1, "no share");
}

/// Five users' calls fail, whose sessions were good before.
fn open_breaker(host: &mut Host, before_the_answers: impl FnOnce(&mut Host)) {
    for id in 0..5 {
        host.session(id, &format!("s{id}"));
        let said = answer(200, &User::new(&format!("s{id}")).headers(), b"");
        host.answer_all(Some(&said), Caller::Request(id));
    }
    host.pass(1_000);
    for id in 10..15 {
        assert_eq!(host.session(id, &format!("s{}", id - 10)), "call and wait");
    }
    before_the_answers(host);
    for ((token, _), id) in std::mem::take(&mut host.calls).into_iter().zip(10..) {
        host.with(|engine, env| {
            engine.handle_response(token, Some(&bad_gateway()), Caller::Request(id), env)
        });
    }
    let levels = host.engine.levels(host.now);
    assert_eq!(levels.open_breakers, 1);
}

#[test]
fn what_is_not_asked_as_the_resolver_is_left_alone_is_no_failure_and_is_asked_for_soon() {
    let mut host = revalidating();
    let token = token_of("a");
    open_breaker(&mut host, |host| {
        present(host, &token);
        // And one whose call was lost with the request that made it.
        host.session(20, "other");
        host.session(21, "other");
        host.engine.handle_close(20);
        host.calls.pop();
    });
    host.counted();
    host.tick();
    assert_eq!(host.calls, [], "nothing is asked");
    assert!(
        host.ended
            .contains(&(21, "503 resolver_unavailable".to_owned()))
    );
    let counts = [
        Counter::RevalidationFailed,
        Counter::ResolverCallRejected,
        Counter::ResolverCall,
        Counter::ResolverFailure,
    ];
    assert_eq!(host.count(counts), [1, 2, 0, 0]);
    host.assert_idle();
    // The breaker's pause is over, its check is answered.
    host.pass(1_000);
    host.session(22, "other");
    host.tick();
    host.answer_all(Some(&silence()), Caller::Root);
    present(&mut host, &token);
    host.tick();
    assert_eq!(host.calls.len(), 1);
}

#[test]
fn a_call_is_counted_once_when_it_is_made() {
    let mut host = Host::new(|config| {
        config["projects"][0]["jwt"]["cookies"] = json!(["app_access_token"]);
    });
    let count = |host: &Host| host.count([Counter::ResolverCall, Counter::ResolverFailure]);
    // It waits for keys, and then for the session beside the token.
    let cookie = format!("{}; session=s", cookie(&alice()));
    assert_eq!(host.request(1, &[("cookie", &cookie)]), "wait");
    host.tick();
    host.answer_all(Some(&jwks(&[&KEY])), Caller::Root);
    host.tick();
    assert_eq!(host.calls.len(), 1);
    assert_eq!(count(&host), [1, 0]);
    host.answer_all(Some(&yes()), Caller::Root);
    host.tick();
    assert_eq!(host.ended, [(1, "alice".to_owned())]);
    // One that cannot be made, and one for which its request has gone before the root makes it.
    let headers = request("/", &[("cookie", "session=t")]);
    let asked = Request::new(&headers);
    let decision = host.with(|engine, env| engine.handle_request(2, &asked, &|| None, env));
    let Decision::Wait(Some(call)) = decision else {
        panic!("{decision:?}");
    };
    host.with(|engine, env| engine.handle_dispatched(call, Err(DispatchError::NotStarted), env));
    assert_eq!(count(&host), [0, 1]);
}
