//! The fake Authgear's main server: discovery and JWKS; rotation; faults; the control interface; the login page.

use devkit::authgear::{FakeAuthgear, Options};
use devkit::client::Request;
use devkit::keys::{SigningKey, User, unb64};
use devkit::message::Reply;
use serde_json::{Value, json};

async fn fake_authgear(keys: usize) -> FakeAuthgear {
    let origin = Some("https://auth.example.com".to_owned());
    FakeAuthgear::start(Options {
        origin,
        keys,
        ..Options::default()
    })
    .await
}

fn call(authgear: &FakeAuthgear, method: &str, path: &str) -> Request {
    Request::new(authgear.address(), method, path)
        .host("auth.example.com")
        .header("x-forwarded-proto", "https")
}

fn kids(jwks: &Value) -> Vec<&str> {
    jwks["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .filter_map(|key| key["kid"].as_str())
        .collect()
}

#[tokio::test]
async fn the_key_set_is_published_with_the_headers_of_the_contract() {
    let authgear = fake_authgear(2).await;
    let reply = call(&authgear, "GET", "/oauth2/jwks").send().await;
    assert_eq!(
        (reply.status, reply.header("content-type").as_deref()),
        (200, Some("application/json"))
    );
    assert_eq!(reply.header("vary").as_deref(), Some("User-Agent"));
    assert_eq!(
        reply.header("access-control-allow-origin").as_deref(),
        Some("*")
    );
    assert_eq!(
        reply.header("access-control-max-age").as_deref(),
        Some("900")
    );
    assert!(!reply.headers.has("cache-control"));
    assert_eq!(
        kids(&reply.json()),
        [SigningKey::rsa(0).kid, SigningKey::rsa(1).kid]
    );
    assert_eq!(
        call(&authgear, "OPTIONS", "/oauth2/jwks")
            .send()
            .await
            .status,
        200
    );
    assert_eq!(
        call(&authgear, "HEAD", "/oauth2/jwks").send().await.status,
        405
    );
}

#[tokio::test]
async fn both_discovery_documents_name_issuer_and_keys() {
    let authgear = fake_authgear(1).await;
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        let document = call(&authgear, "GET", path).send().await.json();
        assert_eq!(document["issuer"], json!("https://auth.example.com"));
        assert_eq!(
            document["jwks_uri"],
            json!("https://auth.example.com/oauth2/jwks")
        );
    }
}

