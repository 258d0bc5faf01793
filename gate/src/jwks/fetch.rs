//! The calls that fetch keys, and how their answers are read.

use serde::Deserialize;
use thiserror::Error;

use crate::callout::{Answer, Call, DispatchError, unreachable};
use crate::config::RemoteKeys;
use crate::endpoint::Endpoint;
use crate::jose::json::object;
use crate::jose::{DocumentError, DroppedKey, KeySet};

/// The longest answer that is read.
pub(crate) const MAX_BODY_BYTES: usize = 8 * 1_048_576;

/// Identifies a call, to match its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FetchId(pub(super) u64);

/// A call that fetches keys, and the ID to give back with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    /// To give back with the answer.
    pub id: FetchId,
    /// The call.
    pub call: Call,
}

/// What is being fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The discovery document, which names the path of the keys.
    Discovery,
    /// The keys, at this path.
    Keys(String),
}

/// Why a fetch failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum FetchError {
    /// No answer: the connection broke.
    #[error("no answer from the cluster: the connection broke before its end, or it took too long")]
    NoAnswer,
    /// The call was not made.
    #[error("{0}")]
    NotSent(#[from] DispatchError),
    /// Authgear redirected the call to the very URL that it names: it takes it for one of another origin.
    #[error(
        "redirected to itself: Authgear does not see that the call is for its public origin: set TRUST_PROXY=true there, and let no proxy between change \"x-forwarded-proto\""
    )]
    RedirectedToItself,
    /// The path is another one by now.
    #[error("redirected to {path:?} on the same origin: set \"jwks.uri\" to the path of the keys")]
    Moved {
        /// The path that it was redirected to.
        path: String,
    },
    /// Authgear redirected the call, as it does when scheme or host are not its public origin.
    #[error("redirected{}: is \"endpoint\" Authgear's public origin, scheme and port included?", to(.host.as_deref()))]
    Redirected {
        /// The host that it was redirected to.
        host: Option<String>,
    },
    /// Authgear refused the call.
    #[error("refused with status 403: does the project's IP filter let this gateway in?")]
    Forbidden,
    /// Any other status.
    #[error("answered with status {0}{hint}", hint = unreachable(*.0))]
    Status(u16),
    /// The answer is too long to be read.
    #[error("answered with more than {} MiB", MAX_BODY_BYTES / 1_048_576)]
    TooLong,
    /// The document has no usable keys.
    #[error("the document {0}")]
    Document(#[from] DocumentError),
    /// The discovery document cannot be used.
    #[error("the discovery document {0}")]
    Discovery(&'static str),
}

impl FetchError {
    /// The status of the answer; 0 for other errors.
    #[must_use]
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Status(status) => *status,
            _ => 0,
        }
    }
}

fn to(host: Option<&str>) -> String {
    host.map_or_else(String::new, |host| format!(" to {host:?}"))
}

impl Stage {
    /// The path and query that is asked.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Discovery => "/.well-known/openid-configuration",
            Self::Keys(path) => path,
        }
    }

    pub(super) fn call(&self, endpoint: &Endpoint, remote: &RemoteKeys) -> Call {
        Call::get(endpoint, &remote.cluster, self.path(), remote.timeout)
            .with("accept", "application/json")
            .with(
                "user-agent",
                concat!("authgear-filter/", env!("CARGO_PKG_VERSION")),
            )
    }
}

/// The body of a successful answer to what was asked of this path.
fn body<'a>(answer: &'a Answer, endpoint: &Endpoint, asked: &str) -> Result<&'a [u8], FetchError> {
    match answer.status().ok_or(FetchError::NoAnswer)? {
        200 => answer.body.as_deref().ok_or(FetchError::TooLong),
        300..=399 => Err(redirected(
            answer.single("location").unwrap_or_default(),
            endpoint,
            asked,
        )),
        403 => Err(FetchError::Forbidden),
        other => Err(FetchError::Status(other)),
    }
}

/// What a redirect says of the call; Authgear redirects to its public origin, with the path or without (contract §7.2).
fn redirected(location: &[u8], endpoint: &Endpoint, asked: &str) -> FetchError {
    let url = std::str::from_utf8(location).unwrap_or_default();
    let on_endpoint = url.strip_prefix(endpoint.origin());
    match on_endpoint.unwrap_or(url) {
        "" | "/" if on_endpoint.is_some() => FetchError::RedirectedToItself,
        path if path == asked => FetchError::RedirectedToItself,
        path if path.starts_with('/') && !path.starts_with("//") => FetchError::Moved {
            path: path_alone(path).chars().take(100).collect(),
        },
        _ => FetchError::Redirected {
            host: host_of(location),
        },
    }
}

/// A path without its query, which can hold a secret.
fn path_alone(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

/// The host of a URL, cut so that a log line stays short.
fn host_of(url: &[u8]) -> Option<String> {
    let url = std::str::from_utf8(url).ok()?;
    let rest = url.split_once(':')?.1.strip_prefix("//")?;
    let host = rest.split(['/', '?', '#']).next()?;
    Some(host.chars().take(100).collect())
}

/// The document of a successful answer, and its keys; `None`: it is the same document as last time.
pub(super) fn read_keys(
    answer: &Answer,
    endpoint: &Endpoint,
    asked: &str,
    last: Option<&[u8]>,
) -> Result<NewKeys, FetchError> {
    let document = body(answer, endpoint, asked)?;
    if last == Some(document) {
        return Ok(None);
    }
    let (set, dropped) = KeySet::parse(document)?;
    Ok(Some((document.to_vec(), set, dropped)))
}

pub(super) type NewKeys = Option<(Vec<u8>, KeySet, Vec<DroppedKey>)>;

/// Reads the path of the keys from a discovery document.
pub(super) fn read_discovery(
    answer: &Answer,
    endpoint: &Endpoint,
    asked: &str,
) -> Result<String, FetchError> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
    }
    let document: Document = object(body(answer, endpoint, asked)?).ok_or(
        FetchError::Discovery("is not JSON with \"issuer\" and \"jwks_uri\""),
    )?;
    if document.issuer != endpoint.origin() {
        return Err(FetchError::Discovery(
            "names another \"issuer\" than \"endpoint\"",
        ));
    }
    endpoint
        .path_of(&document.jwks_uri)
        .map(str::to_owned)
        .ok_or(FetchError::Discovery(
            "names a \"jwks_uri\" that is not on \"endpoint\"",
        ))
}
