//! A resolver that fails is left alone: 503 at once, a probe now and then, and what is known goes on.
#![allow(missing_docs, reason = "the tests' names say it")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::message::{Canned, Reply};
use devkit::testbed::{Bed, RESOLVER, closed_port};
use devkit::wait::{DEADLINE, until};
use serde_json::json;

const OPENED: &str = "authgear_resolver_breaker_opened_total";

/// A resolver that is overloaded, and says for how long: the back-off lasts for the test.
fn overloaded(status: u16) -> Fault {
    Fault::Custom(Canned::status(status).header("retry-after", "30"))
}

/// As many different sessions are asked for as failures in a row open the breaker.
async fn open(bed: &Bed) {
    for _ in 0..5 {
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
    }
}

fn assert_unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.json()["code"], "unavailable", "{reply:?}");
    let seconds = reply.header("retry-after").expect("Retry-After");
    let seconds: u64 = seconds.parse().expect("whole seconds");
    assert!((1..=30).contains(&seconds), "{reply:?}");
}

#[tokio::test]
async fn after_five_failures_nobody_is_asked_and_what_is_known_goes_on() {
    for status in [500, 502, 503, 504] {
        let bed = Bed::builder()
            .session(json!({ "ttl": "1h", "negative_ttl": "5m" }))
            .start()
            .await;
        let (known, invalid) = (bed.cookie(), "session=nonsense");
        assert_eq!(bed.get("/").cookie(&known).send().await.status, 200);
        assert_eq!(bed.get("/").cookie(invalid).send().await.status, 401);
        bed.authgear.forget_calls();
        bed.authgear.fault(Resolver, overloaded(status));

        open(&bed).await;
        assert_eq!(bed.resolver_calls(), 5, "{status}");
        for _ in 0..10 {
            assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
            let opaque = bed.authgear.opaque_token(&bed.alice);
            let reply = bed.get("/").bearer(opaque).send().await;
            assert_unavailable(&reply);
        }
        assert_eq!(bed.get("/").cookie(&known).send().await.status, 200);
        assert_eq!(bed.get("/").cookie(invalid).send().await.status, 401);
        assert_eq!(bed.get("/").bearer(bed.token()).send().await.status, 200);
        assert_eq!(bed.get("/").send().await.status, 401);

        assert_eq!(bed.resolver_calls(), 5, "{status}");
        bed.wait_for_count(OPENED, |opened| opened == 1).await;
        bed.wait_for_count("authgear_resolver_calls_spared_total", |spared| {
            spared == 20
        })
        .await;
        bed.finish().await;
    }
}

#[tokio::test]
async fn one_probe_at_a_time_less_and_less_often_until_it_is_answered() {
    let bed = Bed::start().await;
    bed.authgear.fault(Resolver, Fault::Status(502));
    open(&bed).await;
    let asking = async || {
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
        (bed.resolver_calls() >= 8).then_some(())
    };
    until(DEADLINE, "three probes", asking)
        .await
        .expect("probes");
    let calls = bed.authgear.calls_to(RESOLVER);
    for (probe, shortest) in [(5, 450), (6, 950), (7, 1_950)] {
        let pause = calls[probe].at.duration_since(calls[probe - 1].at);
        let pause = pause.expect("in order");
        assert!(
            pause > Duration::from_millis(shortest),
            "{probe}: {pause:?}"
        );
    }

    bed.authgear.forget_calls();
    bed.authgear.clear_faults();
    let cookie = bed.cookie();
    bed.until_status(200, || bed.get("/").cookie(&cookie)).await;
    assert_eq!(bed.resolver_calls(), 1);
    for _ in 0..10 {
        assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    }
    bed.finish().await;
}

#[tokio::test]
async fn while_the_probe_is_under_way_nobody_else_asks() {
    let bed = Bed::builder()
        .session(json!({ "timeout": "30s" }))
        .start()
        .await;
    bed.authgear.fault_next(5, Resolver, Fault::Status(503));
    open(&bed).await;
    let gate = bed.authgear.gate(Resolver);
    let probe = async || {
        let probe = bed.get("/probe").cookie(bed.cookie()).start();
        let seen = async || (probe.is_done() || gate.waiting() == 1).then_some(());
        until(DEADLINE, "an answer or a probe", seen)
            .await
            .expect("one of them");
        (gate.waiting() == 1).then_some(probe)
    };
    let probe = until(DEADLINE, "the probe", probe).await.expect("it");
    for _ in 0..5 {
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
    }
    assert_eq!(bed.resolver_calls(), 6);
    gate.release();
    assert_eq!(probe.reply().await.status, 200);
    assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    bed.finish().await;
}

