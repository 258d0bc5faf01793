//! The reference configuration `envoy.yaml`, made to fit another place than docker-compose.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{EnvoyError, checkout, upstream_tls};
use crate::endpoint::Endpoint;

/// `envoy.yaml` of the checkout, read.
#[derive(Clone, Debug)]
pub struct Reference(Value);

impl Reference {
    /// Reads the file.
    ///
    /// # Errors
    /// Where there is none, or it is not what these changes expect.
    pub fn read() -> Result<Self, EnvoyError> {
        let path = checkout().join("envoy.yaml");
        let text = fs::read_to_string(&path)
            .map_err(|error| EnvoyError::NotFound(format!("{}: {error}", path.display())))?;
        let value: Value = serde_yaml_ng::from_str(&text)
            .map_err(|error| EnvoyError::NotFound(format!("{}: {error}", path.display())))?;
        let mut reference = Self(value);
        if reference.filter().is_none() {
            let missing = "the HTTP filter \"authgear\" is not where it was";
            return Err(EnvoyError::NotFound(format!(
                "{}: {missing}",
                path.display()
            )));
        }
        Ok(reference)
    }

    /// The whole, for [`super::Envoy::run`].
    #[must_use]
    pub fn into_bootstrap(self) -> Value {
        self.0
    }

    /// Listens here, and has the admin interface on any port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.0["static_resources"]["listeners"][0]["address"] = socket(address);
        self.0["admin"]["address"] = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        self
    }

    /// Takes the filter from this file.
    #[must_use]
    pub fn wasm(mut self, path: &Path) -> Self {
        if let Some(config) = self.filter() {
            config["vm_config"]["code"] = json!({ "local": { "filename": path } });
        }
        self
    }

    /// Sends a cluster's requests here.
    #[must_use]
    pub fn cluster(mut self, name: &str, address: SocketAddr) -> Self {
        if let Some(cluster) = self.find_cluster(name) {
            cluster["type"] = json!("STATIC");
            cluster["load_assignment"] = load_assignment(name, socket(address));
        }
        self
    }

    /// Changes the configuration of the filter.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Value)) -> Self {
        if let Some(value) = self
            .filter()
            .map(|config| &mut config["configuration"]["value"])
        {
            let text = value.as_str().unwrap_or_default();
            // A text that is no JSON stays as it is: the filter says better what is wrong with it.
            if let Ok(mut configuration) = serde_json::from_str(text) {
                change(&mut configuration);
                *value = json!(configuration.to_string());
            }
        }
        self
    }

    /// Guards for a real Authgear: the cluster speaks TLS, its certificate verified for that host by the CAs in `ca`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: &Endpoint, ca: Option<&Path>) -> Self {
        if let Some(cluster) = self.find_cluster("authgear") {
            let address = json!({ "socket_address": { "address": endpoint.host, "port_value": endpoint.port } });
            // Authgear's addresses are a cloud's: one connection pool for the name, whatever it resolves to now.
            cluster["type"] = json!("LOGICAL_DNS");
            cluster["connect_timeout"] = json!("5s");
            cluster["load_assignment"] = load_assignment("authgear", address);
            if let Some(ca) = ca {
                cluster["transport_socket"] =
                    upstream_tls(&endpoint.host, &json!({ "filename": ca }));
            }
        }
        self.configure(|configuration| {
            configuration["projects"][0]["endpoint"] = json!(endpoint.origin);
            configuration["projects"][0]["jwks"] = json!({ "discover": true });
        })
    }

    fn filter(&mut self) -> Option<&mut Value> {
        let chain = &mut self.0["static_resources"]["listeners"][0]["filter_chains"][0];
        let filters = chain["filters"][0]["typed_config"]["http_filters"].as_array_mut()?;
        let filter = filters
            .iter_mut()
            .find(|filter| filter["name"] == "authgear")?;
        filter["typed_config"].get_mut("config")
    }

    fn find_cluster(&mut self, name: &str) -> Option<&mut Value> {
        let clusters = self.0["static_resources"]["clusters"].as_array_mut()?;
        clusters.iter_mut().find(|cluster| cluster["name"] == name)
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn load_assignment(name: &str, address: Value) -> Value {
    let endpoint = json!({ "endpoint": { "address": address } });
    json!({ "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] })
}
