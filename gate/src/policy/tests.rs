use super::*;
use crate::config::Config;

mod authorize;
mod client;
mod patterns;
mod requirements;
mod ways;

/// Each rule is read by itself: a configuration with some of these would be refused, because one covers another.
fn policy(rules: &str) -> Policy {
    let rules: Vec<serde_json::Value> = serde_json::from_str(rules).unwrap();
    let rule = |rule| {
        let project = r#"{"endpoint":"https://auth.example.com","cluster":"authgear"}"#;
        let json = format!(r#"{{"projects":[{project}],"rules":[{rule}]}}"#);
        Config::parse(json.as_bytes()).unwrap().rules.remove(0)
    };
    let rules = rules.into_iter().map(rule).collect();
    let require = Require::User;
    Policy::new(rules, Rc::new(Requirement::new(require)))
}

fn require(policy: &Policy, request: &str) -> Result<Require, PathRefused> {
    let (method, target) = request.split_once(' ').unwrap();
    let at = target.find('/').unwrap();
    let (host, path) = target.split_at(at);
    policy
        .requirement(method.as_bytes(), host.as_bytes(), path.as_bytes(), &[])
        .map(|(requirement, _)| requirement.require)
}

#[test]
fn the_first_rule_that_matches_decides() {
    let policy = policy(
        r#"[{"match":{"path":"/a/b"},"require":"none"},
            {"match":{"path_prefix":"/a"},"require":"optional"},
            {"match":{"path_prefix":"/a/b/c"},"require":"none"}]"#,
    );
    assert_eq!(require(&policy, "GET h/a/b"), Ok(Require::None));
    assert_eq!(require(&policy, "GET h/a/b/c"), Ok(Require::Optional));
    assert_eq!(require(&policy, "GET h/a"), Ok(Require::Optional));
}

