//! What the resolver says of every kind of credential, what it is asked, and what the backend then receives.

use devkit::client::Request;
use devkit::keys::{Token, User};
use devkit::testbed::{Builder, ORIGIN, RESOLVER, TestBed};
use serde_json::json;

/// Every request asks.
fn without_memory() -> Builder {
    TestBed::builder().project(|project| {
        project["session"] = json!({ "ttl": "0s", "negative_ttl": "0s" });
    })
}

/// A request of one row, and its outcome: the user who passes, or the code of a 401.
type Row = (&'static str, Request, Result<User, &'static str>, usize);

async fn assert_rows(bed: &TestBed, rows: Vec<Row>) {
    for (name, request, expected, calls) in rows {
        bed.backend.clear();
        bed.authgear.clear_calls();
        let reply = request.send().await;
        match expected {
            Ok(user) => {
                assert_eq!(reply.status, 200, "{name}: {reply:?}");
                assert_eq!(bed.only_forwarded().identity(), user.headers(), "{name}");
            }
            Err(code) => {
                assert_eq!(reply.status, 401, "{name}: {reply:?}");
                assert_eq!(reply.json()["code"], code, "{name}: {reply:?}");
                assert!(reply.headers.has("www-authenticate"), "{name}: {reply:?}");
                bed.assert_nothing_forwarded();
            }
        }
        // The resolver clears a bad session's cookie; the name may be another application's.
        assert!(!reply.headers.has("set-cookie"), "{name}: {reply:?}");
        assert_eq!(bed.resolver_calls(), calls, "{name}");
    }
}

#[tokio::test]
async fn every_answer_of_the_contract_means_what_it_means() {
    let bed = without_memory().start().await;
    let authgear = &bed.authgear;
    let alice = || Ok(bed.alice.clone());
    let disabled = authgear.add_user(User::new("disabled"));
    let deleted = authgear.add_user(User::new("deleted"));
    let cookie = |name: &str, value: &str| bed.get("/api/me").cookie(format!("{name}={value}"));
    let bearer = |token: &str| bed.get("/api/me").bearer(token);

    let logged_out = authgear.session(&bed.alice);
    let revoked = authgear.opaque_token(&bed.alice);
    assert!(authgear.revoke(&logged_out) && authgear.revoke(&revoked));
    let of_disabled = authgear.session(&disabled);
    let token_of_disabled = authgear.opaque_token(&disabled);
    let of_deleted = authgear.session(&deleted);
    authgear.disable(&disabled);
    authgear.delete(&deleted);
    let limited = authgear.app_session_without_full_access(&bed.alice);
    let stranger = "a".repeat(32);
    let machine = authgear.machine_token("https://api.example.com", "jobs");
    let elsewhere = Token::user(ORIGIN, &bed.alice).audience("https://other.example.com");
    let elsewhere = authgear.issue(&bed.alice, &elsewhere);

    let rows: Vec<Row> = vec![
        (
            "a session",
            cookie("session", &authgear.session(&bed.alice)),
            alice(),
            1,
        ),
        (
            "an app session",
            cookie("app_session", &authgear.app_session(&bed.alice)),
            alice(),
            1,
        ),
        (
            "an opaque token in a cookie",
            cookie("app_access_token", &authgear.opaque_token(&bed.alice)),
            alice(),
            1,
        ),
        (
            "an opaque token",
            bearer(&authgear.opaque_token(&bed.alice)),
            alice(),
            1,
        ),
        ("nothing", bed.get("/api/me"), Err("unauthenticated"), 0),
        (
            "an unknown opaque token",
            bearer(&stranger),
            Err("invalid_token"),
            1,
        ),
        (
            "a revoked opaque token",
            bearer(&revoked),
            Err("invalid_token"),
            1,
        ),
        (
            "an opaque token of a disabled user",
            bearer(&token_of_disabled),
            Err("invalid_token"),
            1,
        ),
        (
            "an unknown app session",
            cookie("app_session", &stranger),
            Err("unauthenticated"),
            1,
        ),
        (
            "an app session without full access",
            cookie("app_session", &limited),
            Err("unauthenticated"),
            1,
        ),
        (
            "an unknown token in a cookie",
            cookie("app_access_token", &stranger),
            Err("unauthenticated"),
            1,
        ),
        (
            "an unknown session",
            cookie("session", &stranger),
            Err("unauthenticated"),
            1,
        ),
        (
            "a session that was logged out",
            cookie("session", &logged_out),
            Err("unauthenticated"),
            1,
        ),
        (
            "an empty session",
            cookie("session", ""),
            Err("unauthenticated"),
            0,
        ),
        (
            "a session of a disabled user",
            cookie("session", &of_disabled),
            Err("unauthenticated"),
            1,
        ),
        (
            "a session of a deleted user",
            cookie("session", &of_deleted),
            Err("unauthenticated"),
            1,
        ),
        (
            "a machine's token",
            bearer(&machine),
            Err("invalid_token"),
            0,
        ),
        (
            "a token for somebody else",
            bearer(&elsewhere),
            Err("invalid_token"),
            0,
        ),
    ];
    assert_rows(&bed, rows).await;
    bed.finish().await;
}

