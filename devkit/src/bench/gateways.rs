//! The Envoys that are compared: the same listener, routes and clusters, and one filter or none.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::origin::RESOLVER;
use crate::envoy::{Builder, Envoy, checkout};
use crate::testbed::ORIGIN;

/// Where the keys are.
pub(super) const JWKS: &str = "/oauth2/jwks";

/// An Envoy without a filter, and what all of them have in common: Envoy answers `/api/` itself, so that no upstream is
/// in the figures.
pub(super) fn plain(origin: SocketAddr) -> Builder {
    Envoy::builder()
        .cluster("authgear", &[origin])
        .upstream(origin)
        .route(json!({ "match": { "prefix": "/api/" }, "direct_response": { "status": 200 } }))
}

/// The Wasm filter that does next to nothing.
pub(super) fn noop(origin: SocketAddr) -> anyhow::Result<Builder> {
    let wasm = noop_wasm()?;
    Ok(plain(origin).wasm(wasm).filter(&json!({})))
}

/// The filter, so configured.
pub(super) fn ours(origin: SocketAddr, configuration: &Value) -> Builder {
    plain(origin).filter(configuration)
}

/// The filter's configuration: every default, but verdicts of the resolver that outlive the benchmark.
pub(super) fn configuration() -> Value {
    json!({ "projects": [{ "endpoint": ORIGIN, "cluster": "authgear", "session": { "ttl": "1h" } }] })
}

/// Envoy's own filter for tokens, asked for no more than it must do.
pub(super) fn jwt_authn(origin: SocketAddr, cached: bool) -> Builder {
    let mut provider = json!({
        "issuer": ORIGIN,
        "audiences": [ORIGIN],
        "forward": true,
        "remote_jwks": {
            "http_uri": { "uri": format!("{ORIGIN}{JWKS}"), "cluster": "authgear", "timeout": "5s" },
            "cache_duration": "300s",
        },
    });
    if cached {
        provider["jwt_cache_config"] = json!({ "jwt_cache_size": 4096 });
    }
    plain(origin).filter_before(json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "authgear": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "authgear" } }],
        },
    }))
}

/// Envoy's own filter for asking somebody else: the resolver, at every request.
pub(super) fn ext_authz(origin: SocketAddr) -> Builder {
    plain(origin).filter_before(json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "http_service": {
                "server_uri": { "uri": ORIGIN, "cluster": "authgear", "timeout": "1s" },
                "path_prefix": RESOLVER,
                "authorization_response": {
                    "allowed_upstream_headers": { "patterns": [{ "prefix": "x-authgear-" }] },
                },
            },
            "allowed_headers": { "patterns": [{ "exact": "cookie" }, { "exact": "user-agent" }] },
        },
    }))
}

/// `$NOOP_FILTER_WASM`, else where `make noop-filter` puts it.
fn noop_wasm() -> anyhow::Result<PathBuf> {
    const BUILT: &str = "wasm/wasm32-wasip1/release/noop_filter.wasm";
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || checkout().join("target"),
        |target| checkout().join(target),
    );
    let path = env::var_os("NOOP_FILTER_WASM").map_or_else(|| target.join(BUILT), PathBuf::from);
    fs::metadata(&path)
        .with_context(|| format!("{}: `make noop-filter` makes it", path.display()))?;
    Ok(path)
}
