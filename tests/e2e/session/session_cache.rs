//! What is cached of the resolver's verdicts: for how long, under which key, and what never.

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::client::Connection;
use devkit::keys::User;
use devkit::message::CannedResponse;
use devkit::testbed::TestBed;
use serde_json::json;

async fn status(bed: &TestBed, cookie: &str) -> u16 {
    bed.get("/api/me").cookie(cookie).send().await.status
}

#[tokio::test]
async fn valid_and_invalid_answers_are_cached() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "1h", "negative_ttl": "5m" }))
        .start()
        .await;
    let (good, bad) = (bed.cookie(), "session=nonsense");
    for _ in 0..3 {
        assert_eq!(status(&bed, &good).await, 200);
        assert_eq!(status(&bed, bad).await, 401);
    }
    let token = bed.authgear.opaque_token(&bed.alice);
    for _ in 0..3 {
        let reply = bed.get("/api/me").bearer(&token).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(bed.resolver_calls(), 3);
    for request in bed.forwarded() {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    bed.finish().await;
}

#[tokio::test]
async fn without_memory_every_request_asks_and_a_logout_counts_at_once() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "0s", "negative_ttl": "0s" }))
        .start()
        .await;
    let session = bed.authgear.session(&bed.alice);
    let cookie = format!("session={session}");
    assert_eq!(status(&bed, &cookie).await, 200);
    assert_eq!(status(&bed, &cookie).await, 200);
    assert_eq!(bed.resolver_calls(), 2);

    bed.authgear.change(&bed.alice, |alice| alice.roles.clear());
    bed.backend.clear();
    assert_eq!(status(&bed, &cookie).await, 200);
    let expected = bed.authgear.user("alice").expect("alice").headers();
    assert_eq!(bed.only_forwarded().identity(), expected);

    bed.authgear.suspend(&bed.alice, true);
    assert_eq!(status(&bed, &cookie).await, 401);
    bed.authgear.suspend(&bed.alice, false);
    assert_eq!(status(&bed, &cookie).await, 200);

    assert!(bed.authgear.revoke(&session));
    assert_eq!(status(&bed, &cookie).await, 401);
    assert_eq!(status(&bed, &cookie).await, 401);
    assert_eq!(bed.resolver_calls(), 7);
    bed.finish().await;
}

#[tokio::test]
async fn a_valid_entry_expires_with_its_time() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "1s" }))
        .start()
        .await;
    let session = bed.authgear.session(&bed.alice);
    let cookie = format!("session={session}");
    assert_eq!(status(&bed, &cookie).await, 200);
    assert!(bed.authgear.revoke(&session));
    bed.until_status(401, || bed.get("/api/me").cookie(&cookie))
        .await;
    bed.finish().await;
}

#[tokio::test]
async fn a_negative_entry_expires_with_its_time() {
    let bed = TestBed::builder()
        .session(json!({ "negative_ttl": "1s" }))
        .start()
        .await;
    let cookie = bed.cookie();
    bed.authgear.suspend(&bed.alice, true);
    assert_eq!(status(&bed, &cookie).await, 401);
    bed.authgear.suspend(&bed.alice, false);
    bed.until_status(200, || bed.get("/api/me").cookie(&cookie))
        .await;
    bed.finish().await;
}

#[tokio::test]
async fn authgear_can_ask_that_its_answer_is_not_cached() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "1h" }))
        .start()
        .await;
    let cookie = bed.cookie();
    let answer = bed.alice.headers().iter().fold(
        CannedResponse::status(200).header("cache-control", "private, no-store"),
        |answer, (name, value)| answer.header(name, value),
    );
    bed.authgear.fault_next(1, Resolver, Fault::Custom(answer));
    assert_eq!(status(&bed, &cookie).await, 200);
    assert_eq!(status(&bed, &cookie).await, 200);
    assert_eq!(bed.resolver_calls(), 2);
    assert_eq!(status(&bed, &cookie).await, 200);
    assert_eq!(bed.resolver_calls(), 2);
    bed.finish().await;
}

