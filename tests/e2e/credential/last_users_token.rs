//! Several credentials in one browser: which of them counts depends on which is still valid, as in Authgear.
//!
//! Nobody clears the access token that a pre-authenticated URL has left in a cookie: it stays there while its user logs out
//! and the next one logs in.

use std::cell::Cell;

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::client::Request;
use devkit::keys::User;
use devkit::message::Reply;
use devkit::testbed::{Builder, RESOLVER, TestBed};
use devkit::wait::{DEADLINE, until};
use serde_json::{Value, json};

/// Verdicts are cached for too short a time to be refreshed before they expire.
fn short_ttl() -> Builder {
    TestBed::builder().session(json!({ "ttl": "900ms", "negative_ttl": "900ms" }))
}

fn bob(bed: &TestBed) -> User {
    bed.authgear.add_user(User::new("bob").roles(&["reader"]))
}

async fn assert_user(bed: &TestBed, what: &str, request: Request, user: &User) {
    bed.backend.clear();
    assert_is(bed, what, &request.send().await, Some(user));
}

async fn assert_refused(bed: &TestBed, what: &str, request: Request) {
    bed.backend.clear();
    assert_is(bed, what, &request.send().await, None);
}

/// The answer to the last request, of this user or nobody.
fn assert_is(bed: &TestBed, what: &str, reply: &Reply, user: Option<&User>) {
    if let Some(user) = user {
        assert_eq!(reply.status, 200, "{what}: {reply:?}");
        assert_eq!(bed.only_forwarded().identity(), user.headers(), "{what}");
    } else {
        assert_eq!(reply.status, 401, "{what}: {reply:?}");
        bed.assert_nothing_forwarded();
    }
}

/// Sends it again and again until it takes so many calls to answer it. The answer, and how many were sent before.
async fn until_calls(
    bed: &TestBed,
    what: &str,
    calls: usize,
    request: impl Fn() -> Request,
) -> (Reply, usize) {
    let before = Cell::new(0);
    let taken = async || {
        bed.backend.clear();
        bed.authgear.clear_calls();
        let reply = request().send().await;
        if bed.resolver_calls() != calls {
            before.set(before.get() + 1);
            return None;
        }
        Some(reply)
    };
    let reply = until(DEADLINE, what, taken).await;
    (
        reply.unwrap_or_else(|error| panic!("{error}")),
        before.get(),
    )
}

/// On a cache miss, on a cache hit, and once the entry has expired. How many were sent before the first of them.
async fn always(
    bed: &TestBed,
    what: &str,
    request: impl Fn() -> Request,
    user: Option<&User>,
) -> usize {
    let mut first = None;
    for (when, calls) in [("asked", 1), ("cached", 0), ("asked again", 1)] {
        let what = format!("{what}, {when}");
        let (reply, before) = until_calls(bed, &what, calls, &request).await;
        assert_is(bed, &what, &reply, user);
        first.get_or_insert(before);
    }
    first.unwrap_or_default()
}

#[tokio::test]
async fn the_last_users_token_counts_beside_the_next_ones_session_while_it_lives() {
    let bed = short_ttl().start().await;
    let bob = bob(&bed);
    let token = bed.token();
    let session = bed.authgear.session(&bob);
    let line = format!("session={session}; app_access_token={token}");
    let both = || bed.get("/").cookie(&line);

    // Authgear reads an access token before a session.
    let before = always(&bed, "both live", both, Some(&bed.alice)).await;
    assert_eq!(before, 0);
    assert!(bed.authgear.revoke(&token));
    let left_over = format!("app_access_token={token}; session={session}");
    let both = || bed.get("/").cookie(&left_over);
    always(&bed, "alice has logged out", both, Some(&bob)).await;
    assert!(bed.authgear.revoke(&session));
    always(&bed, "both have logged out", both, None).await;

    let call = bed.authgear.calls_to(RESOLVER).remove(0);
    assert_eq!(call.header("cookie").as_deref(), Some(&*line));
    assert_eq!(call.header("authorization"), None);
    bed.finish().await;
}

