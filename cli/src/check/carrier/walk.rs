//! Finds the carriers in a document, at any depth.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{Inventory, envoy, envoy_gateway, istio};
use crate::check::code;
use crate::check::finding::{Findings, Place};
use crate::check::read::node::{Kind, MERGE, Node};
use crate::check::read::scalar::Reader;

/// A walk through one document.
pub(super) struct Walk<'a> {
    pub(super) source: usize,
    pub(super) findings: &'a mut Findings,
    pub(super) inventory: &'a mut Inventory,
    /// See [`Plugin::clusters`](super::Plugin::clusters).
    pub(super) clusters: Option<Rc<HashSet<String>>>,
}

/// Adds what a document has.
pub(in crate::check) fn walk(
    document: &Rc<Node>,
    source: usize,
    findings: &mut Findings,
    inventory: &mut Inventory,
) {
    let before = inventory.plugins.len();
    let mut walk = Walk {
        source,
        findings,
        inventory,
        clusters: envoy::clusters(document),
    };
    walk.visit(document, Reader::Envoy);
    let plugins = walk.inventory.plugins.iter().skip(before);
    let bodies: Vec<*const Node> = plugins
        .filter_map(|plugin| plugin.body.node().map(Rc::as_ptr))
        .collect();
    if walk.inventory.plugins.len() > before {
        walk.refuse_duplicates(document, &bodies);
    }
}

/// Whether a document is something that is known, and no configuration of the filter.
pub(in crate::check) fn is_foreign(document: &Node) -> bool {
    let is_resource = document.get("apiVersion").is_some() && document.get("kind").is_some();
    let of_envoy = [
        "static_resources",
        "staticResources",
        "dynamic_resources",
        "dynamicResources",
        "resources",
        "http_filters",
        "httpFilters",
        "typed_config",
        "typedConfig",
    ];
    is_resource || of_envoy.iter().any(|name| document.get(name).is_some())
}

impl Walk<'_> {
    pub(super) fn visit(&mut self, node: &Rc<Node>, reader: Reader) {
        match &node.kind {
            Kind::Scalar(_) => {}
            Kind::Sequence(items) => {
                for item in items {
                    self.visit(item, reader);
                }
            }
            Kind::Mapping(_) => self.visit_mapping(node, reader),
        }
    }

    fn visit_mapping(&mut self, node: &Rc<Node>, mut reader: Reader) {
        if let (Some(version), Some(kind)) = (text(node, "apiVersion"), text(node, "kind")) {
            reader = Reader::Kubernetes;
            let group = version.split_once('/').map_or("", |(group, _)| group);
            match (group, kind) {
                ("extensions.istio.io", "WasmPlugin" | "TrafficExtension") => {
                    return istio::plugin(self, node, kind == "WasmPlugin");
                }
                ("gateway.envoyproxy.io", "EnvoyExtensionPolicy") => {
                    return envoy_gateway::extension_policy(self, node);
                }
                ("gateway.envoyproxy.io", "ClientTrafficPolicy") => {
                    return envoy_gateway::client_traffic_policy(self, node);
                }
                _ => {}
            }
        }
        if envoy::is_plugin(node) {
            return envoy::plugin(self, node, reader);
        }
        let before = self.inventory.plugins.len();
        for member in node.members() {
            self.visit(&member.value, reader);
        }
        let has_filter = self.inventory.plugins.len() > before;
        envoy::neighbours(self, node, has_filter);
    }

    pub(super) fn place(&self, node: &Node) -> Place {
        self.at(node.span.clone())
    }

    pub(super) fn at(&self, span: std::ops::Range<usize>) -> Place {
        Place {
            source: self.source,
            span,
        }
    }

    /// Outside of what the filter judges itself.
    fn refuse_duplicates(&mut self, node: &Rc<Node>, except: &[*const Node]) {
        if except.contains(&Rc::as_ptr(node)) {
            return;
        }
        let mut first = HashMap::new();
        for member in node.members() {
            if member.name != MERGE && first.insert(member.name.as_str(), ()).is_some() {
                self.findings.advise(
                    &code::DUPLICATE_KEY,
                    self.at(member.span.clone()),
                    format!("{:?} is given more than once: keep one", member.name),
                    "Envoy takes the last of them, and says nothing; Kubernetes refuses the resource",
                );
            }
            self.refuse_duplicates(&member.value, except);
        }
        for item in node.items() {
            self.refuse_duplicates(item, except);
        }
    }
}

fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    node.get(name).and_then(|node| node.text())
}
