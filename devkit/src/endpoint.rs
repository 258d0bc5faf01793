//! The public origin of an Authgear project, as an operator types it.

/// A scheme and a host, nothing else: `https://myproject.authgear.cloud`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As typed.
    pub origin: String,
    /// Whether it is `https`.
    pub tls: bool,
    /// The host, without its port.
    pub host: String,
    /// The port, the scheme's own where none was typed.
    pub port: u16,
}

/// Why a text is no endpoint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no Authgear endpoint: {problem}; it looks like https://myproject.authgear.cloud"
)]
pub struct EndpointError {
    text: String,
    problem: &'static str,
}

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse(text).map_err(|problem| EndpointError {
            text: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<Endpoint, &'static str> {
    let (scheme, authority) = text.split_once("://").ok_or("it has no scheme")?;
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err("its scheme is neither https nor http"),
    };
    if authority.contains('?') {
        return Err("it has a query");
    }
    if authority.contains('#') {
        return Err("it has a fragment");
    }
    if authority.contains('/') {
        return Err("it has a path, were it only a slash at the end");
    }
    if authority.contains('@') {
        return Err("it names a user or password");
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| "its port is no port")?),
        None => (authority, if tls { 443 } else { 80 }),
    };
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if host.is_empty() || !host.bytes().all(fits) {
        return Err("its host is not a name in lower case");
    }
    Ok(Endpoint {
        origin: text.to_owned(),
        tls,
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read() {
        let endpoint: Endpoint = "https://my.authgear.cloud".parse().expect("an endpoint");
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port, endpoint.tls),
            ("my.authgear.cloud", 443, true)
        );
        let endpoint: Endpoint = "http://localhost:3000".parse().expect("an endpoint");
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port, endpoint.tls),
            ("localhost", 3000, false)
        );
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for (text, problem) in [
            ("my.authgear.cloud", "no scheme"),
            ("ftp://a", "neither"),
            ("https://a/", "path"),
            ("https://a/b", "path"),
            ("https://a?b", "query"),
            ("https://a#b", "fragment"),
            ("https://u:p@a", "user"),
            ("https://a:99999", "port"),
            ("https://a:", "port"),
            ("https://A", "lower case"),
            ("https://", "lower case"),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
