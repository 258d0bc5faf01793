//! Who gets through: both ways of authentication, and the one set of headers that the backend sees.

use devkit::testbed::{RESOLVER, TestBed};

#[tokio::test]
async fn a_valid_token_reaches_the_backend_with_the_users_headers() {
    let bed = TestBed::start().await;

    let reply = bed.get("/api/me").bearer(bed.token()).send().await;

    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    bed.finish().await;
}

#[tokio::test]
async fn a_session_cookie_reaches_the_backend_with_the_same_headers() {
    let bed = TestBed::start().await;

    let reply = bed.get("/api/me").cookie(bed.cookie()).send().await;

    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    bed.finish().await;
}

#[tokio::test]
async fn nobody_is_asked_to_authenticate() {
    let bed = TestBed::start().await;

    let reply = bed.get("/api/me").send().await;

    assert_eq!(reply.status, 401, "{reply:?}");
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn no_cookie_beside_it_takes_a_jwt_past_the_projects_own_policy() {
    let bed = TestBed::builder()
        .project(|project| project["jwt"] = serde_json::json!({ "client_ids": ["the-app"] }))
        .start()
        .await;
    let foreign = bed.token();

    let opaque = bed.authgear.opaque_token(&bed.alice);
    for (name, value) in [
        ("authorization", format!("Bearer {foreign}")),
        ("authorization", format!("Bearer {opaque}")),
        ("cookie", format!("app_access_token={opaque}")),
        ("cookie", format!("app_access_token={foreign}")),
        (
            "cookie",
            format!("app_session=nonsense; app_access_token={foreign}"),
        ),
        (
            "cookie",
            format!("session=nonsense; app_access_token={foreign}"),
        ),
    ] {
        let reply = bed.get("/api/me").header(name, &value).send().await;
        assert_eq!(reply.status, 401, "{name}: {value}: {reply:?}");
    }

    bed.assert_nothing_forwarded();
    for call in bed.authgear.calls_to(RESOLVER) {
        assert_eq!(call.header("authorization"), None);
        let cookies = call.header("cookie").unwrap_or_default();
        assert!(!cookies.contains("app_access_token"), "{cookies}");
    }
}

#[tokio::test]
async fn a_jwt_in_a_cookie_that_is_not_looked_at_does_not_reach_the_resolver_either() {
    let bed = TestBed::builder()
        .project(|project| project["jwt"] = serde_json::json!({ "cookies": [] }))
        .start()
        .await;
    let token = format!("app_access_token={}", bed.token());

    let reply = bed.get("/api/me").cookie(&token).send().await;

    assert_eq!(reply.status, 401, "{reply:?}");
    bed.assert_nothing_forwarded();
    assert!(bed.authgear.calls_to(RESOLVER).is_empty());
    bed.finish().await;
}
