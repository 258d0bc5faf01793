//! Answers of the resolver that are not as the contract has them: nothing is read into them.

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::message::{CannedResponse, Reply};
use devkit::testbed::TestBed;
use serde_json::json;

const ID: &str = "e3079029-f123-4c56-80c1-c2cd63a5b6af";

async fn bed() -> TestBed {
    TestBed::builder()
        .project(|project| {
            project["session"] = json!({ "ttl": "0s", "negative_ttl": "0s", "timeout": "5s" });
        })
        .start()
        .await
}

/// A session of [`ID`], as the resolver reports it.
fn valid() -> CannedResponse {
    with_status(200)
}

fn with_status(status: u16) -> CannedResponse {
    CannedResponse::status(status)
        .header("x-authgear-session-valid", "true")
        .header("x-authgear-user-id", ID)
        .header("x-authgear-user-anonymous", "false")
        .header("x-authgear-user-verified", "true")
        .header("x-authgear-user-can-reauthenticate", "true")
        .header("x-authgear-session-amr", "pwd")
}

/// The same with one header instead of another, or without it.
fn but(name: &str, value: Option<&[u8]>) -> CannedResponse {
    let mut answer = valid();
    answer.headers.retain(|(other, _)| other != name);
    value
        .into_iter()
        .fold(answer, |answer, value| answer.header(name, value))
}

async fn reported(bed: &TestBed, fault: Fault) -> Reply {
    bed.authgear.fault(Resolver, fault);
    bed.backend.clear();
    bed.get("/api/me").cookie(bed.cookie()).send().await
}

async fn assert_unavailable(bed: &TestBed, name: &str, fault: Fault) {
    let reply = reported(bed, fault).await;
    assert_eq!(reply.status, 503, "{name}: {reply:?}");
    assert_eq!(reply.json()["code"], "unavailable", "{name}: {reply:?}");
    assert!(reply.headers.has("retry-after"), "{name}: {reply:?}");
    bed.assert_nothing_forwarded();
}

