//! The normal form of a request path, and every other way in which a backend could read it.
//!
//! A gateway that judges `/public/..%2fadmin` by its first eight bytes, in front of a backend that decodes first and
//! looks afterwards, lets strangers into `/admin` (CVE-2021-29492 and its many relatives). So a path that can be read
//! in more than one way is read in all of them ([`Readings`]), and the policy lets it pass only where all of them fall
//! under the same requirement.

mod encoding;

use std::borrow::Cow;

use thiserror::Error;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// Not an absolute path: missing, `*`, or in authority or absolute form.
    #[error("is not an absolute path")]
    NotAbsolute,
    /// It has a fragment, which no request may have (RFC 9112 §3.2).
    #[error("holds a fragment")]
    Fragment,
    /// A `%` without two hexadecimal digits (RFC 3986 §2.1).
    #[error("holds an invalid escape")]
    Escape,
    /// A control character, plain, escaped, or in an overlong form.
    #[error("holds a control character")]
    Control,
    /// Not plain, and longer than `MAX_PATH_BYTES`.
    #[error("is too long to be read in every way")]
    TooLong,
    /// It has more readings than an honest path would.
    #[error("can be read in too many ways")]
    TooManyReadings,
}

/// A path in normal form, without its query, and its other readings, if there are any.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Readings<'p> {
    normal: Cow<'p, [u8]>,
    others: Vec<Vec<u8>>,
    hides_a_query: bool,
}

impl<'p> Readings<'p> {
    /// Reads the `:path` of a request.
    ///
    /// The normal form (RFC 3986 §6.2.2) has its escapes decoded, but for those that would change its structure
    /// (`%2F`, `%5C`, `%25`, `%3F`, `%23`, `%3B`), and its dot segments resolved.
    ///
    /// # Errors
    /// [`PathError`]: no reading is safe.
    pub(crate) fn parse(raw: &'p [u8]) -> Result<Self, PathError> {
        let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
        if path.first() != Some(&b'/') {
            return Err(PathError::NotAbsolute);
        }
        if is_plain(path) {
            return Ok(Self {
                normal: Cow::Borrowed(path),
                others: Vec::new(),
                hides_a_query: false,
            });
        }
        if path.contains(&b'#') {
            return Err(PathError::Fragment);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        Self::all(decode(path)?)
    }

    /// The normal form.
    #[must_use]
    pub(crate) fn normal(&self) -> &[u8] {
        &self.normal
    }

    /// The normal form and every other reading.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.normal()).chain(self.others.iter().map(Vec::as_slice))
    }

    /// Whether there is one reading only.
    #[must_use]
    pub(crate) fn is_unambiguous(&self) -> bool {
        self.others.is_empty()
    }

    /// Whether some reader finds a query within the path, where others see none.
    #[must_use]
    pub(crate) fn hides_a_query(&self) -> bool {
        self.hides_a_query
    }

    /// Every combination of what readers do to a path, in the order in which they do it: decode it once or twice, each time
    /// into characters of some encoding, take escaped slashes or backslashes for slashes, cut off what then looks like a
    /// query or a fragment, cut off path parameters, drop spaces and dots at a segment's end; then, each as often as it
    /// finds something and in any order, merge slashes, resolve dot segments, and take what follows two slashes at the start
    /// for an authority.
    fn all(decoded: Vec<u8>) -> Result<Self, PathError> {
        let normal = resolve_dots(&decoded);
        let literal = |path: &Vec<u8>| replace(path, b"\\", b"/");
        let backslashes = |path: &Vec<u8>| replace(&literal(path), b"%5C", b"/");
        let mut texts = Ways::default();
        encoding::add_texts(&mut texts, decoded)?;
        let once = texts.decoded()?;
        let twice = once.decoded()?;
        let mut ways = Ways::default();
        for decoded in texts.0 {
            let slashes = [
                replace(&decoded, b"%2F", b"/"),
                backslashes(&decoded),
                // Browsers take a backslash for a slash, and an escaped one for itself.
                literal(&decoded),
            ];
            ways.add(decoded)?;
            for path in slashes {
                ways.add(path)?;
            }
        }
        for path in once.0.iter().chain(&twice.0).map(backslashes) {
            ways.add(path)?;
        }
        for path in once.0.into_iter().chain(twice.0) {
            ways.add(path)?;
        }
        let hides_a_query = ways.0.iter().any(|path| end_of_path(path) < path.len());
        for cut in [without_query, without_parameters, without_tails] {
            for index in 0..ways.0.len() {
                if let Some(cut) = ways.0.get(index).map(|path| cut(path)) {
                    ways.add(cut)?;
                }
            }
        }
        let mut next = 0_usize;
        while let Some(path) = ways.0.get(next).cloned() {
            if contains(&path, b"/.") {
                ways.add(resolve_dots(&path))?;
            }
            if contains(&path, b"//") {
                ways.add(merge_slashes(&path))?;
            }
            if let Some(path) = without_authority(&path) {
                ways.add(path)?;
            }
            next = next.saturating_add(1);
        }
        let Ways(mut others) = ways;
        others.retain(|path| *path != normal);
        Ok(Self {
            normal: Cow::Owned(normal),
            others,
            hides_a_query,
        })
    }
}

/// Ways to read a path, none of them twice, and not more than there may be.
#[derive(Default)]
struct Ways(Vec<Vec<u8>>);

