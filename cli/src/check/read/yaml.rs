//! YAML: a stream of documents. Aliases share what they stand for; how large that is, written out, is bounded.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::node::{Kind, MAX_DEPTH, Member, Node, Scalar, Style};

/// What is wrong with the text as YAML, and where.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::check) struct SyntaxError {
    pub(in crate::check) at: Range<usize>,
    pub(in crate::check) reason: String,
}

/// How large a document may be with its aliases written out: bytes of its scalars, and so many for each value.
const MAX_WEIGHT: usize = 48 * 1024 * 1024;
const NODE_WEIGHT: usize = 32;

/// Reads all documents. Those before an error are good.
pub(in crate::check) fn parse(text: &str) -> (Vec<Rc<Node>>, Option<SyntaxError>) {
    let mut builder = Builder::new(text);
    let mut parser = Parser::new_from_str(builder.text);
    let error = loop {
        match parser.next_event() {
            None => break None,
            Some(Ok((event, span))) => {
                if let Err(error) = builder.take(event, span) {
                    break Some(error);
                }
            }
            Some(Err(error)) => {
                let at = builder.offsets.byte(error.marker().index());
                break Some(SyntaxError {
                    at: at..at,
                    reason: error.info().to_owned(),
                });
            }
        }
    };
    (builder.documents, error)
}

struct Builder<'t> {
    text: &'t str,
    offsets: Offsets<'t>,
    open: Vec<Open>,
    documents: Vec<Rc<Node>>,
    anchors: HashMap<usize, (Rc<Node>, usize)>,
    /// All that was read of this document, aliases written out.
    weight: usize,
}

/// A sequence or mapping whose end was not read yet.
struct Open {
    anchor: usize,
    start: usize,
    /// Begins with a bracket, and so ends with one.
    is_flow: bool,
    weight: usize,
    children: Children,
}

