//! Sessions in use are refreshed before their entries expire, and no request waits for that.

use std::time::{Duration, Instant};

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::testbed::{RESOLVER, TestBed};
use devkit::traffic::Traffic;
use devkit::wait::{DEADLINE, until};
use serde_json::json;

const MISSES: &str = "authgear_session_cache_misses_total";
const OFTEN: Duration = Duration::from_millis(20);

/// One client that sends requests all the time.
fn busy(bed: &TestBed, cookie: &str) -> Traffic {
    let request = bed.get("/busy").cookie(cookie);
    Traffic::every(OFTEN, move || request.clone())
}

#[tokio::test]
async fn a_session_in_use_never_waits_after_its_first_sight() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "4s", "timeout": "30s" }))
        .start()
        .await;
    let cookie = bed.cookie();
    let busy = busy(&bed, &cookie);
    bed.authgear.wait_for_calls(RESOLVER, 1).await;
    bed.authgear
        .fault(Resolver, Fault::Delay(Duration::from_millis(200)));

    let calls = bed.authgear.wait_for_calls(RESOLVER, 4).await;

    busy.ended().await.assert_only(&[200]);
    // A cache miss waits: that was the first request, and no other.
    bed.wait_for_count("authgear_session_cache_hits_total", |hits| hits > 10)
        .await;
    assert_eq!(bed.count(MISSES).await, 1);
    // Each refresh is half of `ttl` after the last at the earliest.
    for (nth, pair) in calls.windows(2).enumerate() {
        let pause = pair[1].at.duration_since(pair[0].at).expect("in order");
        assert!(pause > Duration::from_millis(1_900), "{nth}: {pause:?}");
    }
    for request in bed.forwarded() {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    bed.finish().await;
}

#[tokio::test]
async fn while_a_background_call_hangs_requests_pass_until_their_entry_has_expired() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "4s", "timeout": "30s" }))
        .start()
        .await;
    let cookie = bed.cookie();
    let request = || bed.get("/").cookie(&cookie);
    assert_eq!(request().send().await.status, 200);
    let hold = bed.authgear.hold(Resolver);
    let in_background = async || {
        let reply = request().send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        (hold.waiting() == 1).then_some(())
    };
    until(DEADLINE, "a call in the background", in_background)
        .await
        .expect("a call");
    assert_eq!(request().send().await.status, 200);
    assert_eq!(bed.count(MISSES).await, 1);

    // The entry expires, and requests wait for the call that is in flight.
    let ended = async || {
        let next = request().start();
        let settled = async || {
            let waits = bed.count("authgear_waiting_requests").await == 1;
            (next.is_done() || waits).then_some(waits)
        };
        let waits = until(DEADLINE, "an answer, or none", settled).await;
        waits.expect("one of them").then_some(next)
    };
    let waiting = until(DEADLINE, "the end of the entry", ended).await;
    hold.release();
    let reply = waiting.expect("one that waits").reply().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.resolver_calls(), 2);
    bed.finish().await;
}

#[tokio::test]
async fn an_idle_session_is_not_asked_for_again() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "2s" }))
        .start()
        .await;
    let (idle, cookie) = (bed.cookie(), bed.cookie());
    assert_eq!(bed.get("/").cookie(&idle).send().await.status, 200);
    let busy = busy(&bed, &cookie);
    let calls_for = |cookie: &str| {
        let calls = bed.authgear.calls_to(RESOLVER);
        let ours = calls
            .iter()
            .filter(|call| call.headers.get("cookie") == Some(cookie.as_bytes()));
        ours.count()
    };
    let again = async || (calls_for(&cookie) >= 4).then_some(());
    until(DEADLINE, "calls for the busy session", again)
        .await
        .expect("calls");
    busy.ended().await.assert_only(&[200]);
    assert_eq!(calls_for(&idle), 1);
    bed.finish().await;
}

#[tokio::test]
async fn a_logout_of_a_busy_session_is_seen_within_its_time() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "4s", "negative_ttl": "5m" }))
        .start()
        .await;
    let session = bed.authgear.session(&bed.alice);
    let cookie = format!("session={session}");
    let busy = busy(&bed, &cookie);
    // The session has been refreshed once.
    bed.authgear.wait_for_calls(RESOLVER, 2).await;
    busy.goes_on(3).await;
    assert!(bed.authgear.revoke(&session));
    let start = Instant::now();
    let reply = bed.until_status(401, || bed.get("/").cookie(&cookie)).await;
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(reply.json()["code"], "unauthenticated", "{reply:?}");
    busy.ended().await.assert_only(&[200, 401]);
    // A background call has found it out: no request waited for it.
    assert_eq!(bed.count(MISSES).await, 1);
    bed.finish().await;
}

#[tokio::test]
async fn a_background_call_that_fails_takes_nothing_away_and_is_not_cached() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "8s" }))
        .start()
        .await;
    let cookie = bed.cookie();
    let busy = busy(&bed, &cookie);
    bed.authgear.wait_for_calls(RESOLVER, 1).await;
    busy.goes_on(1).await;
    bed.authgear.fault_next(1, Resolver, Fault::Status(500));

    // It fails at 4 to 6 seconds, and is retried before the entry expires.
    bed.authgear.wait_for_calls(RESOLVER, 3).await;

    bed.wait_for_count("authgear_resolver_failures_total", |failed| failed == 1)
        .await;
    assert_eq!(bed.count(MISSES).await, 1);
    busy.ended().await.assert_only(&[200]);
    bed.finish().await;
}
