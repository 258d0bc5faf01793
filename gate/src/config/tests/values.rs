//! Values that cannot be: each with its place, what it should be, and what it is.

use super::*;

#[test]
fn a_value_of_the_wrong_type_is_reported_with_what_was_found() {
    for (place, value, expected) in [
        (
            "/projects",
            json!({}),
            "projects: expected an array of projects, found an object",
        ),
        (
            "/client_identity_headers",
            json!("reject"),
            "client_identity_headers: expected \"strip\" or \"refuse\", found the string \"reject\"",
        ),
        (
            "/on_invalid_config",
            json!("closed"),
            "on_invalid_config: expected \"refuse\" or \"close\", found the string \"closed\"",
        ),
        (
            "/client_identity_headers",
            json!(true),
            "client_identity_headers: expected \"strip\" or \"refuse\", found true",
        ),
        (
            "/projects/0/cluster",
            json!(1.5),
            "projects[0].cluster: expected the name of an upstream cluster, found the number 1.5",
        ),
        (
            "/projects/0/cluster",
            json!(""),
            "projects[0].cluster: expected the name of an upstream cluster, found the string \"\"",
        ),
        (
            "/projects/0/cluster",
            json!(null),
            "projects[0].cluster: expected the name of an upstream cluster, found null",
        ),
        (
            "/projects/0/jwt",
            json!(null),
            "projects[0].jwt: expected an object, found null",
        ),
        (
            "/projects/0/jwks",
            json!("/oauth2/jwks"),
            "projects[0].jwks: expected an object, found the string \"/oauth2/jwks\"",
        ),
        (
            "/projects/0/jwks",
            json!({ "discover": "yes" }),
            "projects[0].jwks.discover: expected true or false, found the string \"yes\"",
        ),
        (
            "/projects/0/jwks",
            json!({ "inline": [] }),
            "projects[0].jwks.inline: expected an object, found an array",
        ),
        (
            "/projects/0/session",
            json!(false),
            "projects[0].session: expected an object, or null, which turns sessions off, found false",
        ),
        (
            "/projects/0/jwt",
            json!({ "audiences": "a" }),
            "projects[0].jwt.audiences: expected an array of strings, found the string \"a\"",
        ),
        (
            "/projects/0/jwt",
            json!({ "audiences": [1] }),
            "projects[0].jwt.audiences[0]: expected an audience, found the number 1",
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": {} }),
            "projects[0].jwt.headers: expected an array of {\"name\", \"scheme\"}, found an object",
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": ["a"] }),
            "projects[0].jwt.headers[0]: expected an object, found the string \"a\"",
        ),
        (
            "/projects/0/jwt",
            json!({ "require_typ": null }),
            "projects[0].jwt.require_typ: expected true or false, found null",
        ),
        (
            "/rules",
            json!({}),
            "rules: expected an array of rules, found an object",
        ),
        (
            "/rules",
            json!([null]),
            "rules[0]: expected an object, found null",
        ),
        (
            "/default",
            json!("user"),
            "default: expected an object, found the string \"user\"",
        ),
        (
            "/limits",
            json!({ "token_bytes": "1" }),
            "limits.token_bytes: expected a whole number from 256 to 65536, found the string \"1\"",
        ),
    ] {
        assert_eq!(refused(with(&[(place, value)]).to_string()), [expected]);
    }
}

#[test]
fn an_array_is_no_object_whatever_is_in_it() {
    let full = with(&[
        (
            "/projects/0/jwt",
            json!({ "headers": [{ "name": "authorization", "scheme": "Bearer" }] }),
        ),
        ("/projects/0/session", json!({ "path": "/resolve" })),
        (
            "/rules",
            json!([{ "match": { "path": "/a" }, "require": "none", "allow": {} }]),
        ),
        ("/default", json!({ "require": "user" })),
        ("/upstream", json!({ "strip_credentials": false })),
        ("/limits", json!({ "token_bytes": 16_384 })),
    ]);
    Config::parse(full.to_string().as_bytes()).unwrap();
    for place in [
        "/projects/0",
        "/projects/0/jwt",
        "/projects/0/jwt/headers/0",
        "/projects/0/session",
        "/rules/0",
        "/rules/0/match",
        "/rules/0/allow",
        "/default",
        "/upstream",
        "/limits",
    ] {
        let mut bad = full.clone();
        let object = bad.pointer_mut(place).unwrap();
        let values: Vec<Value> = object.as_object().unwrap().values().cloned().collect();
        *object = values.into();
        let lines = refused(bad.to_string());
        let or_null = if place.ends_with("session") {
            ", or null, which turns sessions off"
        } else {
            ""
        };
        let expected = format!(": expected an object{or_null}, found an array");
        assert!(lines[0].ends_with(&expected), "{place}: {lines:#?}");
    }
    let inline = json!({ "inline": [[{ "kty": "RSA" }]] });
    assert_eq!(
        refused(with(&[("/projects/0/jwks", inline)]).to_string()),
        ["projects[0].jwks.inline: expected an object, found an array"]
    );
}

