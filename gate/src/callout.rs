//! Calls to Authgear, and their answers.

use std::time::Duration;

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
