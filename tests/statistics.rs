//! What the operator can count on: the filter's statistics in Envoy, and the page that explains them.
#![allow(missing_docs, reason = "the tests' names say it")]

use authgear_filter::gate::Event;
use devkit::testbed::Bed;
use serde_json::json;

fn name(metric: &str) -> String {
    format!("wasmcustom.{metric}")
}

#[tokio::test]
async fn what_becomes_of_requests_is_counted() {
    let bed = Bed::builder()
        .rules(json!([
            { "match": { "path": "/none" }, "require": "none" },
            { "match": { "path": "/optional" }, "require": "optional" },
        ]))
        .start()
        .await;
    let (token, cookie) = (bed.token(), bed.cookie());
    for (target, cookie, bearer) in [
        ("/none", "", ""),
        ("/optional", "", ""),
        ("/", "", &*token),
        ("/", "", &*token),
        ("/", &*cookie, ""),
        ("/", &*cookie, ""),
        ("/", "", ""),
        ("/", "", "garbage"),
        ("/", "session=a; session=b", ""),
        ("/none%zz", "", ""),
    ] {
        let mut request = bed.get(target);
        if !bearer.is_empty() {
            request = request.bearer(bearer);
        }
        if !cookie.is_empty() {
            request = request.cookie(cookie);
        }
        request.send().await;
    }

    for (metric, expected) in [
        ("authgear_requests_forwarded_unchecked_total", 1),
        ("authgear_requests_forwarded_anonymous_total", 1),
        ("authgear_requests_forwarded_user_total", 4),
        ("authgear_requests_refused_no_credential_total", 1),
        ("authgear_requests_refused_invalid_token_total", 1),
        ("authgear_requests_refused_conflicting_credentials_total", 1),
        ("authgear_requests_refused_ambiguous_path_total", 1),
        ("authgear_token_cache_hits_total", 1),
        ("authgear_session_cache_misses_total", 1),
        ("authgear_session_cache_hits_total", 1),
        ("authgear_resolver_calls_total", 1),
        ("authgear_cached_tokens", 1),
        ("authgear_cached_sessions", 1),
        ("authgear_waiting_requests", 0),
    ] {
        bed.envoy
            .wait_for_stat(&name(metric), |count| count == expected)
            .await;
    }
    bed.envoy
        .wait_for_stat(&name("authgear_jwks_fetches_total"), |count| count >= 1)
        .await;
    bed.finish().await;
}

#[test]
fn every_statistic_is_explained() {
    let page = include_str!("../docs/operations.md");
    for event in Event::ALL {
        assert!(
            page.contains(&format!("`{}`", event.metric())),
            "{}",
            event.metric()
        );
    }
}
