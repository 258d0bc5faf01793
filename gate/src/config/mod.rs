//! The filter's configuration: JSON text in, types that cannot be wrong out.
//!
//! [`Config::parse`] reads the whole document, collects every error with its JSON path, and gives either a complete
//! configuration or none. Defaults are filled in here, so no other room knows one. `docs/configuration.md` is the
//! reference for operators.

mod algorithm;
mod cookie;
mod endpoint;
mod error;
mod invalid;
mod jwt;
mod node;
mod project;
mod reader;
mod rules;
mod session;
#[cfg(test)]
mod tests;
mod wire;

pub use algorithm::Algorithm;
pub use cookie::{CookieRole, SessionCookie};
pub use endpoint::{Endpoint, split_port};
pub(crate) use error::Collector;
pub use error::{ConfigError, ConfigErrors, Problem};
pub use invalid::{Consequence, Invalid, OnInvalid};
pub use jwt::{JwtPolicy, TokenHeader};
pub use project::{KeyLocation, KeySource, Project, RemoteKeys};
pub use rules::{HostPattern, PathPattern, Require, Requirement, Rule, RuleMatch};
pub use session::SessionPolicy;

use node::Node;
use reader::{Field, Section};

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The Authgear projects that guard this site; at least one.
    pub projects: Vec<Project>,
    /// The rules, in order: the first that matches decides.
    pub rules: Vec<Rule>,
    /// What is asked of a request that no rule matches.
    pub default: Requirement,
    /// What becomes of a request with headers that only the gateway may set.
    pub client_identity_headers: ClientIdentityHeaders,
    /// The bounds on memory.
    pub limits: Limits,
}

/// What becomes of a request whose client sends headers of the family `x-authgear-*`, or has `Connection` name one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientIdentityHeaders {
    /// They are removed.
    #[default]
    Strip,
    /// It is answered 400.
    Refuse,
}

/// Bounds on what strangers can make the filter hold, each per worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest token or session cookie that is looked at, in bytes.
    pub token_bytes: usize,
    /// How many verified tokens are remembered.
    pub cached_tokens: usize,
    /// How many resolver verdicts are remembered.
    pub cached_sessions: usize,
    /// How many requests may wait for keys or for the resolver at once.
    pub waiting_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            token_bytes: 16_384,
            cached_tokens: 4_096,
            cached_sessions: 4_096,
            waiting_requests: 1_024,
        }
    }
}

impl Config {
    /// Parses the filter's configuration: JSON, or what Envoy makes of the same written as a `google.protobuf.Struct`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its JSON path.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigErrors> {
        let node = read_document(text)?;
        let mut errors = Collector::default();
        let config = Field::root(&node)
            .section(&mut errors)
            .and_then(|section| Self::read(section, &mut errors));
        errors.finish(config)
    }

    /// Whether keys are fetched for any of the projects.
    #[must_use]
    pub fn fetches_keys(&self) -> bool {
        let remote = |project: &Project| matches!(project.keys, KeySource::Remote(_));
        self.projects.iter().any(remote)
    }

    fn read(mut section: Section<'_>, errors: &mut Collector) -> Option<Self> {
        let projects = section
            .require("projects", "an array with one project", errors)
            .and_then(|field| read_projects(&field, errors));
        let rules = section
            .get("rules")
            .map_or(Some(Vec::new()), |field| rules::read_rules(&field, errors));
        let default = section
            .get("default")
            .map_or(Some(Requirement::default()), |field| {
                rules::read_default(&field, errors)
            });
        let limits = section
            .get("limits")
            .map_or(Some(Limits::default()), |field| {
                Limits::read(&field, errors)
            });
        let client_identity_headers = section.read(
            "client_identity_headers",
            ClientIdentityHeaders::default(),
            |field| ClientIdentityHeaders::read(field, errors),
        );
        if let Some(field) = section.get("on_invalid_config") {
            // Taken to heart only where something is wrong; see `OnInvalid::choose`.
            field.parsed("\"refuse\" or \"close\"", errors, OnInvalid::parse);
        }
        if let Some(field) = section.get("upstream") {
            refuse_upstream(&field, errors);
        }
        if let Some(field) = section.get("report_only") {
            refuse_true(&field, errors);
        }
        section.finish(errors);
        if let (Some(limits), Some(projects)) = (&limits, &projects) {
            for (nth, project) in projects.iter().enumerate() {
                limits.contradict(nth, project, errors);
            }
        }
        Some(Self {
            projects: projects?,
            rules: rules?,
            default: default?,
            client_identity_headers: client_identity_headers?,
            limits: limits?,
        })
    }
}

