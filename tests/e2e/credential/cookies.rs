//! The project's cookies (RFC 6265 §5.4): read as Authgear reads them, but where it would choose, refused. The tables are tried
//! natively, by `gate/src/credential/tests.rs`; here is what Envoy hands over, line by line (HTTP/2 splits them), and what the
//! resolver makes of it.

use super::{assert_admitted, assert_refused};
use devkit::keys::User;
use devkit::testbed::TestBed;

#[tokio::test]
async fn one_cookie_has_one_value() {
    let bed = TestBed::start().await;
    let bob = bed.authgear.add_user(User::new("bob"));
    let (alices, bobs) = (bed.authgear.session(&bed.alice), bed.authgear.session(&bob));
    let token = bed.token();
    for http2 in [false, true] {
        let get = || {
            if http2 {
                bed.get("/api").http2()
            } else {
                bed.get("/api")
            }
        };
        for (what, lines) in [
            (
                "in one line",
                vec![format!("session={alices}; session={bobs}")],
            ),
            (
                "in two lines",
                vec![format!("session={alices}"), format!("session={bobs}")],
            ),
            (
                "good and bad",
                vec![format!("session={alices}; session=bad")],
            ),
            (
                "bad and good",
                vec![format!("session=bad"), format!("session={alices}")],
            ),
            (
                "good and empty",
                vec![format!("session={alices}; session=")],
            ),
            (
                "good and quoted",
                vec![format!("session={alices}; session=\"{alices}\"")],
            ),
            (
                "tokens",
                vec![
                    format!("app_access_token={token}"),
                    "a=b".to_owned(),
                    "app_access_token=x.y.z".to_owned(),
                ],
            ),
        ] {
            let request = lines
                .iter()
                .fold(get(), |request, line| request.cookie(line));
            assert_refused(&bed, what, request, 400, "invalid_request").await;
        }
        for (what, lines) in [
            (
                "the same in one line",
                vec![format!("session={alices}; session={alices}")],
            ),
            (
                "the same in two lines",
                vec![format!("session={alices}"), format!("session={alices}")],
            ),
            (
                "crumbs",
                vec![
                    "a=b".to_owned(),
                    format!("session={alices}"),
                    "c=d".to_owned(),
                ],
            ),
            (
                "others twice",
                vec![format!("a=b; a=c; session={alices}; a=d")],
            ),
        ] {
            let request = lines
                .iter()
                .fold(get(), |request, line| request.cookie(line));
            assert_admitted(&bed, what, request, &bed.alice).await;
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
    assert_refused(&bed, "only expired", get(&[&expired]), 401, "invalid_token").await;
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
