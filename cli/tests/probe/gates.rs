//! Gates that are shut, and each way in which one is open.

use devkit::authgear::{Endpoint, Fault};
use devkit::demo::Demo;
use devkit::envoy::Envoy;
use devkit::message::CannedResponse;
use devkit::testbed::{ORIGIN, TestBed};
use serde_json::{Value, json};

use crate::{at, file, path, probe};

/// How the guides have Envoy clean requests before any filter sees them.
fn clean(manager: &mut Value) {
    manager["normalize_path"] = json!(true);
    manager["merge_slashes"] = json!(true);
    manager["common_http_protocol_options"] =
        json!({ "headers_with_underscores_action": "DROP_HEADER" });
}

/// The filter is off on this route.
fn route_without_filter(matching: Value) -> Value {
    json!({
        "match": matching,
        "route": { "cluster": "app" },
        "typed_per_filter_config": {
            "authgear": { "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true },
        },
    })
}

/// As under Envoy Gateway, where a policy is chosen by a route that matches a header of the family.
pub(crate) fn route_that_a_role_chooses() -> Value {
    route_without_filter(json!({
        "prefix": "/",
        "headers": [{ "name": "x-authgear-user-roles", "string_match": { "exact": "admin" } }],
    }))
}

#[tokio::test]
async fn a_good_gate_is_shut_and_the_good_token_gets_in() {
    for clean_first in [false, true] {
        let bed = TestBed::builder()
            .envoy(|envoy| match clean_first {
                true => envoy.manager(clean),
                false => envoy,
            })
            .start()
            .await;
        let gate = at(&bed.envoy, "/account");

        let run = probe([&*gate, "--post"]).await;
        assert_eq!(run.status, 0, "{run:#?}");
        assert!(run.stdout.contains(": shut\n"), "{run:#?}");
        assert!(run.stdout.contains("401 unauthenticated"), "{run:#?}");
        assert!(run.stdout.contains("401 invalid_token"), "{run:#?}");
        assert!(run.stdout.contains("was not tried"), "{run:#?}");
        // Both cookies with garbage, by GET and by POST, are asked about: once, for they are the same.
        assert!(bed.resolver_calls() >= 1);
        bed.assert_nothing_forwarded();

        let token = file(&bed.token());
        let run = probe([&*gate, "--echo", "--token-file", &path(&token)]).await;
        assert_eq!(run.status, 0, "{run:#?}");
        assert!(run.stdout.contains("The good token gets in."), "{run:#?}");
        let forwarded = bed.forwarded();
        assert_eq!(forwarded.len(), 2, "{forwarded:#?}");
        for request in forwarded {
            assert_eq!(request.identity(), bed.alice.headers());
        }
        bed.finish().await;
    }
}

/// Public by default, one route guarded: every odd spelling is another path, and none gets past the rule.
#[tokio::test]
async fn a_guarded_route_of_a_public_site_is_shut_in_every_spelling() {
    let bed = TestBed::builder()
        .configure(|config| config["default"] = json!({ "require": "none" }))
        .rules(json!([{ "match": { "path_prefix": "/account" }, "require": "user" }]))
        .start()
        .await;
    let run = probe([at(&bed.envoy, "/account/settings")]).await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(run.stdout.contains("400 invalid_request"), "{run:#?}");
    bed.assert_nothing_forwarded();

    // What is refused because of the URL itself is shut whatever guards it.
    let run = probe([at(&bed.envoy, "/blog/../account/%2e")]).await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(
        run.stdout.contains("is the URL as clients write it?"),
        "{run:#?}"
    );
    bed.assert_nothing_forwarded();

    let run = probe([at(&bed.envoy, "/blog")]).await;
    assert_eq!(run.status, 1, "{run:#?}");
}

#[tokio::test]
async fn a_rule_that_lets_strangers_pass_is_open() {
    for require in ["none", "optional"] {
        let bed = TestBed::builder()
            .rules(json!([{ "match": { "path_prefix": "/account" }, "require": require }]))
            .start()
            .await;
        let run = probe([&*at(&bed.envoy, "/account"), "--format", "json"]).await;
        assert_eq!(run.status, 1, "{require}: {run:#?}");
        let open = run.requests("open");
        assert!(open.contains(&"no credential".to_owned()), "{open:?}");
        bed.finish().await;
    }
}

#[tokio::test]
async fn no_filter_is_open_and_everything_was_sent_as_it_was_said() {
    let bed = TestBed::builder()
        .envoy(|envoy| {
            envoy.manager(|manager| {
                manager["http_filters"].as_array_mut().unwrap().remove(0);
            })
        })
        .start()
        .await;
    let gate = at(&bed.envoy, "/account?a=b");
    let said = |run: &crate::Run| {
        let lines = run.stderr.lines().filter(|line| line.starts_with("  "));
        let sent = lines.map(|line| {
            let mut words = line.rsplit(' ');
            let target = words.next().unwrap();
            format!("{} {target}", words.next().unwrap())
        });
        sent.collect::<Vec<_>>()
    };
    let reached = || {
        let requests = bed.forwarded().into_iter();
        let lines = requests.map(|request| format!("{} {}", request.method, request.target));
        lines.collect::<Vec<_>>()
    };

    let run = probe([&*gate, "--dry-run"]).await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(
        run.stdout.contains("GET //account/authgear-probe-"),
        "{run:#?}"
    );
    bed.assert_nothing_forwarded();

    let run = probe([&gate]).await;
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stdout.contains(": OPEN\n"), "{run:#?}");
    assert_eq!(reached(), said(&run));
    assert!(reached().iter().all(|line| line.starts_with("GET ")));
    assert!(reached().contains(&said(&run)[7]), "{:?}", reached());

    bed.backend.clear();
    let run = probe([&*gate, "--post"]).await;
    assert_eq!(reached(), said(&run));
    assert!(reached().iter().any(|line| line.starts_with("POST ")));
    for request in bed.forwarded() {
        assert!(request.body.is_empty());
    }
}

