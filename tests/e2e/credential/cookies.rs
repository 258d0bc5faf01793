//! The project's cookies (RFC 6265 §5.4), read as Authgear reads them. The tables are tried natively, by
//! `gate/src/credential/tests.rs`; here is what Envoy hands over, line by line (HTTP/2 splits them), and what the resolver is
//! sent of it.

use super::{assert_admitted, assert_refused};
use devkit::keys::User;
use devkit::testbed::TestBed;
use serde_json::json;

#[tokio::test]
async fn of_cookies_of_one_name_the_first_that_authgear_reads_counts_and_it_alone_is_sent() {
    let bed = TestBed::builder()
        .session(json!({ "ttl": "0s", "negative_ttl": "0s" }))
        .start()
        .await;
    let bob = bed.authgear.add_user(User::new("bob"));
    let (alices, bobs) = (bed.authgear.session(&bed.alice), bed.authgear.session(&bob));
    let (token, bad_token) = (bed.token(), "x.y.z");
    let session = |value: &str| format!("session={value}");
    let sent = |value: &str| Some(session(value));
    let rows = [
        (
            "two in one line",
            vec![format!("session={alices}; session={bobs}")],
            Some(&bed.alice),
            sent(&alices),
        ),
        (
            "two lines",
            vec![session(&bobs), session(&alices)],
            Some(&bob),
            sent(&bobs),
        ),
        (
            "among others",
            vec![
                "a=b".to_owned(),
                session(&alices),
                "session=c; a=d".to_owned(),
            ],
            Some(&bed.alice),
            sent(&alices),
        ),
        (
            "bad before good",
            vec![session("bad"), session(&alices)],
            None,
            sent("bad"),
        ),
        (
            "empty before good",
            vec![session(""), session(&alices)],
            None,
            None,
        ),
        (
            "too long before good",
            vec![session(&"x".repeat(20_000)), session(&alices)],
            None,
            None,
        ),
        (
            "quoted before another",
            vec![format!("session=\"{alices}\""), session(&bobs)],
            Some(&bed.alice),
            sent(&alices),
        ),
        (
            "what Authgear drops before good",
            vec![
                session("a\\b"),
                session("a\"b"),
                session("\u{e4}"),
                session(&alices),
            ],
            Some(&bed.alice),
            sent(&alices),
        ),
        (
            "a token, and what is none",
            vec![
                format!("app_access_token=\"{token}\""),
                format!("app_access_token={bad_token}"),
            ],
            Some(&bed.alice),
            None,
        ),
        (
            "what is no token, and one",
            vec![format!(
                "app_access_token={bad_token}; app_access_token={token}"
            )],
            None,
            None,
        ),
    ];
    for http2 in [false, true] {
        for (what, lines, expected, sent) in &rows {
            bed.authgear.clear_calls();
            let get = bed.get("/api");
            let get = if http2 { get.http2() } else { get };
            let request = lines.iter().fold(get, |request, line| request.cookie(line));
            match expected {
                Some(user) => assert_admitted(&bed, what, request, user).await,
                None => {
                    let reply = request.send().await;
                    assert_eq!(reply.status, 401, "{what}: {reply:?}");
                }
            }
            let calls = bed.authgear.calls_to("/_resolver/resolve");
            let asked: Vec<_> = calls.iter().map(|call| call.header("cookie")).collect();
            let sent: Vec<_> = sent.iter().map(|cookie| Some(cookie.clone())).collect();
            assert_eq!(asked, sent, "{what}, HTTP/2: {http2}");
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_cookie_is_read_as_the_resolver_reads_it() {
    let bed = TestBed::start().await;
    let session = bed.authgear.session(&bed.alice);
    for line in [
        format!("a=b;session={session}"),
        format!("session=\"{session}\""),
        format!("session ={session}"),
        format!("=; a; session={session}; \"; ="),
        format!("a={}; session={session}", "x".repeat(30_000)),
    ] {
        assert_admitted(&bed, &line, bed.get("/api").cookie(&line), &bed.alice).await;
    }
    bed.authgear.clear_calls();
    for line in [
        format!("Session={session}"),
        format!("__Host-session={session}"),
        format!("a, session={session}"),
        "session=".to_owned(),
        "\"".to_owned(),
        String::new(),
    ] {
        assert_refused(
            &bed,
            &line,
            bed.get("/api").cookie(&line),
            401,
            "unauthenticated",
        )
        .await;
    }
    let asked = bed.authgear.calls_to("/_resolver/resolve");
    assert!(asked.is_empty(), "{asked:#?}");
    bed.finish().await;
}

#[tokio::test]
async fn cookies_come_before_each_other_as_at_the_resolver() {
    let bed = TestBed::start().await;
    let bob = bed.authgear.add_user(User::new("bob"));
    let token = format!("app_access_token={}", bed.token());
    let session = format!("session={}", bed.authgear.session(&bob));
    let app_session = format!("app_session={}", bed.authgear.app_session(&bob));
    let expired = bed
        .authgear
        .token(&bed.alice)
        .expires_in(-3_600)
        .sign(&bed.authgear.key());
    let expired = format!("app_access_token={expired}");
    let get = |cookies: &[&String]| {
        let line: Vec<_> = cookies.iter().map(|cookie| cookie.as_str()).collect();
        bed.get("/api").cookie(line.join("; "))
    };
    assert_admitted(&bed, "a token", get(&[&token]), &bed.alice).await;
    assert_admitted(
        &bed,
        "a token before a session",
        get(&[&session, &token]),
        &bed.alice,
    )
    .await;
    assert_admitted(
        &bed,
        "an app session before a token",
        get(&[&token, &app_session]),
        &bob,
    )
    .await;
    assert_admitted(&bed, "an expired token", get(&[&expired, &session]), &bob).await;
    assert_refused(
        &bed,
        "only expired",
        get(&[&expired]),
        401,
        "unauthenticated",
    )
    .await;
    bed.finish().await;
}

#[tokio::test]
async fn many_cookies_and_headers_are_only_many() {
    let bed = TestBed::start().await;
    let session = bed.cookie();
    let many: Vec<_> = (0..500)
        .map(|nth| format!("c{nth}={}", "x".repeat(90)))
        .collect();
    let line = format!("{}; {session}", many.join("; "));
    assert!(line.len() > 45_000);
    assert_admitted(
        &bed,
        "500 cookies",
        bed.get("/api").cookie(line),
        &bed.alice,
    )
    .await;
    let lines = many
        .iter()
        .take(80)
        .fold(bed.get("/api").http2(), |request, line| {
            request.cookie(line)
        });
    assert_admitted(&bed, "80 crumbs", lines.cookie(&session), &bed.alice).await;
    let headers = (0..80).fold(bed.get("/api"), |request, nth| {
        request.header(&format!("x-{nth}"), "y")
    });
    assert_admitted(&bed, "80 headers", headers.bearer(bed.token()), &bed.alice).await;
    let long = bed
        .get("/api")
        .cookie(format!("session={}", "x".repeat(20_000)));
    assert_refused(&bed, "a session of 20 kB", long, 401, "unauthenticated").await;
    let huge = bed
        .get("/api")
        .cookie(format!("session={}", "x".repeat(70_000)))
        .send()
        .await;
    assert_eq!(huge.status, 431, "{huge:?}");
    bed.finish().await;
}
