//! The workers of an Envoy share their keys: one fetches, all use them, and all count its failures.

use std::time::{Duration, Instant};

use devkit::authgear::Endpoint::Jwks;
use devkit::authgear::Fault;
use devkit::client::{Connection, Request};
use devkit::keys::Token;
use devkit::testbed::{JWKS, ORIGIN, TestBed};
use devkit::traffic::Traffic;
use serde_json::json;

const WORKERS: usize = 4;

/// A token like any other, signed with a key that is nowhere published.
fn of_unknown_key(bed: &TestBed, nth: usize) -> String {
    let kid = format!("no-such-key-{nth}");
    Token::user(ORIGIN, &bed.alice).sign(&bed.authgear.key().with_kid(&kid))
}

async fn status(bed: &TestBed, worker: &Connection, token: &str) -> u16 {
    let request = bed.get("/api/me").bearer(token).over(worker);
    request.send().await.status
}

async fn assert_all(bed: &TestBed, workers: &[Connection], token: &str, expected: u16) {
    for (nth, worker) in workers.iter().enumerate() {
        assert_eq!(
            status(bed, worker, token).await,
            expected,
            "of worker {nth}"
        );
    }
}

#[tokio::test]
async fn a_refresh_is_one_fetch_for_all_workers() {
    let bed = TestBed::builder()
        .workers(WORKERS)
        .jwks(json!({ "refresh": "1s" }))
        .start()
        .await;
    let workers = bed.every_worker().await;
    assert_all(&bed, &workers, &bed.token(), 200).await;
    bed.authgear.clear_calls();

    let calls = bed.authgear.wait_for_calls(JWKS, 4).await;

    // At 80 per cent of the time at the earliest.
    let took = calls[3].at.duration_since(calls[0].at).expect("in order");
    assert!(took > Duration::from_secs(2), "{took:?}");
    assert_all(&bed, &workers, &bed.token(), 200).await;
    bed.finish().await;
}

#[tokio::test]
async fn what_one_worker_has_fetched_is_known_to_all_within_a_moment() {
    let bed = TestBed::builder().workers(WORKERS).start().await;
    let workers = bed.every_worker().await;
    let old = bed.token();
    assert_all(&bed, &workers, &old, 200).await;
    bed.authgear.clear_calls();
    bed.authgear.swap_key();
    let new = bed.token();

    // One worker meets a token of the new key; the others never do, and still drop the old key.
    assert_eq!(status(&bed, &workers[0], &new).await, 200);
    let start = Instant::now();
    for worker in &workers {
        bed.until_status(401, || bed.get("/").bearer(&old).over(worker))
            .await;
    }
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    assert_all(&bed, &workers, &new, 200).await;
    assert_eq!(bed.jwks_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn a_configuration_that_keeps_the_url_of_the_keys_needs_no_fetch() {
    let mut bed = TestBed::builder()
        .workers(WORKERS)
        .reloadable()
        .start()
        .await;
    bed.keys_are_there().await;
    bed.authgear.fault(Jwks, Fault::Hang);

    for nth in 0..3 {
        let open = json!([{ "match": { "path": format!("/open-{nth}") }, "require": "none" }]);
        bed.reconfigure(|config| {
            config["rules"] = open;
            config["projects"][0]["jwt"] = json!({ "clock_skew": format!("{nth}s") });
        })
        .await
        .expect("accepted");
        let workers = bed.every_worker().await;
        assert_all(&bed, &workers, &bed.token(), 200).await;
    }
    assert_eq!(bed.jwks_calls(), 0);

    // Elsewhere there may be others.
    bed.authgear.clear_faults();
    bed.reconfigure(|config| {
        config["projects"][0]["jwks"] = json!({ "uri": "/oauth2/jwks?elsewhere" });
    })
    .await
    .expect("accepted");
    let workers = bed.every_worker().await;
    assert_all(&bed, &workers, &bed.token(), 200).await;
    let calls = bed.jwks_calls();
    assert!((1..=WORKERS + 1).contains(&calls), "{calls} calls");
    bed.finish().await;
}

#[tokio::test]
async fn failures_are_backed_off_from_by_all_workers_together() {
    let bed = TestBed::builder()
        .workers(WORKERS)
        .jwks(json!({ "refresh": "1s", "max_stale": "1h" }))
        .start()
        .await;
    let workers = bed.every_worker().await;
    assert_all(&bed, &workers, &bed.token(), 200).await;
    bed.authgear.fault(Jwks, Fault::Status(500));
    bed.authgear.clear_calls();

    let calls = bed.authgear.wait_for_calls(JWKS, 3).await;

    // After half a second at least, then after one.
    let took = calls[2].at.duration_since(calls[0].at).expect("in order");
    assert!(took > Duration::from_millis(1_400), "{took:?}");
    assert_all(&bed, &workers, &bed.token(), 200).await;
    bed.finish().await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_over_all_workers_is_one_fetch_a_cooldown() {
    let bed = TestBed::builder()
        .workers(WORKERS)
        .jwks(json!({ "unknown_kid_cooldown": "1h" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let workers = bed.every_worker().await;
    let flood: Vec<_> = (0..80)
        .map(|nth| {
            let token = of_unknown_key(&bed, nth);
            bed.get("/").bearer(token).over(&workers[nth % WORKERS])
        })
        .map(Request::start)
        .collect();
    devkit::testbed::assert_answered(flood, 401).await;
    assert_eq!(bed.jwks_calls(), 1);
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn a_rotation_in_a_flood_is_taken_by_all_workers_within_a_cooldown() {
    let cooldown = Duration::from_secs(3);
    let bed = TestBed::builder()
        .workers(WORKERS)
        .jwks(json!({ "unknown_kid_cooldown": "3s" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let workers = bed.every_worker().await;
    let garbage: Vec<_> = (0..50).map(|nth| of_unknown_key(&bed, nth)).collect();
    let mut flood = Vec::new();
    for _ in 0..WORKERS {
        let (request, garbage) = (bed.get("/flood"), garbage.clone());
        let mut tokens = garbage.into_iter().cycle();
        let next = move || request.clone().bearer(tokens.next().expect("one more"));
        flood.push(Traffic::every(Duration::from_millis(10), next));
    }
    for client in &flood {
        client.goes_on(10).await;
    }
    let start = Instant::now();
    bed.authgear.swap_key();
    let new = bed.token();
    for worker in &workers {
        bed.until_status(200, || bed.get("/").bearer(&new).over(worker))
            .await;
    }
    assert!(start.elapsed() < 2 * cooldown, "{:?}", start.elapsed());
    let calls = bed.jwks_calls() as u64;
    // One for the flood, one for the rotation, and what a slow machine has time for.
    let most = 2 + start.elapsed().as_secs() / cooldown.as_secs();
    assert!(calls <= most, "{calls} calls");
    for client in flood {
        client.ended().await.assert_only(&[401]);
    }
    bed.finish().await;
}
