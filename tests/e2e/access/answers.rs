//! What the filter answers itself, in every protocol, and that no secret gets out.

use devkit::authgear::{Endpoint, Fault};
use devkit::client::Request;
use devkit::message::Reply;
use devkit::testbed::{Builder, ORIGIN, TestBed};
use serde_json::json;

const NOBODY: &str = r#"Bearer realm="auth.example.com""#;
const BAD_TOKEN: &str = r#"Bearer realm="auth.example.com", error="invalid_token""#;

fn fixture() -> Builder {
    TestBed::builder().rules(json!([
        { "match": { "path_prefix": "/public" }, "require": "none" },
        { "match": { "path_prefix": "/blog" }, "require": "optional" },
    ]))
}

/// A request for each answer: its status, its code, its challenge.
fn refused(bed: &TestBed) -> Vec<(Request, u16, &'static str, Option<&'static str>)> {
    let machine = bed.authgear.machine_token(ORIGIN, "batch");
    vec![
        (bed.get("/api"), 401, "unauthenticated", Some(NOBODY)),
        (
            bed.get("/api").cookie("session=dead"),
            401,
            "unauthenticated",
            Some(NOBODY),
        ),
        (
            bed.get("/api").cookie("app_access_token=a.b.c"),
            401,
            "unauthenticated",
            Some(NOBODY),
        ),
        (
            bed.get("/api").header("authorization", "Basic YTpi"),
            401,
            "unauthenticated",
            Some(NOBODY),
        ),
        (
            bed.get("/api").bearer("garbage"),
            401,
            "invalid_token",
            Some(BAD_TOKEN),
        ),
        (
            bed.get("/api").bearer("a".repeat(32)),
            401,
            "invalid_token",
            Some(BAD_TOKEN),
        ),
        (
            bed.get("/blog").bearer("garbage"),
            401,
            "invalid_token",
            Some(BAD_TOKEN),
        ),
        (
            bed.get("/api")
                .header("authorization", "Basic YTpi")
                .bearer("garbage"),
            400,
            "invalid_request",
            None,
        ),
        (bed.get("/public/..%2fapi"), 400, "invalid_request", None),
        (bed.get("/api").bearer(machine), 403, "forbidden", None),
    ]
}

