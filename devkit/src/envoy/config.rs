//! Envoy's configuration, put together piece by piece.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::find::filter_wasm;
use super::{Envoy, EnvoyError, Launch};

/// Set to `true` or `false`, it is the plugin's `allow_on_headers_stop_iteration` wherever a test does not say itself: the
/// same suite runs under both.
const STOP_ITERATION: &str = "DEVKIT_ALLOW_ON_HEADERS_STOP_ITERATION";

/// How the filter's configuration is handed to Envoy.
#[derive(Clone, Debug)]
enum Configuration {
    Text(String),
    Struct(Value),
}

impl Configuration {
    fn to_any(&self) -> Value {
        match self {
            Self::Text(text) => {
                json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text })
            }
            Self::Struct(value) => {
                json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": value })
            }
        }
    }
}

type Patch = Box<dyn Fn(&mut Value) + Send + Sync>;

/// Everything about one Envoy that can differ from test to test.
#[must_use = "nothing runs until `start`"]
pub struct Builder {
    configuration: Option<Configuration>,
    wasm: Option<PathBuf>,
    failure_policy: String,
    clusters: Vec<Value>,
    routes: Vec<Value>,
    filters_before: Vec<Value>,
    filters_after: Vec<Value>,
    patch_plugin: Vec<Patch>,
    patch_manager: Vec<Patch>,
    patch_bootstrap: Vec<Patch>,
    reloadable: bool,
    pub(super) launch: Launch,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            configuration: None,
            wasm: None,
            failure_policy: "FAIL_CLOSED".to_owned(),
            clusters: Vec::new(),
            routes: Vec::new(),
            filters_before: Vec::new(),
            filters_after: Vec::new(),
            patch_plugin: Vec::new(),
            patch_manager: Vec::new(),
            patch_bootstrap: Vec::new(),
            reloadable: false,
            launch: Launch::default(),
        }
    }
}

impl Builder {
    /// With the filter, so configured (as text: a `StringValue`).
    pub fn filter(self, configuration: &Value) -> Self {
        self.filter_text(&configuration.to_string())
    }

    /// With the filter, its configuration as a `Struct`.
    pub fn filter_struct(mut self, configuration: &Value) -> Self {
        self.configuration = Some(Configuration::Struct(configuration.clone()));
        self
    }

    /// With the filter, and any text for its configuration.
    pub fn filter_text(mut self, configuration: &str) -> Self {
        self.configuration = Some(Configuration::Text(configuration.to_owned()));
        self
    }

    /// Another Wasm file than the one of `make build`.
    pub fn wasm(mut self, path: impl Into<PathBuf>) -> Self {
        self.wasm = Some(path.into());
        self
    }

    /// What Envoy does after a trap. `FAIL_CLOSED` unless said otherwise, so that a trap shows.
    pub fn failure_policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.failure_policy);
        self
    }

    /// The backend.
    pub fn upstream(self, address: SocketAddr) -> Self {
        self.cluster("app", &[address])
    }

    /// A cluster: no address makes one that is never healthy.
    pub fn cluster(mut self, name: &str, addresses: &[SocketAddr]) -> Self {
        self.clusters.push(cluster(name, addresses));
        self
    }

    /// A cluster that speaks TLS: the certificate must be for `sni`, and signed by the CA in `ca_pem`.
    pub fn tls_cluster(mut self, name: &str, address: SocketAddr, sni: &str, ca_pem: &str) -> Self {
        let mut cluster = cluster(name, &[address]);
        cluster["transport_socket"] = upstream_tls(sni, &json!({ "inline_string": ca_pem }));
        self.clusters.push(cluster);
        self
    }

    /// A cluster as Envoy spells it.
    pub fn raw_cluster(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// A route before the one that sends everything to the backend.
    pub fn route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// An HTTP filter before ours.
    pub fn filter_before(mut self, filter: Value) -> Self {
        self.filters_before.push(filter);
        self
    }

    /// An HTTP filter between ours and the router.
    pub fn filter_after(mut self, filter: Value) -> Self {
        self.filters_after.push(filter);
        self
    }

    /// Changes how Envoy loads our filter, its `PluginConfig`: names, options, what it is configured with.
    pub fn plugin(mut self, patch: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.patch_plugin.push(Box::new(patch));
        self
    }

    /// Changes the HTTP connection manager's configuration.
    pub fn manager(mut self, patch: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.patch_manager.push(Box::new(patch));
        self
    }

    /// Changes the whole configuration, last of all.
    pub fn bootstrap(mut self, patch: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.patch_bootstrap.push(Box::new(patch));
        self
    }

    /// Workers; one unless said otherwise, so that a test knows which.
    pub fn concurrency(mut self, workers: usize) -> Self {
        self.launch.concurrency = workers;
        self
    }

    /// Envoy's `--log-level`; `warning`, and `info` for Wasm, unless said otherwise.
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.launch.log_level);
        self
    }

    /// Its wall clock is this one.
    pub fn wall_clock(mut self, clock: &crate::clock::WallClock) -> Self {
        let environment = clock.environment().into_iter();
        let named = environment.map(|(name, value)| (name.to_owned(), value));
        self.launch.environment.extend(named);
        self
    }

    /// Takes its listener from a file, so that [`Envoy::reload`] can change it while it runs.
    pub fn reloadable(mut self) -> Self {
        self.reloadable = true;
        self
    }

    /// Starts Envoy, and waits until it serves.
    ///
    /// # Panics
    /// Where it does not start; [`Builder::try_start`] says why instead.
    pub async fn start(self) -> Envoy {
        self.try_start()
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts Envoy, and waits until it serves.
    ///
    /// # Errors
    /// Where it is not found, or refuses its configuration: with what it logged.
    pub async fn try_start(self) -> Result<Envoy, EnvoyError> {
        let bootstrap = self.bootstrap_with(&self.listener(1)?);
        let launch = self.launch.clone();
        Envoy::launch(bootstrap, launch, self.reloadable.then_some(self)).await
    }

    /// Has Envoy check the configuration, the filter's own included (`--mode validate`).
    ///
    /// # Errors
    /// Where it is refused: with what Envoy logged.
    pub async fn validate(self) -> Result<(), EnvoyError> {
        let bootstrap = self.bootstrap_with(&self.listener(1)?);
        super::validate(bootstrap).await
    }

    /// The same with the filter configured otherwise.
    pub(super) fn reconfigured(&mut self, configuration: &Value) {
        self.configuration = Some(match self.configuration {
            Some(Configuration::Struct(_)) => Configuration::Struct(configuration.clone()),
            _ => Configuration::Text(configuration.to_string()),
        });
    }

    fn bootstrap_with(&self, listener: &Value) -> Value {
        let listeners = if self.reloadable {
            json!([])
        } else {
            json!([listener])
        };
        let mut bootstrap = json!({
            "node": { "id": "devkit", "cluster": "devkit" },
            "admin": { "address": any_port() },
            "static_resources": { "clusters": self.clusters, "listeners": listeners },
        });
        for patch in &self.patch_bootstrap {
            patch(&mut bootstrap);
        }
        bootstrap
    }

    /// The listener; its version is the name of its route table, so that no two are the same to Envoy.
    pub(super) fn listener(&self, version: u64) -> Result<Value, EnvoyError> {
        let mut filters = self.filters_before.clone();
        if let Some(configuration) = &self.configuration {
            let wasm = self.wasm.clone().map_or_else(filter_wasm, Ok)?;
            let mut filter = wasm_filter(
                &wasm.to_string_lossy(),
                &self.failure_policy,
                &configuration.to_any(),
            );
            for patch in &self.patch_plugin {
                patch(&mut filter["typed_config"]["config"]);
            }
            filters.push(filter);
        }
        filters.extend(self.filters_after.clone());
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }));
        let mut routes = self.routes.clone();
        routes.push(
            json!({ "match": { "prefix": "/" }, "route": { "cluster": "app", "timeout": "15s" } }),
        );
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "gateway",
            "codec_type": "AUTO",
            "upgrade_configs": [{ "upgrade_type": "websocket" }],
            "http_filters": filters,
            "route_config": {
                "name": format!("version {version}"),
                "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }],
            },
        });
        for patch in &self.patch_manager {
            patch(&mut manager);
        }
        Ok(json!({
            "name": "gateway",
            "address": any_port(),
            "filter_chains": [{
                "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }],
            }],
        }))
    }
}

