//! As much of Markdown as the documentation uses.

use std::fs;
use std::path::{Path, PathBuf};

/// One Markdown file.
pub(crate) struct Document {
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// The anchors of its headings.
    pub anchors: Vec<String>,
    /// Targets of links, and their lines.
    pub links: Vec<(usize, String)>,
    /// What is code within a line, fenced shell blocks included.
    pub code: Vec<(usize, String)>,
}

/// A fenced block.
pub(crate) struct Block {
    pub line: usize,
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
        for (nth, line) in text.lines().enumerate() {
            let number = nth + 1;
            if let Some(fence) = line.strip_prefix("```") {
                open = match open.take() {
                    None => Some(Block {
                        line: number,
                        info: fence.trim().to_owned(),
                        text: String::new(),
                    }),
                    Some(block) => {
                        document.blocks.push(block);
                        None
                    }
                };
                continue;
            }
            if let Some(block) = &mut open {
                if block.info == "sh" {
                    document.code.push((number, line.to_owned()));
                }
                block.text.push_str(line);
                block.text.push('\n');
                continue;
            }
            if line.starts_with('#') {
                let heading = line.trim_start_matches('#').trim();
                document.anchors.push(anchor(heading));
            }
            document.read_line(number, line);
        }
        assert!(open.is_none(), "{path:?}: a block is not closed");
        document
    }

    /// `file:line`, for messages.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn read_line(&mut self, number: usize, line: &str) {
        for (nth, part) in line.split('`').enumerate() {
            if nth % 2 == 1 {
                self.code.push((number, part.to_owned()));
            }
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let (target, tail) = after.split_once(')').unwrap_or((after, ""));
            self.links.push((number, target.to_owned()));
            rest = tail;
        }
    }
}

/// All code spans.
pub(crate) fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
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
