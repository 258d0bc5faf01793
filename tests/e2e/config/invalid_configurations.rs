//! A configuration that the filter does not understand opens no route: it is refused where that keeps the gateway shut, and
//! accepted, and every request answered with 503, where a refusal would open it.

use devkit::envoy::{Envoy, EnvoyError};
use devkit::testbed::{Builder, ORIGIN, TestBed};
use devkit::wait::{DEADLINE, until};
use serde_json::{Value, json};

const WORKERS: usize = 2;
/// Each worker, and Envoy's main thread.
const ALL: u64 = WORKERS as u64 + 1;

const GAUGE: &str = "authgear_invalid_configurations";
const REFUSED: &str = "authgear_requests_refused_invalid_configuration_total";
const ERROR: &str = "configuration refused: ";
const CLOSED: &str = "every request is answered 503";
const LAST_GOOD: &str = "the last good configuration stays in use";

/// The names of Envoy Gateway, standalone and in a cluster.
const OF_ENVOY_GATEWAY: [&str; 2] = [
    "/default/authgear/wasm/0",
    "envoyextensionpolicy/default/authgear/wasm/0",
];

/// The filter under this `vm_id`, with any text for its configuration; `None`: with none at all.
fn configured(vm_id: &str, text: Option<&str>) -> Builder {
    let (vm_id, text) = (vm_id.to_owned(), text.map(str::to_owned));
    TestBed::builder().workers(WORKERS).plugin(move |plugin| {
        plugin["vm_config"]["vm_id"] = json!(vm_id);
        match &text {
            Some(text) => plugin["configuration"]["value"] = json!(text),
            None => drop(plugin.as_object_mut().unwrap().remove("configuration")),
        }
    })
}

fn typo(more: &Value) -> String {
    let mut config = json!({ "projects": [{ "endpoint": ORIGIN, "clutser": "authgear" }] });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config.to_string()
}

/// No request passes, whatever its credential, and the log says so.
async fn assert_closed(bed: &TestBed, case: &str) {
    let mut sent = 0;
    for http2 in [false, true] {
        for request in [
            bed.get("/"),
            bed.get("/public/x"),
            bed.get("/").bearer(bed.token()),
            bed.get("/").cookie(bed.cookie()),
            bed.get("/").header("x-authgear-user-id", "admin"),
            bed.request("OPTIONS", "/"),
            bed.post("/").body("a body"),
        ] {
            let request = if http2 { request.http2() } else { request };
            let reply = request.send().await;
            assert_eq!(reply.status, 503, "{case}: {reply:?}");
            assert_eq!(reply.json()["code"], "unavailable", "{case}");
            assert!(reply.headers.has("retry-after"), "{case}: {reply:?}");
            sent += 1;
        }
    }
    bed.assert_nothing_forwarded();
    bed.wait_for_count(REFUSED, |count| count == sent).await;
    bed.wait_for_count(GAUGE, |count| count == ALL).await;
    bed.envoy.wait_for_log(CLOSED).await;
    let line = bed.envoy.wait_for_log(ERROR).await;
    assert!(line.contains("[error]"), "{case}: {line}");
}

#[tokio::test]
async fn under_plain_envoy_it_is_refused_and_envoy_does_not_start() {
    // The whole table is tried by `tests/host/invalid.rs`, and that of what is closed.
    for (vm_id, text) in [
        ("authgear", Some(typo(&json!({})))),
        ("authgear", None),
        // A setting that can be read takes precedence over the names.
        (
            OF_ENVOY_GATEWAY[0],
            Some(typo(&json!({ "on_invalid_config": "refuse" }))),
        ),
    ] {
        let started = configured(vm_id, text.as_deref()).try_start().await;
        let Err(EnvoyError::Ended { log, .. }) = started else {
            panic!("{vm_id:?}, {text:?}: it started");
        };
        assert!(log.contains(ERROR), "{text:?}: {log}");
        assert!(!log.contains(CLOSED), "{text:?}: {log}");
    }
}

#[tokio::test]
async fn set_to_close_it_is_accepted_and_every_request_is_answered_503() {
    let wrong = typo(&json!({ "on_invalid_config": "close", "rules": 7 }));
    let inline = json!({
        "projects": [{ "endpoint": ORIGIN, "jwks": { "inline": { "keys": [] } }, "session": null }],
        "on_invalid_config": "close",
    });
    for (vm_id, text) in [
        ("authgear", &wrong),
        ("", &wrong),
        ("authgear", &inline.to_string()),
    ] {
        let bed = configured(vm_id, Some(text)).start().await;
        assert_closed(&bed, text).await;
    }
}

