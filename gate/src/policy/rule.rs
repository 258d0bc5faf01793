//! A rule, as the operator has written it: the requests it is for, and what it asks of them.

use crate::endpoint::is_dns_name;

/// A rule: the requests it is for, and what is asked of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The requests it is for.
    pub matches: RuleMatch,
    /// What is asked of them.
    pub requirement: Requirement,
}

/// The requests a rule is for: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleMatch {
    /// The paths; `None`: any.
    pub path: Option<PathPattern>,
    /// The methods; empty: any. `GET` stands for `HEAD` too.
    pub methods: Vec<String>,
    /// The hosts; empty: any.
    pub hosts: Vec<HostPattern>,
}

/// A set of paths, in normal form; in any case where the rule asks for more than what would apply without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path; with and without a slash at its end where the rule asks for more, too.
    Exact(String),
    /// This path and those below it: `/a` is a prefix of `/a` and `/a/b`, not of `/ab`; `/a/` of `/a/b`, not of `/a`.
    Prefix(String),
}

/// A set of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Every host below this domain, at any depth; the text begins with a dot.
    Below(String),
}

/// What is asked of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Who may pass.
    pub require: Require,
}

/// Who may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// Anybody; credentials are not read.
    None,
    /// Anybody; the backend gets the identity of users who present a valid credential.
    Optional,
    /// Users only.
    User,
}

impl HostPattern {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('*') {
            Some(domain) => {
                let name = domain.strip_prefix('.')?;
                is_dns_name(name).then(|| Self::Below(domain.to_owned()))
            }
            None => is_dns_name(text).then(|| Self::Exact(text.to_owned())),
        }
    }
}
