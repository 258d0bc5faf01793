//! Envoy configurations of documentation and examples, checked by Envoy itself.

use std::fs;
use std::net::SocketAddr;

use devkit::client::Request;
use devkit::envoy::{Envoy, Launch, Reference, checkout, filter_wasm, validate};
use devkit::tls::TestCa;
use serde_json::{Value, json};

use super::{assert_accepted, blocks, documents, files};

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// All Envoy configurations, and where they stand. Fragments come together in the reference configuration: Envoy takes
/// longer to start than to read.
fn configurations() -> Vec<(String, Value)> {
    let root = checkout();
    let mut found = Vec::new();
    for path in files(&root.join("examples"), "yaml") {
        let at = path.display().to_string();
        found.push((at.clone(), read(&fs::read_to_string(path).unwrap(), &at)));
    }
    let mut places = vec!["envoy.yaml".to_owned()];
    let yaml = fs::read_to_string(root.join("envoy.yaml")).unwrap();
    let mut reference = read(&yaml, "envoy.yaml");
    for (document, block) in blocks(documents()) {
        let at = document.at(block.line);
        let fragments = match block.info.as_str() {
            "yaml envoy" => {
                found.push((at.clone(), read(&block.text, &at)));
                continue;
            }
            "yaml envoy-part" => {
                set(&mut reference, read(&block.text, &at));
                places.push(at);
                continue;
            }
            "yaml envoy-connection-manager" => {
                let manager = reference.pointer_mut(CONNECTION_MANAGER).unwrap();
                set(manager, read(&block.text, &at));
                places.push(at);
                continue;
            }
            "yaml envoy-filter" => HTTP_FILTERS,
            "yaml envoy-cluster" => CLUSTERS,
            _ => continue,
        };
        let mut fragment = read(&block.text, &at);
        fragment["name"] = json!(format!("{} {}", fragment["name"], places.len()));
        let fragments = reference.pointer_mut(fragments).unwrap();
        fragments.as_array_mut().unwrap().insert(0, fragment);
        places.push(at);
    }
    found.push((places.join(", "), reference));
    found
}

const LDS_FILE: &str = "/etc/envoy/lds.yaml";
const CLUSTERS: &str = "/static_resources/clusters";
const CONNECTION_MANAGER: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const HTTP_FILTERS: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

fn read(yaml: &str, at: &str) -> Value {
    serde_yaml_ng::from_str(yaml).unwrap_or_else(|error| panic!("{at}: {error}"))
}

/// Sets members of an object.
fn set(object: &mut Value, members: Value) {
    let Value::Object(members) = members else {
        panic!("{members} are no members");
    };
    for (name, value) in members {
        object[name] = value;
    }
}

/// Every object of a document, to be changed.
fn visit(value: &mut Value, see: &mut impl FnMut(&mut Value)) {
    see(value);
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| visit(member, see)),
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, see)),
        _ => {}
    }
}

#[test]
fn no_route_cuts_a_stream_and_no_escaped_slash_is_taken_for_another_path() {
    for (at, mut whole) in configurations() {
        visit(&mut whole, &mut |object| {
            if let Some(route) = object.get("route") {
                assert_eq!(route["timeout"], "0s", "{at}: {route}");
            }
            let escaped = object.get("path_with_escaped_slashes_action");
            assert_eq!(escaped, None, "{at}");
        });
    }
}

/// What the guides look for in it is there, and what they warn of is not.
#[test]
fn an_example_has_an_access_log_with_the_reason_and_clusters_that_no_default_of_envoys_hinders() {
    let mut seen = 0;
    for path in files(&checkout().join("examples"), "yaml") {
        let at = path.display().to_string();
        let mut whole = read(&fs::read_to_string(path).unwrap(), &at);
        let clusters = whole.pointer(CLUSTERS).unwrap().as_array().unwrap();
        for cluster in clusters {
            let name = cluster["name"].as_str().unwrap();
            assert_eq!(cluster["dns_lookup_family"], "V4_PREFERRED", "{at}: {name}");
            if name.starts_with("authgear") {
                let threshold = &cluster["circuit_breakers"]["thresholds"][0];
                for limit in ["max_pending_requests", "max_requests"] {
                    let limit = threshold[limit].as_u64();
                    // By default one worker's alone.
                    assert!(limit > Some(1_024 + 256), "{at}: {name}: {threshold}");
                }
            }
        }
        visit(&mut whole, &mut |object| {
            if object.get("stat_prefix").is_some() {
                let log = object["access_log"].to_string();
                assert!(log.contains("%RESPONSE_CODE_DETAILS%"), "{at}: {log}");
                // A request that the filter answers itself still has what the client has put there.
                assert!(!log.contains("AUTHGEAR"), "{at}: {log}");
                seen += 1;
            }
        });
    }
    assert!(seen >= 2);
}

