//! Cookies as Go's `net/http` reads them, because Authgear does.

use http::HeaderMap;

/// The value of the first cookie of this name; a cookie that Go would skip is skipped.
pub(crate) fn first(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let pair = pair.trim_ascii();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let value = value(&pair[at + 1..])?;
            (pair[..at].trim_ascii() == name.as_bytes()).then_some(value)
        })
        .next()
}

fn value(raw: &[u8]) -> Option<String> {
    let quoted = raw.len() > 1 && raw.starts_with(b"\"") && raw.ends_with(b"\"");
    let raw = if quoted { &raw[1..raw.len() - 1] } else { raw };
    let valid = |byte: &u8| (0x20..0x7f).contains(byte) && !b"\";\\".contains(byte);
    raw.iter()
        .all(valid)
        .then(|| String::from_utf8_lossy(raw).into_owned())
}
