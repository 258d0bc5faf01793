//! HTTP messages as tests look at them: raw header bytes, order and repetition kept.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

/// The headers of a message, names in lower case, as often as they came.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// The first value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).first().copied()
    }

    /// The first value of this name, as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Every value of this name, in order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.0
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// Whether the name occurs at all.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Everything whose name begins so, as text and sorted: `x-authgear-` shows the identity that was passed on.
    #[must_use]
    pub fn starting_with(&self, prefix: &str) -> Vec<(String, String)> {
        let mut found: Vec<_> = self
            .0
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        found.sort();
        found
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// As a JSON list of pairs, bytes that are not UTF-8 replaced.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.iter()
            .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
            .collect()
    }
}

impl From<&HeaderMap> for Headers {
    fn from(map: &HeaderMap) -> Self {
        Self(
            map.iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
        )
    }
}

impl FromIterator<(String, Vec<u8>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
        )
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.0
                    .iter()
                    .map(|(name, value)| (name, String::from_utf8_lossy(value))),
            )
            .finish()
    }
}

/// A request as a server received it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// `Host`, or `:authority` in HTTP/2.
    pub authority: String,
    /// The headers.
    pub headers: Headers,
    /// The body, where the server reads it: the fake Authgear does not.
    pub body: Bytes,
    /// The trailers, as above.
    pub trailers: Headers,
    /// When the head had come in.
    pub at: SystemTime,
}

impl Recorded {
    /// The head of a request; its body is the server's to add.
    #[must_use]
    pub fn head(parts: &http::request::Parts) -> Self {
        let host = parts.headers.get(http::header::HOST);
        let authority = parts.uri.authority().map(ToString::to_string);
        Self {
            method: parts.method.to_string(),
            target: parts
                .uri
                .path_and_query()
                .map_or_else(|| parts.uri.to_string(), ToString::to_string),
            authority: authority
                .or_else(|| host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()))
                .unwrap_or_default(),
            headers: Headers::from(&parts.headers),
            body: Bytes::new(),
            trailers: Headers::default(),
            at: SystemTime::now(),
        }
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first value of a header, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.text(name)
    }

    /// The `x-authgear-*` headers, sorted.
    #[must_use]
    pub fn identity(&self) -> Vec<(String, String)> {
        self.headers.starting_with("x-authgear-")
    }

    /// For the control interface.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let at = self
            .at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        json!({
            "method": self.method, "target": self.target, "authority": self.authority,
            "headers": self.headers.to_json(), "at_unix_ms": u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// An answer as a client received it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// The first value of a header, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.text(name)
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none: a test wants to see the body then.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// An answer that a test prescribes.
#[derive(Clone, Debug)]
pub struct CannedResponse {
    /// The status.
    pub status: u16,
    /// Headers, bytes and repetition allowed.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

impl CannedResponse {
    /// An answer without headers or body of its own.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// 200 with this JSON.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::status(200)
            .header("content-type", "application/json")
            .body(value.to_string())
    }

    /// 200 with this HTML.
    #[must_use]
    pub fn html(text: impl Into<Bytes>) -> Self {
        Self::status(200)
            .header("content-type", "text/html; charset=utf-8")
            .body(text)
    }

    /// With another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}
