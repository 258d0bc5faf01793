//! Istio's `WasmPlugin` and `TrafficExtension`.

use std::rc::Rc;

use super::walk::Walk;
use super::{Body, Other, Plugin, field, field_text, is_filter};
use crate::check::code;
use crate::check::read::node::Node;
use crate::check::read::scalar::{Delivery, Reader, is_null};

pub(super) fn plugin(walk: &mut Walk<'_>, resource: &Rc<Node>, is_wasm_plugin: bool) {
    let Some(spec) = resource.get("spec") else {
        return;
    };
    let (carrier, wasm) = if is_wasm_plugin {
        ("WasmPlugin", Some(spec))
    } else {
        ("TrafficExtension", field(spec, "wasm"))
    };
    // The other kind of extension is Lua.
    let Some(wasm) = wasm else {
        return;
    };
    let config = field(wasm, "plugin_config").filter(|config| !is_null(config, Reader::Kubernetes));
    let body = config.map_or(Body::Empty, |config| {
        Body::Members(Rc::clone(config), Reader::Kubernetes, Delivery::Json)
    });
    let name = resource.at(&["metadata", "name"]);
    let place = walk.place(name.or_else(|| resource.get("kind")).unwrap_or(resource));
    let name = name.and_then(|name| name.text()).map(str::to_owned);
    if !is_filter(resource, &body) {
        walk.inventory.others.push(Other { name, place });
        return;
    }
    warn(walk, spec, wasm, &place.span);
    walk.inventory.plugins.push(Plugin {
        carrier,
        name,
        place,
        body,
        clusters: None,
    });
}

fn warn(walk: &mut Walk<'_>, spec: &Node, wasm: &Node, named: &std::ops::Range<usize>) {
    if let Some(strategy) =
        field(wasm, "fail_strategy").filter(|strategy| strategy.text() == Some("FAIL_OPEN"))
    {
        let place = walk.place(strategy);
        walk.findings.advise(
            &code::FAIL_OPEN,
            place,
            "where the filter fails or cannot be fetched, every request passes, with the identity headers that its client forged",
            "use `failStrategy: FAIL_RELOAD`, or FAIL_CLOSE before Istio 1.27",
        );
    }
    let phase = field(spec, "phase");
    if phase.is_none_or(|phase| phase.text() != Some("AUTHN")) {
        let place = walk.at(phase.map_or_else(|| named.clone(), |phase| phase.span.clone()));
        walk.findings.advise(
            &code::NO_AUTHN_PHASE,
            place,
            "Istio's own authentication comes first: it may take the token away, and its policies do not know the user",
            "set `phase: AUTHN`",
        );
    }
    let matches = field(spec, "match").map_or(&[][..], |matches| matches.items());
    let is_server = |one: &Rc<Node>| field_text(one, "mode") == Some("SERVER");
    if let Some(first) = matches.first()
        && matches.iter().all(is_server)
        && is_for_gateway(spec)
    {
        let place = walk.place(field(first, "mode").unwrap_or(first));
        walk.findings.advise(
            &code::SERVER_ON_GATEWAY,
            place,
            "the plugin is not on the gateway at all: every request passes, without an error",
            "leave `match` out on a gateway; `mode: SERVER` is for sidecars",
        );
    }
}

/// Whether the plugin is for a gateway: it targets one, or selects pods with labels that gateways have.
fn is_for_gateway(spec: &Node) -> bool {
    let targets = field(spec, "target_refs").map_or(&[][..], |targets| targets.items());
    let mut targets = targets.iter().chain(field(spec, "target_ref"));
    let labels = field(spec, "selector").and_then(|selector| field(selector, "match_labels"));
    let labels = labels.map_or(&[][..], |labels| labels.members());
    targets.any(|target| field_text(target, "kind") == Some("Gateway"))
        || labels.iter().any(|label| {
            label.name.contains("gateway")
                || label
                    .value
                    .text()
                    .is_some_and(|value| value.contains("gateway"))
        })
}
