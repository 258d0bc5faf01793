//! Calls in the background, and a resolver that fails (threats S11, C13, R8, R11, E14).

use super::*;

const SESSION: [(&str, &str); 1] = [("cookie", "session=s")];

/// A gate whose verified tokens are confirmed by the resolver.
fn revalidating() -> Fixture {
    let config = json!({
        "projects": [{
            "endpoint": ISSUER,
            "cluster": "authgear",
            "jwks": { "inline": { "keys": [KEY.jwk()] } },
            "jwt": { "algorithms": ["ES256"], "revalidate": "30s" },
        }],
    });
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    Fixture {
        gate: Gate::new(config),
        ..Fixture::new()
    }
}

/// A stranger's call fails.
fn stranger_fails(fixture: &mut Fixture, answer: Option<&Answer>) {
    let cookie = format!("session=never-seen-{:?}", fixture.now);
    let pending = fixture.wait("/", &[("cookie", &cookie)]);
    assert_eq!(fixture.resolve(pending, answer), "503 unavailable");
}

/// The resolver is away: a stranger's call fails, and then the two checks that it causes.
fn opens(fixture: &mut Fixture) {
    for _ in 0..2 {
        stranger_fails(fixture, None);
        run_check(fixture, None);
        fixture.now.ticks = fixture.now.ticks.after(Duration::from_millis(500));
    }
    fixture.now.ticks = Ticks::from_millis(fixture.now.ticks.as_millis() - 500);
    assert_eq!(fixture.gate.levels(fixture.now).open_breakers, 1);
}

/// The calls to be made in the background about credentials.
fn background_calls(fixture: &mut Fixture) -> Vec<SessionCredential> {
    let background_calls = fixture.gate.take_background_calls().into_iter();
    let credentials = background_calls.map(|(_, credential)| credential);
    credentials
        .filter(|credential| *credential != SessionCredential::Nothing)
        .collect()
}

/// The one call to be made in the background about a credential, and what its answer brings.
fn answer_background_call(fixture: &mut Fixture, answer: Option<&Answer>) -> SessionCredential {
    let mut background_calls = background_calls(fixture);
    assert_eq!(background_calls.len(), 1, "{background_calls:?}");
    let credential = background_calls.remove(0);
    let _ = fixture.resolved(0, &credential, answer);
    credential
}

/// The breaker wants a check, and nothing else is asked: this is the answer.
fn run_check(fixture: &mut Fixture, answer: Option<&Answer>) {
    let check = SessionCredential::Nothing;
    assert_eq!(fixture.gate.take_background_calls(), [(0, check.clone())]);
    let _ = fixture.resolved(0, &check, answer);
}

#[test]
fn a_session_in_use_never_waits_again() {
    let mut fixture = Fixture::new();
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
    for _ in 0..100 {
        fixture.pass(6);
        assert_eq!(fixture.get("/", &SESSION), "alice");
        let asked = answer_background_call(&mut fixture, Some(&yes()));
        assert_eq!(asked, SessionCredential::Cookies("session=s".into()));
    }
    // It ends in time where the resolver says so, and where it says nothing.
    fixture.pass(6);
    assert_eq!(fixture.get("/", &SESSION), "alice");
    answer_background_call(&mut fixture, Some(&no()));
    assert_eq!(fixture.get("/", &SESSION), "401 unauthenticated");
}

#[test]
fn an_idle_session_is_not_asked_for() {
    let mut fixture = Fixture::new();
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
    fixture.pass(1);
    assert_eq!(fixture.get("/", &SESSION), "alice");
    assert!(fixture.gate.take_background_calls().is_empty());
    fixture.pass(9);
    assert_eq!(fixture.get("/", &SESSION), "wait for Session");
    assert!(fixture.gate.take_background_calls().is_empty());
}

