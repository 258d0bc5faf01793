//! What a client causes is no outage: it keeps nobody in, delays nobody else, and the call is retried without what the client
//! chose.
//!
//! A firewall before the resolver refuses some calls: by their user agent, or by a cookie.

use std::time::{Duration, Instant};

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::client::Request;
use devkit::message::{CannedResponse, Recorded, Reply};
use devkit::testbed::{Builder, RESOLVER, TestBed, closed_port};
use devkit::traffic::Traffic;
use serde_json::json;

/// What the firewall refuses.
const ODD: &str = "Odd/1.0";
/// Between two lines of one kind.
const LOG_PAUSE_SECONDS: u64 = 10;
const FAILED: &str = "authgear_token_revalidations_failed_total";
const OPENED: &str = "authgear_resolver_breaker_opened_total";
const STALE: &str = "authgear_sessions_served_stale_total";

/// Answers that are neither a verdict nor an outage.
fn no_outages() -> Vec<Fault> {
    let custom = |status| CannedResponse::status(status);
    vec![
        Fault::Status(403),
        Fault::Status(400),
        Fault::Status(404),
        Fault::Status(431),
        Fault::Custom(custom(429).header("retry-after", "7")),
        Fault::Custom(custom(204)),
        Fault::Redirect("https://firewall.example.com/captcha".to_owned()),
        Fault::Custom(custom(200).header("x-authgear-session-valid", "maybe")),
        Fault::Custom(custom(200).header("x-authgear-session-valid", "true")),
    ]
}

/// One of each kind of them.
fn some_no_outages() -> Vec<Fault> {
    let all = no_outages();
    [0, 4, 6, 7].map(|nth| all[nth].clone()).to_vec()
}

/// Every request makes a call, and the last valid answer bridges outages for the whole test.
fn bridging() -> Builder {
    TestBed::builder().session(json!({ "ttl": "0s", "negative_ttl": "0s", "stale_if_error": "1h" }))
}

fn odd(request: Request) -> Request {
    request.header("user-agent", ODD)
}

fn assert_unavailable(what: &str, reply: &Reply) {
    assert_eq!(reply.status, 503, "{what}: {reply:?}");
    assert_eq!(reply.json()["code"], "unavailable", "{what}: {reply:?}");
    assert!(reply.headers.has("retry-after"), "{what}: {reply:?}");
}

/// This call carries nothing of the client's.
fn assert_of_nobody(call: &Recorded) {
    for header in ["user-agent", "x-forwarded-for"] {
        assert!(!call.headers.has(header), "{call:#?}");
    }
}

