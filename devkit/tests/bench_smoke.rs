//! The benchmark runs, every variant answers as it must, and the summary is whole. Never a time.

use devkit::bench::{Options, Sizes, run};

#[test]
fn a_quick_run_measures_every_variant_and_draws_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (summary, svg) = (
        directory.path().join("summary.json"),
        directory.path().join("chart.svg"),
    );
    let options = Options {
        growth: Some(Sizes::QUICK),
        summary: Some(summary.clone()),
        svg: Some(svg.clone()),
        talkative: false,
        ..Options::quick()
    };

    let answer = run(&options).expect("a run");

    let added = answer["added_us_per_request"]
        .as_object()
        .expect("an object");
    let names: Vec<&str> = added.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ext_authz",
            "jwt_authn",
            "jwt_authn_cached",
            "jwt_new",
            "jwt_seen",
            "noop_wasm",
            "refused",
            "session_new",
            "session_seen",
        ]
    );
    assert!(
        added.values().all(serde_json::Value::is_number),
        "{added:?}"
    );
    assert!(answer["base_us"].is_number());
    assert_eq!(answer["rounds"], 1);
    assert_eq!(answer["growth"].as_array().map(Vec::len), Some(6));
    let written = std::fs::read(&summary).expect("a summary");
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&written).expect("JSON"),
        answer
    );
    assert!(
        std::fs::read_to_string(&svg)
            .expect("a chart")
            .starts_with("<svg")
    );
}
