//! Conditions that nothing can meet, or not what their author meant: refused, or warned of.

use super::*;

/// The warnings that an operator reads.
fn warned(json: &Value) -> Vec<String> {
    let warnings = accepted(json).warnings;
    warnings.iter().map(ToString::to_string).collect()
}

fn rules(rules: &Value) -> Value {
    with(&[("/rules", rules.clone())])
}

fn rule(matches: &Value) -> Value {
    rules(&json!([{ "match": matches, "require": "none" }]))
}

#[test]
fn a_path_is_no_regular_expression_and_no_template() {
    for (path, sign) in [
        ("/^admin", '^'),
        ("^/admin", '^'),
        ("/api/(v1|v2)/", '|'),
        ("/users/{id}", '{'),
        ("/users/{id}/*", '{'),
        ("/a}", '}'),
        ("/users/[0-9]+", '['),
        ("/a]", ']'),
        ("/users/<id>", '<'),
        ("/a>", '>'),
        ("/\"a\"", '"'),
        ("/`a`", '`'),
        ("/\\d{3}", '{'),
        // What is left of a name in Latin-1 after it was read as UTF-8.
        ("/caf\u{fffd}", '\u{fffd}'),
    ] {
        for member in ["path", "path_prefix"] {
            let expected = format!(
                "rules[0].match.{member}: {sign:?} is not allowed in a path (RFC 3986 §3.3): paths are compared literally, not as \
                 regular expressions or templates; use \"path_prefix\", or percent-encode the character if it is meant itself"
            );
            let lines = refused(rule(&json!({ member: path })).to_string());
            assert_eq!(lines, [expected], "{path}");
        }
    }
    for (path, normal) in [
        ("/users/%7Bid%7D", "/users/{id}"),
        ("/a%5E%7C%5B%5D%3C%3E%22%60", "/a^|[]<>\"`"),
        ("/caf\u{e9}", "/caf\u{e9}"),
        ("/caf%C3%A9", "/caf\u{e9}"),
        ("/a'b!c&d+e,f=g@h~i(j)k$l:m", "/a'b!c&d+e,f=g@h~i(j)k$l:m"),
    ] {
        let config = accepted(&rule(&json!({ "path": path })));
        let expected = Some(PathPattern::Exact(normal.to_owned()));
        assert_eq!(config.rules[0].matches.path, expected);
        assert_eq!(config.warnings, []);
    }
}

#[test]
fn a_path_that_looks_like_a_pattern_is_warned_of() {
    for path in [
        "/admin$",
        "/$",
        "/users/:id",
        "/:tenant/x",
        "/(v1)",
        "/api/(v1)/x",
        "/(.+)/x",
        "/api/.+",
        "/api/x.+/y",
    ] {
        for member in ["path", "path_prefix"] {
            let expected = format!(
                "rules[0].match.{member}: matches {path:?} as it is written: paths are compared literally, not as regular \
                 expressions or templates"
            );
            assert_eq!(warned(&rule(&json!({ member: path }))), [expected]);
        }
    }
    for path in [
        "/",
        "/Products(1)",
        "/$metadata",
        "/v1/items:batch",
        "/c++",
        "/a+b",
        "/@scope",
        "/a$b",
    ] {
        let none: [&str; 0] = [];
        assert_eq!(warned(&rule(&json!({ "path_prefix": path }))), none);
    }
}

#[test]
fn a_method_that_is_not_registered_is_warned_of() {
    for (method, nearest) in [
        ("PSOT", Some("POST")),
        ("PACTH", Some("PATCH")),
        ("DELTE", Some("DELETE")),
        ("OPTION", Some("OPTIONS")),
        ("PROFIND", Some("PROPFIND")),
        ("M-SEARCH", None),
        ("PURGE", None),
        ("FOO", None),
    ] {
        let hint = nearest.map_or_else(String::new, |name| format!(": did you mean \"{name}\"?"));
        assert_eq!(
            warned(&rule(&json!({ "methods": ["GET", method] }))),
            [format!(
                "rules[0].match.methods[1]: not a registered HTTP method{hint}"
            )]
        );
    }
    let registered = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL"
        .split(' ')
        .collect::<Vec<_>>();
    assert_eq!(
        accepted(&rule(&json!({ "methods": registered }))).warnings,
        []
    );
}

