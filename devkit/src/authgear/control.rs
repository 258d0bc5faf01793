//! The control interface: what tests do in process, over HTTP for manual runs and docker-compose.
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `POST /_control/token` | `{"user":"alice","kind":"user"｜"refreshed"｜"opaque"｜"id"｜"machine","claims":{…},"without":[…],"header":{…},"expires_in":60}` | `{"access_token":…,"token_type":"Bearer"}` |
//! | `POST /_control/session` | `{"user":"alice","kind":"session"｜"app_session"}` | `{"cookie":"session=…"}` |
//! | `POST /_control/user` | `{"user":"carol","roles":[…],"anonymous":…,"verified":…}` | the user |
//! | `POST /_control/disable` | `{"user":"alice"}`: by the Admin API, for good | |
//! | `POST /_control/suspend` | `{"user":"alice","suspended":true}`: for a time | |
//! | `POST /_control/delete` | `{"user":"alice"}` | |
//! | `POST /_control/revoke` | `{"credential":"…"}` | `{"revoked":true}` |
//! | `POST /_control/rotate` | `{"mode":"add"｜"switch"｜"swap"}`, default `swap` | the key set |
//! | `POST /_control/fault` | `{"endpoint":"jwks"｜"discovery"｜"resolver","fault":"status"｜"delay"｜…,"status":500,"ms":100,"times":3}`; fault `none` clears | |
//! | `POST /_control/settings` | `{"cookie_prefix":…,"check_audience":…,"session_lock":…,"deny_gateway":…,"resolver_names_amr":…,"trust_proxy":…,"tenant_by_host":…}` | |
//! | `GET /_control/calls` | | every recorded call |
//! | `POST /_control/reset` | | faults and calls are cleared |

use std::time::Duration;

use anyhow::{Context, bail};
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Service;
use super::fault::{Endpoint, Fault};
use crate::keys::{Token, User};
use crate::message::CannedResponse;

const BODY_LIMIT: usize = 1 << 20;

pub(super) async fn answer(service: &Service, parts: &Parts, body: Incoming) -> CannedResponse {
    let body = Limited::new(body, BODY_LIMIT)
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    match act(service, parts.method.as_str(), parts.uri.path(), &body) {
        Ok(answer) => CannedResponse::json(&answer),
        Err(error) => {
            CannedResponse::json(&json!({ "error": format!("{error:#}") })).with_status(400)
        }
    }
}