#[tokio::test]
async fn a_failure_is_never_cached() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "1h", "negative_ttl": "5m" }))
        .start()
        .await;
    let cookie = bed.cookie();
    // Each call is retried once.
    let locked = Fault::LockFailure.only_if("cookie", "session");
    bed.authgear.fault_next(4, Resolver, locked);
    assert_eq!(status(&bed, &cookie).await, 503);
    assert_eq!(status(&bed, &cookie).await, 503);
    assert_eq!(status(&bed, &cookie).await, 200);
    assert_eq!(bed.resolver_calls(), 5);
    bed.finish().await;
}

#[tokio::test]
async fn the_last_valid_answer_bridges_a_failure_where_the_operator_wants_it() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "0s", "negative_ttl": "0s", "stale_if_error": "1h" }))
        .start()
        .await;
    let session = bed.authgear.session(&bed.alice);
    let (known, new) = (format!("session={session}"), bed.cookie());
    assert_eq!(status(&bed, &known).await, 200);
    for (fault, calls) in [(Fault::Status(500), 2), (Fault::Reset, 2)] {
        // Checks are answered, so that the circuit breaker stays closed.
        bed.authgear
            .fault(Resolver, fault.only_if("cookie", "session"));
        let asked = bed.resolver_calls();
        assert_eq!(status(&bed, &known).await, 200);
        assert_eq!(bed.resolver_calls(), asked + calls, "it asks first");
        assert_eq!(status(&bed, &new).await, 503);
    }
    for request in bed.forwarded() {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    // An invalid verdict replaces the valid one in the cache.
    bed.authgear.clear_faults();
    assert!(bed.authgear.revoke(&session));
    assert_eq!(status(&bed, &known).await, 401);
    bed.authgear.fault(Resolver, Fault::Status(500));
    assert_eq!(status(&bed, &known).await, 503);
    bed.finish().await;
}

#[tokio::test]
async fn no_valid_answer_outlives_its_time_where_the_operator_does_not_want_it() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "1s" }))
        .start()
        .await;
    let cookie = bed.cookie();
    assert_eq!(status(&bed, &cookie).await, 200);
    bed.authgear.fault(Resolver, Fault::Status(500));
    bed.until_status(503, || bed.get("/api/me").cookie(&cookie))
        .await;
    bed.finish().await;
}

#[tokio::test]
async fn every_combination_of_credentials_is_cached_by_itself() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "1h", "negative_ttl": "5m" }))
        .start()
        .await;
    let authgear = &bed.authgear;
    let bob = authgear.add_user(User::new("bob"));
    let carol = authgear.add_user(User::new("carol").roles(&["carol"]));
    let session = authgear.session(&bed.alice);
    let (of_bob, of_carol) = (authgear.app_session(&bob), authgear.app_session(&carol));
    let opaque = authgear.opaque_token(&carol);
    let cookies = |line: String| bed.get("/").cookie(line);
    let rows = [
        (cookies(format!("session={session}")), Some(&bed.alice)),
        (
            cookies(format!("session={session}; app_session={of_bob}")),
            Some(&bob),
        ),
        (
            cookies(format!("session={session}; app_session={of_carol}")),
            Some(&carol),
        ),
        (
            cookies(format!("session={session}; app_access_token={opaque}")),
            Some(&carol),
        ),
        (cookies(format!("app_session={of_bob}")), Some(&bob)),
        // The same text in another header is another credential.
        (cookies(format!("app_session={session}")), None),
        (cookies(format!("session={opaque}")), None),
        (cookies(format!("app_session={opaque}")), None),
        (cookies(format!("app_access_token={of_bob}")), None),
        (bed.get("/").bearer(&opaque), Some(&carol)),
        (bed.get("/").bearer(&of_bob), None),
        // Texts that only run together the same.
        (
            cookies(format!("session={session}app_session={of_bob}")),
            None,
        ),
        (
            cookies(format!("session={session},app_session={of_bob}")),
            None,
        ),
    ];
    for round in ["cold", "warm"] {
        for (request, expected) in &rows {
            bed.backend.clear();
            let reply = request.clone().send().await;
            match expected {
                Some(user) => {
                    assert_eq!(reply.status, 200, "{round}: {request:?}: {reply:?}");
                    assert_eq!(
                        bed.only_forwarded().identity(),
                        user.headers(),
                        "{round}: {request:?}"
                    );
                }
                None => assert_eq!(reply.status, 401, "{round}: {request:?}: {reply:?}"),
            }
        }
        assert_eq!(bed.resolver_calls(), rows.len(), "{round}");
    }
    bed.finish().await;
}