#[test]
fn a_background_call_that_fails_takes_nothing_away() {
    let mut fixture = Fixture::new();
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
    fixture.pass(6);
    assert_eq!(fixture.get("/", &SESSION), "alice");
    answer_background_call(&mut fixture, None);
    fixture.pass(3);
    assert_eq!(fixture.get("/", &SESSION), "alice");
    answer_background_call(&mut fixture, Some(&answer(500, &[], b"")));
    fixture.pass(1);
    assert_eq!(
        fixture.get("/", &SESSION),
        "wait for Session",
        "ten seconds are over"
    );
}

#[test]
fn a_resolver_that_fails_is_left_alone_and_probed() {
    let mut fixture = Fixture::new();
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
    opens(&mut fixture);
    for path in ["/", "/optional"] {
        assert_eq!(
            fixture.get(path, &[("cookie", "session=x")]),
            "503 unavailable"
        );
        let opaque = format!("Bearer {OPAQUE}");
        assert_eq!(
            fixture.get(path, &[("authorization", &opaque)]),
            "503 unavailable"
        );
    }
    let refused = fixture.enter("/", &[("cookie", "session=x")]);
    let Step::Reply(reply) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        reply.headers().contains(&("retry-after", "1".to_owned())),
        "{reply:?}"
    );
    // What needs no call is not touched.
    assert_eq!(fixture.get("/", &SESSION), "alice");
    assert_eq!(
        fixture.get("/", &[("authorization", &bearer(&alice()))]),
        "alice"
    );
    assert_eq!(fixture.get("/none", &[]), "unchecked");
    assert_eq!(fixture.gate.levels(fixture.now).open_breakers, 1);
    fixture.pass(1);
    for _ in 0..2 {
        assert_eq!(
            fixture.get("/", &[("cookie", "session=x")]),
            "503 unavailable"
        );
    }
    // Nobody is the probe: it is made without a credential.
    run_check(&mut fixture, Some(&silence()));
    assert_eq!(
        fixture.get("/", &[("cookie", "session=x")]),
        "wait for Session"
    );
    assert_eq!(fixture.gate.levels(fixture.now).open_breakers, 0);
}

#[test]
fn the_last_yes_bridges_an_outage_without_a_call() {
    let mut fixture = Fixture::with(
        json!({ "inline": { "keys": [KEY.jwk()] } }),
        json!({ "ttl": "2s", "stale_if_error": "10s" }),
    );
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
    fixture.pass(3);
    opens(&mut fixture);
    assert_eq!(
        fixture.get("/", &SESSION),
        "alice",
        "stale, and nobody is asked"
    );
    fixture.now.unix += 6;
    fixture.now.ticks = fixture.now.ticks.after(Duration::from_millis(400));
    assert_eq!(fixture.get("/", &SESSION), "alice");
    fixture.pass(9);
    assert_eq!(fixture.get("/", &SESSION), "503 unavailable", "too old now");
}

#[test]
fn nobody_is_asked_in_the_background_while_the_resolver_fails() {
    let mut fixture = revalidating();
    let token = bearer(&alice());
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
    fixture.pass(6);
    opens(&mut fixture);
    assert_eq!(fixture.get("/", &SESSION), "alice");
    assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
    assert!(fixture.gate.take_background_calls().is_empty());
}

#[test]
fn a_token_is_confirmed_without_making_it_wait() {
    let mut fixture = revalidating();
    let token = bearer(&alice());
    let plain = token.strip_prefix("Bearer ").unwrap();
    for (at, asked) in [(0, true), (1, false), (28, false), (1, true), (1, false)] {
        fixture.pass(at);
        assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
        if asked {
            let credential = answer_background_call(&mut fixture, Some(&yes()));
            assert_eq!(credential, SessionCredential::Jwt(plain.into()));
        } else {
            assert!(fixture.gate.take_background_calls().is_empty());
        }
    }
}

