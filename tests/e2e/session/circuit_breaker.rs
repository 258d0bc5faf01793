//! A resolver that fails is not called: 503 at once, a probe now and then, and cached sessions still pass.

use std::time::{Duration, Instant};

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::message::{CannedResponse, Recorded, Reply};
use devkit::testbed::{RESOLVER, TestBed, closed_port};
use devkit::traffic::Traffic;
use devkit::wait::{DEADLINE, until};
use serde_json::json;

const OPENED: &str = "authgear_resolver_breaker_opened_total";
const REJECTED: &str = "authgear_resolver_calls_rejected_total";

/// A resolver that is overloaded, and says for how long: the back-off lasts for the test.
fn overloaded(status: u16) -> Fault {
    Fault::Custom(CannedResponse::status(status).header("retry-after", "30"))
}

/// Strangers' calls fail, and so do the calls without a credential that this causes.
async fn open(bed: &TestBed) {
    let opened = async || {
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
        (bed.count(OPENED).await >= 1).then_some(())
    };
    until(DEADLINE, "the breaker to open", opened)
        .await
        .expect("it");
}

/// The calls without a credential.
fn checks(bed: &TestBed) -> Vec<Recorded> {
    let is_check =
        |call: &Recorded| !call.headers.has("cookie") && !call.headers.has("authorization");
    let calls = bed.authgear.calls_to(RESOLVER).into_iter();
    calls.filter(is_check).collect()
}

fn assert_unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.json()["code"], "unavailable", "{reply:?}");
    let seconds = reply.header("retry-after").expect("Retry-After");
    let seconds: u64 = seconds.parse().expect("whole seconds");
    assert!((1..=30).contains(&seconds), "{reply:?}");
}

#[tokio::test]
async fn in_an_outage_no_call_is_made_and_cached_sessions_pass() {
    for status in [500, 502, 503, 504] {
        let bed = TestBed::builder()
            .session(json!({ "ttl": "1h", "negative_ttl": "5m" }))
            .start()
            .await;
        let (known, invalid) = (bed.cookie(), "session=nonsense");
        assert_eq!(bed.get("/").cookie(&known).send().await.status, 200);
        assert_eq!(bed.get("/").cookie(invalid).send().await.status, 401);
        bed.authgear.fault(Resolver, overloaded(status));

        open(&bed).await;
        for check in checks(&bed) {
            for header in ["user-agent", "x-forwarded-for"] {
                assert!(!check.headers.has(header), "{check:#?}");
            }
        }
        bed.authgear.clear_calls();
        let rejected = bed.count(REJECTED).await;
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

        assert_eq!(bed.resolver_calls(), 0, "{status}");
        bed.wait_for_count(OPENED, |opened| opened == 1).await;
        bed.wait_for_count(REJECTED, |now| now >= rejected + 20)
            .await;
        bed.finish().await;
    }
}

#[tokio::test]
async fn one_check_at_a_time_less_and_less_often_until_it_is_answered() {
    let bed = TestBed::start().await;
    bed.authgear.fault(Resolver, Fault::Status(502));
    let asking = async || {
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
        (checks(&bed).len() >= 5).then_some(())
    };
    until(DEADLINE, "three probes", asking)
        .await
        .expect("probes");
    let calls = checks(&bed);
    // Two that open it, and three that find the resolver still away.
    for (nth, shortest) in [(1, 450), (2, 450), (3, 950), (4, 1_950)] {
        let pause = calls[nth].at.duration_since(calls[nth - 1].at);
        let pause = pause.expect("in order");
        assert!(pause > Duration::from_millis(shortest), "{nth}: {pause:?}");
    }
    let last = bed.authgear.calls_to(RESOLVER);
    let others = last.iter().filter(|call| call.at > calls[1].at).count();
    assert_eq!(others, 3, "{last:#?}");

    bed.authgear.clear_calls();
    bed.authgear.clear_faults();
    let cookie = bed.cookie();
    bed.until_status(200, || bed.get("/").cookie(&cookie)).await;
    assert_eq!((checks(&bed).len(), bed.resolver_calls()), (1, 1));
    for _ in 0..10 {
        assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    }
    bed.finish().await;
}

