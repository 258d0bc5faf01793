//! `check` says what the filter says in the real Envoy, which reads the same file.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use devkit::envoy::{binary, filter_wasm};
use serde_json::Value;

use crate::check;

/// A bootstrap with this in the plugin. (`{ … }` of several lines stay as indented as they are.)
fn bootstrap(vm: &str, configuration: &str) -> String {
    let module = filter_wasm().expect("AUTHGEAR_FILTER_WASM");
    let configuration = configuration.replace('\n', "\n                          ");
    format!(
        r#"static_resources:
  listeners:
    - name: gateway
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: gateway
                http_filters:
                  - name: authgear
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
                      config:
                        name: authgear
                        vm_config:
                          vm_id: authgear
                          runtime: envoy.wasm.runtime.v8
                          code: {{ local: {{ filename: {} }} }}
                          {vm}
                        configuration:
                          {configuration}
                  - name: envoy.filters.http.router
                    typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
                route_config: {{ name: gateway }}
  clusters: [{{ name: authgear }}]
"#,
        module.display()
    )
}

/// What Envoy's log has of the filter, and what `check` says; and whether each takes it.
struct Both {
    envoy: (bool, BTreeSet<String>),
    check: (bool, BTreeSet<String>),
    /// The codes of `check`.
    codes: BTreeSet<String>,
}

fn ask_both(text: &str) -> Both {
    let file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    fs::write(file.path(), text).expect("it is written");
    let envoy = Command::new(binary().expect("ENVOY"))
        .args(["--mode", "validate", "-c"])
        .arg(file.path())
        .stdin(Stdio::null())
        .output()
        .expect("Envoy runs");
    let log = String::from_utf8_lossy(&envoy.stderr).into_owned();
    let refused = log
        .lines()
        .filter_map(|line| line.split_once("configuration refused: "));
    let run = check(&["--format", "json", file.path().to_str().expect("UTF-8")]);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let errors = report["findings"].as_array().expect("an array").iter();
    let errors: Vec<&Value> = errors.filter(|one| one["severity"] == "error").collect();
    let words = |member: &str| {
        let words = errors.iter().filter_map(|one| one[member].as_str());
        words.map(str::to_owned).collect::<BTreeSet<String>>()
    };
    Both {
        envoy: (
            envoy.status.success(),
            refused.map(|(_, words)| words.to_owned()).collect(),
        ),
        check: (run.code == 0, words("message")),
        codes: words("code"),
    }
}

const STRUCT: &str = "\"@type\": type.googleapis.com/google.protobuf.Struct";
const STRING_VALUE: &str = "\"@type\": type.googleapis.com/google.protobuf.StringValue";
const PROJECT: &str = "{ endpoint: 'https://auth.example.com', cluster: authgear }";

const SCALARS: &[&str] = &[
    "yes",
    "y",
    "Y",
    "n",
    "off",
    "oN",
    "On",
    "TRUE",
    "tRUE",
    "~",
    "null",
    "Null",
    "NULL",
    "nULL",
    "",
    "5",
    "-5",
    "+5",
    "0",
    "00",
    "0177",
    "-0177",
    "0o17",
    "0x1F",
    "0X1f",
    "-0x1f",
    "0x",
    "0b101",
    "1_000",
    "_1",
    "089",
    "08",
    "5.5",
    "5.0",
    "4.096e3",
    "1e3",
    "1e-3",
    ".5",
    "5.",
    "-.5",
    ".inf",
    ".nan",
    "nan",
    "1:30",
    "2020-01-01",
    "!!str 5",
    "!!int \"5\"",
    "!!float 5",
    "\"5\"",
    "'no'",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "=",
    "+",
    "-x",
    "1 2",
    "|\n    5",
    ">-\n    yes",
];

