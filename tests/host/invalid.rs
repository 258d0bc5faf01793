//! A configuration that the filter does not understand opens nothing: it is refused where that keeps the gateway shut, and
//! accepted, and every request answered with 503, where a refusal would open it.

use serde_json::{Value, json};

use super::facts::{ORIGIN, SESSION, bearer, cookie, facts, request};
use super::streams::{Fate, May};
use super::wasm::ERROR;
use super::world::World;

const REFUSED: &str = "configuration refused: ";
const CLOSED: &str = "every request is answered 503";

/// The names of Envoy Gateway, standalone and in a cluster.
const OF_ENVOY_GATEWAY: [&str; 2] = [
    "/default/authgear/wasm/0",
    "envoyextensionpolicy/default/authgear/wasm/0",
];
const OF_OTHERS: [&str; 2] = ["authgear", ""];

/// A plugin with this text under this `vm_id`. Whether it was taken.
fn configured(vm_id: &'static str, text: &str) -> (World, u32, bool) {
    let mut world = World::with(|host| host.vm_id = vm_id);
    let root = world.bare_root();
    let taken = world.configure_with(root, text);
    (world, root, taken)
}

fn typo(more: &Value) -> String {
    let mut config = json!({ "projects": [{ "endpoint": ORIGIN, "clutser": "authgear" }] });
    for (name, value) in more.as_object().expect("members") {
        config[name] = value.clone();
    }
    config.to_string()
}

/// Configurations that do not say what to do when they are wrong.
fn unclear() -> Vec<String> {
    vec![
        "{".to_owned(),
        String::new(),
        json!("{}").to_string(),
        json!(typo(&json!({}))).to_string(),
        "[]".to_owned(),
        "{}".to_owned(),
        typo(&json!({})),
        typo(&json!({ "on_invalid_config": "closed" })),
    ]
}

fn assert_refused(vm_id: &'static str, text: &str) {
    let (world, _, taken) = configured(vm_id, text);
    assert!(!taken, "{vm_id:?}, {text:?}: {}", world.story());
    let lines = world.lines(ERROR);
    assert!(!lines.is_empty(), "{vm_id:?}, {text:?}");
    for line in lines {
        assert!(line.starts_with(REFUSED), "{vm_id:?}, {text:?}: {line}");
    }
    world.assert_sound();
}

fn assert_closed(vm_id: &'static str, text: &str) {
    let (mut world, root, taken) = configured(vm_id, text);
    assert!(taken, "{vm_id:?}, {text:?}: {}", world.story());
    for headers in [
        request("/", None),
        request("/public/x", None),
        bearer(&facts().token),
        cookie(SESSION),
    ] {
        let stream = world.open(root, headers, May::Never);
        assert_eq!(
            world.fate(stream),
            Fate::Answered(503),
            "{vm_id:?}, {text:?}"
        );
    }
    world.tick(root);
    let lines = world.lines(ERROR);
    for part in [REFUSED, CLOSED] {
        let reported = lines.iter().any(|line| line.contains(part));
        assert!(reported, "{vm_id:?}, {text:?}: {lines:?}");
    }
    world.assert_sound();
}

#[test]
fn under_any_name_but_envoy_gateways_it_is_refused() {
    for vm_id in OF_OTHERS {
        for text in unclear() {
            assert_refused(vm_id, &text);
        }
    }
}

#[test]
fn behind_envoy_gateway_whatever_cannot_be_read_is_closed() {
    for vm_id in OF_ENVOY_GATEWAY {
        for text in unclear() {
            assert_closed(vm_id, &text);
        }
    }
}

#[test]
fn what_can_be_read_goes_before_what_the_names_say() {
    for vm_id in OF_ENVOY_GATEWAY.into_iter().chain(OF_OTHERS) {
        assert_refused(vm_id, &typo(&json!({ "on_invalid_config": "refuse" })));
        assert_closed(vm_id, &typo(&json!({ "on_invalid_config": "close" })));
    }
}
