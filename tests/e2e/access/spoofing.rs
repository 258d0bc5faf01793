//! Identity headers are the gateway's alone: what a client sends of the family `x-authgear-*` reaches no backend.

use devkit::client::{Connection, Request};
use devkit::envoy::capabilities_without;
use devkit::keys::User;
use devkit::message::{CannedResponse, Headers};
use devkit::testbed::{Builder, TestBed};
use serde_json::json;

/// Names that a backend could take for one of the family, in any case, with any separator.
const SPOOFED: [&str; 20] = [
    "x-authgear-session-valid",
    "x-authgear-user-id",
    "x-authgear-user-anonymous",
    "x-authgear-user-verified",
    "x-authgear-user-can-reauthenticate",
    "x-authgear-user-roles",
    "x-authgear-session-amr",
    "x-authgear-session-authenticated-at",
    "x-authgear-session-acr",
    "x-authgear-foo",
    "x-authgear-",
    "x-authgear",
    "x_authgear_user_id",
    "x-authgear_user-id",
    "x_authgear_user_roles",
    "x-authgear-user_roles",
    "x.authgear.user.id",
    "x-authgear.user-roles",
    "x-authgear-claim-email",
    "x-authgear~user~id",
];

fn fixture() -> Builder {
    TestBed::builder().rules(json!([
        { "match": { "path_prefix": "/public" }, "require": "none" },
        { "match": { "path_prefix": "/blog" }, "require": "optional" },
    ]))
}

/// Every header of a request that speaks of Authgear, in any spelling.
fn of_the_family(headers: &Headers) -> Vec<(String, String)> {
    let mut found: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name.contains("authgear"))
        .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    found.sort();
    found
}

fn spoof(mut request: Request) -> Request {
    for name in SPOOFED {
        request = request.header(name, "true").header(name, "admin");
    }
    request
}

