//! Paths: no spelling of a protected one gets past the rules, whatever Envoy or the backend makes of it. The tables are tried
//! natively, by `gate/src/policy/tests/ways.rs`; here is what Envoy makes of each way to a protected path, and of some others.

use devkit::message::Reply;
use devkit::testbed::{Builder, TestBed};
use serde_json::json;

/// Two hosts: one where all but `/public` is closed, one where all but `/admin` is open.
fn fixture() -> Builder {
    TestBed::builder().rules(json!([
        { "match": { "path_prefix": "/public", "hosts": ["closed"] }, "require": "none" },
        { "match": { "path_prefix": "/admin", "hosts": ["open"] }, "require": "user" },
        { "match": { "hosts": ["open"] }, "require": "none" },
    ]))
}

fn normalizing(builder: Builder) -> Builder {
    builder.envoy(|envoy| {
        envoy.manager(|manager| {
            manager["normalize_path"] = true.into();
            manager["merge_slashes"] = true.into();
            manager["path_with_escaped_slashes_action"] = "UNESCAPE_AND_FORWARD".into();
        })
    })
}

async fn get(bed: &TestBed, host: &str, target: impl AsRef<[u8]>, header: &str) -> Reply {
    let head = [
        b"GET ",
        target.as_ref(),
        b" HTTP/1.1\r\nhost: ",
        host.as_bytes(),
        b"\r\n",
        header.as_bytes(),
        b"\r\n",
    ];
    bed.raw(head.concat()).await
}

/// Ways to `/admin` (and the answer without a credential where Envoy leaves paths alone).
const WAYS: [(&str, u16); 63] = [
    ("/admin", 401),
    ("/admin/", 401),
    ("/admin/x", 401),
    ("/admin?x=/public/", 401),
    ("/admin?/public", 401),
    ("/admin?#/public", 400),
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
    ("/public/%25c0%25ae%25c0%25ae/admin", 400),
    ("/adm%FFin", 400),
    ("/admin/caf%E9", 401),
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
];

#[tokio::test]
async fn no_way_to_a_protected_path_is_open() {
    for normalized in [false, true] {
        let builder = if normalized {
            normalizing(fixture())
        } else {
            fixture()
        };
        let bed = builder.start().await;
        let token = format!("authorization: Bearer {}\r\n", bed.token());
        for (way, status) in WAYS {
            for host in ["open", "closed"] {
                let reply = get(&bed, host, way, "").await;
                if host == "open" && !normalized {
                    assert_eq!(reply.status, status, "{way}: {reply:?}");
                }
                // Envoy may make another path of it, which is judged, and seen by the backend, as such.
                let seen: Vec<_> = bed
                    .forwarded()
                    .into_iter()
                    .map(|seen| seen.target)
                    .collect();
                let elsewhere = normalized && seen == ["/public/admin"];
                assert!(seen.is_empty() || elsewhere, "{host}{way}: {seen:?}");
                assert!(elsewhere || reply.status >= 400, "{host}{way}: {reply:?}");
                bed.backend.clear();
            }

            // A request that passes carries its identity, under the path that was judged.
            let reply = get(&bed, "open", way, &token).await;
            if status == 401 {
                assert_eq!(
                    reply.status, 200,
                    "{way}, normalized: {normalized}, with a token: {reply:?}"
                );
                let seen = bed.only_forwarded();
                assert_eq!(seen.identity(), bed.alice.headers(), "{way}");
                if !normalized {
                    assert_eq!(seen.target, way);
                }
            }
            for seen in bed.forwarded() {
                let elsewhere = normalized && seen.target == "/public/admin";
                let known = seen.identity() == bed.alice.headers();
                assert!(
                    known || elsewhere,
                    "{way}, normalized: {normalized}: {seen:#?}"
                );
            }
            bed.backend.clear();
        }
        bed.finish().await;
    }
}

/// RFC 3986 §4.2: readers that take a request target for a URL reference see an authority, and `/admin` behind it. These are
/// what Envoy might read in its own way; all are tried natively.
const REFERENCES: [&str; 6] = [
    "//x/admin",
    "//x/admin?y",
    "//user@x/admin",
    "//[::1]/admin",
    "/\\x/admin",
    "/%2Fx/admin",
];

