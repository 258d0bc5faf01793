//! Rules by path: a tree of path segments.

use std::collections::HashMap;

use crate::config::{PathPattern, Rule};

/// The rules' places, by the segments of their paths.
#[derive(Debug, Default)]
pub(super) struct Index {
    root: Node,
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
    pub(super) fn of(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            match &rule.matches.path {
                None => index.root.here_and_below.push(place),
                Some(PathPattern::Exact(path)) => index.node(path).exact.push(place),
                Some(PathPattern::Prefix(path)) => match path.strip_suffix('/') {
                    Some(parent) => index.node(parent).below.push(place),
                    None => index.node(path).here_and_below.push(place),
                },
            }
        }
        index
    }

    /// The first rule for this path that `matches` in everything else.
    pub(super) fn first_match(
        &self,
        path: &[u8],
        matches: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut best = None;
        let mut consider = |rules: &[usize]| {
            let better = |rule: &&usize| best.is_none_or(|best| **rule < best);
            let found = rules.iter().take_while(better).find(|rule| matches(**rule));
            best = found.copied().or(best);
        };
        let mut node = Some(&self.root);
        let mut segments = segments(path);
        while let Some(here) = node {
            consider(&here.here_and_below);
            match segments.next() {
                Some(segment) => {
                    consider(&here.below);
                    node = here.children.get(segment);
                }
                None => {
                    consider(&here.exact);
                    node = None;
                }
            }
        }
        best
    }

    fn node(&mut self, path: &str) -> &mut Node {
        let mut node = &mut self.root;
        for segment in segments(path.as_bytes()) {
            node = node.children.entry(segment.to_vec()).or_default();
        }
        node
    }
}

/// What follows each slash: nothing for the empty path, one empty segment for `/`.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').skip(1)
}
