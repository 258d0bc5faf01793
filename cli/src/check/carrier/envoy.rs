//! Envoy's own configuration: a file, what comes by xDS, an Istio `EnvoyFilter`.

use std::collections::HashSet;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::walk::Walk;
use super::{
    Body, FAMILY, Other, Plugin, field, field_name, field_text, is_filter, is_identity_header,
};
use crate::check::code;
use crate::check::read::node::{Kind, Node};
use crate::check::read::scalar::{Delivery, Reader, as_bool, is_null, is_string};

/// Whether it is an `envoy.extensions.wasm.v3.PluginConfig`.
pub(super) fn is_plugin(node: &Node) -> bool {
    matches!(
        field(node, "vm_config").map(|vm| &vm.kind),
        Some(Kind::Mapping(_))
    )
}

pub(super) fn plugin(walk: &mut Walk<'_>, node: &Rc<Node>, reader: Reader) {
    let Some(vm) = field(node, "vm_config") else {
        return;
    };
    let name = field_text(node, "name").filter(|name| !name.is_empty());
    let place = field(node, "name").map_or_else(|| walk.place(node), |name| walk.place(name));
    let body = body(node, vm, reader);
    let shown = match &body {
        Ok(body) => body,
        Err(_) => &Body::Invalid,
    };
    if !is_filter(node, shown) {
        walk.inventory.others.push(Other {
            name: name.map(str::to_owned),
            place,
        });
        return;
    }
    let body = body.unwrap_or_else(|refused| {
        let place = walk.place(&refused.node);
        walk.findings.add(&code::ENVOY_VALUE, place, refused.reason);
        Body::Invalid
    });
    warn(walk, node, vm, reader);
    let clusters = walk.clusters.clone();
    walk.inventory.plugins.push(Plugin {
        carrier: "Envoy plugin",
        name: name.map(str::to_owned),
        place,
        body,
        clusters,
    });
}

/// What Envoy itself refuses.
struct Refused {
    node: Rc<Node>,
    reason: &'static str,
}

/// What the filter gets, as Envoy's `MessageUtil::anyToBytes` has it.
fn body(plugin: &Node, vm: &Node, reader: Reader) -> Result<Body, Refused> {
    let body = match field(plugin, "configuration") {
        Some(any) => body_of_any(any, reader)?,
        None => Body::Empty,
    };
    let is_empty = match &body {
        Body::Empty => true,
        Body::Text(node) => node.text() == Some(""),
        Body::Bytes(_, bytes) => bytes.is_empty(),
        Body::Members(node, ..) => {
            matches!(&node.kind, Kind::Mapping(members) if members.is_empty())
        }
        Body::File | Body::InVmConfig | Body::Invalid => false,
    };
    let for_vm = field(vm, "configuration").is_some_and(|any| {
        let value = any.get("value");
        value.is_some_and(|value| match &value.kind {
            Kind::Scalar(scalar) => !scalar.text.is_empty() && !is_null(value, reader),
            Kind::Sequence(items) => !items.is_empty(),
            Kind::Mapping(members) => !members.is_empty(),
        })
    });
    Ok(if is_empty && for_vm {
        Body::InVmConfig
    } else {
        body
    })
}

fn body_of_any(any: &Rc<Node>, reader: Reader) -> Result<Body, Refused> {
    if is_null(any, reader) {
        return Ok(Body::Empty);
    }
    let refused = |node: &Rc<Node>, reason| {
        let node = Rc::clone(node);
        Err(Refused { node, reason })
    };
    let Some(kind) = any.get("@type").and_then(|kind| kind.text()) else {
        return refused(
            any,
            "\"configuration\" needs an \"@type\": type.googleapis.com/google.protobuf.StringValue, or …Struct",
        );
    };
    let kind = kind.strip_prefix(GOOGLE).unwrap_or(kind);
    if matches!(kind, STRING_VALUE | BYTES_VALUE | STRUCT) {
        let stray = |name: &str| !matches!(name, "@type" | "value");
        if any.members().iter().any(|member| stray(&member.name)) {
            return refused(any, "what is beside \"@type\" stands below \"value\"");
        }
    }
    let value = any.get("value").filter(|value| !is_null(value, reader));
    match (kind, value) {
        (STRING_VALUE | BYTES_VALUE | STRUCT, None) => Ok(Body::Empty),
        (STRING_VALUE, Some(value)) if is_string(value, reader) => Ok(Body::Text(Rc::clone(value))),
        (STRING_VALUE, Some(value)) => refused(value, "the \"value\" of a StringValue is text"),
        (STRUCT, Some(value)) => match value.kind {
            Kind::Mapping(_) => Ok(Body::Members(Rc::clone(value), reader, Delivery::Struct)),
            _ => refused(value, "the \"value\" of a Struct has members"),
        },
        (BYTES_VALUE, Some(value)) => {
            let text = value.text().filter(|_| is_string(value, reader));
            match text.and_then(|text| STANDARD.decode(text).ok()) {
                Some(bytes) => Ok(Body::Bytes(Rc::clone(value), bytes)),
                None => refused(value, "the \"value\" of a BytesValue is text in base64"),
            }
        }
        // The filter knows a message that it cannot read.
        _ => Ok(Body::Members(Rc::clone(any), reader, Delivery::Struct)),
    }
}

const GOOGLE: &str = "type.googleapis.com/";
const STRING_VALUE: &str = "google.protobuf.StringValue";
const BYTES_VALUE: &str = "google.protobuf.BytesValue";
const STRUCT: &str = "google.protobuf.Struct";

