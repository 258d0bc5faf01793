//! `projects[]`: an Authgear project, and where its keys are.

use std::collections::HashSet;
use std::time::Duration;

use super::cluster::{CLUSTER, ProjectCluster};
use super::error::{Collector, Problem};
use super::field::Field;
use super::jwt::{self, JwtPolicy};
use super::kind::{Absent, Flag, LaterOrNull, List, Nested, Own, Span, Text};
use super::matching;
use super::section::Section;
use super::session::{self, SessionPolicy};
use super::table::{Member, Object, object};
use super::text::{CALL_PATH_PATTERN, TOKEN_PATTERN, call_path, token};
use super::units::{days, hours, millis, minutes, seconds};
use crate::endpoint::Endpoint;
use crate::jose::{Dropped, KeySet};
use crate::json::Node;
use crate::policy::HostPattern;

/// An Authgear project.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its public origin.
    pub endpoint: Endpoint,
    /// The hosts of the requests that it guards; empty: all that no other project guards.
    pub hosts: Vec<HostPattern>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The requirements on its access tokens.
    pub jwt: JwtPolicy,
    /// How its resolver is called; `None`: only JWTs are accepted.
    pub session: Option<SessionPolicy>,
}

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// Fetched from Authgear.
    Remote(RemoteKeys),
    /// Given in the configuration: no call is made.
    Inline(KeySet),
}

/// How the keys are fetched and kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteKeys {
    /// The upstream cluster of the calls.
    pub cluster: String,
    /// Where on the endpoint the JWKS is.
    pub location: KeyLocation,
    /// How old a key set may grow before a new one is fetched.
    pub refresh: Duration,
    /// How long after `refresh` the last set is still used while no new one can be fetched.
    pub max_stale: Duration,
    /// How long one call may take, and a request wait for it.
    pub timeout: Duration,
    /// How often a token with an unknown `kid` may cause a fetch.
    pub unknown_kid_cooldown: Duration,
}

/// Where on the endpoint the JWKS is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// At this path.
    Path(String),
    /// Where `/.well-known/openid-configuration` says.
    Discover,
}

object! {
    /// An Authgear project.
    of_project at "projects[]" with r#"{
        "if": {
            "required": ["jwks"],
            "properties": { "jwks": { "required": ["inline"], "properties": { "inline": { "type": "object" } } } },
            "anyOf": [
                { "required": ["session"], "properties": { "session": { "type": "null" } } },
                { "required": ["session"], "properties": { "session": { "required": ["cluster"] } } }
            ]
        },
        "else": { "required": ["cluster"] }
    }"# {
        ENDPOINT: Text<Endpoint> = "endpoint",
            Text::new(
                "an origin as Authgear writes it into \"iss\", such as \"https://auth.example.com\": lower case, no path, \
                 no trailing slash, no default port",
                Endpoint::parse,
            ).pattern("^https?://([a-z0-9_.-]+|\\[[0-9a-fA-F:.]+\\])(:[1-9][0-9]{0,4})?$"),
            "The project's public origin, exactly as it stands in `iss`: scheme, lower-case host, port if it is not the scheme's own; \
             no path, no slash at the end. It is the issuer, the default audience, and the `:authority` of every call.";
        OWN_CLUSTER: Text<String> = "cluster",
            CLUSTER.or(Absent::Needed),
            "The Envoy cluster that leads to Authgear. Not needed where no call uses it: with `jwks.inline`, and `session` either \
             `null` or with a `cluster` of its own.";
        COOKIE_PREFIX: Text<String> = "cookie_prefix",
            Text::new("what the names of Authgear's cookies begin with (no wildcards), such as \"my_\"", cookie_prefix)
                .or(Absent::Is(r#""""#)).or_empty().pattern(TOKEN_PATTERN),
            "Authgear's own `http.cookie_prefix`: what the names of its cookies begin with, such as `my_`. It gives \
             `session.cookies` and `jwt.cookies` their defaults, and says what each cookie holds.";
        JWKS: Nested = "jwks",
            Nested::new(&of_jwks::OBJECT),
            "Where the keys come from, see [`projects[].jwks`](#projectsjwks).";
        JWT: Nested = "jwt",
            Nested::new(&jwt::of_jwt::OBJECT),
            "What access tokens must look like, see [`projects[].jwt`](#projectsjwt).";
        SESSION: Nested = "session",
            Nested::or_null(&session::of_session::OBJECT),
            "How the resolver is asked, see [`projects[].session`](#projectssession). `null`: never; only JWTs are accepted.";
        HOSTS: List<HostPattern> = "hosts",
            List::new("hosts", matching::HOST.or(Absent::Is("[]"))),
            "The hosts of the requests that the project guards, as in a rule's `hosts`: by `:authority` alone. The host itself comes \
             before a domain that it lies below, a longer domain before a shorter one. Empty: all hosts that no other project has. \
             [Several projects.](#several-projects)";
        LOGIN: LaterOrNull = "login",
            LaterOrNull,
            "[Not yet.](#not-yet)";
    }
}