/// As some control planes always set it: no body passes either.
#[tokio::test]
async fn a_body_that_envoy_would_hand_on_is_held_back_too() {
    let text = typo(&json!({ "on_invalid_config": "close" }));
    let bed = configured("authgear", Some(&text))
        .plugin(|plugin| plugin["allow_on_headers_stop_iteration"] = json!(true))
        .start()
        .await;
    assert_closed(&bed, "allow_on_headers_stop_iteration").await;
}

#[tokio::test]
async fn behind_envoy_gateway_whatever_cannot_be_read_is_closed() {
    for (vm_id, text) in OF_ENVOY_GATEWAY.into_iter().zip([None, Some("{")]) {
        let bed = configured(vm_id, text).start().await;
        assert_closed(&bed, &format!("{text:?}")).await;
    }
}

#[tokio::test]
async fn a_struct_that_is_wrong_is_closed_too() {
    let bed = TestBed::builder()
        .workers(WORKERS)
        .configure(|config| {
            config["on_invalid_config"] = json!("close");
            config["projects"][0]["clutser"] = json!("authgear");
        })
        .as_struct()
        .start()
        .await;
    assert_closed(&bed, "a Struct").await;
}

#[tokio::test]
async fn a_good_configuration_of_envoy_gateway_still_works() {
    let bed = TestBed::builder()
        .workers(WORKERS)
        .plugin(|plugin| plugin["vm_config"]["vm_id"] = json!(OF_ENVOY_GATEWAY[0]))
        .start()
        .await;
    assert_eq!(bed.get("/").send().await.status, 401);
    assert_eq!(bed.count(GAUGE).await, 0);
    bed.finish().await;
}

#[tokio::test]
async fn the_log_is_bounded_and_the_access_log_has_the_reason() {
    let text = typo(&json!({ "on_invalid_config": "close" }));
    let bed = configured("authgear", Some(&text))
        .envoy(|envoy| {
            envoy.manager(|manager| {
                manager["access_log"] = json!([{
                    "name": "envoy.access_loggers.stderr",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
                        "log_format": { "text_format_source": { "inline_string":
                            "access %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% user=%REQ(X-AUTHGEAR-USER-ID)%\n" } },
                    },
                }]);
            })
        })
        .start()
        .await;
    let forged = bed.get("/").header("x-authgear-user-id", "admin");
    for _ in 0..20 {
        assert_eq!(forged.clone().send().await.status, 503);
    }
    let line = bed
        .envoy
        .wait_for_log("authgear_filter{invalid_configuration}")
        .await;
    assert!(line.contains("access 503"), "{line}");
    assert!(line.contains("user=-"), "{line}");
    bed.wait_for_count(GAUGE, |count| count == ALL).await;
    // A worker reports its statistics at its ticks: here are twenty.
    for sent in 21..=40 {
        assert_eq!(forged.clone().send().await.status, 503);
        bed.wait_for_count(REFUSED, |count| count == sent).await;
    }
    let log = bed.envoy.logs();
    let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    // Two errors; each worker, Envoy's main thread, and the VM in which it tries the configuration.
    assert_eq!(lines(ERROR), 2 * (WORKERS + 2), "{log}");
    assert_eq!(lines(CLOSED), WORKERS + 1, "{log}");
}

/// A gateway in use, with a rule that the bad configurations after it would change.
async fn in_use(vm_id: &'static str) -> TestBed {
    let bed = TestBed::builder()
        .reloadable()
        .workers(WORKERS)
        .plugin(move |plugin| plugin["vm_config"]["vm_id"] = json!(vm_id))
        .configure(|config| config["on_invalid_config"] = json!("close"))
        .rules(json!([{ "match": { "path": "/open" }, "require": "none" }]))
        .start()
        .await;
    assert_serves(&bed).await;
    bed
}

/// As it was configured by [`in_use`].
async fn assert_serves(bed: &TestBed) {
    bed.backend.clear();
    for worker in bed.every_worker().await {
        for (request, expected) in [
            (bed.get("/open"), 200),
            (bed.get("/shut"), 401),
            (bed.get("/token").bearer(bed.token()), 200),
            (bed.get("/session").cookie(bed.cookie()), 200),
            (bed.get("/session").cookie("session=nonsense"), 401),
        ] {
            let reply = request.over(&worker).send().await;
            assert_eq!(reply.status, expected, "{reply:?}");
        }
    }
    for request in bed.forwarded() {
        let nobody = request.target == "/open";
        let expected = if nobody {
            Vec::new()
        } else {
            bed.alice.headers()
        };
        assert_eq!(request.identity(), expected);
    }
}

fn spoil(config: &mut Value) {
    config["rules"] = json!([{ "match": {}, "require": "none" }]);
    config["projects"][0]["clutser"] = json!("authgear");
}

async fn no_listener_drains(bed: &TestBed) {
    bed.envoy
        .wait_for_stat("listener_manager.total_listeners_draining", |n| n == 0)
        .await;
}

