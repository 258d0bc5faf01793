//! Faults under steady load: nobody is answered wrongly, nobody hangs, and requests pass when they are over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use devkit::authgear::Endpoint::{Jwks, Resolver};
use devkit::authgear::Fault;
use devkit::client::Request;
use devkit::keys::User;
use devkit::message::{CannedResponse, Recorded};
use devkit::testbed::{TestBed, closed_port};
use devkit::traffic::{Run, Traffic};
use devkit::wait::{DEADLINE, until};
use serde_json::json;

const FETCHES_FAILED: &str = "authgear_jwks_fetch_failures_total";
const OFTEN: Duration = Duration::from_millis(10);
/// Longer than any call may take in these tests, and far shorter than a client waits.
const SOON: Duration = Duration::from_secs(10);

/// A client whose next request can be changed while it runs.
struct Client {
    next: Arc<Mutex<Request>>,
    traffic: Traffic,
}

impl Client {
    fn start(request: Request) -> Self {
        let next = Arc::new(Mutex::new(request));
        let current = next.clone();
        let traffic = Traffic::every(OFTEN, move || current.lock().unwrap().clone());
        Self { next, traffic }
    }

    fn now_sends(&self, request: Request) {
        *self.next.lock().unwrap() = request;
    }

    async fn goes_on(&self) {
        self.traffic.goes_on(5).await;
    }

    async fn ended(self) -> Run {
        let run = self.traffic.ended().await;
        assert!(run.slowest < SOON, "{run:#?}");
        run
    }
}

/// Requests that no fault of the resolver or of the keys' endpoint concerns.
fn bystanders(bed: &TestBed) -> [(Client, u16); 3] {
    let expired = bed.authgear.token(&bed.alice).expires_in(-3_600);
    let expired = bed.authgear.issue(&bed.alice, &expired);
    [
        (Client::start(bed.get("/token").bearer(bed.token())), 200),
        (Client::start(bed.get("/nobody")), 401),
        (Client::start(bed.get("/expired").bearer(expired)), 401),
    ]
}

async fn assert_unconcerned(bystanders: [(Client, u16); 3]) {
    for (client, expected) in bystanders {
        client.ended().await.assert_only(&[expected]);
    }
}

fn assert_all_are_alice(bed: &TestBed) {
    assert_all_are(&bed.alice, bed.forwarded());
}

fn assert_all_are(user: &User, forwarded: Vec<Recorded>) {
    assert!(!forwarded.is_empty());
    for request in forwarded {
        assert_eq!(request.identity(), user.headers(), "{request:?}");
    }
}

