//! The life of the keys in good times: fetched ahead, refreshed, rotated, discovered, or given inline.

use std::time::Duration;

use devkit::authgear::Endpoint::{Discovery, Jwks};
use devkit::authgear::Fault;
use devkit::client::Request;
use devkit::keys::{SigningKey, Token};
use devkit::testbed::{JWKS, ORIGIN, TestBed};
use serde_json::{Value, json};

const DISCOVERY: &str = "/.well-known/openid-configuration";

async fn status(bed: &TestBed, token: &str) -> u16 {
    bed.get("/api/me").bearer(token).send().await.status
}

#[tokio::test]
async fn the_keys_are_fetched_before_any_request_asks_for_them() {
    let bed = TestBed::start().await;
    bed.keys_are_there().await;

    assert_eq!(status(&bed, &bed.token()).await, 200);
    assert_eq!(status(&bed, &bed.token()).await, 200);

    let calls = bed.authgear.calls();
    assert!(calls.is_empty(), "{calls:#?}");
    bed.finish().await;
}

#[tokio::test]
async fn nothing_of_a_request_gets_into_the_call_for_keys() {
    let bed = TestBed::builder()
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .project(|project| project["jwks"] = json!({ "timeout": "30s" }))
        .start()
        .await;
    let request = bed.post("/api/me?access_token=secret").body("body");
    let waiting = request
        .bearer(bed.token())
        .cookie(bed.cookie())
        .header("x-forwarded-host", "evil.example.com")
        .header("x-mine", "1")
        .start();
    let call = bed.authgear.wait_for_calls(JWKS, 1).await.remove(0);
    bed.authgear.clear_fault(Jwks);
    assert_eq!(waiting.reply().await.status, 200);

    let mut names: Vec<_> = call.headers.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "host",
        "user-agent",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-internal",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(names, expected, "{call:#?}");
    assert_eq!((call.method.as_str(), call.target.as_str()), ("GET", JWKS));
    assert_eq!(call.authority, "auth.example.com");
    assert_eq!(
        call.header("x-forwarded-host").as_deref(),
        Some("auth.example.com")
    );
    assert_eq!(call.header("x-forwarded-proto").as_deref(), Some("https"));
    bed.finish().await;
}

#[tokio::test]
async fn requests_that_come_before_the_keys_wait_and_are_woken() {
    let bed = TestBed::builder()
        .jwks(json!({ "timeout": "30s" }))
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .start()
        .await;
    let in_a_cookie = format!("app_access_token={}", bed.token());
    let requests = [
        bed.get("/a").bearer(bed.token()),
        bed.get("/b").bearer(bed.token()).http2(),
        bed.post("/c").bearer(bed.token()).body("body"),
        bed.get("/d").cookie(in_a_cookie),
    ]
    .map(Request::start);
    bed.wait_for_active(4).await;
    bed.assert_nothing_forwarded();

    bed.authgear.clear_fault(Jwks);

    for request in requests {
        let reply = request.reply().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    for request in bed.forwarded() {
        assert_eq!(request.identity(), bed.alice.headers(), "{request:?}");
    }
    // One for the worker, one for the VM of Envoy's main thread.
    let calls = bed.authgear.calls_to(JWKS);
    assert!(calls.len() <= 2, "{calls:#?}");
    bed.finish().await;
}

#[tokio::test]
async fn who_needs_no_keys_is_answered_before_they_come() {
    let bed = TestBed::builder()
        .jwks(json!({ "timeout": "30s" }))
        .rules(json!([
            { "match": { "path": "/open" }, "require": "none" },
            { "match": { "path": "/blog" }, "require": "optional" },
        ]))
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .start()
        .await;
    assert_eq!(
        bed.get("/open").bearer(bed.token()).send().await.status,
        200
    );
    assert_eq!(bed.get("/blog").send().await.status, 200);
    assert_eq!(bed.get("/api").send().await.status, 401);
    assert_eq!(
        bed.get("/api").bearer("not.a.token").send().await.status,
        401
    );
    assert_eq!(
        bed.get("/api").cookie(bed.cookie()).send().await.status,
        200
    );
    bed.finish().await;
}

#[tokio::test]
async fn the_keys_are_refreshed_ahead_of_time_and_no_more_often() {
    let bed = TestBed::builder()
        .jwks(json!({ "refresh": "1s" }))
        .start()
        .await;

    let calls = bed.authgear.wait_for_calls(JWKS, 4).await;

    // At 80 per cent of the time at the earliest, in one VM for all.
    let (first, fourth) = (calls[0].at, calls[3].at);
    let took = fourth.duration_since(first).expect("calls in order");
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert_eq!(status(&bed, &bed.token()).await, 200);
    bed.finish().await;
}

#[tokio::test]
async fn a_careful_rotation_is_not_noticed() {
    let bed = TestBed::builder()
        .jwks(json!({ "refresh": "1s", "unknown_kid_cooldown": "1h" }))
        .start()
        .await;
    let old = bed.token();
    assert_eq!(status(&bed, &old).await, 200);

    bed.authgear.publish_next_key();
    bed.envoy.wait_for_log("JWKS: 2 keys in use").await;
    bed.authgear.sign_with_next_key();

    assert_eq!(status(&bed, &bed.token()).await, 200);
    assert_eq!(status(&bed, &old).await, 200);
    bed.finish().await;
}

#[tokio::test]
async fn a_careless_rotation_costs_one_fetch_and_ends_the_tokens_of_the_old_key() {
    let bed = TestBed::start().await;
    bed.keys_are_there().await;
    let (old, kid) = (bed.token(), bed.authgear.key().kid);
    assert_eq!(status(&bed, &old).await, 200);
    assert_eq!(status(&bed, &old).await, 200);

    let new = bed.authgear.swap_key();
    assert_ne!(new.kid, kid);

    assert_eq!(status(&bed, &bed.token()).await, 200);
    assert_eq!(bed.jwks_calls(), 1);
    // Cached as valid, but its key is removed.
    let reply = bed.get("/api/me").bearer(&old).send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.json()["code"], "invalid_token");
    assert_eq!(bed.jwks_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn a_removed_key_evicts_its_cached_tokens() {
    let bed = TestBed::builder()
        .jwks(json!({ "refresh": "1s" }))
        .authgear(|options| options.keys = 2)
        .start()
        .await;
    let keys = bed.authgear.keys();
    let token = bed.authgear.token(&bed.alice);
    let (kept, removed) = (token.sign(&keys[0]), token.sign(&keys[1]));
    assert_eq!(status(&bed, &kept).await, 200);
    assert_eq!(status(&bed, &removed).await, 200);

    bed.authgear.remove_key(&keys[1].kid);

    bed.until_status(401, || bed.get("/api/me").bearer(&removed))
        .await;
    assert_eq!(status(&bed, &kept).await, 200);
    bed.finish().await;
}

#[tokio::test]
async fn new_material_under_an_old_kid_replaces_it() {
    let bed = TestBed::builder()
        .jwks(json!({ "refresh": "1s" }))
        .start()
        .await;
    let old = bed.token();
    assert_eq!(status(&bed, &old).await, 200);

    let new = SigningKey::rsa(1).with_kid(&bed.authgear.key().kid);
    bed.authgear.set_keys(vec![new]);

    bed.until_status(401, || bed.get("/api/me").bearer(&old))
        .await;
    assert_eq!(status(&bed, &bed.token()).await, 200);
    bed.finish().await;
}

#[tokio::test]
async fn discovery_leads_to_the_keys() {
    let bed = TestBed::builder()
        .jwks(json!({ "discover": true }))
        .start()
        .await;
    bed.envoy.wait_for_log("keys in use").await;
    assert_eq!(status(&bed, &bed.token()).await, 200);
    let calls = bed.authgear.calls();
    let paths: Vec<_> = calls.iter().map(|call| call.path()).collect();
    assert_eq!(paths[0], DISCOVERY);
    assert_eq!(
        paths.iter().filter(|path| **path == JWKS).count() * 2,
        paths.len()
    );
    for call in &calls {
        assert_eq!(call.authority, "auth.example.com");
    }
    bed.finish().await;
}

#[tokio::test]
async fn keys_may_be_anywhere_on_the_endpoint() {
    let bed = TestBed::builder()
        .jwks(json!({ "uri": "/oauth2/jwks?v=1" }))
        .start()
        .await;
    assert_eq!(status(&bed, &bed.token()).await, 200);
    assert_eq!(bed.authgear.calls()[0].target, "/oauth2/jwks?v=1");
    bed.finish().await;
}

#[tokio::test]
async fn inline_keys_need_no_call_and_no_cluster() {
    let key = SigningKey::rsa(0);
    let project = json!({ "endpoint": ORIGIN, "jwks": { "inline": { "keys": [key.jwk()] } }, "session": null });
    let bed = TestBed::builder()
        .config(json!({ "projects": [project] }))
        .start()
        .await;
    let stranger = Token::user(ORIGIN, &bed.alice).sign(&SigningKey::rsa(1));

    assert_eq!(status(&bed, &bed.token()).await, 200);
    assert_eq!(status(&bed, &stranger).await, 401);
    // Nobody judges what only the resolver could judge.
    let reply = bed.get("/api/me").cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    let opaque = bed.authgear.opaque_token(&bed.alice);
    assert_eq!(status(&bed, &opaque).await, 401);

    let calls = bed.authgear.calls();
    assert!(calls.is_empty(), "{calls:#?}");
    bed.finish().await;
}

#[tokio::test]
async fn sessions_beside_inline_keys_are_still_asked_for() {
    let key = SigningKey::rsa(0);
    let bed = TestBed::builder()
        .jwks(json!({ "inline": { "keys": [key.jwk()] } }))
        .start()
        .await;
    assert_eq!(status(&bed, &bed.token()).await, 200);
    let reply = bed.get("/api/me").cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(bed.authgear.calls_to(JWKS).is_empty());
    bed.finish().await;
}

async fn discovery_refused(document: Value, cause: &str) {
    let fault = Fault::Custom(devkit::message::CannedResponse::json(&document));
    without_discovery(fault, cause).await;
}

async fn without_discovery(fault: Fault, cause: &str) {
    let shown = format!("{fault:?}");
    let bed = TestBed::builder()
        .jwks(json!({ "discover": true }))
        .prepare(move |authgear| authgear.fault(Discovery, fault))
        .start()
        .await;
    let reply = bed.get("/api/me").bearer(bed.token()).send().await;
    assert_eq!(reply.status, 503, "{shown}: {reply:?}");
    bed.envoy.wait_for_log(cause).await;
    assert!(bed.authgear.calls_to(JWKS).is_empty(), "{shown}");
    bed.authgear.clear_faults();
    bed.until_status(200, || bed.get("/api/me").bearer(bed.token()))
        .await;
    bed.finish().await;
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_is_refused() {
    let document =
        json!({ "issuer": "https://evil.example.com", "jwks_uri": format!("{ORIGIN}{JWKS}") });
    discovery_refused(document, "names another \"issuer\"").await;
}

#[tokio::test]
async fn a_discovery_document_that_leads_to_another_host_is_not_followed() {
    let document =
        json!({ "issuer": ORIGIN, "jwks_uri": "https://auth.example.com.evil.com/oauth2/jwks" });
    discovery_refused(document, "that is not on \"endpoint\"").await;
}

#[tokio::test]
async fn a_discovery_document_that_leads_to_another_scheme_is_not_followed() {
    let document = json!({ "issuer": ORIGIN, "jwks_uri": "http://auth.example.com/oauth2/jwks" });
    discovery_refused(document, "that is not on \"endpoint\"").await;
}

#[tokio::test]
async fn a_discovery_document_that_is_not_there_is_waited_for() {
    without_discovery(Fault::Status(404), "answered with status 404").await;
}

#[tokio::test]
async fn a_discovery_document_without_a_place_is_refused() {
    let document = json!({ "issuer": ORIGIN });
    discovery_refused(document, "the discovery document is not JSON").await;
}
