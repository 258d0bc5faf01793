//! The documentation is compared with what it documents: configurations, defaults, ranges, links, targets.
//!
//! CONTRIBUTING.md says how a block of code states what is to be done with it.
#![allow(missing_docs, reason = "the tests' names say it")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "docs/citations.rs"]
mod citations;
#[path = "docs/envoy.rs"]
mod envoy;
#[path = "docs/markdown.rs"]
mod markdown;
#[path = "docs/reference.rs"]
mod reference;
#[path = "docs/versions.rs"]
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use devkit::envoy::checkout;
use gate::config::{Config, schema};
use jsonschema::Validator;
use markdown::{Block, Document};
use serde_json::{Value, json};

/// Every Markdown file that people read.
fn documents() -> &'static [Document] {
    static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(read_documents);
    &DOCUMENTS
}

fn read_documents() -> Vec<Document> {
    let root = checkout();
    let mut paths = Vec::new();
    for folder in ["", "docs", "docs/guides", "examples"].map(|folder| root.join(folder)) {
        paths.extend(files(&folder, "md"));
    }
    assert!(paths.len() >= 8, "{paths:?}");
    paths.iter().map(|path| Document::read(path)).collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

fn blocks(documents: &[Document]) -> impl Iterator<Item = (&Document, &Block)> {
    documents
        .iter()
        .flat_map(|document| document.blocks.iter().map(move |block| (document, block)))
}

/// The smallest useful configuration.
fn smallest() -> Value {
    json!({ "projects": [{ "endpoint": "https://auth.example.com", "cluster": "authgear" }] })
}

/// Puts a value at a JSON pointer; an array is made longer by one.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').expect("a JSON pointer");
    if document.pointer(parent).is_none() {
        let empty = if last.parse::<usize>().is_ok() {
            json!([])
        } else {
            json!({})
        };
        put(document, parent, empty);
    }
    match document.pointer_mut(parent).expect("made above") {
        Value::Object(members) => drop(members.insert(last.to_owned(), value)),
        Value::Array(items) => match last.parse::<usize>() {
            Ok(nth) if nth < items.len() => items[nth] = value,
            _ => items.push(value),
        },
        other => panic!("{pointer}: {other} has no members"),
    }
}

fn parse(configuration: &Value) -> Result<Config, String> {
    Config::parse(configuration.to_string().as_bytes()).map_err(|errors| errors.to_string())
}

/// The JSON Schema of the configuration, as somebody else reads it.
fn schema_validator() -> &'static Validator {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        jsonschema::draft202012::new(&schema::json_schema()).expect("a valid schema")
    });
    &VALIDATOR
}

/// Accepted by the filter, and by the schema.
fn assert_accepted(text: &[u8], at: &str) {
    if let Err(errors) = Config::parse(text) {
        panic!("{at}: {errors}");
    }
    let value: Value = serde_json::from_slice(text).unwrap();
    if let Err(error) = schema_validator().validate(&value) {
        panic!("{at}: {}: {error}", error.instance_path());
    }
}

#[test]
fn every_configuration_in_the_documentation_is_accepted() {
    let documents = documents();
    let mut seen = 0;
    for (document, block) in blocks(documents) {
        let Some(rest) = block.info.strip_prefix("json filter-config") else {
            continue;
        };
        let at = document.at(block.line);
        let text = match rest.trim().strip_prefix("at=") {
            _ if rest.starts_with('-') => continue,
            None => block.text.clone(),
            Some(pointer) => {
                let value = serde_json::from_str(&block.text)
                    .unwrap_or_else(|error| panic!("{at}: {error}"));
                let mut whole = smallest();
                put(&mut whole, pointer, value);
                whole.to_string()
            }
        };
        assert_accepted(text.as_bytes(), &at);
        seen += 1;
    }
    let examples = files(&checkout().join("examples"), "json").into_iter();
    for path in examples.filter(|path| !path.ends_with("grafana-dashboard.json")) {
        assert_accepted(&fs::read(&path).unwrap(), &path.display().to_string());
        seen += 1;
    }
    assert!(seen >= 6, "{seen} configurations found");
}