#[test]
fn a_revoked_token_is_refused_and_asked_about_again_at_most_that_often() {
    for refusal in [no(), silence()] {
        let mut fixture = revalidating();
        let known = bearer(&alice().claim("jti", "known"));
        assert_eq!(fixture.get("/", &[("authorization", &known)]), "alice");
        answer_background_call(&mut fixture, Some(&yes()));
        let token = bearer(&alice());
        assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
        answer_background_call(&mut fixture, Some(&refusal));
        let asks = [(0, false), (29, false), (1, true), (29, false), (600, true)];
        for (seconds, asked) in asks {
            fixture.pass(seconds);
            for _ in 0..3 {
                assert_eq!(
                    fixture.get("/", &[("authorization", &token)]),
                    "401 invalid_token"
                );
            }
            if asked {
                let credential = answer_background_call(&mut fixture, Some(&refusal));
                let plain = token.strip_prefix("Bearer ").unwrap();
                assert_eq!(credential, SessionCredential::Jwt(plain.into()));
            }
            assert!(fixture.gate.take_background_calls().is_empty());
        }
        // No trouble of the resolver's makes it good.
        for trouble in [
            None,
            Some(answer(503, &[], b"")),
            Some(answer(403, &[], b"")),
        ] {
            fixture.pass(30);
            assert_eq!(
                fixture.get("/", &[("authorization", &token)]),
                "401 invalid_token"
            );
            answer_background_call(&mut fixture, trouble.as_ref());
            fixture.pass(2);
            assert_eq!(
                fixture.get("/", &[("authorization", &token)]),
                "401 invalid_token"
            );
            // The resolver itself may be checked.
            let calls = fixture.gate.take_background_calls();
            let checks =
                |(_, asked): &(usize, SessionCredential)| *asked == SessionCredential::Nothing;
            assert!(calls.iter().all(checks), "{calls:?}");
        }
        // Another token of the same user is asked about by itself.
        let other = bearer(&alice().claim("jti", "other").claim("exp", UNIX + 9_000));
        assert_eq!(fixture.get("/", &[("authorization", &other)]), "alice");
    }
}

#[test]
fn a_token_is_good_again_once_the_resolver_says_so() {
    let mut fixture = revalidating();
    let token = bearer(&alice());
    let presented = [("authorization", token.as_str())];
    assert_eq!(fixture.get("/", &presented), "alice");
    answer_background_call(&mut fixture, Some(&no()));
    assert_eq!(fixture.get("/", &presented), "401 invalid_token");
    fixture.pass(30);
    assert_eq!(fixture.get("/", &presented), "401 invalid_token");
    answer_background_call(&mut fixture, Some(&yes()));
    assert_eq!(fixture.get("/", &presented), "alice");
    // It is verified anew, and asked about as any other.
    answer_background_call(&mut fixture, Some(&no()));
    assert_eq!(fixture.get("/", &presented), "401 invalid_token");
    // One that has expired meanwhile is not asked about.
    fixture.pass(4_000);
    assert_eq!(fixture.get("/", &presented), "401 invalid_token");
    assert!(fixture.gate.take_background_calls().is_empty());
}

#[test]
fn of_another_user_a_revoked_token_is_not_good_again() {
    let mut fixture = revalidating();
    let token = bearer(&alice());
    let presented = [("authorization", token.as_str())];
    assert_eq!(fixture.get("/", &presented), "alice");
    answer_background_call(&mut fixture, Some(&no()));
    fixture.pass(30);
    assert_eq!(fixture.get("/", &presented), "401 invalid_token");
    let bob = answer(200, &User::new("bob").headers(), b"");
    answer_background_call(&mut fixture, Some(&bob));
    assert_eq!(fixture.get("/", &presented), "401 invalid_token");
}

fn twin(bearer: &str) -> String {
    format!(
        "Bearer {}",
        es256_twin(bearer.strip_prefix("Bearer ").unwrap())
    )
}