#[test]
fn a_number_out_of_range_is_refused() {
    for text in [
        "255",
        "65537",
        "300.5",
        "-300",
        "1e300",
        "18446744073709551616",
        "-0.5",
    ] {
        let json = smallest().to_string().replacen(
            '{',
            &format!(r#"{{"limits":{{"token_bytes":{text}}},"#),
            1,
        );
        let lines = refused(json);
        let start =
            "limits.token_bytes: expected a whole number from 256 to 65536, found the number ";
        assert!(
            lines.len() == 1 && lines[0].starts_with(start),
            "{text}: {lines:?}"
        );
    }
    for (name, bad) in [
        ("cached_tokens", 1_000_001),
        ("cached_sessions", 1_000_001),
        ("waiting_requests", 0),
    ] {
        assert!(
            refused(with(&[("/limits", json!({ name: bad }))]).to_string())[0]
                .starts_with("limits."),
            "{name}"
        );
    }
}

#[test]
fn a_duration_without_a_unit_or_out_of_range_is_refused() {
    let range = "a duration with a unit, such as \"30s\", from 1s to 1d";
    for (value, found) in [
        (json!(30), "the number 30"),
        (json!("30"), "the string \"30\""),
        (json!("s"), "the string \"s\""),
        (json!(""), "the string \"\""),
        (json!("-1s"), "the string \"-1s\""),
        (json!("+1s"), "the string \"+1s\""),
        (json!("1.5s"), "the string \"1.5s\""),
        (json!("30 s"), "the string \"30 s\""),
        (json!("30S"), "the string \"30S\""),
        (json!("1h30m"), "the string \"1h30m\""),
        (json!("999ms"), "the string \"999ms\""),
        (json!("86401s"), "the string \"86401s\""),
        (json!("1y"), "the string \"1y\""),
        (
            json!("99999999999999999999s"),
            "the string \"99999999999999999999s\"",
        ),
        (
            json!("18446744073709551615d"),
            "the string \"18446744073709551615d\"",
        ),
        (json!("١s"), "the string \"١s\""),
    ] {
        let lines = refused(with(&[("/projects/0/jwks", json!({ "refresh": value }))]).to_string());
        assert_eq!(
            lines,
            [format!(
                "projects[0].jwks.refresh: expected {range}, found {found}"
            )]
        );
    }
    for (section, name, bad) in [
        ("jwks", "max_stale", "8d"),
        ("jwks", "timeout", "49ms"),
        ("jwks", "timeout", "61s"),
        ("jwks", "unknown_kid_cooldown", "0s"),
        ("jwt", "clock_skew", "301s"),
        ("jwt", "max_lifetime", "0s"),
        ("session", "timeout", "0s"),
        ("session", "ttl", "3601s"),
        ("session", "negative_ttl", "301s"),
        ("session", "stale_if_error", "25h"),
    ] {
        let lines =
            refused(with(&[(&format!("/projects/0/{section}"), json!({ name: bad }))]).to_string());
        let start = format!("projects[0].{section}.{name}: expected a duration with a unit");
        assert!(
            lines.len() == 1 && lines[0].starts_with(&start),
            "{name}: {lines:?}"
        );
    }
}

#[test]
fn an_algorithm_that_proves_nothing_is_refused() {
    let expected =
        "an asymmetric algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256 or EdDSA";
    for name in [
        "none", "None", "HS256", "HS384", "HS512", "rs256", "RS256 ", "ES384", "ES512", "ES256K",
        "Ed25519", "dir",
    ] {
        let lines = refused(
            with(&[("/projects/0/jwt", json!({ "algorithms": ["RS256", name] }))]).to_string(),
        );
        assert_eq!(
            lines,
            [format!(
                "projects[0].jwt.algorithms[1]: expected {expected}, found the string {name:?}"
            )]
        );
    }
    let lines = refused(with(&[("/projects/0/jwt", json!({ "algorithms": [] }))]).to_string());
    assert_eq!(
        lines,
        [format!(
            "projects[0].jwt.algorithms: expected at least one: {expected}, found an array"
        )]
    );
}

#[test]
fn a_list_that_must_contain_something_is_not_empty() {
    for (place, value, path) in [
        (
            "/projects/0/jwt",
            json!({ "audiences": [] }),
            "projects[0].jwt.audiences",
        ),
        (
            "/projects/0/session",
            json!({ "cookies": [] }),
            "projects[0].session.cookies",
        ),
        (
            "/rules",
            json!([{ "match": { "methods": [] }, "require": "none" }]),
            "rules[0].match.methods",
        ),
        (
            "/rules",
            json!([{ "match": { "hosts": [] }, "require": "none" }]),
            "rules[0].match.hosts",
        ),
    ] {
        let lines = refused(with(&[(place, value)]).to_string());
        assert!(
            lines.len() == 1 && lines[0].starts_with(&format!("{path}: expected at least one: ")),
            "{lines:?}"
        );
    }
}

#[test]
fn names_and_paths_that_could_be_read_in_two_ways_are_refused() {
    let rule = |matches: Value| json!([{ "match": matches, "require": "none" }]);
    let mut cases = Vec::new();
    for path in [
        "", "a", "/a/../b", "/a//b", "/a;b", "/a\\b", "/a%2fb", "/a?b", "/a#b", "/a%zz", "/\u{1}",
        "*",
    ] {
        cases.push((
            "/rules",
            rule(json!({ "path_prefix": path })),
            "rules[0].match.path_prefix",
        ));
        cases.push((
            "/rules",
            rule(json!({ "path": path })),
            "rules[0].match.path",
        ));
    }
    for method in ["get", "GET ", "G E T", "", "GET,POST"] {
        cases.push((
            "/rules",
            rule(json!({ "methods": [method] })),
            "rules[0].match.methods[0]",
        ));
    }
    for host in [
        "",
        "App.example.com",
        "a:8080",
        "*",
        "*.",
        "*a.example.com",
        "a.*.com",
        "a..b",
        ".a",
        "a/b",
        "https://a",
    ] {
        cases.push((
            "/rules",
            rule(json!({ "hosts": [host] })),
            "rules[0].match.hosts[0]",
        ));
    }
    for name in ["", "a b", "a=b", "a;b", "ä", "a\r\nb"] {
        cases.push((
            "/projects/0/session",
            json!({ "cookies": [name] }),
            "projects[0].session.cookies[0]",
        ));
        cases.push((
            "/projects/0/jwt",
            json!({ "cookies": [name] }),
            "projects[0].jwt.cookies[0]",
        ));
        cases.push((
            "/projects/0/jwt",
            json!({ "headers": [{ "name": name }] }),
            "projects[0].jwt.headers[0].name",
        ));
    }
    cases.push((
        "/projects/0/jwt",
        json!({ "headers": [{ "name": "X-Token" }] }),
        "projects[0].jwt.headers[0].name",
    ));
    cases.push((
        "/projects/0/jwt",
        json!({ "headers": [{ "name": ":path" }] }),
        "projects[0].jwt.headers[0].name",
    ));
    cases.push((
        "/projects/0/jwt",
        json!({ "headers": [{ "name": "a", "scheme": "B c" }] }),
        "projects[0].jwt.headers[0].scheme",
    ));
    for path in [
        "",
        "oauth2/jwks",
        "https://auth.example.com/oauth2/jwks",
        "/a b",
        "/a#b",
        "/ä",
        "/a\r\nb",
    ] {
        cases.push((
            "/projects/0/jwks",
            json!({ "uri": path }),
            "projects[0].jwks.uri",
        ));
        cases.push((
            "/projects/0/session",
            json!({ "path": path }),
            "projects[0].session.path",
        ));
    }
    for endpoint in [
        "https://auth.example.com/",
        "auth.example.com",
        "https://Auth.example.com",
        "https://a:443",
    ] {
        cases.push((
            "/projects/0/endpoint",
            json!(endpoint),
            "projects[0].endpoint",
        ));
    }
    for (place, value, path) in cases {
        let json = with(&[(place, value)]);
        let lines = refused(json.to_string());
        assert!(
            lines.len() == 1 && lines[0].starts_with(&format!("{path}: expected ")),
            "{json}: {lines:?}"
        );
    }
}
