//! `jwt.revalidate`: tokens that are valid by their signature, and no longer once the resolver counts them as revoked.

use std::time::Duration;

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::keys::{SigningKey, Token, User, es256_twin};
use devkit::testbed::{Builder, ORIGIN, RESOLVER, TestBed};
use devkit::traffic::Traffic;
use devkit::wait::{DEADLINE, until};
use serde_json::json;

const ASKED: &str = "authgear_token_revalidations_total";
const CONFIRMED: &str = "authgear_token_revalidations_confirmed_total";
const REFUSED: &str = "authgear_token_revalidations_refused_total";
const UNKNOWN: &str = "authgear_token_revalidations_unknown_total";
const FAILED: &str = "authgear_token_revalidations_failed_total";

fn revalidating(every: &str) -> Builder {
    let every = json!(every);
    TestBed::builder().project(move |project| project["jwt"] = json!({ "revalidate": every }))
}

async fn status(bed: &TestBed, token: &str) -> u16 {
    bed.get("/api/me").bearer(token).send().await.status
}

/// Uses a token until this statistic has reached a value: the answer is 200 all the time.
async fn use_until(bed: &TestBed, token: &str, metric: &str, least: u64) {
    let passes = async || {
        assert_eq!(status(bed, token).await, 200, "{metric}");
        (bed.count(metric).await >= least).then_some(())
    };
    until(DEADLINE, metric, passes).await.expect(metric);
}

async fn until_refused(bed: &TestBed, token: &str) {
    let reply = bed
        .until_status(401, || bed.get("/api/me").bearer(token))
        .await;
    assert_eq!(reply.json()["code"], "invalid_token", "{reply:?}");
    let challenge = reply.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("error=\"invalid_token\""), "{reply:?}");
}

/// A token with a valid signature that does not resolve, as after a logout.
fn of_nobody_here(bed: &TestBed, client_id: &str) -> String {
    let token = Token::user(ORIGIN, &bed.alice).claim("client_id", client_id);
    token.sign(&bed.authgear.key())
}

fn of_somebody(bed: &TestBed, client_id: &str) -> String {
    let token = bed.authgear.token(&bed.alice).claim("client_id", client_id);
    bed.authgear.issue(&bed.alice, &token)
}