/// Of an ECDSA signature (r, s) anybody can make (r, n - s).
#[test]
fn a_token_that_the_resolver_revokes_is_good_under_no_signature() {
    let token = bearer(&alice());
    let twin = twin(&token);
    for (first, second) in [(&token, &twin), (&twin, &token)] {
        for both_in_use in [false, true] {
            let mut fixture = revalidating();
            assert_eq!(fixture.get("/", &[("authorization", first)]), "alice");
            if both_in_use {
                assert_eq!(fixture.get("/", &[("authorization", second)]), "alice");
            }
            answer_background_call(&mut fixture, Some(&no()));
            // Whichever is presented, that which was verified last is asked about.
            let verified = if both_in_use { second } else { first };
            let plain = verified.strip_prefix("Bearer ").unwrap();
            for (seconds, asked) in [(0, 0), (29, 0), (31, 1), (600, 1)] {
                fixture.pass(seconds);
                let forged = format!("{}A", first.rsplit_once('.').unwrap().0);
                for token in [second, first, &forged] {
                    let got = fixture.get("/", &[("authorization", token)]);
                    assert_eq!(got, "401 invalid_token", "{both_in_use} {seconds}");
                }
                let calls = fixture.gate.take_background_calls();
                assert_eq!(calls.len(), asked, "{both_in_use} {seconds}");
                for (project, credential) in calls {
                    assert_eq!(credential, SessionCredential::Jwt(plain.into()));
                    let _ = fixture.resolved(project, &credential, Some(&no()));
                }
            }
        }
    }
}

#[test]
fn a_token_under_two_signatures_is_asked_for_as_one() {
    let mut fixture = revalidating();
    let token = bearer(&alice());
    let mut asked = Vec::new();
    for second in 0..100 {
        for token in [&token, &twin(&token), &token] {
            assert_eq!(fixture.get("/", &[("authorization", token)]), "alice");
        }
        asked.extend(fixture.gate.take_background_calls().iter().map(|_| second));
        fixture.pass(1);
    }
    assert_eq!(asked, [0, 30, 60, 90]);
}

#[test]
fn silence_about_a_token_counts_whatever_its_signature() {
    let mut fixture = revalidating();
    let other = bearer(&alice().claim("jti", "other"));
    assert_eq!(fixture.get("/", &[("authorization", &other)]), "alice");
    answer_background_call(&mut fixture, Some(&yes()));
    let token = bearer(&alice());
    let twin = twin(&token);
    assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
    answer_background_call(&mut fixture, Some(&silence()));
    for token in [&token, &twin] {
        let got = fixture.get("/", &[("authorization", token)]);
        assert_eq!(got, "401 invalid_token");
    }
}

#[test]
fn silence_is_a_no_only_for_tokens_that_the_resolver_knows() {
    let mut fixture = revalidating();
    let token = bearer(&alice());
    assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
    answer_background_call(&mut fixture, Some(&silence()));
    assert_eq!(
        fixture.get("/", &[("authorization", &token)]),
        "alice",
        "it may be of a kind that it never accepts"
    );
    // It confirms another of the same client: it knows the kind.
    let other = bearer(&alice().claim("jti", "other"));
    assert_eq!(fixture.get("/", &[("authorization", &other)]), "alice");
    answer_background_call(&mut fixture, Some(&yes()));
    fixture.pass(30);
    assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
    answer_background_call(&mut fixture, Some(&silence()));
    assert_eq!(
        fixture.get("/", &[("authorization", &token)]),
        "401 invalid_token"
    );
}

#[test]
fn where_only_tokens_are_in_use_their_failures_cause_the_checks() {
    let mut fixture = revalidating();
    let ask = |fixture: &mut Fixture, id: &str| {
        let token = bearer(&alice().claim("jti", id));
        assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
    };
    for id in ["1", "2"] {
        ask(&mut fixture, id);
        // The token's question, and, before or after it, a check.
        for _ in 0..2 {
            for (_, credential) in fixture.gate.take_background_calls() {
                let _ = fixture.resolved(0, &credential, None);
            }
        }
        fixture.pass(1);
    }
    // It is open, and its pause is over: the token's own question waits for the end of the check.
    ask(&mut fixture, "3");
    run_check(&mut fixture, Some(&silence()));
    assert_eq!(fixture.gate.levels(fixture.now).open_breakers, 0);
    fixture.pass(1);
    ask(&mut fixture, "3");
    let asked = answer_background_call(&mut fixture, Some(&no()));
    assert!(matches!(asked, SessionCredential::Jwt(_)), "{asked:?}");
}

