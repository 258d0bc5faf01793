//! All ways to read a path, by docs/behaviour.md, "Paths": every row of its table, alone and together.

use std::collections::BTreeSet;

/// How a path can be read.
pub(crate) struct Readings {
    pub(crate) normal: Vec<u8>,
    /// All of them, the normal form too.
    pub(crate) all: BTreeSet<Vec<u8>>,
    /// Those of old decoders that look at the first octet of a character alone, and take with it what follows, a slash too;
    /// and of those that take an escaped backslash for a slash after they have decoded once. The table does not say whether
    /// it means them.
    pub(crate) greedy: BTreeSet<Vec<u8>>,
    /// Whether some reader finds a query, or a fragment, in it.
    pub(crate) hides_a_query: bool,
}

/// Of more readings than these a path is refused.
pub(crate) const MOST_READINGS: usize = 65;

/// The longest path that may be other than plain, in bytes.
const LONGEST: usize = 8 * 1_024;

/// `None`: there is no reading at all.
pub(crate) fn read(target: &[u8]) -> Option<Readings> {
    let path = before(target, b"?");
    if !path.starts_with(b"/") || path.contains(&b'#') {
        return None;
    }
    let decoded = decode_most(&path)?;
    let normal = resolved(&decoded);
    let all = all_of(&decoded, false)?;
    let is_plain = all.len() == 1 && normal == path && path.is_ascii();
    if path.len() > LONGEST && !is_plain {
        return None;
    }
    let is_text = all.iter().all(|path| std::str::from_utf8(path).is_ok());
    let is_open = !is_text || replaced(&decoded, b"%25", b"") != decoded;
    let greedy = if is_open {
        all_of(&decoded, true)?
    } else {
        BTreeSet::new()
    };
    let hides_a_query = texts_of(&decoded)?.iter().any(|text| {
        let marks: [&[u8]; 4] = [b"?", b"#", b"%3F", b"%23"];
        marks.iter().any(|mark| before(text, mark) != *text)
    });
    Some(Readings {
        normal,
        all,
        greedy,
        hides_a_query,
    })
}

/// What readers see before they cut anything off.
fn texts_of(decoded: &[u8]) -> Option<BTreeSet<Vec<u8>>> {
    let mut all = BTreeSet::new();
    for text in texts(decoded, false)? {
        for whole in texts(&decode_all(&text), false)? {
            all.extend(texts(&decode_all(&whole), false)?);
            all.insert(whole);
        }
        all.insert(text);
    }
    Some(all)
}

fn all_of(decoded: &[u8], greedy: bool) -> Option<BTreeSet<Vec<u8>>> {
    let texts = |octets: &[u8]| texts(octets, greedy);
    let once: BTreeSet<Vec<u8>> = texts(decoded)?.into_iter().collect();
    let mut all = once.clone();
    // By who takes an escape that is left for its character, one kind or all of them, or decodes again.
    for text in &once {
        all.insert(replaced(text, b"%2F", b"/"));
        all.insert(replaced(text, b"%5C", b"/"));
        all.insert(before(&before(text, b"%3F"), b"%23"));
        for whole in texts(&decode_all(text))? {
            for twice in texts(&decode_all(&whole))? {
                all.insert(twice);
            }
            if greedy {
                all.insert(replaced(&whole, b"%5C", b"/"));
            }
            all.insert(whole);
        }
    }
    for step in [
        |path: &[u8]| replaced(path, b"\\", b"/"),
        without_query,
        without_parameters,
        without_ends,
    ] {
        for path in all.clone() {
            all.insert(step(&path));
        }
    }
    // These in any order, as often as they change something.
    loop {
        let mut more = all.clone();
        for path in &all {
            more.insert(resolved(path));
            more.insert(replaced_often(path, b"//", b"/"));
            more.insert(without_authority(path));
        }
        if more.len() == all.len() {
            break;
        }
        all = more;
    }
    Some(all)
}

fn before(text: &[u8], sign: &[u8]) -> Vec<u8> {
    for at in 0..text.len() {
        if text[at..].starts_with(sign) {
            return text[..at].to_vec();
        }
    }
    text.to_vec()
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut new = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(from) {
            new.extend(to);
            at += from.len();
        } else {
            new.push(text[at]);
            at += 1;
        }
    }
    new
}

fn replaced_often(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    loop {
        let new = replaced(&text, from, to);
        if new == text {
            return new;
        }
        text = new;
    }
}

/// The byte of an escape at this place.
fn escape(text: &[u8], at: usize) -> Option<u8> {
    let digits = text.get(at + 1..at + 3)?;
    if text[at] != b'%' || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// Decoded, but for the escapes that would change the structure. `None`: a wrong escape, or a control character.
fn decode_most(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let mut byte = path[at];
        if byte == b'%' {
            byte = escape(path, at)?;
            if b"/\\%?#;".contains(&byte) {
                decoded.extend(format!("%{byte:02X}").into_bytes());
            } else {
                decoded.push(byte);
            }
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
        if is_control(byte) {
            return None;
        }
    }
    Some(decoded)
}

/// Every escape decoded that is one.
fn decode_all(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        match escape(path, at) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(path[at]);
                at += 1;
            }
        }
    }
    decoded
}

