//! Which rule applies, and what it asks for.

mod authorize;
mod client;
mod condition;
mod coverage;
mod host;
mod index;
mod needed;
mod rule;
#[cfg(test)]
mod tests;

pub(crate) use authorize::{Authenticated, Denial, Permit, authorize};
pub use client::{ClientCondition, ValueTest};
pub use condition::{ClaimTest, Condition, ConditionName, Unmet};
pub(crate) use coverage::covered;
pub(crate) use needed::NeededFacts;
pub use rule::{
    Accept, Audiences, HostPattern, PathPattern, Require, Requirement, Rule, RuleMatch,
};

use std::rc::Rc;

use crate::path::{PathError, Readings};
use client::Query;
pub(crate) use host::in_small_letters;
pub(crate) use index::host_and_domains;
use index::{Fit, Hosts, Index, is_spelt, path_fit};

/// The rules, compiled once: finding one takes as long as the path is deep, however many paths there are. Those of one path,
/// and those without any, are tried in turn.
#[derive(Debug)]
pub(crate) struct Policy {
    rules: Vec<Rule>,
    default: Rc<Requirement>,
    index: Index,
}

/// The most rules of one path and one host: they are tried in turn.
pub(crate) const MAX_RULES_IN_TURN: usize = 64;

/// Why a request is refused before any rule is applied: its method, authority or path is ambiguous.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRefused {
    /// Not a token (RFC 9110 §9.1), or one with small letters: some readers take `post` for `POST`, others do not.
    #[error("the method is not one in capitals")]
    Method,
    /// Not a host and at most one port: readers differ about the host.
    #[error("the authority is not a host and a port")]
    Authority,
    /// No reading of the path is safe.
    #[error("the path {0}")]
    Path(#[from] PathError),
    /// The path can be read in two ways that fall under different requirements.
    #[error("the path can be read in two ways that fall under different rules")]
    Readings,
}

impl Policy {
    /// Compiles the rules; `default` is asked where none matches.
    #[must_use]
    pub(crate) fn new(rules: Vec<Rule>, default: Rc<Requirement>) -> Self {
        let index = Index::new(&rules);
        Self {
            rules,
            default,
            index,
        }
    }