#[tokio::test]
async fn an_answer_that_says_no_is_a_no_whatever_else_it_says() {
    let bed = bed().await;
    let no = but("x-authgear-session-valid", Some(b"false"));
    let reply = reported(&bed, Fault::Custom(no)).await;
    assert_eq!(reply.status, 401, "{reply:?}");
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

/// Another server, or a page in front of it: everybody would be logged out, without a line.
#[tokio::test]
async fn a_resolver_that_is_none_logs_nobody_out_and_is_named_in_the_log() {
    let bed = bed().await;
    let silent = but("x-authgear-session-valid", None);
    let json = CannedResponse::status(200).header("content-type", "application/json");
    for (name, answer) in [
        ("nothing at all", CannedResponse::status(200)),
        ("everything but the verdict", silent),
        ("a login page", CannedResponse::html("<form>")),
        ("another service", json.body(r#"{"status":"ok"}"#)),
        ("a yes with a page", valid().body("<form>")),
        ("a yes with a long page", valid().body("x".repeat(100_000))),
    ] {
        assert_unavailable(&bed, name, Fault::Custom(answer)).await;
    }
    let line = bed
        .envoy
        .wait_for_log("not as Authgear's resolver does")
        .await;
    for part in ["cluster \"authgear\"", "\"session.path\""] {
        assert!(line.contains(part), "{line}");
    }
    bed.finish().await;
}

#[tokio::test]
async fn an_unclear_answer_is_neither_valid_nor_invalid() {
    let bed = bed().await;
    let verdict = "x-authgear-session-valid";
    let id = "x-authgear-user-id";
    let cases: Vec<(&str, CannedResponse)> = vec![
        ("in capitals", but(verdict, Some(b"TRUE"))),
        ("as a number", but(verdict, Some(b"1"))),
        ("as a word", but(verdict, Some(b"yes"))),
        ("empty", but(verdict, Some(b""))),
        ("as a list", but(verdict, Some(b"true,false"))),
        ("quoted", but(verdict, Some(b"\"true\""))),
        ("in bytes", but(verdict, Some(b"true\xa0"))),
        ("twice", valid().header(verdict, "true")),
        ("and a no", valid().header(verdict, "false")),
        ("no user ID", but(id, None)),
        ("an empty user ID", but(id, Some(b""))),
        ("two user IDs", valid().header(id, "mallory")),
        ("the same user ID twice", valid().header(id, ID)),
        ("a user ID in bytes", but(id, Some(b"\xa1\xff"))),
        ("a user ID with a space", but(id, Some(b"a b"))),
        ("a user ID with a tab", but(id, Some(b"a\tb"))),
        ("a long user ID", but(id, Some(&[b'a'; 1_000]))),
    ];
    for (name, answer) in cases {
        assert_unavailable(&bed, name, Fault::Custom(answer)).await;
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_malformed_header_is_not_passed_on() {
    let bed = bed().await;
    let cases: Vec<(&str, CannedResponse)> = vec![
        (
            "an odd boolean",
            but("x-authgear-user-verified", Some(b"TRUE")),
        ),
        (
            "a number for a boolean",
            but("x-authgear-user-anonymous", Some(b"0")),
        ),
        (
            "an empty boolean",
            but("x-authgear-user-can-reauthenticate", Some(b"")),
        ),
        (
            "a boolean twice",
            valid().header("x-authgear-user-verified", "false"),
        ),
        (
            "roles twice",
            valid()
                .header("x-authgear-user-roles", "a")
                .header("x-authgear-user-roles", "b"),
        ),
        (
            "an empty role",
            valid().header("x-authgear-user-roles", "a,,b"),
        ),
        (
            "a role in bytes",
            valid().header("x-authgear-user-roles", b"\xe4"),
        ),
        (
            "a role with a space",
            valid().header("x-authgear-user-roles", "a, admin"),
        ),
        (
            "too many roles",
            valid().header("x-authgear-user-roles", "r,".repeat(10_000) + "r"),
        ),
        ("AMR in bytes", but("x-authgear-session-amr", Some(b"\xa0"))),
        ("AMR twice", valid().header("x-authgear-session-amr", "otp")),
        (
            "a time in words",
            valid().header("x-authgear-session-authenticated-at", "now"),
        ),
        (
            "a time before 1970",
            valid().header("x-authgear-session-authenticated-at", "-1"),
        ),
        (
            "a fraction of a time",
            valid().header("x-authgear-session-authenticated-at", "1.5"),
        ),
        (
            "times",
            valid()
                .header("x-authgear-session-authenticated-at", "1")
                .header("x-authgear-session-authenticated-at", "2"),
        ),
    ];
    for (name, answer) in cases {
        assert_unavailable(&bed, name, Fault::Custom(answer)).await;
    }
    bed.finish().await;
}

#[tokio::test]
async fn what_authgear_left_out_in_older_days_is_read_as_it_reads_it_itself() {
    let bed = bed().await;
    let oldest = CannedResponse::status(200)
        .header("x-authgear-session-valid", "true")
        .header("x-authgear-user-id", ID);
    assert_eq!(reported(&bed, Fault::Custom(oldest)).await.status, 200);
    let expected = [
        ("x-authgear-session-amr", ""),
        ("x-authgear-session-valid", "true"),
        ("x-authgear-user-anonymous", "false"),
        ("x-authgear-user-can-reauthenticate", "false"),
        ("x-authgear-user-id", ID),
        ("x-authgear-user-verified", "false"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(bed.only_forwarded().identity(), expected);
    bed.finish().await;
}

#[tokio::test]
async fn authentication_methods_go_on_as_they_are_in_the_form_of_the_code_and_of_the_specification()
{
    let bed = bed().await;
    for methods in ["pwd mfa otp", "pwd,mfa,otp", ""] {
        let answer = but("x-authgear-session-amr", Some(methods.as_bytes()));
        let reply = reported(&bed, Fault::Custom(answer)).await;
        assert_eq!(reply.status, 200, "{methods}: {reply:?}");
        let forwarded = bed.only_forwarded();
        assert_eq!(
            forwarded.header("x-authgear-session-amr").as_deref(),
            Some(methods)
        );
    }
    bed.finish().await;
}

#[tokio::test]
async fn only_the_known_headers_of_an_answer_are_forwarded() {
    let bed = bed().await;
    let talkative = valid()
        .header("authorization", "Bearer of-the-resolver")
        .header("cookie", "of=the-resolver")
        .header("set-cookie", "session=; Path=/")
        .header("x-admin", "1")
        .header("x-forwarded-user", "root")
        .header("x-authgear-session-acr", "2")
        .header("x-authgear-user-email", "root@example.com")
        .header("location", "https://evil.example.com");
    let plain = but("none", None);
    let mut seen = Vec::new();
    for answer in [talkative, plain] {
        let session = bed.cookie();
        bed.backend.clear();
        bed.authgear.fault(Resolver, Fault::Custom(answer));
        let reply = bed.get("/api/me").cookie(&session).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(!reply.headers.has("set-cookie"), "{reply:?}");
        let forwarded = bed.only_forwarded();
        assert_eq!(forwarded.header("x-authgear-user-id").as_deref(), Some(ID));
        assert_eq!(forwarded.identity().len(), 6, "{forwarded:?}");
        assert_eq!(forwarded.header("cookie"), Some(session));
        assert_eq!(forwarded.authority, bed.envoy.address().to_string());
        let mut names: Vec<_> = forwarded
            .headers
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        names.sort();
        seen.push((names, forwarded.identity()));
    }
    assert_eq!(seen[0], seen[1]);
    bed.finish().await;
}

#[tokio::test]
async fn only_200_is_an_answer() {
    let bed = bed().await;
    for status in [
        201, 202, 204, 205, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 407,
        408, 410, 418, 429, 500, 501, 502, 503, 504, 599,
    ] {
        let answer = with_status(status).header("location", "http://127.0.0.1:1/");
        assert_unavailable(&bed, &status.to_string(), Fault::Custom(answer)).await;
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_resolver_that_is_somewhere_else_is_not_followed_there() {
    // As Authgear answers to a trailing slash, and to a tenant that it does not know.
    for (path, origin) in [
        ("/_resolver/resolve/", devkit::testbed::ORIGIN),
        ("/_resolver/resolve", "https://other.example.com"),
        ("/no/such/path", devkit::testbed::ORIGIN),
    ] {
        let bed = TestBed::builder()
            .project(|project| project["session"] = json!({ "path": path }))
            .start()
            .await;
        // The call names that origin, too.
        bed.keys_are_there().await;
        bed.authgear
            .configure(|settings| origin.clone_into(&mut settings.origin));
        let reply = bed.get("/api/me").cookie(bed.cookie()).send().await;
        assert_eq!(reply.status, 503, "{path} of {origin}: {reply:?}");
        bed.assert_nothing_forwarded();
        // What tells an operator: this statistic alone.
        bed.wait_for_count(
            "authgear_requests_refused_resolver_unavailable_total",
            |refused| refused == 1,
        )
        .await;
        assert_eq!(bed.count("authgear_resolver_breakers_open").await, 0);
        let ready = bed.count("authgear_workers_ready").await;
        assert_eq!(ready, bed.count("authgear_workers").await);
        bed.authgear
            .configure(|settings| devkit::testbed::ORIGIN.clone_into(&mut settings.origin));
        bed.finish().await;
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let bed = bed().await;
    let valid_headers = "x-authgear-session-valid: true\r\nx-authgear-user-id: a\r\n";
    let cases: Vec<(&str, String)> = vec![
        ("another protocol", "SSH-2.0-OpenSSH\r\n".to_owned()),
        ("nothing", String::new()),
        ("half a head", format!("HTTP/1.1 200 OK\r\n{valid_headers}")),
        ("a broken status", format!("HTTP/1.1 OK\r\n{valid_headers}\r\n")),
        ("a switch of protocols", format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\n{valid_headers}\r\n")),
        ("NUL in a value", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-authgear-session-valid: true\r\nx-authgear-user-id: a\0b\r\n\r\n".to_owned()),
        ("a lone CR in a value", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-authgear-session-valid: true\r\nx-authgear-user-id: a\rx-authgear-user-roles: admin\r\n\r\n".to_owned()),
        ("a short body", format!("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n{valid_headers}\r\nabc")),
        ("a broken chunk", format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{valid_headers}\r\nzz\r\n")),
        ("headers without end", format!("HTTP/1.1 200 OK\r\n{valid_headers}x-long: {}\r\n\r\n", "a".repeat(100_000))),
        ("headers without number", format!("HTTP/1.1 200 OK\r\n{valid_headers}{}\r\n", "x: y\r\n".repeat(5_000))),
    ];
    for (name, bytes) in cases {
        assert_unavailable(&bed, name, Fault::Raw(bytes.into())).await;
    }
    bed.finish().await;
}
