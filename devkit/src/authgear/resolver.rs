//! The Resolver Endpoint (contract §2, §3).

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use http::request::Parts;

use super::origin::Call;
use super::state::{Kind, Settings, State};
use crate::cookies;
use crate::keys::User;
use crate::message::CannedResponse;

/// The lock of one resolver call on a session; dropping it unlocks the session.
pub(super) struct Lock {
    state: Arc<Mutex<State>>,
    key: (Kind, String),
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .locked
            .remove(&self.key);
    }
}

/// What the resolver answers, and its lock on the session meanwhile; a call that does not get the lock retries for a while.
pub(super) async fn answer(
    shared: &Arc<Mutex<State>>,
    parts: &Parts,
    call: &Call,
) -> (CannedResponse, Option<Lock>) {
    let state = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let tries = state().settings.session_lock_tries;
    for _ in 1..tries {
        let (answer, lock) = try_to_answer(shared, parts, call);
        if answer.status != 500 {
            return (answer, lock);
        }
        let pause = rand::Rng::gen_range(&mut rand::thread_rng(), 50..=250);
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
    }
    try_to_answer(shared, parts, call)
}

fn try_to_answer(
    shared: &Arc<Mutex<State>>,
    parts: &Parts,
    call: &Call,
) -> (CannedResponse, Option<Lock>) {
    let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if !matches!(parts.method.as_str(), "GET" | "HEAD") {
        return (CannedResponse::status(405), None);
    }
    if state.settings.tenant_by_host && !call.names_tenant(&state.settings) {
        return (text(404, "app not found\n"), None);
    }
    let session_name = state.settings.cookie("session");
    let session = cookies::first(&parts.headers, &session_name);
    let clear = session.is_some().then(|| clearing_cookie(&state, call));
    let Some(key) = credential(&state, &parts.headers, session.as_deref(), &call.origin()) else {
        // Only an invalid `session` cookie is called invalid; any other bad credential counts as none.
        return (clear.map_or_else(base, |clear| refused(Some(clear))), None);
    };
    let lock = state
        .settings
        .session_lock
        .then(|| state.locked.insert(key.clone()));
    let lock = match lock {
        Some(false) => return (lock_failure(), None),
        Some(true) => Some(Lock {
            state: shared.clone(),
            key: key.clone(),
        }),
        None => None,
    };
    let user = state
        .grants
        .get(&key)
        .and_then(|grant| state.user_by_id(&grant.user));
    let answer = match user {
        Some(user) if !user.disabled && !user.deleted && !user.suspended => {
            resolved(&headers_of(user, &state.settings))
        }
        _ => refused(clear),
    };
    drop(state);
    (answer, lock)
}

/// The first credential that resolves, in the order of the code, not of the specification (contract §2.1).
fn credential(
    state: &State,
    headers: &HeaderMap,
    session: Option<&str>,
    origin: &str,
) -> Option<(Kind, String)> {
    let cookie = |suffix| cookies::first(headers, &state.settings.cookie(suffix));
    let lookup = |kind, text: Option<String>| state.lookup(kind, &text?, origin);
    lookup(Kind::AccessToken, bearer(headers))
        .or_else(|| lookup(Kind::AppSession, cookie("app_session")))
        .or_else(|| lookup(Kind::AccessToken, cookie("app_access_token")))
        .or_else(|| lookup(Kind::Session, session.map(str::to_owned)))
}

/// The first `Authorization`, split once at a space; the rest is the token, untrimmed.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get("authorization")?.as_bytes()).into_owned();
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.to_owned())
}

fn base() -> CannedResponse {
    CannedResponse::status(200)
        .header("x-content-type-options", "nosniff")
        .header(
            "permissions-policy",
            "camera=(), geolocation=(), microphone=()",
        )
        .header("x-robots-tag", "none")
}

fn headers_of(user: &User, settings: &Settings) -> Vec<(String, String)> {
    if settings.resolver_names_amr {
        return user.headers();
    }
    user.session_headers()
}

fn resolved(headers: &[(String, String)]) -> CannedResponse {
    headers
        .iter()
        .fold(base(), |answer, (name, value)| answer.header(name, value))
}

fn refused(clear: Option<String>) -> CannedResponse {
    let answer = base().header("x-authgear-session-valid", "false");
    clear
        .into_iter()
        .fold(answer, |answer, cookie| answer.header("set-cookie", cookie))
}

/// The cookie that takes `session` away; `Secure` only where the resolver saw https.
fn clearing_cookie(state: &State, call: &Call) -> String {
    let settings = &state.settings;
    let domain = settings
        .cookie_domain
        .as_ref()
        .map(|domain| format!(" Domain={domain};"))
        .unwrap_or_default();
    let secure = if call.scheme == "https" {
        " Secure;"
    } else {
        ""
    };
    format!(
        "{}=; Path=/;{domain} Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly;{secure} SameSite=Lax",
        settings.cookie("session")
    )
}

/// What a failed session lock, Redis or Postgres looks like.
pub(super) fn lock_failure() -> CannedResponse {
    CannedResponse::json(&serde_json::json!({
        "error": { "name": "InternalError", "reason": "UnexpectedError", "message": "unexpected error occurred", "code": 500 }
    }))
    .with_status(500)
}

pub(super) fn text(status: u16, text: &'static str) -> CannedResponse {
    CannedResponse::status(status)
        .header("content-type", "text/plain; charset=utf-8")
        .body(text)
}
