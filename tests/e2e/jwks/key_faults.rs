//! Without keys nobody is let in and nobody is called unauthenticated: 503, a cause in the log, and recovery by itself.

use std::time::{Duration, Instant};

use devkit::authgear::Endpoint::Jwks;
use devkit::authgear::{FakeAuthgear, Fault};
use devkit::client::Request;
use devkit::keys::Token;
use devkit::message::{CannedResponse, Reply};
use devkit::testbed::{JWKS, ORIGIN, TestBed, closed_port};
use devkit::wait::{DEADLINE, until};
use serde_json::json;

const FETCHES_FAILED: &str = "authgear_jwks_fetch_failures_total";
const AGE: &str = "authgear_jwks_age_seconds";

/// A token that is valid whatever origin the fake Authgear has at the moment.
fn token(bed: &TestBed) -> String {
    Token::user(ORIGIN, &bed.alice).sign(&bed.authgear.key())
}

fn request(bed: &TestBed) -> Request {
    bed.get("/api/me").bearer(token(bed))
}

async fn ask(bed: &TestBed) -> Reply {
    request(bed).send().await
}

fn assert_unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.json()["code"], "unavailable", "{reply:?}");
    let seconds = reply.header("retry-after").expect("Retry-After");
    let seconds: u64 = seconds.parse().expect("whole seconds");
    assert!((1..=600).contains(&seconds), "{reply:?}");
    assert!(!reply.headers.has("www-authenticate"), "{reply:?}");
}

/// There are no keys from the start, for this cause; they are fetched once it is removed.
async fn no_keys_until(
    broken: impl FnOnce(&FakeAuthgear) + Send + 'static,
    cause: &str,
    mended: impl FnOnce(&FakeAuthgear),
) {
    let bed = TestBed::builder()
        .jwks(json!({ "timeout": "1s" }))
        .prepare(broken)
        .start()
        .await;

    assert_unavailable(&ask(&bed).await);
    let in_a_cookie = format!("app_access_token={}", token(&bed));
    assert_unavailable(&bed.get("/api/me").cookie(in_a_cookie).send().await);
    bed.assert_nothing_forwarded();
    // No alert on the age can fire.
    assert_eq!(bed.count(AGE).await, 0);
    let line = bed.envoy.wait_for_log(cause).await;
    assert!(line.contains("https://auth.example.com: JWKS: "), "{line}");
    assert_eq!(bed.get("/api/me").send().await.status, 401);

    mended(&bed.authgear);
    bed.until_status(200, || request(&bed)).await;
    bed.finish().await;
}

/// As [`no_keys_until`], of an answer of the JWKS endpoint.
async fn no_keys_while(fault: Fault, cause: &str) {
    let broken = |authgear: &FakeAuthgear| authgear.fault(Jwks, fault);
    no_keys_until(broken, cause, FakeAuthgear::clear_faults).await;
}

fn document(body: &[u8]) -> Fault {
    let answer = CannedResponse::status(200).header("content-type", "application/json");
    Fault::Custom(answer.body(body.to_vec()))
}

#[tokio::test]
async fn keys_that_never_come() {
    no_keys_while(Fault::Hang, "answered with status 504").await;
}

#[tokio::test]
async fn keys_that_drip() {
    let drip = Fault::Drip(Duration::from_millis(100));
    no_keys_while(drip, "no answer from the cluster").await;
}

#[tokio::test]
async fn keys_that_are_cut_off() {
    no_keys_while(Fault::Truncate, "JWKS: ").await;
}

#[tokio::test]
async fn keys_that_end_in_a_reset() {
    no_keys_while(Fault::Reset, "answered with status 503").await;
}

#[tokio::test]
async fn keys_that_are_no_http() {
    let fault = Fault::Raw(b"\x15\x03\x01\x00\x02\x02\x46"[..].into());
    no_keys_while(fault, "answered with status 50").await;
}

#[tokio::test]
async fn keys_behind_a_500() {
    no_keys_while(Fault::Status(500), "answered with status 500").await;
}