object! {
    /// Where the keys come from.
    of_jwks at "projects[].jwks" with r#"{
        "not": { "required": ["uri", "discover"], "properties": { "discover": { "const": true } } },
        "if": { "required": ["inline"], "properties": { "inline": { "type": "object" } } },
        "then": { "properties": {
            "uri": false, "discover": { "const": false },
            "refresh": false, "max_stale": false, "timeout": false, "unknown_kid_cooldown": false
        } }
    }"# {
        URI: Text<String> = "uri",
            Text::new("a path on the endpoint, such as \"/oauth2/jwks\"", call_path)
                .or(Absent::Is(r#""/oauth2/jwks""#)).pattern(CALL_PATH_PATTERN),
            "The path of the key set on `endpoint`: a path, not a URL.";
        DISCOVER: Flag = "discover",
            Flag(false),
            "`true`: the path is taken from `/.well-known/openid-configuration` before every fetch. Its `issuer` must be `endpoint`, \
             its `jwks_uri` must lie on `endpoint`.";
        INLINE: Own = "inline",
            Own::new(
                "object or `null`",
                Absent::Is("null"),
                "",
                r#"{ "type": ["object", "null"], "properties": { "keys": { "type": "array", "minItems": 1 } }, "required": ["keys"] }"#,
            ),
            "The key set itself, `{\"keys\": […]}`. No call is made. A new key is a new configuration.";
        REFRESH: Span = "refresh",
            Span::new(minutes(5), seconds(1), days(1)),
            "How old the key set may grow. A new one is fetched after 80 to 95 per cent of it.";
        MAX_STALE: Span = "max_stale",
            Span::new(hours(1), seconds(0), days(7)),
            "How long after `refresh` the last good set still serves while no new one can be had. Then: 503.";
        TIMEOUT: Span = "timeout",
            Span::new(seconds(5), millis(50), minutes(1)),
            "How long one call may take. A request that waits for keys waits half a second longer. With `discover` there are two \
             calls.";
        UNKNOWN_KID_COOLDOWN: Span = "unknown_kid_cooldown",
            Span::new(seconds(30), seconds(1), hours(1)),
            "Tokens with an unknown `kid` cause at most one fetch in this time.";
    }
}

impl Project {
    pub(super) fn read(field: &Field<'_>, errors: &mut Collector) -> Option<Self> {
        let section = Section::read(field, &of_project::OBJECT, errors)?;
        let endpoint = section.require(&of_project::ENDPOINT, errors);
        let hosts = section.value(&of_project::HOSTS, errors);
        let cluster = ProjectCluster {
            given: section.given(&of_project::OWN_CLUSTER, errors),
            path: section.path_of(of_project::OWN_CLUSTER.name),
        };
        let keys = read_keys(&section, &cluster, errors);
        let prefix = section.value(&of_project::COOKIE_PREFIX, errors);
        let prefix = prefix.as_deref();
        let jwt = section.section(&of_project::JWT, errors);
        let jwt =
            jwt.and_then(|section| JwtPolicy::read(&section, endpoint.as_ref(), prefix, errors));
        let session = match section.get(&of_project::SESSION) {
            Some(field) if field.is_null() => Some(None),
            Some(field) if !matches!(field.node(), Node::Object(_)) => {
                field.unexpected("an object, or null, which turns sessions off", errors);
                None
            }
            _ => section
                .section(&of_project::SESSION, errors)
                .and_then(|section| SessionPolicy::read(&section, &cluster, prefix, errors))
                .map(Some),
        };
        section.value(&of_project::LOGIN, errors);
        section.finish(errors);
        let asks = jwt.as_ref().is_some_and(|jwt| jwt.revalidate.is_some());
        if asks && session == Some(None) {
            let reason = "it asks the resolver: do not set \"session\" to null beside it";
            let problem = Problem::Contradiction(reason.to_owned());
            errors.add(format!("{}.jwt.revalidate", field.path()), problem);
        }
        Some(Self {
            endpoint: endpoint?,
            hosts: hosts?,
            keys: keys?,
            jwt: jwt?,
            session: session?,
        })
    }
}

