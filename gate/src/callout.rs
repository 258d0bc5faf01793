//! Calls to Authgear, and their answers.

use std::time::Duration;

use thiserror::Error;

use crate::endpoint::Endpoint;

/// A `GET` to an upstream cluster, without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The upstream cluster.
    pub cluster: String,
    /// All headers, pseudo headers first.
    pub headers: Vec<(&'static str, String)>,
    /// How long it may take.
    pub timeout: Duration,
}

/// The answer to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// All headers, `:status` among them; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; `None`: it is longer than the caller reads.
    pub body: Option<Vec<u8>>,
}

/// Why the host did not make a call.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DispatchError {
    /// It knows no such cluster.
    #[error("not sent: Envoy knows no such cluster: is it in \"clusters\", spelt so?")]
    UnknownCluster,
    /// It could not start the call.
    #[error(
        "not sent: the cluster has no healthy endpoint (look at its addresses, DNS and health checks), or its circuit breakers let no more calls through"
    )]
    NotStarted,
}

impl Call {
    /// A call to `path` of the endpoint. Its headers name the public origin: Authgear selects the tenant by host, checks `aud`
    /// against its own origin, and redirects requests for another.
    #[must_use]
    pub fn get(endpoint: &Endpoint, cluster: &str, path: &str, timeout: Duration) -> Self {
        Self {
            cluster: cluster.to_owned(),
            headers: vec![
                (":method", "GET".to_owned()),
                (":scheme", endpoint.scheme().to_owned()),
                (":path", path.to_owned()),
                (":authority", endpoint.authority().to_owned()),
                ("x-forwarded-host", endpoint.authority().to_owned()),
                ("x-forwarded-proto", endpoint.scheme().to_owned()),
            ],
            timeout,
        }
    }

    /// The same call with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Answer {
    /// An answer with these headers, as a host gives them, in any case. Names that are not UTF-8 are left out: no such name
    /// is looked for.
    #[must_use]
    pub fn new<'h>(
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
        body: Option<Vec<u8>>,
    ) -> Self {
        let named = |(name, value): (&[u8], &[u8])| {
            let mut name = std::str::from_utf8(name).ok()?.to_owned();
            name.make_ascii_lowercase();
            Some((name, value.to_vec()))
        };
        Self {
            headers: headers.into_iter().filter_map(named).collect(),
            body,
        }
    }

    /// The status; `None`: there is none, or it is not a number.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        std::str::from_utf8(self.single(":status")?)
            .ok()?
            .parse()
            .ok()
    }

    /// How many of a body's `size` bytes are read where the caller reads bodies of at most `longest` bytes: of an error the
    /// beginning, which may say why. `None`: none, as it is too long.
    #[must_use]
    pub fn bytes_to_read(&self, size: usize, longest: usize) -> Option<usize> {
        if self.status().is_some_and(|status| status >= 400) {
            Some(size.min(MAX_ERROR_BYTES))
        } else {
            (size <= longest).then_some(size)
        }
    }

    /// The values of all headers of this name, which is in lower case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |(header, _)| header == name)
            .map(|(_, value)| value.as_slice())
    }

    /// The value of the header of this name, if there is exactly one.
    #[must_use]
    pub fn single(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.values(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// `retry-after` in seconds (RFC 9110 §10.2.3); dates are not read.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = std::str::from_utf8(self.single("retry-after")?).ok()?;
        seconds.parse().ok().map(Duration::from_secs)
    }
}

/// A hint for the operator where Envoy itself may have given this status.
pub(crate) fn unreachable(status: u16) -> &'static str {
    match status {
        502 | 503 => " (Envoy's own where it finds no healthy host, or is refused)",
        504 => " (Envoy's own where the answer takes too long)",
        _ => "",
    }
}

/// What an error says of itself, for a log line: from 500 on its text, and what to do about it where that is known.
/// `secret`: the credential that was sent. A body that repeats it is not shown.
#[inline(never)]
pub(crate) fn explain(answer: Option<&Answer>, secret: &str) -> String {
    let mut line = String::new();
    let Some((status, body)) = answer.and_then(|answer| {
        let body = answer.body.as_deref()?;
        Some((
            answer.status()?,
            body.get(..MAX_ERROR_BYTES).unwrap_or(body),
        ))
    }) else {
        return line;
    };
    let body = body.trim_ascii();
    if status >= 500 && !body.is_empty() && !repeats(body, secret) {
        line.push_str(": \"");
        for byte in body {
            line.push(match byte {
                b'"' | b'\\' => '\'',
                b' '..=b'~' => char::from(*byte),
                _ => ' ',
            });
        }
        line.push('"');
    }
    let hint = HINTS
        .iter()
        .find(|(phrase, _)| has(body, phrase.as_bytes()));
    if let Some((_, hint)) = hint.filter(|_| status >= 400) {
        for part in [" (", hint, ")"] {
            line.push_str(part);
        }
    }
    line
}

/// Whether the text has the beginning of a part of the secret.
fn repeats(text: &[u8], secret: &str) -> bool {
    const HEAD_BYTES: usize = 8;
    let mut parts = secret.as_bytes().split(|byte| b"; =".contains(byte));
    parts.any(|part| part.get(..HEAD_BYTES).is_some_and(|head| has(text, head)))
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// How much of an error's body is read.
const MAX_ERROR_BYTES: usize = 512;

const NO_HTTP: &str =
    "no HTTP came back; where the port is for TLS, give the cluster a \"transport_socket\"";
const SPEAKS_TLS: &str =
    "that port speaks TLS: give the cluster a \"transport_socket\" with \"sni\" and \"trusted_ca\"";

/// What is said where a call fails on its way, by Envoy (from 1.38.1 on without the reason, unless its runtime flag
/// `envoy.reloadable_features.hide_transport_failure_reason_in_response_body` is off) and by what it meets there; and what to do.
const HINTS: [(&str, &str); 12] = [
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the certificate is not of that CA, or not for that name: look at \"trusted_ca\" and \"match_typed_subject_alt_names\"",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "that port does not speak TLS: look at \"port_value\", or remove the cluster's \"transport_socket\"",
    ),
    (
        "_ALERT_",
        "the server refuses the TLS handshake: is \"sni\" the host that it serves?",
    ),
    (
        "Connection refused",
        "nobody listens there: look at address and port",
    ),
    (
        "remote connection failure",
        "nobody listens there, or TLS fails: look at address and port, \"sni\", \"trusted_ca\", and at the cluster's statistics ssl.fail_verify_error, ssl.fail_verify_san and ssl.connection_error",
    ),
    ("connection termination", NO_HTTP),
    ("protocol error", NO_HTTP),
    (
        "connection timeout",
        "nobody answers there: look at the address, and for a firewall",
    ),
    (
        "no healthy upstream",
        "no endpoint is healthy: look at addresses, DNS and health checks",
    ),
    ("upstream request timeout", "the answer takes too long"),
    ("HTTP request was sent to HTTPS port", SPEAKS_TLS),
    ("HTTP request to an HTTPS server", SPEAKS_TLS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statuses_that_envoy_gives_itself_are_explained() {
        for (status, hint) in [
            (502, "no healthy host"),
            (503, "no healthy host"),
            (504, "too long"),
        ] {
            assert!(unreachable(status).contains(hint), "{status}");
        }
        for status in [200, 404, 500, 501, 505] {
            assert_eq!(unreachable(status), "", "{status}");
        }
    }
}