#[test]
fn a_strangers_outage_is_no_one_elses() {
    let pause = ("retry-after".to_owned(), "17".to_owned());
    for status in [500, 502, 503, 504] {
        let answer = answer(status, std::slice::from_ref(&pause), b"");
        let mut fixture = revalidating();
        for _ in 0..100 {
            stranger_fails(&mut fixture, Some(&answer));
            for (_, credential) in fixture.gate.take_background_calls() {
                assert_eq!(credential, SessionCredential::Nothing, "{status}");
                let _ = fixture.resolved(0, &credential, Some(&silence()));
            }
            fixture.pass(1);
        }
        let pending = fixture.wait("/", &SESSION);
        let WaitFor::Session(credential) = pending.wait_for() else {
            panic!("{pending:?}");
        };
        let verdict = fixture.resolved(0, credential, Some(&answer));
        let Step::Reply(reply) = fixture.gate.session_settled(pending, &verdict, fixture.now)
        else {
            panic!("no reply");
        };
        // The pause that the resolver asked this client for.
        let expected = ("retry-after", "17".to_owned());
        assert!(reply.headers().contains(&expected), "{status}: {reply:?}");
    }
}

#[test]
fn a_fresh_session_is_not_counted_as_stale_when_its_refresh_fails() {
    let mut fixture = Fixture::new();
    let pending = fixture.wait("/", &SESSION);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
    fixture.pass(6);
    assert_eq!(fixture.get("/", &SESSION), "alice");
    answer_background_call(&mut fixture, None);
    let counted: Vec<Counter> = fixture
        .gate
        .counters()
        .take()
        .map(|(event, _)| event)
        .collect();
    assert!(
        !counted.contains(&Counter::SessionServedStale),
        "{counted:?}"
    );
    assert!(counted.contains(&Counter::ResolverFailure), "{counted:?}");
}

#[test]
fn an_outage_leaves_the_token_as_it_is() {
    let mut fixture = revalidating();
    let token = bearer(&alice());
    for answer in [
        None,
        Some(answer(500, &[], b"")),
        Some(answer(504, &[], b"")),
    ] {
        assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
        answer_background_call(&mut fixture, answer.as_ref());
        fixture.pass(30);
    }
    assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
}

/// Answers that are neither a verdict on Alice's token nor an outage.
fn no_verdicts() -> Vec<Answer> {
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    vec![
        answer(204, &[], b""),
        answer(302, &[], b""),
        answer(403, &[], b""),
        answer(404, &[], b""),
        answer(429, &[], b""),
        answer(200, &header("x-authgear-session-valid", "maybe"), b""),
        answer(200, &header("x-authgear-session-valid", "true"), b""),
        answer(200, &User::new("somebody-else").headers(), b""),
    ]
}

