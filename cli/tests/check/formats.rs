//! What programs read, and what a terminal shows.

use std::fs;

use serde_json::{Value, json};

use crate::{Run, cases, check, check_text, checkout, command};

fn json_of(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{}", run.stdout))
}

#[test]
fn the_exit_status_tells_errors_from_warnings() {
    for (arguments, code) in [
        (&["envoy-gateway-good.yaml"][..], 0),
        (&["--strict", "envoy-gateway-good.yaml"], 0),
        (&["warnings.json"], 0),
        (&["--strict", "warnings.json"], 1),
        (&["wrong-json.json"], 1),
        (&["wrong-json.json", "warnings.json"], 1),
        (&["none.yaml"], 2),
        (&["none.yaml", "warnings.json"], 0),
        (&["not-there.yaml", "wrong-json.json"], 2),
        (&["--format", "xml", "warnings.json"], 2),
    ] {
        for format in ["human", "json", "sarif"] {
            let with_format = [&["--format", format][..], arguments].concat();
            let given = arguments.contains(&"--format");
            let run = check(if given { arguments } else { &with_format });
            assert_eq!(
                run.code, code,
                "{arguments:?}, {format}: {}{}",
                run.stdout, run.stderr
            );
        }
    }
}

#[test]
fn standard_input_is_read_where_no_file_is_named() {
    let text = fs::read_to_string(cases().join("wrong-json.json")).expect("a case");
    for arguments in [&[][..], &["-"]] {
        let run = check_text(arguments, &text);
        assert_eq!(run.code, 1);
        assert!(run.stdout.contains("--> <stdin>:3:3"), "{}", run.stdout);
    }
}

#[test]
fn json_has_every_finding_with_its_place() {
    let run = check(&[
        "--format",
        "json",
        "istio.yaml",
        "none.yaml",
        "not-there.yaml",
    ]);
    let report = json_of(&run);
    assert_eq!(report["version"], 1);
    assert_eq!(
        (&report["errors"], &report["warnings"]),
        (&json!(2), &json!(4))
    );
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 6);
    let refresh = findings
        .iter()
        .find(|one| one["path"] == "projects[0].jwks.refresh");
    assert_eq!(
        *refresh.unwrap(),
        json!({
            "severity": "error",
            "code": "config",
            "message": "projects[0].jwks.refresh: expected a duration with a unit, such as \"30s\", from 1s to 1d, found the number 5",
            "path": "projects[0].jwks.refresh",
            "place": { "file": "istio.yaml", "line": 18, "column": 26, "end_line": 18, "end_column": 27 },
            "help": null,
        })
    );
    assert_eq!(report["checked"].as_array().unwrap().len(), 3);
    assert_eq!(report["checked"][0]["kind"], "WasmPlugin");
    assert_eq!(report["not_checked"][0]["name"], "coraza");
    assert_eq!(report["unreadable"][0]["file"], "not-there.yaml");
}

/// Columns are counted in characters, as editors count them.
#[test]
fn a_column_is_a_characters() {
    let report = json_of(&check_text(
        &["--format", "json"],
        r#"{"projects": [{"endpoint": "https://auth.example.com", "cluster": "authgear"}], "ä€𝄞": 1, "x": 2}"#,
    ));
    let place = &report["findings"][1]["place"];
    assert_eq!(
        (&place["column"], &place["end_column"]),
        (&json!(91), &json!(94))
    );
}

#[test]
fn sarif_is_what_its_schema_says() {
    let schema = fs::read_to_string(cases().join("../sarif-2.1.0-part.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for files in [
        &["istio.yaml"][..],
        &["none.yaml"],
        &["not-there.yaml", "string-value.yaml"],
    ] {
        let log = json_of(&check(&[&["--format", "sarif"], files].concat()));
        let errors: Vec<String> = validator
            .iter_errors(&log)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:#?}\n{log:#}");
    }
}

#[test]
fn sarif_names_the_rule_and_the_place_of_each_result() {
    let log = json_of(&check(&["--format", "sarif", "envoy-gateway.yaml"]));
    let run = &log["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(
            run["tool"]["driver"]["rules"][index]["id"],
            result["ruleId"]
        );
    }
    let users = results
        .iter()
        .find(|result| result["ruleId"] == "config")
        .unwrap();
    assert_eq!(users["level"], "error");
    assert_eq!(
        users["locations"][0]["physicalLocation"],
        json!({
            "artifactLocation": { "uri": "envoy-gateway.yaml" },
            "region": { "startLine": 19, "startColumn": 29, "endLine": 19, "endColumn": 34 },
        })
    );
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    let log = json_of(&check(&["--format", "sarif", "not-there.yaml"]));
    assert_eq!(
        log["runs"][0]["invocations"][0]["executionSuccessful"],
        false
    );
}

/// Every code has a heading, and no heading is without a code.
#[test]
fn every_code_is_documented() {
    let log = json_of(&check(&["--format", "sarif", "warnings.json"]));
    let rules = log["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter();
    let codes: Vec<&str> = rules.map(|rule| rule["id"].as_str().unwrap()).collect();
    let document = fs::read_to_string(checkout().join("docs/check.md")).expect("the document");
    let headings = document
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    assert_eq!(headings.collect::<Vec<_>>(), codes);
}

#[test]
fn there_is_colour_in_a_terminal_only() {
    let escapes = |run: &Run| run.stdout.contains('\u{1b}');
    assert!(!escapes(&check(&["warnings.json"])));
    let in_terminal = |variables: &[(&str, &str)]| {
        let mut command = command(&["warnings.json"]);
        command.envs(variables.iter().copied()).env("TERM", "xterm");
        Run::of(command.output().expect("it runs"))
    };
    // As a terminal would have it.
    assert!(escapes(&in_terminal(&[("CLICOLOR_FORCE", "1")])));
    let both = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    assert!(!escapes(&in_terminal(&both)));
}

#[test]
fn help_has_examples_and_the_exit_status() {
    let run = check(&["--help"]);
    assert_eq!(run.code, 0);
    for part in ["Examples:", "--strict", "Exit status:", "--format"] {
        assert!(run.stdout.contains(part), "{part}\n{}", run.stdout);
    }
}
