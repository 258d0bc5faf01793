//! Files and standard input, within bounds.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

/// The longest input that is read. A Kubernetes object or a configuration of Envoy's has some kilobytes.
pub(in crate::check) const MAX_INPUT_BYTES: usize = 10 * 1024 * 1024;

/// A text that was read.
pub(in crate::check) struct Source {
    /// As the user named it; `<stdin>` for standard input.
    pub(in crate::check) name: String,
    pub(in crate::check) text: String,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

/// A line and a column, both from 1; columns are counted in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::check) struct Position {
    pub(in crate::check) line: usize,
    pub(in crate::check) column: usize,
}

/// Why an input could not be read.
pub(in crate::check) struct Unreadable {
    pub(in crate::check) name: String,
    pub(in crate::check) reason: String,
}

/// The name of standard input on the command line.
const STDIN: &str = "-";

impl Source {
    /// Reads a file, or standard input for `-`.
    pub(in crate::check) fn read(path: &Path) -> Result<Self, Unreadable> {
        let (name, bytes) = if path.as_os_str() == STDIN {
            ("<stdin>".to_owned(), read_bounded(io::stdin().lock()))
        } else {
            (path.display().to_string(), read_file(path))
        };
        let text = bytes.and_then(text_of);
        match text {
            Ok(text) => Ok(Self::new(name, text)),
            Err(reason) => Err(Unreadable { name, reason }),
        }
    }

    pub(in crate::check) fn new(name: String, text: String) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { name, text, lines }
    }

    /// The position of a byte.
    pub(in crate::check) fn position(&self, at: usize) -> Position {
        let at = floor(&self.text, at);
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines[line - 1];
        Position {
            line,
            column: 1 + self.text[start..at].chars().count(),
        }
    }

    /// The bytes of the line in which this byte stands, without its end.
    pub(in crate::check) fn line_at(&self, at: usize) -> Range<usize> {
        let at = floor(&self.text, at);
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines[line - 1];
        let rest = &self.text[start..];
        let length = rest.find('\n').unwrap_or(rest.len());
        let length = rest[..length].trim_end_matches('\r').len();
        start..start + length
    }

    /// The part of a place that a caret can stand under: its first line, and not past the end of the text.
    pub(in crate::check) fn first_line(&self, place: &Range<usize>) -> Range<usize> {
        let line = self.line_at(place.start);
        let start = floor(&self.text, place.start).min(line.end);
        let end = floor(&self.text, place.end).clamp(start, line.end);
        let trimmed = self.text[start..end].trim_end().len();
        start..start + trimmed
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name, self.reason)
    }
}

/// The start of the character in which this byte stands.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    // Before it is opened: to open a FIFO is to wait for whoever writes into it.
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return Err("is a directory: name the files in it".to_owned());
    }
    if !metadata.is_file() {
        return Err("is no regular file (use \"-\" for standard input)".to_owned());
    }
    if metadata.len() > MAX_INPUT_BYTES as u64 {
        return Err(too_long());
    }
    read_bounded(File::open(path).map_err(|error| error.to_string())?)
}

fn read_bounded(input: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // One byte more shows that there is more.
    let most = MAX_INPUT_BYTES as u64 + 1;
    input
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() > MAX_INPUT_BYTES {
        return Err(too_long());
    }
    Ok(bytes)
}

fn too_long() -> String {
    format!("is longer than {} MiB", MAX_INPUT_BYTES >> 20)
}

fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(b"\0asm") {
        return Err("is a Wasm module: name the configuration, not the filter".to_owned());
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("is UTF-16: save it as UTF-8".to_owned());
    }
    if bytes.contains(&0) {
        return Err("is binary".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("is not UTF-8: byte {at}, in line {line}")
    })
}