fn warn(walk: &mut Walk<'_>, plugin: &Node, vm: &Node, reader: Reader) {
    let opens = [
        field(plugin, "fail_open").filter(|flag| as_bool(flag, reader) == Some(true)),
        // By its name, or its number.
        field(plugin, "failure_policy")
            .filter(|policy| matches!(policy.text(), Some("FAIL_OPEN" | "3"))),
    ];
    for open in opens.into_iter().flatten() {
        let place = walk.place(open);
        walk.findings.advise(
            &code::FAIL_OPEN,
            place,
            "where the filter fails, every request passes, with the identity headers that its client forged",
            "use `failure_policy: FAIL_RELOAD`",
        );
    }
    let vm_id = field(vm, "vm_id");
    if vm_id.is_none_or(|vm_id| vm_id.text() == Some("") || is_null(vm_id, reader)) {
        let place = vm_id
            .map(|vm_id| vm_id.span.clone())
            .filter(|span| !span.is_empty())
            .or_else(|| field_name(plugin, "vm_config"));
        let place = walk.at(place.unwrap_or_else(|| vm.span.clone()));
        walk.findings.advise(
            &code::NO_VM_ID,
            place,
            "the plugin has no `vm_id`: workers share neither keys nor answers, and each asks Authgear for itself",
            "give it a `vm_id` that no other plugin has",
        );
    }
}

/// Warns of what stands beside the filter: how routes are chosen, what becomes of its answers.
pub(super) fn neighbours(walk: &mut Walk<'_>, node: &Node, has_filter: bool) {
    let is_manager = field(node, "http_filters").is_some();
    if is_manager && has_filter {
        warn_of_rewritten_answers(walk, node);
    }
    if is_manager {
        if has_filter && !removes_early(node) {
            for routes in ["route_config", "scoped_routes"]
                .iter()
                .filter_map(|name| field(node, name))
            {
                warn_of_routes(walk, routes);
            }
        }
    } else if node.get("@type").and_then(|kind| kind.text()) == Some(ROUTE_CONFIGURATION) {
        // By RDS: nothing says here what is removed early.
        warn_of_routes(walk, node);
    }
}

const ROUTE_CONFIGURATION: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

fn warn_of_rewritten_answers(walk: &mut Walk<'_>, manager: &Node) {
    let Some(config) = field(manager, "local_reply_config") else {
        return;
    };
    let mappers = field(config, "mappers").map_or(&[][..], |mappers| mappers.items());
    let overrides = mappers
        .iter()
        .filter_map(|mapper| field_name(mapper, "body_format_override"));
    let places: Vec<_> = field_name(config, "body_format")
        .into_iter()
        .chain(overrides)
        .collect();
    for place in places {
        let place = walk.at(place);
        walk.findings.advise(
            &code::BODY_FORMAT,
            place,
            "Envoy rewrites the filter's answers: clients get another body and another content type than the filter's",
            "leave it out, or have a mapper with a `filter` that the filter's answers do not match",
        );
    }
}

/// Whether headers of the family are gone before a route is chosen.
fn removes_early(manager: &Node) -> bool {
    let extensions = field(manager, "early_header_mutation_extensions");
    let extensions = extensions.map_or(&[][..], |extensions| extensions.items());
    extensions
        .iter()
        .filter_map(|extension| field(extension, "typed_config"))
        .filter_map(|mutation| field(mutation, "mutations"))
        .flat_map(|mutations| mutations.items())
        .filter_map(|mutation| field(mutation, "remove_on_match"))
        .filter_map(|removal| field(removal, "key_matcher"))
        .any(|matcher| {
            field_text(matcher, "prefix").is_some_and(is_prefix_of_family)
                || field(matcher, "safe_regex")
                    .and_then(|regex| field_text(regex, "regex"))
                    .is_some_and(|regex| regex.to_ascii_lowercase().contains("authgear"))
        })
}

pub(super) fn is_prefix_of_family(prefix: &str) -> bool {
    !prefix.is_empty() && FAMILY.starts_with(&prefix.to_ascii_lowercase())
}

fn warn_of_routes(walk: &mut Walk<'_>, node: &Node) {
    for member in node.members() {
        if member.name == "match" {
            let headers = field(&member.value, "headers");
            for header in headers.map_or(&[][..], |headers| headers.items()) {
                let name = field(header, "name");
                if let Some(name) = name.filter(|name| name.text().is_some_and(is_identity_header))
                {
                    let place = walk.place(name);
                    walk.findings.advise(
                        &code::IDENTITY_HEADER_ROUTE,
                        place,
                        "the route is chosen by what the client sends, before the filter removes it",
                        "remove the family with `early_header_mutation_extensions`, as the reference `envoy.yaml` does",
                    );
                }
            }
        }
        warn_of_routes(walk, &member.value);
    }
    for item in node.items() {
        warn_of_routes(walk, item);
    }
}

/// The names of the clusters of a bootstrap. `None`: it is none, or has clusters from elsewhere.
pub(super) fn clusters(document: &Node) -> Option<Rc<HashSet<String>>> {
    let resources = field(document, "static_resources")?;
    let dynamic = field(document, "dynamic_resources");
    let by_discovery = ["cds_config", "cds_resources_locator"];
    if dynamic.is_some_and(|dynamic| {
        by_discovery
            .iter()
            .any(|name| field(dynamic, name).is_some())
    }) {
        return None;
    }
    let clusters = field(resources, "clusters").map_or(&[][..], |clusters| clusters.items());
    let names = clusters
        .iter()
        .filter_map(|cluster| field_text(cluster, "name"));
    Some(Rc::new(names.map(str::to_owned).collect()))
}
