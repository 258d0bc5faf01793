//! A value of a document, and where it stands.

use std::ops::Range;
use std::rc::Rc;

/// A value. What a YAML alias stands for is shared with its anchor.
#[derive(Debug)]
pub(in crate::check) struct Node {
    /// Its bytes in the text it was read from.
    pub(in crate::check) span: Range<usize>,
    pub(in crate::check) kind: Kind,
}

#[derive(Debug)]
pub(in crate::check) enum Kind {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    /// In order, duplicates kept.
    Mapping(Vec<Member>),
}

#[derive(Debug)]
pub(in crate::check) struct Member {
    pub(in crate::check) name: String,
    /// The name's bytes.
    pub(in crate::check) span: Range<usize>,
    pub(in crate::check) value: Rc<Node>,
}

#[derive(Debug)]
pub(in crate::check) struct Scalar {
    pub(in crate::check) text: String,
    pub(in crate::check) style: Style,
}

/// How a scalar is written, which decides what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum Style {
    /// YAML without quotes, or with a tag: a string, a number, a boolean or null.
    Plain,
    /// YAML with the tag of a string.
    TaggedString,
    SingleQuoted,
    DoubleQuoted,
    /// YAML's `|` and `>`.
    Block,
    /// A number, a boolean or null of JSON.
    JsonLiteral,
    JsonString,
}

impl Node {
    pub(in crate::check) fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Mapping(members) => members,
            _ => &[],
        }
    }

    pub(in crate::check) fn items(&self) -> &[Rc<Node>] {
        match &self.kind {
            Kind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The member of this name. Of several the last, as Envoy has it; of members that `<<` merges in, the first.
    pub(in crate::check) fn member(&self, name: &str) -> Option<&Member> {
        let own = self.members().iter().rfind(|member| member.name == name);
        own.or_else(|| self.merged().find_map(|node| node.member(name)))
    }

    pub(in crate::check) fn get(&self, name: &str) -> Option<&Rc<Node>> {
        self.member(name).map(|member| &member.value)
    }

    /// What stands at the end of these names.
    pub(in crate::check) fn at(&self, names: &[&str]) -> Option<&Rc<Node>> {
        let (first, rest) = names.split_first()?;
        let node = self.get(first)?;
        if rest.is_empty() {
            Some(node)
        } else {
            node.at(rest)
        }
    }

    /// The mappings of `<<`.
    pub(in crate::check) fn merged(&self) -> impl Iterator<Item = &Rc<Node>> {
        let values = self.members().iter().filter(|member| member.name == MERGE);
        values.flat_map(|member| match &member.value.kind {
            Kind::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(&member.value),
        })
    }

    /// A scalar's text, however it is written.
    pub(in crate::check) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }
}

/// The key that merges mappings in (YAML 1.1).
pub(in crate::check) const MERGE: &str = "<<";

/// How deep a document may nest: deeper than any that Envoy or Kubernetes would take, and no deeper than what follows it in
/// recursion can bear.
pub(in crate::check) const MAX_DEPTH: usize = 128;