/// Its module is fetched, as Istio and Envoy Gateway have it, and the fetch fails.
#[tokio::test]
async fn a_filter_that_could_not_be_loaded_is_found() {
    for (policy, status) in [("FAIL_OPEN", 1), ("FAIL_CLOSED", 3), ("FAIL_RELOAD", 3)] {
        let bed = TestBed::builder()
            .envoy(|envoy| envoy.failure_policy(policy))
            .plugin(|plugin| {
                plugin["vm_config"]["code"] = json!({
                    "remote": {
                        "http_uri": { "uri": "http://auth.example.com/nothing", "cluster": "authgear", "timeout": "5s" },
                        "sha256": "0".repeat(64),
                        "retry_policy": { "num_retries": 1 },
                    },
                });
            })
            .start()
            .await;
        let run = probe([at(&bed.envoy, "/account")]).await;
        assert_eq!(run.status, status, "{policy}: {run:#?}");
        let advised = run.stdout.contains("failure_policy: FAIL_OPEN");
        assert_eq!(advised, policy == "FAIL_OPEN", "{run:#?}");
    }
}

#[tokio::test]
async fn a_route_without_the_policy_is_open_and_the_other_is_shut() {
    let bed = TestBed::builder()
        .envoy(|envoy| envoy.route(route_without_filter(json!({ "prefix": "/api" }))))
        .start()
        .await;
    let gates = [at(&bed.envoy, "/account"), at(&bed.envoy, "/api")];
    let run = probe(gates.iter().map(String::as_str).chain(["--format", "json"])).await;
    assert_eq!(run.status, 1, "{run:#?}");
    let outcome = run.json();
    assert_eq!(outcome["verdict"], "open");
    assert_eq!(outcome["exit_status"], 1);
    assert_eq!(outcome["routes"][0]["url"], gates[0]);
    assert_eq!(outcome["routes"][0]["verdict"], "shut");
    assert_eq!(outcome["routes"][1]["verdict"], "open");
    bed.finish().await;
}

#[tokio::test]
async fn a_route_that_a_forged_header_chooses_is_found() {
    let bed = TestBed::builder()
        .envoy(|envoy| envoy.route(route_that_a_role_chooses()))
        .start()
        .await;
    let run = probe([&*at(&bed.envoy, "/account"), "--format", "json"]).await;
    assert_eq!(run.status, 1, "{run:#?}");
    assert_eq!(
        run.requests("open"),
        ["forged x-authgear-user-id", "forged, and in Connection"]
    );
    assert!(run.stdout.contains("Remove the family"), "{run:#?}");
}

/// A route whose path is compared as text, in front of a backend that cleans paths.
#[tokio::test]
async fn a_route_that_an_odd_spelling_chooses_is_found() {
    let elsewhere = route_without_filter(json!({ "prefix": "//" }));
    let bed = TestBed::builder()
        .envoy(|envoy| envoy.route(elsewhere))
        .start()
        .await;
    let run = probe([&*at(&bed.envoy, "/account"), "--format", "json"]).await;
    assert_eq!(run.status, 1, "{run:#?}");
    assert_eq!(run.requests("open"), ["path: // at the start"]);
}