#[tokio::test]
async fn a_call_to_another_origin_is_sent_to_the_public_one() {
    let authgear = fake_authgear(1).await;
    let at = |host: &str| Request::new(authgear.address(), "GET", "/oauth2/jwks").host(host);
    for request in [
        at("auth.example.com"),
        at("auth.example.com:8443").header("x-forwarded-proto", "https"),
        at("auth.example.com").header("x-forwarded-proto", "http"),
    ] {
        let reply = request.send().await;
        let location = reply.header("location");
        assert_eq!(
            (reply.status, location.as_deref()),
            (307, Some("https://auth.example.com/oauth2/jwks"))
        );
    }
    let unknown = at("other.example.com")
        .header("x-forwarded-proto", "https")
        .send()
        .await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn bots_and_denied_gateways_are_turned_away() {
    let authgear = fake_authgear(1).await;
    let bot = call(&authgear, "GET", "/oauth2/jwks").header("user-agent", "SomeBot/1.0");
    assert_eq!(bot.send().await.status, 403);
    authgear.configure(|settings| settings.deny_gateway = true);
    assert_eq!(
        call(&authgear, "GET", "/oauth2/jwks").send().await.status,
        403
    );
}

#[tokio::test]
async fn keys_are_rotated_with_care_and_without() {
    let authgear = fake_authgear(1).await;
    let old = authgear.key();
    let new = authgear.publish_next_key();
    assert_eq!(kids(&authgear.jwks()), [old.kid.as_str(), &new.kid]);
    authgear.sign_with_next_key();
    assert_eq!(kids(&authgear.jwks()), [new.kid.as_str(), &old.kid]);
    authgear.remove_key(&old.kid);
    assert_eq!(kids(&authgear.jwks()), [new.kid.as_str()]);
    let swapped = authgear.swap_key();
    assert_eq!(kids(&authgear.jwks()), [swapped.kid.as_str()]);
    authgear.publish(Some(json!({ "keys": [{ "kty": "RSA" }] })));
    assert_eq!(
        call(&authgear, "GET", "/oauth2/jwks").send().await.json(),
        json!({ "keys": [{ "kty": "RSA" }] })
    );
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

async fn control(authgear: &FakeAuthgear, action: &str, body: Value) -> Reply {
    Request::new(authgear.address(), "POST", &format!("/_control/{action}"))
        .body(body.to_string())
        .send()
        .await
}

#[tokio::test]
async fn the_control_interface_does_what_the_handle_does() {
    let authgear = fake_authgear(1).await;
    authgear.add_demo_users();
    let resolve = async |request: Request| request.send().await.header("x-authgear-user-id");
    let alice = User::new("alice").id;

    let token = control(&authgear, "token", json!({ "user": "alice" }))
        .await
        .json()["access_token"]
        .clone();
    let token = token.as_str().expect("a token");
    let ask = || call(&authgear, "GET", "/_resolver/resolve");
    assert_eq!(resolve(ask().bearer(token)).await.as_ref(), Some(&alice));
    let cookie = control(&authgear, "session", json!({ "user": "alice" }))
        .await
        .json()["cookie"]
        .clone();
    assert_eq!(
        resolve(ask().cookie(cookie.as_str().expect("a cookie")))
            .await
            .as_ref(),
        Some(&alice)
    );

    let suspend = |on| json!({ "user": "alice", "suspended": on });
    control(&authgear, "suspend", suspend(true)).await;
    assert_eq!(resolve(ask().bearer(token)).await, None);
    control(&authgear, "suspend", suspend(false)).await;
    assert_eq!(resolve(ask().bearer(token)).await.as_ref(), Some(&alice));
    for kind in ["opaque", "id", "machine"] {
        let asked = json!({ "user": "alice", "kind": kind });
        let reply = control(&authgear, "token", asked).await.json();
        let known = resolve(ask().bearer(text(&reply["access_token"]))).await;
        assert_eq!(known.is_some(), kind == "opaque", "{kind}");
    }
    let refreshed = json!({ "user": "alice", "kind": "refreshed" });
    let refreshed = control(&authgear, "token", refreshed).await.json();
    for (token, says_amr) in [(token, true), (&*text(&refreshed["access_token"]), false)] {
        let payload = token.split('.').nth(1).and_then(unb64).expect("a payload");
        let payload: Value = serde_json::from_slice(&payload).expect("JSON");
        assert_eq!(payload.get("amr").is_some(), says_amr, "{payload}");
    }

    assert_eq!(
        control(&authgear, "revoke", json!({ "credential": token }))
            .await
            .json(),
        json!({ "revoked": true })
    );
    assert_eq!(resolve(ask().bearer(token)).await, None);
    control(&authgear, "disable", json!({ "user": "alice" })).await;
    assert_eq!(
        resolve(ask().cookie(cookie.as_str().expect("a cookie"))).await,
        None
    );

    let before = authgear.key().kid;
    let set = control(&authgear, "rotate", json!({})).await.json();
    assert_eq!(kids(&set), [authgear.key().kid]);
    assert_ne!(authgear.key().kid, before);

    let fault = json!({ "endpoint": "jwks", "fault": "status", "status": 502, "times": 1 });
    control(&authgear, "fault", fault).await;
    assert_eq!(
        call(&authgear, "GET", "/oauth2/jwks").send().await.status,
        502
    );
    assert_eq!(
        call(&authgear, "GET", "/oauth2/jwks").send().await.status,
        200
    );

    let calls = Request::new(authgear.address(), "GET", "/_control/calls")
        .send()
        .await
        .json();
    assert_eq!(calls.as_array().map(Vec::len), Some(authgear.calls().len()));
    assert_eq!(control(&authgear, "reset", json!({})).await.status, 200);
    assert!(authgear.calls().is_empty());
    for (action, body) in [
        ("token", json!({ "user": "zoe" })),
        ("rotate", json!({ "mode": "?" })),
        ("nothing", json!({})),
    ] {
        assert_eq!(control(&authgear, action, body).await.status, 400);
    }
}

fn login(authgear: &FakeAuthgear, body: &str) -> Request {
    let request = Request::new(authgear.address(), "POST", "/login").body(body.to_owned());
    request.header("content-type", "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn the_login_page_sets_the_session_cookie_and_logs_out_again() {
    let authgear = fake_authgear(1).await;
    authgear.add_demo_users();
    authgear
        .configure(|settings| settings.return_origins = vec!["http://localhost:10000".to_owned()]);
    let reply = login(
        &authgear,
        "user=alice&return=http%3A%2F%2Flocalhost%3A10000%2Fa",
    )
    .send()
    .await;
    assert_eq!(
        (reply.status, reply.header("location").as_deref()),
        (303, Some("http://localhost:10000/a"))
    );
    let set = reply
        .headers
        .all("set-cookie")
        .iter()
        .map(|value| String::from_utf8_lossy(value))
        .collect::<Vec<_>>();
    assert!(
        set[0].starts_with("session=") && set[1].starts_with("same_site_strict=true;"),
        "{set:?}"
    );
    assert!(
        set[0].ends_with("; Path=/; Max-Age=31449600; HttpOnly; Secure; SameSite=Lax"),
        "{set:?}"
    );
    let cookie = set[0].split(';').next().expect("a cookie").to_owned();
    assert_eq!(cookie.len(), "session=".len() + 36 + 1 + 32);

    let page = Request::new(authgear.address(), "GET", "/login")
        .cookie(&cookie)
        .send()
        .await;
    assert!(page.text().contains("Logged in as <b>alice</b>"));
    Request::new(authgear.address(), "GET", "/logout")
        .cookie(&cookie)
        .send()
        .await;
    let resolved = call(&authgear, "GET", "/resolve")
        .cookie(&cookie)
        .send()
        .await;
    assert_eq!(
        resolved.header("x-authgear-session-valid").as_deref(),
        Some("false")
    );
}

#[tokio::test]
async fn the_login_page_sends_nobody_to_a_foreign_place() {
    let authgear = fake_authgear(1).await;
    authgear.add_demo_users();
    authgear.configure(|settings| {
        settings.return_origins = vec!["http://localhost:10000".to_owned()];
        settings.redirect_uris = vec!["http://localhost:10000/back".to_owned()];
    });
    for target in [
        "http://evil.example/",
        "http://localhost:100001/",
        "http://localhost:10000.evil.example/",
        "http://localhost:10000@evil.example/",
        "//evil.example/",
        "http://localhost:10000/%0d%0aset-cookie:x",
        "javascript:alert(1)",
    ] {
        let reply = login(&authgear, &format!("user=bob&return={target}"))
            .send()
            .await;
        assert_eq!(
            reply.header("location").as_deref(),
            Some("/login"),
            "{target}"
        );
    }
    let authorize = |uri: &str| {
        Request::new(
            authgear.address(),
            "GET",
            &format!("/oauth2/authorize?redirect_uri={uri}"),
        )
    };
    assert_eq!(
        authorize("http://localhost:10000/back").send().await.status,
        302
    );
    assert_eq!(
        authorize("http://localhost:10000/back/")
            .send()
            .await
            .status,
        400
    );
}