#[tokio::test]
async fn a_careful_rotation_under_load_is_not_noticed() {
    let bed = TestBed::builder()
        .workers(4)
        .jwks(json!({ "refresh": "1s", "unknown_kid_cooldown": "1h" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let sends = || bed.get("/").bearer(bed.token());
    let clients: Vec<_> = (0..4).map(|_| Client::start(sends())).collect();
    let workers = bed.every_worker().await;
    for _ in 0..2 {
        let old = bed.authgear.key();
        let next = bed.authgear.publish_next_key();
        // Before it signs, every worker has it: a refresh has begun since.
        let calls = bed.jwks_calls();
        bed.authgear
            .wait_for_calls(devkit::testbed::JWKS, calls + 2)
            .await;
        let of_next = bed.authgear.token(&bed.alice).sign(&next);
        for worker in &workers {
            bed.until_status(200, || bed.get("/").bearer(&of_next).over(worker))
                .await;
        }
        bed.authgear.sign_with_next_key();
        for client in &clients {
            client.now_sends(sends());
            // No token of the old key is under way any more.
            client.goes_on().await;
        }
        bed.authgear.remove_key(&old.kid);
        let of_old = bed.authgear.token(&bed.alice).sign(&old);
        for worker in &workers {
            bed.until_status(401, || bed.get("/").bearer(&of_old).over(worker))
                .await;
        }
    }
    for client in clients {
        client.ended().await.assert_only(&[200]);
    }
    assert_all_are_alice(&bed);
    bed.finish().await;
}

#[tokio::test]
async fn a_careless_rotation_under_load_costs_only_the_old_keys_tokens() {
    let bed = TestBed::builder()
        .workers(4)
        .jwks(json!({ "unknown_kid_cooldown": "1s" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let clients: Vec<_> = (0..4)
        .map(|_| Client::start(bed.get("/").bearer(bed.token())))
        .collect();
    for _ in 0..3 {
        for client in &clients {
            client.goes_on().await;
        }
        bed.authgear.swap_key();
        let new = bed.token();
        // A cooldown later at most.
        bed.until_status(200, || bed.get("/").bearer(&new)).await;
        for client in &clients {
            client.now_sends(bed.get("/").bearer(&new));
            client.goes_on().await;
        }
    }
    for client in clients {
        let run = client.ended().await;
        // Refused are those that came with the old token behind the new keys.
        run.assert_only(&[200, 401]);
        assert!(run.with(200) > 3 * 5, "{run:#?}");
    }
    assert_all_are_alice(&bed);
    bed.finish().await;
}

#[tokio::test]
async fn no_fault_of_the_keys_endpoint_under_load_is_noticed_while_the_last_set_is_good() {
    let bed = TestBed::builder()
        .workers(4)
        .jwks(json!({ "refresh": "1s", "timeout": "1s", "max_stale": "1h" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let unconcerned = bystanders(&bed);
    let fresh = Client::start(bed.get("/").bearer(bed.token()));
    let garbage = Fault::Raw(b"\x15\x03\x01\x00\x02\x02\x46"[..].into());
    for fault in [
        Fault::Status(500),
        Fault::Hang,
        Fault::Drip(Duration::from_millis(50)),
        Fault::Truncate,
        Fault::Reset,
        Fault::Garbage,
        Fault::EmptySet,
        garbage,
    ] {
        println!("{fault:?}");
        bed.authgear.fault(Jwks, fault);
        let failures = bed.count(FETCHES_FAILED).await;
        let failed = async || {
            fresh.now_sends(bed.get("/").bearer(bed.token()));
            fresh.goes_on().await;
            (bed.count(FETCHES_FAILED).await > failures).then_some(())
        };
        until(DEADLINE, "a failed fetch", failed).await.expect("it");
        bed.authgear.clear_faults();
        bed.authgear.clear_calls();
        let recovered = async || {
            fresh.goes_on().await;
            (bed.jwks_calls() > 0).then_some(())
        };
        until(DEADLINE, "a good fetch", recovered)
            .await
            .expect("it");
    }
    fresh.ended().await.assert_only(&[200]);
    assert_unconcerned(unconcerned).await;
    assert_all_are_alice(&bed);
    bed.finish().await;
}

/// Every way in which the resolver can fail, one after the other, with a recovery after each.
async fn outage(session: serde_json::Value, workers: usize, known: &[u16]) {
    let bed = TestBed::builder()
        .workers(workers)
        .session(session)
        .start()
        .await;
    bed.keys_are_there().await;
    // Another user: of one user's sessions the last eight are cached.
    let bob = bed.authgear.add_user(User::new("bob"));
    let cookie = format!("session={}", bed.authgear.session(&bob));
    // Every worker has cached it.
    for worker in &bed.every_worker().await {
        let reply = bed.get("/known").cookie(&cookie).over(worker).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let unconcerned = bystanders(&bed);
    let of_known = Client::start(bed.get("/known").cookie(&cookie));
    let of_new = Client::start(bed.get("/new").cookie(bed.cookie()));
    for fault in [
        Fault::Status(500),
        Fault::Hang,
        Fault::Delay(Duration::from_secs(2)),
        Fault::Truncate,
        Fault::Reset,
        Fault::LockFailure,
        Fault::Raw(b"\x15\x03\x01\x00\x02\x02\x46"[..].into()),
        Fault::Custom(CannedResponse::status(503)),
    ] {
        bed.authgear.fault(Resolver, fault);
        for _ in 0..4 {
            of_new.now_sends(bed.get("/new").cookie(bed.cookie()));
            of_new.goes_on().await;
        }
        of_known.goes_on().await;
        bed.authgear.clear_faults();
        let back = bed.cookie();
        bed.until_status(200, || bed.get("/new").cookie(&back))
            .await;
    }
    of_known.ended().await.assert_only(known);
    let run = of_new.ended().await;
    run.assert_only(&[200, 503]);
    assert!(run.with(503) > 0, "{run:#?}");
    assert_unconcerned(unconcerned).await;
    let (of_bob, of_alice) = bed
        .forwarded()
        .into_iter()
        .partition(|request| request.target == "/known");
    assert_all_are(&bob, of_bob);
    assert_all_are(&bed.alice, of_alice);
    bed.finish().await;
}

#[tokio::test]
async fn a_resolver_outage_under_load_is_503_for_sessions_and_nothing_for_others() {
    let session = json!({ "ttl": "0s", "negative_ttl": "0s", "timeout": "300ms" });
    outage(session, 1, &[200, 503]).await;
}

#[tokio::test]
async fn a_resolver_outage_under_load_on_four_workers_is_503_for_sessions_and_nothing_for_others() {
    let session = json!({ "ttl": "0s", "negative_ttl": "0s", "timeout": "300ms" });
    outage(session, 4, &[200, 503]).await;
}

#[tokio::test]
async fn a_resolver_outage_under_load_is_bridged_for_sessions_with_a_valid_answer() {
    let session = json!({
        "ttl": "0s", "negative_ttl": "0s", "timeout": "300ms", "stale_if_error": "1h",
    });
    outage(session, 1, &[200]).await;
}

#[tokio::test]
async fn a_resolver_outage_under_load_on_four_workers_is_bridged_for_sessions_with_a_valid_answer()
{
    let session = json!({
        "ttl": "0s", "negative_ttl": "0s", "timeout": "300ms", "stale_if_error": "1h",
    });
    outage(session, 4, &[200]).await;
}

#[tokio::test]
async fn bursts_of_failures_under_load_are_never_a_no() {
    let bed = TestBed::builder()
        .workers(2)
        .session(json!({ "ttl": "0s", "negative_ttl": "0s" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let unconcerned = bystanders(&bed);
    let clients: Vec<_> = (0..4)
        .map(|_| Client::start(bed.get("/").cookie(bed.cookie())))
        .collect();
    let invalid = Client::start(bed.get("/").cookie("session=nonsense"));
    for nth in 0..20 {
        let fault = [Fault::Status(500), Fault::LockFailure, Fault::Reset];
        bed.authgear
            .fault_next(1 + nth % 4, Resolver, fault[nth as usize % 3].clone());
        clients[nth as usize % 4].goes_on().await;
    }
    bed.authgear.clear_faults();
    for client in clients {
        let run = client.ended().await;
        run.assert_only(&[200, 503]);
        assert!(run.with(200) > 0, "{run:#?}");
    }
    invalid.ended().await.assert_only(&[401, 503]);
    assert_unconcerned(unconcerned).await;
    assert_all_are_alice(&bed);
    bed.finish().await;
}

#[tokio::test]
async fn reloads_in_the_midst_of_outages_answer_nobody_wrongly() {
    let mut bed = TestBed::builder()
        .reloadable()
        .workers(4)
        .jwks(json!({ "refresh": "1s", "timeout": "1s" }))
        .session(json!({ "ttl": "0s", "negative_ttl": "0s", "timeout": "300ms" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let unconcerned = bystanders(&bed);
    let session = Client::start(bed.get("/session").cookie(bed.cookie()));
    let invalid = Client::start(bed.get("/invalid").cookie("session=nonsense"));
    for (nth, fault) in [
        Fault::Hang,
        Fault::Status(500),
        Fault::Reset,
        Fault::Truncate,
    ]
    .into_iter()
    .enumerate()
    {
        bed.authgear.fault(Resolver, fault.clone());
        bed.authgear.fault(Jwks, fault);
        session.goes_on().await;
        let open = json!([{ "match": { "path": format!("/open-{nth}") }, "require": "none" }]);
        bed.reconfigure(|config| config["rules"] = open)
            .await
            .expect("accepted");
        session.goes_on().await;
        bed.authgear.clear_faults();
        let back = bed.cookie();
        bed.until_status(200, || bed.get("/session").cookie(&back))
            .await;
    }
    let run = session.ended().await;
    run.assert_only(&[200, 503]);
    assert!(run.with(503) > 0, "{run:#?}");
    invalid.ended().await.assert_only(&[401, 503]);
    assert_unconcerned(unconcerned).await;
    assert_all_are_alice(&bed);
    bed.finish().await;
}

#[tokio::test]
async fn whatever_keeps_the_keys_away_every_worker_waits_for_them_and_takes_them() {
    let bed = TestBed::builder()
        .workers(4)
        .jwks(json!({ "timeout": "1s" }))
        .prepare(|authgear| authgear.fault(Jwks, Fault::Garbage))
        .start()
        .await;
    let workers = bed.every_worker().await;
    for (fault, cause) in [
        (Fault::Garbage, "is not a JWKS document"),
        (Fault::Hang, "answered with status 504"),
    ] {
        bed.authgear.fault(Jwks, fault);
        bed.envoy.wait_for_log(cause).await;
        for worker in &workers {
            let reply = bed.get("/").bearer(bed.token()).over(worker).send().await;
            assert_eq!(reply.status, 503, "{cause}: {reply:?}");
            assert!(reply.headers.has("retry-after"), "{cause}: {reply:?}");
        }
    }
    bed.assert_nothing_forwarded();
    bed.authgear.clear_faults();
    for worker in &workers {
        bed.until_status(200, || bed.get("/").bearer(bed.token()).over(worker))
            .await;
    }
    bed.finish().await;
}

#[tokio::test]
async fn where_authgear_is_nowhere_every_worker_says_unavailable_at_once() {
    for cluster in ["closed", "empty", "no-such-cluster"] {
        let bed = TestBed::builder()
            .workers(4)
            .project(|project| {
                project["cluster"] = json!(cluster);
                project["jwks"] = json!({ "timeout": "60s" });
                project["session"] = json!({ "timeout": "60s" });
            })
            .envoy(|envoy| {
                let envoy = envoy.cluster("closed", &[closed_port()]);
                envoy.cluster("empty", &[])
            })
            .start()
            .await;
        for worker in &bed.every_worker().await {
            for _ in 0..8 {
                let token = bed.get("/").bearer(bed.token()).over(worker).send();
                let session = bed.get("/").cookie(bed.cookie()).over(worker).send();
                for reply in [token.await, session.await] {
                    assert_eq!(reply.status, 503, "{cluster}: {reply:?}");
                    assert!(reply.headers.has("retry-after"), "{cluster}: {reply:?}");
                }
            }
            let nobody = bed.get("/").over(worker).send().await;
            assert_eq!(nobody.status, 401, "{cluster}: {nobody:?}");
        }
        bed.assert_nothing_forwarded();
        bed.envoy.assert_no_trap();
    }
}