/// What readers make of octets that are not UTF-8. `None`: an overlong form hides a control character.
fn texts(octets: &[u8], greedy: bool) -> Option<Vec<Vec<u8>>> {
    if std::str::from_utf8(octets).is_ok() {
        return Some(vec![octets.to_vec()]);
    }
    let shortest = shortest_forms(octets)?;
    let mut texts = vec![
        octets
            .iter()
            .copied()
            .map(char::from)
            .collect::<String>()
            .into_bytes(),
    ];
    if greedy {
        texts.push(greedy_forms(octets));
    }
    for octets in [octets.to_vec(), shortest] {
        texts.push(with_others(&octets, |octet| vec![char::from(octet)]));
        texts.push(with_others(&octets, |_| vec![]));
        texts.push(with_others(&octets, |_| vec!['?']));
        texts.push(octets);
    }
    Some(texts)
}

/// With something else for each octet that belongs to no character.
fn with_others(octets: &[u8], other: fn(u8) -> Vec<char>) -> Vec<u8> {
    let mut text = String::new();
    let mut at = 0;
    while at < octets.len() {
        let character = (1..=4).find_map(|length| {
            let octets = octets.get(at..at + length)?;
            std::str::from_utf8(octets).ok()
        });
        match character {
            Some(character) => {
                text.push_str(character);
                at += character.len();
            }
            None => {
                text.extend(other(octets[at]));
                at += 1;
            }
        }
    }
    text.into_bytes()
}

/// Overlong forms (RFC 3629 §3) as the characters that they hide.
fn shortest_forms(octets: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        let follows = |nth: usize| {
            octets
                .get(at + nth)
                .filter(|octet| matches!(octet, 0x80..=0xbf))
        };
        let follows = [follows(1), follows(2), follows(3)];
        let bits = |octet: &u8| u32::from(octet & 0x3f);
        let hidden = match (octets[at], follows) {
            (0xc0..=0xc1, [Some(a), _, _]) => Some((2, u32::from(octets[at] & 1) * 64 + bits(a))),
            (0xe0, [Some(a @ 0x80..=0x9f), Some(b), _]) => Some((3, bits(a) * 64 + bits(b))),
            (0xf0, [Some(a @ 0x80..=0x8f), Some(b), Some(c)]) => {
                Some((4, (bits(a) * 64 + bits(b)) * 64 + bits(c)))
            }
            _ => None,
        };
        match hidden.and_then(|(length, code)| Some((length, char::from_u32(code)?))) {
            Some((_, character)) if character.is_ascii() && is_control(character as u8) => {
                return None;
            }
            Some((length, character)) => {
                text.extend(character.to_string().into_bytes());
                at += length;
            }
            None => {
                text.push(octets[at]);
                at += 1;
            }
        }
    }
    Some(text)
}

/// Each first octet of a character with as many as belong to it, whatever they are.
fn greedy_forms(octets: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        let (length, mut code) = match octets[at] {
            first @ 0xc0..=0xdf => (2, u32::from(first & 0x1f)),
            first @ 0xe0..=0xef => (3, u32::from(first & 0x0f)),
            first @ 0xf0..=0xf7 => (4, u32::from(first & 0x07)),
            first => (1, u32::from(first)),
        };
        let following = octets.get(at + 1..at + length).unwrap_or_default();
        for octet in following {
            code = code * 64 + u32::from(octet & 0x3f);
        }
        match char::from_u32(code) {
            Some(character) if following.len() + 1 == length && length > 1 => {
                text.extend(character.to_string().into_bytes());
                at += length;
            }
            _ => {
                text.push(octets[at]);
                at += 1;
            }
        }
    }
    text
}

fn without_query(path: &[u8]) -> Vec<u8> {
    before(&before(path, b"?"), b"#")
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    each_segment(path, |segment| before(segment, b";"))
}

/// Each segment without the spaces and dots at its end. One that is nothing else keeps its dots: `.. ` is `..`.
fn without_ends(path: &[u8]) -> Vec<u8> {
    each_segment(path, |segment| {
        let mut dots = segment.to_vec();
        while dots.last() == Some(&b' ') {
            dots.pop();
        }
        let mut name = dots.clone();
        while matches!(name.last(), Some(b' ' | b'.')) {
            name.pop();
        }
        if name.is_empty() { dots } else { name }
    })
}

fn each_segment(path: &[u8], change: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let segments: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(change).collect();
    segments.join(&b'/')
}

/// Dot segments resolved, empty segments kept (RFC 3986 §5.2.4).
fn resolved(path: &[u8]) -> Vec<u8> {
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').skip(1).collect();
    let mut kept: Vec<&[u8]> = Vec::new();
    for (nth, segment) in segments.iter().enumerate() {
        let last = nth + 1 == segments.len();
        match *segment {
            b"." | b".." => {
                if *segment == b".." {
                    kept.pop();
                }
                if last {
                    kept.push(b"");
                }
            }
            other => kept.push(other),
        }
    }
    let mut path = b"/".to_vec();
    path.extend(kept.join(&b'/'));
    path
}

/// Where two slashes stand at the start, what follows is an authority, up to the next slash (RFC 3986 §4.2).
fn without_authority(path: &[u8]) -> Vec<u8> {
    if !path.starts_with(b"//") {
        return path.to_vec();
    }
    let mut rest = path;
    while rest.first() == Some(&b'/') {
        rest = &rest[1..];
    }
    while !rest.is_empty() && rest[0] != b'/' {
        rest = &rest[1..];
    }
    if rest.is_empty() {
        b"/".to_vec()
    } else {
        rest.to_vec()
    }
}