#[tokio::test]
async fn a_backend_that_refuses_by_itself_shows_nothing() {
    for (status, challenge) in [
        (401, None),
        (401, Some("Bearer realm=\"app\"")),
        (403, None),
    ] {
        let bed = TestBed::builder()
            .configure(|config| config["default"] = json!({ "require": "none" }))
            .start()
            .await;
        let mut answer =
            CannedResponse::json(&json!({ "error": "unauthorized" })).with_status(status);
        if let Some(challenge) = challenge {
            answer = answer.header("www-authenticate", challenge);
        }
        bed.backend.answer(Some(answer));
        let run = probe([at(&bed.envoy, "/account")]).await;
        assert_eq!(run.status, 3, "{run:#?}");
        assert!(run.stdout.contains(": inconclusive\n"), "{run:#?}");
        assert!(run.stdout.contains("RESPONSE_CODE_DETAILS"), "{run:#?}");
    }
}

#[tokio::test]
async fn answers_that_envoy_rewrites_are_not_known() {
    let bed = TestBed::builder()
        .envoy(|envoy| {
            envoy.manager(|manager| {
                manager["local_reply_config"] =
                    json!({ "body_format": { "text_format": "no: %LOCAL_REPLY_BODY%" } });
            })
        })
        .start()
        .await;
    let run = probe([at(&bed.envoy, "/account")]).await;
    assert_eq!(run.status, 3, "{run:#?}");
    assert!(run.stdout.contains("local_reply_config"), "{run:#?}");
}

/// As docs/guides/website.md has it: pages alone.
#[tokio::test]
async fn browsers_may_be_sent_to_a_login() {
    let html = json!({ "name": "accept", "string_match": { "contains": "text/html" } });
    let bed = TestBed::builder()
        .envoy(|envoy| {
            envoy.manager(move |manager| {
                manager["local_reply_config"] = json!({
                    "mappers": [{
                        "filter": { "header_filter": { "header": html } },
                        "status_code": 302,
                        "headers_to_add": [{ "header": { "key": "location", "value": "https://auth.example.com/login" } }],
                    }],
                });
            })
        })
        .start()
        .await;
    let browser = bed
        .get("/account")
        .header("accept", "text/html")
        .send()
        .await;
    assert_eq!(browser.status, 302);
    let run = probe([at(&bed.envoy, "/account")]).await;
    assert_eq!(run.status, 0, "{run:#?}");
}

#[tokio::test]
async fn a_gate_that_is_shut_for_everybody_is_shut() {
    let bed = TestBed::builder()
        .prepare(|authgear| {
            authgear.fault(Endpoint::Jwks, Fault::Status(500));
            authgear.fault(Endpoint::Resolver, Fault::Status(500));
        })
        .start()
        .await;
    let gate = at(&bed.envoy, "/account");
    let run = probe([&gate]).await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(run.stdout.contains("503 unavailable"), "{run:#?}");
    assert!(
        run.stdout.contains("docs/guides/unavailable.md"),
        "{run:#?}"
    );

    let token = file(&bed.token());
    let run = probe([&*gate, "--token-file", &path(&token)]).await;
    assert_eq!(run.status, 3, "{run:#?}");
    bed.assert_nothing_forwarded();
}

#[tokio::test]
async fn a_host_that_no_project_has_is_shut_and_said() {
    let bed = TestBed::builder()
        .project(|project| project["hosts"] = json!(["app.example.com"]))
        .start()
        .await;
    let gate = at(&bed.envoy, "/account");
    let run = probe([&gate]).await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(run.stdout.contains("421 misdirected_request"), "{run:#?}");

    let run = probe([&*gate, "--header", "host: app.example.com"]).await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(!run.stdout.contains("421"), "{run:#?}");
    bed.assert_nothing_forwarded();
}

/// With `--exact`, a rule's own path is asked for, in every spelling that is its own.
#[tokio::test]
async fn a_rule_for_one_path_is_shut_in_every_spelling() {
    let bed = TestBed::builder()
        .configure(|config| config["default"] = json!({ "require": "none" }))
        .rules(json!([{ "match": { "path": "/account" }, "require": "user" }]))
        .start()
        .await;
    let gate = at(&bed.envoy, "/account");
    let run = probe([&*gate, "--exact"]).await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(run.stderr.contains("GET /ACCOUNT\n"), "{run:#?}");
    assert!(run.stderr.contains("GET /account/\n"), "{run:#?}");
    bed.assert_nothing_forwarded();

    let run = probe([&gate]).await;
    assert_eq!(run.status, 1, "{run:#?}");
    assert!(run.stdout.contains("--exact"), "{run:#?}");
}