#[test]
fn every_filter_configuration_within_an_envoy_configuration_is_accepted() {
    for (at, mut whole) in configurations() {
        let mut seen = 0;
        visit(&mut whole, &mut |object| {
            if object["@type"] != WASM {
                return;
            }
            let configuration = &object["config"]["configuration"];
            let value = &configuration["value"];
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let kind = if value.is_string() {
                "StringValue"
            } else {
                "Struct"
            };
            let expected = format!("type.googleapis.com/google.protobuf.{kind}");
            assert_eq!(configuration["@type"], expected, "{at}");
            assert_accepted(text.as_bytes(), &at);
            assert_ne!(object["config"]["failure_policy"], "FAIL_OPEN", "{at}");
            assert_eq!(object["config"]["failure_policy"], "FAIL_RELOAD", "{at}");
            let vm_id = object["config"]["vm_config"]["vm_id"].as_str();
            assert!(vm_id.is_some_and(|vm_id| !vm_id.is_empty()), "{at}: vm_id");
            seen += 1;
        });
        assert!(seen > 0, "{at}: no filter");
    }
}

#[tokio::test]
async fn every_envoy_configuration_is_accepted_by_envoy() {
    let wasm = filter_wasm().unwrap();
    let ca = TestCa::new().pem();
    let lds = tempfile::NamedTempFile::new().unwrap();
    for (at, mut whole) in configurations() {
        visit(&mut whole, &mut |object| {
            match object["filename"].as_str() {
                Some("/etc/envoy/authgear_filter.wasm") => object["filename"] = json!(wasm),
                Some("/etc/ssl/certs/ca-certificates.crt") => {
                    *object = json!({ "inline_string": ca })
                }
                _ => {}
            }
            if object["path"] == LDS_FILE {
                object["path"] = json!(lds.path());
            }
        });
        if let Err(error) = validate(whole).await {
            panic!("{at}: {error}");
        }
    }
}

/// The reference configuration, with neither an Authgear nor an application behind.
fn alone() -> Value {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let reference = Reference::read().unwrap();
    let reference = reference.wasm(&filter_wasm().unwrap()).listen(any);
    let reference = reference.cluster("authgear", any).cluster("app", any);
    reference.into_bootstrap()
}

/// The listener of the reference configuration, moved as the documentation says.
#[tokio::test]
async fn a_listener_by_lds_as_it_is_documented_is_served() {
    let mut whole = alone();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let mut seen = 0;
    for (document, block) in blocks(documents()) {
        let at = document.at(block.line);
        match block.info.as_str() {
            "yaml envoy-part" if block.text.contains("lds_config") => {
                set(&mut whole, read(&block.text, &at));
                let source = &mut whole["dynamic_resources"]["lds_config"]["path_config_source"];
                assert_eq!(source["path"], LDS_FILE, "{at}");
                source["path"] = json!(file.path());
            }
            "yaml envoy-listener" => {
                let mut lds = read(&block.text, &at);
                let listeners = &mut whole["static_resources"]["listeners"];
                let moved = listeners.as_array_mut().unwrap().remove(0);
                assert_eq!(lds["resources"][0]["name"], moved["name"], "{at}");
                for (name, value) in moved.as_object().unwrap() {
                    lds["resources"][0][name] = value.clone();
                }
                fs::write(file.path(), lds.to_string()).unwrap();
            }
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 2, "the listener, and where Envoy finds it");
    let envoy = Envoy::run(whole, Launch::default()).await.unwrap();
    let reply = Request::new(envoy.address(), "GET", "/api/me").send().await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_browser_is_sent_to_the_login_as_it_is_documented_and_nobody_else() {
    let mut whole = alone();
    for (document, block) in blocks(documents()) {
        if block.info == "yaml envoy-connection-manager" {
            let manager = whole.pointer_mut(CONNECTION_MANAGER).unwrap();
            set(manager, read(&block.text, &document.at(block.line)));
        }
    }
    let envoy = Envoy::run(whole, Launch::default()).await.unwrap();
    let get = |path| Request::new(envoy.address(), "GET", path);
    let html = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
    let page = get("/account").header("accept", html).send().await;
    assert_eq!(page.status, 302, "{page:?}");
    let location = page.header("location").unwrap();
    let login = "https://auth.example.com/oauth2/authorize?response_type=none&client_id=";
    assert!(location.starts_with(login), "{location}");
    assert!(location.contains("&redirect_uri=https://www.example.com/&"));
    assert_eq!(page.header("cache-control").unwrap(), "no-store");
    let post = Request::new(envoy.address(), "POST", "/account").header("accept", html);
    for other in [get("/account"), post] {
        let reply = other.send().await;
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.json()["code"], "unauthenticated", "{reply:?}");
    }
}