impl Ways {
    #[inline(never)]
    fn add(&mut self, path: Vec<u8>) -> Result<(), PathError> {
        if self.0.contains(&path) {
            return Ok(());
        }
        // The normal form is among them.
        if self.0.len() > MAX_OTHER_READINGS {
            return Err(PathError::TooManyReadings);
        }
        self.0.push(path);
        Ok(())
    }

    /// These ways, decoded once more.
    fn decoded(&self) -> Result<Self, PathError> {
        let mut decoded = Self::default();
        for path in &self.0 {
            encoding::add_texts(&mut decoded, decode_leniently(path))?;
        }
        Ok(decoded)
    }
}

/// The longest path that is read in more than one way, in bytes.
const MAX_PATH_BYTES: usize = 8_192;

/// How many readings a path may have beside its normal form.
const MAX_OTHER_READINGS: usize = 64;

fn contains(path: &[u8], pair: &[u8; 2]) -> bool {
    path.windows(2).any(|bytes| bytes == pair)
}

/// Whether the path has one reading, and is its own normal form.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    for &byte in path {
        let plain = match byte {
            b'/' => !matches!(before, b'/' | b'.'),
            b'.' => before != b'/',
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => true,
            b'-' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b','
            | b'=' | b':' | b'@' => true,
            _ => false,
        };
        if !plain {
            return false;
        }
        before = byte;
    }
    before != b'.'
}

/// Decodes escapes, but for those that would change the path's structure: these are kept, in capitals.
fn decode(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(visible(byte)?);
            continue;
        }
        let (Some(high), Some(low)) = (
            bytes.next().and_then(hex_digit),
            bytes.next().and_then(hex_digit),
        ) else {
            return Err(PathError::Escape);
        };
        match visible((high << 4) | low)? {
            b'/' => decoded.extend_from_slice(b"%2F"),
            b'\\' => decoded.extend_from_slice(b"%5C"),
            b'%' => decoded.extend_from_slice(b"%25"),
            b'?' => decoded.extend_from_slice(b"%3F"),
            b'#' => decoded.extend_from_slice(b"%23"),
            b';' => decoded.extend_from_slice(b"%3B"),
            other => decoded.push(other),
        }
    }
    Ok(decoded)
}

/// Decodes what can be decoded, and keeps the rest as it is, as lenient readers do.
pub(crate) fn decode_leniently(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                decoded.push((high << 4) | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => decoded.push(*first),
        }
    }
    decoded
}

fn visible(byte: u8) -> Result<u8, PathError> {
    if byte < b' ' || byte == 0x7f {
        Err(PathError::Control)
    } else {
        Ok(byte)
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// RFC 3986 §5.2.4, with empty segments kept.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut open = false;
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        open = false;
        match segment {
            b"." => open = true,
            b".." => {
                segments.pop();
                open = true;
            }
            other => segments.push(other),
        }
    }
    if open {
        segments.push(b"");
    }
    let mut resolved = Vec::with_capacity(path.len());
    for segment in segments {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    if resolved.is_empty() {
        resolved.push(b'/');
    }
    resolved
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut merged = path.to_vec();
    merged.dedup_by(|second, first| *second == b'/' && *first == b'/');
    merged
}

/// The path of a network-path reference (RFC 3986 §4.2): `/b` of `//a/b`. Where more slashes come first, readers that
/// follow the URL standard skip them; what others make of them is the same as with the slashes merged.
fn without_authority(path: &[u8]) -> Option<Vec<u8>> {
    let reference = path.strip_prefix(b"//")?;
    let mut at = 0..reference.len();
    at.find(|at| reference.get(*at) != Some(&b'/'));
    let path = at.find(|at| reference.get(*at) == Some(&b'/'));
    let path = path.and_then(|at| reference.get(at..));
    Some(path.unwrap_or(b"/").to_vec())
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(path.len());
    let mut in_parameters = false;
    for &byte in path {
        match byte {
            b'/' => in_parameters = false,
            b';' => in_parameters = true,
            _ => {}
        }
        if !in_parameters {
            kept.push(byte);
        }
    }
    kept
}

/// As a reader sees it that decodes first, and looks for the query afterwards.
fn without_query(path: &[u8]) -> Vec<u8> {
    path.get(..end_of_path(path)).unwrap_or_default().to_vec()
}

/// Where what looks like a query, or like a fragment, begins.
fn end_of_path(path: &[u8]) -> usize {
    let ends = |at: &usize| {
        let rest = path.get(*at..).unwrap_or_default();
        let marks: [&[u8]; 4] = [b"?", b"#", b"%3F", b"%23"];
        marks.into_iter().any(|mark| rest.starts_with(mark))
    };
    (0..path.len()).find(ends).unwrap_or(path.len())
}

/// As Windows opens it: a segment ends before its last spaces and dots; `.. ` becomes `..`.
fn without_tails(path: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(path.len());
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        let trimmed = segment.trim_ascii_end();
        let dots = trimmed
            .iter()
            .rev()
            .take_while(|byte| matches!(byte, b'.' | b' '));
        let name = trimmed.len().saturating_sub(dots.count());
        kept.push(b'/');
        kept.extend_from_slice(match trimmed.get(..name) {
            Some(name) if !name.is_empty() => name,
            _ => trimmed,
        });
    }
    kept
}

fn replace(path: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            replaced.extend_from_slice(to);
            rest = after;
        } else {
            replaced.push(*first);
            rest = tail;
        }
    }
    replaced
}

#[cfg(test)]
mod tests;
