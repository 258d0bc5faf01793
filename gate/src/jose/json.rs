//! JSON as JOSE objects are read: strictly, so that no two readers read it differently.

use serde::de::{Deserialize, Deserializer};

/// A JSON object in strict UTF-8, of bounded depth; `serde` would skip unknown members of any depth.
#[inline(never)]
pub(crate) fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Option<T> {
    let text = std::str::from_utf8(json).ok()?;
    if depth(json) > MAX_DEPTH {
        return None;
    }
    is_object(text)
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// Whether this is an object, if it is JSON: `serde` would read an array of its members' values into a struct as well.
pub(super) fn is_object(json: &str) -> bool {
    json.trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{')
}

/// A member that is there must be of its type: `null` is not the same as absent.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Deeper than any token that Authgear or its hooks make.
const MAX_DEPTH: usize = 32;

/// How deep JSON nests; for text that is not JSON, any number.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = json;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'"' => rest = behind_string(tail),
            b'[' | b'{' => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What follows the string that `json` is in.
fn behind_string(json: &[u8]) -> &[u8] {
    let mut rest = json;
    while let Some(end) = memchr::memchr2(b'"', b'\\', rest) {
        // An escaped character ends no string.
        let escape = rest.get(end) == Some(&b'\\');
        let length = if escape { 2 } else { 1 };
        rest = rest.get(end.saturating_add(length)..).unwrap_or_default();
        if !escape {
            return rest;
        }
    }
    &[]
}
