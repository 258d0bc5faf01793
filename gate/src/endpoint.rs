//! Authgear's public origin.

use std::fmt;

/// The public origin of an Authgear project: the issuer of its tokens, and the `:authority` of every call to it.
///
/// A scheme, a lower-case host, and a port where it is not the scheme's own: `https://auth.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    authority: String,
    origin: String,
}

impl Endpoint {
    /// Reads an origin as Authgear writes it into `iss`: nothing after the port, no default port, no capitals.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let (scheme, default_port) = match scheme {
            "https" => ("https", "443"),
            "http" => ("http", "80"),
            _ => return None,
        };
        let authority = rest.strip_prefix("//")?;
        let (host, port) = split_port(authority);
        let port_fits = port.is_none_or(|port| {
            port.parse::<u16>().is_ok_and(|number| number > 0)
                && !port.starts_with(['0', '+'])
                && port != default_port
        });
        (is_host(host) && port_fits).then(|| Self {
            scheme,
            authority: authority.to_owned(),
            origin: text.to_owned(),
        })
    }

    /// `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The host, and the port where there is one.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Scheme and authority, as in the claim `iss`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The path of `url`, if it is on this origin.
    #[must_use]
    pub(crate) fn path_of<'u>(&self, url: &'u str) -> Option<&'u str> {
        url.strip_prefix(self.origin())
            .filter(|path| is_call_path(path))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.origin)
    }
}

/// Host and port of an authority.
#[must_use]
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Whether `path` can be the `:path` of a call: absolute, visible ASCII, no fragment.
#[must_use]
pub(crate) fn is_call_path(path: &str) -> bool {
    path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Whether `host` is a lower-case DNS name or an IP address (IPv6 in brackets).
fn is_host(host: &str) -> bool {
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    is_dns_name(host)
}

/// Whether `name` is a lower-case DNS name.
#[must_use]
pub(crate) fn is_dns_name(name: &str) -> bool {
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
            })
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label_fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_bare_origin() {
        let endpoint = Endpoint::parse("https://auth.example.com:8443").unwrap();
        assert_eq!(endpoint.scheme(), "https");
        assert_eq!(endpoint.authority(), "auth.example.com:8443");
        assert_eq!(endpoint.origin(), "https://auth.example.com:8443");
        assert!(Endpoint::parse("http://localhost:10001").is_some());
        assert!(Endpoint::parse("http://[::1]:3000").is_some());
    }

    #[test]
    fn anything_but_a_bare_origin_is_refused() {
        for text in [
            "auth.example.com",
            "ftp://auth.example.com",
            "https://auth.example.com/",
            "https://auth.example.com/path",
            "https://auth.example.com?x",
            "https://user@auth.example.com",
            "https://Auth.Example.com",
            "https://auth.example.com:443",
            "http://auth.example.com:80",
            "https://auth.example.com:0",
            "https://auth.example.com:99999",
            "https://",
            "https://a..b",
            "https://[::1",
            "https://a b",
        ] {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_is_as_long_as_dns_lets_it_be() {
        let label = "x".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "x".repeat(61));
        assert!(is_dns_name(&longest));
        assert!(!is_dns_name(&format!("{longest}x")));
        assert!(!is_dns_name(&format!("{label}x")));
    }

    #[test]
    fn only_urls_on_the_origin_have_a_path() {
        let endpoint = Endpoint::parse("https://auth.example.com").unwrap();
        assert_eq!(
            endpoint.path_of("https://auth.example.com/oauth2/jwks"),
            Some("/oauth2/jwks")
        );
        assert_eq!(
            endpoint.path_of("https://auth.example.com.evil/oauth2/jwks"),
            None
        );
        assert_eq!(
            endpoint.path_of("http://auth.example.com/oauth2/jwks"),
            None
        );
    }
}
