//! SARIF 2.1.0, which code scanning at GitHub and editors read.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::human::summary;
use crate::check::Report;
use crate::check::code::{ALL, Code};
use crate::check::finding::{Finding, Place};

const DOCUMENTATION: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/check.md");

pub(in crate::check) fn write(report: &Report) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{:#}", log(report))?;
    output.flush()
}

fn log(report: &Report) -> Value {
    let failed = report.unreadable.iter().map(|one| one.to_string());
    let none = report.inventory.plugins.is_empty().then(|| summary(report));
    let notifications: Vec<Value> = failed
        .chain(none)
        .map(|text| json!({ "level": "error", "message": { "text": text } }))
        .collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "authgear-filter check",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "informationUri": DOCUMENTATION,
                    "rules": ALL.iter().map(|code| rule(code)).collect::<Value>(),
                },
            },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": report.findings.all.iter().map(|one| result(one, report)).collect::<Value>(),
        }],
    })
}

fn rule(code: &Code) -> Value {
    json!({
        "id": code.name,
        "shortDescription": { "text": code.summary },
        "helpUri": format!("{DOCUMENTATION}#{}", code.name),
        "defaultConfiguration": { "level": level(code) },
    })
}

fn result(finding: &Finding, report: &Report) -> Value {
    let text = match finding.help {
        Some(help) => format!("{}\nHelp: {help}", finding.message),
        None => finding.message.clone(),
    };
    json!({
        "ruleId": finding.code.name,
        "ruleIndex": ALL.iter().position(|code| *code == finding.code),
        "level": level(finding.code),
        "message": { "text": text },
        "locations": [{ "physicalLocation": location(&finding.place, report) }],
    })
}

fn level(code: &Code) -> &'static str {
    if code.is_error { "error" } else { "warning" }
}

fn location(place: &Place, report: &Report) -> Value {
    let source = &report.sources[place.source];
    let span = source.first_line(&place.span);
    let (start, end) = (source.position(span.start), source.position(span.end));
    json!({
        "artifactLocation": { "uri": uri(&source.name) },
        "region": {
            "startLine": start.line,
            "startColumn": start.column,
            "endLine": end.line,
            "endColumn": end.column,
        },
    })
}

/// A path as a relative reference of a URI (RFC 3986 §4.2).
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.trim_start_matches("./").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                uri.push(char::from(byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}
