//! The filter's configuration: JSON text in, types that cannot be wrong out.
//!
//! [`Config::parse`] reads the whole document, collects every error with its JSON path, and gives either a complete
//! configuration or none:
//!
//! ```
//! use gate::config::{Config, Require};
//!
//! let text = br#"{
//!     "projects": [{ "endpoint": "https://auth.example.com", "cluster": "authgear" }],
//!     "rules": [{ "match": { "path_prefix": "/public/" }, "require": "none" }]
//! }"#;
//! let config = Config::parse(text)?;
//! assert_eq!(config.rules[0].requirement.require, Require::None);
//! // What is not said is filled in.
//! assert_eq!(config.default.require, Require::User);
//! assert_eq!(config.projects[0].jwt.audiences, ["https://auth.example.com"]);
//!
//! let text = br#"{
//!     "projects": [{ "endpoint": "https://auth.example.com", "clutser": "authgear" }],
//!     "limits": { "token_bytes": 1 }
//! }"#;
//! let errors = Config::parse(text).unwrap_err();
//! let lines: Vec<String> = errors.iter().map(|error| error.to_string()).collect();
//! assert_eq!(lines, [
//!     "projects[0].cluster: missing: expected the name of an upstream cluster",
//!     "projects[0].clutser: unknown member: did you mean \"cluster\"?",
//!     "limits.token_bytes: expected a whole number from 256 to 65536, found the number 1",
//! ]);
//! # Ok::<(), gate::config::ConfigErrors>(())
//! ```
//!
//! Each object of the document is a table of its members (`object!`, in `table.rs`), beside the type that is read from it.
//! Names, kinds, defaults and ranges stand there and nowhere else: the reader, the reference in `docs/configuration.md` and
//! the JSON Schema (`make schema`) are made from it.

mod cluster;
mod cookie;
mod error;
mod field;
mod host;
mod invalid;
mod jwt;
mod kind;
mod matching;
mod project;
mod requirement;
mod rules;
#[cfg(feature = "schema")]
pub mod schema;
mod section;
mod session;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod units;
mod wire;

pub use cookie::{CookieRole, SessionCookie};
pub use error::{ConfigError, ConfigErrors, ConfigWarning, Problem};
pub use host::{Host, Power};
pub use invalid::{Consequence, Invalid, OnInvalid};
pub use jwt::{JwtPolicy, TokenHeader};
pub use project::{KeyLocation, KeySource, Project, RemoteKeys};
pub use session::SessionPolicy;

// What the rules are is the policy's; here they are read.
pub use crate::claim::{ClaimPath, Scalar};
pub use crate::policy::{
    Accept, Audiences, ClaimTest, ClientCondition, Condition, ConditionName, HostPattern,
    PathPattern, Require, Requirement, Rule, RuleMatch, ValueTest,
};

use std::rc::Rc;

use crate::json::Node;
use crate::principal::RoleHeaders;
use error::Collector;
use field::Field;
use kind::{Absent, Array, Choice, LaterFlag, LaterObject, Nested, Own, Whole};
use rules::{of_default, of_rule};
use section::Section;
use table::{Member, Object, object};

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The Authgear projects that guard this site; at least one.
    pub projects: Vec<Project>,
    /// The rules, in order: the first that matches decides.
    pub rules: Vec<Rule>,
    /// What is asked of a request that no rule matches.
    pub default: Rc<Requirement>,
    /// What the filter does with a request that has headers that only the gateway may set.
    pub client_identity_headers: ClientIdentityHeaders,
    /// The headers that name one role each.
    pub role_headers: RoleHeaders,
    /// The bounds on memory.
    pub limits: Limits,
    /// Warnings to log when it is put to use.
    pub warnings: Vec<ConfigWarning>,
}

/// What the filter does with a request whose client sends `x-authgear-*` headers, or names one in `Connection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientIdentityHeaders {
    /// They are removed.
    Strip,
    /// It is answered 400.
    Refuse,
}

/// Bounds on the memory that strangers can make the filter use, each per worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest token or session cookie that is read, in bytes.
    pub token_bytes: usize,
    /// How many verified tokens are cached.
    pub cached_tokens: usize,
    /// How many verdicts of the resolver are cached.
    pub cached_sessions: usize,
    /// How many requests may wait for keys or for the resolver at once.
    pub waiting_requests: usize,
}