/// Whether the second rule is never reached because of the first, whatever both ask; with the words for it.
#[track_caller]
fn assert_covered(first: &Value, second: &Value, covered: bool) {
    let two = |require: &str| {
        rules(&json!([
            { "match": first, "require": "none" },
            { "match": second, "require": require },
        ]))
    };
    let unreached = "rules[1]: is never reached: rules[0] matches everything it would";
    if covered {
        let lines = refused(two("user").to_string());
        assert_eq!(lines, [format!("{unreached}; move it up")]);
        let same = format!("{unreached}, and asks for the same");
        assert_eq!(warned(&two("none")), [same]);
    } else {
        for require in ["user", "none"] {
            let warnings = accepted(&two(require)).warnings;
            assert_eq!(warnings, [], "{first} {second}");
        }
    }
}

#[test]
fn a_rule_that_an_earlier_one_covers_is_never_reached() {
    for (first, second) in [
        (json!({}), json!({})),
        (json!({}), json!({ "path": "/" })),
        (json!({ "path_prefix": "/" }), json!({})),
        (json!({ "path_prefix": "/" }), json!({ "path": "/a/b" })),
        (json!({ "path_prefix": "/a" }), json!({ "path": "/a" })),
        (json!({ "path_prefix": "/a" }), json!({ "path": "/a/" })),
        (json!({ "path_prefix": "/a" }), json!({ "path": "/a/b/c" })),
        (
            json!({ "path_prefix": "/a" }),
            json!({ "path_prefix": "/a" }),
        ),
        (
            json!({ "path_prefix": "/a" }),
            json!({ "path_prefix": "/a/" }),
        ),
        (
            json!({ "path_prefix": "/a/" }),
            json!({ "path_prefix": "/a/" }),
        ),
        (json!({ "path_prefix": "/a/" }), json!({ "path": "/a/" })),
        (
            json!({ "path_prefix": "/a/" }),
            json!({ "path_prefix": "/a/b" }),
        ),
        (json!({ "path": "/a/b" }), json!({ "path": "/a/b" })),
        (
            json!({ "path": "/caf%C3%A9" }),
            json!({ "path": "/caf\u{e9}" }),
        ),
        (
            json!({}),
            json!({ "methods": ["GET"], "hosts": ["a.example.org"] }),
        ),
        (json!({ "methods": ["GET"] }), json!({ "methods": ["GET"] })),
        (
            json!({ "methods": ["GET"] }),
            json!({ "methods": ["HEAD"] }),
        ),
        (
            json!({ "methods": ["PUT", "GET"] }),
            json!({ "methods": ["HEAD", "PUT"] }),
        ),
        (
            json!({ "hosts": ["a.example.org"] }),
            json!({ "hosts": ["a.example.org"] }),
        ),
        (
            json!({ "hosts": ["*.example.org"] }),
            json!({ "hosts": ["a.example.org"] }),
        ),
        (
            json!({ "hosts": ["*.example.org"] }),
            json!({ "hosts": ["*.example.org"] }),
        ),
        (
            json!({ "hosts": ["*.example.org"] }),
            json!({ "hosts": ["*.a.example.org", "b.c.example.org"] }),
        ),
        (
            json!({ "hosts": ["x", "*.example.org"] }),
            json!({ "path": "/a", "methods": ["PUT"], "hosts": ["a.example.org", "x"] }),
        ),
    ] {
        assert_covered(&first, &second, true);
    }
}

