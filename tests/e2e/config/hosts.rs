//! Hosts that cannot do everything: what a configuration needs and the host lacks is refused at load, what it does not need
//! is not missed, and no status of a host call traps the VM.
//!
//! Each function by itself is tried in the tests' own host, by `tests/host/fewer_powers.rs`; here they are missing all at once.
//! Envoy answers a host call that the plugin's `capability_restriction_config` leaves out with an error.

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::envoy::{EnvoyError, capabilities_without};
use devkit::keys::{SigningKey, Token};
use devkit::message::CannedResponse;
use devkit::testbed::{Builder, ORIGIN, TestBed};
use serde_json::{Value, json};

/// What only a configuration that makes calls needs.
const FOR_CALLS: [(&str, &str); 3] = [
    ("proxy_http_call", "calls (proxy_http_call)"),
    (
        "proxy_set_tick_period_milliseconds",
        "ticks (proxy_set_tick_period_milliseconds)",
    ),
    (
        "proxy_set_effective_context",
        "acting for a request that waits (proxy_set_effective_context)",
    ),
];

/// What no configuration needs.
const FOR_NOTHING: [&str; 9] = [
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_call_foreign_function",
    "proxy_get_property",
    "proxy_log",
    // There is WASI's.
    "proxy_get_current_time_nanoseconds",
];

const LACKS: &str = "configuration refused: configuration: the host lacks what it needs: ";

/// A plugin with a `vm_id`, so that it would share data, on a host without these functions.
fn without(fixture: Builder, functions: &[&str]) -> Builder {
    let capabilities = capabilities_without(functions);
    fixture.plugin(move |plugin| {
        plugin["vm_config"]["vm_id"] = json!("authgear");
        plugin["capability_restriction_config"] = capabilities.clone();
    })
}

fn inline() -> Value {
    json!({ "inline": { "keys": [SigningKey::rsa(0).jwk()] } })
}

/// Keys in the configuration, and no sessions: no call is made.
fn alone() -> Builder {
    let project = json!({ "endpoint": ORIGIN, "jwks": inline(), "session": null });
    let rules = json!([
        { "match": { "path": "/open" }, "require": "none" },
        { "match": { "path_prefix": "/blog" }, "require": "optional" },
    ]);
    TestBed::builder().config(json!({ "projects": [project], "rules": rules }))
}

async fn assert_serves_tokens(bed: &TestBed) {
    let stranger = Token::user(ORIGIN, &bed.alice).sign(&SigningKey::rsa(1));
    for http2 in [false, true] {
        for (request, expected) in [
            (bed.get("/open"), 200),
            (bed.get("/blog"), 200),
            (bed.get("/api").bearer(bed.token()), 200),
            (bed.post("/api").body("a body").bearer(bed.token()), 200),
            (bed.get("/api"), 401),
            (bed.get("/api").bearer(&stranger), 401),
            (bed.get("/api").cookie("session=made-up"), 401),
            (
                bed.get("/api")
                    .bearer(bed.authgear.opaque_token(&bed.alice)),
                401,
            ),
        ] {
            bed.backend.clear();
            let request = request.header("x-authgear-user-id", "admin");
            let request = if http2 { request.http2() } else { request };
            let what = format!("{request:?}");
            let reply = request.send().await;
            assert_eq!(reply.status, expected, "{what}: {reply:?}");
            if expected == 200 {
                let seen = bed.only_forwarded();
                let named = seen.target == "/api";
                let identity = if named {
                    bed.alice.headers()
                } else {
                    Vec::new()
                };
                assert_eq!(seen.identity(), identity, "{what}");
            } else {
                bed.assert_nothing_forwarded();
            }
        }
    }
}

async fn assert_serves_sessions(bed: &TestBed) {
    for (request, expected) in [
        (bed.get("/api").bearer(bed.token()), 200),
        (bed.get("/api").cookie(bed.cookie()), 200),
        (
            bed.get("/api")
                .bearer(bed.authgear.opaque_token(&bed.alice)),
            200,
        ),
        (bed.get("/api").cookie("session=made-up"), 401),
        (bed.get("/api"), 401),
    ] {
        let what = format!("{request:?}");
        let reply = request.send().await;
        assert_eq!(reply.status, expected, "{what}: {reply:?}");
    }
}

fn for_calls() -> Vec<&'static str> {
    FOR_CALLS.iter().map(|(function, _)| *function).collect()
}

fn everything() -> Vec<&'static str> {
    for_calls().into_iter().chain(FOR_NOTHING).collect()
}

