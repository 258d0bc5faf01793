//! Which rule applies, and what it asks for.

mod index;
#[cfg(test)]
mod tests;

use crate::config::{Requirement, Rule};
use crate::path::{PathError, Readings};
use index::Index;

/// The rules, compiled once: finding one takes as long as the path is deep, however many paths there are. Those of one path,
/// and those without any, are tried in turn.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    default: Requirement,
    index: Index,
}

/// Why a path cannot be judged: the request is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Ambiguous {
    /// No reading is safe.
    #[error("the path {0}")]
    Path(#[from] PathError),
    /// The authority holds userinfo (RFC 9110 §4.2.4), or is no text: readers differ about the host.
    #[error("the authority is not a host and a port")]
    Authority,
    /// It can be read in two ways that ask for different things.
    #[error("the path can be read in two ways that fall under different rules")]
    Readings,
}

impl Policy {
    /// Compiles the rules; `default` is asked where none matches.
    #[must_use]
    pub fn new(rules: Vec<Rule>, default: Requirement) -> Self {
        let index = Index::of(&rules);
        Self {
            rules,
            default,
            index,
        }
    }

    /// What is asked of a request: by the first rule that matches, or by the default.
    ///
    /// # Errors
    /// The path cannot be judged.
    pub fn requirement(
        &self,
        method: &str,
        authority: &str,
        path: &[u8],
    ) -> Result<&Requirement, Ambiguous> {
        if authority.contains('@') {
            return Err(Ambiguous::Authority);
        }
        let readings = Readings::of(path)?;
        let requirement = self.decide(method, authority, readings.normal());
        let agreed = readings
            .iter()
            .skip(1)
            .all(|path| self.decide(method, authority, path) == requirement);
        if agreed {
            Ok(requirement)
        } else {
            Err(Ambiguous::Readings)
        }
    }

    fn decide(&self, method: &str, authority: &str, path: &[u8]) -> &Requirement {
        let first = self.index.first_match(path, |rule| {
            self.rules.get(rule).is_some_and(|rule| {
                let methods = &rule.matches.methods;
                let hosts = &rule.matches.hosts;
                (methods.is_empty() || methods.iter().any(|allowed| covers(allowed, method)))
                    && (hosts.is_empty() || hosts.iter().any(|host| host.matches(authority)))
            })
        });
        let rule = first.and_then(|rule| self.rules.get(rule));
        rule.map_or(&self.default, |rule| &rule.requirement)
    }
}

/// `HEAD` is judged as `GET`, so that no rule for the one leaves a gap for the other.
fn covers(allowed: &str, method: &str) -> bool {
    allowed == method || (allowed == "GET" && method == "HEAD")
}
