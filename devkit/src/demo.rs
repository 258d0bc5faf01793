//! A demo application: it shows who the gateway says you are, and believes nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Request};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use crate::message::{CannedResponse, Headers};
use crate::server::{Handler, Outcome, Server, response};
use crate::web::{encode, escape, page};

/// The running application; it ends when this is dropped.
pub struct Demo {
    server: Server,
}

impl Demo {
    /// Starts it. `login` is the origin of the fake Authgear's login page; without one the page offers no login.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub async fn start(listen: &str, login: Option<String>) -> std::io::Result<Self> {
        let server = Server::start(listen, None, Arc::new(Application { login })).await?;
        Ok(Self { server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }
}

struct Application {
    login: Option<String>,
}

impl Handler for Application {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _tls: bool) -> Outcome {
        let headers = request.headers();
        let answer = match request.uri().path() {
            "/healthz" => CannedResponse::status(200)
                .header("content-type", "text/plain")
                .body("OK\n"),
            "/api/me" => {
                no_store(&json!({ "user_id": user_id(headers), "headers": shown(headers) }))
            }
            "/public/headers" => no_store(&json!({ "headers": shown(headers) })),
            "/" => self.page("Who are you?", headers),
            "/public/" => self.page("A public page", headers),
            _ => page("Not found", "<p><a href=\"/\">Home</a></p>").with_status(404),
        };
        Outcome::Answer(response(&answer))
    }
}

impl Application {
    fn page(&self, title: &str, headers: &HeaderMap) -> CannedResponse {
        let who = user_id(headers).map_or_else(
            || "<p class=\"who\">Nobody, as far as this application knows.</p>".to_owned(),
            |id| {
                let roles =
                    text(headers, "x-authgear-user-roles").unwrap_or_else(|| "none".to_owned());
                format!(
                    "<p class=\"who\">User <code>{}</code></p><p>Roles: {}</p>",
                    escape(&id),
                    escape(&roles)
                )
            },
        );
        let rows: String = shown(headers)
            .iter()
            .map(|(name, value)| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                format!(
                    "<tr><td><code>{}</code></td><td><code>{}</code></td></tr>",
                    escape(name),
                    escape(&value)
                )
            })
            .collect();
        page(
            title,
            &format!(
                "<div class=\"card\">{who}{}</div>\
                 <p><a href=\"/\">Home</a> (optional login), <a href=\"/public/\">public page</a> (no login looked at), \
                 <a href=\"/api/me\">/api/me</a> (login required).</p>\
                 <h2>The headers of this request, as they came through the gateway</h2><table>{rows}</table>",
                self.links(headers),
            ),
        )
    }

    fn links(&self, headers: &HeaderMap) -> String {
        let (Some(login), Some(host)) = (&self.login, text(headers, "host")) else {
            return String::new();
        };
        let back = encode(&format!("http://{host}/"));
        let link = |path: &str, text: &str| {
            format!(
                "<a class=\"button\" href=\"{}\">{text}</a>",
                escape(&format!("{login}/{path}?return={back}"))
            )
        };
        let log = if user_id(headers).is_some() {
            link("logout", "Log out")
        } else {
            link("login", "Log in")
        };
        log + &link("token", "Mint an access token")
    }
}

/// The user, if the gateway names exactly one.
fn user_id(headers: &HeaderMap) -> Option<String> {
    let valid = text(headers, "x-authgear-session-valid")? == "true";
    let id = text(headers, "x-authgear-user-id")?;
    (valid && !id.is_empty()).then_some(id)
}

/// A header that occurs once.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values
        .next()
        .is_none()
        .then(|| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn no_store(value: &Value) -> CannedResponse {
    CannedResponse::json(value).header("cache-control", "no-store")
}

/// The headers by name, repeated ones as a list, credentials cut short.
fn shown(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, value) in Headers::from(headers).iter() {
        let value = String::from_utf8_lossy(value);
        let value = match name {
            "authorization" => cut(&value, ' '),
            "cookie" => value
                .split("; ")
                .map(|cookie| cut(cookie, '='))
                .collect::<Vec<_>>()
                .join("; "),
            _ => value.into_owned(),
        };
        match shown.get_mut(name) {
            None => drop(shown.insert(name.to_owned(), json!(value))),
            Some(Value::Array(all)) => all.push(json!(value)),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    shown
}

/// Enough of a credential to recognise it, too little to use it.
fn cut(credential: &str, separator: char) -> String {
    let (name, secret) = credential.split_once(separator).unwrap_or(("", credential));
    let length = secret.chars().count();
    let start: String = secret.chars().take(8.min(length / 4)).collect();
    let name = if name.is_empty() {
        String::new()
    } else {
        format!("{name}{separator}")
    };
    format!("{name}{start}… ({length} characters)")
}
