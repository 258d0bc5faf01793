//! A route that is probed.

use std::net::IpAddr;

use http::Uri;
use thiserror::Error;

/// Why a URL is refused. The text never has the URL in it: there may be a password in it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum TargetError {
    #[error("is not an absolute URL, such as https://app.example.com/account")]
    NotAbsolute,
    #[error("is neither http nor https")]
    Scheme,
    #[error(
        "has credentials in it (user:password@): the probe sends none but the token of --token-file"
    )]
    Credentials,
    #[error("has a fragment (#), which no request has")]
    Fragment,
    #[error("has other characters than visible ASCII: escape them (%20 for a space)")]
    Characters,
    #[error("has a port that is none")]
    Port,
}

/// A URL whose route should ask for a user. Its path is kept as it is spelt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: String,
    /// Whether it is asked over TLS.
    pub(crate) tls: bool,
    /// The name or address, without brackets.
    pub(crate) host: String,
    /// The port, that of the scheme where the URL has none.
    pub(crate) port: u16,
    /// The value of `Host`.
    pub(crate) authority: String,
    /// The path, beginning with `/`.
    pub(crate) path: String,
    /// `?` and the query, or nothing.
    pub(crate) query: String,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, TargetError> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TargetError::Characters);
        }
        // `Uri` would drop it.
        if url.contains('#') {
            return Err(TargetError::Fragment);
        }
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::NotAbsolute)?;
        let authority = rest.split(['/', '?', '\\']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(TargetError::Credentials);
        }
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(TargetError::Scheme),
        };
        let uri: Uri = url.parse().map_err(|_| TargetError::NotAbsolute)?;
        let (Some(_), Some(host)) = (uri.scheme(), uri.host().filter(|host| !host.is_empty()))
        else {
            return Err(TargetError::NotAbsolute);
        };
        let default = if tls { 443 } else { 80 };
        // What follows the host is nothing, or a colon and the port.
        let port = match authority.strip_prefix(host) {
            Some("") => default,
            Some(_) => uri
                .port_u16()
                .filter(|port| *port != 0)
                .ok_or(TargetError::Port)?,
            None => return Err(TargetError::NotAbsolute),
        };
        let query = uri.query().map(|query| format!("?{query}"));
        Ok(Self {
            url: url.to_owned(),
            tls,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port,
            authority: authority.to_owned(),
            path: uri.path().to_owned(),
            query: query.unwrap_or_default(),
        })
    }

    /// As it was given.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether nobody on the way can read what is sent: TLS, or this machine.
    pub(crate) fn is_private(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        self.tls
            || self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse().is_ok_and(is_loopback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_kept_as_it_is_spelt() {
        let target = Target::parse("https://App.example.com/a//b/./%2e%2e/C;x?q=%2F&r").unwrap();
        assert!(target.tls);
        assert_eq!(
            (target.host.as_str(), target.port),
            ("App.example.com", 443)
        );
        assert_eq!(target.authority, "App.example.com");
        assert_eq!(target.path, "/a//b/./%2e%2e/C;x");
        assert_eq!(target.query, "?q=%2F&r");
    }

    #[test]
    fn host_and_port_are_told_apart() {
        for (url, host, port, authority) in [
            ("http://localhost", "localhost", 80, "localhost"),
            (
                "http://127.0.0.1:10000/",
                "127.0.0.1",
                10000,
                "127.0.0.1:10000",
            ),
            ("https://[::1]:8443/x", "::1", 8443, "[::1]:8443"),
            ("HTTPS://h?q", "h", 443, "h"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(
                (target.host.as_str(), target.port, target.authority.as_str()),
                (host, port, authority),
                "{url}"
            );
            assert!(target.path.starts_with('/'), "{url}");
        }
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for (url, error) in [
            ("", TargetError::NotAbsolute),
            ("app.example.com", TargetError::NotAbsolute),
            ("/account", TargetError::NotAbsolute),
            ("https:///account", TargetError::NotAbsolute),
            ("https://:443/account", TargetError::NotAbsolute),
            ("ftp://app.example.com/", TargetError::Scheme),
            ("file:///etc/passwd", TargetError::Scheme),
            (
                "https://user:pass@app.example.com/",
                TargetError::Credentials,
            ),
            ("https://user@app.example.com/", TargetError::Credentials),
            ("https://@app.example.com/", TargetError::Credentials),
            ("https://app.example.com/#x", TargetError::Fragment),
            ("https://app.example.com/caf\u{e9}", TargetError::Characters),
            ("https://app.example.com/a b", TargetError::Characters),
            ("https://app.example.com/\r\nx", TargetError::Characters),
            ("https://app.example.com:/", TargetError::Port),
            ("https://app.example.com:0/", TargetError::Port),
            ("https://app.example.com:65536/", TargetError::Port),
        ] {
            let parsed = Target::parse(url);
            assert!(parsed.is_err(), "{url:?}: {parsed:?}");
            // A library may find another fault first in what has several.
            if error != TargetError::Port {
                assert_eq!(parsed, Err(error), "{url:?}");
            }
        }
    }

    #[test]
    fn a_token_is_private_over_tls_and_on_this_machine() {
        for (url, private) in [
            ("https://app.example.com/", true),
            ("http://app.example.com/", false),
            ("http://localhost:1/", true),
            ("http://127.1.2.3/", true),
            ("http://[::1]/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
        ] {
            assert_eq!(Target::parse(url).unwrap().is_private(), private, "{url}");
        }
    }
}
