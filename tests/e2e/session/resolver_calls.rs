//! What the resolver is sent: an allow-list, and nothing of the client's request beyond it.

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::client::Request;
use devkit::message::Recorded;
use devkit::testbed::{Builder, RESOLVER, TestBed};

/// The example of W3C Trace Context.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Envoy at the edge: it trusts nobody's `x-forwarded-for`.
fn at_the_edge() -> Builder {
    TestBed::builder().envoy(|envoy| {
        envoy.manager(|manager| manager["use_remote_address"] = serde_json::json!(true))
    })
}

/// Everything that a client can send in the hope that it is passed on.
fn dressed_up(request: Request) -> Request {
    request
        .body("a=1&access_token=secret")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-forwarded-host", "evil.example.com")
        .header("x-forwarded-proto", "http")
        .header("x-forwarded-port", "1")
        .header("x-forwarded-prefix", "/evil")
        .header("x-original-host", "evil.example.com")
        .header("x-original-proto", "http")
        .header("x-original-for", "6.6.6.6")
        .header("x-original-url", "/evil")
        .header("x-real-ip", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6;host=evil.example.com;proto=http")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-authgear-user-id", "mallory")
        .header("x-http-method-override", "DELETE")
        .header("proxy-authorization", "Basic eDp5")
        .header("accept-language", "de")
        .header("referer", "https://app.example.com/secret")
        .header("x-mine", "1")
        .header("x-request-id", "mine")
        .header("tracestate", "mine=1")
        .header("baggage", "mine=1")
        .header("user-agent", "Browser/1.0")
        .host("app.example.com")
}

fn names(call: &Recorded) -> Vec<&str> {
    let mut names: Vec<_> = call.headers.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}

fn assert_addressed_to_authgear(call: &Recorded) {
    assert_eq!(
        (call.method.as_str(), call.target.as_str()),
        ("GET", RESOLVER)
    );
    assert_eq!(call.authority, "auth.example.com");
    let header = |name| call.header(name).unwrap_or_default();
    assert_eq!(header("x-forwarded-host"), "auth.example.com");
    assert_eq!(header("x-forwarded-proto"), "https");
    assert_eq!(header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(header("user-agent"), "Browser/1.0");
}

#[tokio::test]
async fn of_a_request_with_cookies_only_the_projects_cookies_go_to_the_resolver() {
    let bed = at_the_edge().start().await;
    let (session, app) = (bed.cookie(), bed.authgear.app_session(&bed.alice));
    let request = dressed_up(bed.post("/api/me?next=/resolve"))
        .cookie(format!("theme=dark; {session}; csrf=1"))
        .cookie(format!("app_session={app}; app_session.sig=2"));

    assert_eq!(request.send().await.status, 200);

    let call = bed.authgear.calls_to(RESOLVER).remove(0);
    let expected = [
        "cookie",
        "host",
        "user-agent",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-internal",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(names(&call), expected, "{call:#?}");
    assert_addressed_to_authgear(&call);
    assert_eq!(
        call.header("cookie"),
        Some(format!("{session}; app_session={app}"))
    );
    let forwarded = bed.only_forwarded();
    assert_eq!(&forwarded.body[..], b"a=1&access_token=secret");
    bed.finish().await;
}

#[tokio::test]
async fn of_a_request_with_an_opaque_token_only_the_token_goes_to_the_resolver() {
    let bed = at_the_edge().start().await;
    let token = bed.authgear.opaque_token(&bed.alice);
    let request = dressed_up(bed.post("/api/me"))
        .header("authorization", format!("bEaReR {token}"))
        .cookie(bed.cookie());

    assert_eq!(request.send().await.status, 200);

    let call = bed.authgear.calls_to(RESOLVER).remove(0);
    let expected = [
        "authorization",
        "host",
        "user-agent",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-internal",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(names(&call), expected, "{call:#?}");
    assert_addressed_to_authgear(&call);
    assert_eq!(
        call.header("authorization"),
        Some(format!("Bearer {token}"))
    );
    bed.finish().await;
}

#[tokio::test]
async fn the_trace_of_the_request_goes_on_to_its_call_and_to_no_other() {
    let bed = TestBed::builder()
        .session(serde_json::json!({ "ttl": "0s" }))
        .start()
        .await;
    let traced = |trace: &str| {
        bed.get("/")
            .cookie(bed.cookie())
            .header("traceparent", trace)
    };
    assert_eq!(traced(TRACE).send().await.status, 200);
    assert_eq!(traced(&TRACE.to_uppercase()).send().await.status, 200);
    let calls = bed.authgear.calls_to(RESOLVER);
    let traces: Vec<_> = calls
        .iter()
        .map(|call| call.header("traceparent"))
        .collect();
    assert_eq!(traces, [Some(TRACE.to_owned()), None]);

    // What may be the client's doing is asked again without what it chose.
    bed.authgear.clear_calls();
    bed.authgear.fault_next(1, Resolver, Fault::Status(403));
    assert_eq!(traced(TRACE).send().await.status, 200);
    let calls = bed.authgear.calls_to(RESOLVER);
    let traces: Vec<_> = calls
        .iter()
        .map(|call| call.header("traceparent"))
        .collect();
    assert_eq!(traces, [Some(TRACE.to_owned()), None]);
    bed.finish().await;
}

#[tokio::test]
async fn another_scheme_beside_a_session_stays_here() {
    let bed = TestBed::start().await;
    let request = bed
        .get("/api/me")
        .header("authorization", "Basic eDp5")
        .cookie(bed.cookie());
    assert_eq!(request.send().await.status, 200);
    let call = bed.authgear.calls_to(RESOLVER).remove(0);
    assert!(!call.headers.has("authorization"), "{call:#?}");
    bed.finish().await;
}

#[tokio::test]
async fn bytes_that_a_call_cannot_carry_stay_here() {
    let bed = TestBed::start().await;
    let session = bed.cookie();
    let request = bed
        .get("/api/me")
        .header("user-agent", b"\xa1gent")
        .header("referer", b"\xff\xfe")
        .cookie([b"junk=\xa1; ".as_slice(), session.as_bytes()].concat());
    assert_eq!(request.send().await.status, 200);
    let call = bed.authgear.calls_to(RESOLVER).remove(0);
    assert_eq!(call.header("cookie"), Some(session));
    assert!(!call.headers.has("user-agent"), "{call:#?}");

    let reply = bed.get("/api/me").cookie(b"session=\xa1").send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(bed.resolver_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn the_resolver_may_live_in_a_cluster_of_its_own() {
    let resolver = devkit::authgear::FakeAuthgear::start(devkit::authgear::Options {
        origin: Some(devkit::testbed::ORIGIN.to_owned()),
        ..Default::default()
    })
    .await;
    let address = resolver.address();
    let bed = TestBed::builder()
        .project(|project| project["session"] = serde_json::json!({ "cluster": "resolver" }))
        .envoy(move |envoy| envoy.cluster("resolver", &[address]))
        .start()
        .await;
    let session = resolver.session(&bed.alice);
    let reply = bed
        .get("/api/me")
        .cookie(format!("session={session}"))
        .send()
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(resolver.calls().len(), 1);
    assert!(bed.authgear.calls_to(RESOLVER).is_empty());
    bed.finish().await;
}