#[test]
fn a_token_whose_confirmation_is_no_verdict_is_not_good_until_there_is_one() {
    for nonsense in no_verdicts() {
        let shown = format!("{nonsense:?}");
        let mut fixture = revalidating();
        let token = bearer(&alice());
        let get = |fixture: &mut Fixture| fixture.get("/", &[("authorization", &token)]);
        assert_eq!(get(&mut fixture), "alice");
        answer_background_call(&mut fixture, Some(&nonsense));
        // At most one question a second, whatever comes of it but a verdict.
        for answer in [Some(nonsense.clone()), None, Some(answer(500, &[], b""))] {
            for _ in 0..10 {
                assert_eq!(get(&mut fixture), "503 unavailable", "{shown}");
                assert!(background_calls(&mut fixture).is_empty(), "{shown}");
            }
            fixture.pass(1);
            assert_eq!(get(&mut fixture), "503 unavailable", "{shown}");
            answer_background_call(&mut fixture, answer.as_ref());
        }
        fixture.pass(1);
        assert_eq!(get(&mut fixture), "503 unavailable", "{shown}");
        answer_background_call(&mut fixture, Some(&yes()));
        assert_eq!(get(&mut fixture), "alice", "{shown}");
        // And back to the usual time.
        fixture.pass(29);
        assert_eq!(get(&mut fixture), "alice", "{shown}");
        assert!(background_calls(&mut fixture).is_empty(), "{shown}");
        fixture.pass(1);
        assert_eq!(get(&mut fixture), "alice", "{shown}");
        answer_background_call(&mut fixture, Some(&nonsense));
        fixture.pass(1);
        assert_eq!(get(&mut fixture), "503 unavailable", "{shown}");
        answer_background_call(&mut fixture, Some(&no()));
        assert_eq!(get(&mut fixture), "401 invalid_token", "{shown}");
    }
}

#[test]
fn an_unconfirmed_token_expires_as_any() {
    let mut fixture = revalidating();
    let token = bearer(&alice());
    assert_eq!(fixture.get("/", &[("authorization", &token)]), "alice");
    answer_background_call(&mut fixture, Some(&no_verdicts()[0]));
    assert_eq!(
        fixture.get("/optional", &[("authorization", &token)]),
        "503 unavailable"
    );
    fixture.pass(1_800);
    assert_eq!(
        fixture.get("/", &[("authorization", &token)]),
        "401 invalid_token"
    );
}

#[test]
fn beside_a_session_an_unconfirmed_token_is_for_the_resolver_as_ever() {
    let mut fixture = revalidating();
    let alone = cookie(&alice());
    let beside = format!("{alone}; session=s");
    assert_eq!(fixture.get("/", &[("cookie", &alone)]), "alice");
    answer_background_call(&mut fixture, Some(&no_verdicts()[0]));
    assert_eq!(fixture.get("/", &[("cookie", &alone)]), "503 unavailable");
    let pending = fixture.wait("/", &[("cookie", &beside)]);
    assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
}

#[test]
fn a_limit_is_passed_on_to_whom_it_concerns() {
    let mut fixture = Fixture::new();
    let limited = answer(429, &[("retry-after".to_owned(), "17".to_owned())], b"");
    let pending = fixture.wait("/", &SESSION);
    let WaitFor::Session(credential) = pending.wait_for() else {
        panic!("{pending:?}");
    };
    let verdict = fixture.resolved(0, credential, Some(&limited));
    let Step::Reply(reply) = fixture.gate.session_settled(pending, &verdict, fixture.now) else {
        panic!("no reply");
    };
    let retry_after = ("retry-after", "17".to_owned());
    assert!(reply.headers().contains(&retry_after), "{reply:?}");
}

#[test]
fn tokens_for_others_and_of_machines_are_not_asked_for() {
    let config = json!({
        "projects": [{
            "endpoint": ISSUER,
            "cluster": "authgear",
            "jwks": { "inline": { "keys": [KEY.jwk()] } },
            "jwt": { "algorithms": ["ES256"], "revalidate": "30s", "audiences": [ISSUER, "https://api.example.com"] },
        }],
    });
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    let mut fixture = Fixture {
        gate: Gate::new(config),
        ..Fixture::new()
    };
    let elsewhere = bearer(&alice().audience("https://api.example.com"));
    assert_eq!(fixture.get("/", &[("authorization", &elsewhere)]), "alice");
    assert_eq!(
        fixture.get("/", &[("authorization", &bearer(&machine()))]),
        "403 forbidden"
    );
    assert!(fixture.gate.take_background_calls().is_empty());
}

