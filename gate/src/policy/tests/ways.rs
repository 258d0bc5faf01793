//! Spellings of a protected path: all of them are refused, and public paths are not.

use super::*;

/// Two hosts: one where all but `/public` is closed, one where all but `/admin` is open. `tests/e2e/policy/paths.rs` has the
/// same configuration in Envoy, and what Envoy does to paths.
fn two_hosts() -> Policy {
    policy(
        r#"[{"match":{"path_prefix":"/public","hosts":["closed"]},"require":"none"},
            {"match":{"path_prefix":"/admin","hosts":["open"]},"require":"user"},
            {"match":{"hosts":["open"]},"require":"none"}]"#,
    )
}

/// The status without a credential.
fn status(policy: &Policy, host: &str, path: &str) -> u16 {
    let requirement = policy.requirement(b"GET", host.as_bytes(), path.as_bytes(), &[]);
    match requirement.map(|(requirement, _)| requirement.require) {
        Ok(Require::None) => 200,
        Ok(_) => 401,
        Err(_) => 400,
    }
}

#[test]
fn no_way_to_a_protected_path_is_open() {
    let policy = two_hosts();
    for (way, expected) in [
        ("/admin", 401),
        ("/admin/", 401),
        ("/admin/x", 401),
        ("/admin?x=/public/", 401),
        ("/admin?/public", 401),
        // A fragment after a query counts as part of the query here; Envoy itself refuses it.
        ("/admin?#/public", 401),
        ("/%61dmin", 401),
        ("/%61%64%6d%69%6e/x", 401),
        ("//admin", 400),
        ("///admin", 400),
        ("/./admin", 400),
        ("/.//admin", 400),
        ("/admin/.", 401),
        ("/admin//x", 401),
        ("/public/../admin", 400),
        ("/public/./../admin", 400),
        ("/public//../admin", 400),
        ("/public/%2e%2e/admin", 400),
        ("/public/%2E./admin", 400),
        ("/public/.%2e/admin", 400),
        ("/public%2f..%2fadmin", 400),
        ("/public/..%2Fadmin", 400),
        ("/public%2F%2e%2e%2Fadmin", 400),
        ("/public%5c..%5cadmin", 400),
        ("/public\\..\\admin", 400),
        ("/\\admin", 400),
        ("\\admin", 400),
        ("/%5cadmin", 400),
        ("/%2fadmin", 400),
        ("/admin;x=1", 400),
        ("/admin;/x", 400),
        ("/;/admin", 400),
        ("/public/..;/admin", 400),
        ("/public/..;x=1/admin", 400),
        ("/public;/../admin", 400),
        ("/public/..%3b/admin", 400),
        ("/public/%252e%252e/admin", 400),
        ("/public%252f..%252fadmin", 400),
        ("/%2561dmin", 400),
        ("/public%3f/../admin", 400),
        ("/public%23/../admin", 400),
        ("/public#/../admin", 400),
        ("/admin#x", 400),
        ("/public/%c0%ae%c0%ae/admin", 400),
        ("/public/%c0%af/../admin", 400),
        ("/%c1%9cadmin", 400),
        ("/%c0%afadmin", 400),
        ("/%e0%80%afadmin", 400),
        ("/%f0%80%80%afadmin", 400),
        ("/public/%c0%ae./admin", 400),
        ("/public/%e0%80%ae%e0%80%ae/admin", 400),
        ("/public/%25c0%25ae%25c0%25ae/admin", 400),
        ("/%c1%a1dmin", 400),
        ("/adm%FFin", 400),
        ("/adm%25FFin", 400),
        ("/admin%FF", 400),
        ("/admin%ff/x", 400),
        ("/admin/%ff", 401),
        ("/admin/caf%E9/%c0%af", 401),
        ("/admin%00", 400),
        ("/admin%0a", 400),
        ("/admin%09", 400),
        ("/public/../../../admin", 400),
        ("/admin%3Fx", 400),
        ("/admin%3fx/y", 400),
        ("/admin%23x", 400),
        ("/admin%253Fx", 400),
        ("/admin%20", 400),
        ("/admin.", 400),
        ("/admin./x", 400),
        ("/admin.%20/x", 400),
        ("/public/..%20/admin", 400),
        ("/admin.%3B%20%23", 400),
    ] {
        assert_eq!(status(&policy, "open", way), expected, "{way}");
        let closed = status(&policy, "closed", way);
        assert!(closed >= 400, "{way}: {closed}");
    }
}