#[tokio::test]
async fn a_token_is_confirmed_in_the_background_and_by_itself_alone() {
    let bed = revalidating("1h")
        .session(json!({ "timeout": "30s" }))
        .start()
        .await;
    bed.keys_are_there().await;
    let hold = bed.authgear.hold(Resolver);
    let token = bed.token();
    for _ in 0..10 {
        let request = bed.get("/api/me?secret").bearer(&token);
        let reply = request.cookie("other=1").header("x-mine", "1").send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    hold.wait_for(1).await;
    assert_eq!(status(&bed, &token).await, 200);

    let call = bed.authgear.calls_to(RESOLVER).remove(0);
    let authorization = format!("Bearer {token}");
    assert_eq!(
        call.header("authorization").as_deref(),
        Some(&*authorization)
    );
    assert_eq!(
        (&*call.method, &*call.authority),
        ("GET", "auth.example.com")
    );
    for absent in ["cookie", "x-mine"] {
        assert!(!call.headers.has(absent), "{call:#?}");
    }

    hold.release();
    use_until(&bed, &token, CONFIRMED, 1).await;
    // Once in that time, however often it is used.
    for _ in 0..10 {
        assert_eq!(status(&bed, &token).await, 200);
    }
    assert_eq!(bed.count(ASKED).await, 1);
    assert_eq!(bed.resolver_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn a_token_in_use_is_confirmed_once_in_that_time() {
    let bed = revalidating("1s").start().await;
    let known = bed.get("/").bearer(bed.token());
    let traffic = Traffic::every(Duration::from_millis(20), move || known.clone());
    let calls = bed.authgear.wait_for_calls(RESOLVER, 4).await;
    traffic.ended().await.assert_only(&[200]);
    let took = calls[3].at.duration_since(calls[0].at).expect("in order");
    // Thrice a second, but for the tick that makes the call.
    assert!(took > Duration::from_millis(2_700), "{took:?}");
    bed.finish().await;
}

/// A user who is disabled for a time: Authgear keeps the session, and says `false` as long.
#[tokio::test]
async fn a_suspended_users_token_is_refused_until_authgear_confirms_it_again() {
    let bed = revalidating("1s").start().await;
    let token = bed.token();
    assert_eq!(status(&bed, &token).await, 200);
    bed.authgear.suspend(&bed.alice, true);
    until_refused(&bed, &token).await;
    bed.wait_for_count(REFUSED, |refused| refused >= 1).await;

    // New keys, the old one among them, do not bring it back.
    bed.authgear.publish_next_key();
    bed.authgear.sign_with_next_key();
    // A token that was never asked about passes once, and has the keys fetched.
    assert_eq!(status(&bed, &bed.token()).await, 200);
    bed.envoy.wait_for_log("JWKS: 2 keys in use").await;
    assert_eq!(status(&bed, &token).await, 401);

    bed.authgear.suspend(&bed.alice, false);
    bed.until_status(200, || bed.get("/").bearer(&token)).await;
    bed.finish().await;
}

/// Of an ECDSA signature (r, s) anybody can make (r, n - s).
#[tokio::test]
async fn a_banned_users_token_is_refused_under_its_other_signature_too() {
    for both_in_use in [false, true] {
        let bed = revalidating("1s")
            .project(|project| project["jwt"]["algorithms"] = json!(["ES256"]))
            .prepare(|authgear| authgear.set_keys(vec![SigningKey::es256()]))
            .start()
            .await;
        let token = bed.token();
        let twin = es256_twin(&token);
        assert_eq!(status(&bed, &token).await, 200);
        if both_in_use {
            assert_eq!(status(&bed, &twin).await, 200);
        }
        // Under either signature it is one token to be confirmed.
        use_until(&bed, &token, CONFIRMED, 1).await;
        bed.authgear.disable(&bed.alice);
        until_refused(&bed, &token).await;
        assert_eq!(status(&bed, &twin).await, 401, "{both_in_use}");
        assert_eq!(status(&bed, &token).await, 401, "{both_in_use}");
        bed.wait_for_count(REFUSED, |refused| refused >= 1).await;
        bed.finish().await;
    }
}

#[tokio::test]
async fn every_worker_finds_out_about_the_tokens_it_sees() {
    let bed = revalidating("1s").workers(4).start().await;
    let workers = bed.every_worker().await;
    let token = bed.token();
    for worker in &workers {
        let reply = bed.get("/").bearer(&token).over(worker).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    bed.wait_for_count(CONFIRMED, |confirmed| confirmed >= 4)
        .await;
    bed.authgear.delete(&bed.alice);
    for worker in &workers {
        bed.until_status(401, || bed.get("/").bearer(&token).over(worker))
            .await;
    }
    bed.wait_for_count(REFUSED, |refused| refused >= 4).await;
    bed.finish().await;
}

/// Of each of these the resolver says nothing: all that the user was given is gone.
#[tokio::test]
async fn a_logout_or_a_ban_is_seen_once_a_token_of_its_scope_was_confirmed() {
    type End = fn(&TestBed, &str);
    let ends: [(&str, End); 3] = [
        ("logout", |bed, token| {
            assert!(bed.authgear.revoke(token));
        }),
        ("ban", |bed, _| bed.authgear.disable(&bed.alice)),
        ("deletion", |bed, _| bed.authgear.delete(&bed.alice)),
    ];
    for (name, end) in ends {
        let bed = revalidating("1s").start().await;
        let token = bed.token();
        use_until(&bed, &token, CONFIRMED, 1).await;
        end(&bed, &token);
        until_refused(&bed, &token).await;
        bed.wait_for_count(REFUSED, |refused| refused >= 1).await;
        assert_eq!(bed.count(UNKNOWN).await, 0, "{name}");
        bed.finish().await;
    }
}

#[tokio::test]
async fn silence_of_a_kind_that_was_never_confirmed_means_nothing() {
    let bed = revalidating("1s").start().await;
    let (silent, ours) = (
        of_nobody_here(&bed, "a-client"),
        of_somebody(&bed, "another-client"),
    );
    use_until(&bed, &silent, UNKNOWN, 1).await;
    // With another client's headers it has been confirmed: that is another scope.
    use_until(&bed, &ours, CONFIRMED, 1).await;
    use_until(&bed, &silent, UNKNOWN, 3).await;

    // Now one of its own scope.
    let like_it = of_somebody(&bed, "a-client");
    let before = bed.count(CONFIRMED).await;
    use_until(&bed, &like_it, CONFIRMED, before + 1).await;
    until_refused(&bed, &silent).await;
    assert_eq!(status(&bed, &like_it).await, 200);
    assert_eq!(status(&bed, &ours).await, 200);
    bed.finish().await;
}

#[tokio::test]
async fn a_resolver_that_fails_leaves_the_verdict_to_the_signature() {
    for fault in [
        Fault::Status(500),
        Fault::Status(599),
        Fault::Reset,
        Fault::Hang,
    ] {
        let shown = format!("{fault:?}");
        let bed = revalidating("1s")
            .session(json!({ "timeout": "200ms" }))
            .start()
            .await;
        let token = bed.token();
        use_until(&bed, &token, CONFIRMED, 1).await;
        bed.authgear.fault(Resolver, fault);
        use_until(&bed, &token, FAILED, 2).await;
        assert_eq!(bed.count(REFUSED).await, 0, "{shown}");

        // Once the resolver answers again, its verdict counts again.
        bed.authgear.clear_faults();
        bed.authgear.suspend(&bed.alice, true);
        until_refused(&bed, &token).await;
        bed.finish().await;
    }
}

#[tokio::test]
async fn a_resolver_that_names_somebody_else_is_not_believed() {
    let bed = revalidating("1s").start().await;
    let bob = devkit::keys::User::new("bob");
    let answer = bob.headers().iter().fold(
        devkit::message::CannedResponse::status(200),
        |answer, (name, value)| answer.header(name, value),
    );
    bed.authgear.fault(Resolver, Fault::Custom(answer));
    let token = bed.token();
    // It is no verdict on this token: until there is one, the token does not pass.
    bed.until_status(503, || bed.get("/").bearer(&token)).await;
    bed.wait_for_count(FAILED, |failed| failed >= 1).await;
    bed.authgear.clear_faults();
    bed.until_status(200, || bed.get("/").bearer(&token)).await;
    for request in bed.forwarded() {
        assert_eq!(request.identity(), bed.alice.headers());
    }
    bed.envoy.wait_for_log("names another user").await;
    bed.finish().await;
}

#[tokio::test]
async fn tokens_for_others_and_refused_ones_are_not_asked_for() {
    let resource = "https://api.example.com";
    let bed = revalidating("1s")
        .project(move |project| project["jwt"]["audiences"] = json!([ORIGIN, resource]))
        .start()
        .await;
    let for_others = Token::user(ORIGIN, &bed.alice).audience(json!([resource]));
    let for_others = for_others.sign(&bed.authgear.key());
    let expired = bed.authgear.token(&bed.alice).expires_in(-3_600);
    let expired = bed.authgear.issue(&bed.alice, &expired);
    let machine = bed.authgear.machine_token(resource, "a-machine");
    for _ in 0..3 {
        assert_eq!(status(&bed, &for_others).await, 200);
        assert_eq!(status(&bed, &expired).await, 401);
        assert_ne!(status(&bed, &machine).await, 200);
    }
    // The token that is confirmed comes behind them.
    use_until(&bed, &bed.token(), CONFIRMED, 1).await;
    assert_eq!(bed.resolver_calls(), 1);
    bed.finish().await;
}

/// All that it needs is tried natively, by `gate/src/config/tests/refused.rs`.
#[tokio::test]
async fn what_it_needs_is_demanded_at_load() {
    let refused = revalidating("1s").session(json!(null)).try_start().await;
    let error = refused.err().expect("refused").to_string();
    let line = error.lines().find(|line| line.contains("revalidate"));
    let line = line.unwrap_or_else(|| panic!("{error}"));
    assert!(line.contains("configuration refused: "), "{line}");
    assert!(line.contains("session"), "{line}");
}

/// An answer goes to the stream whose callback made the call: were that a stranger's, it would be lost with the stream.
#[tokio::test]
async fn no_confirmation_is_lost_in_a_flood_of_made_up_sessions() {
    let bed = std::sync::Arc::new(revalidating("1s").start().await);
    bed.keys_are_there().await;
    bed.authgear
        .fault(Resolver, Fault::Delay(Duration::from_millis(20)));
    let flood: Vec<_> = (0..8)
        .map(|stranger| {
            let bed = bed.clone();
            tokio::spawn(async move {
                for nth in 0.. {
                    let made_up = format!("session={stranger}-{nth}");
                    let reply = bed.get("/").cookie(made_up).send().await;
                    assert_eq!(reply.status, 401, "{reply:?}");
                }
            })
        })
        .collect();
    // A user has a few background calls at once: each token is another's.
    let tokens: Vec<String> = (0..10)
        .map(|nth| {
            let user = bed.authgear.add_user(User::new(&format!("user-{nth}")));
            bed.authgear.access_token(&user)
        })
        .collect();
    for nth in 0.. {
        assert_eq!(status(&bed, &tokens[nth % 10]).await, 200);
        if bed.count(ASKED).await >= 100 {
            break;
        }
    }
    for stranger in flood {
        stranger.abort();
    }
    let all_answered = async || {
        let answered = bed.count(CONFIRMED).await;
        (answered == bed.count(ASKED).await).then_some(())
    };
    let answered = until(DEADLINE, "an answer to each", all_answered).await;
    answered.expect("an answer to each");
}