#[test]
fn only_the_projects_cookies_are_relayed_and_only_on_demand() {
    let with_cookies = |cookies: &[&str]| {
        let mut answer = no();
        for cookie in cookies {
            let value = cookie.as_bytes().to_vec();
            answer.headers.push(("set-cookie".to_owned(), value));
        }
        answer
    };
    let clear = "session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax";
    let said = with_cookies(&[
        clear,
        "other=1",
        "session",
        "session; Path=/",
        "session_x=1",
        "Session=1",
        "app_session=2",
        "session=\u{e4}",
        "session=a\r\nx: y",
    ]);
    let inline = || json!({ "inline": { "keys": [KEY.jwk()] } });
    let session = SessionCredential::Cookies("session=a".into());
    let relaying = Fixture::with(inline(), json!({ "relay_set_cookie": true }));
    assert_eq!(
        relaying.gate.cookies_to_relay(0, &session, Some(&said)),
        [clear, "app_session=2"]
    );
    assert!(relaying.gate.cookies_to_relay(0, &session, None).is_empty());
    let many = vec!["session=1"; 100];
    assert_eq!(
        relaying
            .gate
            .cookies_to_relay(0, &session, Some(&with_cookies(&many)))
            .len(),
        8
    );
    let silent = Fixture::with(inline(), json!({}));
    assert!(
        silent
            .gate
            .cookies_to_relay(0, &session, Some(&said))
            .is_empty()
    );
    assert!(
        relaying
            .gate
            .cookies_to_relay(7, &session, Some(&said))
            .is_empty()
    );
    let mut failed = answer(502, &[], b"");
    let cookie = ("set-cookie".to_owned(), clear.as_bytes().to_vec());
    failed.headers.push(cookie.clone());
    assert!(
        relaying
            .gate
            .cookies_to_relay(0, &session, Some(&failed))
            .is_empty()
    );
    // Neither a yes nor a no: the next answer may come from somewhere else.
    let maybe = ("x-authgear-session-valid".to_owned(), "maybe".to_owned());
    let mut unclear = answer(200, &[maybe], b"");
    unclear.headers.push(cookie);
    assert!(
        relaying
            .gate
            .cookies_to_relay(0, &session, Some(&unclear))
            .is_empty()
    );
}

#[test]
fn one_user_has_four_calls_in_the_background_and_leaves_the_others_theirs() {
    let mut fixture = revalidating();
    let bob = User::new("bob");
    let settle = |fixture: &mut Fixture, cookie: &str, user: &User| {
        let pending = fixture.wait("/", &[("cookie", cookie)]);
        let said = answer(200, &user.headers(), b"");
        assert_eq!(fixture.resolve(pending, Some(&said)), user.id);
    };
    let many: Vec<String> = (0..8)
        .map(|nth| format!("session=a; app_session={nth}"))
        .collect();
    for cookie in &many {
        let pending = fixture.wait("/", &[("cookie", cookie)]);
        assert_eq!(fixture.resolve(pending, Some(&yes())), "alice");
    }
    settle(&mut fixture, "session=b", &bob);
    fixture.pass(8);
    for cookie in &many {
        assert_eq!(fixture.get("/", &[("cookie", cookie)]), "alice");
    }
    let tokens: Vec<String> = (0..8)
        .map(|nth| bearer(&alice().claim("jti", format!("{nth}"))))
        .collect();
    for token in &tokens {
        assert_eq!(fixture.get("/", &[("authorization", token)]), "alice");
    }
    assert_eq!(fixture.get("/", &[("cookie", "session=b")]), bob.id);
    let asked = background_calls(&mut fixture);
    assert_eq!(asked.len(), 4 + 1, "{asked:?}");
    assert_eq!(asked[4], SessionCredential::Cookies("session=b".into()));
    for credential in &asked {
        let _ = fixture.resolved(0, credential, Some(&yes()));
    }
    // A token that was not asked about is soon, not only after another half minute.
    fixture.pass(1);
    assert_eq!(fixture.get("/", &[("authorization", &tokens[7])]), "alice");
    assert_eq!(background_calls(&mut fixture).len(), 1);
}