#[tokio::test]
async fn who_has_logged_out_stays_out_whatever_user_agent_is_sent() {
    let bed = bridging().start().await;
    for fault in no_outages() {
        let shown = format!("{fault:?}");
        let (session, other) = (bed.authgear.session(&bed.alice), bed.cookie());
        let cookie = format!("session={session}");
        for known in [&cookie, &other] {
            assert_eq!(bed.get("/").cookie(known).send().await.status, 200);
        }
        bed.authgear
            .fault(Resolver, fault.only_if("user-agent", ODD));
        assert!(bed.authgear.revoke(&session));
        bed.backend.clear();
        bed.authgear.clear_calls();

        let reply = odd(bed.get("/").cookie(&cookie)).send().await;
        assert_eq!(reply.status, 401, "{shown}: {reply:?}");
        bed.assert_nothing_forwarded();
        let calls = bed.authgear.calls_to(RESOLVER);
        assert_eq!(calls.len(), 2, "{shown}: {calls:#?}");
        assert_eq!(calls[0].header("user-agent").as_deref(), Some(ODD));
        assert_eq!(calls[0].header("cookie"), calls[1].header("cookie"));
        assert_of_nobody(&calls[1]);
        // The user who is logged in stays so, and is the same.
        let reply = odd(bed.get("/").cookie(&other)).send().await;
        assert_eq!(reply.status, 200, "{shown}: {reply:?}");
        assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
        assert_eq!(bed.count(STALE).await, 0, "{shown}");
        bed.authgear.clear_faults();
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_resolver_that_refuses_everything_keeps_nobody_in() {
    let bed = bridging().start().await;
    for (nth, fault) in (1..).zip(no_outages()) {
        let shown = format!("{fault:?}");
        let limited = shown.contains("429");
        let cookie = bed.cookie();
        assert_eq!(bed.get("/").cookie(&cookie).send().await.status, 200);
        bed.authgear.fault(Resolver, fault);
        bed.backend.clear();
        bed.authgear.clear_calls();
        for _ in 0..10 {
            let reply = odd(bed.get("/").cookie(&cookie)).send().await;
            assert_unavailable(&shown, &reply);
            let retry_after = if limited { "7" } else { "1" };
            let reported = reply.header("retry-after");
            assert_eq!(reported.as_deref(), Some(retry_after), "{shown}");
        }
        bed.assert_nothing_forwarded();
        // Once with what the client chose, and once without.
        assert_eq!(bed.resolver_calls(), 20, "{shown}");
        // Never cached.
        bed.authgear.clear_faults();
        assert_eq!(bed.get("/").cookie(&cookie).send().await.status, 200);
        bed.wait_for_count("authgear_resolver_failures_total", |failed| {
            failed == 20 * nth
        })
        .await;
        assert_eq!((bed.count(STALE).await, bed.count(OPENED).await), (0, 0));
    }
    bed.finish().await;
}

#[tokio::test]
async fn an_outage_is_bridged_as_always_and_a_500_or_a_reset_is_retried_once() {
    for (fault, calls) in [
        (Fault::Status(500), 2),
        (Fault::Status(502), 1),
        (Fault::Status(599), 1),
        (Fault::LockFailure, 2),
        (Fault::Reset, 2),
    ] {
        let shown = format!("{fault:?}");
        let bed = bridging().start().await;
        let cookie = bed.cookie();
        assert_eq!(bed.get("/").cookie(&cookie).send().await.status, 200);
        bed.authgear.fault(Resolver, fault);
        bed.authgear.clear_calls();
        let reply = odd(bed.get("/").cookie(&cookie)).send().await;
        assert_eq!(reply.status, 200, "{shown}: {reply:?}");
        assert_eq!(bed.resolver_calls(), calls, "{shown}");
        bed.wait_for_count(STALE, |stale| stale == 1).await;
        bed.finish().await;
    }
    let bed = TestBed::builder()
        .session(json!({ "cluster": "closed", "stale_if_error": "1h" }))
        .envoy(|envoy| envoy.cluster("closed", &[closed_port()]))
        .start()
        .await;
    let reply = odd(bed.get("/").cookie(bed.cookie())).send().await;
    assert_unavailable("nothing to bridge it with", &reply);
    bed.finish().await;
}

#[tokio::test]
async fn those_who_ask_together_are_answered_by_the_second_question() {
    let bed = TestBed::builder()
        .session(json!({ "timeout": "30s" }))
        .start()
        .await;
    bed.authgear
        .fault(Resolver, Fault::Status(403).only_if("user-agent", ODD));
    let cookie = bed.cookie();
    let hold = bed.authgear.hold(Resolver);
    let first = odd(bed.get("/").cookie(&cookie)).start();
    hold.wait_for(1).await;
    let others: Vec<_> = (0..5)
        .map(|_| bed.get("/").cookie(&cookie).start())
        .collect();
    bed.wait_for_active(6).await;
    hold.release();
    for request in others.into_iter().chain([first]) {
        let reply = request.reply().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let calls = bed.authgear.calls_to(RESOLVER);
    assert_eq!(calls.len(), 2, "{calls:#?}");
    assert_of_nobody(&calls[1]);
    bed.finish().await;
}

#[tokio::test]
async fn strangers_who_are_limited_or_refused_are_strangers_to_everybody_else() {
    // What is cached for less than a second is not refreshed before it expires.
    let bed = TestBed::builder()
        .session(json!({ "ttl": "900ms", "negative_ttl": "0s", "stale_if_error": "1h" }))
        .start()
        .await;
    for fault in some_no_outages() {
        let shown = format!("{fault:?}");
        // The second entry expires before the first: once it is refreshed, so is the first.
        let [banned_cookie, later] = [(); 2]
            .map(|()| bed.authgear.session(&bed.alice))
            .map(|session| (format!("session={session}"), session));
        for (cookie, session) in [&banned_cookie, &later] {
            assert_eq!(bed.get("/").cookie(cookie).send().await.status, 200);
            assert!(bed.authgear.revoke(session));
        }
        bed.until_status(401, || bed.get("/").cookie(&later.0))
            .await;
        let banned_cookie = banned_cookie.0;
        let cached = bed.cookie();
        assert_eq!(bed.get("/").cookie(&cached).send().await.status, 200);

        bed.authgear
            .fault(Resolver, fault.only_if("cookie", "stranger"));
        let strangers: Vec<_> = (0..20)
            .map(|nth| {
                bed.get("/")
                    .cookie(format!("session=stranger-{nth}"))
                    .start()
            })
            .collect();
        for stranger in strangers {
            assert_unavailable(&shown, &stranger.reply().await);
        }
        let status = async |cookie: &str| bed.get("/").cookie(cookie).send().await.status;
        assert_eq!(status(&bed.cookie()).await, 200, "{shown}: cold");
        assert_eq!(status(&cached).await, 200, "{shown}: cached");
        assert_eq!(status(&banned_cookie).await, 401, "{shown}: banned");
        assert_eq!((bed.count(STALE).await, bed.count(OPENED).await), (0, 0));
        bed.authgear.clear_faults();
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_session_is_refreshed_without_what_its_client_chose() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "2s", "negative_ttl": "5m" }))
        .start()
        .await;
    bed.authgear
        .fault(Resolver, Fault::Status(403).only_if("user-agent", ODD));
    let session = bed.authgear.session(&bed.alice);
    let known = odd(bed.get("/").cookie(format!("session={session}")));
    let request = known.clone();
    let busy = Traffic::every(Duration::from_millis(20), move || request.clone());
    let calls = bed.authgear.wait_for_calls(RESOLVER, 4).await;
    for call in &calls[1..] {
        assert_of_nobody(call);
    }
    assert!(bed.authgear.revoke(&session));
    bed.until_status(401, || known.clone()).await;
    busy.ended().await.assert_only(&[200, 401]);
    assert_eq!(bed.count("authgear_session_cache_misses_total").await, 1);
    bed.finish().await;
}

// === Tokens that are confirmed ===

fn revalidating() -> Builder {
    TestBed::builder().project(|project| project["jwt"] = json!({ "revalidate": "1s" }))
}

#[tokio::test]
async fn a_banned_users_token_is_refused_whatever_user_agent_is_sent() {
    let bed = revalidating().start().await;
    bed.authgear
        .fault(Resolver, Fault::Status(403).only_if("user-agent", ODD));
    let token = bed.token();
    let request = || odd(bed.get("/").bearer(&token));
    assert_eq!(request().send().await.status, 200);
    bed.authgear.suspend(&bed.alice, true);
    bed.until_status(401, request).await;
    for call in bed.authgear.calls_to(RESOLVER) {
        assert_of_nobody(&call);
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_token_that_nobody_can_confirm_is_not_good_until_somebody_does() {
    for fault in some_no_outages() {
        let shown = format!("{fault:?}");
        let bed = revalidating().start().await;
        bed.authgear.fault(Resolver, fault);
        let (token, banned) = (
            bed.token(),
            bed.authgear.add_user(devkit::keys::User::new("bob")),
        );
        let banned_token = bed.authgear.access_token(&banned);
        let request = || bed.get("/").bearer(&token);
        for token in [&token, &banned_token] {
            let reply = bed.until_status(503, || bed.get("/").bearer(token)).await;
            assert_unavailable(&shown, &reply);
        }
        bed.authgear.suspend(&banned, true);

        // Each use confirms it again, once a second: no request passes, whatever fails meanwhile.
        bed.authgear.clear_calls();
        let held = request();
        let traffic = Traffic::every(Duration::from_millis(10), move || held.clone());
        let calls = bed.authgear.wait_for_calls(RESOLVER, 2).await;
        bed.authgear.fault(Resolver, Fault::Status(500));
        bed.authgear.wait_for_calls(RESOLVER, 3).await;
        traffic.goes_on(3).await;
        traffic.ended().await.assert_only(&[503]);
        let pause = calls[1].at.duration_since(calls[0].at).expect("in order");
        assert!(pause > Duration::from_millis(900), "{shown}: {pause:?}");

        bed.authgear.clear_faults();
        bed.until_status(200, request).await;
        let reply = bed
            .until_status(401, || bed.get("/").bearer(&banned_token))
            .await;
        assert_eq!(reply.json()["code"], "invalid_token", "{shown}");
        assert!(bed.count(FAILED).await >= 3, "{shown}");
        bed.finish().await;
    }
}

// === The log ===

#[tokio::test]
async fn what_clients_cause_is_logged_once_in_a_while_whatever_flips() {
    for fault in [
        Fault::Status(503),
        Fault::Reset,
        Fault::Status(403),
        Fault::Custom(CannedResponse::status(429).header("retry-after", "7")),
    ] {
        let shown = format!("{fault:?}");
        let is_outage = shown.contains("503") || shown == "Reset";
        let bed = TestBed::builder()
            .session(json!({ "ttl": "0s", "negative_ttl": "0s" }))
            .start()
            .await;
        bed.authgear
            .fault(Resolver, fault.only_if("cookie", "stranger"));
        let cookie = bed.cookie();
        let started = Instant::now();
        // Several, for each waits for its retry.
        let strangers: Vec<_> = (0..8)
            .map(|nth| {
                let request = bed.get("/");
                let mut sent = 0;
                Traffic::every(Duration::from_millis(16), move || {
                    sent += 1;
                    request
                        .clone()
                        .cookie(format!("session=stranger-{nth}-{sent}"))
                })
            })
            .collect();
        let known = bed.get("/").cookie(&cookie);
        let user = Traffic::every(Duration::from_millis(50), move || known.clone());
        strangers[0].goes_on(20).await;
        user.goes_on(20).await;
        let mut sent = 0;
        for stranger in strangers {
            sent += stranger.ended().await.sent();
        }
        assert!(sent > 100, "{shown}");
        user.ended().await;
        let most = 2 * (1 + started.elapsed().as_secs() / LOG_PAUSE_SECONDS);
        let logs = bed.envoy.logs();
        let lines: Vec<&str> = logs
            .lines()
            .filter(|line| line.contains("resolver"))
            .collect();
        // One line says how it failed, one that it answers again.
        let reported = lines.len() as u64;
        assert!((1..=most).contains(&reported), "{shown}: {lines:#?}");
        assert_eq!(logs.contains("resolver fails"), is_outage, "{lines:#?}");
        bed.finish().await;
    }
}