fn act(service: &Service, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Value> {
    let action = path.trim_start_matches("/_control/");
    if (method, action) == ("GET", "calls") {
        return Ok(service
            .log
            .all()
            .iter()
            .map(crate::message::Recorded::to_json)
            .collect());
    }
    if method != "POST" {
        bail!("{method} {path}: the control interface takes POST, and GET /_control/calls");
    }
    let body = if body.is_empty() { b"{}" } else { body };
    match action {
        "token" => token(service, serde_json::from_slice(body)?),
        "session" => session(service, serde_json::from_slice(body)?),
        "user" => user(service, serde_json::from_slice(body)?),
        "disable" => end(service, &serde_json::from_slice(body)?, |user| {
            user.disabled = true;
        }),
        "suspend" => suspend(service, &serde_json::from_slice(body)?),
        "delete" => end(service, &serde_json::from_slice(body)?, |user| {
            user.deleted = true;
        }),
        "revoke" => {
            let Revoke { credential } = serde_json::from_slice(body)?;
            Ok(json!({ "revoked": service.state().revoke(&credential) }))
        }
        "rotate" => rotate(service, serde_json::from_slice(body)?),
        "fault" => fault(service, serde_json::from_slice(body)?),
        "settings" => settings(service, serde_json::from_slice(body)?),
        "reset" => {
            service.faults.clear(None);
            service.log.clear();
            Ok(json!({}))
        }
        _ => bail!("{path}: no such control"),
    }
}

fn known(service: &Service, name: &str) -> anyhow::Result<User> {
    let state = service.state();
    let names: Vec<_> = state.users.keys().cloned().collect();
    state
        .users
        .get(name)
        .cloned()
        .with_context(|| format!("no user {name:?}; there are {names:?}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    user: Option<String>,
    #[serde(default)]
    kind: TokenKind,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    header: Map<String, Value>,
    expires_in: Option<i64>,
    #[serde(default = "machine")]
    client_id: String,
    resource: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TokenKind {
    #[default]
    User,
    Refreshed,
    Opaque,
    Id,
    Machine,
}

fn machine() -> String {
    "demo-machine".to_owned()
}

fn token(service: &Service, request: TokenRequest) -> anyhow::Result<Value> {
    let user = || known(service, request.user.as_deref().context("which \"user\"?")?);
    let origin = service.state().settings.origin.clone();
    let (mut token, owner) = match request.kind {
        TokenKind::Opaque => {
            let user = user()?;
            let token = service.state().opaque_token(&user);
            return Ok(json!({ "access_token": token, "token_type": "Bearer" }));
        }
        TokenKind::User => (Token::user(&origin, &user()?), Some(user()?)),
        TokenKind::Refreshed => {
            let token = Token::user(&origin, &user()?).without("amr");
            (token, Some(user()?))
        }
        TokenKind::Id => (Token::id(&origin, "3f2a9c0d11e2b7aa", &user()?), None),
        TokenKind::Machine => {
            let resource = request
                .resource
                .as_deref()
                .unwrap_or("https://api.example.com");
            (Token::machine(&origin, resource, &request.client_id), None)
        }
    };
    if let Some(seconds) = request.expires_in {
        token = token.expires_in(seconds);
    }
    token = request
        .claims
        .into_iter()
        .fold(token, |token, (name, value)| token.claim(&name, value));
    token = request
        .header
        .into_iter()
        .fold(token, |token, (name, value)| token.header(&name, value));
    token = request
        .without
        .iter()
        .fold(token, |token, name| token.without(name));
    let mut state = service.state();
    let text = match &owner {
        Some(user) => state.issue(user, &token),
        None => token.sign(state.keys.first().context("there is no key to sign with")?),
    };
    Ok(json!({ "access_token": text, "token_type": "Bearer" }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionRequest {
    user: String,
    #[serde(default)]
    kind: SessionKind,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SessionKind {
    #[default]
    Session,
    AppSession,
}

fn session(service: &Service, request: SessionRequest) -> anyhow::Result<Value> {
    let user = known(service, &request.user)?;
    let mut state = service.state();
    let (suffix, value) = match request.kind {
        SessionKind::Session => ("session", state.session(&user)),
        SessionKind::AppSession => ("app_session", state.app_session(&user, true)),
    };
    Ok(json!({ "cookie": format!("{}={value}", state.settings.cookie(suffix)) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRequest {
    user: String,
    roles: Option<Vec<String>>,
    amr: Option<Vec<String>>,
    anonymous: Option<bool>,
    verified: Option<bool>,
    can_reauthenticate: Option<bool>,
}

fn user(service: &Service, request: UserRequest) -> anyhow::Result<Value> {
    let mut state = service.state();
    let user = state
        .users
        .entry(request.user.clone())
        .or_insert_with(|| User::new(&request.user));
    set(&mut user.roles, request.roles);
    set(&mut user.amr, request.amr);
    set(&mut user.anonymous, request.anonymous);
    set(&mut user.verified, request.verified);
    set(&mut user.can_reauthenticate, request.can_reauthenticate);
    Ok(json!({ "user": user.name, "id": user.id, "roles": user.roles }))
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    user: String,
}

/// A user who is disabled or deleted, with all sessions and tokens.
fn end(service: &Service, request: &End, change: impl FnOnce(&mut User)) -> anyhow::Result<Value> {
    let id = known(service, &request.user)?.id;
    let mut state = service.state();
    if let Some(user) = state.users.get_mut(&request.user) {
        change(user);
    }
    state.revoke_all(&id);
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suspend {
    user: String,
    #[serde(default = "yes")]
    suspended: bool,
}

fn yes() -> bool {
    true
}

fn suspend(service: &Service, request: &Suspend) -> anyhow::Result<Value> {
    known(service, &request.user)?;
    if let Some(user) = service.state().users.get_mut(&request.user) {
        user.suspended = request.suspended;
    }
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    credential: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    #[serde(default = "swap")]
    mode: String,
}

fn swap() -> String {
    "swap".to_owned()
}

fn rotate(service: &Service, request: Rotate) -> anyhow::Result<Value> {
    let mut state = service.state();
    match request.mode.as_str() {
        "add" => state.publish_next(),
        "switch" => state.promote_last(),
        "swap" => state.swap(),
        other => bail!("mode {other:?}: one of add, switch, swap"),
    }
    Ok(state.jwks())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultRequest {
    endpoint: Endpoint,
    fault: String,
    times: Option<u64>,
    status: Option<u16>,
    ms: Option<u64>,
    bytes: Option<usize>,
    location: Option<String>,
}

fn fault(service: &Service, request: FaultRequest) -> anyhow::Result<Value> {
    let wait = Duration::from_millis(request.ms.unwrap_or(1000));
    let fault = match request.fault.as_str() {
        "none" => {
            service.faults.clear(Some(request.endpoint));
            return Ok(json!({}));
        }
        "status" => Fault::Status(request.status.unwrap_or(500)),
        "delay" => Fault::Delay(wait),
        "hang" => Fault::Hang,
        "drip" => Fault::Drip(wait),
        "truncate" => Fault::Truncate,
        "reset" => Fault::Reset,
        "garbage" => Fault::Garbage,
        "html" => Fault::Html,
        "huge" => Fault::Huge(request.bytes.unwrap_or(50 << 20)),
        "empty_set" => Fault::EmptySet,
        "redirect" => Fault::Redirect(
            request
                .location
                .unwrap_or_else(|| "http://127.0.0.1:1/".to_owned()),
        ),
        "lock_failure" => Fault::LockFailure,
        other => bail!(
            "fault {other:?}: one of none, status, delay, hang, drip, truncate, reset, garbage, html, huge, \
             empty_set, redirect, lock_failure"
        ),
    };
    service.faults.set(request.endpoint, fault, request.times);
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsRequest {
    cookie_prefix: Option<String>,
    check_audience: Option<bool>,
    session_lock: Option<bool>,
    deny_gateway: Option<bool>,
    resolver_names_amr: Option<bool>,
    trust_proxy: Option<bool>,
    tenant_by_host: Option<bool>,
}

fn settings(service: &Service, request: SettingsRequest) -> anyhow::Result<Value> {
    let settings = &mut service.state().settings;
    set(&mut settings.cookie_prefix, request.cookie_prefix);
    set(&mut settings.check_audience, request.check_audience);
    set(&mut settings.session_lock, request.session_lock);
    set(&mut settings.deny_gateway, request.deny_gateway);
    set(&mut settings.resolver_names_amr, request.resolver_names_amr);
    set(&mut settings.trust_proxy, request.trust_proxy);
    set(&mut settings.tenant_by_host, request.tenant_by_host);
    Ok(json!({}))
}