#[test]
fn every_configuration_that_is_said_to_be_refused_is_refused_with_these_words() {
    let documents = documents();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for document in documents {
        for pair in document.blocks.windows(2) {
            let [block, reported] = pair else { continue };
            if block.info != "json filter-config-refused" {
                continue;
            }
            let at = document.at(block.line);
            assert_eq!(
                reported.info, "text",
                "{at}: the errors follow in a text block"
            );
            let errors = Config::parse(block.text.as_bytes())
                .expect_err(&at)
                .to_string();
            if errors != reported.text.trim_end() {
                wrong.push(format!("{at}: the errors are\n{errors}\n"));
            }
            // Which names of cookies there are under a prefix, and which rule covers another, no schema can say.
            if let Ok(value) = serde_json::from_str::<Value>(&block.text)
                && schema_validator().is_valid(&value)
                && !errors.contains("under this \"cookie_prefix\"")
                && !errors.contains("is never reached")
            {
                wrong.push(format!("{at}: the schema accepts it\n"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 3, "{seen} refused configurations found");
}

#[test]
fn every_block_of_data_says_what_it_is() {
    let documents = documents();
    for (document, block) in blocks(documents) {
        let at = document.at(block.line);
        let words: Vec<&str> = block.info.split(' ').collect();
        match words.as_slice() {
            ["sh" | "text" | "mermaid"]
            | ["json", "filter-config" | "filter-config-refused"]
            | [
                "yaml",
                "envoy"
                | "envoy-cluster"
                | "envoy-filter"
                | "envoy-connection-manager"
                | "envoy-part"
                | "envoy-listener",
            ] => {}
            ["json", "filter-config", at] if at.starts_with("at=/") => {}
            ["json", "example"] => {
                let parsed: Result<Value, _> = serde_json::from_str(&block.text);
                assert!(parsed.is_ok(), "{at}: {parsed:?}");
            }
            ["yaml", "example"] => {
                let parsed: Result<serde_yaml_ng::Value, _> = serde_yaml_ng::from_str(&block.text);
                assert!(parsed.is_ok(), "{at}: {parsed:?}");
            }
            _ => panic!("{at}: what is a block of {:?}?", block.info),
        }
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    let documents = documents();
    let mut broken = Vec::new();
    for document in documents {
        for (line, target) in &document.links {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = document.path.parent().unwrap();
            let path = if file.is_empty() {
                document.path.clone()
            } else {
                folder.join(file)
            };
            let Ok(path) = path.canonicalize() else {
                broken.push(format!("{}: {target}: no such file", document.at(*line)));
                continue;
            };
            let is_markdown = path.extension().is_some_and(|extension| extension == "md");
            let has_heading =
                |document: &Document| document.anchors.iter().any(|known| known == anchor);
            let known = || match documents.iter().find(|document| document.path == path) {
                Some(document) => has_heading(document),
                None => has_heading(&Document::read(&path)),
            };
            if is_markdown && !anchor.is_empty() && !known() {
                broken.push(format!("{}: {target}: no such heading", document.at(*line)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = fs::read_to_string(checkout().join("Makefile")).unwrap();
    let exists = |target: &str| {
        makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")))
    };
    let mut seen = 0;
    for document in documents() {
        for (line, code) in &document.code {
            let words = code.split(['#', '|', ';', '&']).next().unwrap_or_default();
            let mut words = words.split_whitespace().skip_while(|word| *word != "make");
            if words.next().is_none() {
                continue;
            }
            for target in words {
                assert!(
                    exists(target),
                    "{}: make {target}: no such target",
                    document.at(*line)
                );
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "{seen} targets found");
}

#[test]
fn every_script_and_variable_that_is_named_exists() {
    let root = checkout();
    for document in documents() {
        for (line, code) in &document.code {
            for word in code.split(|character: char| {
                !character.is_ascii_graphic() || "()'\"$".contains(character)
            }) {
                if word.starts_with("scripts/") || word.starts_with("examples/") {
                    assert!(
                        root.join(word).exists(),
                        "{}: {word}: no such file",
                        document.at(*line)
                    );
                }
            }
        }
    }
}

/// Whole, or by its beginning, as `grep` takes it.
#[test]
fn every_statistic_that_a_guide_names_is_explained() {
    let operations = fs::read_to_string(checkout().join("docs/operations.md")).unwrap();
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut seen = 0;
    for path in files(&checkout().join("docs/guides"), "md") {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("authgear_") {
            let name: String = text[at..].chars().take_while(|c| is_name(*c)).collect();
            if name != "authgear_filter" {
                assert!(operations.contains(&format!("`{name}")), "{path:?}: {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 5);
}

#[test]
fn every_reason_that_the_filter_gives_is_explained() {
    let operations = Document::read(&checkout().join("docs/operations.md"));
    let reasons = gate::engine::reasons();
    assert!(reasons.len() > 30, "{reasons:?}");
    for reason in reasons {
        let of_reason = |code: &str| code.trim_end_matches(": …") == reason;
        let explained = operations.code.iter().any(|(_, code)| of_reason(code));
        assert!(explained, "{reason} is not in docs/operations.md");
    }
}

#[test]
fn every_answer_of_the_filter_has_a_row() {
    let behaviour = fs::read_to_string(checkout().join("docs/behaviour.md")).unwrap();
    let answers = gate::engine::answers();
    assert_eq!(answers.len(), 8);
    for (status, code) in answers {
        let row = format!("\n| {status} | `{code}` | ");
        assert!(
            behaviour.contains(&row),
            "{row} is not in docs/behaviour.md"
        );
    }
}
