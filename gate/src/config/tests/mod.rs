//! Fixtures for the configuration's tests: the smallest document, and changes to it.

use std::sync::LazyLock;

use serde_json::{Value, json};
use testkit::SigningKey;

use super::*;

mod accepted;
mod allow;
mod bounds;
mod conditions;
mod document;
mod host;
mod invalid;
mod later;
mod projects;
mod refused;
mod unmet;
mod values;

const ENDPOINT: &str = "https://auth.example.com";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::es256().with_kid("a"));

/// A document with one key, whose `kid` is `a`.
fn jwks() -> Value {
    json!({ "keys": [KEY.jwk()] })
}

fn smallest() -> Value {
    json!({ "projects": [{ "endpoint": ENDPOINT, "cluster": "authgear" }] })
}

/// The smallest configuration with these values in these places (RFC 6901).
fn with(places: &[(&str, Value)]) -> Value {
    let mut json = smallest();
    for (place, value) in places {
        let (parent, name) = place.rsplit_once('/').expect("a JSON pointer");
        json.pointer_mut(parent).expect("an object")[name] = value.clone();
    }
    json
}

fn parse(json: &Value) -> Result<Config, ConfigErrors> {
    Config::parse(json.to_string().as_bytes())
}

fn accepted(json: &Value) -> Config {
    parse(json).unwrap_or_else(|errors| panic!("{json}\n{errors}"))
}

/// The lines an operator reads.
fn refused(text: impl AsRef<[u8]>) -> Vec<String> {
    let errors = match Config::parse(text.as_ref()) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(errors) => errors,
    };
    assert_eq!(errors.iter().count(), errors.to_string().lines().count());
    errors.to_string().lines().map(str::to_owned).collect()
}

/// The places that are warned of.
fn warned_of(config: &Config) -> Vec<&str> {
    let warnings = config.warnings.iter();
    warnings.map(|warning| warning.path.as_str()).collect()
}
