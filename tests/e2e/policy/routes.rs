//! Envoy chooses the route anew when the filter changes headers: what that means where each route has a policy of its own,
//! as under Envoy Gateway.

use devkit::keys::User;
use devkit::testbed::{Builder, TestBed};
use serde_json::{Value, json};

const ROLES: &str = "x-authgear-user-roles";

/// The spellings that a route could match, and others by which a policy is chosen.
const FORGED: [(&str, &str); 3] = [
    (ROLES, "admin"),
    (ROLES, ""),
    ("X-Authgear-User-Roles", "none,at,all"),
];

/// The layout of Envoy Gateway: the filter once for each policy, off for the listener, on for the policy's routes. The
/// route of the lax policy (`none`) matches a header of the family, that of the strict one (`user`) all the rest.
fn two_policies(lax: Value) -> Builder {
    let lax_config = {
        let mut config = json!({
            "projects": [{ "endpoint": devkit::testbed::ORIGIN, "cluster": "authgear" }],
            "default": { "require": "none" },
        });
        for (name, value) in lax.as_object().unwrap() {
            config[name] = value.clone();
        }
        config.to_string()
    };
    let routes = [
        route(
            "lax",
            json!({ "prefix": "/", "headers": [{ "name": ROLES, "present_match": true }] }),
        ),
        route("authgear", json!({ "prefix": "/" })),
    ];
    TestBed::builder().envoy(|envoy| {
        let [lax, strict] = routes;
        envoy.route(lax).route(strict).manager(move |manager| {
            let filters = manager["http_filters"].as_array_mut().unwrap();
            filters[0]["disabled"] = json!(true);
            let mut lax = filters[0].clone();
            lax["name"] = json!("lax");
            let plugin = &mut lax["typed_config"]["config"];
            plugin["name"] = json!("lax");
            plugin["vm_config"]["vm_id"] = json!("lax");
            plugin["configuration"]["value"] = json!(lax_config);
            filters.insert(0, lax);
        })
    })
}

/// A route to the backend, with this filter on; its answers say which route it was.
fn route(filter: &str, matching: Value) -> Value {
    let on =
        json!({ "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {} });
    json!({
        "match": matching,
        "route": { "cluster": "app" },
        "typed_per_filter_config": { filter: on },
        "response_headers_to_add": [{ "header": { "key": "x-route", "value": filter } }],
    })
}

/// Removes the family before the first route is chosen.
fn early_removal(manager: &mut Value) {
    manager["early_header_mutation_extensions"] = json!([{
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{ "remove_on_match": { "key_matcher": { "prefix": "x-authgear-", "ignore_case": true } } }],
        },
    }]);
}

/// Under "strip" alone this is a bypass, and none that the filter could see: the strict policy's filter never runs.
#[tokio::test]
async fn a_route_chosen_by_a_forged_header_needs_early_removal() {
    let bed = two_policies(json!({})).start().await;
    assert_eq!(bed.get("/admin").send().await.status, 401);

    for (name, value) in FORGED {
        let reply = bed.get("/admin").header(name, value).send().await;
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        assert_eq!(reply.header("x-route"), Some("authgear".to_owned()));
        assert_eq!(bed.only_forwarded().identity(), []);
        bed.backend.clear();
    }
    bed.finish().await;
}

#[tokio::test]
async fn early_removal_leaves_the_route_to_who_guards_it() {
    let bed = two_policies(json!({}))
        .envoy(|envoy| envoy.manager(early_removal))
        .start()
        .await;
    for (name, value) in FORGED {
        for http2 in [false, true] {
            let request = bed.get("/admin").header(name, value);
            let request = if http2 { request.http2() } else { request };
            let reply = request.clone().send().await;
            assert_eq!(reply.status, 401, "{name}: {reply:?}");
            bed.assert_nothing_forwarded();
            let reply = request.bearer(bed.token()).send().await;
            assert_eq!(reply.status, 200, "{name}: {reply:?}");
            assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
            bed.backend.clear();
        }
    }
    bed.finish().await;
}

#[tokio::test]
async fn a_policy_that_refuses_forged_headers_lets_none_choose_a_route() {
    let bed = two_policies(json!({ "client_identity_headers": "refuse" }))
        .start()
        .await;
    for (name, value) in FORGED {
        for http2 in [false, true] {
            let request = bed.get("/admin").header(name, value);
            let request = if http2 { request.http2() } else { request };
            for request in [request.clone(), request.bearer(bed.token())] {
                let reply = request.send().await;
                assert_eq!(reply.status, 400, "{name}: {reply:?}");
                assert_eq!(reply.json()["code"], "invalid_request");
            }
        }
    }
    bed.assert_nothing_forwarded();
    assert_eq!(bed.get("/admin").send().await.status, 401);
    bed.finish().await;
}

/// Envoy Gateway would serve the route without the filter, were its configuration refused.
#[tokio::test]
async fn a_mistake_in_one_policy_shuts_its_own_routes_and_no_others() {
    for mistake in [json!({ "rulse": [] }), json!({ "projects": "none" })] {
        let bed = two_policies(mistake)
            .envoy(|envoy| {
                envoy.manager(|manager| {
                    for (nth, vm_id) in ["/ns/lax/wasm/0", "/ns/strict/wasm/0"]
                        .into_iter()
                        .enumerate()
                    {
                        let filter = &mut manager["http_filters"][nth]["typed_config"]["config"];
                        filter["vm_config"]["vm_id"] = json!(vm_id);
                    }
                })
            })
            .start()
            .await;
        let reply = bed.get("/admin").header(ROLES, "admin").send().await;
        assert_eq!(reply.status, 503, "{reply:?}");
        bed.assert_nothing_forwarded();
        assert_eq!(bed.get("/admin").send().await.status, 401);
        bed.finish().await;
    }
}

#[tokio::test]
async fn where_one_policy_guards_all_routes_the_filters_own_headers_choose_among_them() {
    let by_role = json!({
        "match": { "prefix": "/", "headers": [{ "name": ROLES, "string_match": { "exact": "admin" } }] },
        "route": { "cluster": "app" },
        "response_headers_to_add": [{ "header": { "key": "x-route", "value": "admins" } }],
    });
    let bed = TestBed::builder()
        .envoy(|envoy| envoy.route(by_role))
        .start()
        .await;
    let reader = bed
        .authgear
        .add_user(User::new("reader").roles(&["reader"]));
    let reader = bed.authgear.access_token(&reader);

    for forged in [false, true] {
        let get = || {
            let request = bed.get("/");
            if forged {
                request.header(ROLES, "admin")
            } else {
                request
            }
        };
        assert_eq!(get().send().await.status, 401);
        for (token, route) in [
            (bed.token(), Some("admins".to_owned())),
            (reader.clone(), None),
        ] {
            let reply = get().bearer(token).send().await;
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!(reply.header("x-route"), route, "forged: {forged}");
        }
    }
    bed.finish().await;
}
