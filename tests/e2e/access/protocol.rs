//! Requests that are more than a method and a path: preflights, WebSockets, messages of which two readers see another end.

use devkit::client::Request;
use devkit::testbed::{Builder, ORIGIN, TestBed};
use serde_json::json;

fn fixture() -> Builder {
    TestBed::builder().rules(json!([
        { "match": { "path_prefix": "/public" }, "require": "none" },
        { "match": { "path": "/preflighted", "methods": ["OPTIONS"] }, "require": "none" },
    ]))
}

const PREFLIGHT: [(&str, &str); 3] = [
    ("origin", "https://page.example.com"),
    ("access-control-request-method", "GET"),
    ("access-control-request-headers", "authorization"),
];

fn with(request: Request, headers: &[(&str, &str)]) -> Request {
    let all = headers.iter();
    all.fold(request, |request, (name, value)| {
        request.header(name, value)
    })
}

#[tokio::test]
async fn a_preflight_is_judged_as_any_request_is() {
    let bed = fixture().start().await;
    let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")];
    for (what, method, headers) in [
        ("without its headers", "OPTIONS", vec![]),
        ("whole", "OPTIONS", PREFLIGHT.to_vec()),
        ("half", "OPTIONS", PREFLIGHT[..1].to_vec()),
        ("GET", "GET", PREFLIGHT.to_vec()),
        ("POST", "POST", PREFLIGHT.to_vec()),
        (
            "with an upgrade",
            "OPTIONS",
            [&PREFLIGHT[..], &upgrade].concat(),
        ),
    ] {
        for path in ["/api", "/preflighted/more"] {
            let reply = with(bed.request(method, path), &headers).send().await;
            assert_eq!(reply.status, 401, "{what}: {reply:?}");
            let named = reply.headers.starting_with("access-control");
            assert_eq!(named, [], "{what}: {reply:?}");
            bed.assert_nothing_forwarded();
        }
    }
    let forged = with(bed.request("OPTIONS", "/preflighted"), &PREFLIGHT)
        .header("x-authgear-user-id", "mallory")
        .header("x-authgear-session-valid", "true");
    assert_eq!(forged.send().await.status, 200);
    assert_eq!(bed.only_forwarded().identity(), Vec::new());
    bed.backend.clear();
    let reply = with(bed.get("/preflighted"), &PREFLIGHT).send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn a_websocket_is_opened_only_for_a_user() {
    let bed = fixture().start().await;
    let upgrade = |path: &str, credential: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: app\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{credential}\r\n"
        )
    };
    let token = bed.token();
    let machine = bed.authgear.machine_token(ORIGIN, "batch");
    for (what, credential, status) in [
        ("nobody", String::new(), 401),
        (
            "garbage",
            "authorization: Bearer garbage\r\n".to_owned(),
            401,
        ),
        ("a dead session", "cookie: session=dead\r\n".to_owned(), 401),
        (
            "a machine",
            format!("authorization: Bearer {machine}\r\n"),
            403,
        ),
        (
            "a token in the subprotocol",
            format!("sec-websocket-protocol: bearer, {token}\r\n"),
            401,
        ),
    ] {
        // A frame that does not wait for the answer.
        let early = upgrade("/chat", &credential) + "\u{1}\u{2}GET /api HTTP/1.1\r\n\r\n";
        for request in [upgrade("/chat", &credential), early] {
            let reply = bed.raw(&request).await;
            assert_eq!(reply.status, status, "{what}: {reply:?}");
            bed.assert_nothing_forwarded();
        }
    }
    for (what, path, credential, identity) in [
        (
            "a token",
            "/chat",
            format!("authorization: Bearer {token}\r\n"),
            bed.alice.headers(),
        ),
        (
            "a session",
            "/chat",
            format!("cookie: {}\r\n", bed.cookie()),
            bed.alice.headers(),
        ),
        ("public", "/public/chat", String::new(), Vec::new()),
    ] {
        let reply = bed.raw(&upgrade(path, &credential)).await;
        assert_eq!(reply.status, 101, "{what}: {reply:?}");
        assert_eq!(bed.only_forwarded().identity(), identity, "{what}");
        bed.backend.clear();
    }
    bed.finish().await;
}

/// RFC 8441. Envoy shows it to filters, and to the backend, as the upgrade that it would be in HTTP/1.1.
#[tokio::test]
async fn a_websocket_over_http_2_is_opened_only_for_a_user() {
    let bed = fixture()
        .envoy(|envoy| {
            envoy.manager(|manager| {
                manager["http2_protocol_options"] = json!({ "allow_connect": true });
            })
        })
        .start()
        .await;
    let open = |path: &str| {
        let request = bed.get(path).connect_to("websocket");
        request.header("sec-websocket-version", "13")
    };
    let machine = bed.authgear.machine_token(ORIGIN, "batch");
    for (what, request, status) in [
        ("nobody", open("/chat"), 401),
        ("garbage", open("/chat").bearer("garbage"), 401),
        ("a dead session", open("/chat").cookie("session=dead"), 401),
        ("a machine", open("/chat").bearer(machine), 403),
        ("another reading", open("/public/..%2fchat"), 400),
        ("dot segments", open("/public/../chat"), 400),
    ] {
        let reply = request.send().await;
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        bed.assert_nothing_forwarded();
    }
    for (path, request, identity) in [
        (
            "/chat",
            open("/chat").bearer(bed.token()),
            bed.alice.headers(),
        ),
        (
            "/chat",
            open("/chat").cookie(bed.cookie()),
            bed.alice.headers(),
        ),
        ("/public/chat", open("/public/chat"), Vec::new()),
    ] {
        let opened = request.header("x-authgear-user-id", "mallory").start();
        bed.backend.wait_for(path, 1).await;
        assert_eq!(bed.only_forwarded().identity(), identity, "{path}");
        bed.backend.clear();
        opened.disconnect().await;
    }
    bed.finish().await;
}

/// Envoy refuses these before any filter sees them, and this test notices should that change.
#[tokio::test]
async fn a_message_of_which_two_readers_see_another_end_goes_nowhere() {
    let bed = fixture().start().await;
    let smuggled = "GET /api HTTP/1.1\r\nhost: app\r\nx-authgear-user-id: mallory\r\n\r\n";
    let length = smuggled.len() + 5;
    for (what, framing) in [
        (
            "both",
            format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        ),
        (
            "both, the other way round",
            format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
        ),
        (
            "two lengths",
            format!("content-length: 0\r\ncontent-length: {length}\r\n"),
        ),
        (
            "a list of lengths",
            format!("content-length: 0, {length}\r\n"),
        ),
        (
            "an unknown coding",
            "transfer-encoding: xchunked\r\n".to_owned(),
        ),
        (
            "a coding that is not the last",
            "transfer-encoding: chunked, identity\r\n".to_owned(),
        ),
        (
            "a coding twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n".to_owned(),
        ),
        ("a signed length", format!("content-length: +{length}\r\n")),
    ] {
        let head = format!("POST /api HTTP/1.1\r\nhost: app\r\n{framing}\r\n");
        let reply = bed.raw(format!("{head}0\r\n\r\n{smuggled}")).await;
        assert!((400..=501).contains(&reply.status), "{what}: {reply:?}");
        assert_ne!(reply.status, 401, "{what}: Envoy has let it to the filter");
        bed.assert_nothing_forwarded();
    }
    bed.finish().await;
}