#[tokio::test]
async fn keys_behind_a_redirect_are_not_looked_for_elsewhere() {
    let fault = Fault::Redirect("http://169.254.169.254/latest/meta-data/".to_owned());
    no_keys_while(fault, "redirected to \"169.254.169.254\"").await;
}

#[tokio::test]
async fn keys_of_another_public_origin_are_reported_as_such() {
    // Authgear itself answers so: its public origin has a port that the endpoint has not.
    let broken = |authgear: &FakeAuthgear| {
        authgear.configure(|settings| settings.origin = format!("{ORIGIN}:8443"));
    };
    no_keys_until(
        broken,
        "redirected to \"auth.example.com:8443\": is \"endpoint\" Authgear's public origin",
        |authgear| authgear.configure(|settings| settings.origin = ORIGIN.to_owned()),
    )
    .await;
}

#[tokio::test]
async fn keys_that_an_ip_filter_denies() {
    no_keys_until(
        |authgear| authgear.configure(|settings| settings.deny_gateway = true),
        "403: does the project's IP filter let this gateway in?",
        |authgear| authgear.configure(|settings| settings.deny_gateway = false),
    )
    .await;
}

#[tokio::test]
async fn keys_of_an_unknown_tenant() {
    no_keys_until(
        |authgear| {
            authgear.configure(|settings| settings.origin = "https://other.example.com".to_owned());
        },
        "answered with status 404",
        |authgear| authgear.configure(|settings| settings.origin = ORIGIN.to_owned()),
    )
    .await;
}

#[tokio::test]
async fn a_login_page_instead_of_keys() {
    no_keys_while(Fault::Html, "is not a JWKS document").await;
}

#[tokio::test]
async fn garbage_instead_of_keys() {
    no_keys_while(Fault::Garbage, "is not a JWKS document (not UTF-8)").await;
}

#[tokio::test]
async fn an_empty_set_of_keys() {
    no_keys_while(Fault::EmptySet, "the document has no keys").await;
}

#[tokio::test]
async fn more_than_is_looked_at_instead_of_keys() {
    no_keys_while(Fault::Huge(9 << 20), "answered with more than 8 MiB").await;
}

/// Each is refused, one after the other, in one Envoy that has had good keys before: those are kept.
async fn assert_kept_from(bed: TestBed, documents: &[(&str, &[u8])]) {
    bed.until_status(200, || request(&bed)).await;
    for (name, body) in documents {
        let before = bed.count(FETCHES_FAILED).await;
        bed.authgear.fault_next(1, Jwks, document(body));
        let refused = async || (bed.count(FETCHES_FAILED).await > before).then_some(());
        let refused = until(DEADLINE, "a failed fetch", refused).await;
        assert!(refused.is_ok(), "{name}: was accepted as a key set");
        let reply = ask(&bed).await;
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
    }
    bed.finish().await;
}

async fn often_refreshed() -> TestBed {
    TestBed::builder()
        .jwks(json!({ "refresh": "1s", "timeout": "1s" }))
        .start()
        .await
}

#[tokio::test]
async fn json_that_is_no_key_set_never_replaces_good_keys() {
    let bed = often_refreshed().await;
    let documents: [(&str, &[u8]); 6] = [
        ("an empty object", b"{}"),
        ("null for keys", b"{\"keys\":null}"),
        ("a number", b"123"),
        ("a list", b"[]"),
        ("an object for keys", b"{\"keys\":{}}"),
        (
            "certificates",
            b"{\"kid\":\"-----BEGIN CERTIFICATE-----\\nMIIC\\n-----END CERTIFICATE-----\\n\"}",
        ),
    ];
    assert_kept_from(bed, &documents).await;
}

