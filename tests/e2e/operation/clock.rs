//! A wall clock that is set back, and forward: tokens are judged by it, and nothing else uses it.

use std::time::Duration;

use devkit::clock::WallClock;
use devkit::keys::{Token, now};
use devkit::testbed::{Builder, JWKS, ORIGIN, RESOLVER, TestBed};
use devkit::traffic::Traffic;
use serde_json::json;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn fixture(clock: &WallClock) -> Builder {
    TestBed::builder().envoy(|envoy| envoy.wall_clock(clock))
}

/// A token that was issued and expires so many seconds from the real time.
fn token(bed: &TestBed, issued: i64, expires: i64) -> String {
    let token = Token::user(ORIGIN, &bed.alice)
        .claim("iat", now() + issued)
        .claim("exp", now() + expires);
    token.sign(&bed.authgear.key())
}

async fn status(bed: &TestBed, token: &str) -> u16 {
    bed.get("/api/me").bearer(token).send().await.status
}

#[tokio::test]
async fn what_has_expired_by_the_clock_is_good_again_when_it_is_set_back_and_the_other_way_round() {
    let clock = WallClock::new();
    let bed = fixture(&clock).start().await;
    let (expired, fresh) = (token(&bed, -2 * HOUR, -HOUR), token(&bed, 0, HOUR));
    let old = token(&bed, -2 * HOUR, HOUR);
    // Round after round, so that what is cached from the last one meets this one's time.
    for round in 0..3 {
        for (wrong, of_expired, of_fresh, of_old) in [
            (0, 401, 200, 200),
            // An hour and a half ago the first was valid, and the second not yet issued.
            (-HOUR - HOUR / 2, 200, 401, 200),
            (0, 401, 200, 200),
            (2 * HOUR, 401, 401, 401),
            (-3 * HOUR, 401, 401, 401),
        ] {
            clock.set_wrong(wrong);
            for _ in 0..2 {
                let found = [
                    status(&bed, &expired).await,
                    status(&bed, &fresh).await,
                    status(&bed, &old).await,
                ];
                let expected = [of_expired, of_fresh, of_old];
                assert_eq!(found, expected, "round {round}: {wrong} seconds");
            }
        }
    }
    clock.set_wrong(0);
    bed.finish().await;
}

#[tokio::test]
async fn sessions_keys_and_waiting_use_no_wall_clock() {
    let clock = WallClock::new();
    let bed = fixture(&clock)
        .workers(4)
        .session(json!({ "ttl": "1h", "negative_ttl": "5m", "timeout": "30s" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let (known, long) = (bed.cookie(), token(&bed, -60 * DAY, 60 * DAY));
    let workers = bed.every_worker().await;
    for worker in &workers {
        let good = bed.get("/").cookie(&known).over(worker).send().await;
        let bad = bed.get("/").cookie("session=a").over(worker).send().await;
        assert_eq!((good.status, bad.status), (200, 401));
    }
    assert_eq!(
        bed.authgear.calls_to(RESOLVER).len(),
        2,
        "one worker asks for all"
    );
    bed.authgear.clear_calls();
    let traffic = [
        (bed.get("/").cookie(&known), 200),
        (bed.get("/").bearer(&long), 200),
        (bed.get("/").cookie("session=a"), 401),
        (bed.get("/"), 401),
    ]
    .map(|(request, expected)| {
        let every = Duration::from_millis(5);
        (Traffic::every(every, move || request.clone()), expected)
    });

    for wrong in [-DAY, DAY, -30 * DAY, 0, 30 * DAY, -HOUR, HOUR, 0] {
        clock.set_wrong(wrong);
        for (client, _) in &traffic {
            client.goes_on(5).await;
        }
        // A request that has to wait for an answer waits for it, and no longer.
        let reply = bed.get("/").cookie(bed.cookie()).send().await;
        assert_eq!(reply.status, 200, "{wrong}: {reply:?}");
    }

    for (client, expected) in traffic {
        client.ended().await.assert_only(&[expected]);
    }
    assert_eq!(bed.jwks_calls(), 0, "the keys were fetched again");
    assert_eq!(bed.resolver_calls(), 8, "only for those that were new");
    bed.finish().await;
}

#[tokio::test]
async fn before_the_epoch_and_far_in_the_future_nobody_is_let_in_by_a_token_and_nothing_traps() {
    let clock = WallClock::new();
    let bed = fixture(&clock).start().await;
    let (good, known) = (token(&bed, 0, HOUR), bed.cookie());
    for wrong in [-now(), -now() - DAY, -100 * 365 * DAY, 200 * 365 * DAY] {
        clock.set_wrong(0);
        assert_eq!(status(&bed, &good).await, 200);
        clock.set_wrong(wrong);
        assert_eq!(status(&bed, &good).await, 401, "{wrong}");
        let reply = bed.get("/").cookie(&known).send().await;
        assert_eq!(reply.status, 200, "{wrong}: {reply:?}");
        // New keys are fetched as always.
        bed.authgear.publish_next_key();
    }
    clock.set_wrong(0);
    bed.finish().await;
}

#[tokio::test]
async fn a_refresh_is_due_when_it_is_due_whatever_the_wall_clock_says() {
    let clock = WallClock::new();
    let bed = fixture(&clock)
        .jwks(json!({ "refresh": "1s", "max_stale": "1h" }))
        .start()
        .await;
    bed.keys_are_there().await;
    // Set back by a day, it comes no day later; set forward, no sooner.
    for wrong in [-DAY, DAY] {
        clock.set_wrong(wrong);
        bed.authgear.clear_calls();
        let calls = bed.authgear.wait_for_calls(JWKS, 4).await;
        let took = calls[3].at.duration_since(calls[0].at);
        let took = took.expect("in order");
        assert!(took > Duration::from_secs(2), "{wrong}: {took:?}");
    }
    clock.set_wrong(0);
    bed.finish().await;
}
