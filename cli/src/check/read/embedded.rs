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
    /// Where each run begins whose bytes stand beside each other in both: in the text, in the file. None: it is unknown where
    /// the parts stand.
    runs: Vec<(usize, usize)>,
}

impl Embedded {
    /// A text that is the whole file.
    pub(in crate::check) fn whole(text: &str) -> Self {
        Self {
            span: 0..text.len(),
            runs: vec![(0, 0)],
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
        let start = self.byte(place.start);
        // The end of a place is behind its last character, which may be the last of its run.
        let end = match place.end.checked_sub(1) {
            Some(last) if last >= place.start => self.byte(last).saturating_add(1),
            _ => start,
        };
        start..end.max(start)
    }

    fn byte(&self, at: usize) -> usize {
        let behind = self.runs.partition_point(|(text, _)| *text <= at);
        match behind.checked_sub(1).and_then(|run| self.runs.get(run)) {
            Some((text, file)) => (file + (at - text)).min(self.span.end),
            None => self.span.start,
        }
    }
}

fn align(text: &str, style: Style, file: &str, span: &Range<usize>) -> Option<Vec<(usize, usize)>> {
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
    let mut expected = None;
    for (at, character) in text.char_indices().filter(|(_, one)| !is_space(*one)) {
        let found = source.next()?;
        if found.character != character {
            return None;
        }
        if expected != Some((at, found.at)) {
            runs.push((at, found.at));
        }
        expected = Some((at + character.len_utf8(), source.at));
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
