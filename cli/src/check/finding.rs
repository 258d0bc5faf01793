//! What was found, and where.

use std::ops::Range;

use super::code::Code;

/// A place in one of the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the sources.
    pub(super) source: usize,
    /// Bytes of its text.
    pub(super) span: Range<usize>,
}

/// One error or warning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) code: &'static Code,
    pub(super) message: String,
    /// The path in the filter's configuration, where it is about that.
    pub(super) path: Option<String>,
    pub(super) place: Place,
    /// What to do about it.
    pub(super) help: Option<&'static str>,
}

/// All that one run found out.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// In order of source and place.
    pub(super) all: Vec<Finding>,
    /// There were more than are kept.
    pub(super) is_cut: bool,
}

/// Far more than anybody reads: the filter itself reports a hundred of a configuration.
const MAX_FINDINGS: usize = 1_000;

impl Findings {
    pub(super) fn add(&mut self, code: &'static Code, place: Place, message: impl Into<String>) {
        self.push(Finding {
            code,
            message: message.into(),
            path: None,
            place,
            help: None,
        });
    }

    pub(super) fn advise(
        &mut self,
        code: &'static Code,
        place: Place,
        message: impl Into<String>,
        help: &'static str,
    ) {
        self.push(Finding {
            code,
            message: message.into(),
            path: None,
            place,
            help: Some(help),
        });
    }

    /// What an alias brings again is found once.
    pub(super) fn push(&mut self, finding: Finding) {
        if self.all.len() >= MAX_FINDINGS {
            self.is_cut = true;
        } else if !self.all.contains(&finding) {
            self.all.push(finding);
        }
    }

    /// By source and line; what is about one line stays in the order in which it was found.
    pub(super) fn sort(&mut self) {
        self.all
            .sort_by_key(|finding| (finding.place.source, finding.place.span.start));
    }

    pub(super) fn errors(&self) -> usize {
        self.all
            .iter()
            .filter(|finding| finding.code.is_error)
            .count()
    }

    pub(super) fn warnings(&self) -> usize {
        self.all.len() - self.errors()
    }
}
