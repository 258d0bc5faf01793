//! The projects that one gateway guards: each has sessions, tokens and keys of its own.

use crate::jwt::POOL;
use crate::scenario::ISSUER;

/// Their origins. The second guards `other.test`, where there is one.
pub(crate) const ORIGINS: [&str; 2] = [ISSUER, "https://auth.other.test"];

/// The key of the second project. Its ID is that of the first project's first key.
pub(crate) const OTHER_KEY: usize = POOL;

const TO_THE_OTHER: &str = "@other ";

/// A question to a project's resolver.
pub(crate) fn to_resolver(project: usize, question: &str) -> String {
    if project == 0 {
        question.to_owned()
    } else {
        format!("{TO_THE_OTHER}{question}")
    }
}

/// Whose resolver is asked, and what.
pub(crate) fn asked_of(question: &str) -> (usize, &str) {
    match question.strip_prefix(TO_THE_OTHER) {
        Some(question) => (1, question),
        None => (0, question),
    }
}
