//! Envoy's own options and filters beside this one: what docs/operations.md says of each.

use devkit::message::{CannedResponse, Reply};
use devkit::testbed::TestBed;
use serde_json::{Value, json};

const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";

fn filter(name: &str, kind: &str) -> Value {
    json!({
        "name": format!("envoy.filters.http.{name}"),
        "typed_config": { "@type": format!("{FILTERS}.{name}.v3.{kind}") },
    })
}

fn websocket(headers: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nhost: app\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

#[tokio::test]
async fn upgrades_with_a_filter_chain_of_their_own_pass_by_the_filter() {
    let forged = websocket("x-authgear-user-id: root\r\n");
    for of_its_own in [false, true] {
        let builder = TestBed::builder().envoy(|envoy| {
            envoy.manager(move |manager| {
                manager["upgrade_configs"] = json!([{ "upgrade_type": "websocket" }]);
                if of_its_own {
                    manager["upgrade_configs"][0]["filters"] = json!([filter("router", "Router")]);
                }
            })
        });
        let bed = builder.start().await;
        let reply = bed.raw(&forged).await;
        if of_its_own {
            // That is why the documents warn of it.
            assert_eq!(
                bed.only_forwarded().header("x-authgear-user-id").as_deref(),
                Some("root")
            );
        } else {
            assert_eq!(reply.status, 401);
            bed.assert_nothing_forwarded();
        }
        bed.finish().await;
    }
}

/// The answer to a page of another origin that presents nothing, with Envoy's filter before ours or after it.
async fn of_another_origin(cors_first: bool) -> Reply {
    let cors = filter("cors", "Cors");
    let policy = json!({
        "@type": format!("{FILTERS}.cors.v3.CorsPolicy"),
        "allow_origin_string_match": [{ "exact": "https://page.example.com" }],
        "allow_methods": "GET",
    });
    let builder = TestBed::builder().envoy(|envoy| {
        let envoy = if cors_first {
            envoy.filter_before(cors)
        } else {
            envoy.filter_after(cors)
        };
        envoy.manager(move |manager| {
            let host = &mut manager["route_config"]["virtual_hosts"][0];
            host["typed_per_filter_config"] = json!({ "envoy.filters.http.cors": policy });
        })
    });
    let bed = builder.start().await;
    let request = bed.get("/api").header("origin", "https://page.example.com");
    let reply = request.send().await;
    assert_eq!(reply.status, 401);
    bed.finish().await;
    reply
}

#[tokio::test]
async fn a_page_of_another_origin_can_read_a_refusal_only_where_cors_comes_first() {
    let allowed = "access-control-allow-origin";
    let before = of_another_origin(true).await;
    assert_eq!(
        before.header(allowed).as_deref(),
        Some("https://page.example.com")
    );
    assert_eq!(of_another_origin(false).await.header(allowed), None);
}

/// The answer to a gRPC-Web call that presents nothing.
async fn of_grpc_web(translated_first: bool) -> Reply {
    let grpc_web = filter("grpc_web", "GrpcWeb");
    let builder = TestBed::builder().envoy(|envoy| {
        if translated_first {
            envoy.filter_before(grpc_web)
        } else {
            envoy.filter_after(grpc_web)
        }
    });
    let bed = builder.start().await;
    let call = bed
        .post("/service/Method")
        .header("content-type", "application/grpc-web+proto");
    let reply = call.send().await;
    bed.assert_nothing_forwarded();
    bed.finish().await;
    reply
}

#[tokio::test]
async fn a_grpc_web_client_understands_a_refusal_only_where_grpc_web_comes_first() {
    let status = |reply: &Reply| reply.header("grpc-status");
    assert_eq!(status(&of_grpc_web(true).await).as_deref(), Some("16"));
    assert_eq!(status(&of_grpc_web(false).await), None);
}

#[tokio::test]
async fn an_escaped_slash_reaches_the_backend_as_it_came() {
    let bed = TestBed::start().await;
    let token = bed.token();
    for target in [
        "/projects/group%2Frepo",
        "/projects/group%2frepo/tree?ref=a%2Fb",
    ] {
        let request = bed
            .get(target)
            .header("authorization", format!("Bearer {token}"));
        assert_eq!(request.send().await.status, 200);
        assert_eq!(bed.only_forwarded().target, target);
        bed.backend.clear();
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_route_that_rewrites_the_path_is_judged_by_the_path_that_the_client_sent() {
    let rewrite = json!({
        "match": { "prefix": "/api/" },
        "route": { "cluster": "app", "prefix_rewrite": "/" },
    });
    let builder = TestBed::builder().rules(json!([
        { "match": { "path_prefix": "/api/public/" }, "require": "none" },
        { "match": { "path_prefix": "/public/" }, "require": "none" },
    ]));
    let bed = builder.envoy(|envoy| envoy.route(rewrite)).start().await;
    for (target, status, reaches) in [
        ("/api/public/x", 200, Some("/public/x")),
        ("/api/admin", 401, None),
        ("/public/x", 200, Some("/public/x")),
        // Which Envoy would make `//public/x` of.
        ("/api//public/x", 400, None),
        ("/api/public/../admin", 400, None),
    ] {
        let reply = bed.get(target).send().await;
        assert_eq!(reply.status, status, "{target}: {reply:?}");
        let reached: Vec<_> = bed.forwarded().into_iter().map(|one| one.target).collect();
        assert_eq!(reached, Vec::from_iter(reaches), "{target}");
        bed.backend.clear();
    }
    bed.finish().await;
}

/// Envoy follows the backend's redirect itself, and runs the filters again for its target, with the headers as they were.
#[tokio::test]
async fn an_internal_redirect_is_judged_anew() {
    let redirects = json!({
        "match": { "prefix": "/public/" },
        "route": { "cluster": "app", "internal_redirect_policy": {} },
    });
    let builder = TestBed::builder().rules(json!([
        { "match": { "path_prefix": "/public/" }, "require": "none" },
        { "match": { "path_prefix": "/blog/" }, "require": "optional" },
    ]));
    let bed = builder.envoy(|envoy| envoy.route(redirects)).start().await;
    let alice = bed.alice.headers();
    for (to, token, status, identities) in [
        ("/admin", false, 401, vec![vec![]]),
        ("/admin", true, 302, vec![vec![], alice.clone()]),
        ("/blog/", false, 302, vec![vec![], vec![]]),
        ("/blog/", true, 302, vec![vec![], alice]),
    ] {
        let away = CannedResponse::status(302);
        let location = format!("http://{}{to}", bed.envoy.address());
        bed.backend.answer(Some(away.header("location", location)));
        let request = bed.get("/public/x").header("x-authgear-user-id", "mallory");
        let request = if token {
            request.bearer(bed.token())
        } else {
            request
        };
        let reply = request.send().await;
        assert_eq!(reply.status, status, "{to}, {token}: {reply:?}");
        let seen: Vec<_> = bed.forwarded().iter().map(|one| one.identity()).collect();
        // Nobody is named on `/blog/` without a credential, but the client's claim is gone.
        let named = |identity: &Vec<(String, String)>| {
            let all = identity.iter().cloned();
            all.filter(|(name, _)| name != "x-authgear-session-valid")
                .collect::<Vec<_>>()
        };
        let expected: Vec<_> = identities.iter().map(named).collect();
        assert_eq!(
            seen.iter().map(named).collect::<Vec<_>>(),
            expected,
            "{to}, {token}"
        );
        bed.backend.clear();
    }
    bed.backend.answer(None);
    bed.finish().await;
}
