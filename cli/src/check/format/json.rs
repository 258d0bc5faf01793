//! One JSON object, for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::check::Report;
use crate::check::finding::{Finding, Place};

pub(in crate::check) fn write(report: &Report) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{:#}", object(report))?;
    output.flush()
}

/// `version` changes where a member changes its meaning or goes; new ones may come at any time.
fn object(report: &Report) -> Value {
    let findings = &report.findings;
    let plugins = report.inventory.plugins.iter();
    let others = report.inventory.others.iter();
    json!({
        "version": 1,
        "errors": findings.errors(),
        "warnings": findings.warnings(),
        "cut": findings.is_cut,
        "findings": findings.all.iter().map(|one| finding(one, report)).collect::<Value>(),
        "checked": plugins.map(|plugin| json!({
            "kind": plugin.carrier,
            "name": plugin.name,
            "place": place(&plugin.place, report),
        })).collect::<Value>(),
        "not_checked": others.map(|other| json!({
            "name": other.name,
            "place": place(&other.place, report),
        })).collect::<Value>(),
        "unreadable": report.unreadable.iter().map(|one| json!({
            "file": one.name,
            "reason": one.reason,
        })).collect::<Value>(),
    })
}

fn finding(finding: &Finding, report: &Report) -> Value {
    json!({
        "severity": if finding.code.is_error { "error" } else { "warning" },
        "code": finding.code.name,
        "message": finding.message,
        "path": finding.path,
        "place": place(&finding.place, report),
        "help": finding.help,
    })
}

/// Lines and columns from 1, in characters; the end is behind the last.
fn place(place: &Place, report: &Report) -> Value {
    let source = &report.sources[place.source];
    let span = source.first_line(&place.span);
    let (start, end) = (source.position(span.start), source.position(span.end));
    json!({
        "file": source.name,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
    })
}
