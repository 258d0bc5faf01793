//! Whether a gateway can let users in, by two gauges: as `docs/operations.md` has a probe ask.

use std::process::Command;

use devkit::authgear::Endpoint::Jwks;
use devkit::authgear::Fault;
use devkit::envoy::checkout;
use devkit::keys::SigningKey;
use devkit::testbed::{ORIGIN, TestBed};
use serde_json::json;

const WORKERS: &str = "authgear_workers";
const READY: &str = "authgear_workers_ready";
/// Each worker, and Envoy's main thread.
const ALL: u64 = 2 + 1;

/// The probe that the page shows, at this Envoy. Whether it finds it ready.
async fn is_ready(bed: &TestBed) -> bool {
    let page = std::fs::read_to_string(checkout().join("docs/operations.md")).unwrap();
    let (_, section) = page.split_once("\n### Readiness\n").expect("the section");
    let (_, block) = section.split_once("```sh\n").expect("the probe");
    let (script, _) = block.split_once("\n```").expect("its end");
    let admin = "127.0.0.1:9901";
    assert!(script.contains(admin), "{script}");
    let script = script.replace(admin, &bed.envoy.admin_address().to_string());
    let run = move || Command::new("sh").args(["-c", &script]).status();
    let status = tokio::task::spawn_blocking(run).await.unwrap();
    status.expect("a shell").success()
}

#[tokio::test]
async fn a_gateway_is_ready_while_its_keys_are_good() {
    let mut bed = TestBed::builder()
        .workers(2)
        .reloadable()
        .jwks(json!({ "refresh": "1s", "max_stale": "0s", "timeout": "1s" }))
        .prepare(|authgear| authgear.fault(Jwks, Fault::Status(500)))
        .start()
        .await;
    bed.wait_for_count(WORKERS, |workers| workers == ALL).await;
    assert_eq!(bed.count(READY).await, 0, "before there are keys");
    assert!(!is_ready(&bed).await);

    bed.authgear.clear_faults();
    let ask = |bed: &TestBed| bed.get("/").bearer(bed.token());
    bed.until_status(200, || ask(&bed)).await;
    bed.wait_for_count(READY, |ready| ready == ALL).await;
    assert!(is_ready(&bed).await);

    bed.authgear.fault(Jwks, Fault::Status(500));
    bed.wait_for_count(READY, |ready| ready == 0).await;
    assert!(!is_ready(&bed).await);
    assert_eq!(bed.count(WORKERS).await, ALL);
    bed.authgear.clear_faults();
    bed.wait_for_count(READY, |ready| ready == ALL).await;

    // Another configuration takes the place of the first, and counts once.
    bed.reconfigure(|config| config["rules"] = json!([]))
        .await
        .unwrap();
    bed.reconfigure(|config| config["limits"] = json!({ "waiting_requests": 7 }))
        .await
        .unwrap();
    bed.wait_for_count(WORKERS, |workers| workers == ALL).await;
    bed.wait_for_count(READY, |ready| ready == ALL).await;
    bed.finish().await;
}

#[tokio::test]
async fn with_keys_in_the_configuration_it_is_ready_at_once() {
    let bed = TestBed::builder()
        .config(json!({ "projects": [{
            "endpoint": ORIGIN, "jwks": { "inline": { "keys": [SigningKey::rsa(0).jwk()] } }, "session": null,
        }] }))
        .start()
        .await;
    bed.wait_for_count(READY, |ready| ready == 2).await;
    assert!(is_ready(&bed).await);
    assert_eq!(bed.count(WORKERS).await, 2);
}

#[tokio::test]
async fn without_a_configuration_that_can_be_used_it_is_not() {
    let bed = TestBed::builder()
        .configure(|config| {
            config["on_invalid_config"] = json!("close");
            config["rules"] = json!(7);
        })
        .start()
        .await;
    bed.wait_for_count(WORKERS, |workers| workers == 2).await;
    assert_eq!(bed.count(READY).await, 0);
    assert!(!is_ready(&bed).await);
}
