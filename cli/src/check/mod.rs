//! `authgear-filter check`: the filter's own word on a configuration, before it is live.

mod carrier;
mod code;
mod finding;
mod format;
mod judge;
mod read;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::{Args, ValueEnum};

use carrier::{Body, Inventory, Plugin};
use finding::{Findings, Place};
use read::file::{Source, Unreadable};
use read::node::Node;
use read::scalar::{Delivery, Reader};
use read::{json, yaml};

/// Checks configurations of the filter: its own errors, each with its place, and what opens the gate
///
/// Reads the filter's JSON, or YAML that has it somewhere: a configuration of Envoy's, Istio's WasmPlugin and TrafficExtension,
/// Envoy Gateway's EnvoyExtensionPolicy. The filter's own engine reads it, so its words are those of the log at load. Nothing is
/// sent anywhere, and no secret is needed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArguments {
    /// Files; `-`, or none where standard input is no terminal, is standard input. What belongs together is checked together
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Fail on warnings, too
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people: the line of each error, with a caret below
    #[default]
    Human,
    /// One JSON object
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

const EXAMPLES: &str = "\
Examples:
  authgear-filter check envoy.yaml
  authgear-filter check --strict policy.yaml client-traffic-policy.yaml routes.yaml
  kustomize build overlays/production | authgear-filter check
  authgear-filter check --format sarif config.json > check.sarif

Exit status:
  0  the filter takes every configuration
  1  errors; with --strict, also warnings
  2  an input could not be read, or there is no configuration of the filter in any";

/// What one run has to say.
struct Report {
    sources: Vec<Source>,
    inventory: Inventory,
    findings: Findings,
    unreadable: Vec<Unreadable>,
}

pub(crate) fn check(arguments: &CheckArguments) -> ExitCode {
    let stdin = [PathBuf::from("-")];
    let files = if arguments.files.is_empty() {
        if io::stdin().is_terminal() {
            eprintln!(
                "authgear-filter: name the files to check, or `-` for standard input (see --help)"
            );
            return ExitCode::from(2);
        }
        &stdin[..]
    } else {
        &arguments.files
    };
    let report = Report::of(files);
    let code = report.exit_code(arguments.strict);
    let written = match arguments.format {
        Format::Human => format::human::write(&report),
        Format::Json => format::json::write(&report),
        Format::Sarif => format::sarif::write(&report),
    };
    match written {
        // A reader that has gone, as `head` does, is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("authgear-filter: {error}");
            ExitCode::from(2)
        }
        _ => ExitCode::from(code),
    }
}

impl Report {
    fn of(files: &[PathBuf]) -> Self {
        let mut sources = Vec::new();
        let mut unreadable = Vec::new();
        for file in files {
            match Source::read(file) {
                Ok(source) => sources.push(source),
                Err(reason) => unreadable.push(reason),
            }
        }
        Self::of_sources(sources, unreadable)
    }

    fn of_sources(sources: Vec<Source>, unreadable: Vec<Unreadable>) -> Self {
        let mut inventory = Inventory::default();
        let mut findings = Findings::default();
        for (nth, source) in sources.iter().enumerate() {
            inspect(source, nth, &mut findings, &mut inventory);
        }
        for plugin in &inventory.plugins {
            judge::judge(plugin, &sources[plugin.place.source], &mut findings);
        }
        carrier::warn_of_missing_early_removal(&inventory, &mut findings);
        findings.sort();
        Self {
            sources,
            inventory,
            findings,
            unreadable,
        }
    }

    fn exit_code(&self, strict: bool) -> u8 {
        let (errors, warnings) = (self.findings.errors(), self.findings.warnings());
        if !self.unreadable.is_empty() {
            2
        } else if errors > 0 {
            1
        } else if self.inventory.plugins.is_empty() {
            2
        } else {
            u8::from(strict && warnings > 0)
        }
    }
}

/// Finds what a text has: a configuration as such, or documents that hold some.
fn inspect(source: &Source, nth: usize, findings: &mut Findings, inventory: &mut Inventory) {
    if is_json(source) {
        let before = inventory.plugins.len();
        let document = json::parse(&source.text).map(Rc::new);
        if let Some(document) = &document {
            carrier::walk(document, nth, findings, inventory);
        }
        let holds_some = inventory.plugins.len() > before;
        let is_foreign = document.is_some_and(|document| carrier::is_foreign(&document));
        if !holds_some && !is_foreign {
            inventory.plugins.push(bare(nth, 0..0, Body::File));
        }
        return;
    }
    let (documents, error) = yaml::parse(&source.text);
    for document in &documents {
        if document.get("projects").is_some() && !carrier::is_foreign(document) {
            // As members of a Struct, without what is around it.
            let body = Body::Members(Rc::clone(document), Reader::Envoy, Delivery::Json);
            inventory.plugins.push(bare(nth, start_of(document), body));
        } else {
            carrier::walk(document, nth, findings, inventory);
        }
    }
    if let Some(error) = error {
        let place = Place {
            source: nth,
            span: error.at,
        };
        findings.add(
            &code::SYNTAX,
            place,
            format!("not valid YAML: {}", error.reason),
        );
    }
}

fn bare(source: usize, span: std::ops::Range<usize>, body: Body) -> Plugin {
    Plugin {
        carrier: "configuration",
        name: None,
        place: Place { source, span },
        body,
        clusters: None,
    }
}

fn start_of(node: &Node) -> std::ops::Range<usize> {
    let start = node.span.start;
    start..start
}

/// By its name; else by how it begins.
fn is_json(source: &Source) -> bool {
    let extension = Path::new(&source.name)
        .extension()
        .and_then(|name| name.to_str());
    match extension {
        Some("json") => true,
        Some("yaml" | "yml") => false,
        _ => source.text.trim_start().starts_with(['{', '[']),
    }
}
