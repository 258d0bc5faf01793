//! A resolver that fails is never an invalid verdict: 503, soon, and recovery by itself.

use std::time::{Duration, Instant};

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::message::{CannedResponse, Reply};
use devkit::testbed::{TestBed, closed_port};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn assert_unavailable(name: &str, reply: &Reply) {
    assert_eq!(reply.status, 503, "{name}: {reply:?}");
    assert_eq!(reply.json()["code"], "unavailable", "{name}: {reply:?}");
    assert_eq!(
        reply.header("retry-after").as_deref(),
        Some("1"),
        "{name}: {reply:?}"
    );
    assert!(!reply.headers.has("www-authenticate"), "{name}: {reply:?}");
}

async fn ask(bed: &TestBed) -> Reply {
    bed.get("/api/me").cookie(bed.cookie()).send().await
}

#[tokio::test]
async fn every_failure_is_503_and_over_when_it_is_over() {
    let bed = TestBed::builder()
        .session(json!({ "timeout": "500ms" }))
        .start()
        .await;
    let faults = [
        ("no answer", Fault::Hang),
        ("a late answer", Fault::Delay(Duration::from_secs(2))),
        ("a body that is cut off", Fault::Truncate),
        ("a reset", Fault::Reset),
        ("500", Fault::Status(500)),
        ("502", Fault::Status(502)),
        ("the session's lock", Fault::LockFailure),
        (
            "no HTTP",
            Fault::Raw(b"\x15\x03\x01\x00\x02\x02\x46"[..].into()),
        ),
    ];
    for (name, fault) in faults {
        bed.authgear.fault(Resolver, fault);
        let start = Instant::now();
        assert_unavailable(name, &ask(&bed).await);
        assert!(start.elapsed() < Duration::from_secs(10), "{name}");
        let opaque = bed.authgear.opaque_token(&bed.alice);
        let reply = bed.get("/api/me").bearer(opaque).send().await;
        assert_unavailable(name, &reply);
        // A request with a token of the other form is not concerned.
        let reply = bed.get("/api/me").bearer(bed.token()).send().await;
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        bed.backend.clear();

        bed.authgear.clear_fault(Resolver);
        let reply = ask(&bed).await;
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        bed.backend.clear();
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_failure_is_503_for_an_optional_rule_too_and_nothing_for_a_public_one() {
    let bed = TestBed::builder()
        .rules(json!([
            { "match": { "path": "/open" }, "require": "none" },
            { "match": { "path": "/blog" }, "require": "optional" },
        ]))
        .prepare(|authgear| authgear.fault(Resolver, Fault::Status(500)))
        .start()
        .await;
    let to = |path: &str| bed.get(path).cookie(bed.cookie());
    assert_unavailable("optional", &to("/blog").send().await);
    assert_eq!(to("/open").send().await.status, 200);
    assert_eq!(bed.get("/blog").send().await.status, 200);
    // The call is retried once after the 500.
    assert_eq!(bed.resolver_calls(), 2);
    bed.finish().await;
}

#[tokio::test]
async fn a_big_body_is_not_looked_at_and_an_endless_one_not_waited_for() {
    let bed = TestBed::builder()
        .session(json!({ "timeout": "1s" }))
        .start()
        .await;
    let valid = |body: Vec<u8>| {
        let answer = CannedResponse::status(200).body(body);
        let headers = bed.alice.headers();
        let answer = headers
            .iter()
            .fold(answer, |answer, (name, value)| answer.header(name, value));
        Fault::Custom(answer)
    };
    for length in [1, 1 << 20, 100 << 20] {
        bed.authgear.fault(Resolver, valid(vec![b'x'; length]));
        assert_unavailable("a body", &ask(&bed).await);
    }
    let peak = bed.envoy.usage().peak;
    assert!(peak < 600 << 20, "{peak} bytes");
    bed.finish().await;
}

#[tokio::test]
async fn an_answer_that_stalls_after_its_head_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let stalling = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4_096];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nx-authgear-session-valid: true\r\nx-authgear-user-id: a\r\n\r\n",
                )
                .await;
            open.push(stream);
        }
    });
    let bed = TestBed::builder()
        .session(json!({ "cluster": "stalling", "timeout": "500ms" }))
        .envoy(move |envoy| envoy.cluster("stalling", &[address]))
        .start()
        .await;
    assert_unavailable("stalling", &ask(&bed).await);
    bed.assert_nothing_forwarded();
    bed.finish().await;
    stalling.abort();
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let dripping = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let yes =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-authgear-session-valid: true\r\n";
                let mut tick = tokio::time::interval(Duration::from_millis(20));
                for byte in yes {
                    tick.tick().await;
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let bed = TestBed::builder()
        .session(json!({ "cluster": "dripping", "timeout": "500ms" }))
        .envoy(move |envoy| envoy.cluster("dripping", &[address]))
        .start()
        .await;
    let start = Instant::now();
    assert_unavailable("dripping", &ask(&bed).await);
    assert!(start.elapsed() < Duration::from_secs(10));
    bed.assert_nothing_forwarded();
    bed.finish().await;
    dripping.abort();
}