#[test]
fn a_rule_that_is_reached_by_something_is_none_of_these() {
    for (first, second) in [
        (json!({ "path": "/" }), json!({})),
        (json!({ "path": "/" }), json!({ "path_prefix": "/" })),
        (json!({ "path": "/a" }), json!({ "path_prefix": "/a" })),
        (json!({ "path": "/a" }), json!({ "path": "/a/" })),
        (json!({ "path": "/a/" }), json!({ "path": "/a" })),
        (
            json!({ "path_prefix": "/a/" }),
            json!({ "path_prefix": "/a" }),
        ),
        (json!({ "path_prefix": "/a/" }), json!({ "path": "/a" })),
        (json!({ "path_prefix": "/a" }), json!({ "path": "/ab" })),
        (json!({ "path_prefix": "/a" }), json!({})),
        // By the case that is written.
        (json!({ "path_prefix": "/A" }), json!({ "path": "/a/b" })),
        (json!({ "path": "/A" }), json!({ "path": "/a" })),
        (
            json!({ "methods": ["HEAD"] }),
            json!({ "methods": ["GET"] }),
        ),
        (
            json!({ "methods": ["GET"] }),
            json!({ "methods": ["GET", "POST"] }),
        ),
        (json!({ "methods": ["GET"] }), json!({})),
        (json!({ "hosts": ["a.example.org"] }), json!({})),
        (
            json!({ "hosts": ["a.example.org"] }),
            json!({ "hosts": ["a.example.org", "b.example.org"] }),
        ),
        (
            json!({ "hosts": ["a.example.org"] }),
            json!({ "hosts": ["*.a.example.org"] }),
        ),
        (
            json!({ "hosts": ["*.example.org"] }),
            json!({ "hosts": ["example.org"] }),
        ),
        (
            json!({ "hosts": ["*.example.org"] }),
            json!({ "hosts": ["aexample.org"] }),
        ),
        (
            json!({ "hosts": ["*.a.example.org"] }),
            json!({ "hosts": ["*.example.org"] }),
        ),
        (
            json!({ "path_prefix": "/a", "hosts": ["x"] }),
            json!({ "path_prefix": "/a" }),
        ),
        (
            json!({ "path_prefix": "/a", "methods": ["PUT"] }),
            json!({ "path": "/a" }),
        ),
    ] {
        assert_covered(&first, &second, false);
    }
}

#[test]
fn the_first_of_the_rules_that_cover_another_is_named() {
    let json = rules(&json!([
        { "match": { "path": "/other" }, "require": "user" },
        { "match": { "path_prefix": "/a/b" }, "require": "none" },
        { "match": { "path_prefix": "/a" }, "require": "none" },
        { "match": { "path": "/a/b" }, "require": "user" },
        { "match": { "path": "/a/c" }, "require": "optional" },
    ]));
    assert_eq!(
        refused(json.to_string()),
        [
            "rules[3]: is never reached: rules[1] matches everything it would; move it up",
            "rules[4]: is never reached: rules[2] matches everything it would; move it up",
        ]
    );
}

#[test]
fn ten_thousand_rules_are_compared_in_bounded_time() {
    let host = |nth: usize| format!("h{nth}.example.org");
    let by_path = |nth: usize| json!({ "path": format!("/r/{nth}"), "hosts": [host(nth)] });
    let by_host = |nth: usize| json!({ "hosts": [host(nth)] });
    let many: Vec<String> = (0..500).map(host).collect();
    let by_hosts = |nth: usize| json!({ "path": format!("/r/{}", nth % 8), "hosts": many });
    let of = |count: usize, matches: &dyn Fn(usize) -> Value| -> Value {
        let rule = |nth| json!({ "match": matches(nth), "require": "none" });
        (0..count).map(rule).collect()
    };
    // By path there is nothing to compare; one rule is found at the end of all.
    let mut all = of(10_000, &by_path);
    all[9_999] = all[0].clone();
    assert_eq!(warned(&rules(&all)).len(), 1);
    // The rest is not compared once there was too much of it.
    let mut all = of(10_000, &by_host);
    all[100] = all[0].clone();
    all[9_999] = all[0].clone();
    assert_eq!(warned(&rules(&all)).len(), 1);
    assert!(warned(&rules(&of(200, &by_hosts))).len() <= 100);
}

#[test]
fn warnings_are_bounded_as_errors_are() {
    let methods: Vec<String> = (b'A'..=b'Z')
        .flat_map(|first| (b'A'..=b'Z').map(move |second| [first, second]))
        .map(|name| String::from_utf8(name.to_vec()).unwrap())
        .collect();
    assert_eq!(warned(&rule(&json!({ "methods": methods }))).len(), 100);
}

