//! A rule, as the operator has written it: the requests it is for, and what it asks of them.

use std::rc::Rc;

use super::client::ClientCondition;
use super::condition::{Condition, ConditionName};
use super::host;
use crate::endpoint::is_dns_name;

/// A rule: the requests it is for, and what is asked of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The requests it is for.
    pub matches: RuleMatch,
    /// What is asked of them.
    pub requirement: Rc<Requirement>,
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
    /// What is asked of headers.
    pub headers: Vec<ClientCondition>,
    /// What is asked of the query.
    pub query: Vec<ClientCondition>,
    /// The requests it is not for.
    pub not: Option<Box<RuleMatch>>,
}

impl RuleMatch {
    /// Whether it asks for something that the client writes and nobody checks.
    pub(crate) fn asks_the_client(&self) -> bool {
        let inner = self.not.as_ref().is_some_and(|not| not.asks_the_client());
        !self.headers.is_empty() || !self.query.is_empty() || inner
    }
}

/// A set of paths, in normal form, in which the segment `*` stands for any one; in any case where the rule asks for more than what would apply without it.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    /// Who may pass.
    pub require: Require,
    /// By which kinds of credential.
    pub accept: Accept,
    /// Whom tokens must be issued for: one audience of each of these sets.
    pub audiences: Vec<Audiences>,
    /// What must hold of the principal, all of it.
    pub allow: Vec<Condition>,
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
    /// Machines only.
    Machine,
    /// Users and machines.
    UserOrMachine,
    /// Nobody: two rules apply, one for users and one for machines.
    Nobody,
}

/// The kinds of credential that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Access tokens in JWT form, which are verified here.
    pub jwt: bool,
    /// What the resolver judges: session cookies, and opaque access tokens.
    pub session: bool,
}

/// A set of audiences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audiences {
    /// Those of the project, `jwt.audiences`.
    Project,
    /// These.
    Of(Vec<String>),
}

impl Require {
    /// Whether users pass.
    #[must_use]
    pub fn takes_users(self) -> bool {
        matches!(self, Self::User | Self::UserOrMachine)
    }

    /// Whether machines pass.
    #[must_use]
    pub fn takes_machines(self) -> bool {
        matches!(self, Self::Machine | Self::UserOrMachine)
    }

    /// Whether nobody passes whom `other` refuses.
    fn includes(self, other: Self) -> bool {
        match (self, other) {
            (Self::None, _) | (_, Self::Nobody) => true,
            (Self::Optional, other) => other != Self::None,
            (_, Self::None | Self::Optional) => false,
            _ => {
                (self.takes_users() || !other.takes_users())
                    && (self.takes_machines() || !other.takes_machines())
            }
        }
    }

    /// Who passes both.
    fn and(self, other: Self) -> Self {
        if self.includes(other) {
            return other;
        }
        if other.includes(self) {
            self
        } else {
            Self::Nobody
        }
    }
}

impl Accept {
    /// Every kind.
    pub const ALL: Self = Self {
        jwt: true,
        session: true,
    };

    fn includes(self, other: Self) -> bool {
        (self.jwt || !other.jwt) && (self.session || !other.session)
    }
}

impl Audiences {
    /// Whether a token for one of `other` is for one of these.
    fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Of(all), Self::Of(some)) => some.iter().all(|one| all.contains(one)),
            _ => self == other,
        }
    }
}

impl Requirement {
    /// One that asks for no more than this.
    #[must_use]
    pub fn new(require: Require) -> Self {
        Self {
            require,
            accept: Accept::ALL,
            audiences: vec![Audiences::Project],
            allow: Vec::new(),
        }
    }

    /// Whether it certainly lets everybody pass whom `other` does.
    fn includes(&self, other: &Self) -> bool {
        if self.require == Require::None {
            return true;
        }
        self.require.includes(other.require)
            && self.accept.includes(other.accept)
            && each_is_in(&self.audiences, &other.audiences, |one, more| {
                one.includes(more)
            })
            && each_is_in(&self.allow, &other.allow, |one, more| one == more)
    }

    /// Whether it may refuse somebody whom `other` lets pass. Of two that cannot be compared, each does.
    pub(super) fn asks_more(&self, other: &Self) -> bool {
        !self.includes(other)
    }

    /// What lets pass whom both let pass.
    pub(super) fn and(&self, other: &Self) -> Self {
        let audiences = self.audiences.iter().chain(&other.audiences);
        // Those last whose denial tells the client what would be enough.
        let all = || self.allow.iter().chain(&other.allow);
        let of_rank = |rank| all().filter(move |condition| condition.name().rank() == rank);
        let allow = (0..=ConditionName::MAX_RANK).flat_map(of_rank);
        Self {
            require: self.require.and(other.require),
            accept: Accept {
                jwt: self.accept.jwt && other.accept.jwt,
                session: self.accept.session && other.accept.session,
            },
            audiences: audiences.cloned().collect(),
            allow: allow.cloned().collect(),
        }
    }
}

/// Whether each of `asked` follows from one of `known`.
fn each_is_in<T>(asked: &[T], known: &[T], follows: fn(&T, &T) -> bool) -> bool {
    let is_in = |one: &T| known.iter().any(|more| follows(one, more));
    asked.iter().all(is_in)
}

impl HostPattern {
    /// Whether each host of `other` is in this set.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let (Self::Exact(name) | Self::Below(name)) = other;
        self == other || host::is_in(self, name)
    }

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