#[tokio::test]
async fn cookies_are_read_in_authgears_order() {
    let bed = without_memory().start().await;
    let authgear = &bed.authgear;
    let bob = authgear.add_user(User::new("bob"));
    let carol = authgear.add_user(User::new("carol").anonymous());
    let request = |cookies: &[(&str, &str)]| {
        let pairs: Vec<_> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        bed.get("/api/me").cookie(pairs.join("; "))
    };
    let session = authgear.session(&bob);
    let app_session = authgear.app_session(&carol);
    let opaque = authgear.opaque_token(&carol);
    let jwt = authgear.access_token(&bed.alice);
    let expired = authgear.issue(&bed.alice, &authgear.token(&bed.alice).expires_in(-3_600));
    let alice = || Ok(bed.alice.clone());
    let rows: Vec<Row> = vec![
        (
            "a JWT alone is judged here",
            request(&[("app_access_token", &jwt)]),
            alice(),
            0,
        ),
        (
            "a JWT before a session",
            request(&[("session", &session), ("app_access_token", &jwt)]),
            alice(),
            1,
        ),
        (
            "an app session before a JWT",
            request(&[("app_access_token", &jwt), ("app_session", &app_session)]),
            Ok(carol.clone()),
            1,
        ),
        (
            "an app session before a session",
            request(&[("session", &session), ("app_session", &app_session)]),
            Ok(carol.clone()),
            1,
        ),
        (
            "a bad app session beside a session",
            request(&[("app_session", "nonsense"), ("session", &session)]),
            Ok(bob.clone()),
            1,
        ),
        (
            "a bad app session beside a JWT",
            request(&[("app_session", "nonsense"), ("app_access_token", &jwt)]),
            alice(),
            1,
        ),
        (
            "an opaque token before a session",
            request(&[("session", &session), ("app_access_token", &opaque)]),
            Ok(carol.clone()),
            1,
        ),
        (
            "an expired JWT beside a session",
            request(&[("app_access_token", &expired), ("session", &session)]),
            Ok(bob.clone()),
            1,
        ),
        (
            "an expired JWT alone",
            request(&[("app_access_token", &expired)]),
            Err("unauthenticated"),
            0,
        ),
        (
            "a header before every cookie",
            request(&[("session", &session)]).bearer(&jwt),
            alice(),
            0,
        ),
        (
            "a bad header before every cookie",
            request(&[("session", &session)]).bearer(&expired),
            Err("invalid_token"),
            0,
        ),
        (
            "an unknown header token before every cookie",
            request(&[("session", &session)]).bearer("a".repeat(32)),
            Err("invalid_token"),
            1,
        ),
    ];
    assert_rows(&bed, rows).await;
    bed.finish().await;
}

#[tokio::test]
async fn an_expired_token_in_a_cookie_is_not_sent_to_the_resolver() {
    let bed = TestBed::start().await;
    let expired = bed.authgear.token(&bed.alice).expires_in(-3_600);
    let expired = bed.authgear.issue(&bed.alice, &expired);
    let session = bed.cookie();
    let request = bed
        .get("/api/me")
        .cookie(format!("app_access_token={expired}; {session}"));
    assert_eq!(request.send().await.status, 200);
    let call = bed.authgear.calls_to(RESOLVER).remove(0);
    assert_eq!(call.header("cookie"), Some(session));
    bed.finish().await;
}