#[tokio::test]
async fn a_key_set_in_broken_json_never_replaces_good_keys() {
    let bed = often_refreshed().await;
    let good = bed.authgear.jwks().to_string();
    let cut = &good[..good.len() / 2];
    let trailing = format!("{good}x");
    let lax = good.replace("}]", "},]");
    let twice = format!("{{\"keys\":[],{}", &good[1..]);
    let nested = format!("{{\"keys\":{}", "[".repeat(100_000));
    let documents: [(&str, &[u8]); 5] = [
        ("half of it", cut.as_bytes()),
        ("something behind it", trailing.as_bytes()),
        ("a comma too many", lax.as_bytes()),
        ("keys twice", twice.as_bytes()),
        ("nesting", nested.as_bytes()),
    ];
    assert_kept_from(bed, &documents).await;
}

#[tokio::test]
async fn a_key_set_in_another_encoding_never_replaces_good_keys() {
    let bed = often_refreshed().await;
    let good = bed.authgear.jwks().to_string();
    let bom = format!("\u{feff}{good}");
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let documents: [(&str, &[u8]); 5] = [
        ("nothing", b""),
        ("a byte order mark", bom.as_bytes()),
        ("UTF-16", &utf16),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"),
        (
            "no usable key",
            b"{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAAA\"}]}",
        ),
    ];
    assert_kept_from(bed, &documents).await;
}

#[tokio::test]
async fn a_cluster_where_nobody_listens() {
    let bed = TestBed::builder()
        .project(|project| project["cluster"] = json!("closed"))
        .envoy(|envoy| envoy.cluster("closed", &[closed_port()]))
        .start()
        .await;
    assert_unavailable(&ask(&bed).await);
    bed.envoy.wait_for_log("answered with status 503").await;
    bed.assert_nothing_forwarded();
    bed.envoy.assert_no_trap();
}

#[tokio::test]
async fn a_cluster_without_endpoints() {
    let bed = TestBed::builder()
        .project(|project| project["cluster"] = json!("nowhere"))
        .envoy(|envoy| envoy.cluster("nowhere", &[]))
        .start()
        .await;
    assert_unavailable(&ask(&bed).await);
    bed.envoy.wait_for_log("JWKS: ").await;
    bed.assert_nothing_forwarded();
    bed.envoy.assert_no_trap();
}

#[tokio::test]
async fn a_cluster_that_does_not_exist() {
    let bed = TestBed::builder()
        .project(|project| project["cluster"] = json!("no-such-cluster"))
        .start()
        .await;
    assert_unavailable(&ask(&bed).await);
    bed.envoy
        .wait_for_log("Envoy knows no such cluster: is it in")
        .await;
    bed.assert_nothing_forwarded();
    bed.envoy.assert_no_trap();
}

#[tokio::test]
async fn without_keys_authgear_is_asked_every_second_or_two_however_many_requests_come() {
    let bed = TestBed::builder()
        .prepare(|authgear| authgear.fault(Jwks, Fault::Status(500)))
        .start()
        .await;
    let retries = async || {
        let reply = ask(&bed).await;
        assert_unavailable(&reply);
        (bed.jwks_calls() >= 10).then_some(())
    };
    until(DEADLINE, "ten calls", retries).await.expect("calls");
    let calls = bed.authgear.calls_to(JWKS);
    let took = |nth: usize| calls[nth].at.duration_since(calls[nth - 1].at);
    for nth in 3..10 {
        let took = took(nth).expect("in order");
        let range = Duration::from_millis(900)..Duration::from_millis(2_600);
        assert!(range.contains(&took), "{nth}: {took:?}");
    }

    // However long it was away, two seconds later requests pass.
    bed.authgear.clear_faults();
    let start = Instant::now();
    bed.until_status(200, || request(&bed)).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    bed.finish().await;
}

#[tokio::test]
async fn no_pause_that_is_asked_for_keeps_everybody_out_for_long() {
    let busy = CannedResponse::status(503).header("retry-after", "600");
    let bed = TestBed::builder()
        .prepare(|authgear| authgear.fault(Jwks, Fault::Custom(busy)))
        .start()
        .await;
    bed.until_status(503, || request(&bed)).await;
    bed.envoy.wait_for_log("next try in 10.0s").await;
    bed.authgear.clear_faults();
    let start = Instant::now();
    bed.until_status(200, || request(&bed)).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}");
    bed.finish().await;
}

