//! The resolver's `Set-Cookie`: for the one client whose request made the call, if the operator wants it.

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::message::{CannedResponse, Reply};
use devkit::testbed::{Builder, TestBed};
use devkit::wait::{DEADLINE, until};
use serde_json::{Value, json};

const INVALID: &str = "session=nonsense";

/// `/optional` is for everybody; what the resolver says is cached for the whole test.
fn relaying(relay: Value) -> Builder {
    let session = json!({
        "ttl": "1h", "negative_ttl": "5m", "timeout": "30s", "relay_set_cookie": relay,
    });
    TestBed::builder()
        .session(session)
        .rules(json!([{ "match": { "path": "/optional" }, "require": "optional" }]))
}

fn set_cookies(reply: &Reply) -> Vec<String> {
    let values = reply.headers.all("set-cookie").into_iter();
    values
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

fn assert_cleared(reply: &Reply) {
    let cookies = set_cookies(reply);
    assert_eq!(cookies.len(), 1, "{reply:?}");
    assert!(cookies[0].starts_with("session=; Path=/;"), "{reply:?}");
    assert!(cookies[0].contains("Secure"), "{reply:?}");
}

/// A valid verdict of the resolver's, with cookies.
fn valid(bed: &TestBed, cookies: &[&str]) -> Fault {
    let answer = bed
        .alice
        .headers()
        .iter()
        .fold(CannedResponse::status(200), |answer, (name, value)| {
            answer.header(name, value)
        });
    let with = |answer: CannedResponse, cookie: &&str| answer.header("set-cookie", cookie);
    Fault::Custom(cookies.iter().fold(answer, with))
}

#[tokio::test]
async fn an_invalid_sessions_cookie_is_cleared_once_for_whoever_sent_it() {
    let bed = relaying(json!(true)).start().await;
    let reply = bed.get("/").cookie(INVALID).send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_cleared(&reply);
    // A cache hit has none.
    for path in ["/", "/optional", "/"] {
        let reply = bed.get(path).cookie(INVALID).send().await;
        assert_eq!(set_cookies(&reply), [""; 0], "{path}");
    }
    assert_eq!(bed.resolver_calls(), 1);

    let reply = bed.get("/optional").cookie("session=more").send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_cleared(&reply);
    bed.finish().await;
}

#[tokio::test]
async fn nothing_is_relayed_unless_the_operator_wants_it() {
    for builder in [TestBed::builder(), relaying(json!(false))] {
        let bed = builder.start().await;
        let reply = bed.get("/").cookie(INVALID).send().await;
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(set_cookies(&reply), [""; 0]);
        bed.authgear
            .fault(Resolver, valid(&bed, &["session=new; Path=/"]));
        let reply = bed.get("/").cookie(bed.cookie()).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(set_cookies(&reply), [""; 0]);
        bed.finish().await;
    }
}

#[tokio::test]
async fn only_the_projects_own_cookies_are_relayed_beside_the_backends() {
    let bed = relaying(json!(true)).start().await;
    let good = ["session=new; Path=/; HttpOnly", "app_session=; Max-Age=0"];
    let all = [
        "tracking=1",
        good[0],
        "Session=other",
        "session2=1",
        good[1],
        "xsession=1",
        "csrf=session=1",
    ];
    bed.authgear.fault(Resolver, valid(&bed, &all));
    let own = CannedResponse::status(200)
        .header("set-cookie", "app=1")
        .header("set-cookie", "session=of-the-backend");
    bed.backend.answer(Some(own));

    let reply = bed.get("/").cookie(bed.cookie()).send().await;

    assert_eq!(reply.status, 200, "{reply:?}");
    let mut cookies = set_cookies(&reply);
    cookies.sort();
    let mut expected = [good[0], good[1], "app=1", "session=of-the-backend"];
    expected.sort_unstable();
    assert_eq!(cookies, expected);
    bed.backend.answer(None);
    bed.finish().await;
}

#[tokio::test]
async fn who_shares_a_call_shares_no_cookie() {
    let bed = relaying(json!(true)).start().await;
    let hold = bed.authgear.hold(Resolver);
    let first = bed.get("/").cookie(INVALID).start();
    hold.wait_for(1).await;
    let others: Vec<_> = (0..10)
        .map(|_| bed.get("/").cookie(INVALID).start())
        .collect();
    bed.wait_for_active(11).await;
    hold.release();
    assert_cleared(&first.reply().await);
    for other in others {
        let reply = other.reply().await;
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(set_cookies(&reply), [""; 0]);
    }
    assert_eq!(bed.resolver_calls(), 1);
    bed.finish().await;
}

#[tokio::test]
async fn each_of_many_at_once_gets_its_own_cookie() {
    let bed = relaying(json!(true)).start().await;
    let hold = bed.authgear.hold(Resolver);
    let crowd: Vec<_> = (0..40)
        .map(|nth| {
            let (valid, cookie) = if nth % 2 == 0 {
                (true, bed.cookie())
            } else {
                (false, format!("session=nonsense-{nth}"))
            };
            (valid, bed.get("/").cookie(cookie).start())
        })
        .collect();
    hold.wait_for(40).await;
    hold.release();
    for (valid, request) in crowd {
        let reply = request.reply().await;
        if valid {
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!(set_cookies(&reply), [""; 0]);
        } else {
            assert_eq!(reply.status, 401, "{reply:?}");
            assert_cleared(&reply);
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn the_cookie_for_a_client_that_has_left_goes_to_nobody() {
    let bed = relaying(json!(true)).start().await;
    let hold = bed.authgear.hold(Resolver);
    let first = bed.get("/").cookie(INVALID).start();
    hold.wait_for(1).await;
    let second = bed.get("/").cookie(INVALID).start();
    bed.wait_for_active(2).await;
    first.disconnect().await;
    bed.wait_for_active(1).await;
    hold.release();
    let reply = second.reply().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(set_cookies(&reply), [""; 0]);
    for nth in 0..5 {
        let reply = bed.get("/").bearer(bed.token()).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(set_cookies(&reply), [""; 0], "{nth}");
    }
    bed.finish().await;
}

#[tokio::test]
async fn what_is_found_out_in_the_background_clears_no_cookie() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "2s", "negative_ttl": "5m", "relay_set_cookie": true }))
        .start()
        .await;
    let session = bed.authgear.session(&bed.alice);
    let cookie = format!("session={session}");
    assert_eq!(bed.get("/").cookie(&cookie).send().await.status, 200);
    assert!(bed.authgear.revoke(&session));
    let ended = async || {
        let reply = bed.get("/").cookie(&cookie).send().await;
        (reply.status == 401).then_some(reply)
    };
    let reply = until(DEADLINE, "the logout to be seen", ended).await;
    let reply = reply.expect("an answer of 401");
    // Only where the time had ended before, on a slow machine, has this client's own request made the call.
    let waited = bed.count("authgear_session_cache_misses_total").await > 1;
    assert_eq!(set_cookies(&reply).len(), usize::from(waited), "{reply:?}");
    bed.finish().await;
}

#[tokio::test]
async fn under_a_prefix_its_cookies_are_relayed_and_no_others() {
    let bed = relaying(json!(true))
        .project(|project| project["cookie_prefix"] = json!("my_"))
        .start()
        .await;
    bed.authgear
        .configure(|settings| settings.cookie_prefix = "my_".to_owned());
    let reply = bed.get("/").cookie("my_session=nonsense").send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    let cookies = set_cookies(&reply);
    assert_eq!(cookies.len(), 1, "{reply:?}");
    assert!(cookies[0].starts_with("my_session=; Path=/;"), "{reply:?}");

    let own = "my_app_session=new; Path=/";
    let all = ["session=1", "app_session=1", "my_=1", "xmy_session=1", own];
    bed.authgear.fault(Resolver, valid(&bed, &all));
    let reply = bed.get("/").cookie("my_session=another").send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(set_cookies(&reply), [own]);
    bed.authgear
        .configure(|settings| settings.cookie_prefix.clear());
    bed.finish().await;
}
