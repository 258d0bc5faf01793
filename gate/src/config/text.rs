//! Kinds of text that more than one object has.

use crate::endpoint::is_call_path;

/// What the names of cookies and headers, and authentication schemes, are made of (RFC 9110 §5.6.2), but for `*`.
pub(super) const TOKEN_PATTERN: &str = "^[!#$%&'+.^_`|~0-9A-Za-z-]+$";

/// The `:path` of a call.
pub(super) const CALL_PATH_PATTERN: &str = "^/[!\"$-~]*$";

/// Any text.
pub(super) fn string(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) fn call_path(text: &str) -> Option<String> {
    is_call_path(text).then(|| text.to_owned())
}

/// RFC 9110 §5.6.2, but for `*`: who writes it means a wildcard.
pub(super) fn token(text: &str) -> Option<String> {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    (!text.is_empty() && text.bytes().all(is_tchar)).then(|| text.to_owned())
}