#[tokio::test]
async fn while_the_check_is_under_way_nobody_asks() {
    let bed = TestBed::builder()
        .session(json!({ "timeout": "30s" }))
        .start()
        .await;
    bed.authgear.fault(Resolver, Fault::Status(503));
    open(&bed).await;
    bed.authgear.clear_faults();
    bed.authgear.clear_calls();
    let hold = bed.authgear.hold(Resolver);
    let probe = async || {
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
        (hold.waiting() == 1).then_some(())
    };
    until(DEADLINE, "the check", probe).await.expect("it");
    for _ in 0..5 {
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
    }
    assert_eq!((checks(&bed).len(), bed.resolver_calls()), (1, 0));
    hold.release();
    let cookie = bed.cookie();
    bed.until_status(200, || bed.get("/").cookie(&cookie)).await;
    bed.finish().await;
}

#[tokio::test]
async fn the_last_valid_answer_bridges_the_outage_without_a_call() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "0s", "negative_ttl": "0s", "stale_if_error": "1h" }))
        .start()
        .await;
    let known = bed.cookie();
    assert_eq!(bed.get("/").cookie(&known).send().await.status, 200);
    bed.authgear.fault(Resolver, overloaded(503));
    open(&bed).await;
    bed.authgear.clear_calls();
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
    let bed = TestBed::builder()
        .session(json!({ "negative_ttl": "0s", "timeout": "30s" }))
        .start()
        .await;
    let answered = |status| Fault::Custom(CannedResponse::status(status));
    for fault in [
        answered(400),
        answered(401),
        answered(404),
        answered(204),
        answered(429),
        Fault::Redirect("https://elsewhere.example.com/".to_owned()),
        Fault::Custom(CannedResponse::status(200).header("x-authgear-session-valid", "maybe")),
    ] {
        let shown = format!("{fault:?}");
        bed.authgear.fault(Resolver, fault);
        bed.authgear.clear_calls();
        for _ in 0..6 {
            let reply = bed.get("/").cookie(bed.cookie()).send().await;
            assert_eq!(reply.status, 503, "{shown}: {reply:?}");
        }
        // Each call is retried without what its client chose.
        assert_eq!(bed.resolver_calls(), 12, "{shown}");
    }

    // A session that stays locked, and its owner who retries.
    let locked: &'static str = bed.cookie().leak();
    bed.authgear
        .fault(Resolver, Fault::LockFailure.only_if("cookie", locked));
    for _ in 0..12 {
        assert_unavailable(&bed.get("/").cookie(locked).send().await);
        assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    }
    bed.authgear.clear_faults();

    // Failures one by one; each call is retried once.
    for _ in 0..4 {
        bed.authgear.fault_next(2, Resolver, Fault::Reset);
        assert_unavailable(&bed.get("/").cookie(bed.cookie()).send().await);
        assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    }
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
        let bed = TestBed::builder()
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
    let bed = TestBed::builder().workers(2).start().await;
    let workers = bed.every_worker().await;
    let ask = async |worker: usize| {
        let request = bed.get("/").cookie(bed.cookie()).over(&workers[worker]);
        request.send().await
    };
    bed.authgear.fault(Resolver, overloaded(503));
    let opened = async || {
        assert_unavailable(&ask(0).await);
        (bed.count(OPENED).await == 1).then_some(())
    };
    until(DEADLINE, "it to open", opened).await.expect("it");
    bed.authgear.clear_faults();
    bed.authgear.clear_calls();
    assert_eq!(ask(1).await.status, 200);
    assert_unavailable(&ask(0).await);
    assert_eq!(bed.resolver_calls(), 1);
    bed.envoy.assert_no_trap();
}

// === A stranger, and the others ===

/// What something before the resolver may answer a client that it dislikes.
fn dislikes() -> Vec<Fault> {
    let dislikes = [
        Fault::Status(500),
        overloaded(503),
        overloaded(429),
        Fault::Reset,
    ];
    dislikes
        .map(|fault| fault.only_if("cookie", "stranger"))
        .to_vec()
}

/// Strangers, each of whom sends one made-up cookie after the other: several at once, as their calls are retried.
struct Strangers(Vec<Traffic>);

impl Strangers {
    fn start(bed: &TestBed) -> Self {
        let stranger = |nth: usize| {
            let (request, mut sent) = (bed.get("/"), 0);
            Traffic::every(Duration::from_millis(5), move || {
                sent += 1;
                request
                    .clone()
                    .cookie(format!("session=stranger-{nth}-{sent}"))
            })
        };
        Self((0..8).map(stranger).collect())
    }