#[tokio::test]
async fn a_mistake_in_an_update_leaves_the_last_good_configuration_in_use() {
    let mut bed = in_use("authgear").await;
    let good = bed.config.clone();

    bed.reconfigure(spoil).await.expect("taken");
    assert_serves(&bed).await;
    bed.wait_for_count(GAUGE, |count| count == ALL).await;
    let line = bed.envoy.wait_for_log(LAST_GOOD).await;
    assert!(line.contains("[error]"), "{line}");
    assert!(bed.envoy.logs().contains("projects[0].clutser: unknown"));

    // Once the good one is replaced, the workers that kept it still use it.
    no_listener_drains(&bed).await;
    bed.reconfigure(|config| config["rules"] = json!("none"))
        .await
        .expect("taken");
    assert_serves(&bed).await;
    no_listener_drains(&bed).await;
    bed.wait_for_count(GAUGE, |count| count == ALL).await;

    // And a good one replaces it.
    bed.reconfigure(|config| {
        *config = good;
        config["rules"] = json!([{ "match": { "path": "/other" }, "require": "none" }]);
    })
    .await
    .expect("taken");
    assert_eq!(bed.get("/other").send().await.status, 200);
    assert_eq!(bed.get("/open").send().await.status, 401);
    bed.wait_for_count(GAUGE, |count| count == 0).await;
    assert!(!bed.envoy.logs().contains(CLOSED), "{}", bed.envoy.logs());
    assert_eq!(bed.count(REFUSED).await, 0);
    bed.finish().await;
}

#[tokio::test]
async fn a_good_configuration_opens_what_was_closed() {
    let mut bed = TestBed::builder()
        .reloadable()
        .workers(WORKERS)
        .configure(|config| {
            config["on_invalid_config"] = json!("close");
            config["projects"][0]["clutser"] = json!("authgear");
        })
        .start()
        .await;
    assert_closed(&bed, "at first").await;
    bed.reconfigure(|config| {
        drop(
            config["projects"][0]
                .as_object_mut()
                .unwrap()
                .remove("clutser"),
        );
        config["rules"] = json!([{ "match": { "path": "/open" }, "require": "none" }]);
    })
    .await
    .expect("taken");
    assert_serves(&bed).await;
    bed.wait_for_count(GAUGE, |count| count == 0).await;
    bed.finish().await;
}

#[tokio::test]
async fn without_a_vm_id_a_mistake_in_an_update_closes() {
    let mut bed = in_use("").await;
    bed.reconfigure(spoil).await.expect("taken");
    assert_eq!(bed.get("/open").send().await.status, 503);
    let reply = bed.get("/").bearer(bed.token()).send().await;
    assert_eq!(reply.status, 503, "{reply:?}");
    bed.envoy.wait_for_log(CLOSED).await;
    assert!(!bed.envoy.logs().contains(LAST_GOOD));
}

#[tokio::test]
async fn set_to_refuse_a_mistake_in_an_update_is_refused_and_envoy_keeps_what_it_had() {
    let mut bed = in_use(OF_ENVOY_GATEWAY[0]).await;
    let refused = bed
        .reconfigure(|config| {
            spoil(config);
            config["on_invalid_config"] = json!("refuse");
        })
        .await;
    assert!(refused.is_err(), "taken");
    assert_serves(&bed).await;
    assert_eq!(bed.count(GAUGE).await, 0);
    bed.finish().await;
}

/// A request that waits when the mistake comes is answered under the configuration that it came under.
#[tokio::test]
async fn who_waits_is_answered_across_a_mistake() {
    use devkit::authgear::Endpoint::Resolver;
    let mut bed = TestBed::builder()
        .reloadable()
        .patient()
        .configure(|config| config["on_invalid_config"] = json!("close"))
        .start()
        .await;
    let hold = bed.authgear.hold(Resolver);
    let waiting = bed.get("/").cookie(bed.cookie()).start();
    hold.wait_for(1).await;
    bed.reconfigure(spoil).await.expect("taken");
    hold.release();
    assert_eq!(waiting.reply().await.status, 200);
    bed.finish().await;
}

/// The filter accepts it, so Envoy's exit status shows nothing: the lines of its log do.
#[tokio::test]
async fn set_to_close_it_passes_a_dry_run() {
    for (member, passes) in [("close", true), ("refuse", false)] {
        let text = typo(&json!({ "on_invalid_config": member }));
        let envoy = Envoy::builder().filter_text(&text).cluster("app", &[]);
        assert_eq!(envoy.validate().await.is_ok(), passes, "{member}");
    }
}

#[tokio::test]
async fn the_statistics_are_there_from_the_start() {
    let bed = TestBed::start().await;
    let reported = async || bed.envoy.stat(&format!("wasmcustom.{GAUGE}")).await;
    let reported = until(DEADLINE, GAUGE, reported).await.expect("a gauge");
    assert_eq!(reported, 0);
    bed.finish().await;
}
