//! Text that stands inside a YAML scalar: from a place in it to the place in the file.
//!
//! YAML indents, folds and escapes. All that it adds or takes away is white space and escapes, so the rest of the characters
//! are found one after the other, whatever the style.

use std::ops::Range;

use super::node::Style;

/// Where the parts of a text stand in a file.
pub(in crate::check) struct Embedded {
    /// The whole of it.
    span: Range<usize>,
    /// In order. None: it is unknown where the parts stand.
    runs: Vec<Run>,
}

/// Bytes that stand beside each other in both.
#[derive(Clone, Copy)]
struct Run {
    /// Where they begin in the text.
    text: usize,
    /// And in the file.
    file: usize,
    /// It is one character, which is written with so many bytes.
    escaped: Option<usize>,
}

impl Embedded {
    /// A text that is the whole file.
    pub(in crate::check) fn whole(text: &str) -> Self {
        Self {
            span: 0..text.len(),
            runs: vec![Run {
                text: 0,
                file: 0,
                escaped: None,
            }],
        }
    }

    /// The text of a scalar that stands at `span`.
    pub(in crate::check) fn of_scalar(
        text: &str,
        style: Style,
        file: &str,
        span: &Range<usize>,
    ) -> Self {
        Self {
            span: span.clone(),
            runs: align(text, style, file, span).unwrap_or_default(),
        }
    }

    /// A place of the text, in the file.
    pub(in crate::check) fn place(&self, place: &Range<usize>) -> Range<usize> {
        if self.runs.is_empty() {
            return self.span.clone();
        }
        let start = self.of_byte(place.start).start;
        let last = place.end.saturating_sub(1);
        let end = if last >= place.start && place.end > 0 {
            self.of_byte(last).end
        } else {
            start
        };
        start..end.max(start)
    }

    /// What a byte of the text is written with.
    fn of_byte(&self, at: usize) -> Range<usize> {
        let behind = self.runs.partition_point(|run| run.text <= at);
        let Some(run) = behind.checked_sub(1).and_then(|run| self.runs.get(run)) else {
            return self.span.start..self.span.start;
        };
        let (start, end) = match run.escaped {
            Some(length) => (run.file, run.file + length),
            None => (run.file + (at - run.text), run.file + (at - run.text) + 1),
        };
        start.min(self.span.end)..end.min(self.span.end)
    }
}

fn align(text: &str, style: Style, file: &str, span: &Range<usize>) -> Option<Vec<Run>> {
    let written = file.get(span.clone())?;
    // A tag or an anchor may come first.
    let opening = match style {
        Style::SingleQuoted => written.find('\'')? + 1,
        Style::DoubleQuoted => written.find('"')? + 1,
        _ => 0,
    };
    let mut source = Written {
        rest: written.get(opening..)?,
        at: span.start + opening,
        style,
    };
    let mut runs = Vec::new();
    let mut next = None;
    for (at, character) in text.char_indices().filter(|(_, one)| !is_space(*one)) {
        let found = source.next()?;
        if found.character != character {
            return None;
        }
        let (length, written) = (character.len_utf8(), source.at - found.at);
        let escaped = (written != length).then_some(written);
        if escaped.is_some() || next != Some((at, found.at)) {
            runs.push(Run {
                text: at,
                file: found.at,
                escaped,
            });
        }
        // Behind an escape another run begins.
        next = escaped.is_none().then_some((at + length, source.at));
    }
    Some(runs)
}

/// The characters of a scalar as it is written, without white space.
struct Written<'f> {
    rest: &'f str,
    at: usize,
    style: Style,
}

struct Found {
    at: usize,
    character: char,
}

impl Written<'_> {
    fn next(&mut self) -> Option<Found> {
        loop {
            let at = self.at;
            let character = self.step()?;
            if character == '\\' && self.style == Style::DoubleQuoted {
                match self.escape()? {
                    escaped if is_space(escaped) => continue,
                    character => return Some(Found { at, character }),
                }
            }
            if character == '\'' && self.style == Style::SingleQuoted {
                self.step()?;
            }
            if !is_space(character) {
                return Some(Found { at, character });
            }
        }
    }

    fn step(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = self.rest.get(character.len_utf8()..)?;
        self.at += character.len_utf8();
        Some(character)
    }

    /// What follows a backslash (YAML 1.2 §5.7).
    fn escape(&mut self) -> Option<char> {
        let digits = match self.step()? {
            '0' => return Some('\0'),
            'a' => return Some('\u{7}'),
            'b' => return Some('\u{8}'),
            // And the end of the line: it goes on in the next one.
            't' | '\t' | 'n' | 'r' | ' ' | '\n' | '\r' => return Some(' '),
            'v' => return Some('\u{b}'),
            'f' => return Some('\u{c}'),
            'e' => return Some('\u{1b}'),
            'N' => return Some('\u{85}'),
            '_' => return Some('\u{a0}'),
            'L' => return Some('\u{2028}'),
            'P' => return Some('\u{2029}'),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            itself => return Some(itself),
        };
        let mut code = 0;
        for _ in 0..digits {
            code = code * 16 + self.step()?.to_digit(16)?;
        }
        let character = char::from_u32(code)?;
        Some(if is_space(character) { ' ' } else { character })
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\n' | '\r' | '\t')
}
