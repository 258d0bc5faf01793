//! Who may: kinds of credential, machines, audiences, conditions.

use devkit::client::Request;
use devkit::keys::User;
use devkit::message::Reply;
use devkit::testbed::{ORIGIN, RESOLVER, TestBed};
use serde_json::json;

const JOBS: &str = "https://api.example.com/jobs";
const REPORTS: &str = "https://api.example.com/reports";

fn reason(reply: &Reply) -> (u16, String) {
    let code = reply.json()["code"].as_str().unwrap_or_default().to_owned();
    (reply.status, code)
}

#[tokio::test]
async fn a_machine_reaches_what_is_for_machines_and_is_named_by_its_client() {
    let bed = TestBed::builder()
        .rules(json!([
            { "match": { "path_prefix": "/jobs" }, "require": "machine", "audiences": [JOBS],
              "allow": { "scopes_all": ["jobs:write"], "client_ids": ["nightly"] } },
            { "match": { "path_prefix": "/both" }, "require": ["user", "machine"], "audiences": [ORIGIN, JOBS] },
        ]))
        .start()
        .await;
    let nightly = bed.authgear.machine_token(JOBS, "nightly");
    let forged = |path: &str| bed.get(path).header("x-authgear-client-id", "forged");
    for path in ["/jobs/1", "/both"] {
        bed.backend.clear();
        let reply = forged(path).bearer(&nightly).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let expected = [("x-authgear-client-id".to_owned(), "nightly".to_owned())];
        assert_eq!(bed.only_forwarded().identity(), expected);
    }
    bed.backend.clear();
    assert_eq!(forged("/both").bearer(bed.token()).send().await.status, 200);
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    bed.backend.clear();

    let other = bed.authgear.machine_token(JOBS, "other");
    let elsewhere = bed.authgear.machine_token(REPORTS, "nightly");
    for (path, request, expected) in [
        ("/jobs", bed.get("/jobs").bearer(&other), (403, "forbidden")),
        (
            "/jobs",
            bed.get("/jobs").bearer(&elsewhere),
            (401, "invalid_token"),
        ),
        (
            "/jobs",
            bed.get("/jobs").bearer(bed.token()),
            (401, "invalid_token"),
        ),
        (
            "/jobs",
            bed.get("/jobs").cookie(bed.cookie()),
            (401, "unauthenticated"),
        ),
        ("/", bed.get("/").bearer(&nightly), (401, "invalid_token")),
    ] {
        let reply = request.send().await;
        assert_eq!(
            reason(&reply),
            (expected.0, expected.1.to_owned()),
            "{path}: {reply:?}"
        );
    }
    assert_eq!(bed.forwarded().len(), 0);
    bed.wait_for_count("authgear_requests_forwarded_machine_total", |count| {
        count == 2
    })
    .await;
    bed.wait_for_count("authgear_requests_refused_client_ids_total", |count| {
        count == 1
    })
    .await;
    bed.finish().await;
}