object! {
    /// The document.
    of_document at "" {
        PROJECTS: Array = "projects",
            Array::new(&project::of_project::OBJECT, "an array of projects", ""),
            "The Authgear project, or several, see [`projects[]`](#projects).";
        RULES: Array = "rules",
            Array::new(&of_rule::OBJECT, "an array of rules", "[]"),
            "Which requests ask for what, see [`rules[]`](#rules). The first that matches decides.";
        DEFAULT: Nested = "default",
            Nested::or(&of_default::OBJECT, Absent::Is(r#"{ "require": "user" }"#)),
            "What is asked where no rule matches, see [`default`](#default).";
        UPSTREAM: Nested = "upstream",
            Nested::new(&of_upstream::OBJECT),
            "What the backend gets, see [`upstream`](#upstream).";
        CLIENT_IDENTITY_HEADERS: Choice<ClientIdentityHeaders> = "client_identity_headers",
            Choice::new(
                Some(ClientIdentityHeaders::Strip),
                "\"strip\" or \"refuse\"",
                &[("strip", ClientIdentityHeaders::Strip), ("refuse", ClientIdentityHeaders::Refuse)],
                &[],
            ),
            "What becomes of a request whose client sends a header of the family `x-authgear-*`, or has `Connection` name one. \
             `strip`: they are removed. `refuse`: it is answered 400, whatever the rules say. [Why one \
             would.](operations.md#a-policy-for-each-route)";
        ON_INVALID_CONFIG: Choice<OnInvalid> = invalid::MEMBER,
            invalid::CHOICE,
            "What becomes of this document where it is wrong. `refuse`: Envoy does not take it. `close`: it is taken, and nobody gets \
             in by it. Where the member is left out: `close` behind Envoy Gateway. See [A configuration that is \
             wrong](#a-configuration-that-is-wrong).";
        LIMITS: Nested = "limits",
            Nested::new(&of_limits::OBJECT),
            "Bounds on memory, see [`limits`](#limits).";
        REPORT_ONLY: LaterFlag = "report_only",
            LaterFlag,
            "[Not yet.](#not-yet)";
    }
}

object! {
    /// Bounds on memory.
    of_limits at "limits" {
        TOKEN_BYTES: Whole = "token_bytes",
            Whole::new(16_384, 256, 65_536),
            "The longest token, and the longest value of a session cookie, that is looked at. A longer token is `invalid_token`; a \
             longer cookie is an invalid one.";
        CACHED_TOKENS: Whole = "cached_tokens",
            Whole::new(4_096, 0, 1_000_000),
            "How many verified tokens are cached. `0`: none.";
        CACHED_SESSIONS: Whole = "cached_sessions",
            Whole::new(4_096, 0, 1_000_000),
            "How many valid sessions are cached. Invalid ones have a cache of their own, of 1024 entries at most. `0`: none of either.";
        WAITING_REQUESTS: Whole = "waiting_requests",
            Whole::new(1_024, 1, 10_000),
            "How many requests may wait for keys at once, and how many for the resolver. An eighth of that number may wait for a \
             `kid` that good keys do not have. One more is answered 503.";
    }
}

object! {
    /// What the backend gets.
    of_upstream at "upstream" {
        STRIP_CREDENTIALS: LaterFlag = "strip_credentials",
            LaterFlag,
            "[Not yet.](#not-yet) The backend gets `Authorization` and `Cookie` as the client sent them.";
        CLAIM_HEADERS: LaterObject = "claim_headers",
            LaterObject,
            "[Not yet.](#not-yet)";
        ROLE_HEADERS: Own = "role_headers",
            Own::new(
                "object",
                Absent::Is("{}"),
                "",
                r#"{ "type": "object", "maxProperties": 64, "propertyNames": { "pattern": "^[!-+.-~-]+$" },
                    "additionalProperties": { "type": "string", "pattern": "^x-authgear-[a-z0-9-]*[a-z0-9]$" } }"#,
            ),
            "A header for each of these roles, by role: `{\"admin\": \"x-authgear-role-admin\"}`. A user who has the role comes with the \
             header, `true`; nobody else does. For what compares whole values only, as the policies of meshes do: `admin` within \
             `viewer,admin` cannot be asked for there. The names begin with `x-authgear-`: no client can send them.";
    }
}

impl Config {
    /// Parses the filter's configuration: JSON, or the `google.protobuf.Struct` that Envoy makes of the same members in YAML.
    ///
    /// # Errors
    /// All errors of the configuration, each with its JSON path.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigErrors> {
        let node = read_document(text)?;
        if is_wrapped(&node) {
            return Err(of_document_itself(WRAPPED).into());
        }
        let mut errors = Collector::default();
        let config = Section::read(&Field::root(&node), &of_document::OBJECT, &mut errors)
            .and_then(|section| Self::read(&section, &mut errors));
        errors.finish(config)
    }