#[tokio::test]
async fn no_copy_of_a_client_reaches_the_backend_on_any_way_through_the_filter() {
    let bed = fixture().start().await;
    // No roles, no time: headers that are not set must not be left over either.
    let plain = bed
        .authgear
        .add_user(User::new("plain").authenticated_at(None));
    let token = || bed.authgear.access_token(&plain);
    let session = || format!("session={}", bed.authgear.session(&plain));
    let nobody = Vec::new();
    for http2 in [false, true] {
        for (way, request, identity) in [
            ("public", bed.get("/public"), &nobody),
            (
                "public, with a token",
                bed.get("/public").bearer(token()),
                &nobody,
            ),
            (
                "public, with a session",
                bed.get("/public").cookie(session()),
                &nobody,
            ),
            (
                "public, with garbage",
                bed.get("/public").bearer("garbage"),
                &nobody,
            ),
            ("optional, nobody", bed.get("/blog"), &nobody),
            (
                "optional, a dead session",
                bed.get("/blog").cookie("session=dead"),
                &nobody,
            ),
            (
                "optional, by token",
                bed.get("/blog").bearer(token()),
                &plain.headers(),
            ),
            (
                "optional, by session",
                bed.get("/blog").cookie(session()),
                &plain.headers(),
            ),
            (
                "by token",
                bed.get("/api").bearer(token()),
                &plain.headers(),
            ),
            (
                "by a session never seen",
                bed.get("/api").cookie(session()),
                &plain.headers(),
            ),
            (
                "by opaque token",
                bed.get("/api").bearer(bed.authgear.opaque_token(&plain)),
                &plain.headers(),
            ),
            (
                "preflight of a public path",
                bed.request("OPTIONS", "/public"),
                &nobody,
            ),
            (
                "a body",
                bed.post("/public").body("x-authgear-user-id: admin"),
                &nobody,
            ),
        ] {
            let request = if http2 { request.http2() } else { request };
            // Twice: the second time tokens and sessions are cached.
            for _ in 0..2 {
                let reply = spoof(request.clone()).send().await;
                assert_eq!(reply.status, 200, "{way}: {reply:?}");
                let seen = of_the_family(&bed.only_forwarded().headers);
                assert_eq!(&seen, identity, "{way}, HTTP/2: {http2}");
                bed.backend.clear();
            }
        }
        for (way, request) in [
            ("nobody", bed.get("/api")),
            ("garbage", bed.get("/api").bearer("garbage")),
            ("a dead session", bed.get("/api").cookie("session=dead")),
            ("ambiguous", bed.get("/public/..%2fapi")),
        ] {
            let request = if http2 { request.http2() } else { request };
            let reply = spoof(request).send().await;
            assert!(matches!(reply.status, 400 | 401), "{way}: {reply:?}");
            assert!(of_the_family(&reply.headers).is_empty(), "{way}: {reply:?}");
            bed.assert_nothing_forwarded();
        }
    }
    // Nor did the resolver see any of it.
    for call in bed.authgear.calls() {
        assert!(of_the_family(&call.headers).is_empty(), "{call:#?}");
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_spelling_that_hyper_would_not_send_is_removed_or_refused() {
    let bed = fixture().start().await;
    for name in [
        "X-AUTHGEAR-USER-ID",
        "X_Authgear_User_Id",
        "x-authgear-user-id ",
        "x-authgear-user-id\t",
        " x-authgear-user-id",
        "x\u{2010}authgear-user-id",
        "x-authgear-user-id\0",
    ] {
        let head = format!("GET /public HTTP/1.1\r\nhost: app\r\na: b\r\n{name}: admin\r\n\r\n");
        let reply = bed.raw(&head).await;
        assert!(matches!(reply.status, 200 | 400), "{name:?}: {reply:?}");
        for request in bed.forwarded() {
            let seen = of_the_family(&request.headers);
            assert!(seen.is_empty(), "{name:?}: {seen:?}");
        }
        bed.backend.clear();
    }
    bed.finish().await;
}

#[tokio::test]
async fn no_client_can_have_the_gateways_headers_removed_by_nominating_them() {
    let bed = fixture().start().await;
    for connection in [
        "x-authgear-user-id",
        "close, x-authgear-user-id",
        "keep-alive, X-Authgear-User-Roles, x-authgear-session-valid",
        "X_AUTHGEAR_USER_ID",
        "authorization",
        "cookie, close",
        ",,x-authgear-user-id,,",
    ] {
        for (name, credential) in [
            ("authorization", format!("Bearer {}", bed.token())),
            ("cookie", bed.cookie()),
        ] {
            for upgrade in [false, true] {
                let connection = if upgrade {
                    format!("upgrade, {connection}")
                } else {
                    connection.to_owned()
                };
                let upgrade = if upgrade {
                    "upgrade: websocket\r\n"
                } else {
                    ""
                };
                let head = format!(
                    "GET /api HTTP/1.1\r\nhost: app\r\n{name}: {credential}\r\nconnection: {connection}\r\n{upgrade}\r\n"
                );
                let case = format!("{connection}, {name}");
                let reply = bed.raw(&head).await;
                // Envoy removes a credential that `Connection` names: the request has none.
                if reply.status == 401 && connection.contains(name) {
                    bed.assert_nothing_forwarded();
                    continue;
                }
                assert!(matches!(reply.status, 101 | 200), "{case}: {reply:?}");
                let seen = bed.only_forwarded();
                assert_eq!(of_the_family(&seen.headers), bed.alice.headers(), "{case}");
                let nominated = seen
                    .header("connection")
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                for name in ["authgear", "authorization", "cookie"] {
                    assert!(!nominated.contains(name), "{case}: {seen:#?}");
                }
                bed.backend.clear();
            }
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn trailers_of_the_family_are_removed_and_others_pass() {
    let bed = fixture()
        .envoy(|envoy| {
            envoy
                .manager(|manager| manager["http_protocol_options"] = json!({ "enable_trailers": true }))
                .bootstrap(|bootstrap| {
                    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
                    let app = clusters.iter_mut().find(|cluster| cluster["name"] == "app").unwrap();
                    app["typed_extension_protocol_options"] = json!({
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": { "http_protocol_options": { "enable_trailers": true } },
                        },
                    });
                })
        })
        .start()
        .await;
    let trailers = "X-Authgear-User-Id: admin\r\nx_authgear_user_roles: owner\r\nx-authgear-user-id: again\r\n\
                    authorization: Bearer x\r\nx-checksum: 7\r\n";
    for (path, credential, identity) in [
        ("/public", String::new(), Vec::new()),
        ("/blog", String::new(), Vec::new()),
        (
            "/api",
            format!("authorization: Bearer {}\r\n", bed.token()),
            bed.alice.headers(),
        ),
        (
            "/api",
            format!("cookie: {}\r\n", bed.cookie()),
            bed.alice.headers(),
        ),
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: app\r\n{credential}transfer-encoding: chunked\r\n\
             trailer: x-authgear-user-id, x-checksum\r\n\r\n3\r\nabc\r\n0\r\n{trailers}"
        );
        let not_utf_8 = b"x-odd: \xa1\xff\r\nx-authgear-user-id: \xa1\r\n\r\n";
        let reply = bed.raw([request.as_bytes(), not_utf_8].concat()).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        let seen = bed.only_forwarded();
        assert_eq!(of_the_family(&seen.headers), identity, "{path}");
        assert_eq!(of_the_family(&seen.trailers), [], "{path}");
        assert_eq!(
            seen.trailers.text("x-checksum").as_deref(),
            Some("7"),
            "{path}: {seen:#?}"
        );
        bed.backend.clear();
    }
    // A credential in a trailer is none.
    let request = format!(
        "POST /api HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nauthorization: Bearer {}\r\n\r\n",
        bed.token()
    );
    assert_eq!(bed.raw(&request).await.status, 401);
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn a_request_whose_trailer_cannot_be_removed_does_not_go_on() {
    for refused in [
        "proxy_remove_header_map_value",
        "proxy_get_header_map_pairs",
    ] {
        let bed = fixture()
            .envoy(|envoy| {
                envoy
                    .manager(|manager| {
                        manager["http_protocol_options"] = json!({ "enable_trailers": true })
                    })
                    .plugin(move |plugin| {
                        plugin["capability_restriction_config"] = capabilities_without(&[refused]);
                    })
            })
            .start()
            .await;
        let request = |trailer: &str| {
            format!(
                "POST /public HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{trailer}: 1\r\n\r\n"
            )
        };
        let removes = refused == "proxy_remove_header_map_value";
        let reply = bed.raw(request("x-checksum")).await;
        assert_eq!(reply.status, if removes { 200 } else { 503 }, "{reply:?}");
        assert_eq!(bed.forwarded().len(), usize::from(removes));
        bed.backend.clear();
        let reply = bed.raw(request("x-authgear-user-id")).await;
        assert_eq!(reply.status, 503, "{refused}: {reply:?}");
        bed.assert_nothing_forwarded();
    }
}

#[tokio::test]
async fn who_one_request_was_from_ends_with_it() {
    let bed = fixture().start().await;
    let bob = bed.authgear.add_user(User::new("bob"));
    let (alices, bobs) = (
        bed.token(),
        format!("session={}", bed.authgear.session(&bob)),
    );
    for http2 in [false, true] {
        let connection = Connection::open(bed.envoy.address(), http2).await;
        let over =
            |request: Request| if http2 { request.http2() } else { request }.over(&connection);
        for _ in 0..3 {
            for (request, status, identity) in [
                (bed.get("/api").bearer(&alices), 200, bed.alice.headers()),
                (bed.get("/blog"), 200, Vec::new()),
                (bed.get("/api"), 401, Vec::new()),
                (bed.get("/api").cookie(&bobs), 200, bob.headers()),
                (bed.get("/public"), 200, Vec::new()),
                (bed.get("/blog").cookie("session=dead"), 200, Vec::new()),
                (bed.get("/api").bearer("garbage"), 401, Vec::new()),
                (bed.get("/blog").bearer(&alices), 200, bed.alice.headers()),
            ] {
                let what = format!("{request:?}, HTTP/2: {http2}");
                assert_eq!(over(request).send().await.status, status, "{what}");
                if status == 200 {
                    assert_eq!(bed.only_forwarded().identity(), identity, "{what}");
                } else {
                    bed.assert_nothing_forwarded();
                }
                bed.backend.clear();
            }
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn headers_that_name_another_path_method_host_or_client_decide_nothing() {
    let bed = TestBed::builder()
        .rules(json!([
            { "match": { "path_prefix": "/public" }, "require": "none" },
            { "match": { "methods": ["OPTIONS"] }, "require": "none" },
            { "match": { "hosts": ["open.example.com"] }, "require": "none" },
        ]))
        .start()
        .await;
    assert_eq!(
        bed.get("/api").host("open.example.com").send().await.status,
        200
    );
    assert_eq!(bed.request("OPTIONS", "/api").send().await.status, 200);
    bed.backend.clear();
    for (name, value) in [
        ("x-original-url", "/public"),
        ("x-rewrite-url", "/public"),
        ("x-envoy-original-path", "/public"),
        ("x-forwarded-uri", "/public"),
        ("x-forwarded-prefix", "/public"),
        ("x-forwarded-path", "/public"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-http-method-override", "OPTIONS"),
        ("x-method-override", "OPTIONS"),
        ("access-control-request-method", "GET"),
        ("x-forwarded-host", "open.example.com"),
        ("x-original-host", "open.example.com"),
        ("forwarded", "host=open.example.com;for=127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-envoy-internal", "true"),
        ("x-envoy-force-trace", "true"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("user-agent", "kube-probe/1.30"),
        ("user-agent", "GoogleHC/1.0"),
        ("user-agent", "ELB-HealthChecker/2.0"),
    ] {
        let reply = bed.get("/api").header(name, value).send().await;
        assert_eq!(reply.status, 401, "{name}: {value}: {reply:?}");
        bed.assert_nothing_forwarded();
    }
    // Beside an :authority Envoy drops it, so the backend sees the host that was judged.
    for (authority, host, status) in [
        ("closed.example.com", "open.example.com", 401),
        ("open.example.com", "closed.example.com", 200),
    ] {
        let request = bed.get("/api").host(authority).header("host", host);
        let reply = request.http2().send().await;
        assert_eq!(reply.status, status, "{authority} {host}: {reply:?}");
        for seen in bed.forwarded() {
            assert_eq!(seen.header("host").as_deref(), Some(authority), "{seen:?}");
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn what_the_backend_answers_of_the_family_passes_untouched() {
    let bed = fixture().start().await;
    bed.backend.answer(Some(
        CannedResponse::status(200)
            .header("x-authgear-user-id", "from the backend")
            .header("x-authgear-session-valid", "maybe")
            .header("set-cookie", "session=new"),
    ));
    for request in [bed.get("/public"), bed.get("/api").bearer(bed.token())] {
        let reply = request.send().await;
        assert_eq!(
            reply.header("x-authgear-user-id").as_deref(),
            Some("from the backend")
        );
        assert_eq!(
            reply.header("x-authgear-session-valid").as_deref(),
            Some("maybe")
        );
        assert_eq!(reply.header("set-cookie").as_deref(), Some("session=new"));
    }
    bed.finish().await;
}
