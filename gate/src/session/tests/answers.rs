//! What an answer means: every row of contract §3.1 and §3.2 (threats R2 to R5, R7, R10).

use super::*;
use crate::principal::UserError;

fn headers(answer: &Answer) -> Vec<(String, String)> {
    let Ok(Verdict::Valid(principal)) = Verdict::read(Some(answer)) else {
        panic!("{answer:?}");
    };
    let mut headers: Vec<_> = principal
        .user()
        .unwrap()
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    headers.sort();
    headers
}

fn read(answer: &Answer) -> Result<bool, ResolverError> {
    Verdict::read(Some(answer)).map(|verdict| verdict != Verdict::Invalid)
}

#[test]
fn a_yes_is_handed_on_as_the_resolver_wrote_it() {
    let mut expected: Vec<_> = YES
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    expected.sort();
    assert_eq!(headers(&yes()), expected);
    let user = testkit::User::new("carol")
        .anonymous()
        .authenticated_at(None);
    let written = user.headers();
    let written: Vec<(&str, &str)> = written
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(headers(&answer(200, &written)), user.headers());
}

#[test]
fn nothing_but_the_known_headers_is_handed_on() {
    let mut answer = yes();
    for name in [
        "authorization",
        "host",
        ":path",
        "cookie",
        "x-admin",
        "x-authgear-user-email",
        "set-cookie",
        "x-authgear-session-acr",
    ] {
        answer.headers.push((name.to_owned(), b"evil".to_vec()));
    }
    assert_eq!(headers(&answer), headers(&yes()));
}

#[test]
fn what_the_resolver_need_not_say_is_false_or_unknown() {
    for (name, expected) in [
        ("x-authgear-user-anonymous", Some("false")),
        ("x-authgear-user-verified", Some("false")),
        ("x-authgear-user-can-reauthenticate", Some("false")),
        ("x-authgear-user-roles", None),
        ("x-authgear-session-amr", Some("")),
        ("x-authgear-session-authenticated-at", None),
    ] {
        let headers = headers(&yes_but(name, None));
        let value = headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str());
        assert_eq!(value, expected, "{name}");
    }
    let empty = headers(&yes_but("x-authgear-user-roles", Some("")));
    assert!(
        !empty
            .iter()
            .any(|(name, _)| name == "x-authgear-user-roles")
    );
}

#[test]
fn no_and_nothing_are_a_no() {
    let clears = [
        ("x-authgear-session-valid", "false"),
        (
            "set-cookie",
            "session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ),
    ];
    for answer in [
        no(),
        answer(200, &clears),
        answer(200, &[]),
        answer(
            200,
            &[
                ("x-authgear-session-valid", "false"),
                ("x-authgear-user-id", ALICE),
            ],
        ),
    ] {
        assert_eq!(read(&answer), Ok(false), "{answer:?}");
    }
}

#[test]
fn only_true_is_true() {
    for value in [
        "TRUE",
        "True",
        "1",
        "yes",
        "",
        " true",
        "true ",
        "true,false",
        "true, true",
        "\"true\"",
        "FALSE",
        "0",
        "no",
    ] {
        assert_eq!(
            read(&yes_but("x-authgear-session-valid", Some(value))),
            Err(ResolverError::Unclear),
            "{value:?}"
        );
    }
    for (first, second) in [
        ("true", "true"),
        ("true", "false"),
        ("false", "true"),
        ("false", "false"),
    ] {
        let answer = yes_but("x-authgear-session-valid", Some(first));
        let headers = answer.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_bytes(), &**value));
        let again = (&b"X-Authgear-Session-Valid"[..], second.as_bytes());
        let answer = Answer::new(headers.chain([again]), Some(Vec::new()));
        assert_eq!(
            read(&answer),
            Err(ResolverError::Unclear),
            "{first} {second}"
        );
    }
}

