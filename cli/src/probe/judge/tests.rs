use http::{HeaderName, HeaderValue, Method};

use super::*;
use crate::probe::plan::Forgery;

const CHALLENGE: &str = r#"Bearer realm="auth.example.com""#;

/// An answer of these headers and this body.
fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::try_from(*value).unwrap(),
        );
    }
    Answer {
        status,
        headers: map,
        body: body.as_bytes().to_vec(),
        complete: true,
    }
}

/// The filter's answer with this code.
fn of_filter(status: u16, code: &str) -> Answer {
    let body = format!(r#"{{"code":"{code}","message":"Some text.","request_id":"1"}}"#);
    let mut headers = vec![
        ("cache-control", "no-store"),
        ("content-type", "application/json"),
    ];
    let challenge = match code {
        "unauthenticated" => CHALLENGE.to_owned(),
        _ => format!(r#"{CHALLENGE}, error="{code}", max_age="900""#),
    };
    if status == 401 {
        headers.push(("www-authenticate", &challenge));
    }
    if status == 503 {
        headers.push(("retry-after", "1"));
    }
    answer(status, &headers, &body)
}

fn outcome(kind: Kind, echoes: bool, answer: Answer) -> Outcome {
    let target = Target::parse("http://app.example.com/account").unwrap();
    let probe = Probe {
        kind,
        method: Method::GET,
        target: "/account/probe-1".to_owned(),
    };
    judge(&target, &probe, "probe-1", echoes, &Ok(answer))
}

fn verdict(kind: Kind, answer: Answer) -> Verdict {
    outcome(kind, false, answer).verdict
}

#[test]
fn every_answer_of_the_filter_is_known() {
    let answers = gate::engine::answers();
    assert_eq!(answers.len(), 8);
    for (status, code) in answers {
        let answer = of_filter(status.try_into().unwrap(), code);
        assert_eq!(code_of_filter(&answer), Some(code));
        assert_eq!(verdict(Kind::NoCredential, answer), Verdict::Good);
    }
}

/// As the engine writes them, whatever its table says.
#[test]
fn answers_that_the_engine_has_written_are_known() {
    use gate::engine::{Reason, Reply};
    for reason in [
        Reason::ClientIdentityHeaders,
        Reason::NoProject,
        Reason::NotAUser,
        Reason::InvalidConfiguration,
    ] {
        for id in [None, Some("5f1c2f4e")] {
            let reply = Reply::new(reason, false).to(id);
            let headers = reply.headers();
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect();
            let status = reply.status().try_into().unwrap();
            let answer = answer(status, &headers, &reply.body());
            assert_eq!(code_of_filter(&answer), Some(reply.code()), "{reason:?}");
        }
    }
}

#[test]
fn an_answer_that_is_only_like_the_filters_is_somebody_elses() {
    let good = || of_filter(401, "unauthenticated");
    assert_eq!(code_of_filter(&good()), Some("unauthenticated"));
    let with = |change: &dyn Fn(&mut Answer)| {
        let mut answer = good();
        change(&mut answer);
        answer
    };
    let header = |name: &'static str, value: &'static str| {
        with(&move |answer| {
            answer.headers.insert(name, HeaderValue::from_static(value));
        })
    };
    let body = |body: &str| with(&|answer| answer.body = body.as_bytes().to_vec());
    for (what, answer) in [
        ("another status", with(&|answer| answer.status = 403)),
        ("a status of no answer", with(&|answer| answer.status = 200)),
        (
            "a body that is cut off",
            with(&|answer| answer.complete = false),
        ),
        ("another content type", header("content-type", "text/html")),
        (
            "no content type",
            with(&|answer| drop(answer.headers.remove(CONTENT_TYPE))),
        ),
        (
            "cacheable",
            with(&|answer| drop(answer.headers.remove(CACHE_CONTROL))),
        ),
        (
            "two content types",
            with(&|answer| {
                let again = HeaderValue::from_static("application/json");
                answer.headers.append(CONTENT_TYPE, again);
            }),
        ),
        (
            "no challenge",
            with(&|answer| drop(answer.headers.remove(WWW_AUTHENTICATE))),
        ),
        (
            "another challenge",
            header("www-authenticate", "Basic realm=\"x\""),
        ),
        (
            "another error",
            header(
                "www-authenticate",
                "Bearer realm=\"x\", error=\"invalid_token\"",
            ),
        ),
        (
            "another parameter",
            header("www-authenticate", "Bearer realm=\"x\", scope=\"y\""),
        ),
        (
            "an unknown code",
            body(r#"{"code":"unauthorized","message":"x"}"#),
        ),
        ("no code", body(r#"{"message":"x"}"#)),
        ("no message", body(r#"{"code":"unauthenticated"}"#)),
        (
            "another member",
            body(r#"{"code":"unauthenticated","message":"x","details":"y"}"#),
        ),
        (
            "a number",
            body(r#"{"code":"unauthenticated","message":"x","request_id":1}"#),
        ),
        ("an array", body(r#"["unauthenticated"]"#)),
        ("no JSON", body("unauthenticated")),
        ("nothing", body("")),
    ] {
        assert_eq!(code_of_filter(&answer), None, "{what}");
        assert_ne!(verdict(Kind::NoCredential, answer), Verdict::Good, "{what}");
    }
    let mut answer = of_filter(503, "unavailable");
    answer.headers.remove(RETRY_AFTER);
    assert_eq!(code_of_filter(&answer), None);
}

#[test]
fn who_answered_says_whether_the_request_went_through() {
    for (status, expected) in [
        (200, Verdict::Open),
        (204, Verdict::Open),
        (304, Verdict::Open),
        (404, Verdict::Open),
        (405, Verdict::Open),
        (422, Verdict::Open),
        (400, Verdict::Inconclusive),
        (401, Verdict::Inconclusive),
        (403, Verdict::Inconclusive),
        (429, Verdict::Inconclusive),
        (500, Verdict::Inconclusive),
        (503, Verdict::Inconclusive),
    ] {
        for kind in [
            Kind::NoCredential,
            Kind::Forged(Forgery::Plain),
            Kind::Unsigned,
            Kind::Cookie,
            Kind::Spelling("x"),
        ] {
            let answer = answer(status, &[("content-type", "text/html")], "<p>");
            assert_eq!(verdict(kind, answer), expected, "{status}");
        }
    }
}

#[test]
fn a_redirect_to_the_same_place_shows_nothing() {
    for (location, expected) in [
        (
            "https://app.example.com/account/probe-1",
            Verdict::Inconclusive,
        ),
        ("https://APP.example.com/", Verdict::Inconclusive),
        ("/account/./probe-1", Verdict::Inconclusive),
        (
            "http://app.example.com/Account//probe-1",
            Verdict::Inconclusive,
        ),
        ("/login", Verdict::Open),
        ("/account/probe-1", Verdict::Open),
        ("http://app.example.com/account", Verdict::Open),
        ("https://login.example.com/account/probe-1", Verdict::Open),
        ("//login.example.com/account/probe-1", Verdict::Open),
        ("", Verdict::Open),
    ] {
        let answer = answer(302, &[("location", location)], "");
        assert_eq!(verdict(Kind::NoCredential, answer), expected, "{location}");
    }
    assert_eq!(
        verdict(Kind::NoCredential, answer(302, &[], "")),
        Verdict::Open
    );
}

#[test]
fn the_good_token_must_get_in() {
    for (status, expected) in [
        (200, Verdict::Good),
        (302, Verdict::Good),
        (404, Verdict::Good),
        (401, Verdict::Inconclusive),
        (403, Verdict::Inconclusive),
        (400, Verdict::Inconclusive),
        (502, Verdict::Inconclusive),
    ] {
        assert_eq!(
            verdict(Kind::Token, answer(status, &[], "")),
            expected,
            "{status}"
        );
    }
    for (status, code) in gate::engine::answers() {
        let outcome = outcome(
            Kind::Token,
            false,
            of_filter(status.try_into().unwrap(), code),
        );
        assert_eq!(outcome.verdict, Verdict::Inconclusive, "{code}");
        assert!(outcome.advice.is_some());
    }
}

#[test]
fn forged_headers_beside_a_good_token_may_be_refused() {
    let refused = of_filter(400, "invalid_request");
    assert_eq!(
        outcome(Kind::TokenAndForged, true, refused).verdict,
        Verdict::Good
    );
    let refused = of_filter(401, "invalid_token");
    assert_eq!(
        outcome(Kind::TokenAndForged, true, refused).verdict,
        Verdict::Inconclusive
    );
}

#[test]
fn an_echo_is_looked_at() {
    let echo = |status, body| outcome(Kind::Token, true, answer(status, &[], body)).verdict;
    assert_eq!(
        echo(200, r#"{"headers":{"x-authgear-user-id":"probe-1"}}"#),
        Verdict::Open
    );
    assert_eq!(
        echo(200, r#"{"headers":{"x-authgear-user-id":"alice"}}"#),
        Verdict::Inconclusive
    );
    assert_eq!(echo(200, "{}"), Verdict::Inconclusive);
    assert_eq!(echo(404, "{}"), Verdict::Inconclusive);
}

#[test]
fn only_an_authority_in_the_filters_challenge_is_taken_for_the_issuer() {
    let with = |realm: &str| {
        let mut answer = of_filter(401, "unauthenticated");
        let challenge = format!("Bearer realm=\"{realm}\"");
        answer
            .headers
            .insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        issuer(&answer)
    };
    assert_eq!(
        with("auth.example.com:8443"),
        Some("auth.example.com:8443".to_owned())
    );
    assert_eq!(with(""), None);
    assert_eq!(with("a b"), None);
    assert_eq!(with(&"a".repeat(301)), None);
    let stranger = answer(401, &[("www-authenticate", CHALLENGE)], "");
    assert_eq!(issuer(&stranger), None);
}
