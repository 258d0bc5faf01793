//! The main server: discovery and JWKS (contract §7).

use http::request::Parts;
use serde_json::json;

use super::origin::Call;
use super::resolver::text;
use super::state::State;
use crate::message::CannedResponse;

/// The answer at `/oauth2/jwks`.
pub(super) fn jwks(state: &State, parts: &Parts, call: &Call) -> CannedResponse {
    guarded(state, parts, call, || CannedResponse::json(&state.jwks()))
}

/// The answer at both `/.well-known/` documents.
pub(super) fn discovery(state: &State, parts: &Parts, call: &Call) -> CannedResponse {
    let origin = &state.settings.origin;
    guarded(state, parts, call, || {
        CannedResponse::json(&json!({
            "issuer": origin,
            "authorization_endpoint": format!("{origin}/oauth2/authorize"),
            "token_endpoint": format!("{origin}/oauth2/token"),
            "revocation_endpoint": format!("{origin}/oauth2/revoke"),
            "userinfo_endpoint": format!("{origin}/oauth2/userinfo"),
            "end_session_endpoint": format!("{origin}/oauth2/end_session"),
            "jwks_uri": format!("{origin}/oauth2/jwks"),
            "scopes_supported": ["openid", "offline_access", "https://authgear.com/scopes/full-access"],
            "response_types_supported": ["code", "none"],
            "response_modes_supported": ["query", "fragment", "form_post", "cookie"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["iss", "aud", "iat", "exp", "sub"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
            "dpop_signing_alg_values_supported": ["RS256", "ES256"],
        }))
    })
}

/// The checks before either document: tenant, blocklist, public origin, method.
fn guarded(
    state: &State,
    parts: &Parts,
    call: &Call,
    document: impl FnOnce() -> CannedResponse,
) -> CannedResponse {
    let settings = &state.settings;
    if settings.tenant_by_host && !call.names_tenant(settings) {
        return CannedResponse::html("<!DOCTYPE html><title>404</title><p>Page not found")
            .with_status(404);
    }
    if settings.deny_gateway || is_bot(parts) {
        return text(403, "forbidden\n");
    }
    if call.origin() != settings.origin {
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        return CannedResponse::status(307)
            .header("location", format!("{}{target}", settings.origin));
    }
    let answer = match parts.method.as_str() {
        "GET" => document(),
        "OPTIONS" => CannedResponse::status(200),
        _ => return CannedResponse::status(405),
    };
    answer
        .header("vary", "User-Agent")
        .header("access-control-allow-origin", "*")
        .header("access-control-max-age", "900")
}

fn is_bot(parts: &Parts) -> bool {
    let agent = parts
        .headers
        .get("user-agent")
        .map(|value| value.as_bytes().to_ascii_lowercase());
    let agent = String::from_utf8_lossy(&agent.unwrap_or_default()).into_owned();
    ["bot", "crawler", "spider"]
        .iter()
        .any(|name| agent.contains(name))
}