#[test]
fn a_yes_names_exactly_one_user() {
    for answer in [
        yes_but("x-authgear-user-id", None),
        yes_but("x-authgear-user-id", Some("")),
    ] {
        assert_eq!(read(&answer), Err(ResolverError::NoUser), "{answer:?}");
    }
    for twice in [ALICE, "another"] {
        let mut answer = yes();
        answer
            .headers
            .push(("x-authgear-user-id".to_owned(), twice.as_bytes().to_vec()));
        assert_eq!(read(&answer), Err(ResolverError::NoUser), "{twice}");
    }
    for bad in ["a b", "a\r\nx-authgear-user-roles: admin", "a\0", "ä"] {
        let judged = read(&yes_but("x-authgear-user-id", Some(bad)));
        assert_eq!(
            judged,
            Err(ResolverError::Identity(UserError::UserId)),
            "{bad:?}"
        );
    }
    let mut answer = yes_but("x-authgear-user-id", None);
    answer
        .headers
        .push(("x-authgear-user-id".to_owned(), vec![0xa1]));
    assert_eq!(read(&answer), Err(ResolverError::NoUser));
}

#[test]
fn a_header_that_is_not_as_the_contract_has_it_is_an_error() {
    let flags = [
        "x-authgear-user-anonymous",
        "x-authgear-user-verified",
        "x-authgear-user-can-reauthenticate",
    ];
    for name in flags {
        for bad in ["TRUE", "1", "", "true,false"] {
            assert_eq!(
                read(&yes_but(name, Some(bad))),
                Err(ResolverError::Header(name)),
                "{name} {bad:?}"
            );
        }
    }
    let time = "x-authgear-session-authenticated-at";
    for bad in [
        "",
        "yesterday",
        "-1",
        "1.5",
        "18446744073709551616",
        "1136171045\0",
    ] {
        assert_eq!(
            read(&yes_but(time, Some(bad))),
            Err(ResolverError::Header(time)),
            "{bad:?}"
        );
    }
    for bad in ["a,,b", ",a", "a,", "a b", "a\u{e9}"] {
        let judged = read(&yes_but("x-authgear-user-roles", Some(bad)));
        assert_eq!(
            judged,
            Err(ResolverError::Identity(UserError::Role)),
            "{bad:?}"
        );
    }
    for (name, value) in YES.into_iter().skip(2) {
        let mut twice = yes();
        twice
            .headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(read(&twice), Err(ResolverError::Header(name)));
        let mut bytes = yes_but(name, None);
        bytes.headers.push((name.to_owned(), vec![0xff]));
        assert_eq!(read(&bytes), Err(ResolverError::Header(name)));
    }
    let many = vec!["role"; 5_000].join(",");
    let judged = read(&yes_but("x-authgear-user-roles", Some(&many)));
    assert_eq!(judged, Err(ResolverError::Identity(UserError::TooLong)));
}

#[test]
fn any_status_but_200_is_an_error_whatever_it_says() {
    for status in [
        100, 101, 201, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 405, 429, 499, 500, 502,
        503, 504, 599,
    ] {
        let error = match status {
            429 => ResolverError::TooManyRequests(None),
            _ => ResolverError::Status(status),
        };
        assert_eq!(read(&answer(status, &YES)), Err(error));
        assert_eq!(read(&answer(status, &[])), Err(error));
        assert_eq!(error.is_outage(), status >= 500, "{status}");
        // 429 has a variant of its own.
        let expected = if status == 429 { 0 } else { status };
        assert_eq!(error.status(), expected, "{status}");
        let shown = error.to_string();
        assert!(
            shown.starts_with(&format!("answered with status {status}")),
            "{shown}"
        );
    }
    assert_eq!(Verdict::read(None), Err(ResolverError::NoAnswer));
    let mut none = yes();
    none.headers.remove(0);
    assert_eq!(read(&none), Err(ResolverError::NoAnswer));
    for status in ["", "2xx", "99999", "-200"] {
        let mut odd = yes();
        odd.headers[0].1 = status.as_bytes().to_vec();
        assert_eq!(read(&odd), Err(ResolverError::NoAnswer), "{status:?}");
    }
    let mut twice = yes();
    twice.headers.push((":status".to_owned(), b"200".to_vec()));
    assert_eq!(read(&twice), Err(ResolverError::NoAnswer));
}

