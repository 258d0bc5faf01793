//! Reading a [`Node`] member by member: every error is collected with its path, none ends the reading.
//!
//! A configuration is read once. What reads it is kept from being copied into every place that asks for a member,
//! where it would make the artefact larger.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Collector, Problem};
use super::node::{Node, quoted};

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

    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() {
            "configuration"
        } else {
            &self.path
        }
    }

    pub(super) fn node(&self) -> &'n Node {
        self.node
    }

    pub(super) fn is_null(&self) -> bool {
        *self.node == Node::Null
    }

    /// Says that the value is not what was expected.
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

    #[inline(never)]
    pub(super) fn contradiction(&self, reason: impl Into<String>, errors: &mut Collector) {
        errors.add(self.path(), Problem::Contradiction(reason.into()));
    }

    #[inline(never)]
    pub(super) fn not_supported_yet(&self, errors: &mut Collector) {
        errors.add(self.path(), Problem::NotSupportedYet);
    }

    #[inline(never)]
    pub(super) fn section(&self, errors: &mut Collector) -> Option<Section<'n>> {
        let Node::Object(members) = self.node else {
            self.unexpected("an object", errors);
            return None;
        };
        let section = Section {
            path: self.path.clone(),
            members,
            known: Vec::new(),
        };
        let mut seen = HashSet::with_capacity(members.len());
        for (name, _) in members {
            if !seen.insert(name) {
                errors.add(section.path_of(name), Problem::Duplicate);
            }
        }
        Some(section)
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

    /// A string that `parse` makes something of, or says in its error what it should have been.
    pub(super) fn parsed<T>(
        &self,
        expected: &str,
        errors: &mut Collector,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(self.string(expected, errors)?);
        if value.is_none() {
            self.unexpected(expected, errors);
        }
        value
    }

    /// A whole number; Envoy's `Struct` turns whole numbers into doubles, so a double without a fraction is one.
    #[inline(never)]
    pub(super) fn integer(
        &self,
        range: RangeInclusive<u64>,
        errors: &mut Collector,
    ) -> Option<u64> {
        let value = match self.node {
            Node::Number(number) => number.as_u64().or_else(|| integral(number.as_f64()?)),
            _ => None,
        };
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.unexpected(expected, errors);
        }
        value
    }

    #[inline(never)]
    pub(super) fn duration(
        &self,
        range: RangeInclusive<Duration>,
        errors: &mut Collector,
    ) -> Option<Duration> {
        let value = match self.node {
            Node::String(text) => parse_duration(text),
            _ => None,
        };
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            let expected = format!(
                "a duration with a unit, such as \"30s\", from {} to {}",
                show_duration(*range.start()),
                show_duration(*range.end())
            );
            self.unexpected(expected, errors);
        }
        value
    }

    /// A list of strings, each of which `parse` makes something of; no string twice.
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

/// An object and where it stands. Members are asked for by name; [`Section::finish`] refuses the others.
#[derive(Debug)]
pub(super) struct Section<'n> {
    path: String,
    members: &'n [(String, Node)],
    known: Vec<&'static str>,
}

impl<'n> Section<'n> {
    /// The member, if it is given.
    #[inline(never)]
    pub(super) fn get(&mut self, name: &'static str) -> Option<Field<'n>> {
        self.known.push(name);
        let (_, node) = self.members.iter().find(|(member, _)| member == name)?;
        Some(Field {
            path: self.path_of(name),
            node,
        })
    }

    /// What `read` makes of the member, or the default where it is not given.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        default: T,
        read: impl FnOnce(&Field<'n>) -> Option<T>,
    ) -> Option<T> {
        match self.get(name) {
            Some(field) => read(&field),
            None => Some(default),
        }
    }

    /// The member, or an error that says what it should have been.
    #[inline(never)]
    pub(super) fn require(
        &mut self,
        name: &'static str,
        expected: &'static str,
        errors: &mut Collector,
    ) -> Option<Field<'n>> {
        let field = self.get(name);
        if field.is_none() {
            errors.add(self.path_of(name), Problem::Missing { expected });
        }
        field
    }

    /// Says of every member that was not asked for that it is unknown.
    #[inline(never)]
    pub(super) fn finish(self, errors: &mut Collector) {
        for (name, _) in self.members {
            if !self.known.contains(&name.as_str()) {
                let nearest = nearest(name, &self.known).map(str::to_owned);
                errors.add(self.path_of(name), Problem::Unknown { nearest });
            }
        }
    }

    #[inline(never)]
    fn path_of(&self, name: &str) -> String {
        let plain = !name.is_empty()
            && name.len() <= LONGEST_NAME
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        match (plain, self.path.is_empty()) {
            (true, true) => name.to_owned(),
            (true, false) => format!("{}.{name}", self.path),
            (false, _) => format!("{}[{}]", self.path, quoted(name)),
        }
    }
}

/// No member that the filter knows has a longer name.
const LONGEST_NAME: usize = 40;

fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const FARTHEST: usize = 4;
    if name.len() > LONGEST_NAME {
        return None;
    }
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= FARTHEST && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn integral(number: f64) -> Option<u64> {
    const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    let whole = number.fract() == 0.0 && (0.0..=LARGEST_EXACT).contains(&number);
    // The range above makes the conversion exact.
    whole.then_some(number as u64)
}

/// The units of durations, from the longest.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `250ms`, `30s`, `5m`, `1h`, `7d`.
fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let number: u64 = number.parse().ok()?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.checked_mul(*millis)?))
}

/// A duration as an operator would write it.
fn show_duration(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, millis): &&(&str, u64)| total > 0 && total.is_multiple_of(*millis);
    match UNITS.iter().find(fits) {
        Some((unit, millis)) => format!("{}{unit}", total.checked_div(*millis).unwrap_or(0)),
        None => "0s".to_owned(),
    }
}