    /// What is asked of a request, by its `:method`, `:authority`, `:path` and headers: by the first rule that matches, or by
    /// the default. With it comes the host that the request names, without its port and the dot of the root.
    ///
    /// # Errors
    /// [`PathRefused`]: the request is ambiguous.
    pub(crate) fn requirement<'r>(
        &self,
        method: &'r [u8],
        authority: &'r [u8],
        path: &'r [u8],
        headers: &'r [(&'r [u8], &'r [u8])],
    ) -> Result<(Rc<Requirement>, Option<&'r str>), PathRefused> {
        let method = in_capitals(method).ok_or(PathRefused::Method)?;
        let host = host::read(authority)?;
        let readings = Readings::parse(path)?;
        let query = path.splitn(2, |byte| *byte == b'?').nth(1);
        let target = Target {
            method,
            host,
            headers,
            query: Query {
                text: query.unwrap_or_default(),
                is_certain: !readings.hides_a_query(),
            },
        };
        let requirement = self.decide(&target, readings.normal());
        let agrees = |path| {
            let other = self.decide(&target, path);
            Rc::ptr_eq(&other, &requirement) || other == requirement
        };
        if readings.iter().skip(1).all(agrees) {
            Ok((requirement, target.host))
        } else {
            Err(PathRefused::Readings)
        }
    }

    /// The first rule that matches decides. One that matches nearly counts only where it asks for more than what would
    /// apply without it, or for something else as well: so it guards what its author meant, and opens nothing beyond what is
    /// written.
    fn decide(&self, target: &Target<'_>, path: &[u8]) -> Rc<Requirement> {
        let mut first = None;
        let mut near: Vec<usize> = Vec::new();
        let small = target.host.map(host::in_small_letters);
        let hosts = small.as_deref().map_or(Hosts::All, Hosts::Of);
        self.index.visit(path, hosts, &mut |indices, fit| {
            for &index in indices {
                if first.is_some_and(|first| first < index) {
                    break;
                }
                match self.fit(index, target, path) {
                    Some(Fit::Wholly) if fit == Fit::Wholly => {
                        first = Some(index);
                        break;
                    }
                    // In the order of the rules, whatever list it comes from.
                    Some(_) => {
                        let at = near.partition_point(|other| *other < index);
                        if near.get(at) != Some(&index) {
                            near.insert(at, index);
                        }
                    }
                    None => {}
                }
            }
        });
        // So many can only be for other hosts than the one that is not named.
        if near.len() > MAX_RULES_IN_TURN {
            return Rc::new(Requirement::new(Require::Nobody));
        }
        let requirement = |index: usize| self.rules.get(index).map(|rule| &rule.requirement);
        let mut applies = Rc::clone(first.and_then(requirement).unwrap_or(&self.default));
        // From the last to the first: the later rules decide what would apply without an earlier one.
        let in_front = |index: &usize| first.is_none_or(|first| *index < first);
        let near = near.into_iter().rev().filter(in_front);
        for nearly in near.filter_map(requirement) {
            if nearly.asks_more(&applies) {
                applies = if applies.asks_more(nearly) {
                    Rc::new(nearly.and(&applies))
                } else {
                    Rc::clone(nearly)
                };
            }
        }
        applies
    }

    /// How well a rule matches that is for this path in some case: nearly, if it is for the path in another case, for a host
    /// while the request names none, or if readers differ about a header or the query.
    fn fit(&self, index: usize, target: &Target<'_>, path: &[u8]) -> Option<Fit> {
        let matches = &self.rules.get(index)?.matches;
        let rest = target.fit(matches, path)?;
        let spelt = match &matches.path {
            None => true,
            Some(PathPattern::Exact(text)) => is_spelt(text, path),
            Some(PathPattern::Prefix(text)) => {
                is_spelt(text.strip_suffix('/').unwrap_or(text), path)
            }
        };
        Some(if spelt { rest } else { Fit::Nearly })
    }

    /// The rules that ask for less where a header or the query is as the client chooses: what would apply without such a rule
    /// asks for more. Those of the first hundred rules that ask the client.
    pub(crate) fn loosened_by_clients(&self) -> Vec<usize> {
        const MOST: usize = 100;
        let all = self.rules.iter().enumerate();
        let asking = all.filter(|(_, rule)| rule.matches.asks_the_client());
        let loosens = |(position, rule): &(usize, &Rule)| {
            let (path, host) = (coverage::path(&rule.matches), rule.matches.hosts.first());
            let host = host.map(|host| match host {
                HostPattern::Exact(name) => name.clone(),
                HostPattern::Below(domain) => format!("x{domain}"),
            });
            let target = Target {
                method: rule.matches.methods.first().map_or("GET", String::as_str),
                host: host.as_deref(),
                headers: &[],
                query: Query {
                    text: b"",
                    is_certain: true,
                },
            };
            let mut next = None;
            let hosts = target.host.map_or(Hosts::All, Hosts::Of);
            self.index
                .visit(path.as_bytes(), hosts, &mut |indices, fit| {
                    let later = indices.iter().find(|later| {
                        let plain = |rule: &Rule| !rule.matches.asks_the_client();
                        **later > *position
                            && self.rules.get(**later).is_some_and(plain)
                            && self.fit(**later, &target, path.as_bytes()) == Some(Fit::Wholly)
                    });
                    if let (Some(later), Fit::Wholly) = (later, fit)
                        && next.is_none_or(|next| *later < next)
                    {
                        next = Some(*later);
                    }
                });
            let applies = next.and_then(|next| self.rules.get(next));
            let applies = applies.map_or(&self.default, |rule| &rule.requirement);
            applies.asks_more(&rule.requirement)
        };
        asking
            .take(MOST)
            .filter(loosens)
            .map(|(position, _)| position)
            .collect()
    }
}

/// A request, but for its path, as rules match it.
struct Target<'r> {
    method: &'r str,
    host: Option<&'r str>,
    headers: &'r [(&'r [u8], &'r [u8])],
    query: Query<'r>,
}

impl Target<'_> {
    /// How well it meets all conditions but that on the path.
    fn fit(&self, matches: &RuleMatch, path: &[u8]) -> Option<Fit> {
        let methods = &matches.methods;
        if !methods.is_empty() && !methods.iter().any(|allowed| covers(allowed, self.method)) {
            return None;
        }
        let mut all = Fit::Wholly;
        match self.host {
            _ if matches.hosts.is_empty() => {}
            Some(host) if matches.hosts.iter().any(|hosts| host::is_in(hosts, host)) => {}
            Some(_) => return None,
            None => all = Fit::Nearly,
        }
        for header in &matches.headers {
            all = all.and(header.fit_headers(self.headers)?);
        }
        for parameter in &matches.query {
            all = all.and(parameter.fit_query(&self.query)?);
        }
        if let Some(not) = &matches.not {
            all = all.and(match self.fit_all(not, path) {
                None => Fit::Wholly,
                Some(Fit::Nearly) => Fit::Nearly,
                Some(Fit::Wholly) => return None,
            });
        }
        Some(all)
    }

    /// The same with the path.
    fn fit_all(&self, matches: &RuleMatch, path: &[u8]) -> Option<Fit> {
        let of_path = match &matches.path {
            None => Fit::Wholly,
            Some(pattern) => path_fit(pattern, path)?,
        };
        Some(of_path.and(self.fit(matches, path)?))
    }
}

/// A method that every reader takes for the same: a token (RFC 9110 §5.6.2) without small letters.
fn in_capitals(method: &[u8]) -> Option<&str> {
    let fits = |byte: &u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte)
    };
    let fits = !method.is_empty() && method.iter().all(fits);
    std::str::from_utf8(method).ok().filter(|_| fits)
}

/// A rule for `GET` applies to `HEAD` too, so that `HEAD` does not get around it.
fn covers(allowed: &str, method: &str) -> bool {
    allowed == method || (allowed == "GET" && method == "HEAD")
}