#[tokio::test]
async fn who_has_logged_out_stays_out_though_the_signature_is_good() {
    let bed = TestBed::start().await;
    let bob = bob(&bed);
    for (what, others, user) in [
        (
            "a live session",
            vec![format!("session={}", bed.authgear.session(&bob))],
            Some(&bob),
        ),
        (
            "a live app session",
            vec![format!("app_session={}", bed.authgear.app_session(&bob))],
            Some(&bob),
        ),
        ("a dead session", vec!["session=nonsense".to_owned()], None),
        (
            "a dead app session and a live session",
            vec![
                "app_session=nonsense".to_owned(),
                format!("session={}", bed.authgear.session(&bob)),
            ],
            Some(&bob),
        ),
    ] {
        let token = bed.token();
        assert!(bed.authgear.revoke(&token));
        let token = format!("app_access_token={token}");
        let request = || {
            others
                .iter()
                .fold(bed.get("/").cookie(&token), |request, other| {
                    request.cookie(other)
                })
        };
        match user {
            Some(user) => assert_user(&bed, what, request(), user).await,
            None => assert_refused(&bed, what, request()).await,
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_token_that_stands_alone_is_judged_here() {
    for session in [json!({}), Value::Null] {
        let bed = TestBed::builder().session(session.clone()).start().await;
        let token = format!("app_access_token={}", bed.token());
        for beside in [
            "other=1",
            "session=",
            "app_session=",
            "my_session=1",
            "session",
        ] {
            let request = bed.get("/").cookie(&token).cookie(beside);
            assert_user(&bed, beside, request, &bed.alice).await;
        }
        if session.is_null() {
            let request = bed.get("/").cookie(&token).cookie("session=nonsense");
            assert_user(&bed, "no sessions", request, &bed.alice).await;
        }
        assert_eq!(bed.resolver_calls(), 0);
        bed.finish().await;
    }
}

#[tokio::test]
async fn a_token_in_a_header_is_meant_whatever_cookies_there_are() {
    let bed = TestBed::start().await;
    let bob = bob(&bed);
    let session = format!("session={}", bed.authgear.session(&bob));
    let token = bed.token();
    let request = || bed.get("/").bearer(&token).cookie(&session);
    assert_user(&bed, "live", request(), &bed.alice).await;
    assert!(bed.authgear.revoke(&token));
    assert_user(&bed, "until it expires", request(), &bed.alice).await;
    assert_eq!(bed.resolver_calls(), 0);
    bed.finish().await;
}

#[tokio::test]
async fn while_nobody_can_tell_which_one_lives_nobody_is_let_in() {
    let bed = TestBed::start().await;
    let bob = bob(&bed);
    let session = format!("session={}", bed.authgear.session(&bob));
    let token = format!("app_access_token={}", bed.token());
    bed.authgear.fault(Resolver, Fault::Status(502));
    let request = bed.get("/").cookie(&token).cookie(&session);
    let reply = request.send().await;
    assert_eq!(reply.status, 503, "{reply:?}");
    bed.assert_nothing_forwarded();
    // Alone, it is judged by the filter, without a call.
    assert_user(&bed, "alone", bed.get("/").cookie(&token), &bed.alice).await;
    bed.finish().await;
}

#[tokio::test]
async fn a_token_of_another_cookie_lives_or_not_under_authgears_own_name() {
    for cookies in [
        json!(["session", "app_session", "app_access_token"]),
        json!(["session"]),
    ] {
        let bed = TestBed::builder()
            .project(|project| {
                project["jwt"] = json!({ "cookies": ["my_token"] });
                project["session"] = json!({ "cookies": cookies, "ttl": "0s" });
            })
            .start()
            .await;
        let bob = bob(&bed);
        let token = bed.token();
        let session = format!("session={}", bed.authgear.session(&bob));
        let request = || bed.get("/").cookie(format!("my_token={token}; {session}"));
        assert_user(&bed, "both live", request(), &bed.alice).await;
        assert!(bed.authgear.revoke(&token));
        assert_user(&bed, "alice has logged out", request(), &bob).await;
        let calls = bed.authgear.calls_to(RESOLVER);
        assert_eq!(calls.len(), 2);
        for call in calls {
            let expected = format!("{session}; app_access_token={token}");
            assert_eq!(call.header("cookie"), Some(expected));
        }
        bed.finish().await;
    }
}

#[tokio::test]
async fn a_token_of_another_cookie_stands_in_the_place_of_authgears_own() {
    let bed = TestBed::builder()
        .project(|project| {
            project["jwt"] = json!({ "cookies": ["my_token"] });
            project["session"] = json!({ "ttl": "0s", "negative_ttl": "0s" });
        })
        .start()
        .await;
    let bob = bob(&bed);
    let token = bed.token();
    let opaque = bed.authgear.opaque_token(&bob);
    let line = format!("my_token={token}; app_access_token={opaque}");
    let request = || bed.get("/").cookie(&line);
    assert_user(&bed, "both live", request(), &bed.alice).await;
    assert!(bed.authgear.revoke(&token));
    assert_refused(&bed, "alice has logged out", request()).await;
    let call = bed.authgear.calls_to(RESOLVER).remove(0);
    let expected = format!("app_access_token={token}");
    assert_eq!(call.header("cookie"), Some(expected));
    // Where it is not valid by itself, the resolver is called about the other one.
    let line = format!("my_token=a.b.c; app_access_token={opaque}");
    assert_user(&bed, "a broken one", bed.get("/").cookie(&line), &bob).await;
    bed.finish().await;
}

/// A fixture in which Authgear and the filter have a cookie prefix.
async fn prefixed(prefix: &'static str, session: Value) -> TestBed {
    let bed = TestBed::builder()
        .project(move |project| {
            project["cookie_prefix"] = json!(prefix);
            project["session"] = session;
        })
        .start()
        .await;
    bed.authgear
        .configure(|settings| prefix.clone_into(&mut settings.cookie_prefix));
    bed
}

/// What logs a user in.
type LogIn = fn(&TestBed, &User) -> String;

#[tokio::test]
async fn one_name_means_under_each_prefix_what_it_means_to_authgear() {
    let rounds: [(&str, Value, LogIn); 3] = [
        // An app session: it comes before the token.
        ("my", json!({}), |bed, bob| bed.authgear.app_session(bob)),
        // A session: it comes after the token.
        ("myapp_", json!({}), |bed, bob| bed.authgear.session(bob)),
        (
            "myapp_",
            json!({ "cookies": ["myapp_session"] }),
            |bed, bob| bed.authgear.session(bob),
        ),
    ];
    for (prefix, session, of) in rounds {
        let bed = prefixed(prefix, session).await;
        let bob = bob(&bed);
        let first = if prefix == "my" { &bob } else { &bed.alice };
        let last = if prefix == "my" { &bed.alice } else { &bob };
        let (token, session) = (bed.token(), of(&bed, &bob));
        let token_cookie = format!("{prefix}app_access_token={token}");
        let session_cookie = format!("myapp_session={session}");
        let get = |cookies: &[&String]| {
            cookies
                .iter()
                .fold(bed.get("/"), |request, cookie| request.cookie(cookie))
        };
        let both = get(&[&token_cookie, &session_cookie]);
        assert_user(&bed, prefix, both, first).await;
        let alone = get(&[&session_cookie]);
        assert_user(&bed, prefix, alone, &bob).await;
        let alone = get(&[&token_cookie]);
        assert_user(&bed, prefix, alone, &bed.alice).await;

        // The user who came first logs out, with another session of the other: nothing is cached of that.
        let (first_text, other) = if prefix == "my" {
            (
                &session,
                format!("{prefix}app_access_token={}", bed.token()),
            )
        } else {
            let other = bed.authgear.session(&bob);
            (&token, format!("myapp_session={other}"))
        };
        assert!(bed.authgear.revoke(first_text));
        let dead = if prefix == "my" {
            &session_cookie
        } else {
            &token_cookie
        };
        assert_user(&bed, prefix, get(&[dead, &other]), last).await;
        // Names without the prefix, or with another, are not the project's.
        let before = bed.resolver_calls();
        for name in ["session", "app_session", "my_session", "app_access_token"] {
            let request = bed.get("/").cookie(format!("{name}={}", of(&bed, &bob)));
            assert_refused(&bed, name, request).await;
        }
        assert_eq!(bed.resolver_calls(), before);
        bed.authgear
            .configure(|settings| settings.cookie_prefix.clear());
        bed.finish().await;
    }
}