#[tokio::test]
async fn the_order_of_cookies_and_strangers_among_them_make_no_other_credential() {
    let bed = TestBed::start().await;
    let session = bed.authgear.session(&bed.alice);
    let app = bed.authgear.app_session(&bed.alice);
    for line in [
        format!("session={session}; app_session={app}"),
        format!("app_session={app}; session={session}"),
        format!("a=1; app_session={app};b=2;session={session}; c=3"),
        format!("session={session}; session={session}; app_session={app}"),
    ] {
        assert_eq!(status(&bed, &line).await, 200, "{line}");
    }
    assert_eq!(bed.resolver_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn one_connection_carries_several_people_and_none_of_them_over() {
    let bed = TestBed::builder()
        .rules(json!([{ "match": {}, "require": "optional" }]))
        .start()
        .await;
    let bob = bed.authgear.add_user(User::new("bob"));
    let of_bob = format!("session={}", bed.authgear.session(&bob));
    let of_alice = bed.cookie();
    for http2 in [false, true] {
        let connection = Connection::open(bed.envoy.address(), http2).await;
        let on = |request: devkit::client::Request| {
            let request = request.over(&connection);
            if http2 { request.http2() } else { request }
        };
        let rows = [
            (bed.get("/").cookie(&of_alice), bed.alice.headers()),
            (bed.get("/"), Vec::new()),
            (bed.get("/").cookie(&of_bob), bob.headers()),
            (bed.get("/").cookie("session=nonsense"), Vec::new()),
            (bed.get("/").bearer(bed.token()), bed.alice.headers()),
            (bed.get("/"), Vec::new()),
        ];
        for (request, expected) in rows {
            bed.backend.clear();
            let shown = format!("{request:?}");
            assert_eq!(on(request).send().await.status, 200, "{shown}");
            assert_eq!(bed.only_forwarded().identity(), expected, "{shown}");
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_user_with_ever_other_cookies_beside_a_good_one_drives_out_nobody_else() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "1h" }))
        .configure(|config| config["limits"] = json!({ "cached_sessions": 64 }))
        .start()
        .await;
    let victims: Vec<String> = (0..20)
        .map(|nth| {
            let user = bed.authgear.add_user(User::new(&format!("victim-{nth}")));
            format!("session={}", bed.authgear.session(&user))
        })
        .collect();
    for cookie in &victims {
        assert_eq!(status(&bed, cookie).await, 200);
    }
    let good = bed.authgear.session(&bed.alice);
    for nth in 0..200 {
        let cookie = format!("session={good}; app_session=made-up-{nth}");
        assert_eq!(status(&bed, &cookie).await, 200);
    }
    bed.authgear.clear_calls();
    for cookie in &victims {
        assert_eq!(status(&bed, cookie).await, 200);
    }
    assert_eq!(bed.resolver_calls(), 0);
    // The attacker has eight.
    bed.wait_for_count("authgear_cached_sessions", |cached| cached == 28)
        .await;
    bed.finish().await;
}
