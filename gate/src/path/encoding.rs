//! What readers make of the octets of a path that are not UTF-8.

use super::{PathError, Ways, visible};

/// Adds a path, and what readers see in its place where it is not UTF-8: overlong forms as the characters that they stand
/// for (RFC 3629 §3 forbids it), Latin-1, and the path without the octets that are none, or with `?` for them. A reader
/// that writes U+FFFD for them needs no reading of its own: like the octets, that is in no rule's path.
///
/// # Errors
/// [`PathError::Control`]: an overlong form of a control character.
pub(super) fn add_texts(ways: &mut Ways, path: Vec<u8>) -> Result<(), PathError> {
    if std::str::from_utf8(&path).is_ok() {
        return ways.add(path);
    }
    let shortest = decode(&path, true)?;
    let latin1 = path.iter().copied().map(char::from).collect::<String>();
    ways.add(latin1.into_bytes())?;
    ways.add(decode(&path, false)?)?;
    for path in [path, shortest] {
        for substitute in [|byte| Some(char::from(byte)), |_| None, |_| Some('?')] {
            ways.add(with_substitutes(&path, substitute))?;
        }
        ways.add(path)?;
    }
    Ok(())
}

/// As readers decode UTF-8 that accept forms which are too long. `strict`: only what follows a first byte as it must counts;
/// otherwise whatever follows it, a slash too.
fn decode(path: &[u8], strict: bool) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let length = match first {
            0xc0..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf7 => 3,
            _ => 0,
        };
        let (following, after) = tail.split_at_checked(length).unwrap_or_default();
        let fits = |byte: &u8| !strict || byte & 0xc0 == 0x80;
        rest = tail;
        if following.is_empty() || !following.iter().all(fits) {
            decoded.push(*first);
            continue;
        }
        let start = u32::from(first & (0x3f >> length));
        let code = following
            .iter()
            .fold(start, |code, byte| (code << 6) | u32::from(byte & 0x3f));
        match (u8::try_from(code), char::from_u32(code)) {
            (Ok(byte), _) if strict && byte.is_ascii() => decoded.push(visible(byte)?),
            (_, Some(char)) => decoded.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            (_, None) => {
                decoded.push(*first);
                continue;
            }
        }
        rest = after;
    }
    Ok(decoded)
}

fn with_substitutes(path: &[u8], substitute: fn(u8) -> Option<char>) -> Vec<u8> {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().filter_map(substitute));
    }
    text.into_bytes()
}
