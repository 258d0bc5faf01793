//! An index of the rules by path: a tree of path segments, in lower case.

use std::borrow::Cow;
use std::collections::HashMap;

use super::rule::{PathPattern, Rule};

/// The positions of the rules, by the segments of their paths in lower case.
#[derive(Debug, Default)]
pub(super) struct Index {
    root: Node,
}

/// How well a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// In every condition.
    Wholly,
    /// In every condition but those that a backend may ignore.
    Nearly,
}

/// The rules whose path ends here, each list in the order of the rules.
#[derive(Debug, Default)]
struct Node {
    /// For this path.
    exact: Vec<usize>,
    /// For this path and all below it.
    here_and_below: Vec<usize>,
    /// For all below it.
    below: Vec<usize>,
    children: HashMap<Vec<u8>, Node>,
}

impl Index {
    #[inline(never)]
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (rule_index, rule) in rules.iter().enumerate() {
            match &rule.matches.path {
                None => index.root.here_and_below.push(rule_index),
                Some(PathPattern::Exact(path)) => index.node(path).exact.push(rule_index),
                Some(PathPattern::Prefix(path)) => match path.strip_suffix('/') {
                    Some(parent) => index.node(parent).below.push(rule_index),
                    None => index.node(path).here_and_below.push(rule_index),
                },
            }
        }
        index
    }

    /// Calls `see` with the rules for this path in any case, list by list, each in the order of the rules; those whose exact
    /// path differs by a slash at the end come as [`Fit::Nearly`].
    pub(super) fn visit(&self, path: &[u8], see: &mut dyn FnMut(&[usize], Fit)) {
        let mut here = &self.root;
        let mut segments = segments(path).peekable();
        loop {
            see(&here.here_and_below, Fit::Wholly);
            let Some(segment) = segments.next() else {
                see(&here.exact, Fit::Wholly);
                if let Some(with_slash) = here.children.get(&b""[..]) {
                    see(&with_slash.exact, Fit::Nearly);
                }
                return;
            };
            see(&here.below, Fit::Wholly);
            if segment.is_empty() && segments.peek().is_none() {
                see(&here.exact, Fit::Nearly);
            }
            match here.children.get(&*in_small_letters(segment)) {
                Some(child) => here = child,
                None => return,
            }
        }
    }

    fn node(&mut self, path: &str) -> &mut Node {
        let mut node = &mut self.root;
        for segment in segments(path.as_bytes()) {
            let segment = in_small_letters(segment).into_owned();
            node = node.children.entry(segment).or_default();
        }
        node
    }
}

/// What follows each slash: nothing for the empty path, one empty segment for `/`.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').skip(1)
}

fn in_small_letters(segment: &[u8]) -> Cow<'_, [u8]> {
    if segment.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(segment.to_ascii_lowercase())
    } else {
        Cow::Borrowed(segment)
    }
}
