//! Keys that nobody knows: a rotation, or a flood; and Authgear out of reach meanwhile.

use std::time::Instant;

use devkit::authgear::Endpoint::Jwks;
use devkit::authgear::Fault;
use devkit::keys::Token;
use devkit::testbed::{ORIGIN, TestBed};
use devkit::wait::{DEADLINE, until};
use serde_json::json;

/// A token like any other, signed with a key that is nowhere published.
fn of_unknown_key(bed: &TestBed, nth: usize) -> String {
    let kid = format!("no-such-key-{nth}");
    Token::user(ORIGIN, &bed.alice).sign(&bed.authgear.key().with_kid(&kid))
}

async fn status(bed: &TestBed, token: &str) -> u16 {
    bed.get("/api/me").bearer(token).send().await.status
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_one_fetch() {
    let bed = TestBed::start().await;
    bed.keys_are_there().await;
    let flood: Vec<_> = (0..40)
        .map(|nth| bed.get("/api/me").bearer(of_unknown_key(&bed, nth)).start())
        .collect();
    for request in flood {
        let reply = request.reply().await;
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.json()["code"], "invalid_token");
    }
    assert_eq!(status(&bed, &of_unknown_key(&bed, 0)).await, 401);
    assert_eq!(bed.jwks_calls(), 1);
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_does_not_starve_a_rotation() {
    let bed = TestBed::builder()
        .jwks(json!({ "unknown_kid_cooldown": "1s" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let start = Instant::now();
    for nth in 0..20 {
        assert_eq!(status(&bed, &of_unknown_key(&bed, nth)).await, 401);
    }
    bed.authgear.swap_key();
    let new = bed.token();

    let mut nth = 20;
    let flooded = async || (status(&bed, &new).await == 200).then_some(());
    let passed = until(DEADLINE, "the new key's token to pass", || {
        nth += 1;
        let more = of_unknown_key(&bed, nth);
        let (bed, flooded) = (&bed, &flooded);
        async move {
            status(bed, &more).await;
            flooded().await
        }
    });
    passed.await.expect("the new key");

    let calls = bed.jwks_calls() as u64;
    let most = start.elapsed().as_secs() + 2;
    assert!(calls <= most, "{calls} fetches in {:?}", start.elapsed());
    bed.finish().await;
}

#[tokio::test]
async fn one_unknown_key_presented_again_and_again_is_one_fetch_a_cooldown() {
    let bed = TestBed::builder()
        .jwks(json!({ "unknown_kid_cooldown": "1h" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let token = of_unknown_key(&bed, 0);
    for _ in 0..20 {
        assert_eq!(status(&bed, &token).await, 401);
    }
    assert_eq!(bed.jwks_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn tokens_of_one_new_key_that_come_at_once_share_one_fetch() {
    let bed = TestBed::start().await;
    bed.keys_are_there().await;
    bed.authgear.swap_key();
    let hold = bed.authgear.hold(Jwks);
    let crowd: Vec<_> = (0..10)
        .map(|_| bed.get("/api/me").bearer(bed.token()).start())
        .collect();
    hold.wait_for(1).await;
    bed.wait_for_active(10).await;
    hold.release();
    for request in crowd {
        let reply = request.reply().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(bed.jwks_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn known_keys_do_not_wait_for_the_fetch_of_an_unknown_one() {
    let bed = TestBed::builder()
        .jwks(json!({ "timeout": "30s" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let hold = bed.authgear.hold(Jwks);
    let unknown = bed.get("/api/me").bearer(of_unknown_key(&bed, 0)).start();
    hold.wait_for(1).await;
    assert_eq!(status(&bed, &bed.token()).await, 200);
    assert!(!unknown.is_done());
    hold.release();
    assert_eq!(unknown.reply().await.status, 401);
    bed.finish().await;
}

#[tokio::test]
async fn a_new_key_that_cannot_be_fetched_is_unavailable_and_the_known_ones_keep_working() {
    let bed = TestBed::start().await;
    bed.keys_are_there().await;
    let old = bed.token();
    bed.authgear.fault(Jwks, Fault::Status(500));
    bed.authgear.swap_key();
    let new = bed.token();

    for _ in 0..5 {
        let reply = bed.get("/api/me").bearer(&new).send().await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(reply.headers.has("retry-after"), "{reply:?}");
        assert_eq!(status(&bed, &old).await, 200);
    }
    let calls = bed.jwks_calls();
    assert!(calls <= 4, "{calls} fetches");

    bed.authgear.clear_faults();
    bed.until_status(200, || bed.get("/api/me").bearer(&new))
        .await;
    assert_eq!(status(&bed, &old).await, 401);
    bed.finish().await;
}