/// How many projects there may be.
const MAX_PROJECTS: usize = 100;

/// Refuses projects that one request could be for.
#[inline(never)]
pub(super) fn tell_apart(projects: &[Project], errors: &mut Collector) {
    if projects.len() > MAX_PROJECTS {
        let reason = format!("more than {MAX_PROJECTS}: use several gateways");
        errors.contradict("projects".to_owned(), &reason);
        return;
    }
    let mut hosts = HashSet::new();
    for (nth, project) in projects.iter().enumerate() {
        let before = projects.get(..nth).unwrap_or_default();
        let same_endpoint = |other: &Project| other.endpoint == project.endpoint;
        if let Some(first) = before.iter().position(same_endpoint) {
            let reason =
                format!("is that of projects[{first}]: write one project, with all its hosts");
            errors.contradict(format!("projects[{nth}].endpoint"), &reason);
        }
        let without_hosts = |other: &Project| other.hosts.is_empty();
        if project.hosts.is_empty()
            && let Some(first) = before.iter().position(without_hosts)
        {
            let reason = format!(
                "missing: projects[{first}] guards all hosts that no other project has, and only one can"
            );
            errors.contradict(format!("projects[{nth}].hosts"), &reason);
        }
        for (at, host) in project.hosts.iter().enumerate() {
            // That of a domain begins with a dot.
            let (HostPattern::Exact(text) | HostPattern::Below(text)) = host;
            let has_it = |other: &Project| other.hosts.contains(host);
            if !hosts.insert(text)
                && let Some(first) = before.iter().position(has_it)
            {
                let reason = format!("is a host of projects[{first}] already");
                errors.contradict(format!("projects[{nth}].hosts[{at}]"), &reason);
            }
        }
    }
}

#[inline(never)]
fn read_keys(
    project: &Section<'_>,
    cluster: &ProjectCluster,
    errors: &mut Collector,
) -> Option<KeySource> {
    let section = project.section(&of_project::JWKS, errors)?;
    let uri = section.get(&of_jwks::URI);
    let no = Node::Bool(false);
    let discover = section
        .get(&of_jwks::DISCOVER)
        .filter(|field| *field.node() != no);
    let inline = section
        .get(&of_jwks::INLINE)
        .filter(|field| !field.is_null());
    let given = [&uri, &discover, &inline].into_iter().flatten().count();
    if given > 1 {
        section.contradiction(
            "\"uri\", \"discover\" and \"inline\" exclude each other: keep one",
            errors,
        );
    }
    let timings = [
        &of_jwks::REFRESH,
        &of_jwks::MAX_STALE,
        &of_jwks::TIMEOUT,
        &of_jwks::UNKNOWN_KID_COOLDOWN,
    ];
    let timed = timings.iter().any(|member| section.get(member).is_some());
    let [refresh, max_stale, timeout, unknown_kid_cooldown] =
        timings.map(|member| section.value(member, errors));
    section.finish(errors);
    if let Some(inline) = inline {
        if timed {
            section.contradiction(
                "\"inline\" keys are never fetched: remove the timings",
                errors,
            );
        }
        return read_inline(&inline, errors).map(KeySource::Inline);
    }
    let cluster = cluster.or(None, errors);
    let path = section.value(&of_jwks::URI, errors);
    let discover = section.value(&of_jwks::DISCOVER, errors);
    let location = if discover? {
        KeyLocation::Discover
    } else {
        KeyLocation::Path(path?)
    };
    Some(KeySource::Remote(RemoteKeys {
        cluster: cluster?,
        location,
        refresh: refresh?,
        max_stale: max_stale?,
        timeout: timeout?,
        unknown_kid_cooldown: unknown_kid_cooldown?,
    }))
}

/// The keys of a document, read like a fetched one. A member that is given twice is an error of the configuration; within a
/// key it drops that key.
#[inline(never)]
fn read_inline(inline: &Field<'_>, errors: &mut Collector) -> Option<KeySet> {
    inline.members(errors)?;
    let document = serde_json::to_vec(inline.node()).ok()?;
    match KeySet::parse(&document) {
        Ok((set, dropped)) => {
            if !dropped.is_empty() {
                errors.warn(inline.path().to_owned(), Dropped(&dropped).to_string());
            }
            Some(set)
        }
        Err(error) => {
            inline.contradiction(error.to_string(), errors);
            None
        }
    }
}

/// Nothing, or something that a cookie's name can begin with.
fn cookie_prefix(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    token(text)
}