#[test]
fn a_reference_to_another_authority_hides_no_protected_path() {
    let policy = two_hosts();
    for way in [
        "//x/admin",
        "///x/admin",
        "//x/admin?y",
        "//x/y/../admin",
        "//x//admin",
        "//x//y/admin",
        "//x:80/admin",
        "//user@x/admin",
        "//[::1]/admin",
        "//x%2Fy/admin",
        "//x/%61dmin",
        "//x/admin;v=1",
        "//x\\admin",
        "/\\x/admin",
        "/\\x\\admin",
        "/.//x/admin",
        "/public/..//x/admin",
        "/;//x/admin",
        "/%2Fx/admin",
        "/%5Cx/admin",
        "/%252Fx/admin",
        "/.%2F/x/admin",
    ] {
        assert_eq!(status(&policy, "open", way), 400, "{way}");
    }
    for way in ["//x", "//x?y", "//x/y", "/x//y"] {
        assert_eq!(status(&policy, "open", way), 200, "{way}");
    }
}

#[test]
fn a_path_that_only_looks_like_a_public_one_is_protected() {
    let policy = two_hosts();
    for path in [
        "/publicity",
        "/public.txt",
        "/PUBLIC",
        "/Public/x",
        "/pub",
        "/publi%63ity",
        "/x/public",
        "/",
        "/admin",
        "/admin?/public",
        "/admin?x=../public",
        "/publi",
    ] {
        assert_eq!(status(&policy, "closed", path), 401, "{path}");
    }
    // Some readers may read these as public paths.
    for path in [
        "/public.",
        "/public%20",
        "/public%20/x",
        "/public%3fx",
        "/public%23x",
    ] {
        assert_eq!(status(&policy, "closed", path), 400, "{path}");
    }
}

#[test]
fn a_path_of_which_every_reading_is_public_is_public() {
    let policy = two_hosts();
    for path in [
        "/public",
        "/public/",
        "/public/a/b",
        "/public?x=y",
        "/public?x=/../admin",
        "/publi%63",
        "/public/a%2fb",
        "/public/a%20b",
        "/public/caf%c3%a9",
        "/public/x;y=1",
        "/public/a//b",
        "/public/a/../b",
        "/public/%25",
        "/public/100%25",
        "/public/@scope%2fname",
        "/public/a+b,c:d",
        "/public/%ff",
        "/public/caf%E9",
        "/public/caf%E9/x;y=1",
        "/public/%83e%83X%83g",
        "/public/%83%5C",
        "/public/%c0%af",
    ] {
        assert_eq!(status(&policy, "closed", path), 200, "{path}");
    }
}

/// Paths are octets (RFC 3986 §2.1): one in Latin-1 is refused only where some reader falls under another rule.
#[test]
fn a_path_in_another_encoding_is_judged_as_octets() {
    let two = two_hosts();
    for path in [
        "/caf%E9",
        "/%ff",
        "/caf%E9/%c0%af",
        "/x/%25c0%25ae",
        "/x/%83%5C",
    ] {
        assert_eq!(status(&two, "open", path), 200, "{path}");
        assert_eq!(status(&two, "closed", path), 401, "{path}");
    }
    let cafe = policy(
        r#"[{"match":{"path":"/caf\u00e9"},"require":"user"},{"match":{},"require":"none"}]"#,
    );
    let open = policy(r#"[{"match":{"path":"/caf%C3%A9"},"require":"none"}]"#);
    for (path, by_cafe, by_open) in [
        ("/caf%c3%a9", 401, 200),
        ("/caf%E9", 400, 400),
        ("/caf%e0%83%a9", 400, 400),
        ("/CAF%E9", 400, 401),
        ("/caf%E8", 200, 401),
        ("/caf%E9s", 200, 401),
    ] {
        assert_eq!(status(&cafe, "h", path), by_cafe, "{path}");
        assert_eq!(status(&open, "h", path), by_open, "{path}");
    }
}
