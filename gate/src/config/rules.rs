//! `rules[]` and `default`: which requests ask for what.

use super::endpoint::is_dns_name;
use super::error::Collector;
use super::node::Node;
use super::reader::Field;
use crate::path::Readings;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Who may pass.
    pub require: Require,
}

/// Who may pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Require {
    /// Anybody; credentials are not looked at.
    None,
    /// Anybody; who presents a valid credential is named to the backend.
    Optional,
    /// Users only.
    #[default]
    User,
}

impl Requirement {
    /// Whether this keeps somebody out whom `other` lets in. What cannot be compared asks for more, either way.
    #[must_use]
    pub fn asks_more_than(&self, other: &Self) -> bool {
        match (self.require, other.require) {
            (Require::None, _) | (Require::User, Require::User) => false,
            (Require::Optional, other) => other == Require::None,
            (Require::User, _) => true,
        }
    }
}

impl HostPattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('*') {
            Some(domain) => {
                let name = domain.strip_prefix('.')?;
                is_dns_name(name).then(|| Self::Below(domain.to_owned()))
            }
            None => is_dns_name(text).then(|| Self::Exact(text.to_owned())),
        }
    }

    /// Whether this host, without a port and without a dot at its end, is in this set; in any case.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host.eq_ignore_ascii_case(name),
            Self::Below(domain) => host
                .len()
                .checked_sub(domain.len())
                .filter(|below| *below > 0)
                .and_then(|below| host.get(below..))
                .is_some_and(|tail| tail.eq_ignore_ascii_case(domain)),
        }
    }
}

pub(super) const HOST: &str = "a host in lower case, without a port, or \"*.\" and a domain";
const PATH: &str = "a path in normal form: it begins with \"/\" and has no query, no dot segments, no \"//\", \
                    no \";\", \"\\\" or escaped slash, no space or dot at a segment's end";
const METHOD: &str = "a method in capitals, such as \"GET\"";
const REQUIRE: &str = "\"none\", \"optional\", \"user\" or \"machine\"";

pub(super) fn read_rules(field: &Field<'_>, errors: &mut Collector) -> Option<Vec<Rule>> {
    let items = field.items("an array of rules", errors)?;
    let rules: Vec<Option<Rule>> = items
        .iter()
        .map(|item| {
            let mut section = item.section(errors)?;
            let matches = section
                .require("match", "an object; {} matches every request", errors)
                .and_then(|field| read_match(&field, errors));
            let require = section.require("require", REQUIRE, errors);
            let requirement = read_requirement(section, require, errors);
            Some(Rule {
                matches: matches?,
                requirement: requirement?,
            })
        })
        .collect();
    rules.into_iter().collect()
}

pub(super) fn read_default(field: &Field<'_>, errors: &mut Collector) -> Option<Requirement> {
    let mut section = field.section(errors)?;
    let require = section.get("require");
    read_requirement(section, require, errors)
}

fn read_requirement(
    mut section: super::Section<'_>,
    require: Option<Field<'_>>,
    errors: &mut Collector,
) -> Option<Requirement> {
    let require = match require {
        Some(field) => read_require(&field, errors),
        None => Some(Require::User),
    };
    if let Some(field) = section.get("allow") {
        match field.node() {
            Node::Object(members) if members.is_empty() => {}
            Node::Object(_) => field.not_supported_yet(errors),
            _ => field.unexpected("an object", errors),
        }
    }
    if let Some(field) = section.get("accept") {
        let expected = "\"jwt\" or \"session\"";
        let kinds = field.strings(expected, errors, |kind| {
            matches!(kind, "jwt" | "session").then_some(())
        });
        match kinds.as_deref() {
            Some([]) => field.unexpected("at least one of \"jwt\" and \"session\"", errors),
            Some([()]) => field.not_supported_yet(errors),
            _ => {}
        }
    }
    if let Some(field) = section.get("on_unauthenticated") {
        match field.string("\"401\" or \"login\"", errors) {
            Some("401") | None => {}
            Some("login") => field.not_supported_yet(errors),
            Some(_) => field.unexpected("\"401\" or \"login\"", errors),
        }
    }
    section.finish(errors);
    Some(Requirement { require: require? })
}

fn read_require(field: &Field<'_>, errors: &mut Collector) -> Option<Require> {
    match field.string(REQUIRE, errors)? {
        "none" => Some(Require::None),
        "optional" => Some(Require::Optional),
        "user" => Some(Require::User),
        "machine" => {
            field.not_supported_yet(errors);
            None
        }
        _ => {
            field.unexpected(REQUIRE, errors);
            None
        }
    }
}

fn read_match(field: &Field<'_>, errors: &mut Collector) -> Option<RuleMatch> {
    let mut section = field.section(errors)?;
    let path = section.get("path");
    let prefix = section.get("path_prefix");
    if path.is_some() && prefix.is_some() {
        field.contradiction(
            "\"path\" and \"path_prefix\" exclude each other: keep one",
            errors,
        );
    }
    let path = match (path, prefix) {
        (Some(field), _) => Some(read_path(&field, errors).map(PathPattern::Exact)),
        (_, Some(field)) => Some(read_path(&field, errors).map(PathPattern::Prefix)),
        (None, None) => None,
    };
    let methods = section.get("methods").map_or(Some(Vec::new()), |field| {
        field.some_strings(METHOD, errors, method)
    });
    let hosts = section.get("hosts").map_or(Some(Vec::new()), |field| {
        field.some_strings(HOST, errors, HostPattern::parse)
    });
    section.finish(errors);
    Some(RuleMatch {
        path: match path {
            Some(path) => Some(path?),
            None => None,
        },
        methods: methods?,
        hosts: hosts?,
    })
}

fn read_path(field: &Field<'_>, errors: &mut Collector) -> Option<String> {
    let path = field.parsed(PATH, errors, normal_path)?;
    // Whoever writes `*` means a wildcard, and would be guarded nowhere.
    if path.contains('*') {
        field.not_supported_yet(errors);
        return None;
    }
    Some(path)
}

fn normal_path(text: &str) -> Option<String> {
    let readings = Readings::of(text.as_bytes()).ok()?;
    let whole = !text.contains(['?', '#']) && readings.is_unambiguous();
    let normal = std::str::from_utf8(readings.normal()).ok()?;
    whole.then(|| normal.to_owned())
}

fn method(text: &str) -> Option<String> {
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'));
    fits.then(|| text.to_owned())
}