impl ClientIdentityHeaders {
    fn read(field: &Field<'_>, errors: &mut Collector) -> Option<Self> {
        field.parsed("\"strip\" or \"refuse\"", errors, |text| match text {
            "strip" => Some(Self::Strip),
            "refuse" => Some(Self::Refuse),
            _ => None,
        })
    }
}

impl Limits {
    /// What the project wants to have remembered must have room.
    fn contradict(&self, nth: usize, project: &Project, errors: &mut Collector) {
        let mut contradiction = |member: &str, reason: &str| {
            let problem = Problem::Contradiction(reason.to_owned());
            errors.add(format!("projects[{nth}].{member}"), problem);
        };
        if project.jwt.revalidate.is_some() && self.cached_tokens == 0 {
            contradiction(
                "jwt.revalidate",
                "what the resolver said is remembered with the token: \"limits.cached_tokens\" must not be 0",
            );
        }
        let session = project.session.as_ref();
        let stale = session.is_some_and(|session| !session.stale_if_error.is_zero());
        if stale && self.cached_sessions == 0 {
            contradiction(
                "session.stale_if_error",
                "what is not remembered cannot be given again: \"limits.cached_sessions\" must not be 0",
            );
        }
    }

    fn read(field: &Field<'_>, errors: &mut Collector) -> Option<Self> {
        let mut section = field.section(errors)?;
        let mut limits = Self::default();
        for (name, limit, range) in [
            ("token_bytes", &mut limits.token_bytes, 256..=65_536),
            ("cached_tokens", &mut limits.cached_tokens, 0..=1_000_000),
            (
                "cached_sessions",
                &mut limits.cached_sessions,
                0..=1_000_000,
            ),
            ("waiting_requests", &mut limits.waiting_requests, 1..=10_000),
        ] {
            if let Some(field) = section.get(name) {
                let value = field.integer(range, errors);
                *limit = value
                    .and_then(|value| usize::try_from(value).ok())
                    .unwrap_or(*limit);
            }
        }
        section.finish(errors);
        Some(limits)
    }
}

fn read_document(text: &[u8]) -> Result<Node, ConfigError> {
    let json = match std::str::from_utf8(text) {
        Ok(json) => serde_json::from_str(json).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    json.or_else(|error| {
        wire::read_struct(text).ok_or_else(|| ConfigError {
            path: "configuration".to_owned(),
            problem: Problem::Syntax(error),
        })
    })
}

fn read_projects(field: &Field<'_>, errors: &mut Collector) -> Option<Vec<Project>> {
    let items = field.items("an array with one project", errors)?;
    if items.is_empty() {
        field.unexpected("an array with one project", errors);
        return None;
    }
    for more in items.iter().skip(1) {
        more.not_supported_yet(errors);
    }
    items
        .iter()
        .map(|item| Project::read(item, errors))
        .collect()
}

fn refuse_upstream(field: &Field<'_>, errors: &mut Collector) {
    let Some(mut section) = field.section(errors) else {
        return;
    };
    if let Some(field) = section.get("strip_credentials") {
        refuse_true(&field, errors);
    }
    if let Some(field) = section.get("claim_headers") {
        match field.node() {
            Node::Object(members) if members.is_empty() => {}
            Node::Object(_) => field.not_supported_yet(errors),
            _ => field.unexpected("an object", errors),
        }
    }
    section.finish(errors);
}

fn refuse_true(field: &Field<'_>, errors: &mut Collector) {
    if field.bool(errors) == Some(true) {
        field.not_supported_yet(errors);
    }
}