#[tokio::test]
async fn a_resolver_that_is_nowhere_is_503_at_once() {
    let closed = closed_port();
    for cluster in ["closed", "empty", "no-such-cluster"] {
        let bed = TestBed::builder()
            .session(json!({ "cluster": cluster, "timeout": "60s" }))
            .envoy(move |envoy| envoy.cluster("closed", &[closed]).cluster("empty", &[]))
            .start()
            .await;
        for _ in 0..3 {
            assert_unavailable(cluster, &ask(&bed).await);
        }
        let crowd: Vec<_> = (0..10)
            .map(|_| bed.get("/").cookie("session=the-same").start())
            .collect();
        for request in crowd {
            assert_unavailable(cluster, &request.reply().await);
        }
        bed.assert_nothing_forwarded();
        bed.envoy.wait_for_log(" resolver").await;
        bed.finish().await;
    }
}

#[tokio::test]
async fn a_burst_of_failures_ends_with_itself() {
    let bed = TestBed::start().await;
    let cookie = bed.cookie();
    // Each call is retried once.
    let locked = Fault::LockFailure.only_if("cookie", "session");
    bed.authgear.fault_next(10, Resolver, locked);
    for nth in 0..5 {
        let reply = bed.get("/").cookie(&cookie).send().await;
        assert_unavailable(&nth.to_string(), &reply);
    }
    assert_eq!(bed.get("/").cookie(&cookie).send().await.status, 200);
    assert_eq!(bed.resolver_calls(), 11);
    bed.finish().await;
}

/// Authgear locks a session during a call, waits for the lock for a while, and then answers 500.
#[tokio::test]
async fn workers_that_ask_at_once_do_not_fail_by_the_sessions_lock() {
    let bed = TestBed::builder().workers(8).start().await;
    bed.keys_are_there().await;
    bed.authgear.configure(|settings| {
        settings.session_lock = true;
        settings.session_lock_tries = 5;
    });
    bed.authgear
        .fault(Resolver, Fault::Delay(Duration::from_millis(10)));
    let workers = bed.every_worker().await;
    for _ in 0..10 {
        let cookie = bed.cookie();
        let page: Vec<_> = workers
            .iter()
            .map(|worker| bed.get("/").cookie(&cookie).over(worker).start())
            .collect();
        for request in page {
            let reply = request.reply().await;
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_call_that_failed_once_is_made_again_for_all_who_wait() {
    let bed = TestBed::start().await;
    bed.keys_are_there().await;
    bed.authgear.fault_next(1, Resolver, Fault::LockFailure);
    let reply = bed.get("/").cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.resolver_calls(), 2);
    bed.finish().await;
}

#[tokio::test]
async fn requests_of_one_session_do_not_meet_its_lock() {
    let bed = TestBed::builder()
        .session(json!({ "timeout": "30s" }))
        .start()
        .await;
    bed.authgear
        .configure(|settings| settings.session_lock = true);
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let crowd: Vec<_> = (0..20)
        .map(|_| bed.get("/").cookie(&cookie).start())
        .collect();
    hold.wait_for(1).await;
    bed.wait_for_active(20).await;
    hold.release();
    for request in crowd {
        let reply = request.reply().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(bed.resolver_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn a_failed_call_fails_all_who_waited_for_it_and_nobody_after_them() {
    let bed = TestBed::builder()
        .session(json!({ "timeout": "30s" }))
        .start()
        .await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    bed.authgear.fault_next(2, Resolver, Fault::Status(500));
    let crowd: Vec<_> = (0..20)
        .map(|_| bed.get("/").cookie(&cookie).start())
        .collect();
    hold.wait_for(1).await;
    bed.wait_for_active(20).await;
    hold.release();
    for request in crowd {
        assert_unavailable("of the crowd", &request.reply().await);
    }
    assert_eq!(bed.get("/").cookie(&cookie).send().await.status, 200);
    assert_eq!(bed.resolver_calls(), 3);
    bed.finish().await;
}