/// A refusal in HTTP, whole.
fn assert_refusal(reply: &Reply, status: u16, code: &str, challenge: Option<&str>, what: &str) {
    assert_eq!(reply.status, status, "{what}: {reply:?}");
    assert_eq!(
        reply.header("www-authenticate").as_deref(),
        challenge,
        "{what}"
    );
    assert_eq!(reply.headers.all("cache-control"), [b"no-store"], "{what}");
    assert_eq!(
        reply.headers.all("content-type"),
        [b"application/json"],
        "{what}"
    );
    assert_eq!(
        reply.headers.has("retry-after"),
        status == 503,
        "{what}: {reply:?}"
    );
    for name in ["set-cookie", "location", "access-control-allow-origin"] {
        assert!(!reply.headers.has(name), "{what}: {reply:?}");
    }
    assert_eq!(reply.headers.starting_with("x-authgear"), [], "{what}");
    let body = reply.json();
    assert_eq!(body["code"], code, "{what}");
    assert!(
        body["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}: {body}"
    );
    // Envoy's name of the request, and nothing else.
    assert!(body["request_id"].is_string(), "{what}: {body}");
    assert_eq!(body.as_object().unwrap().len(), 3, "{what}: {body}");
}

/// The access log has the same, as `%REQ(x-request-id)%`.
#[tokio::test]
async fn an_answer_and_its_debug_line_name_the_request_as_envoy_does() {
    let bed = TestBed::builder()
        .envoy(|envoy| {
            let envoy = envoy.log_level("debug");
            envoy.manager(|manager| manager["preserve_external_request_id"] = json!(true))
        })
        .start()
        .await;
    let of = |reply: &Reply| reply.json()["request_id"].as_str().map(str::to_owned);
    let mine = "it's-me/1";
    let reply = bed.get("/").header("x-request-id", mine).send().await;
    assert_eq!(of(&reply).as_deref(), Some(mine), "{reply:?}");
    // Envoy's own, for an answer at once and for one after a wait.
    bed.authgear.fault(Endpoint::Resolver, Fault::Status(403));
    for request in [bed.get("/"), bed.get("/").cookie(bed.cookie())] {
        let reply = request.send().await;
        let id = of(&reply).unwrap_or_default();
        assert_eq!(id.len(), 36, "{reply:?}");
        let line = bed.envoy.wait_for_log(&format!("; request {id}")).await;
        assert!(
            line.contains(&format!("answered {}: ", reply.status)),
            "{line}"
        );
    }
    let nameless = |envoy: devkit::envoy::Builder| {
        envoy.manager(|manager| manager["generate_request_id"] = json!(false))
    };
    let bed = TestBed::builder().envoy(nameless).start().await;
    let reply = bed.get("/").send().await;
    assert_eq!((reply.status, of(&reply)), (401, None));
}

#[tokio::test]
async fn every_refusal_says_what_the_client_can_do_and_no_more() {
    let bed = fixture().start().await;
    for http2 in [false, true] {
        for (request, status, code, challenge) in refused(&bed) {
            let what = format!("{request:?}, HTTP/2: {http2}");
            let request = if http2 { request.http2() } else { request };
            // A page of another origin may not read it.
            let request = request.header("origin", "https://evil.example.com");
            let reply = request.send().await;
            assert_refusal(&reply, status, code, challenge, &what);
            bed.assert_nothing_forwarded();
        }
    }
    let with_body = bed.post("/api").body("x".repeat(100_000)).send().await;
    assert_refusal(
        &with_body,
        401,
        "unauthenticated",
        Some(NOBODY),
        "with a body",
    );
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn a_refusal_of_head_is_that_of_get_without_its_body() {
    let bed = fixture().start().await;
    for (target, credential) in [
        ("/api", "x: y"),
        ("/api", "authorization: Bearer garbage"),
        ("/public/..%2fapi", "x: y"),
    ] {
        let send = async |method: &str| {
            let head = format!(
                "{method} {target} HTTP/1.1\r\nhost: app\r\n{credential}\r\nconnection: close\r\n\r\n"
            );
            let reply = bed.raw(&head).await;
            let headers = reply.headers.iter().filter(|(name, _)| *name != "date");
            let headers: Vec<_> = headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            (reply.status, headers, reply.text())
        };
        let (get, head) = (send("GET").await, send("HEAD").await);
        assert_eq!((get.0, get.1), (head.0, head.1), "{target}, {credential}");
        assert_eq!(head.2, "", "{target}, {credential}");
    }
    bed.finish().await;
}

#[tokio::test]
async fn who_speaks_grpc_is_answered_in_grpc() {
    let bed = fixture().start().await;
    let types = ["application/grpc", "application/grpc+proto"];
    for content_type in types {
        for (request, status, _, challenge) in refused(&bed) {
            let what = format!("{request:?}, {content_type}");
            let reply = request
                .http2()
                .header("content-type", content_type)
                .header("te", "trailers")
                .send()
                .await;
            let code = match status {
                401 => "16",
                403 => "7",
                _ => "13",
            };
            assert_eq!(reply.status, 200, "{what}: {reply:?}");
            assert_eq!(
                reply.headers.all("grpc-status"),
                [code.as_bytes()],
                "{what}: {reply:?}"
            );
            assert!(
                reply
                    .header("grpc-message")
                    .is_some_and(|text| text.ends_with('.')),
                "{what}: {reply:?}"
            );
            assert_eq!(
                reply.headers.all("content-type"),
                [b"application/grpc"],
                "{what}: {reply:?}"
            );
            assert_eq!(
                reply.header("www-authenticate").as_deref(),
                challenge,
                "{what}"
            );
            assert!(reply.body.is_empty(), "{what}: {reply:?}");
            bed.assert_nothing_forwarded();
        }
    }
    // What Envoy does not take for gRPC is answered in JSON.
    for content_type in [
        "application/grpc;charset=utf-8",
        "Application/GRPC",
        "application/grpc-web",
        "application/grpcx",
    ] {
        let request = bed.get("/api").header("content-type", content_type);
        let reply = request.http2().send().await;
        assert_refusal(&reply, 401, "unauthenticated", Some(NOBODY), content_type);
    }
    bed.authgear.fault(Endpoint::Resolver, Fault::Status(500));
    let call = bed
        .post("/shop.Cart/Get")
        .http2()
        .header("content-type", "application/grpc");
    let reply = call.clone().cookie(bed.cookie()).send().await;
    assert_eq!(
        reply.header("grpc-status").as_deref(),
        Some("14"),
        "{reply:?}"
    );
    bed.assert_nothing_forwarded();
    let reply = call.bearer(bed.token()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    bed.finish().await;
}

#[tokio::test]
async fn whoever_cannot_be_judged_now_may_try_again() {
    let bed = fixture().start().await;
    bed.authgear.fault(Endpoint::Resolver, Fault::Status(500));
    for (what, request) in [
        ("a session", bed.get("/api").cookie(bed.cookie())),
        ("a session, optional", bed.get("/blog").cookie(bed.cookie())),
        (
            "an opaque token",
            bed.get("/api")
                .bearer(bed.authgear.opaque_token(&bed.alice)),
        ),
        (
            "an opaque token, optional",
            bed.get("/blog")
                .bearer(bed.authgear.opaque_token(&bed.alice)),
        ),
    ] {
        let reply = request.send().await;
        assert_refusal(&reply, 503, "unavailable", None, what);
        let seconds = reply
            .header("retry-after")
            .and_then(|text| text.parse::<u32>().ok());
        assert!(
            seconds.is_some_and(|seconds| seconds >= 1),
            "{what}: {reply:?}"
        );
        bed.assert_nothing_forwarded();
    }
    bed.finish().await;
}

#[tokio::test]
async fn no_secret_is_logged_or_answered() {
    let bed = fixture()
        .envoy(|envoy| envoy.log_level("debug"))
        .start()
        .await;
    let marked = |kind: &str| format!("secret-{kind}-{}", "x".repeat(30));
    let good = [bed.token(), bed.authgear.opaque_token(&bed.alice)];
    let sessions = [
        bed.authgear.session(&bed.alice),
        bed.authgear.app_session(&bed.alice),
    ];
    let bad = bed
        .authgear
        .token(&bed.alice)
        .subject(&marked("sub"))
        .header("kid", marked("kid"));
    let bad = bad.sign(&bed.authgear.key());
    let mut secrets: Vec<String> = good.iter().chain(&sessions).cloned().collect();
    secrets.extend([
        bad.clone(),
        marked("opaque"),
        marked("session"),
        marked("kid"),
        marked("sub"),
        marked("path"),
    ]);
    secrets.extend(good[0].split('.').chain(bad.split('.')).map(str::to_owned));
    let mut replies = Vec::new();
    for path in ["/api", "/blog", "/public"] {
        for request in [
            bed.get(path).bearer(&good[0]),
            bed.get(path).bearer(&good[1]),
            bed.get(path).cookie(format!("session={}", sessions[0])),
            bed.get(path).cookie(format!("app_session={}", sessions[1])),
            bed.get(path)
                .cookie(format!("app_access_token={}", good[0])),
            bed.get(path).bearer(&bad),
            bed.get(path).bearer(marked("opaque")),
            bed.get(path).bearer(format!("{bad}.{bad}")),
            bed.get(path)
                .cookie(format!("session={}", marked("session"))),
            bed.get(path).cookie(format!(
                "session={}; session={}",
                marked("session"),
                sessions[0]
            )),
            bed.get(&format!("{path}/..%2f{}", marked("path")))
                .bearer(&good[0]),
        ] {
            let reply = request.send().await;
            if reply.status != 200 {
                replies.push(reply);
            }
        }
    }
    bed.authgear.fault(Endpoint::Resolver, Fault::Status(500));
    replies.push(bed.get("/api").cookie(bed.cookie()).send().await);
    assert!(replies.len() > 10);
    for reply in replies {
        let reported = format!("{:?} {}", reply.headers, reply.text());
        assert!(
            !secrets.iter().any(|secret| reported.contains(secret)),
            "{reported}"
        );
    }
    bed.envoy.wait_for_log("answered 401").await;
    // Envoy's own debug lines hold whole requests; the filter's are those of Wasm.
    let log = bed.envoy.logs();
    for line in log.lines().filter(|line| line.contains("[wasm]")) {
        assert!(
            !secrets.iter().any(|secret| line.contains(secret)),
            "{line}"
        );
    }
    bed.finish().await;
}
