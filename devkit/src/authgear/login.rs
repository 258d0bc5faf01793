//! The pages of the demo's login: choose a user, log out, mint an access token.

use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::Service;
use super::state::{Settings, State};
use crate::cookies;
use crate::keys::{Token, User};
use crate::message::CannedResponse;
use crate::web::{Form, encode, escape, page};

const FORM_LIMIT: usize = 64 << 10;
const YEAR: u32 = 31_449_600;

/// Whether this is one of the pages.
pub(super) fn is_page(path: &str) -> bool {
    matches!(
        path,
        "/" | "/login" | "/logout" | "/token" | "/oauth2/authorize"
    )
}

pub(super) async fn answer(service: &Service, parts: &Parts, body: Incoming) -> CannedResponse {
    let query = Form::parse(parts.uri.query().unwrap_or_default());
    let form = Limited::new(body, FORM_LIMIT)
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let form = Form::parse(&String::from_utf8_lossy(&form));
    let mut state = service.state();
    match (parts.method.as_str(), parts.uri.path()) {
        ("GET" | "HEAD", "/" | "/login") => login_page(&state, parts, &query),
        ("POST", "/login") => log_in(&mut state, parts, &form),
        ("GET", "/logout") => log_out(&mut state, parts, &query),
        ("GET" | "HEAD", "/token") => token_page(&state, None),
        ("POST", "/token") => mint(&mut state, &form),
        ("GET", "/oauth2/authorize") => authorize(&state, &query),
        _ => CannedResponse::status(405),
    }
}

/// The URL to go back to, if the operator allows its origin: an open redirect serves phishing.
fn return_to(settings: &Settings, form: &Form) -> Option<String> {
    let target = form.get("return")?;
    let plain = target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let allowed = |origin: &String| {
        target
            .strip_prefix(origin.as_str())
            .is_some_and(|path| path.starts_with('/'))
    };
    (plain && settings.return_origins.iter().any(allowed)).then(|| target.to_owned())
}

fn back(settings: &Settings, form: &Form) -> CannedResponse {
    let target = return_to(settings, form).unwrap_or_else(|| "/login".to_owned());
    CannedResponse::status(303).header("location", target)
}

fn who(state: &State, parts: &Parts) -> Option<String> {
    let session = cookies::first(&parts.headers, &state.settings.cookie("session"))?;
    state
        .user_of_session(&session)
        .map(|user| user.name.clone())
}

fn login_page(state: &State, parts: &Parts, query: &Form) -> CannedResponse {
    let back = return_to(&state.settings, query).unwrap_or_default();
    let current = who(state, parts).map_or_else(
        || "<p>Nobody is logged in.</p>".to_owned(),
        |name| {
            let logout = format!("/logout?return={}", encode(&back));
            format!(
                "<p>Logged in as <b>{}</b>. <a class=\"button\" href=\"{}\">Log out</a></p>",
                escape(&name),
                escape(&logout)
            )
        },
    );
    let users: String = state
        .users
        .values()
        .map(|user| user_row(user, &back))
        .collect();
    page(
        "Log in",
        &format!(
            "<p class=\"quiet\">This page stands in for Authgear: choose who you are, no password needed.</p>\
             {current}<table>{users}</table>\
             <p><a href=\"/token\">Mint an access token</a> instead, for an API client.</p>"
        ),
    )
}

fn user_row(user: &User, back: &str) -> String {
    let mut traits: Vec<String> = user
        .roles
        .iter()
        .map(|role| format!("role {role}"))
        .collect();
    for (is, text) in [
        (user.anonymous, "anonymous"),
        (user.verified, "verified"),
        (user.disabled, "disabled"),
        (user.suspended, "suspended"),
        (user.deleted, "deleted"),
    ] {
        if is {
            traits.push(text.to_owned());
        }
    }
    format!(
        "<tr><td><form method=\"post\" action=\"/login\"><input type=\"hidden\" name=\"return\" value=\"{}\">\
         <button name=\"user\" value=\"{name}\">{name}</button></form></td>\
         <td>{}<br><code class=\"quiet\">{}</code></td></tr>",
        escape(back),
        escape(&traits.join(", ")),
        escape(&user.id),
        name = escape(&user.name),
    )
}