enum Children {
    Items(Vec<Rc<Node>>),
    /// The members, and the key whose value comes next.
    Members(Vec<Member>, Option<(String, Range<usize>)>),
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        // The parser counts from behind a byte order mark.
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            text: rest,
            offsets: Offsets::new(rest, text.len() - rest.len()),
            open: Vec::new(),
            documents: Vec::new(),
            anchors: HashMap::new(),
            weight: 0,
        }
    }

    fn take(&mut self, event: Event<'t>, span: Span) -> Result<(), SyntaxError> {
        let place = self.offsets.byte(span.start.index())..self.offsets.byte(span.end.index());
        match event {
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.weight = 0;
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar {
                    text: text.into_owned(),
                    style: style_of(style, tag.as_deref()),
                };
                let weight = NODE_WEIGHT + scalar.text.len();
                let node = Rc::new(Node {
                    span: place,
                    kind: Kind::Scalar(scalar),
                });
                self.define(anchor, &node, weight);
                self.add(node, weight, weight)
            }
            Event::Alias(id) => match self.anchors.get(&id) {
                Some((node, weight)) => {
                    let (node, weight) = (Rc::clone(node), *weight);
                    if self.weight.saturating_add(weight) > MAX_WEIGHT {
                        return Err(too_large(place));
                    }
                    self.add(node, weight, weight)
                }
                None => Err(SyntaxError {
                    at: place,
                    reason: "an alias within what it stands for".to_owned(),
                }),
            },
            Event::SequenceStart(anchor, _) => {
                self.open(anchor, place, Children::Items(Vec::new()))
            }
            Event::MappingStart(anchor, _) => {
                self.open(anchor, place, Children::Members(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&place),
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        anchor: usize,
        place: Range<usize>,
        children: Children,
    ) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(SyntaxError {
                at: place,
                reason: format!("nests deeper than {MAX_DEPTH} levels"),
            });
        }
        let first = self.offsets.text_from(place.start).chars().next();
        self.open.push(Open {
            anchor,
            start: place.start,
            is_flow: matches!(first, Some('[' | '{')),
            weight: NODE_WEIGHT,
            children,
        });
        Ok(())
    }

    fn close(&mut self, end: &Range<usize>) -> Result<(), SyntaxError> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let kind = match open.children {
            Children::Items(items) => Kind::Sequence(items),
            Children::Members(members, _) => Kind::Mapping(members),
        };
        let span = if open.is_flow {
            open.start..end.end
        } else {
            // The parser says where its first token stands, which may be an anchor, and where the next thing begins.
            let (first, last) = match &kind {
                Kind::Sequence(items) => (
                    items.first().map(|item| item.span.start),
                    items.last().map(|item| item.span.end),
                ),
                Kind::Mapping(members) => (
                    members.first().map(|member| member.span.start),
                    members.last().map(|member| member.value.span.end),
                ),
                Kind::Scalar(_) => (None, None),
            };
            let start = first.unwrap_or(open.start);
            start..last.unwrap_or(start).max(start)
        };
        let node = Rc::new(Node { span, kind });
        self.define(open.anchor, &node, open.weight);
        // What is in it was counted when it was read.
        self.add(node, open.weight, NODE_WEIGHT)
    }

    fn define(&mut self, anchor: usize, node: &Rc<Node>, weight: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (Rc::clone(node), weight));
        }
    }

    /// Puts a whole value where it belongs. `new`: what was not counted yet of its weight.
    fn add(&mut self, node: Rc<Node>, weight: usize, new: usize) -> Result<(), SyntaxError> {
        self.weight = self.weight.saturating_add(new);
        if self.weight > MAX_WEIGHT {
            return Err(too_large(node.span.clone()));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.weight = open.weight.saturating_add(weight);
        match &mut open.children {
            Children::Items(items) => items.push(node),
            Children::Members(members, key) => match key.take() {
                Some((name, span)) => members.push(Member {
                    name,
                    span,
                    value: node,
                }),
                None => match &node.kind {
                    Kind::Scalar(scalar) => *key = Some((scalar.text.clone(), node.span.clone())),
                    _ => {
                        return Err(SyntaxError {
                            at: node.span.clone(),
                            reason: "a key that is no text".to_owned(),
                        });
                    }
                },
            },
        }
        Ok(())
    }
}

fn too_large(at: Range<usize>) -> SyntaxError {
    SyntaxError {
        at,
        reason: format!(
            "too large, with its aliases written out: more than {} MiB",
            MAX_WEIGHT >> 20
        ),
    }
}

fn style_of(style: ScalarStyle, tag: Option<&Tag>) -> Style {
    if let Some(tag) = tag.filter(|tag| tag.is_yaml_core_schema()) {
        return if tag.suffix == "str" {
            Style::TaggedString
        } else {
            Style::Plain
        };
    }
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    }
}

/// From the parser's places, which count characters, to bytes.
struct Offsets<'t> {
    text: &'t str,
    /// Bytes that come before the text.
    before: usize,
    /// The byte of every 64th character; none where all characters are of one byte.
    every_64th: Vec<usize>,
}

impl<'t> Offsets<'t> {
    fn new(text: &'t str, before: usize) -> Self {
        let every_64th = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().step_by(64).map(|(at, _)| at).collect()
        };
        Self {
            text,
            before,
            every_64th,
        }
    }

    /// In the whole text.
    fn byte(&self, index: usize) -> usize {
        let within = if self.every_64th.is_empty() {
            index.min(self.text.len())
        } else {
            match self.every_64th.get(index / 64) {
                None => self.text.len(),
                Some(&start) => {
                    let rest = &self.text[start..];
                    let more = rest.char_indices().nth(index % 64);
                    start + more.map_or(rest.len(), |(at, _)| at)
                }
            }
        };
        self.before + within
    }

    fn text_from(&self, byte: usize) -> &'t str {
        self.text.get(byte - self.before..).unwrap_or_default()
    }
}
