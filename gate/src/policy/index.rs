//! An index of the rules by path and host: a tree of path segments in lower case, with the rules of each path by host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter::Peekable;

use super::rule::{HostPattern, PathPattern, Rule};
use crate::hashing::TextIndex;

/// The segment of a pattern that stands for any one segment.
pub(super) const ANY_SEGMENT: &[u8] = b"*";

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

impl Fit {
    /// How well both conditions are met.
    pub(super) fn and(self, other: Self) -> Self {
        if other == Self::Wholly { self } else { other }
    }
}

/// The rules whose path ends here.
#[derive(Debug, Default)]
struct Node {
    /// For this path.
    exact: Rules,
    /// For this path and all below it.
    here_and_below: Rules,
    /// For all below it.
    below: Rules,
    children: HashMap<Vec<u8>, Node>,
    /// Below any one segment.
    any: Option<Box<Node>>,
}

/// Positions of rules, each list in their order.
#[derive(Debug, Default)]
struct Rules {
    all: Vec<usize>,
    /// Those without hosts.
    for_all_hosts: Vec<usize>,
    /// Those of one host, or of one domain, which has a dot before it.
    hosts: Vec<Vec<usize>>,
    places: Option<Box<TextIndex>>,
}

/// Which rules are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hosts<'h> {
    /// Those of every host.
    All,
    /// Those that may be for this host, in lower case.
    Of(&'h str),
}

impl Rules {
    fn add(&mut self, position: usize, hosts: &[HostPattern]) {
        self.all.push(position);
        if hosts.is_empty() {
            self.for_all_hosts.push(position);
        }
        for HostPattern::Exact(host) | HostPattern::Below(host) in hosts {
            let places = self.places.get_or_insert_default();
            places.insert(host, self.hosts.len());
            match places.get(host).and_then(|place| self.hosts.get_mut(place)) {
                Some(of_host) => of_host.push(position),
                None => self.hosts.push(vec![position]),
            }
        }
    }

    fn visit(&self, hosts: Hosts<'_>, fit: Fit, see: &mut dyn FnMut(&[usize], Fit)) {
        let (Some(places), Hosts::Of(host)) = (&self.places, hosts) else {
            return see(&self.all, fit);
        };
        see(&self.for_all_hosts, fit);
        for text in host_and_domains(host) {
            if let Some(of_host) = places.get(text).and_then(|place| self.hosts.get(place)) {
                see(of_host, fit);
            }
        }
    }

    /// The most rules that one request may have to be compared with.
    fn most(&self) -> usize {
        let of_host = self.hosts.iter().map(Vec::len).max().unwrap_or_default();
        self.for_all_hosts.len().max(of_host)
    }
}

/// A host, and each domain that it lies below with a label of its own, with the dot before it.
pub(crate) fn host_and_domains(host: &str) -> impl Iterator<Item = &str> {
    let dots = host.match_indices('.').map(|(at, _)| at);
    let domains = dots.filter(|at| *at > 0).filter_map(|at| host.get(at..));
    let itself = std::iter::once(host).filter(|host| !host.starts_with('.'));
    itself.chain(domains)
}

impl Node {
    /// As [`Index::visit`], below this node. It calls itself only where a pattern has any segment here.
    fn visit<'p>(
        &self,
        mut rest: Peekable<impl Iterator<Item = &'p [u8]> + Clone>,
        hosts: Hosts<'_>,
        see: &mut dyn FnMut(&[usize], Fit),
    ) {
        let mut here = self;
        loop {
            here.here_and_below.visit(hosts, Fit::Wholly, see);
            let Some(segment) = rest.next() else {
                here.exact.visit(hosts, Fit::Wholly, see);
                if let Some(with_slash) = here.children.get(&b""[..]) {
                    with_slash.exact.visit(hosts, Fit::Nearly, see);
                }
                return;
            };
            here.below.visit(hosts, Fit::Wholly, see);
            if segment.is_empty() && rest.peek().is_none() {
                here.exact.visit(hosts, Fit::Nearly, see);
            }
            // An empty segment is none.
            if let Some(any) = here.any.as_deref().filter(|_| !segment.is_empty()) {
                any.visit(rest.clone(), hosts, see);
            }
            match here.children.get(&*in_small_letters(segment)) {
                Some(child) => here = child,
                None => return,
            }
        }
    }
}

