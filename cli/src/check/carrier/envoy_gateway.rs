//! Envoy Gateway's `EnvoyExtensionPolicy`, and the `ClientTrafficPolicy` that belongs beside it.

use std::collections::HashSet;
use std::rc::Rc;

use super::envoy::is_prefix_of_family;
use super::walk::Walk;
use super::{Body, Inventory, Other, Plugin, field, field_text, is_filter};
use crate::check::code;
use crate::check::finding::{Findings, Place};
use crate::check::read::node::Node;
use crate::check::read::scalar::{Delivery, Reader, as_bool, is_null};

/// A policy that holds the filter.
pub(super) struct Policy {
    place: Place,
    targets: Targets,
}

/// What a policy is attached to.
pub(super) struct Targets {
    /// Gateways by name.
    gateways: HashSet<String>,
    /// Routes by kind, or whatever a selector finds: which gateways these are is not said here.
    others: bool,
}

pub(super) fn extension_policy(walk: &mut Walk<'_>, resource: &Rc<Node>) {
    let Some(spec) = resource.get("spec") else {
        return;
    };
    let name = resource.at(&["metadata", "name"]);
    let place = walk.place(name.or_else(|| resource.get("kind")).unwrap_or(resource));
    let name = name.and_then(|name| name.text());
    warn_of_replacement(walk, spec);
    let mut has_filter = false;
    for (nth, wasm) in field(spec, "wasm")
        .map_or(&[][..], |wasm| wasm.items())
        .iter()
        .enumerate()
    {
        let config = field(wasm, "config").filter(|config| !is_null(config, Reader::Kubernetes));
        let body = config.map_or(Body::Empty, |config| {
            Body::Members(Rc::clone(config), Reader::Kubernetes, Delivery::Json)
        });
        let full_name = name.map(|name| format!("{name}/wasm/{nth}"));
        if !is_filter(wasm, &body) {
            walk.inventory.others.push(Other {
                name: full_name,
                place: walk.place(wasm),
            });
            continue;
        }
        has_filter = true;
        if let Some(flag) =
            field(wasm, "fail_open").filter(|flag| as_bool(flag, Reader::Kubernetes) == Some(true))
        {
            let place = walk.place(flag);
            walk.findings.advise(
                &code::FAIL_OPEN,
                place,
                "where the filter fails or cannot be fetched, every request passes, with the identity headers that its client forged",
                "leave `failOpen` out",
            );
        }
        let place = field(wasm, "name").map_or_else(|| place.clone(), |name| walk.place(name));
        walk.inventory.plugins.push(Plugin {
            carrier: "EnvoyExtensionPolicy",
            name: full_name,
            place,
            body,
            clusters: None,
        });
    }
    if has_filter {
        let targets = Targets::of(spec);
        walk.inventory.policies.push(Policy { place, targets });
    }
}

pub(super) fn client_traffic_policy(walk: &mut Walk<'_>, resource: &Node) {
    let Some(spec) = resource.get("spec") else {
        return;
    };
    let removals = spec.at(&["headers", "earlyRequestHeaders", "removeOnMatch"]);
    let removals = removals.map_or(&[][..], |removals| removals.items());
    let removes = removals.iter().any(|removal| {
        let value = field_text(removal, "value").unwrap_or_default();
        match field_text(removal, "type") {
            Some("Prefix") => is_prefix_of_family(value),
            Some("RegularExpression") => value.to_ascii_lowercase().contains("authgear"),
            _ => false,
        }
    });
    if removes {
        walk.inventory.early_removals.push(Targets::of(spec));
    }
}

/// Warns of policies whose gateway has no early removal among the inputs.
pub(in crate::check) fn warn_of_missing_early_removal(
    inventory: &Inventory,
    findings: &mut Findings,
) {
    for policy in &inventory.policies {
        let is_covered = |gateway: &String| {
            let mut removals = inventory.early_removals.iter();
            removals.any(|removal| removal.others || removal.gateways.contains(gateway))
        };
        let gateways = &policy.targets.gateways;
        if gateways.iter().all(is_covered) && !inventory.early_removals.is_empty() {
            continue;
        }
        findings.advise(
            &code::NO_EARLY_REMOVAL,
            policy.place.clone(),
            "a forged x-authgear-* header takes part in the choice of route and policy, and reaches routes without the filter",
            "add a ClientTrafficPolicy with `headers.earlyRequestHeaders.removeOnMatch: [{type: Prefix, value: x-authgear-}]`, and \
             check it together with this file",
        );
    }
}

fn warn_of_replacement(walk: &mut Walk<'_>, spec: &Node) {
    let is_merged =
        field(spec, "merge_type").is_some_and(|kind| !is_null(kind, Reader::Kubernetes));
    let Some(target) = targets(spec).find(|target| is_route(target)) else {
        return;
    };
    if !is_merged {
        let place = walk.place(field(target, "kind").unwrap_or(target));
        walk.findings.advise(
            &code::NO_MERGE_TYPE,
            place,
            "a route's policy replaces the gateway's: what that has, the filter included, is gone from this route",
            "set `mergeType: StrategicMerge` (Envoy Gateway 1.9)",
        );
    }
}

fn targets(spec: &Node) -> impl Iterator<Item = &Rc<Node>> {
    let lists = ["target_refs", "target_selectors"];
    let listed = lists
        .into_iter()
        .filter_map(|name| field(spec, name))
        .flat_map(|list| list.items());
    listed.chain(field(spec, "target_ref"))
}

fn is_route(target: &Node) -> bool {
    field_text(target, "kind").is_some_and(|kind| kind.ends_with("Route"))
}

impl Targets {
    fn of(spec: &Node) -> Self {
        let mut own = Self {
            gateways: HashSet::new(),
            others: false,
        };
        for target in targets(spec) {
            match field_text(target, "name") {
                Some(name) if !is_route(target) => drop(own.gateways.insert(name.to_owned())),
                _ => own.others = true,
            }
        }
        own
    }
}
