//! The host that a request names.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::PathRefused;
use super::rule::HostPattern;
use crate::endpoint::split_port;

/// The host of an `:authority`, without its port and without the dot of the root; `None`: it is empty.
///
/// A host is a DNS name (with `_`, which names in clusters have) or an IP address, as RFC 3986 §3.2.2 writes them but
/// without escapes and the marks that no name has.
///
/// # Errors
/// It is not a host and at most one port: readers would find different hosts in it.
pub(super) fn read(authority: &[u8]) -> Result<Option<&str>, PathRefused> {
    let authority = std::str::from_utf8(authority).map_err(|_| PathRefused::Authority)?;
    if authority.is_empty() {
        return Ok(None);
    }
    let (host, port) = split_port(authority);
    let name = host.strip_suffix('.').unwrap_or(host);
    if port.is_none_or(is_port) && (is_name(name) || is_ipv6(host)) {
        Ok(Some(name))
    } else {
        Err(PathRefused::Authority)
    }
}

/// A host as it stands in rules.
pub(crate) fn in_small_letters(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Whether this host, without a port and without a dot at its end, is in this set; in any case.
pub(super) fn is_in(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(name) => host.eq_ignore_ascii_case(name),
        HostPattern::Below(domain) => host
            .len()
            .checked_sub(domain.len())
            .filter(|below| *below > 0)
            .and_then(|below| host.get(below..))
            .is_some_and(|tail| tail.eq_ignore_ascii_case(domain)),
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn is_name(name: &str) -> bool {
    name.split('.').all(|label| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.bytes().all(fits)
    })
}

fn is_ipv6(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_at_most_one_port_is_an_authority() {
        for (authority, host) in [
            ("admin.example.com", "admin.example.com"),
            ("Admin.Example.COM", "Admin.Example.COM"),
            ("admin.example.com.", "admin.example.com"),
            ("admin.example.com:80", "admin.example.com"),
            ("admin.example.com.:8443", "admin.example.com"),
            ("localhost", "localhost"),
            ("my_service", "my_service"),
            (
                "_my_service.name-space.svc.cluster.local:80",
                "_my_service.name-space.svc.cluster.local",
            ),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("-a-.example.com", "-a-.example.com"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1:10000", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("[2001:DB8::1]:65535", "[2001:DB8::1]"),
            ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"),
            ("a:0", "a"),
            ("a:65535", "a"),
            ("a:0080", "a"),
        ] {
            assert_eq!(read(authority.as_bytes()), Ok(Some(host)), "{authority}");
        }
        assert_eq!(read(b""), Ok(None));
    }

    #[test]
    fn a_host_is_below_a_domain_only_with_a_label_of_its_own() {
        let below = HostPattern::Below(".example.com".to_owned());
        for host in ["a.example.com", "a.b.EXAMPLE.com"] {
            assert!(is_in(&below, host), "{host}");
        }
        for host in [".example.com", "example.com", "aexample.com", ""] {
            assert!(!is_in(&below, host), "{host}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_a_host_and_a_port_is_ambiguous() {
        for authority in [
            // Ports.
            "admin.example.com:80:80",
            "admin.example.com::80",
            "admin.example.com:",
            "admin.example.com.:",
            "admin.example.com:65536",
            "admin.example.com:99999999999999999999",
            "admin.example.com:+80",
            "admin.example.com:-1",
            "admin.example.com:80 ",
            "admin.example.com: 80",
            "admin.example.com:80.",
            "admin.example.com:8o",
            "admin.example.com:0x50",
            "admin.example.com:http",
            // No host.
            ":",
            ":80",
            ".",
            ".:80",
            "..",
            // Labels.
            "admin.example.com..",
            "admin..example.com",
            ".admin.example.com",
            "..:80",
            // Lists, parameters, userinfo, paths, escapes, spaces.
            "admin.example.com,x",
            "x,admin.example.com",
            "admin.example.com, x",
            "admin.example.com;x",
            "@admin.example.com",
            "user@admin.example.com",
            "user:secret@admin.example.com:80",
            "admin.example.com:80@x",
            "admin.example.com@",
            "admin.example.com/",
            "admin.example.com/x",
            "admin.example.com\\x",
            "http://admin.example.com",
            "//admin.example.com",
            "admin.example.com?x",
            "admin.example.com#x",
            "admin%2Eexample.com",
            "%61dmin.example.com",
            "admin.example.com%00",
            " admin.example.com",
            "admin.example.com ",
            "admin .example.com",
            "admin.example.com\t",
            "admin.example.com\0",
            "admin.example.com\r\nx",
            "*.example.com",
            "*",
            "admin.example.com|x",
            "\"admin.example.com\"",
            "<admin>",
            "a~b",
            "a!b",
            "a$b",
            "a&b",
            "a'b",
            "a(b)",
            "a+b",
            "a=b",
            // Letters that some readers take for others (UTS 46).
            "b\u{fc}cher.example",
            "\u{ff41}dmin.example.com",
            "admin\u{3002}example\u{3002}com",
            "admin.example.com\u{ad}",
            // Brackets.
            "[::1",
            "::1]",
            "::1",
            "::1:80",
            "[]",
            "[]:80",
            "[::1]x",
            "[::1].",
            "[::1]:",
            "[::1]80",
            "[::1]:80:80",
            "[[::1]]",
            "[::1%25eth0]",
            "[fe80::1%eth0]",
            "[v1.x]",
            "[127.0.0.1]",
            "[admin.example.com]",
            "x[::1]",
            "[::1][::1]",
            "[:::1]",
            "[1::2::3]",
        ] {
            assert_eq!(
                read(authority.as_bytes()),
                Err(PathRefused::Authority),
                "{authority:?}"
            );
        }
        for authority in [&b"\xff"[..], b"admin.example.com\x80", b"\xc0\xae"] {
            let shown = authority.escape_ascii();
            assert_eq!(read(authority), Err(PathRefused::Authority), "{shown}");
        }
    }
}