#[tokio::test]
async fn a_reference_to_another_authority_hides_no_protected_path() {
    let bed = fixture().start().await;
    let root = [("//x", 200), ("//x?y", 200), ("//x/y", 200), ("/x//y", 200)];
    let hidden = REFERENCES.map(|way| (way, 400));
    for (target, status) in hidden.into_iter().chain(root) {
        for http2 in [false, true] {
            let reply = if http2 {
                bed.get(target).host("open").http2().send().await
            } else {
                get(&bed, "open", target, "").await
            };
            assert_eq!(reply.status, status, "{target}, HTTP/2: {http2}: {reply:?}");
            let seen: Vec<_> = bed.forwarded();
            assert_eq!(seen.len(), usize::from(status == 200), "{target}");
            assert!(seen.iter().all(|seen| seen.target == target), "{seen:?}");
            bed.backend.clear();
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_path_that_only_looks_like_a_public_one_is_protected() {
    let bed = fixture().start().await;
    let others = ["/publicity", "/admin?/public", "/admin?x=../public"];
    // Some reader may take these for public ones.
    let ambiguous = ["/public%20", "/public%3fx", "/public%23x"];
    for (paths, status) in [(&others[..], 401), (&ambiguous[..], 400)] {
        for path in paths {
            let reply = get(&bed, "closed", path, "").await;
            assert_eq!(reply.status, status, "{path}: {reply:?}");
        }
    }
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn a_path_of_which_every_reading_is_public_passes_as_it_was_sent() {
    let bed = fixture().start().await;
    for path in [
        "/public",
        "/public?x=/../admin",
        "/publi%63",
        "/public/a%2fb",
        "/public/caf%c3%a9",
        "/public/caf%E9",
        "/public/%c0%af",
        "/public/x;y=1",
        "/public/a//b",
        "/public/a/../b",
    ] {
        let reply = get(&bed, "closed", path, "").await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(bed.only_forwarded().target, path);
        bed.backend.clear();
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_target_that_is_no_absolute_path_is_refused() {
    let bed = fixture().start().await;
    for (case, head) in [
        (
            "asterisk",
            "OPTIONS * HTTP/1.1\r\nhost: open\r\n\r\n".to_owned(),
        ),
        (
            "CONNECT",
            "CONNECT open:80 HTTP/1.1\r\nhost: open:80\r\n\r\n".to_owned(),
        ),
        (
            "no slash",
            "GET public HTTP/1.1\r\nhost: open\r\n\r\n".to_owned(),
        ),
        ("nothing", "GET  HTTP/1.1\r\nhost: open\r\n\r\n".to_owned()),
        (
            "a space",
            "GET /public /x HTTP/1.1\r\nhost: open\r\n\r\n".to_owned(),
        ),
        (
            "an escape that is none",
            "GET /%zz HTTP/1.1\r\nhost: open\r\n\r\n".to_owned(),
        ),
        (
            "half an escape",
            "GET /x% HTTP/1.1\r\nhost: open\r\n\r\n".to_owned(),
        ),
        (
            "a foreign escape",
            "GET /%u0061 HTTP/1.1\r\nhost: open\r\n\r\n".to_owned(),
        ),
        (
            "a control character",
            "GET /\u{1} HTTP/1.1\r\nhost: open\r\n\r\n".to_owned(),
        ),
        (
            "an escaped control character",
            "GET /%7f HTTP/1.1\r\nhost: open\r\n\r\n".to_owned(),
        ),
        ("no host", "GET /public HTTP/1.1\r\n\r\n".to_owned()),
    ] {
        let reply = bed.raw(&head).await;
        assert!((400..500).contains(&reply.status), "{case}: {reply:?}");
        bed.assert_nothing_forwarded();
    }
    for byte in [0x80_u8, 0xa1, 0xff] {
        let reply = get(&bed, "open", [b"/", &[byte][..]].concat(), "").await;
        assert_eq!(reply.status, 400, "{byte:#x}: {reply:?}");
        bed.assert_nothing_forwarded();
    }
    bed.finish().await;
}

#[tokio::test]
async fn an_absolute_target_is_judged_by_its_own_path_and_host() {
    let bed = fixture().start().await;
    for (target, host, status) in [
        ("http://closed/public", "open", 200),
        ("http://closed/admin", "open", 401),
        ("http://closed/x", "open", 401),
        ("http://open/x", "closed", 200),
        ("http://open/admin", "closed", 401),
        ("http://public/admin", "closed", 401),
        ("http://open/public/../admin", "closed", 400),
    ] {
        let reply = get(&bed, host, target, "").await;
        assert_eq!(reply.status, status, "{target} {host}: {reply:?}");
        assert_eq!(
            bed.forwarded().len(),
            usize::from(status == 200),
            "{target} {host}"
        );
        bed.backend.clear();
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_long_path_costs_no_worker() {
    let bed = fixture().start().await;
    for (case, path, status) in [
        ("50 kB", format!("/{}", "a".repeat(50_000)), 401),
        ("20 000 segments", "/a".repeat(20_000), 401),
        ("50 000 slashes", "/".repeat(50_000), 400),
        (
            "12 000 dots",
            "/public".to_owned() + &"/..".repeat(12_000),
            400,
        ),
        (
            "8 000 escapes",
            "/public".to_owned() + &"%2f%2e".repeat(8_000),
            400,
        ),
        (
            "everything",
            "/x".to_owned() + &"/%2f%5c\\;x%3b%252e".repeat(2_500),
            400,
        ),
    ] {
        let reply = get(&bed, "closed", &path, "").await;
        assert_eq!(reply.status, status, "{case}");
        bed.assert_nothing_forwarded();
    }
    bed.finish().await;
}
