//! `client_identity_headers: "refuse"`: who sends a header that only the gateway may set is answered 400, on every way.

use devkit::message::Reply;
use devkit::testbed::{Builder, TestBed};
use serde_json::json;

const REFUSED: &str = "authgear_requests_refused_client_identity_headers_total";
const LOG: &str = "authgear_filter{client_identity_headers}";

fn fixture() -> Builder {
    TestBed::builder()
        .configure(|config| config["client_identity_headers"] = json!("refuse"))
        .rules(json!([
            { "match": { "path_prefix": "/public" }, "require": "none" },
            { "match": { "path_prefix": "/blog" }, "require": "optional" },
        ]))
}

fn assert_refused(reply: &Reply, case: &str) {
    assert_eq!(reply.status, 400, "{case}: {reply:?}");
    assert_eq!(reply.json()["code"], "invalid_request", "{case}");
    assert_eq!(reply.header("cache-control"), Some("no-store".to_owned()));
}

#[tokio::test]
async fn every_header_of_the_family_is_refused_on_every_way() {
    let bed = fixture()
        .envoy(|envoy| {
            envoy.manager(|manager| {
                manager["access_log"] = json!([{
                    "name": "envoy.access_loggers.stderr",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
                        "log_format": { "text_format_source": { "inline_string":
                            "access %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% user=%REQ(X-AUTHGEAR-USER-ID)%\n" } },
                    },
                }]);
            })
        })
        .start()
        .await;
    bed.keys_are_there().await;
    let mut sent = 0;
    for name in [
        "x-authgear-user-id",
        "X-Authgear-Session-Valid",
        "x_authgear_user_roles",
        "x.authgear.user.id",
        "x-authgear-foo",
        "x-authgear",
    ] {
        for (way, request) in [
            ("public", bed.get("/public")),
            ("optional", bed.get("/blog")),
            ("a token", bed.get("/api").bearer(bed.token())),
            ("a session", bed.get("/api").cookie(bed.cookie())),
            ("nobody", bed.get("/api")),
            ("a path that cannot be judged", bed.get("/public/..%2fapi")),
            ("a body", bed.post("/public").body("hello")),
        ] {
            for http2 in [false, true] {
                let request = request.clone().header(name, "admin");
                let request = if http2 { request.http2() } else { request };
                assert_refused(&request.send().await, &format!("{name}: {way}"));
                sent += 1;
            }
        }
    }
    bed.assert_nothing_forwarded();
    assert_eq!(bed.resolver_calls(), 0, "before anything else is done");
    bed.wait_for_count(REFUSED, |count| count == sent).await;
    let line = bed.envoy.wait_for_log(LOG).await;
    assert!(
        line.contains("access 400") && line.contains("user=-"),
        "{line}"
    );
    bed.finish().await;
}

/// Envoy itself takes `Connection` away from a request that upgrades to nothing.
#[tokio::test]
async fn a_connection_header_that_names_one_is_refused_and_another_is_not() {
    let bed = fixture().start().await;
    for (connection, upgrade, refused) in [
        ("upgrade, x-authgear-user-id", "websocket", true),
        ("X_Authgear_User_Roles,, upgrade", "websocket", true),
        ("upgrade, x-authgearing", "websocket", false),
        ("upgrade, authorization, cookie", "websocket", false),
        ("close, x-authgear-user-id", "", false),
    ] {
        let upgrade = if upgrade.is_empty() {
            String::new()
        } else {
            format!("upgrade: {upgrade}\r\n")
        };
        let reply = bed
            .raw(format!(
                "GET /public HTTP/1.1\r\nhost: app\r\nconnection: {connection}\r\n{upgrade}\r\n"
            ))
            .await;
        if refused {
            assert_refused(&reply, connection);
            bed.assert_nothing_forwarded();
        } else {
            assert!(matches!(reply.status, 101 | 200), "{connection}: {reply:?}");
            let connection = bed.only_forwarded().header("connection");
            let connection = connection.unwrap_or_default().to_ascii_lowercase();
            assert!(!connection.contains("x-authgear-"), "{connection}");
            bed.backend.clear();
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn who_sends_none_is_judged_as_ever() {
    let bed = fixture().start().await;
    assert_eq!(bed.get("/public").send().await.status, 200);
    assert_eq!(bed.get("/api").send().await.status, 401);
    for request in [
        bed.get("/api").bearer(bed.token()),
        bed.get("/api").cookie(bed.cookie()),
    ] {
        bed.backend.clear();
        assert_eq!(
            request.header("x-authgearing", "1").send().await.status,
            200
        );
        assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    }
    bed.finish().await;
}

/// They come when the decision has long been made: there they are removed, as always.
#[tokio::test]
async fn trailers_of_the_family_are_removed_and_not_refused() {
    let bed = fixture().start().await;
    let reply = bed
        .raw(
            "POST /public HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\ntrailer: x-authgear-user-id\r\n\r\n\
             5\r\nhello\r\n0\r\nx-authgear-user-id: admin\r\n\r\n",
        )
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let forwarded = format!("{:?}", bed.only_forwarded());
    assert!(!forwarded.contains("admin"), "{forwarded}");
    bed.finish().await;
}
