//! A thousand requests at once, on one worker and on four.

use std::collections::HashMap;

use devkit::authgear::Endpoint::{Jwks, Resolver};
use devkit::client::InFlight;
use devkit::keys::{SigningKey, User};
use devkit::testbed::{TestBed, assert_answered};
use devkit::wait::{DEADLINE, until};
use serde_json::json;

const CROWD: usize = 1_000;

async fn one_session(workers: usize) {
    let bed = TestBed::builder().patient().workers(workers).start().await;
    bed.keys_are_there().await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| bed.get("/").cookie(&cookie).start())
        .collect();
    bed.wait_for_active(CROWD).await;
    let called = async || (hold.waiting() > 0).then_some(());
    until(DEADLINE, "a call", called).await.expect("a call");
    hold.release();
    assert_answered(crowd, 200).await;

    let forwarded = bed.forwarded();
    assert_eq!(forwarded.len(), CROWD);
    for request in forwarded {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    let calls = bed.resolver_calls();
    assert!((1..=workers).contains(&calls), "{calls} calls");
    bed.finish().await;
}

#[tokio::test]
async fn a_thousand_requests_of_one_cold_session_are_one_call() {
    one_session(1).await;
}

#[tokio::test]
async fn a_thousand_requests_of_one_cold_session_are_at_most_a_call_a_worker() {
    one_session(4).await;
}

async fn different_sessions(workers: usize) {
    let bed = TestBed::builder().patient().workers(workers).start().await;
    bed.keys_are_there().await;
    let users: HashMap<String, User> = (0..CROWD)
        .map(|nth| {
            let user = User::new(&format!("user-{nth}")).roles(&[&format!("role_{nth}")]);
            (format!("/{nth}"), bed.authgear.add_user(user))
        })
        .collect();
    let hold = bed.authgear.hold(Resolver);
    let mut crowd: Vec<_> = users
        .iter()
        .map(|(path, user)| {
            let cookie = format!("session={}", bed.authgear.session(user));
            bed.get(path).cookie(cookie).start()
        })
        .collect();
    let all_wait = async || {
        // None is answered before; if one is, its answer says more than the number of those that wait.
        if let Some(done) = crowd.iter().position(InFlight::is_done) {
            return Some(Err(done));
        }
        (hold.waiting() == CROWD).then_some(Ok(()))
    };
    let waiting = until(DEADLINE, "a thousand calls", all_wait).await;
    if let Err(done) = waiting.expect("a thousand calls") {
        let early = crowd.swap_remove(done).reply().await;
        panic!("answered though the resolver was silent: {early:?}");
    }
    bed.assert_nothing_forwarded();
    hold.release();
    assert_answered(crowd, 200).await;

    let forwarded = bed.forwarded();
    assert_eq!(forwarded.len(), CROWD);
    for request in forwarded {
        let user = &users[&request.target];
        assert_eq!(request.identity(), user.headers(), "{request:?}");
    }
    assert_eq!(bed.resolver_calls(), CROWD);
    bed.finish().await;
}

#[tokio::test]
async fn a_thousand_cold_sessions_at_once_are_a_call_each_and_not_mixed_up() {
    different_sessions(1).await;
}

#[tokio::test]
async fn a_thousand_cold_sessions_at_once_are_not_mixed_up_on_four_workers() {
    different_sessions(4).await;
}

#[tokio::test]
async fn a_thousand_requests_before_the_keys_pass_with_them_on_four_workers() {
    let bed = TestBed::builder()
        .patient()
        .workers(4)
        .prepare(|authgear| {
            authgear.fault(Jwks, devkit::authgear::Fault::Hang);
        })
        .start()
        .await;
    let tokens: Vec<_> = (0..10).map(|_| bed.token()).collect();
    let crowd: Vec<_> = (0..CROWD)
        .map(|nth| bed.get("/").bearer(&tokens[nth % 10]).start())
        .collect();
    bed.wait_for_active(CROWD).await;
    bed.assert_nothing_forwarded();
    bed.authgear.clear_fault(Jwks);
    assert_answered(crowd, 200).await;
    // At most one for every worker and one for Envoy's main thread.
    let fetches = bed.jwks_calls();
    assert!((1..=5).contains(&fetches), "{fetches} fetches");
    bed.finish().await;
}

#[tokio::test]
async fn of_a_thousand_only_as_many_wait_as_may_on_each_of_four_workers() {
    let bed = TestBed::builder()
        .patient()
        .workers(4)
        .configure(|config| config["limits"] = json!({ "waiting_requests": 20 }))
        .start()
        .await;
    bed.keys_are_there().await;
    let workers = bed.every_worker().await;
    let hold = bed.authgear.hold(Resolver);
    let mut crowd: Vec<_> = (0..CROWD)
        .map(|_| bed.get("/").cookie(bed.cookie()).start())
        .collect();
    // All but those that wait are answered while the resolver is silent.
    let refused = async || {
        let waiting = crowd.iter().filter(|request| !request.is_done()).count();
        (waiting == hold.waiting() && waiting <= 4 * 20).then_some(waiting)
    };
    let waiting = until(DEADLINE, "the others to be refused", refused).await;
    let waiting = waiting.expect("refusals");
    assert!(waiting > 0);
    for worker in &workers {
        let reply = bed.get("/").bearer(bed.token()).over(worker).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let let_in = crowd.extract_if(.., |request| !request.is_done()).collect();
    for request in crowd {
        let reply = request.reply().await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(reply.headers.has("retry-after"), "{reply:?}");
    }
    hold.release();
    assert_answered(let_in, 200).await;
    assert_eq!(bed.resolver_calls(), waiting);
    bed.wait_for_count("authgear_waiting_requests", |waiting| waiting == 0)
        .await;
    bed.finish().await;
}

/// Tokens of a key that a good set does not have: perhaps it is new, perhaps it is made up.
#[tokio::test]
async fn a_flood_of_unknown_keys_leaves_capacity_for_sessions() {
    let bed = TestBed::builder()
        .patient()
        .configure(|config| config["limits"] = json!({ "waiting_requests": 80 }))
        .start()
        .await;
    bed.keys_are_there().await;
    let hold = bed.authgear.hold(Jwks);
    let unknown = SigningKey::rsa(3).with_kid("unknown");
    let unknown = bed.authgear.token(&bed.alice).sign(&unknown);
    let flood: Vec<_> = (0..210)
        .map(|_| bed.get("/flood").bearer(&unknown).start())
        .collect();
    let refused = async || {
        let waiting = flood.iter().filter(|request| !request.is_done()).count();
        (waiting == 10 && hold.waiting() == 1).then_some(())
    };
    let all_refused = until(DEADLINE, "all but an eighth to be refused", refused).await;
    all_refused.expect("refusals");

    // As many cold sessions as may wait, though the flood still does.
    let sessions: Vec<_> = (0..80)
        .map(|_| bed.get("/").cookie(bed.cookie()).start())
        .collect();
    assert_answered(sessions, 200).await;
    drop(hold);
    for request in flood {
        let reply = request.reply().await;
        assert!(matches!(reply.status, 401 | 503), "{reply:?}");
    }
    bed.finish().await;
}
