//! Rules that ask for headers or the query, and `not`: what every reader agrees about, and what one of them might take for it.

use super::*;

/// What is asked of a request with this query and these headers, where the rule matches, and where it does not.
fn judge(matches: &str, asks: [&str; 2], path: &str, headers: &[(&str, &[u8])]) -> Require {
    let rules = format!(
        r#"[{{"match":{matches},"require":"{}"}},{{"match":{{}},"require":"{}"}}]"#,
        asks[0], asks[1]
    );
    let headers: Vec<(&[u8], &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), *value))
        .collect();
    let policy = policy(&rules);
    let requirement = policy.requirement(b"GET", b"h", path.as_bytes(), &headers);
    requirement.unwrap().0.require
}

/// Wholly, nearly or not: by a rule that opens, and one that closes.
#[track_caller]
fn assert_fit(matches: &str, path: &str, headers: &[(&str, &[u8])], expected: Option<bool>) {
    let opens = judge(matches, ["none", "user"], path, headers) == Require::None;
    let closes = judge(matches, ["user", "none"], path, headers) == Require::User;
    let shown = format!("{matches} {path} {headers:?}");
    assert_eq!(opens, expected == Some(true), "it opens: {shown}");
    assert_eq!(closes, expected.is_some(), "it closes: {shown}");
}

const WHOLLY: Option<bool> = Some(true);
const NEARLY: Option<bool> = Some(false);

#[test]
fn a_header_is_what_every_reader_reads_or_what_one_might() {
    let is = r#"{"headers":{"x-mode":["beta","next"]}}"#;
    let present = r#"{"headers":{"x-mode":{"present":true}}}"#;
    let absent = r#"{"headers":{"x-mode":{"present":false}}}"#;
    type Sent = [(&'static str, &'static [u8])];
    let rows: [(&Sent, [Option<bool>; 3]); 18] = [
        (&[], [None, None, WHOLLY]),
        (&[("x-mode", b"beta")], [WHOLLY, WHOLLY, None]),
        (
            &[("x-mode", b"next"), ("x-mode", b"beta")],
            [WHOLLY, WHOLLY, None],
        ),
        (&[("x-mode", b"Beta")], [NEARLY, WHOLLY, None]),
        (&[("x-mode", b" beta")], [NEARLY, WHOLLY, None]),
        (&[("x-mode", b"\"beta\"")], [NEARLY, WHOLLY, None]),
        (&[("x-mode", b"old, beta")], [NEARLY, WHOLLY, None]),
        (
            &[("x-mode", b"old"), ("x-mode", b"beta")],
            [NEARLY, WHOLLY, None],
        ),
        (
            &[("x-mode", b"beta"), ("x_mode", b"old")],
            [NEARLY, WHOLLY, None],
        ),
        (&[("x_mode", b"beta")], [NEARLY, NEARLY, NEARLY]),
        (&[("x-mode", b"betas")], [None, WHOLLY, None]),
        // Some readers take what is empty for none, or take one of a list.
        (&[("x-mode", b"")], [None, NEARLY, NEARLY]),
        (&[("x-mode", b"\"\"")], [None, NEARLY, NEARLY]),
        (&[("x-mode", b"beta,")], [NEARLY, NEARLY, NEARLY]),
        (
            &[("x-mode", b""), ("x-mode", b"next")],
            [NEARLY, WHOLLY, None],
        ),
        (&[("x-mode", b"\xff")], [None, WHOLLY, None]),
        (&[("x-modes", b"beta")], [None, None, WHOLLY]),
        (&[("mode", b"beta")], [None, None, WHOLLY]),
    ];
    for (headers, expected) in rows {
        for (matches, expected) in [is, present, absent].into_iter().zip(expected) {
            assert_fit(matches, "/", headers, expected);
        }
    }
}

/// Readers may join them (RFC 9110 §5.3).
#[test]
fn several_headers_of_a_name_may_be_one_list() {
    let is = r#"{"headers":{"x-mode":"old, beta"}}"#;
    type Sent = [(&'static str, &'static [u8])];
    let rows: [(&Sent, Option<bool>); 5] = [
        (&[("x-mode", b"old, beta")], WHOLLY),
        (&[("x-mode", b"old"), ("x-mode", b"beta")], NEARLY),
        (&[("x_mode", b"old"), ("x-mode", b"beta")], NEARLY),
        (&[("x-mode", b"beta"), ("x-mode", b"old")], None),
        (&[("x-mode", b"old")], None),
    ];
    for (headers, expected) in rows {
        assert_fit(is, "/", headers, expected);
    }
    let is = r#"{"headers":{"x-mode":"a,b"}}"#;
    assert_fit(is, "/", &[("x-mode", b"a"), ("x-mode", b"B")], NEARLY);
}