fn any_port() -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } })
}

fn wasm_filter(path: &str, failure_policy: &str, configuration: &Value) -> Value {
    let mut filter = json!({
        "name": "authgear",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "authgear",
                "root_id": "authgear",
                "failure_policy": failure_policy,
                "vm_config": {
                    "vm_id": "authgear",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": path } },
                },
                "configuration": configuration,
            },
        },
    });
    match std::env::var(STOP_ITERATION).as_deref() {
        Ok("true") => {
            filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
        }
        Ok("false") | Err(_) => {}
        Ok(other) => panic!("{STOP_ITERATION} is true or false, not {other:?}"),
    }
    filter
}

/// A cluster of fixed addresses, without limits that a crowd of test requests would meet on a busy machine.
#[must_use]
pub fn cluster(name: &str, addresses: &[SocketAddr]) -> Value {
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| {
            let socket =
                json!({ "address": address.ip().to_string(), "port_value": address.port() });
            json!({ "endpoint": { "address": { "socket_address": socket } } })
        })
        .collect();
    let plenty = json!({
        "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000, "max_retries": 100_000,
    });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "15s",
        "circuit_breakers": { "thresholds": [plenty] },
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] },
    })
}

/// The transport socket that demands a certificate for `host`, signed by `ca` (an Envoy data source).
#[must_use]
pub fn upstream_tls(host: &str, ca: &Value) -> Value {
    let kind = if host.parse::<std::net::IpAddr>().is_ok() {
        "IP_ADDRESS"
    } else {
        "DNS"
    };
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": host,
            "common_tls_context": {
                "validation_context": {
                    "trusted_ca": ca,
                    "match_typed_subject_alt_names": [{ "san_type": kind, "matcher": { "exact": host } }],
                },
            },
        },
    })
}

/// What a plugin's `capability_restriction_config` can withhold from the filter: the functions of the host that the module
/// imports, and the callbacks that it exports. `tests/artefact.rs` compares it with the module.
pub const CAPABILITIES: [&str; 48] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_tick",
    "proxy_on_vm_start",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

/// A plugin's `capability_restriction_config` with all of [`CAPABILITIES`] but these functions: Envoy answers them with an
/// error, and does not call back where they are callbacks.
///
/// # Panics
/// Where one of them is none of the filter's.
#[must_use]
pub fn capabilities_without(functions: &[&str]) -> Value {
    for function in functions {
        assert!(CAPABILITIES.contains(function), "{function}");
    }
    let allowed = CAPABILITIES
        .iter()
        .filter(|function| !functions.contains(function));
    let allowed: Value = allowed
        .map(|function| ((*function).to_owned(), json!({})))
        .collect();
    json!({ "allowed_capabilities": allowed })
}