#[test]
fn the_filter_says_the_same_in_envoy() {
    let typed_struct = "\"@type\": type.googleapis.com/xds.type.v3.TypedStruct\ntype_url: a\nvalue: { projects: [] }";
    let bytes =
        "\"@type\": type.googleapis.com/google.protobuf.BytesValue\nvalue: eyJwcm9qZWN0cyI6MX0=";
    let for_vm = format!("configuration: {{ {STRING_VALUE}, value: '{{}}' }}");
    // Each is reported as no rule, and as what it is.
    let scalars: String = SCALARS
        .iter()
        .map(|scalar| format!("  - {scalar}\n"))
        .collect();
    for (vm, configuration) in [
        // What scalars are.
        (
            "",
            format!(
                "{STRUCT}\nvalue: {{ projects: [{{ endpoint: yes, cluster: off, jwks: y, session: ~ }}], limits: {{ token_bytes: 0177, \
                 cached_tokens: 1_000, waiting_requests: 0o17, cached_sessions: .inf }}, report_only: True, x: NULL, \
                 client_identity_headers: Null, rules: 1e9 }}"
            ),
        ),
        (
            "",
            format!(
                "{STRUCT}\nvalue: {{ projects: [{PROJECT}], limits: !!str 5, default: 2020-01-01, rules: 2147483648, upstream: \"yes\", \
                 report_only: oN, client_identity_headers: }}"
            ),
        ),
        (
            "",
            format!(
                "{STRUCT}\nvalue:\n  projects: [{PROJECT}]\n  limits: {{ token_bytes: 99999999999, cached_tokens: 5.5, waiting_requests: \
                 0x0, cached_sessions: -1 }}\n  default: 2147483647\n  rules: |\n    7"
            ),
        ),
        (
            "",
            format!("{STRUCT}\nvalue:\n  projects: [{PROJECT}]\n  rules:\n{scalars}"),
        ),
        // Aliases and what merges elsewhere.
        (
            "",
            format!(
                "{STRUCT}\nvalue: {{ projects: [{{ endpoint: &a 'https://auth.example.com', cluster: *a, <<: {{ cluster: b }} }}, *a] }}"
            ),
        ),
        // Text.
        (
            "",
            format!("{STRING_VALUE}\nvalue: |\n  {{\n    \"projects\": [],\n    \"x\": 5\n  }}"),
        ),
        (
            "",
            format!("{STRING_VALUE}\nvalue: '{{\"projects\": [],}}'"),
        ),
        (
            "",
            format!("{STRING_VALUE}\nvalue: >\n  {{\"projects\":\n  \"a\n\n  b\"}}"),
        ),
        (
            "",
            format!("{STRING_VALUE}\nvalue: \"{{\\\"projects\\\": \\\"\\u00e4\\\\n\\\" }}\""),
        ),
        ("", bytes.to_owned()),
        // None.
        ("", STRING_VALUE.to_owned()),
        ("", STRUCT.to_owned()),
        ("", format!("{STRING_VALUE}\nvalue: ~")),
        (&for_vm, STRING_VALUE.to_owned()),
        ("", typed_struct.to_owned()),
        // A good one.
        ("", format!("{STRUCT}\nvalue: {{ projects: [{PROJECT}] }}")),
    ] {
        let text = bootstrap(vm, &configuration);
        let both = ask_both(&text);
        assert_eq!(both.check, both.envoy, "{configuration}");
        assert_eq!(both.check.0, both.check.1.is_empty(), "{configuration}");
    }
}

/// Before the filter is asked.
#[test]
fn what_envoy_itself_does_not_take_is_an_error() {
    for configuration in [
        format!("{STRING_VALUE}\nvalue: 5"),
        format!("{STRING_VALUE}\nvalue: yes"),
        format!("{STRING_VALUE}\nvalue: {{ a: b }}"),
        format!("{STRUCT}\nprojects: []"),
        format!("{STRUCT}\nvalue: text"),
        "\"@type\": type.googleapis.com/google.protobuf.BytesValue\nvalue: \"e30x=\"".to_owned(),
        "value: {}".to_owned(),
    ] {
        let both = ask_both(&bootstrap("", &configuration));
        assert_eq!(both.envoy, (false, BTreeSet::new()), "{configuration}");
        assert_eq!(
            both.codes,
            BTreeSet::from(["envoy-value".to_owned()]),
            "{configuration}"
        );
    }
}
