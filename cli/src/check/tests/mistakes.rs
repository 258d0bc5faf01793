//! Every mistake that the tests of the filter's configuration know gives the same words here as at load, whatever carries it.
//!
//! These are the tests of the engine themselves, file by file. There `refused` and `accepted` ask the engine; here they ask
//! `check` as well.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use gate::config::*;
use serde_json::{Value, json};
use testkit::SigningKey;

use crate::check::Report;
use crate::check::finding::Finding;
use crate::check::read::file::Source;

#[path = "../../../../gate/src/config/tests/allow.rs"]
mod allow;
#[path = "../../../../gate/src/config/tests/bounds.rs"]
mod bounds;
#[path = "../../../../gate/src/config/tests/document.rs"]
mod document;
#[path = "../../../../gate/src/config/tests/later.rs"]
mod later;
#[path = "../../../../gate/src/config/tests/projects.rs"]
mod projects;
#[path = "../../../../gate/src/config/tests/refused.rs"]
mod refused;
#[path = "../../../../gate/src/config/tests/unmet.rs"]
mod unmet;
#[path = "../../../../gate/src/config/tests/values.rs"]
mod values;

/// The modules above.
const TAKEN: [&str; 8] = [
    "allow", "bounds", "document", "later", "projects", "refused", "unmet", "values",
];

#[test]
fn no_mistake_that_the_engine_knows_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gate/src/config/tests");
    let mut with_mistakes = Vec::new();
    for entry in fs::read_dir(folder).expect("the engine's tests") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(OsStr::to_str)
            .expect("UTF-8")
            .to_owned();
        let text = fs::read_to_string(&path).expect("text");
        if name != "mod" && text.contains("refused(") {
            with_mistakes.push(name);
        }
    }
    with_mistakes.sort();
    assert_eq!(with_mistakes, TAKEN);
}

const ENDPOINT: &str = "https://auth.example.com";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::es256().with_kid("a"));

fn jwks() -> Value {
    json!({ "keys": [KEY.jwk()] })
}

fn smallest() -> Value {
    json!({ "projects": [{ "endpoint": ENDPOINT, "cluster": "authgear" }] })
}

fn with(places: &[(&str, Value)]) -> Value {
    let mut json = smallest();
    for (place, value) in places {
        let (parent, name) = place.rsplit_once('/').expect("a JSON pointer");
        json.pointer_mut(parent).expect("an object")[name] = value.clone();
    }
    json
}

fn parse(json: &Value) -> Result<Config, ConfigErrors> {
    Config::parse(json.to_string().as_bytes())
}

fn accepted(json: &Value) -> Config {
    let config = parse(json).unwrap_or_else(|errors| panic!("{json}\n{errors}"));
    let warnings: Vec<String> = config
        .warnings
        .iter()
        .map(ConfigWarning::to_string)
        .collect();
    assert_same_words(&json.to_string(), &warnings);
    config
}

fn refused(text: impl AsRef<[u8]>) -> Vec<String> {
    let text = text.as_ref();
    let errors = match Config::parse(text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(errors) => errors,
    };
    let words: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
    // Text that is none is not read at all.
    if let Ok(text) = std::str::from_utf8(text) {
        assert_same_words(text, &words);
    }
    words
}

fn warned_of(config: &Config) -> Vec<&str> {
    let warnings = config.warnings.iter();
    warnings.map(|warning| warning.path.as_str()).collect()
}

fn assert_same_words(text: &str, words: &[String]) {
    let in_file = check("config.json", text);
    assert_eq!(sorted(messages(&in_file)), sorted(words.to_vec()), "{text}");
    for (carrier, yaml) in carriers(text) {
        let found = check("a.yaml", &yaml);
        let context = || {
            format!(
                "{carrier:?}\n{}",
                yaml.chars().take(4_000).collect::<String>()
            )
        };
        assert_eq!(
            sorted(messages(&found)),
            sorted(words.to_vec()),
            "{}",
            context()
        );
        if carrier != Carrier::Members {
            // The same characters are pointed at, though they stand elsewhere.
            let unescape = |text: &String| carrier.unescape(text);
            let pointed_at = places(&found);
            let pointed_at: BTreeMap<_, _> = pointed_at
                .iter()
                .map(|(message, text)| (message.clone(), unescape(text)))
                .collect();
            assert_eq!(pointed_at, places(&in_file), "{}", context());
        }
    }
}

/// What can carry the text of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Carrier {
    Literal,
    Folded,
    SingleQuoted,
    DoubleQuoted,
    Members,
}

impl Carrier {
    /// The text of what is written.
    fn unescape(self, written: &str) -> String {
        match self {
            Self::SingleQuoted => written.replace("''", "'"),
            Self::DoubleQuoted => written.replace("\\\"", "\"").replace("\\\\", "\\"),
            _ => written.to_owned(),
        }
    }
}

/// The text in each carrier that can deliver it as it is.
fn carriers(text: &str) -> Vec<(Carrier, String)> {
    let is_printable = |one: char| matches!(one, ' '..='~' | '\u{a0}'..='\u{d7ff}');
    if text.is_empty() || text.starts_with(' ') || !text.chars().all(is_printable) {
        return Vec::new();
    }
    let mut all = vec![
        (Carrier::Literal, in_envoy(&format!("|-\n        {text}"))),
        (Carrier::Folded, in_envoy(&format!(">-\n        {text}"))),
        (
            Carrier::SingleQuoted,
            in_envoy(&format!("'{}'", text.replace('\'', "''"))),
        ),
        (
            Carrier::DoubleQuoted,
            in_envoy(&Value::from(text).to_string()),
        ),
    ];
    // Of what is only long, one will do.
    if text.len() > 100_000 {
        all.truncate(1);
        return all;
    }
    // As members there is no wrong JSON, and a number is its value.
    let is_object = text.starts_with('{') && serde_json::from_str::<Value>(text).is_ok();
    if is_object && !text.contains("type\"") {
        all.push((Carrier::Members, in_istio(text)));
    }
    all
}

fn in_envoy(value: &str) -> String {
    format!(
        "config:\n  name: authgear\n  vm_config: {{ vm_id: authgear }}\n  configuration:\n    \"@type\": \
         type.googleapis.com/google.protobuf.StringValue\n    value: {value}\n"
    )
}

fn in_istio(json: &str) -> String {
    format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{ name: authgear }}\nspec:\n  phase: AUTHN\n  \
         pluginConfig:\n    {json}\n"
    )
}

fn check(name: &str, text: &str) -> Report {
    let source = Source::new(name.to_owned(), text.to_owned());
    Report::of_sources(vec![source], Vec::new())
}

fn messages(report: &Report) -> Vec<String> {
    let all = report.findings.all.iter();
    all.map(|finding| finding.message.clone()).collect()
}

/// What is pointed at, for each message.
fn places(report: &Report) -> BTreeMap<String, String> {
    let pointed_at = |finding: &Finding| {
        let source = &report.sources[finding.place.source];
        source.text[source.first_line(&finding.place.span)].to_owned()
    };
    let all = report.findings.all.iter();
    all.map(|finding| (finding.message.clone(), pointed_at(finding)))
        .collect()
}

/// They come in the order of their places.
fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}