#[test]
fn a_parameter_is_what_every_reader_reads_or_what_one_might() {
    let is = r#"{"query":{"mode":["beta","next"]}}"#;
    let present = r#"{"query":{"mode":{"present":true}}}"#;
    let absent = r#"{"query":{"mode":{"present":false}}}"#;
    for (query, expected) in [
        ("", [None, None, WHOLLY]),
        ("?", [None, None, WHOLLY]),
        ("?mode=beta", [WHOLLY, WHOLLY, None]),
        ("?a=b&mode=beta&c", [WHOLLY, WHOLLY, None]),
        ("?mode=beta&mode=next", [WHOLLY, WHOLLY, None]),
        ("?mode=beta&mode=old", [NEARLY, WHOLLY, None]),
        ("?mode=old", [None, WHOLLY, None]),
        ("?mode=Beta", [NEARLY, WHOLLY, None]),
        ("?mode=%62eta", [NEARLY, WHOLLY, None]),
        ("?mode=%2562eta", [NEARLY, WHOLLY, None]),
        ("?mode=beta+", [NEARLY, WHOLLY, None]),
        ("?mode", [None, NEARLY, NEARLY]),
        ("?mode=", [None, NEARLY, NEARLY]),
        ("?mode=+", [None, NEARLY, NEARLY]),
        ("?mode=%20", [None, NEARLY, NEARLY]),
        ("?mode&mode=next", [NEARLY, WHOLLY, None]),
        ("?Mode=beta", [NEARLY, NEARLY, NEARLY]),
        ("?mode%5B%5D=beta", [NEARLY, NEARLY, NEARLY]),
        ("?mode[]=beta", [NEARLY, NEARLY, NEARLY]),
        ("?m%6fde=beta", [NEARLY, NEARLY, NEARLY]),
        ("?+mode=beta", [NEARLY, NEARLY, NEARLY]),
        ("?a=b;mode=beta", [NEARLY, NEARLY, NEARLY]),
        ("?mode=beta;x", [NEARLY, NEARLY, NEARLY]),
        ("?x?mode=beta", [NEARLY, NEARLY, NEARLY]),
        ("?x=mode=beta", [None, None, WHOLLY]),
        ("?modes=beta", [None, None, WHOLLY]),
        ("?mode=beta=", [None, WHOLLY, None]),
    ] {
        for (matches, expected) in [is, present, absent].into_iter().zip(expected) {
            assert_fit(matches, &format!("/{query}"), &[], expected);
        }
    }
}

/// Some readers decode a path first, and find a query in it then.
#[test]
fn a_query_may_hide_in_the_path() {
    let rules = |test: &str, asks: [&str; 2]| {
        format!(
            r#"[{{"match":{{"path":"/export","query":{{"mode":{test}}}}},"require":"{}"}},
                {{"match":{{"path":"/export"}},"require":"{}"}},
                {{"match":{{}},"require":"none"}}]"#,
            asks[0], asks[1]
        )
    };
    for hidden in [
        "%3Fmode=beta",
        "%3fmode=beta",
        "%253Fmode=beta",
        "%3Fa=b&mode=beta",
        "%3Fm%6Fde=beta",
        "%3F%6Dode=beta?x",
        "%C0%BFmode=beta",
        "%FFmode=beta",
        "%3Fmode=old?mode=beta",
    ] {
        let path = format!("/export{hidden}");
        for (test, asks) in [
            (r#""beta""#, ["user", "none"]),
            (r#"{"present":true}"#, ["user", "none"]),
            (r#"{"present":false}"#, ["none", "user"]),
        ] {
            let policy = policy(&rules(test, asks));
            let decided = policy.requirement(b"GET", b"h", path.as_bytes(), &[]);
            let opens = decided.is_ok_and(|(asked, _)| asked.require == Require::None);
            assert!(!opens, "{path}, {test}");
        }
    }
    let policy = policy(&rules(r#""beta""#, ["user", "none"]));
    let plain = policy.requirement(b"GET", b"h", b"/export%3F", &[]);
    assert!(plain.is_err() || plain.unwrap().0.require == Require::User);
    let plain = policy.requirement(b"GET", b"h", b"/export/%C3%A9", &[]);
    assert_eq!(plain.unwrap().0.require, Require::None);
}

#[test]
fn not_takes_out_what_it_matches() {
    let matches = r#"{"path_prefix":"/api","not":{"path":"/api/*/public","methods":["GET"]}}"#;
    for (path, expected) in [
        ("/api/x", WHOLLY),
        ("/api/x/public/y", WHOLLY),
        ("/api/x/public", None),
        ("/api/x/public/", NEARLY),
        ("/api/x/PUBLIC", NEARLY),
        ("/api/x/y/public", WHOLLY),
        ("/other", None),
    ] {
        assert_fit(matches, path, &[], expected);
    }
    let prefix = r#"{"not":{"path_prefix":"/open/"}}"#;
    for (path, expected) in [
        ("/open/x", None),
        ("/open", WHOLLY),
        ("/Open/x", NEARLY),
        ("/x", WHOLLY),
    ] {
        assert_fit(prefix, path, &[], expected);
    }
    let header = r#"{"not":{"headers":{"x-mode":"beta"}}}"#;
    assert_fit(header, "/", &[("x-mode", b"beta")], None);
    assert_fit(header, "/", &[("x-mode", b"BETA")], NEARLY);
    assert_fit(header, "/", &[("x-mode", b"old")], WHOLLY);
    let host = r#"{"not":{"hosts":["h"]}}"#;
    assert_fit(host, "/", &[], None);
}

#[test]
fn all_that_a_rule_asks_must_hold() {
    let matches = r#"{"headers":{"a":"1","b":{"present":true}},"query":{"c":"2"}}"#;
    let both: &[(&str, &[u8])] = &[("a", b"1"), ("b", b"x")];
    assert_fit(matches, "/?c=2", both, WHOLLY);
    assert_fit(matches, "/?c=3", both, None);
    assert_fit(matches, "/?C=2", both, NEARLY);
    assert_fit(matches, "/?c=2", &both[..1], None);
}