#[test]
fn there_are_no_wildcards_in_names() {
    for (place, value, path) in [
        (
            "/projects/0/session",
            json!({ "cookies": ["*session"] }),
            "session.cookies[0]",
        ),
        (
            "/projects/0/jwt",
            json!({ "cookies": ["*session"] }),
            "jwt.cookies[0]",
        ),
        (
            "/projects/0/jwt",
            json!({ "cookies": ["*"] }),
            "jwt.cookies[0]",
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": [{ "name": "x-*" }] }),
            "jwt.headers[0].name",
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": [{ "name": "x", "scheme": "*" }] }),
            "jwt.headers[0].scheme",
        ),
        ("/projects/0/cookie_prefix", json!("*"), "cookie_prefix"),
    ] {
        let json = with(&[(place, value)]);
        let lines = refused(json.to_string());
        let start = format!("projects[0].{path}: expected ");
        assert!(
            lines.len() == 1 && lines[0].starts_with(&start) && lines[0].contains("no wildcards"),
            "{lines:?}"
        );
    }
}

#[test]
fn an_audience_or_client_that_no_token_has_is_warned_of() {
    let endpoint = "differs from \"endpoint\", and is compared byte by byte";
    let space = "contains a space, and is compared byte by byte";
    for (audience, text) in [
        ("https://auth.example.com/", endpoint),
        ("HTTPS://Auth.example.com", endpoint),
        ("https://Auth.example.com//", endpoint),
        ("a b", space),
        (" a", space),
        ("a,\u{a0}b", space),
        ("https://auth.example.com ", space),
    ] {
        let json = with(&[("/projects/0/jwt", json!({ "audiences": ["a", audience] }))]);
        let expected = format!("projects[0].jwt.audiences[1]: {text}");
        assert_eq!(warned(&json), [expected], "{audience}");
    }
    let json = with(&[("/projects/0/jwt", json!({ "client_ids": ["a", "b c"] }))]);
    assert_eq!(
        warned(&json),
        [format!("projects[0].jwt.client_ids[1]: {space}")]
    );
    let fine = json!({
        "audiences": [ENDPOINT, "https://api.example.com/", "https://auth.example.com/x", "a"],
        "client_ids": ["a/", "b"],
    });
    assert_eq!(accepted(&with(&[("/projects/0/jwt", fine)])).warnings, []);
}

#[test]
fn what_is_wrong_with_a_host_is_said() {
    for host in ["*.com.", "a.example.com.", "https://a.example.com", "a:80"] {
        let lines = refused(rule(&json!({ "hosts": [host] })).to_string());
        let expected = format!(
            "rules[0].match.hosts[0]: expected a host in lower case, without a scheme, a port or a dot at its end, or \"*.\" and a \
             domain, found the string {host:?}"
        );
        assert_eq!(lines, [expected]);
    }
}

#[test]
fn a_rule_behind_a_pattern_that_covers_it_is_never_reached() {
    let (path, prefix) = (
        |path: &str| json!({ "path": path }),
        |path: &str| json!({ "path_prefix": path }),
    );
    for (first, second, covered) in [
        (path("/a/*"), path("/a/b"), true),
        (path("/a/*"), path("/a/*"), true),
        (path("/*/b"), path("/*/b"), true),
        (path("/*/*"), path("/a/*"), true),
        (path("/a/**"), path("/a/b"), true),
        (path("/a/**"), path("/a/*/c"), true),
        (path("/a/**"), prefix("/a/b"), true),
        (prefix("/*"), prefix("/a/b"), true),
        (prefix("/a/*/"), path("/a/b/c"), true),
        (path("/a/b"), path("/a/*"), false),
        (path("/a/*"), path("/a/b/c"), false),
        (path("/a/*"), prefix("/a/b"), false),
        (path("/a/*"), path("/a/B/"), false),
        (path("/a/*/"), path("/a/b"), false),
        (path("/A/*"), path("/a/b"), false),
        (path("/a/**"), path("/a"), false),
        (prefix("/a/*/"), path("/a/b"), false),
        (prefix("/a/b"), prefix("/a/*"), false),
        (prefix("/a/*"), prefix("/a"), false),
    ] {
        assert_covered(&first, &second, covered);
    }
}
