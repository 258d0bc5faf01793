//! Crowds: at the start, at one session, at many; and a bound on how many may wait.

use std::time::Duration;

use devkit::authgear::Endpoint::{Jwks, Resolver};
use devkit::authgear::Fault;
use devkit::client::{Connection, Request};
use devkit::keys::User;
use devkit::testbed::{TestBed, assert_answered};
use devkit::wait::{DEADLINE, until};
use serde_json::json;

/// A hundred requests with tokens that nobody has seen, before there are keys.
async fn cold_start(workers: usize, http2: bool) {
    let bed = TestBed::builder()
        .patient()
        .workers(workers)
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .start()
        .await;
    let connection = Connection::open(bed.envoy.address(), true).await;
    let as_asked = |request: Request| {
        if http2 {
            request.http2().over(&connection)
        } else {
            request
        }
    };
    // Signing takes longer than verifying: a few tokens do.
    let tokens: Vec<_> = (0..10).map(|_| bed.token()).collect();
    let crowd: Vec<_> = (0..100)
        .map(|nth| bed.get(&format!("/{nth}")).bearer(&tokens[nth % 10]))
        .map(|request| as_asked(request).start())
        .collect();
    bed.wait_for_active(100).await;
    bed.assert_nothing_forwarded();
    bed.authgear.clear_fault(Jwks);
    assert_answered(crowd, 200).await;

    let forwarded = bed.forwarded();
    assert_eq!(forwarded.len(), 100);
    for request in forwarded {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    // At most one for every worker and one for Envoy's main thread.
    let fetches = bed.authgear.calls_to("/oauth2/jwks").len();
    assert!(fetches <= workers + 1, "{fetches} fetches");
    bed.finish().await;
}

#[tokio::test]
async fn a_hundred_requests_before_the_keys_all_pass_with_them() {
    cold_start(1, false).await;
}

#[tokio::test]
async fn a_hundred_requests_before_the_keys_pass_on_two_workers() {
    cold_start(2, false).await;
}

#[tokio::test]
async fn a_hundred_streams_before_the_keys_pass_on_one_connection() {
    cold_start(1, true).await;
}

/// A hundred requests with one session that nobody has seen.
async fn one_session(workers: usize, http2: bool) {
    let bed = TestBed::builder().patient().workers(workers).start().await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let connection = Connection::open(bed.envoy.address(), true).await;
    let crowd: Vec<_> = (0..100)
        .map(|_| bed.get("/").cookie(&cookie))
        .map(|request| {
            if http2 {
                request.http2().over(&connection)
            } else {
                request
            }
        })
        .map(Request::start)
        .collect();
    bed.wait_for_active(100).await;
    let calls = async || {
        let calls = bed.resolver_calls();
        (calls > 0).then_some(())
    };
    until(DEADLINE, "a call", calls).await.expect("a call");
    hold.release();
    assert_answered(crowd, 200).await;

    let forwarded = bed.forwarded();
    assert_eq!(forwarded.len(), 100);
    for request in forwarded {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    let calls = bed.resolver_calls();
    assert!((1..=workers).contains(&calls), "{calls} calls");
    bed.finish().await;
}

#[tokio::test]
async fn a_hundred_requests_of_one_session_are_one_call() {
    one_session(1, false).await;
}

#[tokio::test]
async fn a_hundred_requests_of_one_session_are_at_most_a_call_a_worker() {
    one_session(2, false).await;
}

#[tokio::test]
async fn a_hundred_streams_of_one_session_are_one_call() {
    one_session(1, true).await;
}

#[tokio::test]
async fn a_hundred_sessions_at_once_are_not_mixed_up_though_answers_come_out_of_order() {
    let bed = TestBed::builder().patient().start().await;
    let users: Vec<_> = (0..100)
        .map(|nth| {
            let user = User::new(&format!("user-{nth}")).roles(&[&format!("role_{nth}")]);
            bed.authgear.add_user(user)
        })
        .collect();
    // Those that come first are answered last.
    let late = Fault::Delay(Duration::from_millis(500));
    bed.authgear.fault_next(50, Resolver, late);
    let crowd: Vec<_> = users
        .iter()
        .enumerate()
        .map(|(nth, user)| {
            let session = bed.authgear.session(user);
            bed.get(&format!("/{nth}"))
                .cookie(format!("session={session}"))
                .start()
        })
        .collect();
    assert_answered(crowd, 200).await;

    let forwarded = bed.forwarded();
    assert_eq!(forwarded.len(), 100);
    for request in forwarded {
        let nth: usize = request.target[1..].parse().expect("a number");
        assert_eq!(request.identity(), users[nth].headers(), "{request:?}");
    }
    assert_eq!(bed.resolver_calls(), 100);
    bed.finish().await;
}

#[tokio::test]
async fn verdicts_that_differ_go_to_those_they_are_for() {
    let bed = TestBed::builder().patient().start().await;
    let hold = bed.authgear.hold(Resolver);
    let crowd: Vec<_> = (0..60)
        .map(|nth| {
            let cookie = if nth % 3 == 0 {
                format!("session=nonsense-{nth}")
            } else {
                bed.cookie()
            };
            (nth, bed.get("/").cookie(cookie).start())
        })
        .collect();
    hold.wait_for(60).await;
    hold.release();
    for (nth, request) in crowd {
        let expected = if nth % 3 == 0 { 401 } else { 200 };
        let reply = request.reply().await;
        assert_eq!(reply.status, expected, "{nth}: {reply:?}");
    }
    assert_eq!(bed.forwarded().len(), 40);
    bed.finish().await;
}

#[tokio::test]
async fn no_more_than_allowed_wait_for_the_resolver() {
    let bed = TestBed::builder()
        .patient()
        .configure(|config| config["limits"] = json!({ "waiting_requests": 5 }))
        .start()
        .await;
    let keys_are_there = bed.get("/").bearer(bed.token()).send().await;
    assert_eq!(keys_are_there.status, 200, "{keys_are_there:?}");
    let hold = bed.authgear.hold(Resolver);
    let waiting: Vec<_> = (0..5)
        .map(|_| bed.get("/waiting").cookie(bed.cookie()).start())
        .collect();
    hold.wait_for(5).await;

    let (one, another) = (bed.cookie(), bed.authgear.opaque_token(&bed.alice));
    for request in [bed.get("/").cookie(one), bed.get("/").bearer(another)] {
        let reply = request.send().await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert_eq!(reply.json()["code"], "unavailable");
        assert!(reply.headers.has("retry-after"), "{reply:?}");
    }
    // A request that need not wait is not concerned.
    let reply = bed.get("/").bearer(bed.token()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.get("/").send().await.status, 401);

    hold.release();
    assert_answered(waiting, 200).await;
    let reply = bed.get("/").cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.resolver_calls(), 6);
    bed.finish().await;
}

#[tokio::test]
async fn no_more_than_allowed_wait_for_keys() {
    let bed = TestBed::builder()
        .patient()
        .configure(|config| config["limits"] = json!({ "waiting_requests": 1 }))
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .start()
        .await;
    let waiting = bed.get("/waiting").bearer(bed.token()).start();
    bed.wait_for_active(1).await;
    for _ in 0..10 {
        let reply = bed.get("/").bearer(bed.token()).send().await;
        assert_eq!(reply.status, 503, "{reply:?}");
    }
    bed.authgear.clear_fault(Jwks);
    assert_answered(vec![waiting], 200).await;
    bed.finish().await;
}

#[tokio::test]
async fn a_crowd_at_a_resolver_that_hangs_is_let_go_in_time() {
    let bed = TestBed::builder()
        .configure(|config| config["limits"] = json!({ "waiting_requests": 100 }))
        .project(|project| project["session"] = json!({ "timeout": "500ms" }))
        .prepare(|authgear| authgear.fault(Resolver, Fault::Hang))
        .start()
        .await;
    let crowd: Vec<_> = (0..200)
        .map(|_| bed.get("/").cookie(bed.cookie()).start())
        .collect();
    for request in crowd {
        let reply = request.reply().await;
        assert_eq!(reply.status, 503, "{reply:?}");
    }
    bed.wait_for_active(0).await;
    bed.assert_nothing_forwarded();
    bed.authgear.clear_faults();
    // The resolver was not called since; after a while one call finds that it answers again.
    bed.until_status(200, || bed.get("/").cookie(bed.cookie()))
        .await;
    bed.finish().await;
}

#[tokio::test]
async fn a_body_waits_with_its_request_and_a_refused_one_goes_nowhere() {
    let bed = TestBed::builder().patient().start().await;
    let body: Vec<u8> = (0..200_000_u32).map(|nth| nth.to_le_bytes()[0]).collect();
    let hold = bed.authgear.hold(Resolver);
    let good = bed
        .post("/upload")
        .cookie(bed.cookie())
        .body(body.clone())
        .start();
    let bad = bed
        .post("/upload")
        .cookie("session=nonsense")
        .body(body.clone())
        .start();
    hold.wait_for(2).await;
    bed.assert_nothing_forwarded();
    hold.release();
    assert_eq!(bad.reply().await.status, 401);
    let reply = good.reply().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let forwarded = bed.only_forwarded();
    assert!(forwarded.body == body, "{} bytes", forwarded.body.len());
    bed.finish().await;
}
