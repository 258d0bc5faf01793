//! Members that are unknown, missing, given twice or at odds: each with its place and its text.

use super::*;

#[test]
fn an_unknown_member_is_named_with_the_nearest_known_one() {
    for (place, expected) in [
        ("/rule", "rule: unknown member: did you mean \"rules\"?"),
        (
            "/project",
            "project: unknown member: did you mean \"projects\"?",
        ),
        (
            "/projects/0/end_point",
            "projects[0].end_point: unknown member: did you mean \"endpoint\"?",
        ),
        (
            "/projects/0/Cluster",
            "projects[0].Cluster: unknown member: did you mean \"cluster\"?",
        ),
        (
            "/projects/0/jwt/audience",
            "projects[0].jwt.audience: unknown member: did you mean \"audiences\"?",
        ),
        (
            "/projects/0/jwks/refersh",
            "projects[0].jwks.refersh: unknown member: did you mean \"refresh\"?",
        ),
        (
            "/projects/0/session/tll",
            "projects[0].session.tll: unknown member: did you mean \"ttl\"?",
        ),
        (
            "/limits/cached_token",
            "limits.cached_token: unknown member: did you mean \"cached_tokens\"?",
        ),
        (
            "/upstream/claim_header",
            "upstream.claim_header: unknown member: did you mean \"claim_headers\"?",
        ),
        (
            "/default/requires",
            "default.requires: unknown member: did you mean \"require\"?",
        ),
        (
            "/rules/0/macth",
            "rules[0].macth: unknown member: did you mean \"match\"?",
        ),
        (
            "/rules/0/match/prefix_path",
            "rules[0].match.prefix_path: unknown member",
        ),
        (
            "/rules/0/match/method",
            "rules[0].match.method: unknown member: did you mean \"methods\"?",
        ),
        (
            "/nothing_like_it_at_all",
            "nothing_like_it_at_all: unknown member",
        ),
        ("/a \"b\"", r#"["a \"b\""]: unknown member"#),
        ("/", r#"[""]: unknown member"#),
    ] {
        let json = with(&[
            ("/projects/0/jwt", json!({})),
            ("/projects/0/jwks", json!({})),
            ("/projects/0/session", json!({})),
            ("/limits", json!({})),
            ("/upstream", json!({})),
            ("/default", json!({})),
            ("/rules", json!([{ "match": {}, "require": "none" }])),
        ]);
        accepted(&json);
        let (parent, name) = place.rsplit_once('/').unwrap();
        let mut json = json;
        json.pointer_mut(parent).unwrap()[name] = json!("x");
        assert_eq!(refused(json.to_string()), [expected]);
    }
}

#[test]
fn a_member_that_is_given_twice_is_refused_whichever_is_right() {
    let twice = |text: &str, from: &str, to: &str| refused(text.replacen(from, to, 1));
    let text = r#"{"projects":[{"endpoint":"https://auth.example.com","cluster":"a"}],"rules":[{"match":{},"require":"user"}]}"#;
    Config::parse(text.as_bytes()).unwrap();
    assert_eq!(
        twice(text, r#""cluster":"#, r#""cluster":"b","cluster":"#),
        ["projects[0].cluster: given more than once: keep one"]
    );
    assert_eq!(
        twice(text, r#""require":"#, r#""require":"none","require":"#),
        ["rules[0].require: given more than once: keep one"]
    );
    // The same name in another spelling.
    assert_eq!(
        twice(text, r#""require":"#, r#""requir\u0065":"none","require":"#),
        ["rules[0].require: given more than once: keep one"]
    );
    assert_eq!(
        twice(text, r#""rules":"#, r#""rules":[],"rules":"#),
        ["rules: given more than once: keep one"]
    );
}

#[test]
fn a_list_names_nothing_twice() {
    for (place, value, expected) in [
        (
            "/projects/0/jwt",
            json!({ "audiences": ["a", "b", "a"] }),
            "projects[0].jwt.audiences[2]",
        ),
        (
            "/projects/0/jwt",
            json!({ "algorithms": ["RS256", "RS256"] }),
            "projects[0].jwt.algorithms[1]",
        ),
        (
            "/projects/0/session",
            json!({ "cookies": ["session", "session"] }),
            "projects[0].session.cookies[1]",
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": [{ "name": "a" }, { "name": "a", "scheme": "B" }] }),
            "projects[0].jwt.headers[1]",
        ),
        (
            "/rules",
            json!([{ "match": { "methods": ["GET", "GET"] }, "require": "none" }]),
            "rules[0].match.methods[1]",
        ),
    ] {
        let expected = format!("{expected}: given more than once: keep one");
        assert_eq!(refused(with(&[(place, value)]).to_string()), [expected]);
    }
}

#[test]
fn a_project_of_nothing_lacks_what_the_smallest_one_has() {
    let lines = refused(json!({ "projects": [{}] }).to_string());
    let missing = [
        "projects[0].endpoint: missing",
        "projects[0].cluster: missing",
    ];
    assert_eq!(lines.len(), missing.len(), "{lines:?}");
    for (line, missing) in lines.iter().zip(missing) {
        assert!(line.starts_with(missing), "{line}");
    }
}

#[test]
fn what_is_missing_is_named_with_what_it_should_be() {
    let endpoint = "an origin as Authgear writes it into \"iss\", such as \"https://auth.example.com\": \
                    lower case, no path, no trailing slash, no default port";
    for (json, expected) in [
        (json!({}), "projects: missing: expected an array of projects".to_owned()),
        (json!({ "projects": [] }), "projects: expected an array of projects, found an array".to_owned()),
        (json!({ "projects": [{ "cluster": "a" }] }), format!("projects[0].endpoint: missing: expected {endpoint}")),
        (
            json!({ "projects": [{ "endpoint": ENDPOINT }] }),
            "projects[0].cluster: missing: expected the name of an upstream cluster".to_owned(),
        ),
        (
            json!({ "projects": [{ "endpoint": ENDPOINT, "jwks": { "inline": jwks() } }] }),
            "projects[0].cluster: missing: expected the name of an upstream cluster".to_owned(),
        ),
        (
            json!({ "projects": [{ "endpoint": ENDPOINT, "session": { "cluster": "resolver" } }] }),
            "projects[0].cluster: missing: expected the name of an upstream cluster".to_owned(),
        ),
        (
            with(&[("/rules", json!([{ "require": "none" }]))]),
            "rules[0].match: missing: expected an object; {} matches every request".to_owned(),
        ),
        (
            with(&[("/rules", json!([{ "match": {} }]))]),
            "rules[0].require: missing: expected \"none\", \"optional\", \"user\", \"machine\" or [\"user\", \"machine\"]".to_owned(),
        ),
        (
            with(&[("/projects/0/jwt", json!({ "headers": [{ "scheme": "Bearer" }] }))]),
            "projects[0].jwt.headers[0].name: missing: expected a header name in lower case (no wildcards), such as \"authorization\""
                .to_owned(),
        ),
    ] {
        assert_eq!(refused(json.to_string()), [expected], "{json}");
    }
}

#[test]
fn contradictions_are_refused_with_a_way_out() {
    let three =
        "projects[0].jwks: \"uri\", \"discover\" and \"inline\" exclude each other: keep one";
    let timings = "projects[0].jwks: \"inline\" keys are never fetched: remove the timings";
    let scheme =
        "projects[0].jwt.headers[0]: \"authorization\" needs a \"scheme\" (RFC 9110 §11.6.2)";
    let paths = "rules[0].match: \"path\" and \"path_prefix\" exclude each other: keep one";
    let keys = jwks();
    for (place, value, expected) in [
        (
            "/projects/0/jwks",
            json!({ "uri": "/a", "discover": true }),
            three,
        ),
        (
            "/projects/0/jwks",
            json!({ "uri": "/a", "inline": keys }),
            three,
        ),
        (
            "/projects/0/jwks",
            json!({ "discover": true, "inline": keys }),
            three,
        ),
        (
            "/projects/0/jwks",
            json!({ "inline": keys, "refresh": "5m" }),
            timings,
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": [{ "name": "authorization" }] }),
            scheme,
        ),
        (
            "/rules",
            json!([{ "match": { "path": "/a", "path_prefix": "/a" }, "require": "none" }]),
            paths,
        ),
    ] {
        assert_eq!(refused(with(&[(place, value)]).to_string()), [expected]);
    }
}

#[test]
fn tokens_are_confirmed_only_where_that_can_be() {
    for (more, reason) in [
        (
            ("/projects/0/session", json!(null)),
            "it asks the resolver: do not set \"session\" to null beside it",
        ),
        (
            ("/limits", json!({ "cached_tokens": 0 })),
            "the resolver's verdict is cached with the token: \"limits.cached_tokens\" must not be 0",
        ),
        (
            (
                "/projects/0/jwt/audiences",
                json!(["https://api.example.com"]),
            ),
            "the resolver knows no tokens but those for \"endpoint\", which is not among \"audiences\"",
        ),
    ] {
        let revalidating = ("/projects/0/jwt", json!({ "revalidate": "30s" }));
        accepted(&with(std::slice::from_ref(&revalidating)));
        let lines = refused(with(&[revalidating, more]).to_string());
        assert_eq!(lines, [format!("projects[0].jwt.revalidate: {reason}")]);
    }
    for (off, refused_as) in [
        ("0s", true),
        ("999ms", true),
        ("1s", false),
        ("1d", false),
        ("25h", true),
    ] {
        let json = with(&[("/projects/0/jwt", json!({ "revalidate": off }))]).to_string();
        assert_eq!(Config::parse(json.as_bytes()).is_err(), refused_as, "{off}");
    }
}

#[test]
fn an_answer_that_is_not_cached_cannot_be_given_again() {
    let stale = ("/projects/0/session", json!({ "stale_if_error": "1s" }));
    let none = ("/limits", json!({ "cached_sessions": 0 }));
    for fine in [&stale, &none] {
        accepted(&with(std::slice::from_ref(fine)));
    }
    assert_eq!(
        refused(with(&[stale, none]).to_string()),
        [
            "projects[0].session.stale_if_error: an answer that is not cached cannot be given again: \"limits.cached_sessions\" must not be 0"
        ]
    );
}

#[test]
fn all_errors_are_reported_at_once() {
    let lines = refused(
        json!({
            "projects": [{
                "endpoint": "https://auth.example.com/",
                "jwks": { "refresh": 5, "timeout": "1y", "x": 1 },
                "jwt": { "algorithms": ["none"], "clokc_skew": "1s" },
                "session": { "ttl": "1", "cookies": ["a b"], "relay_set_cookie": 1 },
            }],
            "rules": [
                { "match": { "path": "/ok" }, "require": "none" },
                { "match": { "path": "nok" }, "require": "all" },
                { "require": "machines" },
            ],
            "limits": { "token_bytes": 1, "waiting_requests": 0 },
            "report_only": true,
            "reprot_only": true,
        })
        .to_string(),
    );
    let paths: Vec<&str> = lines
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    for expected in [
        "projects[0].endpoint",
        "projects[0].cluster",
        "projects[0].jwks.refresh",
        "projects[0].jwks.timeout",
        "projects[0].jwks.x",
        "projects[0].jwt.algorithms[0]",
        "projects[0].jwt.clokc_skew",
        "projects[0].session.ttl",
        "projects[0].session.cookies[0]",
        "projects[0].session.relay_set_cookie",
        "rules[1].match.path",
        "rules[1].require",
        "rules[2].match",
        "rules[2].require",
        "limits.token_bytes",
        "limits.waiting_requests",
        "report_only",
        "reprot_only",
    ] {
        assert!(paths.contains(&expected), "{expected}\n{lines:#?}");
    }
    assert_eq!(paths.len(), 18, "{lines:#?}");
}

#[test]
fn session_cookies_are_those_that_the_resolver_reads_under_the_prefix() {
    for (prefix, name) in [
        ("", "my_session"),
        ("", "Session"),
        ("", "same_site_strict"),
        ("", "app_sessio"),
        ("my_", "session"),
        ("my_", "app_session"),
        ("my_", "my_"),
        ("my_", "my_my_session"),
        ("my", "my_session"),
        ("myapp_", "myapp_app_app_session"),
        ("app_", "session"),
    ] {
        let places = [
            ("/projects/0/cookie_prefix", json!(prefix)),
            ("/projects/0/session", json!({ "cookies": [name] })),
        ];
        let known = ["session", "app_session", "app_access_token"];
        let known = known.map(|known| format!("\"{prefix}{known}\""));
        let expected = format!(
            "projects[0].session.cookies[0]: expected a cookie name (no wildcards) that the resolver reads under this \"cookie_prefix\": \
             {}, found the string \"{name}\"",
            known.join(", ")
        );
        assert_eq!(refused(with(&places).to_string()), [expected]);
    }
}

#[test]
fn a_cookie_prefix_is_the_beginning_of_a_cookie_name() {
    for prefix in [
        json!("a b"),
        json!("a="),
        json!("a;"),
        json!("\u{e4}"),
        json!("a\r\nb"),
        json!(1),
        json!(null),
        json!(["a"]),
    ] {
        let places = [
            ("/projects/0/cookie_prefix", prefix),
            // What these mean under it nobody can say.
            (
                "/projects/0/session",
                json!({ "cookies": ["session", "x"] }),
            ),
        ];
        let lines = refused(with(&places).to_string());
        let start =
            "projects[0].cookie_prefix: expected what the names of Authgear's cookies begin with";
        assert!(lines.len() == 1 && lines[0].starts_with(start), "{lines:?}");
    }
}

#[test]
fn keys_in_the_configuration_are_refused_where_none_can_be_used() {
    let document = "is not a JWKS document (missing field `keys` at line 1 column 10)";
    for (inline, expected) in [
        (json!({ "keys": [] }), "has no keys"),
        (json!({ "key": [] }), document),
        (
            json!({ "keys": [{ "kty": "oct" }] }),
            "has no usable key: keys[0] has no \"kid\"",
        ),
        (
            json!({ "keys": [{ "kty": "oct", "kid": "a" }, KEY.clone().with_kid("").jwk()] }),
            "has no usable key: keys[0] is of an unsupported kind, keys[1] has no \"kid\"",
        ),
    ] {
        let json = with(&[("/projects/0/jwks", json!({ "inline": inline }))]);
        let expected = format!("projects[0].jwks.inline: {expected}");
        assert_eq!(refused(json.to_string()), [expected], "{json}");
    }
}

#[test]
fn keys_in_the_configuration_are_read_beside_whatever_else_is_wrong() {
    let json = with(&[
        ("/projects/0/jwks", json!({ "inline": { "keys": [] } })),
        ("/projects/0/session", json!({ "ttl": 1 })),
    ]);
    let lines = refused(json.to_string());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "projects[0].jwks.inline: has no keys");
    assert!(
        lines[1].starts_with("projects[0].session.ttl: "),
        "{lines:?}"
    );
}

#[test]
fn a_member_of_another_name_or_at_another_place_is_led_to_its_own() {
    for (place, expected) in [
        ("/projects/0/issuer", "\"projects[].endpoint\""),
        ("/issuer", "\"projects[].endpoint\""),
        ("/endpoint", "\"projects[].endpoint\""),
        ("/cluster", "\"projects[].cluster\""),
        ("/projects/0/audience", "\"projects[].jwt.audiences\""),
        ("/projects/0/jwks_uri", "\"projects[].jwks.uri\""),
        ("/projects/0/jwks/jwks_uri", "\"projects[].jwks.uri\""),
        ("/projects/0/cookie", "\"projects[].session.cookies\""),
        (
            "/projects/0/session/cookie_name",
            "\"projects[].session.cookies\"",
        ),
        (
            "/projects/0/timeout",
            "\"projects[].session.timeout\" or \"projects[].jwks.timeout\"",
        ),
        ("/rules/0/match/prefix", "\"rules[].match.path_prefix\""),
        // A slip is nearer.
        ("/projects/0/session/cookie", "\"cookies\""),
        ("/projects/0/jwt/cookie", "\"cookies\""),
    ] {
        let json = with(&[
            ("/rules", json!([{ "match": {}, "require": "user" }])),
            ("/projects/0/jwks", json!({})),
            ("/projects/0/jwt", json!({})),
            ("/projects/0/session", json!({})),
            (place, json!("x")),
        ]);
        let lines = refused(json.to_string());
        let expected = format!(": unknown member: did you mean {expected}?");
        assert!(
            lines.len() == 1 && lines[0].ends_with(&expected),
            "{place}: {lines:?}"
        );
    }
}

#[test]
fn what_is_meant_by_a_value_of_another_kind_is_said() {
    for (place, value, expected) in [
        (
            "/projects/0/session",
            json!(false),
            "expected an object, or null, which turns sessions off, found false",
        ),
        (
            "/projects/0/session",
            json!("off"),
            "expected an object, or null, which turns sessions off, found the string \"off\"",
        ),
        (
            "/projects/0/endpoint",
            json!("https://b\u{fc}cher.example"),
            "no default port, in ASCII (a host as \"xn--…\"), found the string \"https://b\u{fc}cher.example\"",
        ),
        (
            "/rules",
            json!([{ "match": { "hosts": ["b\u{fc}cher.example"] }, "require": "none" }]),
            "and a domain, in ASCII (a host as \"xn--…\"), found the string \"b\u{fc}cher.example\"",
        ),
        (
            "/rules",
            json!([{ "match": { "path": "/\u{e4}//b" }, "require": "none" }]),
            "found the string \"/\u{e4}//b\"",
        ),
        (
            "/rules",
            json!([{ "match": { "path": "/api*" }, "require": "none" }]),
            "rules[0].match.path: \"*\" stands for a whole segment, \"**\" for all that lies below: \"/users/*/keys\", \"/static/**\"",
        ),
        (
            "/rules",
            json!([{ "match": { "path": "/static/**/x" }, "require": "none" }]),
            "rules[0].match.path: \"*\" stands for a whole segment, \"**\" for all that lies below: \"/users/*/keys\", \"/static/**\"",
        ),
        (
            "/rules",
            json!([{ "match": { "path": "/a***" }, "require": "none" }]),
            "rules[0].match.path: \"*\" stands for a whole segment, \"**\" for all that lies below: \"/users/*/keys\", \"/static/**\"",
        ),
        (
            "/rules",
            json!([{ "match": { "path_prefix": "/a/*b" }, "require": "none" }]),
            "rules[0].match.path_prefix: \"*\" stands for a whole segment, \"**\" for all that lies below: \"/users/*/keys\", \"/static/**\"",
        ),
        (
            "/rules",
            json!([{ "match": { "path_prefix": "/a/**" }, "require": "none" }]),
            "rules[0].match.path_prefix: \"**\" is for \"path\": a prefix is for all that lies below it already",
        ),
    ] {
        let lines = refused(with(&[(place, value)]).to_string());
        assert!(
            lines.len() == 1 && lines[0].ends_with(expected),
            "{lines:?}"
        );
    }
}
