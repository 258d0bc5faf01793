//! Another configuration while Envoy runs: nobody is answered wrongly, nobody hangs, and a bad one changes nothing.

use std::time::Duration;

use devkit::authgear::Endpoint::{Jwks, Resolver};
use devkit::authgear::Fault;
use devkit::testbed::TestBed;
use devkit::traffic::Traffic;
use serde_json::json;

#[tokio::test]
async fn under_steady_requests_nobody_is_answered_wrongly() {
    let mut bed = TestBed::builder().reloadable().workers(2).start().await;
    let bad = bed.authgear.token(&bed.alice).expires_in(-3_600);
    let bad = bed.authgear.issue(&bed.alice, &bad);
    let traffic = [
        ("a token", bed.get("/a").bearer(bed.token()), 200),
        ("a session", bed.get("/b").cookie(bed.cookie()), 200),
        ("nobody", bed.get("/c"), 401),
        ("an expired token", bed.get("/d").bearer(bad), 401),
    ]
    .map(|(what, request, expected)| (what, Traffic::start(move || request.clone()), expected));

    for nth in 0..4 {
        let open = json!([{ "match": { "path": format!("/open-{nth}") }, "require": "none" }]);
        bed.reconfigure(|config| config["rules"] = open)
            .await
            .expect("accepted");
        let path = format!("/open-{nth}");
        assert_eq!(bed.get(&path).send().await.status, 200);
    }

    for (what, traffic, expected) in traffic {
        println!("{what}");
        traffic.ended().await.assert_only(&[expected]);
    }
    for request in bed.forwarded() {
        if !request.target.starts_with("/open") {
            assert_eq!(request.identity(), bed.alice.headers(), "{request:?}");
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn under_load_nobody_notices_while_calls_are_under_way_and_keys_change() {
    let mut bed = TestBed::builder()
        .reloadable()
        .workers(4)
        .jwks(json!({ "refresh": "1s" }))
        .session(json!({ "ttl": "0s", "negative_ttl": "0s", "timeout": "30s" }))
        .start()
        .await;
    bed.keys_are_there().await;
    // So that some always wait for a call.
    let slow = Fault::Delay(Duration::from_millis(50));
    bed.authgear.fault(Resolver, slow);
    let of_alice: Vec<_> = (0..4)
        .map(|_| bed.get("/session").cookie(bed.cookie()))
        .chain([bed.get("/token").bearer(bed.token())])
        .map(|request| Traffic::start(move || request.clone()))
        .collect();
    let of_nobody = bed.get("/invalid").cookie("session=nonsense");
    let of_nobody = Traffic::start(move || of_nobody.clone());

    for nth in 0..4 {
        bed.authgear.publish_next_key();
        let open = json!([{ "match": { "path": format!("/open-{nth}") }, "require": "none" }]);
        bed.reconfigure(|config| {
            config["rules"] = open;
            config["limits"] = json!({ "cached_sessions": 100 + nth });
        })
        .await
        .expect("accepted");
        for client in &of_alice {
            client.goes_on(2).await;
        }
    }

    for client in of_alice {
        client.ended().await.assert_only(&[200]);
    }
    of_nobody.ended().await.assert_only(&[401]);
    for request in bed.forwarded() {
        assert_eq!(request.identity(), bed.alice.headers(), "{request:?}");
    }
    // No request that waited under an earlier configuration is left.
    bed.wait_for_count("authgear_waiting_requests", |waiting| waiting == 0)
        .await;
    bed.finish().await;
}

#[tokio::test]
async fn requests_that_wait_for_the_resolver_are_answered_by_the_configuration_they_came_under() {
    let mut bed = TestBed::builder()
        .reloadable()
        .project(|project| project["session"] = json!({ "timeout": "30s" }))
        .start()
        .await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let before: Vec<_> = (0..3)
        .map(|_| bed.get("/before").cookie(&cookie).start())
        .collect();
    hold.wait_for(1).await;
    bed.wait_for_active(3).await;

    let open = json!([{ "match": { "path": "/open" }, "require": "none" }]);
    bed.reconfigure(|config| config["rules"] = open)
        .await
        .expect("accepted");
    hold.release();

    for request in before {
        let reply = request.reply().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(bed.get("/open").send().await.status, 200);
    bed.finish().await;
}

#[tokio::test]
async fn requests_that_wait_for_keys_are_answered_across_a_reload() {
    let mut bed = TestBed::builder()
        .reloadable()
        .project(|project| project["jwks"] = json!({ "timeout": "30s" }))
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .start()
        .await;
    let before = bed.get("/before").bearer(bed.token()).start();
    bed.wait_for_active(1).await;

    let open = json!([{ "match": { "path": "/open" }, "require": "none" }]);
    bed.reconfigure(|config| config["rules"] = open)
        .await
        .expect("accepted");
    bed.authgear.clear_fault(Jwks);

    let reply = before.reply().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    bed.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_across_a_reload_harms_nobody() {
    let mut bed = TestBed::builder()
        .reloadable()
        .project(|project| project["session"] = json!({ "timeout": "30s" }))
        .start()
        .await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let before = bed.get("/before").cookie(&cookie).start();
    hold.wait_for(1).await;
    bed.reconfigure(|config| config["limits"] = json!({ "cached_sessions": 10 }))
        .await
        .expect("accepted");
    before.disconnect().await;
    hold.release();
    let reply = bed.get("/after").cookie(&cookie).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().target, "/after");
    bed.finish().await;
}

#[tokio::test]
async fn what_was_open_is_shut_by_the_next_configuration() {
    let mut bed = TestBed::builder()
        .reloadable()
        .rules(json!([{ "match": {}, "require": "none" }]))
        .start()
        .await;
    assert_eq!(bed.get("/").send().await.status, 200);
    bed.reconfigure(|config| config["rules"] = json!([]))
        .await
        .expect("accepted");
    assert_eq!(bed.get("/").send().await.status, 401);
    bed.finish().await;
}

#[tokio::test]
async fn a_bad_configuration_keeps_the_good_one() {
    let mut bed = TestBed::builder()
        .reloadable()
        .rules(json!([{ "match": { "path": "/open" }, "require": "none" }]))
        .start()
        .await;
    let known = bed.get("/api").bearer(bed.token());
    let traffic = Traffic::start(move || known.clone());
    for bad in [
        json!({}),
        json!([]),
        json!({ "projects": [{ "endpoint": "https://auth.example.com/", "cluster": "authgear" }] }),
        json!({ "projects": [{ "endpoint": "https://auth.example.com", "cluster": "authgear", "sesion": null }] }),
    ] {
        let shown = bad.to_string();
        let refused = bed.reconfigure(|config| *config = bad).await;
        assert!(refused.is_err(), "{shown}: accepted");
        assert_eq!(bed.get("/open").send().await.status, 200, "{shown}");
        assert_eq!(bed.get("/api").send().await.status, 401, "{shown}");
    }
    bed.envoy
        .wait_for_log("configuration refused: projects[0].sesion: unknown member")
        .await;
    traffic.ended().await.assert_only(&[200]);
    bed.reconfigure(|config| config["rules"] = json!([]))
        .await
        .expect("accepted");
    assert_eq!(bed.get("/open").send().await.status, 401);
    bed.finish().await;
}