#[test]
fn an_answer_with_a_body_or_with_a_user_and_no_verdict_is_no_resolvers() {
    for body in [
        None,
        Some(b"x-authgear-session-valid: true".to_vec()),
        Some(b"<!doctype html>".to_vec()),
        Some(b"{}".to_vec()),
        Some(vec![0xff; 1_000_000]),
    ] {
        for said in [yes(), no(), answer(200, &[])] {
            let said = Answer {
                body: body.clone(),
                ..said
            };
            assert_eq!(read(&said), Err(ResolverError::NotAResolver));
        }
    }
    let user = answer(200, &[("x-authgear-user-id", ALICE)]);
    assert_eq!(read(&user), Err(ResolverError::NotAResolver));
    assert!(!ResolverError::NotAResolver.is_outage());
}

#[test]
fn a_status_that_says_nothing_says_what_to_check() {
    for (status, expected) in [
        (301, "a slash at the end of \"session.path\""),
        (301, "before the resolver that redirects to https"),
        (302, "public origin"),
        (307, "public origin"),
        (308, "public origin"),
        (308, "before the resolver redirects, perhaps to https"),
        (403, "refuses the gateway"),
        (404, "\"session.path\""),
        (405, "\"session.path\""),
        (503, "Envoy's own"),
    ] {
        let error = ResolverError::Status(status).to_string();
        let status = format!("answered with status {status}");
        assert!(
            error.starts_with(&status) && error.contains(expected),
            "{error}"
        );
    }
    assert_eq!(
        ResolverError::Status(500).to_string(),
        "answered with status 500"
    );
}

#[test]
fn what_clients_can_cause_is_no_outage() {
    assert!(ResolverError::NoAnswer.is_outage());
    assert_eq!(ResolverError::NoAnswer.status(), 0);
    let busy = ResolverError::Busy(503, Duration::from_secs(1));
    assert_eq!(busy.status(), 503);
    let no_status = Answer::default();
    let error = Verdict::read(Some(&no_status)).unwrap_err();
    assert!(error.is_outage(), "{error}");
    for said in [
        answer(200, &[("x-authgear-session-valid", "maybe")]),
        answer(200, &[("x-authgear-session-valid", "true")]),
        yes_but("x-authgear-session-valid", Some("TRUE")),
        yes_but("x-authgear-user-id", Some("")),
        yes_but("x-authgear-user-verified", Some("perhaps")),
        yes_but("x-authgear-session-authenticated-at", Some("soon")),
        yes_but("x-authgear-user-id", Some("\u{1}")),
    ] {
        let error = read(&said).unwrap_err();
        assert!(!error.is_outage(), "{error}");
    }
}

#[test]
fn a_limit_says_for_how_long_within_reason() {
    for (retry_after, pause) in [
        ("7", Some(7)),
        ("3601", Some(3_600)),
        ("99999999999999", Some(3_600)),
        ("-1", None),
        ("soon", None),
    ] {
        let pause = pause.map(std::time::Duration::from_secs);
        let said = answer(429, &[("retry-after", retry_after)]);
        let expected = ResolverError::TooManyRequests(pause);
        assert_eq!(read(&said), Err(expected), "{retry_after}");
    }
}

#[test]
fn a_cookie_is_relayed_if_a_header_can_carry_it() {
    let cookies = policy(&json!({ "relay_set_cookie": true })).cookies;
    let relayed = |value: &str| set_cookies(&answer(200, &[("set-cookie", value)]), &cookies);
    let longest = format!("session={}", "x".repeat(4_096 - 8));
    assert_eq!(relayed(&longest), [longest.as_str()]);
    assert!(relayed(&format!("{longest}x")).is_empty());
    let edges = "session= ~; Path=/";
    assert_eq!(relayed(edges), [edges]);
    assert!(relayed("session=\x7f").is_empty());
}
