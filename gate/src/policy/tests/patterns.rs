//! Segments that stand for any one, and many rules of one path.

use super::*;

fn judge(rules: &str, path: &str) -> Result<Require, PathRefused> {
    require(&policy(rules), &format!("GET h{path}"))
}

#[test]
fn a_star_is_one_segment_and_two_are_all_below() {
    let rules = r#"[{"match":{"path":"/users/*/keys"},"require":"none"},
        {"match":{"path":"/static/**"},"require":"none"},
        {"match":{"path_prefix":"/teams/*/public"},"require":"none"},
        {"match":{"path":"/*"},"require":"optional"}]"#;
    for path in [
        "/users/1/keys",
        "/users/*/keys",
        "/users/keys/keys",
        "/static/a",
        "/static/a/b/c",
        "/static/",
        "/teams/x/public",
        "/teams/x/public/y/z",
    ] {
        assert_eq!(judge(rules, path), Ok(Require::None), "{path}");
    }
    for path in ["/a", "/users", "/static", "/teams"] {
        assert_eq!(judge(rules, path), Ok(Require::Optional), "{path}");
    }
    for path in [
        "/users//keys",
        "/users/keys",
        "/users/1/2/keys",
        "/users/1/keys/x",
        "/users/1/keys/",
        "/users/1/KEYS",
        "/Users/1/keys",
        "/statics/a",
        "/teams//public",
        "/teams/public",
        "/teams/x/publicity",
        "/teams/x/Public",
        "/",
        "/a/",
        "/x/y",
    ] {
        let judged = judge(rules, path);
        let closed = judged == Ok(Require::User) || judged == Err(PathRefused::Readings);
        assert!(closed, "{path}: {judged:?}");
    }
}

/// A rule that asks for more is for every spelling, wherever a segment is any.
#[test]
fn a_pattern_that_guards_does_so_in_any_case_and_with_a_slash() {
    let rules =
        r#"[{"match":{"path":"/users/*/keys"},"require":"user"},{"match":{},"require":"none"}]"#;
    for path in [
        "/users/1/keys",
        "/Users/1/KEYS",
        "/users/1/keys/",
        "/users/1/%6beys",
    ] {
        assert_eq!(judge(rules, path), Ok(Require::User), "{path}");
    }
    for path in [
        "/users/1%2fkeys",
        "/users//1/keys",
        "/users/1;x/keys/..;/keys",
        "/users/x/../1/keys%3f",
    ] {
        let judged = judge(rules, path);
        let closed = judged == Ok(Require::User) || judged == Err(PathRefused::Readings);
        assert!(closed, "{path}: {judged:?}");
    }
    for path in ["/users/keys", "/users/1/keys/2", "/users"] {
        assert_eq!(judge(rules, path), Ok(Require::None), "{path}");
    }
}

/// The first rule decides, by whichever way through the tree it is found.
#[test]
fn a_pattern_and_a_path_are_tried_in_their_order() {
    for (first, second, expected) in [
        (r#"{"path":"/a/*"}"#, r#"{"path":"/a/b"}"#, Require::None),
        (r#"{"path":"/*/b"}"#, r#"{"path":"/a/*"}"#, Require::None),
        (
            r#"{"path_prefix":"/*"}"#,
            r#"{"path":"/a/b"}"#,
            Require::None,
        ),
        (
            r#"{"path":"/*/*"}"#,
            r#"{"path_prefix":"/a"}"#,
            Require::None,
        ),
    ] {
        let rules = format!(
            r#"[{{"match":{first},"require":"none"}},{{"match":{second},"require":"optional"}}]"#
        );
        assert_eq!(judge(&rules, "/a/b"), Ok(expected), "{rules}");
        let rules = format!(
            r#"[{{"match":{second},"require":"none"}},{{"match":{first},"require":"optional"}}]"#
        );
        assert_eq!(judge(&rules, "/a/b"), Ok(expected), "{rules}");
    }
}

/// A path of many segments, against patterns that could each take any of them.
#[test]
fn many_patterns_do_not_multiply() {
    let rule = |nth: usize| {
        let path: String = (0..8)
            .map(|bit| if nth >> bit & 1 == 1 { "/*" } else { "/a" })
            .collect();
        format!(r#"{{"match":{{"path":"{path}"}},"require":"none"}}"#)
    };
    let rules: Vec<String> = (0..256).map(rule).collect();
    let policy = policy(&format!("[{}]", rules.join(",")));
    let path = "/a".repeat(8);
    assert_eq!(require(&policy, &format!("GET h{path}")), Ok(Require::None));
    let deep = "/a".repeat(2_000);
    assert_eq!(require(&policy, &format!("GET h{deep}")), Ok(Require::User));
}

/// Rules that share a path are found by their hosts.
#[test]
fn of_rules_for_one_path_only_those_for_the_host_are_tried() {
    let rule = |nth: usize| {
        let require = ["none", "optional", "user"][nth % 3];
        format!(
            r#"{{"match":{{"hosts":["t{nth}.example.com","*.t{nth}.example.com"]}},"require":"{require}"}}"#
        )
    };
    let rules: Vec<String> = (0..1_000).map(rule).collect();
    let policy = policy(&format!("[{}]", rules.join(",")));
    for nth in [0, 1, 2, 500, 998, 999] {
        let expected = [Require::None, Require::Optional, Require::User][nth % 3];
        for host in [
            format!("t{nth}.example.com"),
            format!("A.T{nth}.Example.com.:80"),
        ] {
            assert_eq!(
                require(&policy, &format!("GET {host}/x")),
                Ok(expected),
                "{host}"
            );
        }
    }
    assert_eq!(
        require(&policy, "GET t1000.example.com/x"),
        Ok(Require::User)
    );
    // Whoever names no host could be meant by any of them, and passes none.
    assert_eq!(require(&policy, "GET /x"), Ok(Require::Nobody));
}

/// Else a request that names no host would be asked for all that ten thousand rules ask.
#[test]
fn who_names_no_host_is_asked_for_what_a_few_rules_ask_together() {
    let with = |rules: usize| {
        let rule = |nth: usize| {
            format!(
                r#"{{"match":{{"hosts":["t{nth}.example.com"]}},"require":"user","allow":{{"roles_any":["r{nth}"]}}}}"#
            )
        };
        let rules: Vec<String> = (0..rules).map(rule).collect();
        let policy = policy(&format!("[{}]", rules.join(",")));
        let (requirement, _) = policy.requirement(b"GET", b"", b"/x", &[]).unwrap();
        (requirement.require, requirement.allow.len())
    };
    assert_eq!(with(64), (Require::User, 64));
    assert_eq!(with(65), (Require::Nobody, 0));
    assert_eq!(with(2_000), (Require::Nobody, 0));
}

/// Found by drawn requests (`gate/tests/policies`): each is `/admin`, or the root, to one reader and `/public/…` to all others.
#[test]
fn a_reader_may_take_one_sign_for_a_slash_and_leave_the_other() {
    let rules = r#"[{"match":{"path_prefix":"/public/"},"require":"none"}]"#;
    for path in [
        r"/public/a%5Cb\..\..\admin",
        r"/public/a%5Cb/..\..\..\admin",
        "/public/a%2Fb/../..%3F",
        "/public/a%2Fb/../..%23x",
    ] {
        assert_eq!(judge(rules, path), Err(PathRefused::Readings), "{path}");
    }
    let guarded =
        r#"[{"match":{"path_prefix":"/admin"},"require":"user"},{"match":{},"require":"none"}]"#;
    assert_eq!(judge(guarded, r"/\x%5Cy/admin"), Err(PathRefused::Readings));
}