#[tokio::test]
async fn a_refresh_that_fails_is_reported_at_once_with_the_cluster_and_the_keys_grow_old() {
    let mut bed = TestBed::builder()
        .reloadable()
        .jwks(json!({ "refresh": "2s", "max_stale": "1h" }))
        .start()
        .await;
    bed.until_status(200, || request(&bed)).await;
    // A change of configuration: the cluster is away, and the filter's name for it is not.
    bed.authgear.fault(Jwks, Fault::Status(503));
    let line = bed.envoy.wait_for_log("(failure 1 in a row").await;
    assert!(line.contains("cluster \"authgear\""), "{line}");
    let reported = "serve for another 3599.";
    assert!(line.contains(reported) || line.contains("3600."), "{line}");
    assert!(line.contains("then tokens are refused"), "{line}");
    bed.wait_for_count(AGE, |age| age >= 6).await;
    assert_eq!(ask(&bed).await.status, 200);
    let lines = bed.envoy.logs().matches("in a row, next try").count();
    assert!(lines < 3, "{lines} lines");
    bed.authgear.clear_faults();
    bed.wait_for_count(AGE, |age| age < 3).await;
    bed.reconfigure(|config| config["projects"][0]["cluster"] = json!("renamed"))
        .await
        .expect("accepted");
    let line = bed
        .envoy
        .wait_for_log("not sent: Envoy knows no such cluster")
        .await;
    assert!(line.contains("cluster \"renamed\""), "{line}");
    assert!(
        line.contains("there are no keys, tokens are refused"),
        "{line}"
    );
    bed.envoy.assert_no_trap();
}

#[tokio::test]
async fn authgear_can_ask_for_a_pause() {
    let busy = CannedResponse::status(503).header("retry-after", "3");
    let bed = TestBed::builder()
        .prepare(|authgear| authgear.fault(Jwks, Fault::Custom(busy)))
        .start()
        .await;
    assert_unavailable(&ask(&bed).await);
    bed.envoy.wait_for_log("next try in 3.0s").await;
    bed.authgear.clear_faults();
    bed.until_status(200, || request(&bed)).await;
    bed.finish().await;
}

#[tokio::test]
async fn stale_keys_are_used_while_they_may_be() {
    let bed = TestBed::builder()
        .jwks(json!({ "refresh": "1s", "max_stale": "1h" }))
        .start()
        .await;
    bed.until_status(200, || request(&bed)).await;
    let known = bed.token();
    bed.authgear.fault(Jwks, Fault::Status(500));
    bed.wait_for_count(FETCHES_FAILED, |failed| failed >= 2)
        .await;
    let reply = bed.get("/api/me").bearer(known).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    // A token that is not cached is verified with them, too.
    assert_eq!(ask(&bed).await.status, 200);
    bed.authgear.clear_faults();
    bed.envoy.wait_for_log("fetched again").await;
    bed.finish().await;
}

#[tokio::test]
async fn keys_that_are_too_old_are_not_believed_even_for_cached_tokens() {
    let bed = TestBed::builder()
        .jwks(json!({ "refresh": "1s", "max_stale": "1s" }))
        .start()
        .await;
    bed.until_status(200, || request(&bed)).await;
    let known = bed.token();
    let ask_again = async || bed.get("/api/me").bearer(&known).send().await;
    assert_eq!(ask_again().await.status, 200);
    bed.authgear.fault(Jwks, Fault::Hang);

    let too_old = async || {
        let reply = ask_again().await;
        (reply.status != 200).then_some(reply)
    };
    let reply = until(DEADLINE, "the keys to be too old", too_old).await;
    assert_unavailable(&reply.expect("an answer but 200"));

    bed.authgear.clear_faults();
    bed.until_status(200, || request(&bed)).await;
    assert_eq!(ask_again().await.status, 200);
    bed.finish().await;
}