#[tokio::test]
async fn what_is_no_session_cookie_makes_no_call() {
    let bed = TestBed::start().await;
    let session = bed.authgear.session(&bed.alice);
    for cookie in [
        "theme=dark".to_owned(),
        format!("Session={session}"),
        format!("xsession={session}"),
        format!("__Host-session={session}"),
        format!("session.sig={session}"),
        format!("my_app_session={session}"),
        format!("session-{session}"),
        session.clone(),
        "session".to_owned(),
        ";;; ;=;".to_owned(),
    ] {
        let reply = bed.get("/api/me").cookie(&cookie).send().await;
        assert_eq!(reply.status, 401, "{cookie}: {reply:?}");
        assert_eq!(reply.json()["code"], "unauthenticated", "{cookie}");
    }
    assert!(bed.authgear.calls_to(RESOLVER).is_empty());
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn without_sessions_only_tokens_count() {
    let bed = TestBed::builder()
        .project(|project| project["session"] = json!(null))
        .start()
        .await;
    let in_a_cookie = format!("app_access_token={}", bed.token());
    let opaque = bed.authgear.opaque_token(&bed.alice);
    let rows: Vec<Row> = vec![
        (
            "a session",
            bed.get("/").cookie(bed.cookie()),
            Err("unauthenticated"),
            0,
        ),
        (
            "an opaque token",
            bed.get("/").bearer(opaque),
            Err("invalid_token"),
            0,
        ),
        (
            "a token in a cookie",
            bed.get("/").cookie(in_a_cookie),
            Ok(bed.alice.clone()),
            0,
        ),
    ];
    assert_rows(&bed, rows).await;
    bed.finish().await;
}

#[tokio::test]
async fn the_cookies_names_and_the_resolvers_path_are_the_operators() {
    let bed = TestBed::builder()
        .project(|project| {
            project["cookie_prefix"] = json!("shop_");
            project["session"] = json!({ "cookies": ["shop_session"], "path": "/resolve" });
            project["jwt"] = json!({ "cookies": [] });
        })
        .prepare(|authgear| {
            authgear.configure(|settings| "shop_".clone_into(&mut settings.cookie_prefix));
        })
        .start()
        .await;
    let session = bed.authgear.session(&bed.alice);
    let other = format!("session={session}");
    assert_eq!(bed.get("/").cookie(other).send().await.status, 401);
    let ours = format!("session=of-the-shops-own-framework; shop_session={session}");
    assert_eq!(bed.get("/").cookie(ours).send().await.status, 200);
    let calls = bed.authgear.calls_to("/resolve");
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].header("cookie"),
        Some(format!("shop_session={session}"))
    );
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    bed.finish().await;
}

#[tokio::test]
async fn the_backend_cannot_tell_a_session_from_a_token_but_by_what_its_first_token_alone_says() {
    let bed = TestBed::start().await;
    let users = [
        User::new("plain"),
        User::new("anonymous").anonymous(),
        User::new("unverified")
            .verified(false)
            .can_reauthenticate(false),
        User::new("many").roles(&["stock_view", "app:editor", "_x"]),
        User::new("strong").amr(&["pwd", "mfa", "otp", "x_primary_password"]),
        User::new("timeless").authenticated_at(None),
    ];
    for user in users {
        let user = bed.authgear.add_user(user);
        let (authgear, request) = (&bed.authgear, bed.get("/"));
        let bearer = |token| request.clone().bearer(token);
        let cookie = format!("session={}", authgear.session(&user));
        for (request, expected) in [
            (bearer(authgear.access_token(&user)), user.headers()),
            (
                bearer(authgear.refreshed_token(&user)),
                user.session_headers(),
            ),
            (bearer(authgear.opaque_token(&user)), user.session_headers()),
            (request.clone().cookie(cookie), user.session_headers()),
        ] {
            bed.backend.clear();
            let shown = format!("{}: {request:?}", user.name);
            assert_eq!(request.send().await.status, 200, "{shown}");
            assert_eq!(bed.only_forwarded().identity(), expected, "{shown}");
        }
    }
    bed.finish().await;
}