    /// Waits until each of them has been answered so many more times.
    async fn go_on(&self, more: usize) {
        for stranger in &self.0 {
            stranger.goes_on(more).await;
        }
    }

    /// Ends them; none of them was answered anything but 503.
    async fn end(self) {
        for stranger in self.0 {
            stranger.ended().await.assert_only(&[503]);
        }
    }
}

#[tokio::test]
async fn a_stranger_who_is_answered_for_the_resolver_opens_it_for_nobody() {
    for fault in dislikes() {
        let shown = format!("{fault:?}");
        let bed = TestBed::start().await;
        let known = bed.cookie();
        assert_eq!(bed.get("/").cookie(&known).send().await.status, 200);
        bed.authgear.fault(Resolver, fault);
        let started = Instant::now();
        let strangers = Strangers::start(&bed);
        for _ in 0..20 {
            strangers.go_on(1).await;
            let reply = bed.get("/").cookie(bed.cookie()).send().await;
            assert_eq!(reply.status, 200, "{shown}: {reply:?}");
            let opaque = bed.authgear.opaque_token(&bed.alice);
            let reply = bed.get("/").bearer(opaque).send().await;
            assert_eq!(reply.status, 200, "{shown}: {reply:?}");
            assert_eq!(bed.get("/").cookie(&known).send().await.status, 200);
        }
        strangers.end().await;
        assert_eq!(bed.count(OPENED).await, 0, "{shown}");
        // At a bounded rate, whatever the stranger does.
        let most = started.elapsed().as_millis() / 500 + 2;
        let checks = checks(&bed).len();
        assert!(checks as u128 <= most, "{shown}: {checks} of {most}");
        bed.finish().await;
    }
}

#[tokio::test]
async fn a_pause_is_reported_to_whom_it_was_given_and_to_nobody_else() {
    let bed = TestBed::start().await;
    let busy = Fault::Custom(CannedResponse::status(503).header("retry-after", "17"));
    bed.authgear
        .fault(Resolver, busy.only_if("cookie", "stranger"));
    for nth in 0..10 {
        let cookie = format!("session=stranger-{nth}");
        let reply = bed.get("/").cookie(cookie).send().await;
        assert_unavailable(&reply);
        assert_eq!(reply.header("retry-after").as_deref(), Some("17"));
        assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    }
    bed.finish().await;
}

#[tokio::test]
async fn after_an_outage_a_stranger_keeps_nobody_out() {
    for fault in dislikes() {
        let shown = format!("{fault:?}");
        let bed = TestBed::start().await;
        bed.authgear.fault(Resolver, Fault::Status(502));
        open(&bed).await;
        bed.authgear.fault(Resolver, fault);
        let strangers = Strangers::start(&bed);
        let start = Instant::now();
        let cookie = bed.cookie();
        bed.until_status(200, || bed.get("/").cookie(&cookie)).await;
        // Two pauses at most: the outage may have had its second check.
        assert!(start.elapsed() < Duration::from_secs(4), "{shown}");
        for _ in 0..20 {
            strangers.go_on(1).await;
            let reply = bed.get("/").cookie(bed.cookie()).send().await;
            assert_eq!(reply.status, 200, "{shown}: {reply:?}");
        }
        strangers.end().await;
        bed.finish().await;
    }
}

#[tokio::test]
async fn a_stranger_keeps_no_banned_users_token_alive() {
    for fault in dislikes() {
        let shown = format!("{fault:?}");
        let bed = TestBed::builder()
            .project(|project| project["jwt"] = json!({ "revalidate": "1s" }))
            .start()
            .await;
        let token = bed.token();
        assert_eq!(bed.get("/").bearer(&token).send().await.status, 200);
        bed.authgear.fault(Resolver, fault);
        let strangers = Strangers::start(&bed);
        strangers.go_on(6).await;
        bed.authgear.suspend(&bed.alice, true);
        let start = Instant::now();
        bed.until_status(401, || bed.get("/").bearer(&token)).await;
        assert!(start.elapsed() < Duration::from_secs(4), "{shown}");
        strangers.end().await;
        bed.authgear.suspend(&bed.alice, false);
        bed.finish().await;
    }
}