#[tokio::test]
async fn inline_keys_without_sessions_miss_nothing_that_only_calls_need() {
    let bed = without(alone(), &everything()).start().await;
    assert_serves_tokens(&bed).await;
    assert!(bed.authgear.calls().is_empty());
    bed.finish().await;
}

#[tokio::test]
async fn what_no_configuration_needs_is_not_missed_by_one_that_makes_calls() {
    let bed = without(TestBed::builder(), &FOR_NOTHING).start().await;
    assert_serves_sessions(&bed).await;
    bed.finish().await;
}

#[tokio::test]
async fn what_calls_need_and_the_host_lacks_is_named_in_one_line_and_refused() {
    for missing in [&FOR_CALLS[..1], &FOR_CALLS[..]] {
        let (functions, names): (Vec<&str>, Vec<&str>) = missing.iter().copied().unzip();
        let Err(EnvoyError::Ended { log, .. }) =
            without(TestBed::builder(), &functions).try_start().await
        else {
            panic!("{functions:?}: it started");
        };
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("wasm log"))
            .collect();
        let [line] = &lines[..] else {
            panic!("{functions:?}: {lines:#?}");
        };
        let expected = format!("{LACKS}{}", names.join(", "));
        assert!(line.contains("[error]"), "{functions:?}: {line}");
        assert!(line.ends_with(&expected), "{functions:?}: {line}");
    }
}

#[tokio::test]
async fn set_to_close_it_closes_where_the_host_lacks_what_it_needs() {
    let fixture =
        TestBed::builder().configure(|config| config["on_invalid_config"] = json!("close"));
    let bed = without(fixture, &for_calls()).start().await;
    for request in [
        bed.get("/"),
        bed.get("/").bearer(bed.token()),
        bed.get("/").cookie(bed.cookie()),
    ] {
        let reply = request.send().await;
        assert_eq!(reply.status, 503, "{reply:?}");
    }
    bed.assert_nothing_forwarded();
    bed.envoy.wait_for_log(LACKS).await;
}

/// A configuration that is wrong for another reason is closed whatever the host lacks.
#[tokio::test]
async fn what_cannot_be_understood_is_closed_on_a_host_that_can_do_nothing() {
    let config = json!({ "projects": 7, "on_invalid_config": "close" });
    let bed = without(TestBed::builder().config(config), &everything())
        .start()
        .await;
    assert_eq!(bed.get("/").send().await.status, 503);
    bed.assert_nothing_forwarded();
}

#[tokio::test]
async fn a_configuration_that_the_host_does_not_hand_over_is_refused() {
    let started = without(alone(), &["proxy_get_buffer_bytes"])
        .try_start()
        .await;
    let Err(EnvoyError::Ended { log, .. }) = started else {
        panic!("it started");
    };
    assert!(log.contains("configuration refused: "), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn where_neither_clock_answers_every_configuration_is_refused() {
    let neither = ["proxy_get_current_time_nanoseconds", "clock_time_get"];
    let started = without(alone(), &neither).try_start().await;
    let Err(EnvoyError::Ended { log, .. }) = started else {
        panic!("it started");
    };
    assert!(log.contains(LACKS), "{log}");
    assert!(log.contains("a clock"), "{log}");
}

#[tokio::test]
async fn a_request_that_cannot_be_resumed_is_answered() {
    let bed = without(TestBed::builder(), &["proxy_continue_stream"])
        .start()
        .await;
    let reply = bed.get("/api").cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 503, "{reply:?}");
    bed.assert_nothing_forwarded();
}

#[tokio::test]
async fn a_host_that_shows_no_headers_lets_nobody_in() {
    let bed = without(TestBed::builder(), &["proxy_get_header_map_pairs"])
        .start()
        .await;
    // The keys' answer has no headers to be read either.
    bed.envoy.wait_for_log("JWKS: no answer").await;
    let reply = bed.get("/api").bearer(bed.token()).send().await;
    assert_eq!(reply.status, 503, "{reply:?}");
    bed.assert_nothing_forwarded();
}

#[tokio::test]
async fn a_cookie_that_cannot_be_handed_on_is_lost_and_nothing_else() {
    let bed = without(
        TestBed::builder().session(json!({ "relay_set_cookie": true })),
        &["proxy_add_header_map_value"],
    )
    .start()
    .await;
    let answer = CannedResponse::status(200).header("set-cookie", "session=new; Path=/");
    let yes = bed
        .alice
        .headers()
        .iter()
        .fold(answer, |answer, (name, value)| answer.header(name, value));
    bed.authgear.fault(Resolver, Fault::Custom(yes));
    let reply = bed.get("/api").cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(!reply.headers.has("set-cookie"), "{reply:?}");
    bed.finish().await;
}
