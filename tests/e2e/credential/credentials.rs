//! What a client presents: one credential, read in one way, or a refusal. None of several is chosen.

use super::{assert_admitted, assert_refused};
use devkit::keys::User;
use devkit::testbed::{RESOLVER, TestBed};

#[tokio::test]
async fn a_scheme_is_read_in_any_case_and_followed_by_one_space() {
    let bed = TestBed::start().await;
    let token = bed.token();
    let with = |value: String| bed.get("/api").header("authorization", value);
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_admitted(&bed, scheme, with(format!("{scheme} {token}")), &bed.alice).await;
    }
    for value in [
        "Bearer".to_owned(),
        "bearer ".to_owned(),
        format!("Bearer  {token}"),
        format!("Bearer \t{token}"),
    ] {
        assert_refused(&bed, &value, with(value.clone()), 401, "invalid_token").await;
    }
    // Another scheme is no bearer token, good or bad.
    for value in [
        format!("Bearer\t{token}"),
        format!("Bearer\u{a0}{token}"),
        format!("Bearer{token}"),
        format!("Bearer:{token}"),
        format!("Bearers {token}"),
        format!("Basic {token}"),
        format!("DPoP {token}"),
        format!("Token {token}"),
        format!("JWT {token}"),
        token.clone(),
        String::new(),
        "Basic YTpi".to_owned(),
        "Negotiate".to_owned(),
    ] {
        assert_refused(&bed, &value, with(value.clone()), 401, "unauthenticated").await;
        // The session beside it is the only credential then.
        let request = with(value.clone()).cookie(bed.cookie());
        assert_admitted(&bed, &value, request, &bed.alice).await;
    }
    // The resolver received sessions only.
    for call in bed.authgear.calls_to(RESOLVER) {
        assert_eq!(call.header("authorization"), None, "{call:#?}");
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_token_elsewhere_is_no_credential() {
    let bed = TestBed::start().await;
    let token = bed.token();
    let bearer = format!("Bearer {token}");
    for (what, request) in [
        ("query", bed.get(&format!("/api?access_token={token}"))),
        (
            "form",
            bed.post("/api")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("access_token={token}")),
        ),
        (
            "Proxy-Authorization",
            bed.get("/api").header("proxy-authorization", &bearer),
        ),
        (
            "X-Authorization",
            bed.get("/api").header("x-authorization", &bearer),
        ),
        (
            "Authorization-",
            bed.get("/api").header("authorization-", &bearer),
        ),
        (
            "X-Forwarded-Authorization",
            bed.get("/api").header("x-forwarded-authorization", &bearer),
        ),
        (
            "X-Access-Token",
            bed.get("/api").header("x-access-token", &token),
        ),
        (
            "Sec-WebSocket-Protocol",
            bed.get("/api")
                .header("sec-websocket-protocol", format!("bearer, {token}")),
        ),
        (
            "a cookie of another name",
            bed.get("/api").cookie(format!("access_token={token}")),
        ),
    ] {
        assert_refused(&bed, what, request, 401, "unauthenticated").await;
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_token_in_a_header_is_the_only_credential() {
    let bed = TestBed::start().await;
    let bob = bed.authgear.add_user(User::new("bob"));
    let cookie = format!("session={}", bed.authgear.session(&bob));
    let with = |token: &str| bed.get("/api").bearer(token).cookie(&cookie);
    assert_admitted(&bed, "alice's token", with(&bed.token()), &bed.alice).await;
    let expired = bed
        .authgear
        .token(&bed.alice)
        .expires_in(-3_600)
        .sign(&bed.authgear.key());
    for (what, token) in [
        ("expired", expired),
        ("unsigned", bed.authgear.token(&bed.alice).unsigned("none")),
        ("garbage", "garbage".to_owned()),
        ("nothing", String::new()),
    ] {
        assert_refused(&bed, what, with(&token), 401, "invalid_token").await;
    }
    assert_eq!(bed.resolver_calls(), 0);
    // An opaque one goes to the resolver alone, which would otherwise fall back to the cookie.
    let opaque = bed.authgear.opaque_token(&bed.alice);
    assert_admitted(&bed, "opaque", with(&opaque), &bed.alice).await;
    assert_refused(&bed, "unknown", with(&"a".repeat(32)), 401, "invalid_token").await;
    for call in bed.authgear.calls_to(RESOLVER) {
        assert_eq!(call.header("cookie"), None, "{call:#?}");
    }
    bed.finish().await;
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_in_a_header_for_tokens_are_a_bad_token() {
    let bed = TestBed::builder()
        .project(|project| {
            project["jwt"] = serde_json::json!({ "headers": [{ "name": "x-token" }] })
        })
        .start()
        .await;
    let token = bed.token();
    for bytes in [&b"\xa1"[..], b"\xff\xfe", b"\xc0\xaf", b"a\xe9b"] {
        let what = format!("{bytes:?}");
        for value in [bytes.to_vec(), [token.as_bytes(), bytes].concat()] {
            let request = bed.get("/api").header("x-token", value);
            assert_refused(&bed, &what, request, 401, "invalid_token").await;
        }
        let request = bed.get("/api").header("x-token", &token);
        assert_admitted(&bed, &what, request, &bed.alice).await;
        // One that names a header to be taken away, as no reader can read it.
        let head = b"GET /api HTTP/1.1\r\nhost: app.example.com\r\nx-token: ";
        let request = [
            &head[..],
            token.as_bytes(),
            b"\r\nconnection: ",
            bytes,
            b", x-authgear-user-id\r\n\r\n",
        ];
        let reply = bed.raw(request.concat()).await;
        assert!(matches!(reply.status, 200 | 400), "{what}: {reply:?}");
        for seen in bed.forwarded() {
            assert_eq!(seen.identity(), bed.alice.headers(), "{what}");
        }
        bed.backend.clear();
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_trap_nobody() {
    let bed = TestBed::start().await;
    let token = bed.token();
    for bytes in [&b"\xa1"[..], b"\xff\xfe", b"\xc0\xaf", b"a\xe9b"] {
        for name in [
            "user-agent",
            "referer",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-request-id",
            "content-type",
            "accept",
            "x-anything",
            "origin",
            "te",
            "x-authgear-user-id",
        ] {
            let what = format!("{name}: {bytes:?}");
            let by_token = bed.get("/api").header(name, bytes).bearer(&token);
            assert_admitted(&bed, &what, by_token, &bed.alice).await;
            // A session that is not cached, so that the resolver is called with what is left of it.
            let by_session = bed.get("/api").header(name, bytes).cookie(bed.cookie());
            assert_admitted(&bed, &what, by_session, &bed.alice).await;
            assert_refused(
                &bed,
                &what,
                bed.get("/api").header(name, bytes),
                401,
                "unauthenticated",
            )
            .await;
        }
        bed.authgear.clear_calls();
        let what = format!("{bytes:?}");
        let with = |value: &[u8]| {
            bed.get("/api")
                .header("authorization", [value, bytes].concat())
        };
        assert_refused(&bed, &what, with(b"Bearer "), 401, "invalid_token").await;
        assert_refused(&bed, &what, with(b""), 401, "unauthenticated").await;
        assert_refused(&bed, &what, with(b"Bearer"), 401, "unauthenticated").await;
        for line in [
            &b"session="[..],
            b"session=abc",
            b"app_access_token=a.b.",
            b"",
            b"a=b; ",
        ] {
            let request = bed.get("/api").cookie([line, bytes].concat());
            assert_refused(&bed, &what, request, 401, "unauthenticated").await;
        }
        let calls = bed.authgear.calls_to(RESOLVER);
        assert!(calls.is_empty(), "{what}: {calls:#?}");
        // Beside a good cookie they do no harm.
        let request = bed
            .get("/api")
            .cookie([b"a=", bytes, b"; ", bed.cookie().as_bytes()].concat());
        assert_admitted(&bed, &what, request, &bed.alice).await;
        let host = [b"GET /api HTTP/1.1\r\nhost: ", bytes, b"\r\n\r\n"].concat();
        let reply = bed.raw(host).await;
        assert!(
            matches!(reply.status, 0 | 400 | 401),
            "host {what}: {reply:?}"
        );
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_header_that_http_forbids_reaches_nobody() {
    let bed = TestBed::start().await;
    let token = bed.token();
    for (what, line) in [
        (
            "folded after another",
            format!("authorization: Bearer x\r\n Bearer {token}"),
        ),
        ("a NUL", format!("authorization: Bearer {token}\0")),
        (
            "a bare CR",
            format!("authorization: Bearer {token}\rx-a: b"),
        ),
        (
            "a space before the colon",
            format!("authorization : Bearer {token}"),
        ),
        ("no name", format!(": Bearer {token}")),
        (
            "both lengths",
            format!(
                "authorization: Bearer {token}\r\ncontent-length: 3\r\ntransfer-encoding: chunked"
            ),
        ),
        (
            "two lengths",
            format!("authorization: Bearer {token}\r\ncontent-length: 3\r\ncontent-length: 4"),
        ),
    ] {
        let reply = bed
            .raw(format!(
                "GET /api HTTP/1.1\r\nhost: app\r\n{line}\r\n\r\nabc"
            ))
            .await;
        assert!(matches!(reply.status, 0 | 400 | 401), "{what}: {reply:?}");
        bed.assert_nothing_forwarded();
    }
    // Envoy unfolds a header (RFC 9112 §5.2): the backend sees the one value that was judged.
    let folded = format!("authorization: Bearer\r\n {token}");
    let reply = bed
        .raw(format!(
            "GET /api HTTP/1.1\r\nhost: app\r\n{folded}\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let seen = bed.only_forwarded();
    assert_eq!(
        seen.header("authorization"),
        Some(format!("Bearer {token}"))
    );
    assert_eq!(seen.identity(), bed.alice.headers());
    bed.finish().await;
}
