//! The test bed as the end-to-end tests use it, with the real filter.

use devkit::authgear::{Endpoint, Fault};
use devkit::testbed::TestBed;
use serde_json::json;

#[tokio::test]
async fn both_credentials_lead_to_the_backend_as_the_same_user() {
    let bed = TestBed::start().await;
    assert_eq!(bed.get("/api/me").send().await.status, 401);
    bed.assert_nothing_forwarded();

    let reply = bed.get("/api/me").bearer(bed.token()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let reply = bed.get("/api/me").cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");

    for request in bed.forwarded() {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    bed.finish().await;
}

#[tokio::test]
async fn authgear_may_speak_tls() {
    let bed = TestBed::builder().tls().start().await;
    let reply = bed.get("/api/me").cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    bed.finish().await;
}

#[tokio::test]
async fn the_filter_can_be_configured_otherwise_while_it_runs() {
    let mut bed = TestBed::builder()
        .envoy(|envoy| envoy.reloadable().concurrency(2))
        .start()
        .await;
    assert_eq!(bed.get("/open").send().await.status, 401);
    let open = json!([{ "match": { "path": "/open" }, "require": "none" }]);
    bed.reconfigure(|config| config["rules"] = open)
        .await
        .expect("accepted");
    assert_eq!(bed.get("/open").send().await.status, 200);
    let refused = bed.reconfigure(|config| config["rules"] = json!(1)).await;
    assert!(refused.is_err());
    assert_eq!(bed.get("/open").send().await.status, 200);
    bed.finish().await;
}

#[tokio::test]
async fn a_configuration_may_come_as_a_struct() {
    let bed = TestBed::builder().as_struct().start().await;
    bed.finish().await;
}

#[tokio::test]
async fn a_configuration_that_the_filter_refuses_keeps_envoy_from_starting() {
    assert!(
        TestBed::builder()
            .config(json!({ "projects": [] }))
            .try_start()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_crowd_at_the_gate_is_one_call_to_the_resolver() {
    let bed = TestBed::start().await;
    let (hold, cookie) = (bed.authgear.hold(Endpoint::Resolver), bed.cookie());
    let crowd: Vec<_> = (0..20)
        .map(|_| bed.get("/api/me").cookie(&cookie).start())
        .collect();
    hold.wait_for(1).await;
    bed.envoy
        .wait_for_stat("http.gateway.downstream_rq_active", |n| n == 20)
        .await;
    hold.release();
    for request in crowd {
        assert_eq!(request.reply().await.status, 200);
    }
    assert_eq!(bed.authgear.calls_to("/_resolver/resolve").len(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn a_fault_that_is_there_from_the_first_call_is_met_and_overcome() {
    let bed = TestBed::builder()
        .prepare(|authgear| authgear.fault(Endpoint::Jwks, Fault::Status(500)))
        .start()
        .await;
    let reply = bed.get("/api/me").bearer(bed.token()).send().await;
    assert_eq!(reply.status, 503, "{reply:?}");
    bed.assert_nothing_forwarded();
}
