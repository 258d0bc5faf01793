//! What carries a configuration of the filter: Envoy's own files, and the resources of Istio and Envoy Gateway.

mod envoy;
mod envoy_gateway;
mod istio;
mod walk;

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use super::finding::Place;
use super::read::node::{Kind, Node};
use super::read::scalar::{Delivery, Reader};

pub(super) use envoy_gateway::warn_of_missing_early_removal;
pub(super) use walk::{is_foreign, walk};

/// A plugin that is the filter, and its configuration.
pub(super) struct Plugin {
    /// What it stands in: `Envoy plugin`, `WasmPlugin`, …
    pub(super) carrier: &'static str,
    /// Its name there, where it has one.
    pub(super) name: Option<String>,
    /// Where it stands.
    pub(super) place: Place,
    pub(super) body: Body,
    /// The clusters that the file defines, where it would have to define all.
    pub(super) clusters: Option<Rc<HashSet<String>>>,
}

/// The configuration of a plugin.
pub(super) enum Body {
    /// The whole file is its JSON text.
    File,
    /// There is none.
    Empty,
    /// There is none but for the VM.
    InVmConfig,
    /// JSON text in a scalar.
    Text(Rc<Node>),
    /// The same in base64.
    Bytes(Rc<Node>, Vec<u8>),
    /// The members themselves.
    Members(Rc<Node>, Reader, Delivery),
    /// Envoy would not take it; that was reported.
    Invalid,
}

impl Body {
    /// The node that is the filter's to judge.
    fn node(&self) -> Option<&Rc<Node>> {
        match self {
            Self::Text(node) | Self::Bytes(node, _) | Self::Members(node, ..) => Some(node),
            Self::File | Self::Empty | Self::InVmConfig | Self::Invalid => None,
        }
    }
}

/// What all inputs together have.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) plugins: Vec<Plugin>,
    /// Wasm plugins that were taken for others.
    pub(super) others: Vec<Other>,
    policies: Vec<envoy_gateway::Policy>,
    early_removals: Vec<envoy_gateway::Targets>,
}

/// A Wasm plugin that is not the filter.
pub(super) struct Other {
    pub(super) name: Option<String>,
    pub(super) place: Place,
}

/// A member by its name in Protobuf, or in the JSON of Protobuf and Kubernetes: `vm_config`, `vmConfig`.
fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Rc<Node>> {
    node.get(name).or_else(|| node.get(&camel_case(name)))
}

/// The bytes of its name.
fn field_name(node: &Node, name: &str) -> Option<Range<usize>> {
    let member = node.member(name).or_else(|| node.member(&camel_case(name)));
    member.map(|member| member.span.clone())
}

fn field_text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    field(node, name).and_then(|node| node.text())
}

fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for character in name.chars() {
        match character {
            '_' => upper = true,
            other if upper => {
                camel.push(other.to_ascii_uppercase());
                upper = false;
            }
            other => camel.push(other),
        }
    }
    camel
}

/// Whether a plugin is this filter: it says so anywhere, in its name, its module or its configuration, or has projects.
fn is_filter(plugin: &Node, body: &Body) -> bool {
    let has_projects = match body {
        Body::Text(node) => node
            .text()
            .is_some_and(|text| text.contains("\"projects\"")),
        Body::Members(node, ..) => node.get("projects").is_some(),
        _ => false,
    };
    has_projects || mentions(plugin)
}

fn mentions(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(scalar) => scalar.text.to_ascii_lowercase().contains("authgear"),
        Kind::Sequence(items) => items.iter().any(|item| mentions(item)),
        Kind::Mapping(members) => members.iter().any(|member| mentions(&member.value)),
    }
}

/// Whether a header is of the family that only the filter may set, in any spelling that a backend may take for it.
fn is_identity_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    name.starts_with(FAMILY)
}

const FAMILY: &str = "x-authgear-";
