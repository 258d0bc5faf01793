//! More than one `Authorization` is a contradiction, however the host hands it over: Envoy joins them with a comma.

use devkit::testbed::TestBed;
use serde_json::json;

#[tokio::test]
async fn more_than_one_authorization_is_refused() {
    let bed = TestBed::builder()
        .rules(json!([{ "match": { "path_prefix": "/blog" }, "require": "optional" }]))
        .start()
        .await;
    let (one, other) = (
        format!("Bearer {}", bed.token()),
        format!("Bearer {}", bed.token()),
    );
    let (opaque, another) = ("a".repeat(32), "b".repeat(32));
    // Joined by Envoy, a value that begins as a token is a malformed one; a token behind another scheme is a conflict.
    for (what, values, status) in [
        ("good and bad", [one.as_str(), "Bearer bad"], 401),
        ("bad and good", ["Bearer bad", &one], 401),
        ("two good", [&one, &other], 401),
        ("the same twice", [&one, &one], 401),
        ("good and Basic", [&one, "Basic YTpi"], 401),
        (
            "two opaque",
            [&format!("Bearer {opaque}"), &format!("Bearer {another}")],
            401,
        ),
        ("Basic and good", ["Basic YTpi", &one], 400),
        ("Basic and bad", ["Basic YTpi", "bearer bad"], 400),
        (
            "Digest and good",
            ["Digest username=\"a\", realm=\"b\"", &one],
            400,
        ),
    ] {
        for path in ["/api", "/blog"] {
            for http2 in [false, true] {
                for session in [false, true] {
                    let request = bed.get(path).header("authorization", values[0]);
                    let request = request.header("Authorization", values[1]);
                    let request = if http2 { request.http2() } else { request };
                    let request = if session {
                        request.cookie(bed.cookie())
                    } else {
                        request
                    };
                    let case = format!("{what}, {path}, HTTP/2: {http2}, session: {session}");
                    let reply = request.send().await;
                    assert_eq!(reply.status, status, "{case}: {reply:?}");
                    bed.assert_nothing_forwarded();
                }
            }
        }
    }
    assert_eq!(bed.resolver_calls(), 0);
    // The commas of other schemes are their own.
    let digest = bed
        .get("/api")
        .header("authorization", "Digest username=\"a\", realm=\"b\"");
    let reply = digest.cookie(bed.cookie()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    bed.finish().await;
}
