//! What the filter itself says of a configuration: the shipped engine reads it, here as at load.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use gate::config::{Config, ConfigErrors, KeySource, Problem};

use super::carrier::{Body, Plugin};
use super::code;
use super::finding::{Finding, Findings, Place};
use super::read::embedded::Embedded;
use super::read::file::Source;
use super::read::node::{Kind, Node};
use super::read::scalar::to_json;
use super::read::{json, place};

/// Adds what the filter says.
pub(super) fn judge(plugin: &Plugin, source: &Source, findings: &mut Findings) {
    let Some(delivered) = Delivered::of(&plugin.body, source) else {
        return;
    };
    let verdict = match plugin.body {
        Body::InVmConfig => Err(Config::in_vm_config()),
        _ => Config::parse(&delivered.text),
    };
    let places = Places {
        plugin,
        delivered: &delivered,
        document: delivered.document(),
    };
    match verdict {
        Ok(config) => {
            warn(&config, &places, findings);
            if let Some(clusters) = &plugin.clusters {
                let has = |name: &str| clusters.contains(name);
                warn_of_clusters(&config, has, &places, findings);
            }
        }
        Err(errors) => refuse(&errors, &places, findings),
    }
}

fn refuse(errors: &ConfigErrors, places: &Places<'_>, findings: &mut Findings) {
    for error in errors.iter() {
        let span = match (&error.problem, &places.document) {
            (Problem::Syntax(_), _) => places.of_syntax_error(),
            (_, Some(document)) => places.in_file(&place::of_error(document, error)),
            _ => places.whole(),
        };
        findings.push(Finding {
            code: &code::CONFIG,
            message: error.to_string(),
            path: Some(error.path.clone()),
            place: places.place(span),
            help: None,
        });
    }
}

fn warn(config: &Config, places: &Places<'_>, findings: &mut Findings) {
    for warning in &config.warnings {
        findings.push(Finding {
            code: &code::CONFIG_WARNING,
            message: warning.to_string(),
            path: Some(warning.path.clone()),
            place: places.place(places.of_path(&warning.path)),
            help: None,
        });
    }
}

/// Warns of clusters that the filter calls and the file does not have: to Envoy they are strings like any other.
fn warn_of_clusters(
    config: &Config,
    has: impl Fn(&str) -> bool,
    places: &Places<'_>,
    findings: &mut Findings,
) {
    for (nth, project) in config.projects.iter().enumerate() {
        let own = format!("projects[{nth}].cluster");
        let keys = match &project.keys {
            KeySource::Remote(keys) => Some((&keys.cluster, own.clone())),
            KeySource::Inline(_) => None,
        };
        let of_session = format!("projects[{nth}].session.cluster");
        let session = project.session.as_ref().map(|session| {
            let path = if places.exists(&of_session) {
                of_session
            } else {
                own
            };
            (&session.cluster, path)
        });
        for (cluster, path) in keys.into_iter().chain(session) {
            if !has(cluster) {
                findings.push(Finding {
                    code: &code::UNKNOWN_CLUSTER,
                    message: format!("{path}: the file does not define the cluster {cluster:?}"),
                    place: places.place(places.of_path(&path)),
                    path: Some(path),
                    help: Some("define it below `static_resources.clusters`, or correct its name"),
                });
            }
        }
    }
}

/// What the filter gets.
struct Delivered<'p> {
    text: Cow<'p, [u8]>,
    shape: Shape<'p>,
}

enum Shape<'p> {
    /// JSON, written out.
    Json(&'p str, Embedded),
    /// The members of a document.
    Members(&'p Rc<Node>),
    /// Nothing that has places.
    Opaque,
}

impl<'p> Delivered<'p> {
    /// `None`: Envoy would not deliver it.
    fn of(body: &'p Body, source: &'p Source) -> Option<Self> {
        let (text, shape) = match body {
            Body::File => {
                let text = source.text.as_str();
                (
                    text.as_bytes().into(),
                    Shape::Json(text, Embedded::whole(text)),
                )
            }
            Body::Empty | Body::InVmConfig => (Cow::Borrowed(&b""[..]), Shape::Opaque),
            Body::Text(node) => {
                let Kind::Scalar(scalar) = &node.kind else {
                    return None;
                };
                let embedded =
                    Embedded::of_scalar(&scalar.text, scalar.style, &source.text, &node.span);
                (
                    scalar.text.as_bytes().into(),
                    Shape::Json(&scalar.text, embedded),
                )
            }
            Body::Bytes(_, bytes) => (bytes.as_slice().into(), Shape::Opaque),
            Body::Members(node, reader, delivery) => {
                let json = to_json(node, *reader, *delivery);
                (json.into_bytes().into(), Shape::Members(node))
            }
            Body::Invalid => return None,
        };
        Some(Self { text, shape })
    }

    fn document(&self) -> Option<Rc<Node>> {
        match self.shape {
            Shape::Json(text, _) => json::parse(text).map(Rc::new),
            Shape::Members(node) => Some(Rc::clone(node)),
            Shape::Opaque => None,
        }
    }
}

/// From the filter's places to those of the file.
struct Places<'p> {
    plugin: &'p Plugin,
    delivered: &'p Delivered<'p>,
    document: Option<Rc<Node>>,
}

impl Places<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place {
            source: self.plugin.place.source,
            span,
        }
    }

    fn of_path(&self, path: &str) -> Range<usize> {
        match &self.document {
            Some(document) => self.in_file(&place::of_path(document, path)),
            None => self.whole(),
        }
    }

    fn exists(&self, path: &str) -> bool {
        let document = self.document.as_deref();
        document.is_some_and(|document| place::exists(document, path))
    }

    fn in_file(&self, span: &Range<usize>) -> Range<usize> {
        match &self.delivered.shape {
            Shape::Json(_, embedded) => embedded.place(span),
            _ => span.clone(),
        }
    }

    /// The configuration as such: its value, or the plugin that has none.
    fn whole(&self) -> Range<usize> {
        match &self.plugin.body {
            Body::Text(node) | Body::Bytes(node, _) | Body::Members(node, ..) => node.span.clone(),
            _ => self.plugin.place.span.clone(),
        }
    }

    /// Where JSON ceases to be some.
    fn of_syntax_error(&self) -> Range<usize> {
        let Shape::Json(text, embedded) = &self.delivered.shape else {
            return self.whole();
        };
        let Err(error) = serde_json::from_str::<serde_json::Value>(text) else {
            return self.whole();
        };
        let before = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1));
        let start: usize = before.map(str::len).sum();
        // The column is a byte's, from 1; 0 is the end of the line before.
        let at = (start + error.column()).saturating_sub(1).min(text.len());
        let mut at = at;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let length = text[at..].chars().next().map_or(0, char::len_utf8);
        embedded.place(&(at..at + length))
    }
}
