//! What the operator can count on: the filter's statistics in Envoy, and the page that explains them.

use std::collections::BTreeSet;

use devkit::testbed::TestBed;
use devkit::wait::{DEADLINE, until};
use gate::engine::Counter;
use serde_json::json;

fn name(metric: &str) -> String {
    format!("wasmcustom.{metric}")
}

#[tokio::test]
async fn what_becomes_of_requests_is_counted() {
    let bed = TestBed::builder()
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
    let two = bed.get("/").header("authorization", "Basic YTpi");
    two.bearer(&token).send().await;

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
    let page = include_str!("../../../docs/operations.md");
    for counter in Counter::ALL {
        assert!(
            page.contains(&format!("`{}`", counter.metric())),
            "{}",
            counter.metric()
        );
    }
}

/// The names of the filter's metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("authgear_").map(|(at, _)| &text[at..]);
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    starts
        .map(|rest| {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            rest[..end].to_owned()
        })
        // The one is the filter, the other the tag that an operator may have Envoy make of the version.
        .filter(|name| !matches!(name.as_str(), "authgear_filter" | "authgear_version"))
        .collect()
}

#[tokio::test]
async fn the_dashboard_shows_every_statistic_by_the_name_that_prometheus_sees() {
    let dashboard = include_str!("../../../examples/grafana-dashboard.json");
    let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 10);
    let shown = metrics(dashboard);

    let bed = TestBed::start().await;
    assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    let histogram = "authgear_resolver_duration_milliseconds_bucket";
    let is_shown = async || {
        let page = bed.envoy.admin("/stats/prometheus").await.ok()?.text();
        page.contains(&format!("\n{histogram}")).then_some(page)
    };
    let page = until(DEADLINE, "the histogram", is_shown).await.unwrap();
    let reported = page.lines().filter(|line| !line.starts_with('#'));
    let reported: BTreeSet<String> = reported
        .filter_map(|line| line.split(['{', ' ']).next())
        .filter(|name| name.starts_with("authgear_"))
        .filter(|name| !name.ends_with("_sum") && !name.ends_with("_count"))
        // The version follows.
        .map(|name| match name.starts_with("authgear_build_info") {
            true => "authgear_build_info".to_owned(),
            false => name.to_owned(),
        })
        .collect();
    assert_eq!(shown, reported);
    bed.finish().await;
}

/// The tag that docs/operations.md gives.
#[tokio::test]
async fn the_version_is_a_statistic_and_can_be_made_a_tag() {
    let version = env!("CARGO_PKG_VERSION");
    let workers = 2 + 1;
    let bed = TestBed::builder().workers(2).start().await;
    let plain = format!("authgear_build_info.version.{version}");
    bed.wait_for_count(&plain, |count| count == workers).await;
    bed.finish().await;

    let page = include_str!("../../../docs/operations.md");
    let (_, after) = page.split_once("\nstats_config:\n").expect("the tag");
    let (block, _) = after.split_once("```").expect("the end of its block");
    let tagged: serde_json::Value =
        serde_yaml_ng::from_str(&format!("stats_config:\n{block}")).unwrap();
    let bed = TestBed::builder().envoy(|envoy| {
        envoy.bootstrap(move |bootstrap| bootstrap["stats_config"] = tagged["stats_config"].clone())
    });
    let bed = bed.workers(2).start().await;
    let line = format!("authgear_build_info{{authgear_version=\"{version}\"}} {workers}");
    let is_there = async || {
        let page = bed.envoy.admin("/stats/prometheus").await.ok()?.text();
        page.lines().any(|other| other == line).then_some(())
    };
    until(DEADLINE, &line, is_there).await.unwrap();
    bed.finish().await;
}
