//! Reads one value of a [`Node`]; every error is collected with its path.

use std::collections::HashSet;
use std::time::Duration;

use super::error::{Collector, Problem};
use super::units::{parse_duration, show_duration};
use crate::json::{Node, quoted};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field<'n> {
    path: String,
    node: &'n Node,
}

impl<'n> Field<'n> {
    pub(super) fn root(node: &'n Node) -> Self {
        Self {
            path: String::new(),
            node,
        }
    }

    pub(super) fn new(path: String, node: &'n Node) -> Self {
        Self { path, node }
    }

    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() {
            "configuration"
        } else {
            &self.path
        }
    }

    /// The start of the paths of its members: empty for the whole document.
    pub(super) fn parent_path(&self) -> &str {
        &self.path
    }

    pub(super) fn node(&self) -> &'n Node {
        self.node
    }

    pub(super) fn is_null(&self) -> bool {
        *self.node == Node::Null
    }

    /// Reports that the value is not what was expected.
    #[inline(never)]
    pub(super) fn unexpected(&self, expected: impl Into<String>, errors: &mut Collector) {
        errors.add(
            self.path(),
            Problem::Unexpected {
                expected: expected.into(),
                found: self.node.describe(),
            },
        );
    }

    /// As [`Field::unexpected`], for text that may have letters outside ASCII.
    #[inline(never)]
    fn unexpected_text(&self, expected: &str, errors: &mut Collector) {
        // Paths may have them, and are refused for other reasons.
        let foreign =
            matches!(self.node, Node::String(text) if !text.is_ascii() && !text.starts_with('/'));
        let more = if foreign {
            ", in ASCII (a host as \"xn--…\")"
        } else {
            ""
        };
        self.unexpected([expected, more].concat(), errors);
    }

    #[inline(never)]
    pub(super) fn contradiction(&self, reason: impl Into<String>, errors: &mut Collector) {
        errors.add(self.path(), Problem::Contradiction(reason.into()));
    }

    #[inline(never)]
    pub(super) fn not_supported_yet(&self, errors: &mut Collector) {
        errors.add(self.path(), Problem::NotSupportedYet);
    }

    /// The members of an object. Reports those that are given twice.
    #[inline(never)]
    pub(super) fn members(&self, errors: &mut Collector) -> Option<&'n [(String, Node)]> {
        let Node::Object(members) = self.node else {
            self.unexpected("an object", errors);
            return None;
        };
        let mut seen = HashSet::with_capacity(members.len());
        for (name, _) in members {
            if !seen.insert(name) {
                errors.add(path_of(&self.path, name), Problem::Duplicate);
            }
        }
        Some(members)
    }

    #[inline(never)]
    pub(super) fn items(&self, expected: &str, errors: &mut Collector) -> Option<Vec<Field<'n>>> {
        let Node::Array(items) = self.node else {
            self.unexpected(expected, errors);
            return None;
        };
        let items = items.iter().enumerate().map(|(nth, node)| Field {
            path: format!("{}[{nth}]", self.path),
            node,
        });
        Some(items.collect())
    }

    #[inline(never)]
    pub(super) fn bool(&self, errors: &mut Collector) -> Option<bool> {
        match self.node {
            Node::Bool(value) => Some(*value),
            _ => {
                self.unexpected("true or false", errors);
                None
            }
        }
    }

    #[inline(never)]
    pub(super) fn string(&self, expected: &str, errors: &mut Collector) -> Option<&'n str> {
        match self.node {
            Node::String(value) if !value.is_empty() => Some(value),
            _ => {
                self.unexpected(expected, errors);
                None
            }
        }
    }

    /// A string that `parse` accepts; its error says what was expected.
    pub(super) fn parsed<T>(
        &self,
        expected: &str,
        errors: &mut Collector,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(self.string(expected, errors)?);
        if value.is_none() {
            self.unexpected_text(expected, errors);
        }
        value
    }

    /// A whole number; Envoy's `Struct` turns whole numbers into doubles, so a double without a fraction is one.
    #[inline(never)]
    pub(super) fn integer(
        &self,
        least: usize,
        most: usize,
        errors: &mut Collector,
    ) -> Option<usize> {
        let value = match self.node {
            Node::Number(number) => number.as_u64().or_else(|| integral(number.as_f64()?)),
            _ => None,
        };
        let value = value
            .and_then(|value| usize::try_from(value).ok())
            .filter(|value| (least..=most).contains(value));
        if value.is_none() {
            let expected = format!("a whole number from {least} to {most}");
            self.unexpected(expected, errors);
        }
        value
    }

    #[inline(never)]
    pub(super) fn duration(
        &self,
        shortest: Duration,
        longest: Duration,
        errors: &mut Collector,
    ) -> Option<Duration> {
        let value = match self.node {
            Node::String(text) => parse_duration(text),
            _ => None,
        };
        let value = value.filter(|value| (shortest..=longest).contains(value));
        if value.is_none() {
            let expected = format!(
                "a duration with a unit, such as \"30s\", from {} to {}",
                show_duration(shortest),
                show_duration(longest)
            );
            self.unexpected(expected, errors);
        }
        value
    }

    /// A list of strings, each of which `parse` accepts; no string twice.
    pub(super) fn strings<T>(
        &self,
        expected: &str,
        errors: &mut Collector,
        mut parse: impl FnMut(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.items("an array of strings", errors)?;
        let mut values = Vec::with_capacity(items.len());
        let mut seen = HashSet::with_capacity(items.len());
        for item in items {
            if let Node::String(text) = item.node
                && !seen.insert(text)
            {
                errors.add(item.path(), Problem::Duplicate);
                continue;
            }
            values.extend(item.parsed(expected, errors, &mut parse));
        }
        Some(values)
    }

    /// As [`Field::strings`], but at least one.
    pub(super) fn some_strings<T>(
        &self,
        expected: &str,
        errors: &mut Collector,
        parse: impl FnMut(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        if matches!(self.node, Node::Array(items) if items.is_empty()) {
            self.unexpected(format!("at least one: {expected}"), errors);
            return None;
        }
        self.strings(expected, errors, parse)
    }
}

/// What is asked of a claim, a header or a parameter.
pub(super) enum Wanted<T> {
    /// `{ "present": … }`.
    Present(bool),
    /// One value, or several of which one will do.
    AnyOf(Vec<T>),
}

impl<T> Wanted<T> {
    /// `None`: it is none of these, or a value that `parse` does not take.
    pub(super) fn read(node: &Node, parse: fn(&Node) -> Option<T>) -> Option<Self> {
        let nodes = match node {
            Node::Object(members) => {
                return match members.as_slice() {
                    [(name, Node::Bool(present))] if name == "present" => {
                        Some(Self::Present(*present))
                    }
                    _ => None,
                };
            }
            Node::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut values = Vec::new();
        for node in nodes {
            values.push(parse(node)?);
        }
        (!values.is_empty()).then_some(Self::AnyOf(values))
    }
}

/// The path of a member of the object at `path`.
#[inline(never)]
pub(super) fn path_of(path: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match (plain, path.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{path}.{name}"),
        (false, _) => format!("{path}[{}]", quoted(name)),
    }
}

/// No member that the filter knows has a longer name.
pub(super) const MAX_NAME_BYTES: usize = 40;

fn integral(number: f64) -> Option<u64> {
    const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0; // 2^53
    let whole = number.fract() == 0.0 && (0.0..=MAX_EXACT_INTEGER).contains(&number);
    // The range above makes the conversion exact.
    whole.then_some(number as u64)
}
