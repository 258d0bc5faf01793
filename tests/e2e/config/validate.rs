//! `envoy --mode validate` says before anything is rolled out what is wrong with a configuration, all of it.

use devkit::envoy::{Envoy, EnvoyError};
use devkit::keys::SigningKey;
use devkit::testbed::TestBed;
use serde_json::{Value, json};

const ENDPOINT: &str = "https://auth.example.com";

async fn validate(config: &Value) -> Result<(), EnvoyError> {
    let builder = Envoy::builder().filter(config);
    builder
        .cluster("authgear", &[])
        .cluster("app", &[])
        .validate()
        .await
}

/// What Envoy logs about a configuration that is refused.
async fn refused(config: &Value) -> String {
    match validate(config).await {
        Err(EnvoyError::Ended { log, .. }) => log,
        other => panic!("{config}: {other:?}"),
    }
}

#[tokio::test]
async fn good_configurations_pass() {
    let inline = json!({ "inline": { "keys": [SigningKey::rsa(0).jwk()] } });
    for config in [
        json!({ "projects": [{ "endpoint": ENDPOINT, "cluster": "authgear" }] }),
        json!({ "projects": [{ "endpoint": ENDPOINT, "jwks": inline, "session": null }] }),
        json!({
            "projects": [{
                "endpoint": ENDPOINT,
                "hosts": [],
                "cluster": "authgear",
                "jwks": { "discover": true, "refresh": "5m", "max_stale": "1h", "timeout": "5s", "unknown_kid_cooldown": "30s" },
                "jwt": {
                    "audiences": [ENDPOINT], "client_ids": ["a"], "algorithms": ["RS256", "ES256"], "clock_skew": "30s",
                    "max_lifetime": null, "require_typ": true, "cookies": ["app_access_token"],
                    "headers": [{ "name": "authorization", "scheme": "Bearer" }], "revalidate": null,
                },
                "session": {
                    "cluster": "authgear", "path": "/resolve", "timeout": "1s", "cookies": ["session"], "ttl": "10s",
                    "negative_ttl": "2s", "stale_if_error": "0s", "relay_set_cookie": false,
                },
                "login": null,
            }],
            "rules": [
                { "match": { "path_prefix": "/healthz", "methods": ["GET"] }, "require": "none" },
                { "match": { "path": "/blog", "hosts": ["*.example.com"] }, "require": "optional" },
                { "match": {}, "require": "user", "allow": {}, "accept": ["jwt", "session"], "on_unauthenticated": "401" },
            ],
            "default": { "require": "user", "on_unauthenticated": "401" },
            "upstream": { "strip_credentials": false, "claim_headers": {} },
            "limits": { "token_bytes": 16384.0, "cached_tokens": 0, "cached_sessions": 0, "waiting_requests": 1 },
            "report_only": false,
        }),
    ] {
        if let Err(error) = validate(&config).await {
            panic!("{config}: {error}");
        }
    }
}

/// Envoy hands a message of a kind that it does not know to the filter as bytes.
#[tokio::test]
async fn a_configuration_at_the_wrong_place_or_in_the_wrong_form_is_said_to_be() {
    let whole = json!({ "projects": [{ "endpoint": ENDPOINT, "cluster": "authgear" }] });
    let text = json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": whole.to_string() });
    let typed = |of: &str| {
        json!({
            "@type": format!("type.googleapis.com/{of}.type.v3.TypedStruct"),
            "type_url": "type.googleapis.com/authgear.Config",
            "value": whole,
        })
    };
    let marked = json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": format!("\u{feff}{whole}") });
    let mut udpa = typed("xds");
    udpa["@type"] = json!("type.googleapis.com/udpa.type.v1.TypedStruct");
    let inner = json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text.to_string() });
    for (place, value, expected) in [
        ("vm_config", text, "it is in \"vm_config.configuration\""),
        (
            "",
            typed("xds"),
            "it is wrapped in a TypedStruct or another message",
        ),
        (
            "",
            udpa,
            "it is wrapped in a TypedStruct or another message",
        ),
        (
            "",
            inner,
            "it is wrapped in a TypedStruct or another message",
        ),
        ("", marked, "begins with a byte order mark"),
    ] {
        let validated = Envoy::builder()
            .filter(&whole)
            .plugin(move |plugin| {
                drop(plugin.as_object_mut().unwrap().remove("configuration"));
                let place = if place.is_empty() {
                    &mut *plugin
                } else {
                    &mut plugin[place]
                };
                place["configuration"] = value.clone();
            })
            .cluster("authgear", &[])
            .cluster("app", &[])
            .validate()
            .await;
        let Err(EnvoyError::Ended { log, .. }) = validated else {
            panic!("{expected}: {validated:?}");
        };
        let reported = format!("configuration refused: configuration: {expected}");
        assert_eq!(log.matches(&reported).count(), 1, "{reported}\nin:\n{log}");
        assert_eq!(log.matches("configuration refused: ").count(), 1, "{log}");
    }
}

