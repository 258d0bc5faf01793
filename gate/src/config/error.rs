//! What can be wrong with a configuration, and where.

use std::fmt;

use thiserror::Error;

use super::host::Power;

/// The errors of a configuration: at least one, and at most the first hundred.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, error) in self.0.iter().enumerate() {
            if nth > 0 {
                formatter.write_str("\n")?;
            }
            error.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One error in a configuration, and its JSON path.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    /// The JSON path: `rules[2].match.path_prefix`, or `configuration` for the whole document.
    pub path: String,
    /// What.
    pub problem: Problem,
}

/// A warning about a valid configuration, and its JSON path.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{path}: {text}")]
pub struct ConfigWarning {
    /// The JSON path: `projects[0].jwks.inline`.
    pub path: String,
    /// What.
    pub text: String,
}

/// What is wrong with one value of a configuration.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The document is not JSON.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// The member is not one the filter knows.
    #[error("unknown member{}", suggestion(.nearest.as_deref()))]
    Unknown {
        /// The known member whose name is most like it.
        nearest: Option<String>,
    },
    /// A required member is missing.
    #[error("missing: expected {expected}")]
    Missing {
        /// What should be there.
        expected: &'static str,
    },
    /// The member is given twice.
    #[error("given more than once: keep one")]
    Duplicate,
    /// The value is of the wrong type or out of range.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The value contradicts another.
    #[error("{0}")]
    Contradiction(String),
    /// The configuration language has the value, but this version does not support it.
    #[error("not supported yet by this version of the filter")]
    NotSupportedYet,
    /// The host that runs the filter lacks what the configuration needs.
    #[error("the host lacks what it needs: {}", list(.0))]
    HostLacks(Vec<Power>),
}

fn list(powers: &[Power]) -> String {
    let names: Vec<String> = powers.iter().map(Power::to_string).collect();
    names.join(", ")
}

pub(super) fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(": did you mean \"{name}\"?"))
}

/// Collects errors, so that all of them are reported at once, and warnings.
#[derive(Debug, Default)]
pub(super) struct Collector {
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigWarning>,
}

/// The most errors that are reported, and the most warnings.
const MAX_REPORTED: usize = 100;

impl Collector {
    pub(super) fn add(&mut self, path: impl Into<String>, problem: Problem) {
        self.push(path.into(), problem);
    }

    #[inline(never)]
    fn push(&mut self, path: String, problem: Problem) {
        if !self.is_full() {
            self.errors.push(ConfigError { path, problem });
        }
    }

    /// Whether no further error is reported.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_REPORTED
    }

    /// Adds a contradiction.
    #[inline(never)]
    pub(super) fn contradict(&mut self, path: String, reason: &str) {
        self.push(path, Problem::Contradiction(reason.to_owned()));
    }

    #[inline(never)]
    pub(super) fn warn(&mut self, path: String, text: String) {
        if self.warnings.len() < MAX_REPORTED {
            self.warnings.push(ConfigWarning { path, text });
        }
    }

    pub(super) fn take_warnings(&mut self) -> Vec<ConfigWarning> {
        std::mem::take(&mut self.warnings)
    }

    /// As [`Collector::add`], but an error that two readers would report is added once.
    pub(super) fn add_once(&mut self, path: &str, problem: Problem) {
        if !self
            .errors
            .iter()
            .any(|error| error.path == path && error.problem == problem)
        {
            self.add(path, problem);
        }
    }

    /// `value`, if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors(self.errors)),
        }
    }
}
