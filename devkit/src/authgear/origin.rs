//! To whom a call was addressed, as Authgear sees it (contract §1.2).

use http::HeaderMap;
use http::request::Parts;

use super::state::Settings;

/// Scheme and host of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) scheme: String,
    /// With the port, if one was named.
    pub(super) host: String,
}

impl Call {
    pub(super) fn of(parts: &Parts, tls: bool, settings: &Settings) -> Self {
        let authority = parts.uri.authority().map(ToString::to_string);
        let host = authority
            .or_else(|| first(&parts.headers, "host"))
            .unwrap_or_default();
        let scheme = if tls { "https" } else { "http" }.to_owned();
        if !settings.trust_proxy {
            return Self { scheme, host };
        }
        let forwarded = |suffix: &str| {
            first(&parts.headers, &format!("x-forwarded-{suffix}"))
                .or_else(|| first(&parts.headers, &format!("x-original-{suffix}")))
        };
        Self {
            scheme: forwarded("proto").unwrap_or(scheme),
            host: forwarded("host").unwrap_or(host),
        }
    }

    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }

    /// Whether the host, without its port, is the project's.
    pub(super) fn names_tenant(&self, settings: &Settings) -> bool {
        let host = settings
            .origin
            .split_once("://")
            .map_or(settings.origin.as_str(), |(_, host)| host);
        without_port(&self.host) == without_port(host)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The first entry of a header's first value.
fn first(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    let first = value.split(',').next()?.trim();
    (!first.is_empty()).then(|| first.to_owned())
}