impl Index {
    #[inline(never)]
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (position, rule) in rules.iter().enumerate() {
            let list = match &rule.matches.path {
                None => &mut index.root.here_and_below,
                Some(PathPattern::Exact(path)) => &mut index.node(path).exact,
                Some(PathPattern::Prefix(path)) => match path.strip_suffix('/') {
                    Some(parent) => &mut index.node(parent).below,
                    None => &mut index.node(path).here_and_below,
                },
            };
            list.add(position, &rule.matches.hosts);
        }
        index
    }

    /// Calls `see` with the rules for this path in any case, list by list, each in the order of the rules; those whose exact
    /// path differs by a slash at the end come as [`Fit::Nearly`].
    pub(super) fn visit(&self, path: &[u8], hosts: Hosts<'_>, see: &mut dyn FnMut(&[usize], Fit)) {
        self.root.visit(segments(path).peekable(), hosts, see);
    }

    /// The most rules that share a path and a host.
    pub(super) fn most(&self) -> usize {
        let mut most = 0;
        let mut left = vec![&self.root];
        while let Some(node) = left.pop() {
            let lists = [&node.exact, &node.here_and_below, &node.below];
            most = lists.into_iter().map(Rules::most).fold(most, usize::max);
            left.extend(node.children.values().chain(node.any.as_deref()));
        }
        most
    }

    fn node(&mut self, path: &str) -> &mut Node {
        let mut node = &mut self.root;
        for segment in segments(path.as_bytes()) {
            node = if segment == ANY_SEGMENT {
                node.any.get_or_insert_default()
            } else {
                let segment = in_small_letters(segment).into_owned();
                node.children.entry(segment).or_default()
            };
        }
        node
    }
}

/// Whether each segment of a pattern is that of a path, letter by letter; the path may go on.
pub(super) fn is_spelt(pattern: &str, path: &[u8]) -> bool {
    let mut of_path = segments(path);
    segments(pattern.as_bytes()).all(|segment| {
        let other = of_path.next();
        segment == ANY_SEGMENT || other == Some(segment)
    })
}

/// How well one pattern matches a path, without an index.
pub(super) fn path_fit(pattern: &PathPattern, path: &[u8]) -> Option<Fit> {
    let (text, below) = match pattern {
        PathPattern::Exact(text) => (text.as_str(), false),
        PathPattern::Prefix(text) => match text.strip_suffix('/') {
            Some(parent) => (parent, true),
            None => (text.as_str(), false),
        },
    };
    let [wanted, given] = [text.as_bytes(), path].map(|text| segments(text).collect::<Vec<_>>());
    let fits = |(wanted, given): (&&[u8], &&[u8])| {
        (*wanted == ANY_SEGMENT && !given.is_empty()) || wanted.eq_ignore_ascii_case(given)
    };
    let (more, less) = (given.get(wanted.len()..), wanted.get(given.len()..));
    let slash_apart = matches!((more, less), (Some([b""]), _) | (_, Some([b""])));
    let long_enough = match (pattern, more) {
        (PathPattern::Exact(_), Some([])) => true,
        (PathPattern::Exact(_), _) => slash_apart,
        (PathPattern::Prefix(_), Some(more)) => !below || !more.is_empty(),
        (PathPattern::Prefix(_), None) => false,
    };
    if !long_enough || !wanted.iter().zip(&given).all(fits) {
        return None;
    }
    let same_length =
        matches!(pattern, PathPattern::Prefix(_)) || more.is_some_and(<[_]>::is_empty);
    Some(if same_length && is_spelt(text, path) {
        Fit::Wholly
    } else {
        Fit::Nearly
    })
}

/// What follows each slash: nothing for the empty path, one empty segment for `/`.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    path.split(|byte| *byte == b'/').skip(1)
}

fn in_small_letters(segment: &[u8]) -> Cow<'_, [u8]> {
    if segment.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(segment.to_ascii_lowercase())
    } else {
        Cow::Borrowed(segment)
    }
}