    /// The errors where Envoy has no configuration for the plugin, but one for its VM.
    #[must_use]
    pub fn in_vm_config() -> ConfigErrors {
        ConfigErrors::from(of_document_itself(
            "it is in \"vm_config.configuration\", which the filter does not read: move it to \"config.configuration\"",
        ))
    }

    /// Whether keys are fetched for any of the projects.
    #[must_use]
    pub fn fetches_keys(&self) -> bool {
        let remote = |project: &Project| matches!(project.keys, KeySource::Remote(_));
        self.projects.iter().any(remote)
    }

    /// Whether this power is needed. Tokens expire, so the clock always is. The rest is for requests that wait: for keys
    /// that are fetched, or for the resolver.
    #[must_use]
    pub fn needs(&self, power: Power) -> bool {
        match power {
            Power::Clock => true,
            Power::Callouts | Power::Ticks | Power::EffectiveContext => self.makes_calls(),
        }
    }

    /// Whether this host can do all that the configuration needs.
    ///
    /// # Errors
    /// All that it needs and the host lacks, in one error.
    pub fn check_host(&self, host: &dyn Host) -> Result<(), ConfigErrors> {
        let lacks = |power: &Power| self.needs(*power) && !host.has(*power);
        let missing: Vec<Power> = Power::ALL.into_iter().filter(lacks).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(ConfigErrors::from(ConfigError {
            path: "configuration".to_owned(),
            problem: Problem::HostLacks(missing),
        }))
    }

    fn makes_calls(&self) -> bool {
        self.projects.iter().any(|project| {
            matches!(project.keys, KeySource::Remote(_)) || project.session.is_some()
        })
    }

    #[inline(never)]
    fn read(section: &Section<'_>, errors: &mut Collector) -> Option<Self> {
        let projects = match section.get(&of_document::PROJECTS) {
            Some(field) => read_projects(&field, errors),
            None => {
                let expected = of_document::PROJECTS.kind.expected;
                section.missing(&of_document::PROJECTS, expected, errors);
                None
            }
        };
        let rules = section.list(&of_document::RULES, errors, |field, errors| {
            rules::read_rules(&of_document::RULES, field, errors)
        });
        let default = section
            .section(&of_document::DEFAULT, errors)
            .and_then(|section| rules::read_default(&section, errors));
        let limits = section
            .section(&of_document::LIMITS, errors)
            .map(|section| Limits::read(&section, errors));
        let client_identity_headers = section.value(&of_document::CLIENT_IDENTITY_HEADERS, errors);
        let mut role_headers = Some(RoleHeaders::default());
        // Used only where there are errors; see `OnInvalid::choose`.
        section.given(&of_document::ON_INVALID_CONFIG, errors);
        if let Some(section) = section.section(&of_document::UPSTREAM, errors) {
            section.value(&of_upstream::STRIP_CREDENTIALS, errors);
            section.value(&of_upstream::CLAIM_HEADERS, errors);
            if let Some(field) = section.get(&of_upstream::ROLE_HEADERS) {
                role_headers = read_role_headers(&field, errors);
            }
            section.finish(errors);
        }
        section.value(&of_document::REPORT_ONLY, errors);
        section.finish(errors);
        if let (Some(limits), Some(projects)) = (&limits, &projects) {
            for (nth, project) in projects.iter().enumerate() {
                limits.contradict(nth, project, errors);
            }
        }
        if let (Some(projects), Some(rules), Some(default)) = (&projects, &rules, &default) {
            for (nth, rule) in rules.iter().enumerate() {
                let place = format!("rules[{nth}]");
                rule.requirement
                    .contradict_projects(&place, projects, errors);
            }
            default.contradict_projects("default", projects, errors);
            rules::warn_of_foreign_hosts(rules, projects, errors);
            rules::warn_of_what_clients_write(rules, default, errors);
            let all = rules.iter().map(|rule| &rule.requirement);
            requirement::limit_claims(all.chain([default]), errors);
        }
        Some(Self {
            projects: projects?,
            rules: rules?,
            default: default?,
            client_identity_headers: client_identity_headers?,
            role_headers: role_headers?,
            limits: limits?,
            warnings: errors.take_warnings(),
        })
    }
}

