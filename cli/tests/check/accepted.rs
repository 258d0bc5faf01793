//! What the project itself shows to its users is taken, without a warning.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::{check, check_text, checkout};

#[path = "../../../tests/docs/markdown.rs"]
#[allow(dead_code, reason = "the documentation's own tests need more of it")]
mod markdown;

use markdown::{Block, Document};

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = checkout().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

fn assert_taken(what: &str, text: &str) {
    let run = check_text(&["--strict"], text);
    assert_eq!(run.code, 0, "{what}\n{}{}", run.stdout, run.stderr);
}

#[test]
fn every_example_is_taken_without_a_warning() {
    let mut paths = vec![checkout().join("envoy.yaml")];
    paths.extend(files("examples", "yaml"));
    paths.extend(files("examples", "json"));
    // Grafana's.
    paths.retain(|path| !path.ends_with("grafana-dashboard.json"));
    assert!(paths.len() >= 6, "{paths:?}");
    for path in paths {
        let text = fs::read_to_string(&path).expect("it was listed");
        assert_taken(&path.display().to_string(), &text);
    }
}

/// CONTRIBUTING.md says what the info strings mean.
#[test]
fn every_configuration_of_the_documents_is_taken() {
    let mut taken = 0;
    for folder in ["", "docs", "docs/guides", "examples"] {
        for path in files(folder, "md") {
            let document = Document::read(&path);
            for block in document.blocks.iter().filter(|block| is_whole(block)) {
                assert_taken(&document.at(block.line), &block.text);
                taken += 1;
            }
        }
    }
    assert!(taken >= 15, "{taken}");
}

/// And what they show as wrong is refused in the words that they show.
#[test]
fn every_mistake_of_the_documents_is_refused_in_these_words() {
    let mut refused = 0;
    for folder in ["", "docs", "docs/guides", "examples"] {
        for path in files(folder, "md") {
            let document = Document::read(&path);
            for pair in document.blocks.windows(2) {
                let [wrong, words] = pair else { continue };
                if wrong.info != "json filter-config-refused" {
                    continue;
                }
                // By its name it is JSON, whatever is in it.
                let file = tempfile::Builder::new()
                    .suffix(".json")
                    .tempfile()
                    .expect("a file");
                fs::write(file.path(), &wrong.text).expect("it is written");
                let path = file.path().to_str().expect("UTF-8");
                let run = check(&["--format", "json", path]);
                assert_eq!(run.code, 1, "{}", document.at(wrong.line));
                let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
                let findings = report["findings"].as_array().expect("an array").iter();
                let found: BTreeSet<&str> = findings
                    .filter_map(|finding| finding["message"].as_str())
                    .collect();
                let expected: BTreeSet<&str> = words.text.lines().map(without_prefix).collect();
                assert_eq!(found, expected, "{}", document.at(wrong.line));
                refused += 1;
            }
        }
    }
    assert!(refused >= 10, "{refused}");
}

fn without_prefix(line: &str) -> &str {
    line.strip_prefix("configuration refused: ").unwrap_or(line)
}

fn is_whole(block: &Block) -> bool {
    let names_filter = || block.text.contains("vm_config") || block.text.contains("projects");
    match block.info.as_str() {
        "json filter-config" => true,
        "yaml envoy-filter" | "yaml envoy" | "yaml envoy-listener" => names_filter(),
        _ => false,
    }
}
