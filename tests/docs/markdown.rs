//! What the tests ask of a Markdown file.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

/// One Markdown file.
pub(crate) struct Document {
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// The anchors of its headings.
    pub anchors: Vec<String>,
    /// Targets of links and images, and their lines.
    pub links: Vec<(usize, String)>,
    /// What is code within a line, fenced shell blocks included.
    pub code: Vec<(usize, String)>,
}

/// A block of code.
pub(crate) struct Block {
    pub line: usize,
    /// Empty where it is not fenced.
    pub info: String,
    pub text: String,
}

impl Document {
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let mut document = Self {
            path: path.to_owned(),
            blocks: Vec::new(),
            anchors: Vec::new(),
            links: Vec::new(),
            code: Vec::new(),
        };
        let mut open: Option<Block> = None;
        let mut heading: Option<String> = None;
        let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = 1 + newlines.partition_point(|newline| *newline < range.start);
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match kind {
                        CodeBlockKind::Fenced(info) => {
                            let closed = is_closed(&text[range]);
                            assert!(closed, "{}: a block is not closed", document.at(line));
                            info.trim().to_owned()
                        }
                        CodeBlockKind::Indented => String::new(),
                    };
                    open = Some(Block {
                        line,
                        info,
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(open.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let heading = heading.take().unwrap_or_default();
                    document.anchors.push(anchor(&heading));
                }
                Event::Text(part) => {
                    if let Some(block) = &mut open {
                        block.text.push_str(&part);
                    }
                    if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    document.code.push((line, code.into_string()));
                }
                Event::Start(Tag::Link {
                    dest_url,
                    link_type,
                    ..
                }) if link_type != LinkType::Email => {
                    document.links.push((line, dest_url.into_string()));
                }
                Event::Start(Tag::Image { dest_url, .. }) => {
                    document.links.push((line, dest_url.into_string()));
                }
                _ => {}
            }
        }
        for block in document.blocks.iter().filter(|block| block.info == "sh") {
            let lines = block.text.lines().map(str::to_owned);
            document.code.extend((block.line + 1..).zip(lines));
        }
        document
    }

    /// `file:line`, for messages.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

/// All code spans.
pub(crate) fn codes(cell: &str) -> Vec<String> {
    let codes = Parser::new(cell).filter_map(|event| match event {
        Event::Code(code) => Some(code.into_string()),
        _ => None,
    });
    codes.collect()
}

/// Whether a fenced block ends with its fence, not with the file.
fn is_closed(block: &str) -> bool {
    let fence: String = block
        .chars()
        .take_while(|character| "`~".contains(*character))
        .collect();
    let last = block.trim_end().rsplit_once('\n').map(|(_, last)| last);
    last.is_some_and(|last| last.trim_start().starts_with(&fence))
}

/// As GitHub makes anchors of headings.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
    kept.map(|character| if character == ' ' { '-' } else { character })
        .collect()
}
