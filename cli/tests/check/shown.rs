//! What people read. `SNAPSHOTS=overwrite cargo test -p authgear-filter-cli` writes the files of what is expected.

use snapbox::{Assert, Data};

use crate::{cases, check, checkout};

#[track_caller]
fn assert_shown(code: i32, files: &[&str]) {
    let run = check(files);
    let name = files[0].replace('.', "-");
    let expected = Data::read_from(&cases().join(format!("{name}.txt")), None);
    Assert::new()
        .action_env("SNAPSHOTS")
        .normalize_paths(false)
        .eq(run.stdout, expected);
    assert_eq!(run.code, code);
    assert_eq!(run.stderr, "");
}

#[test]
fn an_error_is_shown_under_its_line_within_a_block() {
    assert_shown(1, &["string-value.yaml"]);
}

#[test]
fn members_are_read_as_envoy_reads_them() {
    assert_shown(1, &["struct.yaml"]);
}

#[test]
fn quotes_and_folds_are_seen_through() {
    assert_shown(1, &["quoted.yaml"]);
}

#[test]
fn what_opens_is_warned_of() {
    assert_shown(0, &["what-opens.yaml"]);
}

#[test]
fn a_configuration_at_the_wrong_place_is_refused_as_at_load() {
    assert_shown(1, &["vm-configuration.yaml"]);
}

#[test]
fn a_wrapped_configuration_is_refused_as_at_load() {
    assert_shown(1, &["typed-struct.yaml"]);
}

#[test]
fn a_plugin_without_a_configuration_lacks_its_projects() {
    assert_shown(1, &["no-configuration.yaml"]);
}

#[test]
fn what_envoy_itself_refuses_is_said() {
    assert_shown(1, &["envoy-value.yaml"]);
}

#[test]
fn json_that_is_none_is_shown_where_it_ends_to_be_some() {
    assert_shown(1, &["wrong-json.json"]);
    assert_shown(1, &["wrong-json.yaml"]);
}

#[test]
fn of_a_long_line_a_part_is_shown() {
    assert_shown(1, &["one-line.json"]);
}

#[test]
fn the_filters_own_warnings_are_shown() {
    assert_shown(0, &["warnings.json"]);
}

#[test]
fn a_file_that_ends_too_early_is_no_yaml() {
    assert_shown(1, &["truncated.yaml"]);
}

#[test]
fn a_key_that_is_given_twice_is_refused() {
    assert_shown(1, &["duplicate-key.yaml"]);
}

#[test]
fn what_an_alias_stands_for_is_shown_where_it_is_written() {
    assert_shown(1, &["aliases.yaml"]);
}

#[test]
fn aliases_that_grow_without_end_are_refused() {
    assert_shown(1, &["bomb.yaml"]);
}

#[test]
fn a_file_without_a_configuration_is_not_passed_over_in_silence() {
    assert_shown(2, &["none.yaml"]);
}

#[test]
fn resources_of_istio_are_checked() {
    assert_shown(1, &["istio.yaml"]);
}

#[test]
fn a_policy_of_envoy_gateway_is_checked() {
    assert_shown(1, &["envoy-gateway.yaml"]);
    assert_shown(0, &["envoy-gateway-good.yaml"]);
}

#[test]
fn the_documentation_shows_it_as_it_looks() {
    assert_shown(1, &["guide.yaml"]);
    let shown = std::fs::read_to_string(cases().join("guide-yaml.txt")).expect("compared above");
    let document = std::fs::read_to_string(checkout().join("docs/check.md")).expect("the document");
    let shown = shown.replace("guide.yaml", "policy.yaml");
    assert!(
        document.contains(&format!("```text\n{shown}```\n")),
        "{shown}"
    );
}