#[tokio::test]
async fn every_error_is_reported_with_its_path() {
    let config = json!({
        "projects": [{
            "endpoint": "https://auth.example.com/",
            "cluster": 1,
            "jwks": { "uri": "oauth2/jwks", "refresh": "5 minutes", "timeout": 5 },
            "jwt": { "algorithms": ["none"] },
            "session": { "ttl": "-1s", "cookies": ["a b"] },
        }],
        "rules": [
            { "match": { "path_prefix": "admin" }, "require": "user" },
            { "match": { "path": "/a/../b" }, "require": "everybody" },
            { "require": "none" },
        ],
        "limits": { "waiting_requests": 0 },
        "defualt": {},
    });
    let log = refused(&config).await;
    for line in [
        "projects[0].endpoint: expected an origin",
        "projects[0].cluster: expected the name of an upstream cluster",
        "projects[0].jwks.uri: expected a path",
        "projects[0].jwks.refresh: expected ",
        "projects[0].jwks.timeout: expected ",
        "projects[0].jwt.algorithms[0]: expected an asymmetric algorithm",
        "projects[0].session.ttl: expected ",
        "projects[0].session.cookies[0]: expected a cookie name",
        "rules[0].match.path_prefix: expected a path in normal form",
        "rules[1].match.path: expected a path in normal form",
        "rules[1].require: expected ",
        "rules[2].match: missing",
        "limits.waiting_requests: expected ",
        "defualt: unknown member: did you mean \"default\"?",
    ] {
        let reported = format!("configuration refused: {line}");
        assert_eq!(log.matches(&reported).count(), 1, "{reported}\nin:\n{log}");
    }
}

#[tokio::test]
async fn what_is_no_configuration_at_all_is_refused() {
    // More of them are tried natively, by `gate/src/config/tests/document.rs`.
    for (text, reported) in [
        ("", "projects: missing"),
        ("{", "configuration: not valid JSON"),
    ] {
        let builder = Envoy::builder().filter_text(text);
        let verdict = builder
            .cluster("authgear", &[])
            .cluster("app", &[])
            .validate()
            .await;
        let Err(EnvoyError::Ended { log, .. }) = verdict else {
            panic!("{text:?}: {verdict:?}")
        };
        let reported = format!("configuration refused: {reported}");
        assert!(log.contains(&reported), "{text:?}: {reported}\nin:\n{log}");
    }
}

#[tokio::test]
async fn what_is_not_supported_yet_is_said_to_be_and_never_ignored() {
    let config = json!({
        "projects": [
            {
                "endpoint": ENDPOINT,
                "cluster": "authgear",
                "login": { "client_id": "a", "redirect_uri": "https://app.example.com/return" },
            },
        ],
        "rules": [{ "match": { "path_prefix": "/a/" }, "require": "user", "on_unauthenticated": "login" }],
        "upstream": { "strip_credentials": true, "claim_headers": { "email": "x-authgear-claim-email" } },
        "report_only": true,
    });
    let log = refused(&config).await;
    for path in [
        "projects[0].login",
        "rules[0].on_unauthenticated",
        "upstream.strip_credentials",
        "upstream.claim_headers",
        "report_only",
    ] {
        let reported = format!("configuration refused: {path}: not supported yet");
        assert_eq!(log.matches(&reported).count(), 1, "{reported}\nin:\n{log}");
    }
    assert_eq!(log.matches("configuration refused: ").count(), 5, "{log}");
}

#[tokio::test]
async fn every_error_of_a_section_is_reported() {
    let jwt = json!({ "audiences": [], "algorithms": ["none"], "clock_skew": "1h", "haeders": [] });
    let project = json!({ "endpoint": ENDPOINT, "cluster": "authgear", "jwt": jwt });
    let log = refused(&json!({ "projects": [project] })).await;
    for line in [
        "projects[0].jwt.audiences: expected ",
        "projects[0].jwt.algorithms[0]: expected an asymmetric algorithm",
        "projects[0].jwt.clock_skew: expected ",
        "projects[0].jwt.haeders: unknown member: did you mean \"headers\"?",
    ] {
        let reported = format!("configuration refused: {line}");
        assert_eq!(log.matches(&reported).count(), 1, "{reported}\nin:\n{log}");
    }
}

/// The whole table is tried natively, by `gate/src/config/tests/unmet.rs`.
#[tokio::test]
async fn conditions_that_nothing_meets_are_told_at_load() {
    let project = json!({ "endpoint": ENDPOINT, "cluster": "authgear" });
    for (rules, line) in [
        (
            json!([{ "match": { "path": "/users/{id}" }, "require": "user" }]),
            "rules[0].match.path: '{' is not allowed in a path",
        ),
        (
            json!([{ "match": {}, "require": "none" }, { "match": { "path": "/admin" }, "require": "user" }]),
            "rules[1]: is never reached: rules[0] matches everything it would; move it up",
        ),
    ] {
        let log = refused(&json!({ "projects": [project], "rules": rules })).await;
        let reported = format!("configuration refused: {line}");
        assert_eq!(log.matches(&reported).count(), 1, "{reported}\nin:\n{log}");
    }

    let bed = TestBed::builder()
        .rules(json!([
            { "match": { "path": "/admin$", "methods": ["PSOT"] }, "require": "none" },
            { "match": {}, "require": "user" },
            { "match": { "path": "/x" }, "require": "user" },
        ]))
        .start()
        .await;
    for warning in [
        "rules[0].match.path: matches \"/admin$\" as it is written",
        "rules[0].match.methods[0]: not a registered HTTP method: did you mean \"POST\"?",
        "rules[2]: is never reached: rules[1] matches everything it would, and asks for the same",
    ] {
        let line = bed.envoy.wait_for_log(warning).await;
        assert!(line.contains("[warning]"), "{line}");
    }
    assert_eq!(bed.get("/x").send().await.status, 401);
    bed.finish().await;
}