/// Two resources of one project behind one gateway.
#[tokio::test]
async fn a_token_refused_for_its_audience_is_never_asked_of_the_resolver() {
    let bed = TestBed::builder()
        .rules(json!([
            { "match": { "path_prefix": "/jobs" }, "require": "user", "audiences": [JOBS] },
            { "match": { "path_prefix": "/reports" }, "require": "user", "audiences": [REPORTS],
              "accept": ["jwt", "session"] },
        ]))
        .prepare(|authgear| authgear.configure(|settings| settings.check_audience = false))
        .start()
        .await;
    bed.keys_are_there().await;
    let token = |audience: &str| {
        let token = bed.authgear.token(&bed.alice).audience(json!([audience]));
        bed.authgear.issue(&bed.alice, &token)
    };
    let (jobs, reports) = (token(JOBS), token(REPORTS));
    let at = |path: &str, token: &str, status: u16| (bed.get(path).bearer(token), status);
    let as_cookie = |path: &str, token: &str, status: u16| {
        (
            bed.get(path).cookie(format!("app_access_token={token}")),
            status,
        )
    };
    for (request, status) in [
        at("/jobs", &jobs, 200),
        at("/jobs", &reports, 401),
        at("/reports", &reports, 200),
        at("/reports", &jobs, 401),
        at("/", &jobs, 401),
        as_cookie("/jobs", &reports, 401),
        as_cookie("/reports", &jobs, 401),
        as_cookie("/", &jobs, 401),
        as_cookie("/jobs", &jobs, 200),
    ] {
        let reply = request.clone().send().await;
        assert_eq!(reply.status, status, "{request:?}: {reply:?}");
    }
    assert_eq!(bed.resolver_calls(), 0);

    // Beside a session, where sessions count: the session is asked about, without the token.
    let session = bed.cookie();
    let both = bed
        .get("/reports")
        .cookie(format!("app_access_token={jobs}; {session}"));
    assert_eq!(both.send().await.status, 200);
    let calls = bed.authgear.calls_to(RESOLVER);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].header("cookie"), Some(session.clone()));
    assert_eq!(calls[0].header("authorization"), None);
    // And where they do not, it is not.
    let reply = bed.get("/jobs").cookie(session).send().await;
    assert_eq!(reason(&reply), (401, "unauthenticated".to_owned()));
    assert_eq!(bed.resolver_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn conditions_are_asked_of_tokens_and_sessions() {
    let bed = TestBed::builder()
        .rules(json!([
            { "match": { "path_prefix": "/admin" }, "require": "user", "allow": { "roles_any": ["admin", "owner"] } },
            { "match": { "path_prefix": "/members" }, "require": "user", "allow": { "verified": true, "anonymous": false } },
            { "match": { "path_prefix": "/recent" }, "require": "user", "allow": { "max_auth_age": "1h" } },
            { "match": { "path_prefix": "/strong" }, "require": "user", "allow": { "amr_any": ["mfa"] } },
            { "match": { "path_prefix": "/write" }, "require": "user", "allow": { "scopes_all": ["notes:write"] } },
            { "match": { "path_prefix": "/acme" }, "require": "user", "allow": {
                "any_of": [{ "claims": { "/org/id": ["acme"] } }, { "roles_any": ["owner"] }] } },
        ]))
        .start()
        .await;
    let authgear = &bed.authgear;
    let owner = authgear.add_user(
        User::new("owner")
            .roles(&["owner"])
            .authenticated_at(Some(1)),
    );
    let guest = authgear.add_user(User::new("guest").anonymous());
    let token_of = |user: &User| authgear.access_token(user);
    let claims = |name: &str, value: serde_json::Value| {
        let token = authgear.token(&bed.alice).claim(name, value);
        authgear.issue(&bed.alice, &token)
    };
    let cookie_of = |user: &User| format!("session={}", authgear.session(user));
    let bearer = |path: &str, token: String| bed.get(path).bearer(token);
    let cookie = |path: &str, user: &User| bed.get(path).cookie(cookie_of(user));
    let alice = &bed.alice;
    let rows: Vec<(Request, u16, &str)> = vec![
        (bearer("/admin", token_of(alice)), 200, ""),
        (cookie("/admin", &owner), 200, ""),
        (cookie("/admin", &guest), 403, "forbidden"),
        (bearer("/members", token_of(alice)), 200, ""),
        (cookie("/members", &guest), 403, "forbidden"),
        (bearer("/recent", token_of(alice)), 200, ""),
        (cookie("/recent", alice), 200, ""),
        (
            cookie("/recent", &owner),
            401,
            "insufficient_user_authentication",
        ),
        (
            bearer("/strong", claims("amr", json!(["pwd", "mfa"]))),
            200,
            "",
        ),
        (
            bearer("/strong", token_of(alice)),
            401,
            "insufficient_user_authentication",
        ),
        (
            bearer("/write", claims("scope", json!("openid notes:write"))),
            200,
            "",
        ),
        (bearer("/write", token_of(alice)), 403, "insufficient_scope"),
        (cookie("/write", alice), 403, "forbidden"),
        (
            bearer("/acme", claims("org", json!({ "id": "acme" }))),
            200,
            "",
        ),
        (
            bearer("/acme", claims("org", json!({ "id": "other" }))),
            403,
            "forbidden",
        ),
        (cookie("/acme", &owner), 200, ""),
        (cookie("/acme", alice), 403, "forbidden"),
    ];
    for (request, status, code) in rows {
        // Asked twice: what is cached is judged like what is new.
        for _ in 0..2 {
            let reply = request.clone().send().await;
            assert_eq!(reply.status, status, "{request:?}: {reply:?}");
            if status != 200 {
                assert_eq!(reply.json()["code"], code, "{request:?}");
            }
        }
    }
    let reply = bearer("/write", token_of(alice)).send().await;
    let challenge =
        "Bearer realm=\"auth.example.com\", error=\"insufficient_scope\", scope=\"notes:write\"";
    assert_eq!(reply.header("www-authenticate").as_deref(), Some(challenge));
    let reply = cookie("/recent", &owner).send().await;
    let challenge = "Bearer realm=\"auth.example.com\", error=\"insufficient_user_authentication\", max_age=\"3600\"";
    assert_eq!(reply.header("www-authenticate").as_deref(), Some(challenge));
    bed.wait_for_count("authgear_requests_refused_token_needed_total", |count| {
        count == 2
    })
    .await;
    bed.finish().await;
}

/// A client that speaks gRPC is told in its own way.
#[tokio::test]
async fn a_denial_of_a_condition_is_told_to_grpc() {
    let bed = TestBed::builder()
        .rules(json!([{ "match": { "path_prefix": "/a.Service" }, "require": "user", "allow": { "roles_any": ["owner"] } }]))
        .start()
        .await;
    let request = bed
        .get("/a.Service/Call")
        .header("content-type", "application/grpc");
    let reply = request.bearer(bed.token()).send().await;
    assert_eq!(
        (reply.status, reply.header("grpc-status").as_deref()),
        (200, Some("7"))
    );
    bed.finish().await;
}

#[tokio::test]
async fn a_role_has_a_header_of_its_own_that_no_client_can_send() {
    let headers = json!({ "admin": "x-authgear-role-admin", "owner": "x-authgear-role-owner" });
    let bed = TestBed::builder()
        .configure(|config| config["upstream"] = json!({ "role_headers": headers }))
        .start()
        .await;
    let forged = || bed.get("/").header("x-authgear-role-owner", "true");
    for request in [forged().bearer(bed.token()), forged().cookie(bed.cookie())] {
        bed.backend.clear();
        assert_eq!(request.send().await.status, 200);
        let seen = bed.only_forwarded();
        assert_eq!(
            seen.header("x-authgear-role-admin").as_deref(),
            Some("true")
        );
        assert!(!seen.headers.has("x-authgear-role-owner"), "{seen:?}");
    }
    bed.finish().await;
}