impl Limits {
    /// A project that needs a cache must have a cache size above 0.
    fn contradict(&self, nth: usize, project: &Project, errors: &mut Collector) {
        let mut contradiction = |member: &str, reason: &str| {
            let problem = Problem::Contradiction(reason.to_owned());
            errors.add(format!("projects[{nth}].{member}"), problem);
        };
        if project.jwt.revalidate.is_some() && self.cached_tokens == 0 {
            contradiction(
                "jwt.revalidate",
                "the resolver's verdict is cached with the token: \"limits.cached_tokens\" must not be 0",
            );
        }
        let session = project.session.as_ref();
        let stale = session.is_some_and(|session| !session.stale_if_error.is_zero());
        if stale && self.cached_sessions == 0 {
            contradiction(
                "session.stale_if_error",
                "an answer that is not cached cannot be given again: \"limits.cached_sessions\" must not be 0",
            );
        }
    }

    fn read(section: &Section<'_>, errors: &mut Collector) -> Self {
        // Where limits are compared with other members, the default replaces an invalid value, which has been reported.
        let mut limit = |member: &'static Member<Whole>| {
            let value = section.value(member, errors);
            value.unwrap_or(member.kind.default)
        };
        let limits = Self {
            token_bytes: limit(&of_limits::TOKEN_BYTES),
            cached_tokens: limit(&of_limits::CACHED_TOKENS),
            cached_sessions: limit(&of_limits::CACHED_SESSIONS),
            waiting_requests: limit(&of_limits::WAITING_REQUESTS),
        };
        section.finish(errors);
        limits
    }
}

/// How many roles may have a header.
const MAX_ROLE_HEADERS: usize = 64;

#[inline(never)]
fn read_role_headers(field: &Field<'_>, errors: &mut Collector) -> Option<RoleHeaders> {
    let members = field.members(errors)?;
    if members.len() > MAX_ROLE_HEADERS {
        let reason = format!("has more than {MAX_ROLE_HEADERS} roles");
        field.contradiction(reason, errors);
        return None;
    }
    let mut headers = RoleHeaders::default();
    for (role, node) in members {
        let header = Field::new(field::path_of(field.parent_path(), role), node);
        if requirement::role(role).is_none() {
            header.contradiction("is no role key: visible ASCII without a comma", errors);
        }
        let expected = "a header of its own that begins with \"x-authgear-\", in lower case, and is none of the filter's others";
        header.parsed(expected, errors, |text| headers.add(role, text));
    }
    Some(headers)
}

#[inline(never)]
fn read_document(text: &[u8]) -> Result<Node, ConfigError> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(of_document_itself(
            "begins with a byte order mark (U+FEFF): save it without one",
        ));
    }
    let json = match std::str::from_utf8(text) {
        Ok(json) => serde_json::from_str(json).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    json.or_else(|error| {
        if wire::is_typed_struct(text) {
            return Err(of_document_itself(WRAPPED));
        }
        wire::read_struct(text).ok_or_else(|| ConfigError {
            path: "configuration".to_owned(),
            problem: Problem::Syntax(error),
        })
    })
}

/// Whether it is the JSON of a message that holds the document.
fn is_wrapped(document: &Node) -> bool {
    let is_type = |(name, _): &(String, Node)| matches!(name.as_str(), "@type" | "type_url");
    matches!(document, Node::Object(members) if members.iter().any(is_type))
}

const WRAPPED: &str = "it is wrapped in a TypedStruct or another message: put the members themselves into a \
                       google.protobuf.Struct, or their JSON into a google.protobuf.StringValue";

fn of_document_itself(problem: &str) -> ConfigError {
    ConfigError {
        path: "configuration".to_owned(),
        problem: Problem::Contradiction(problem.to_owned()),
    }
}

fn read_projects(field: &Field<'_>, errors: &mut Collector) -> Option<Vec<Project>> {
    let expected = of_document::PROJECTS.kind.expected;
    let items = field.items(expected, errors)?;
    if items.is_empty() {
        field.unexpected(expected, errors);
        return None;
    }
    let projects: Vec<Option<Project>> = items
        .iter()
        .map(|item| Project::read(item, errors))
        .collect();
    let projects: Vec<Project> = projects.into_iter().collect::<Option<_>>()?;
    project::tell_apart(&projects, errors);
    Some(projects)
}