fn log_in(state: &mut State, parts: &Parts, form: &Form) -> CannedResponse {
    let Some(user) = form
        .get("user")
        .and_then(|name| state.users.get(name))
        .cloned()
    else {
        return page(
            "No such user",
            "<p><a href=\"/login\">Choose another</a>.</p>",
        )
        .with_status(400);
    };
    if let Some(before) = cookies::first(&parts.headers, &state.settings.cookie("session")) {
        state.revoke(&before);
    }
    let session = state.session(&user);
    let settings = &state.settings;
    back(settings, form)
        .header(
            "set-cookie",
            cookie(settings, "session", &session, YEAR, "Lax"),
        )
        .header(
            "set-cookie",
            cookie(settings, "same_site_strict", "true", YEAR, "Strict"),
        )
}

fn log_out(state: &mut State, parts: &Parts, query: &Form) -> CannedResponse {
    if let Some(session) = cookies::first(&parts.headers, &state.settings.cookie("session")) {
        state.revoke(&session);
    }
    let settings = &state.settings;
    back(settings, query)
        .header("set-cookie", cookie(settings, "session", "", 0, "Lax"))
        .header(
            "set-cookie",
            cookie(settings, "same_site_strict", "", 0, "Strict"),
        )
}

/// A cookie with the attributes of contract §5.1.
fn cookie(settings: &Settings, suffix: &str, value: &str, max_age: u32, same_site: &str) -> String {
    let domain = settings
        .cookie_domain
        .as_ref()
        .map(|domain| format!("; Domain={domain}"))
        .unwrap_or_default();
    let secure = if settings.origin.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    format!(
        "{}={value}; Path=/{domain}; Max-Age={max_age}; HttpOnly{secure}; SameSite={same_site}",
        settings.cookie(suffix)
    )
}

fn token_page(state: &State, minted: Option<(&str, &str)>) -> CannedResponse {
    let gateway = state
        .settings
        .return_origins
        .first()
        .map_or("http://localhost:10000", String::as_str);
    let shown = minted.map_or_else(String::new, |(name, token)| {
        format!(
            "<h2>An access token of {}</h2><p>It is good for 30 minutes.</p><pre>{token}</pre>\
             <h2>Try it</h2><pre>curl -i {gateway}/api/me -H 'Authorization: Bearer {token}'</pre>",
            escape(name),
            token = escape(token),
            gateway = escape(gateway),
        )
    });
    let buttons: String = state
        .users
        .keys()
        .map(|name| {
            format!(
                "<button name=\"user\" value=\"{name}\">{name}</button>",
                name = escape(name)
            )
        })
        .collect();
    page(
        "Mint an access token",
        &format!(
            "<p class=\"quiet\">What an app gets from Authgear after its user has logged in.</p>\
             <form method=\"post\" action=\"/token\">{buttons}</form>{shown}<p><a href=\"/login\">Log in</a> instead.</p>"
        ),
    )
}

fn mint(state: &mut State, form: &Form) -> CannedResponse {
    let Some(user) = form
        .get("user")
        .and_then(|name| state.users.get(name))
        .cloned()
    else {
        return token_page(state, None).with_status(400);
    };
    let claims = Token::user(&state.settings.origin, &user);
    let token = state.issue(&user, &claims);
    token_page(state, Some((&user.name, &token)))
}

/// Where a cookie site sends a browser to log in (contract §8): `redirect_uri` must be a registered one, exactly.
fn authorize(state: &State, query: &Form) -> CannedResponse {
    let target = query.get("redirect_uri").unwrap_or_default();
    if !state
        .settings
        .redirect_uris
        .iter()
        .any(|registered| registered == target)
    {
        return page(
            "Error",
            "<p>invalid_request: redirect_uri is not allowed</p>",
        )
        .with_status(400);
    }
    CannedResponse::status(302).header("location", format!("/login?return={}", encode(target)))
}