#[test]
fn what_no_rule_matches_needs_a_user() {
    let policy = policy(r#"[{"match":{"path":"/healthz"},"require":"none"}]"#);
    for request in [
        "GET h/",
        "GET h/healthz/",
        "GET h/healthz/x",
        "GET h/healthzz",
        "GET h/HEALTHZ",
    ] {
        assert_eq!(require(&policy, request), Ok(Require::User), "{request}");
    }
    assert_eq!(require(&policy, "GET h/healthz?x=/y"), Ok(Require::None));
}

#[test]
fn a_prefix_ends_at_a_slash() {
    let policy = policy(r#"[{"match":{"path_prefix":"/public"},"require":"none"}]"#);
    for request in ["GET h/public", "GET h/public/", "GET h/public/a/b"] {
        assert_eq!(require(&policy, request), Ok(Require::None), "{request}");
    }
    for request in ["GET h/publicity", "GET h/public.txt", "GET h/a/public"] {
        assert_eq!(require(&policy, request), Ok(Require::User), "{request}");
    }
}

#[test]
fn a_prefix_with_a_slash_is_for_what_lies_below() {
    let policy = policy(r#"[{"match":{"path_prefix":"/public/"},"require":"none"}]"#);
    assert_eq!(require(&policy, "GET h/public/"), Ok(Require::None));
    assert_eq!(require(&policy, "GET h/public/a"), Ok(Require::None));
    assert_eq!(require(&policy, "GET h/public"), Ok(Require::User));
}

#[test]
fn the_root_prefix_and_the_empty_match_are_for_everything() {
    for matches in [r#"{"path_prefix":"/"}"#, "{}"] {
        let policy = policy(&format!(r#"[{{"match":{matches},"require":"none"}}]"#));
        for request in ["GET h/", "GET h/a", "GET h/a/b/"] {
            assert_eq!(require(&policy, request), Ok(Require::None), "{request}");
        }
    }
}

#[test]
fn methods_and_hosts_narrow_a_rule() {
    let policy = policy(
        r#"[{"match":{"path_prefix":"/a","methods":["GET"]},"require":"none"},
            {"match":{"path_prefix":"/b","hosts":["app.example.com","*.example.org"]},"require":"none"}]"#,
    );
    assert_eq!(require(&policy, "GET h/a"), Ok(Require::None));
    assert_eq!(require(&policy, "HEAD h/a"), Ok(Require::None));
    for request in ["POST h/a", "OPTIONS h/a", "GETS h/a"] {
        assert_eq!(require(&policy, request), Ok(Require::User), "{request}");
    }
    for host in [
        "app.example.com",
        "APP.example.com:8443",
        "app.example.com.",
        "x.y.example.org",
    ] {
        assert_eq!(
            require(&policy, &format!("GET {host}/b")),
            Ok(Require::None),
            "{host}"
        );
    }
    for host in ["example.org", "evilexample.org", "app.example.com.evil", ""] {
        assert_eq!(
            require(&policy, &format!("GET {host}/b")),
            Ok(Require::User),
            "{host}"
        );
    }
}

/// `post` is a method of its own (RFC 9110 §9.1), and `POST` to many a backend.
#[test]
fn a_method_with_small_letters_or_none_is_ambiguous() {
    let rules =
        r#"[{"match":{"methods":["POST"]},"require":"user"},{"match":{},"require":"none"}]"#;
    let policy = policy(rules);
    for (method, expected) in [
        ("POST", Ok(Require::User)),
        ("GET", Ok(Require::None)),
        ("PROPFIND", Ok(Require::None)),
        ("M-SEARCH", Ok(Require::None)),
        ("X_Y.Z9!", Ok(Require::None)),
        ("post", Err(PathRefused::Method)),
        ("Post", Err(PathRefused::Method)),
        ("POSt", Err(PathRefused::Method)),
        ("get", Err(PathRefused::Method)),
        ("", Err(PathRefused::Method)),
        ("POST,GET", Err(PathRefused::Method)),
        ("POST;", Err(PathRefused::Method)),
        ("POST/", Err(PathRefused::Method)),
        ("POST:", Err(PathRefused::Method)),
        ("\"POST\"", Err(PathRefused::Method)),
        ("POST\t", Err(PathRefused::Method)),
        ("POST\0", Err(PathRefused::Method)),
        ("PO\u{17f}T", Err(PathRefused::Method)),
    ] {
        let request = format!("{method} h/x");
        assert_eq!(require(&policy, &request), expected, "{request}");
    }
    let found = |method| policy.requirement(method, b"h", b"/x", &[]).is_ok();
    assert!(!found(b"POST ") && !found(b" POST") && !found(b"PO\xffT"));
}

#[test]
fn an_authority_that_readers_cut_differently_evades_no_rule_by_host() {
    let admin = r#"[{"match":{"hosts":["admin.example.com"]},"require":"user"},{"match":{},"require":"none"}]"#;
    let admin = policy(admin);
    let nothing = policy(r#"[{"match":{},"require":"none"}]"#);
    for host in [
        "admin.example.com:80:80",
        "admin.example.com..",
        "admin.example.com,x",
        "admin.example.com;x",
        "user@admin.example.com",
        "admin.example.com:",
        "%61dmin.example.com",
        ".admin.example.com",
    ] {
        for policy in [&admin, &nothing] {
            let request = format!("GET {host}/x");
            assert_eq!(
                require(policy, &request),
                Err(PathRefused::Authority),
                "{request}"
            );
        }
    }
    for host in ["ADMIN.example.com", "admin.example.com.:80"] {
        let request = format!("GET {host}/x");
        assert_eq!(require(&admin, &request), Ok(Require::User), "{request}");
    }
    for host in ["my_service", "[::1]:80", "x.admin.example.com"] {
        let request = format!("GET {host}/x");
        assert_eq!(require(&admin, &request), Ok(Require::None), "{request}");
    }
}

#[test]
fn a_path_that_reads_as_something_else_elsewhere_is_refused() {
    let policy = policy(r#"[{"match":{"path_prefix":"/public/"},"require":"none"}]"#);
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/..;/admin",
        "/public/%252e%252e/admin",
        "/public/..\\admin",
        "/x/../public/a",
    ] {
        assert_eq!(
            require(&policy, &format!("GET h{path}")),
            Err(PathRefused::Readings),
            "{path}"
        );
    }
    for path in ["/public/%zz", "/public/%00", "/public/a#b"] {
        assert!(
            matches!(
                require(&policy, &format!("GET h{path}")),
                Err(PathRefused::Path(_))
            ),
            "{path}"
        );
    }
}

#[test]
fn a_path_whose_readings_agree_passes() {
    let policy = policy(r#"[{"match":{"path_prefix":"/npm/"},"require":"none"}]"#);
    assert_eq!(
        require(&policy, "GET h/npm/@scope%2fname"),
        Ok(Require::None)
    );
    assert_eq!(require(&policy, "GET h/npm//a/./b;v=1"), Ok(Require::None));
    assert_eq!(require(&policy, "GET h/x/../y%2fz"), Ok(Require::User));
}

/// How a reader that treats such a path as a URL reference reads it: RFC 3986 §4.2.
#[test]
fn a_path_that_reads_as_a_reference_to_another_authority_is_judged_as_its_path_too() {
    let admin = policy(
        r#"[{"match":{"path_prefix":"/admin"},"require":"user"},{"match":{},"require":"none"}]"#,
    );
    let public = policy(r#"[{"match":{"path_prefix":"/public"},"require":"none"}]"#);
    for reference in [
        "//x",
        "///x",
        "/\\x",
        "//x:80",
        "//user@x",
        "/.//x",
        "/a/..//x",
        "/%2Fx",
        "/%5Cx",
        "/%252Fx",
        "/.%2F%5Cx",
    ] {
        for (policy, path) in [(&admin, "/admin"), (&public, "/public/x")] {
            let request = format!("GET h{reference}{path}");
            assert_eq!(
                require(policy, &request),
                Err(PathRefused::Readings),
                "{request}"
            );
        }
        // Nothing is refused where no reading falls under another rule.
        let request = format!("GET h{reference}/y");
        assert_eq!(require(&admin, &request), Ok(Require::None), "{request}");
        assert_eq!(require(&public, &request), Ok(Require::User), "{request}");
    }
    let root = policy(r#"[{"match":{"path":"/"},"require":"none"}]"#);
    for request in ["GET h//x", "GET h//x?y", "GET h//"] {
        assert_eq!(
            require(&root, request),
            Err(PathRefused::Readings),
            "{request}"
        );
    }
    for request in ["GET h/a//x", "GET h/admin//x", "GET h//x/y//z"] {
        assert_eq!(require(&root, request), Ok(Require::User), "{request}");
    }
    assert_eq!(require(&admin, "GET h/admin//x"), Ok(Require::User));
}

/// Most backends serve the same under a path with and without a slash at its end.
const WITH_A_SLASH: [&str; 14] = [
    "/admin/",
    "/admin/?x",
    "/admin/.",
    "/admin/x/..",
    "/admin//",
    "/admin%2F",
    "/admin%2f",
    "/admin%252F",
    "/admin%5C",
    "/admin\\",
    "/admin/%20",
    "/admin%20/",
    "/admin/;x",
    "//x/admin/",
];

#[test]
fn an_exact_path_that_asks_for_more_names_the_resource_with_and_without_a_slash() {
    for open in ["none", "optional"] {
        let open_is = if open == "none" {
            Require::None
        } else {
            Require::Optional
        };
        for exact in ["/admin", "/admin/"] {
            let policy = policy(&format!(
                r#"[{{"match":{{"path":"{exact}"}},"require":"user"}},{{"match":{{}},"require":"{open}"}}]"#
            ));
            for path in ["/admin", "/admin?x", "/admin/", "/%61dmin", "/admin/?x"] {
                let request = format!("GET h{path}");
                assert_eq!(require(&policy, &request), Ok(Require::User), "{request}");
            }
            for path in WITH_A_SLASH {
                let request = format!("GET h{path}");
                let judged = require(&policy, &request);
                assert!(
                    judged == Ok(Require::User) || judged == Err(PathRefused::Readings),
                    "{exact} {request}: {judged:?}"
                );
            }
            for path in [
                "/",
                "/admin/x",
                "/admins",
                "/admin//x",
                "/x/admin/",
                "/admin/x/",
            ] {
                let request = format!("GET h{path}");
                assert_eq!(require(&policy, &request), Ok(open_is), "{request}");
            }
        }
    }
}

#[test]
fn an_exact_path_that_asks_for_less_opens_that_path_alone() {
    for (less, less_is) in [("none", Require::None), ("optional", Require::Optional)] {
        for (exact, other) in [("/admin", "/admin/"), ("/admin/", "/admin")] {
            let policy = policy(&format!(
                r#"[{{"match":{{"path":"{exact}"}},"require":"{less}"}}]"#
            ));
            let at = |path: &str| require(&policy, &format!("GET h{path}"));
            assert_eq!(at(exact), Ok(less_is), "{exact}");
            assert_eq!(at(other), Ok(Require::User), "{other}");
            for path in WITH_A_SLASH {
                let judged = at(path);
                let opened = path.split('?').next() == Some(exact) && judged == Ok(less_is);
                let closed = judged == Ok(Require::User) || judged == Err(PathRefused::Readings);
                assert!(opened || closed, "{exact} {path}: {judged:?}");
            }
        }
    }
}

#[test]
fn what_would_apply_without_an_exact_path_is_the_next_rule_that_matches() {
    // The order of the rules: each row asks for a path, and says what is required there.
    for (rules, path, expected) in [
        // It asks for less than the next rule, though for more than the default.
        (
            r#"[{"match":{"path":"/a"},"require":"optional"},{"match":{"path_prefix":"/a"},"require":"user"}]"#,
            "/a/",
            Require::User,
        ),
        (
            r#"[{"match":{"path":"/a"},"require":"optional"},{"match":{"path_prefix":"/a"},"require":"none"}]"#,
            "/a/",
            Require::Optional,
        ),
        // An earlier rule decides.
        (
            r#"[{"match":{"path_prefix":"/a"},"require":"none"},{"match":{"path":"/a"},"require":"user"}]"#,
            "/a/",
            Require::None,
        ),
        (
            r#"[{"match":{"path":"/a/"},"require":"none"},{"match":{"path":"/a"},"require":"user"}]"#,
            "/a/",
            Require::None,
        ),
        (
            r#"[{"match":{"path":"/a"},"require":"user"},{"match":{"path":"/a/"},"require":"none"}]"#,
            "/a/",
            Require::User,
        ),
        (
            r#"[{"match":{"path":"/a"},"require":"none"},{"match":{"path":"/a/"},"require":"user"},{"match":{},"require":"optional"}]"#,
            "/a",
            Require::None,
        ),
        // Several rules that differ by a slash: the first that asks for more than the later ones.
        (
            r#"[{"match":{"path":"/a"},"require":"none"},{"match":{"path":"/a"},"require":"user"},{"match":{},"require":"optional"}]"#,
            "/a/",
            Require::User,
        ),
        (
            r#"[{"match":{"path":"/a"},"require":"optional"},{"match":{"path":"/a"},"require":"user"},{"match":{},"require":"none"}]"#,
            "/a/",
            Require::User,
        ),
        (
            r#"[{"match":{"path":"/"},"require":"user"},{"match":{},"require":"none"}]"#,
            "/x",
            Require::None,
        ),
        (
            r#"[{"match":{"path":"/"},"require":"user"},{"match":{},"require":"none"}]"#,
            "/",
            Require::User,
        ),
    ] {
        let found = require(&policy(rules), &format!("GET h{path}"));
        assert_eq!(found, Ok(expected), "{rules} {path}");
    }
}

#[test]
fn the_other_conditions_of_an_exact_path_hold_with_a_slash_as_well() {
    let policy = policy(
        r#"[{"match":{"path":"/a","methods":["GET"],"hosts":["h.example"]},"require":"user"},{"match":{},"require":"none"}]"#,
    );
    for (request, expected) in [
        ("GET h.example/a/", Require::User),
        ("HEAD H.example.:80/a/", Require::User),
        ("POST h.example/a/", Require::None),
        ("GET other.example/a/", Require::None),
    ] {
        assert_eq!(require(&policy, request), Ok(expected), "{request}");
    }
}

/// `Host:` without a host (RFC 9112 §3.2): the backend uses its first host.
#[test]
fn a_request_that_names_no_host_evades_no_rule_by_host() {
    let more = r#"[{"match":{"hosts":["admin.example.com"]},"require":"user"},{"match":{"path_prefix":"/x","hosts":["a.example"]},"require":"user"},{"match":{},"require":"none"}]"#;
    let less = r#"[{"match":{"hosts":["open.example.com"]},"require":"none"}]"#;
    let between = r#"[{"match":{"path_prefix":"/a","hosts":["a.example"]},"require":"optional"},{"match":{},"require":"none"}]"#;
    for (rules, request, expected) in [
        (more, "GET /y", Require::User),
        (more, "GET h/y", Require::None),
        (less, "GET /y", Require::User),
        (between, "GET /a", Require::Optional),
        (between, "GET /b", Require::None),
    ] {
        let found = require(&policy(rules), request);
        assert_eq!(found, Ok(expected), "{rules} {request}");
    }
}

/// Express, ASP.NET, Windows: many backends treat `/Admin` and `/admin` as the same path.
#[test]
fn a_path_that_asks_for_more_is_guarded_in_any_case_and_one_that_asks_for_less_opened_in_its_own() {
    for pattern in ["path", "path_prefix"] {
        for written in ["/admin/panel", "/Admin/PANEL"] {
            let more = format!(
                r#"[{{"match":{{"{pattern}":"{written}"}},"require":"user"}},{{"match":{{}},"require":"none"}}]"#
            );
            let less = format!(r#"[{{"match":{{"{pattern}":"{written}"}},"require":"none"}}]"#);
            let (more, less) = (policy(&more), policy(&less));
            for path in [
                "/admin/panel",
                "/Admin/PANEL",
                "/ADMIN/panel",
                "/aDMIN/Panel",
                "/%41dmin/p%41nel",
                "/admin/Panel/",
            ] {
                let request = format!("GET h{path}");
                assert_eq!(require(&more, &request), Ok(Require::User), "{request}");
                let opened = require(&less, &request) == Ok(Require::None);
                assert_eq!(opened, path == written, "{pattern} {written} {path}");
            }
            for path in ["/Admin", "/admin/panels", "/x/Admin/Panel"] {
                let request = format!("GET h{path}");
                assert_eq!(require(&more, &request), Ok(Require::None), "{request}");
            }
        }
    }
    let below = policy(
        r#"[{"match":{"path_prefix":"/admin/"},"require":"user"},{"match":{},"require":"none"}]"#,
    );
    assert_eq!(require(&below, "GET h/ADMIN/x"), Ok(Require::User));
    assert_eq!(require(&below, "GET h/ADMIN"), Ok(Require::None));
    // An earlier rule decides, as always.
    let both = policy(
        r#"[{"match":{"path":"/API"},"require":"none"},{"match":{"path_prefix":"/api"},"require":"user"},{"match":{},"require":"none"}]"#,
    );
    assert_eq!(require(&both, "GET h/API"), Ok(Require::None));
    assert_eq!(require(&both, "GET h/api"), Ok(Require::User));
    assert_eq!(require(&both, "GET h/Api"), Ok(Require::User));
    assert_eq!(
        require(&both, "GET h/public/../Api"),
        Err(PathRefused::Readings)
    );
}

#[test]
fn ten_thousand_rules_are_found_as_one() {
    let rules: Vec<String> = (0..10_000)
        .map(|nth| format!(r#"{{"match":{{"path":"/r/{nth}"}},"require":"none"}}"#))
        .collect();
    let policy = policy(&format!("[{}]", rules.join(",")));
    assert_eq!(require(&policy, "GET h/r/9999"), Ok(Require::None));
    assert_eq!(require(&policy, "GET h/r/9999/"), Ok(Require::User));
    assert_eq!(require(&policy, "GET h/r/10000"), Ok(Require::User));
}

/// The table of docs/behaviour.md.
#[test]
fn the_documented_paths_are_judged_as_documented() {
    let more =
        policy(r#"[{"match":{"path":"/admin"},"require":"user"},{"match":{},"require":"none"}]"#);
    let less = policy(r#"[{"match":{"path":"/admin"},"require":"none"}]"#);
    let (none, user, refused) = (
        Ok(Require::None),
        Ok(Require::User),
        Err(PathRefused::Readings),
    );
    for (path, by_more, by_less) in [
        ("/admin", user, none),
        ("/admin/", user, user),
        ("/Admin", user, user),
        ("/ADMIN/", user, user),
        ("/admin/.", refused, user),
        ("/admin/x/..", refused, user),
        ("/admin//", refused, user),
        ("/admin%2F", refused, user),
        ("/admin%5C", refused, user),
        ("/admin%20", refused, refused),
        ("/admin;x", refused, refused),
        ("/admin/x", none, user),
    ] {
        let request = format!("GET h{path}");
        assert_eq!(require(&more, &request), by_more, "{path}");
        assert_eq!(require(&less, &request), by_less, "{path}");
    }
}