#[tokio::test]
async fn a_good_token_that_is_refused_shows_that_the_gate_does_not_work() {
    let bed = TestBed::builder()
        .rules(json!([
            { "match": { "path_prefix": "/staff" }, "require": "user", "allow": { "roles_any": ["staff"] } },
        ]))
        .start()
        .await;
    let token = file(&bed.token());
    let run = probe([&*at(&bed.envoy, "/staff"), "--token-file", &path(&token)]).await;
    assert_eq!(run.status, 3, "{run:#?}");
    assert!(run.stdout.contains("403 forbidden"), "{run:#?}");
    assert!(
        run.stdout.contains("Shut, but not shown to work"),
        "{run:#?}"
    );

    let expired = file(&format!("{}x", bed.token()));
    let run = probe([
        &*at(&bed.envoy, "/account"),
        "--token-file",
        &path(&expired),
    ])
    .await;
    assert_eq!(run.status, 3, "{run:#?}");
    assert!(run.stdout.contains("docs/guides/refused.md"), "{run:#?}");
    bed.assert_nothing_forwarded();
}

#[tokio::test]
async fn a_gate_that_refuses_forged_headers_is_good() {
    let bed = TestBed::builder()
        .configure(|config| config["client_identity_headers"] = json!("refuse"))
        .start()
        .await;
    let token = file(&bed.token());
    let run = probe([
        &*at(&bed.envoy, "/account"),
        "--echo",
        "--token-file",
        &path(&token),
    ])
    .await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(run.stdout.contains("client_identity_headers"), "{run:#?}");
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
}

/// What the backend gets is Envoy's to change behind the filter.
#[tokio::test]
async fn an_identity_that_arrives_otherwise_is_found() {
    for (change, status, finding) in [
        (
            json!({ "request_headers_to_add": [{ "header": { "key": "x-authgear-user-id", "value": "root" } }] }),
            1,
            "x-authgear-user-id arrived more than once",
        ),
        (
            json!({ "request_headers_to_add": [{ "header": { "key": "x_authgear_user_id", "value": "root" } }] }),
            1,
            "another spelling",
        ),
        (
            json!({ "request_headers_to_remove": ["x-authgear-session-amr"] }),
            3,
            "without x-authgear-session-amr",
        ),
    ] {
        let bed = TestBed::builder()
            .envoy(|envoy| {
                let mut route =
                    json!({ "match": { "prefix": "/" }, "route": { "cluster": "app" } });
                for (name, value) in change.as_object().unwrap() {
                    route[name] = value.clone();
                }
                envoy.route(route)
            })
            .start()
            .await;
        let token = file(&bed.token());
        let run = probe([
            &*at(&bed.envoy, "/account"),
            "--echo",
            "--token-file",
            &path(&token),
        ])
        .await;
        assert_eq!(run.status, status, "{run:#?}");
        assert!(run.stdout.contains(finding), "{run:#?}");
    }
}

/// The token gets in; the identity headers that the client forged beside it arrive, for there is no filter.
#[tokio::test]
async fn forged_headers_that_arrive_are_found() {
    let bed = TestBed::builder()
        .envoy(|envoy| envoy.route(route_without_filter(json!({ "prefix": "/" }))))
        .start()
        .await;
    let token = file(&bed.token());
    let run = probe([
        &*at(&bed.envoy, "/account"),
        "--echo",
        "--token-file",
        &path(&token),
        "--format",
        "json",
    ])
    .await;
    assert_eq!(run.status, 1, "{run:#?}");
    let open = run.requests("open");
    assert!(
        open.contains(&"the good token, forged headers".to_owned()),
        "{open:?}"
    );
    assert!(run.stdout.contains("a forged header arrived"), "{run:#?}");
}

#[tokio::test]
async fn the_demo_application_echoes() {
    let bed = TestBed::start().await;
    let demo = Demo::start("127.0.0.1:0", None).await.unwrap();
    let envoy = Envoy::builder()
        .filter(&json!({ "projects": [{ "endpoint": ORIGIN, "cluster": "authgear" }] }))
        .cluster("authgear", &[bed.authgear.address()])
        .upstream(demo.address())
        .start()
        .await;
    let token = file(&bed.token());
    let echo = |path: &'static str| {
        let (gate, token) = (at(&envoy, path), crate::path(&token));
        async move { probe([&*gate, "--exact", "--echo", "--token-file", &token]).await }
    };
    let run = echo("/api/me").await;
    assert_eq!(run.status, 0, "{run:#?}");
    let run = echo("/api/nothing").await;
    assert_eq!(run.status, 3, "{run:#?}");
    envoy.assert_no_trap();
}
