//! Each warning: what it is given for, and what it is not given for.

use std::fs;

use crate::{cases, check, check_text};

/// The codes, where `to` stands in a case in place of `from`.
fn codes_with(case: &str, from: &str, to: &str) -> Vec<String> {
    let text = fs::read_to_string(cases().join(case)).expect("a case");
    assert!(text.contains(from), "{case}: {from}");
    let run = check_text(&[], &text.replace(from, to));
    run.codes().into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn assert_gone(case: &str, code: &str, from: &str, to: &str) {
    let codes = codes_with(case, from, to);
    assert!(
        !codes.iter().any(|found| found == code),
        "{from} → {to}: {codes:?}"
    );
}

#[track_caller]
fn assert_there(case: &str, code: &str, from: &str, to: &str) {
    let codes = codes_with(case, from, to);
    assert!(
        codes.iter().any(|found| found == code),
        "{from} → {to}: {codes:?}"
    );
}

const ENVOY: &str = "what-opens.yaml";

#[test]
fn an_envoy_that_opens_is_warned_of() {
    let policy = "failure_policy: FAIL_OPEN";
    for closed in [
        "failure_policy: FAIL_RELOAD",
        "failure_policy: FAIL_CLOSED",
        "fail_open: false",
        "root_id: a",
    ] {
        assert_gone(ENVOY, "fail-open", policy, closed);
    }
    for open in [
        "fail_open: true",
        "failOpen: yes",
        "failurePolicy: FAIL_OPEN",
        "failure_policy: 3",
    ] {
        assert_there(ENVOY, "fail-open", policy, open);
    }
}

#[test]
fn a_plugin_without_a_vm_id_is_warned_of() {
    let none = "vm_id: \"\"";
    assert_gone(ENVOY, "no-vm-id", none, "vm_id: authgear");
    assert_gone(ENVOY, "no-vm-id", none, "vmId: authgear");
    assert_there(ENVOY, "no-vm-id", none, "vm_id:");
    assert_there(ENVOY, "no-vm-id", none, "allow_precompiled: false");
    // Istio has no field for it.
    let codes = codes_with("istio.yaml", "runtime: envoy", "vm_id: a, runtime: envoy");
    assert!(!codes.contains(&"no-vm-id".to_owned()), "{codes:?}");
}

#[test]
fn a_rewritten_answer_is_warned_of() {
    let format = "body_format: { text_format: \"%RESPONSE_CODE%\" }";
    let mapper = |more: &str| format!("mappers: [{{ filter: {{}}, {more} }}]");
    assert_there(
        ENVOY,
        "body-format",
        format,
        &mapper("body_format_override: {}"),
    );
    assert_there(
        ENVOY,
        "body-format",
        format,
        &mapper("bodyFormatOverride: {}"),
    );
    assert_gone(ENVOY, "body-format", format, &mapper("status_code: 404"));
    // Not that of a listener without the filter.
    let other = "local_reply_config: { body_format: {} }, http_filters: [], route_config: {}";
    let run = check_text(&[], &format!("a: {{ {other} }}\nb: {}\n", plugin("")));
    assert_eq!(run.codes(), [""; 0], "{}", run.stdout);
}

fn plugin(more: &str) -> String {
    format!(
        "{{ name: authgear, {more} vm_config: {{ vm_id: authgear }}, configuration: {{ \"@type\": \
         type.googleapis.com/google.protobuf.StringValue, value: '{{\"projects\": [{{\"endpoint\": \"https://auth.example.com\", \
         \"cluster\": \"authgear\"}}]}}' }} }}"
    )
}

#[test]
fn a_route_by_a_header_of_the_family_is_warned_of() {
    let name = "name: X-Authgear-User-Roles";
    let code = "identity-header-route";
    for other in ["x-authgear-user-id", "X_AUTHGEAR_USER_ID"] {
        assert_there(ENVOY, code, name, &format!("name: {other}"));
    }
    assert_gone(ENVOY, code, name, "name: x-other");
    // Removed early, it is the filter's own by the time it counts.
    let early = |matcher: &str| {
        format!(
            "early_header_mutation_extensions:\n                  - typed_config: {{ mutations: [{{ remove_on_match: {{ key_matcher: \
             {{ {matcher} }} }} }}] }}\n                local_reply_config:"
        )
    };
    assert_gone(
        ENVOY,
        code,
        "local_reply_config:",
        &early("prefix: x-authgear-"),
    );
    assert_gone(ENVOY, code, "local_reply_config:", &early("prefix: X-Auth"));
    assert_there(
        ENVOY,
        code,
        "local_reply_config:",
        &early("prefix: x-authgear-user"),
    );
    assert_there(
        ENVOY,
        code,
        "local_reply_config:",
        &early("exact: x-authgear-"),
    );
    assert_there(ENVOY, code, "local_reply_config:", &early("prefix: ''"));
}

#[test]
fn a_route_that_comes_by_discovery_is_warned_of_too() {
    let routes = "'@type': type.googleapis.com/envoy.config.route.v3.RouteConfiguration, virtual_hosts: [{ routes: [{ match: { \
                  headers: [{ name: x-authgear-user-id }] } }] }]";
    let run = check_text(
        &[],
        &format!("resources: [{{ {routes} }}]\n---\n{}\n", plugin("")),
    );
    assert_eq!(run.codes(), ["identity-header-route"], "{}", run.stdout);
}

#[test]
fn a_cluster_that_the_file_does_not_define_is_warned_of() {
    let typo = "authgaer";
    let code = "unknown-cluster";
    assert_there(ENVOY, code, typo, "authgear-typo");
    assert_gone(ENVOY, code, typo, "authgear");
    // Where clusters come from elsewhere, nobody knows here.
    let dynamic = "dynamic_resources: { cds_config: { ads: {} } }\nstatic_resources:";
    assert_gone(ENVOY, code, "static_resources:", dynamic);
    let listeners = "dynamic_resources: { lds_config: { ads: {} } }\nstatic_resources:";
    assert_there(ENVOY, code, "static_resources:", listeners);
    assert_gone(ENVOY, code, "static_resources:", "resources:");
    // Keys and sessions may have a cluster each; each is looked for once.
    let own = r#""cluster": "authgear", "session": {"cluster": "resolver"}"#;
    let codes = codes_with(ENVOY, r#""cluster": "authgaer""#, own);
    assert_eq!(
        codes.iter().filter(|found| *found == code).count(),
        1,
        "{codes:?}"
    );
    let inline = r#""cluster": "authgaer", "session": null"#;
    let codes = codes_with(ENVOY, r#""cluster": "authgaer""#, inline);
    assert_eq!(
        codes.iter().filter(|found| *found == code).count(),
        1,
        "{codes:?}"
    );
}

const ISTIO: &str = "istio.yaml";

#[test]
fn a_plugin_of_istio_that_opens_is_warned_of() {
    let strategy = "failStrategy: FAIL_OPEN";
    for closed in [
        "failStrategy: FAIL_CLOSE",
        "failStrategy: FAIL_RELOAD",
        "priority: 1",
    ] {
        assert_gone(ISTIO, "fail-open", strategy, closed);
    }
    assert_there(ISTIO, "fail-open", "oci:", "oci2:");
    // The other kind of resource has it elsewhere.
    let wasm = "    pluginConfig:\n      projects: [{";
    let open = "    failStrategy: FAIL_OPEN\n    pluginConfig:\n      projects: [{";
    let codes = codes_with(ISTIO, wasm, open);
    assert_eq!(
        codes.iter().filter(|code| *code == "fail-open").count(),
        2,
        "{codes:?}"
    );
}

#[test]
fn mode_server_on_a_gateway_is_warned_of() {
    let code = "server-on-gateway";
    let selector = "selector:\n    matchLabels:\n      istio: ingressgateway";
    assert_gone(
        ISTIO,
        code,
        selector,
        "selector:\n    matchLabels:\n      app: blog",
    );
    assert_gone(ISTIO, code, selector, "priority: 1");
    assert_gone(ISTIO, code, "    - mode: SERVER", "    - mode: GATEWAY");
    assert_gone(
        ISTIO,
        code,
        "    - mode: SERVER",
        "    - mode: SERVER\n    - mode: CLIENT",
    );
    for gateway in [
        "targetRefs:\n    - { group: gateway.networking.k8s.io, kind: Gateway, name: public }",
        "selector:\n    matchLabels:\n      gateway.networking.k8s.io/gateway-name: public",
    ] {
        assert_there(ISTIO, code, selector, gateway);
    }
}

#[test]
fn another_phase_than_authn_is_warned_of() {
    let code = "no-authn-phase";
    assert_gone(
        ISTIO,
        code,
        "failStrategy:",
        "phase: AUTHN\n  failStrategy:",
    );
    assert_there(
        ISTIO,
        code,
        "failStrategy:",
        "phase: AUTHZ\n  failStrategy:",
    );
    let codes = codes_with(ISTIO, "phase: AUTHN", "phase: STATS");
    assert_eq!(
        codes.iter().filter(|found| *found == code).count(),
        2,
        "{codes:?}"
    );
}

const GATEWAY: &str = "envoy-gateway.yaml";
const GOOD_GATEWAY: &str = "envoy-gateway-good.yaml";

#[test]
fn a_policy_of_envoy_gateway_that_opens_is_warned_of() {
    assert_gone(GATEWAY, "fail-open", "failOpen: true", "failOpen: false");
    assert_there(GATEWAY, "fail-open", "failOpen: true", "failOpen: on");
}

#[test]
fn a_routes_policy_that_replaces_the_gateways_is_warned_of() {
    let code = "no-merge-type";
    assert_gone(
        GATEWAY,
        code,
        "spec:\n",
        "spec:\n  mergeType: StrategicMerge\n",
    );
    assert_gone(GATEWAY, code, "kind: HTTPRoute", "kind: Gateway");
    assert_there(GATEWAY, code, "kind: HTTPRoute", "kind: GRPCRoute");
    let single = "targetRef: { kind: HTTPRoute, name: app }\n  others:";
    assert_there(GATEWAY, code, "targetRefs:", single);
    let selectors = "targetSelectors: [{ kind: HTTPRoute, matchLabels: {} }]\n  others:";
    assert_there(GATEWAY, code, "targetRefs:", selectors);
    // One without the filter takes the gateway's away as well.
    let other = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nspec:\n  targetRefs: [{ kind: HTTPRoute, name: \
                 app }]\n  extProc: []\n---\napiVersion";
    let good = fs::read_to_string(cases().join(GOOD_GATEWAY)).expect("a case");
    let run = check_text(&[], &good.replacen("apiVersion", other, 1));
    assert_eq!(run.codes(), [code], "{}", run.stdout);
}

#[test]
fn a_gateway_without_early_removal_is_warned_of() {
    let code = "no-early-removal";
    assert_eq!(
        codes_with(GOOD_GATEWAY, "kind: Gateway", "kind: Gateway"),
        [""; 0]
    );
    for (from, to) in [
        ("type: Prefix", "type: Exact"),
        ("type: Prefix, ", ""),
        ("value: x-authgear-", "value: x-other-"),
        ("value: x-authgear-", "value: x-authgear-user-"),
        ("earlyRequestHeaders", "lateResponseHeaders"),
        ("kind: ClientTrafficPolicy", "kind: BackendTrafficPolicy"),
        (
            "kind: Gateway, name: public }\n  headers",
            "kind: Gateway, name: private }\n  headers",
        ),
    ] {
        assert_there(GOOD_GATEWAY, code, from, to);
    }
    assert_gone(
        GOOD_GATEWAY,
        code,
        "type: Prefix, value: x-authgear-",
        "type: RegularExpression, value: ^x-authgear-.*",
    );
    // In another file of the same run.
    let all = std::fs::read_to_string(cases().join(GOOD_GATEWAY)).expect("a case");
    let (policy, traffic) = all.split_once("---\n").expect("two documents");
    let folder = tempfile::tempdir().expect("a folder");
    let paths = [("a.yaml", policy), ("b.yaml", traffic)].map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("it is written");
        path.to_str().expect("UTF-8").to_owned()
    });
    assert_eq!(check(&[&paths[0]]).codes(), [code]);
    assert_eq!(check(&[&paths[0], &paths[1]]).codes(), [""; 0]);
}

#[test]
fn plugins_are_found_at_any_depth_and_in_any_number() {
    let bad = plugin("fail_open: true,");
    let deep = (0..100).fold(bad.clone(), |inner, _| format!("[{inner}]"));
    for (text, count) in [
        (format!("a: {bad}"), 1),
        (format!("a: {deep}"), 1),
        (format!("a: {bad}\nb: {bad}\n---\nc: [{bad}]\n"), 3),
    ] {
        let run = check_text(&[], &text);
        let found = run
            .codes()
            .iter()
            .filter(|code| **code == "fail-open")
            .count();
        assert_eq!(found, count, "{text}\n{}", run.stdout);
    }
}

/// Envoy reads JSON, too.
#[test]
fn an_envoy_in_json_is_checked() {
    let text = r#"{
      "static_resources": { "clusters": [{ "name": "authgear" }], "listeners": [{ "x": {
        "name": "authgear",
        "vmConfig": { "vmId": "authgear" },
        "configuration": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": {
          "projects": [{ "endpoint": "https://auth.example.com", "cluster": "authgaer" }],
          "limits": { "token_bytes": 5 }, "x": 1.5 } } } }] } }"#;
    let run = check_text(&[], text);
    assert_eq!(run.codes(), ["config", "config"], "{}", run.stdout);
    assert!(
        run.stdout.contains("found the number 5.0"),
        "{}",
        run.stdout
    );
    let good = text
        .replace(r#", "x": 1.5"#, "")
        .replace(": 5 }", ": 4096 }");
    assert_eq!(check_text(&[], &good).codes(), ["unknown-cluster"]);
}