#[tokio::test]
async fn the_last_yes_bridges_the_outage_without_a_call() {
    let bed = Bed::builder()
        .session(json!({ "ttl": "0s", "negative_ttl": "0s", "stale_if_error": "1h" }))
        .start()
        .await;
    let known = bed.cookie();
    assert_eq!(bed.get("/").cookie(&known).send().await.status, 200);
    bed.authgear.fault(Resolver, overloaded(503));
    open(&bed).await;
    bed.authgear.forget_calls();
    for _ in 0..10 {
        let reply = bed.get("/known").cookie(&known).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
    }
    assert_eq!(bed.resolver_calls(), 0);
    for request in bed.forwarded() {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    bed.finish().await;
}

#[tokio::test]
async fn no_client_and_no_answer_but_a_failure_opens_it() {
    let bed = Bed::builder()
        .session(json!({ "negative_ttl": "0s", "timeout": "30s" }))
        .start()
        .await;
    let answered = |status| Fault::Custom(Canned::status(status));
    for fault in [
        answered(400),
        answered(401),
        answered(404),
        answered(204),
        answered(429),
        Fault::Redirect("https://elsewhere.example.com/".to_owned()),
        Fault::Custom(Canned::status(200).header("x-authgear-session-valid", "maybe")),
    ] {
        let shown = format!("{fault:?}");
        bed.authgear.fault(Resolver, fault);
        bed.authgear.forget_calls();
        for _ in 0..6 {
            let reply = bed.get("/").cookie(bed.cookie()).send().await;
            assert_eq!(reply.status, 503, "{shown}: {reply:?}");
        }
        // Each is asked a second time, without what its client chose.
        assert_eq!(bed.resolver_calls(), 12, "{shown}");
    }

    // A session that is locked for good, and its impatient owner.
    bed.authgear.fault(Resolver, Fault::LockFailure);
    bed.authgear.forget_calls();
    let locked = bed.cookie();
    for _ in 0..12 {
        assert_unavailable(&bed.get("/").cookie(&locked).send().await);
    }
    assert_eq!(bed.resolver_calls(), 12);
    bed.authgear.clear_faults();
    assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);

    // Four are no five.
    bed.authgear.fault_next(4, Resolver, Fault::Reset);
    for _ in 0..4 {
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
    }
    assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    assert_eq!(bed.count(OPENED).await, 0);
    bed.finish().await;
}

#[tokio::test]
async fn a_resolver_that_never_answers_is_left_alone_too() {
    for cluster in ["hanging", "closed", "empty", "no-such-cluster"] {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let hanging = silent.local_addr().expect("its address");
        let bed = Bed::builder()
            .session(json!({ "cluster": cluster, "timeout": "200ms" }))
            .envoy(move |envoy| {
                let envoy = envoy.cluster("hanging", &[hanging]);
                envoy
                    .cluster("closed", &[closed_port()])
                    .cluster("empty", &[])
            })
            .start()
            .await;
        open(&bed).await;
        bed.wait_for_count(OPENED, |opened| opened >= 1).await;
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
        assert_eq!(bed.get("/").bearer(bed.token()).send().await.status, 200);
        bed.finish().await;
    }
}

#[tokio::test]
async fn each_worker_finds_out_for_itself() {
    let bed = Bed::builder().workers(2).start().await;
    let workers = bed.every_worker().await;
    let ask = async |worker: usize| {
        let request = bed.get("/").cookie(bed.cookie()).over(&workers[worker]);
        request.send().await
    };
    bed.authgear.fault_next(5, Resolver, overloaded(503));
    for _ in 0..10 {
        assert_unavailable(&ask(0).await);
    }
    assert_eq!(bed.resolver_calls(), 5);
    assert_eq!(ask(1).await.status, 200);
    assert_unavailable(&ask(0).await);
    assert_eq!(bed.resolver_calls(), 6);
    bed.envoy.assert_no_trap();
}
