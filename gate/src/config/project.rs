//! `projects[]`: an Authgear project, and where its keys are.

use std::time::Duration;

use super::cookie::read_prefix;
use super::endpoint::{Endpoint, is_call_path};
use super::error::{Collector, Problem};
use super::jwt::JwtPolicy;
use super::node::Node;
use super::reader::{Field, Section};
use super::rules;
use super::session::SessionPolicy;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// An Authgear project.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its public origin.
    pub endpoint: Endpoint,
    /// Where its keys come from.
    pub keys: KeySource,
    /// What its access tokens must look like.
    pub jwt: JwtPolicy,
    /// How its resolver is asked; `None` where only JWTs are accepted.
    pub session: Option<SessionPolicy>,
}

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// Fetched from Authgear.
    Remote(RemoteKeys),
    /// A JWKS document in the configuration: no call is made.
    Inline(String),
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
    /// How long after `refresh` the last good set is still used while no new one can be had.
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

impl Project {
    pub(super) fn read(field: &Field<'_>, errors: &mut Collector) -> Option<Self> {
        let mut section = field.section(errors)?;
        let endpoint = section
            .require("endpoint", ENDPOINT, errors)
            .and_then(|field| field.parsed(ENDPOINT, errors, Endpoint::parse));
        if let Some(hosts) = section.get("hosts") {
            let any = hosts.strings(rules::HOST, errors, rules::HostPattern::parse);
            if any.is_some_and(|hosts| !hosts.is_empty()) {
                hosts.not_supported_yet(errors);
            }
        }
        let cluster = section
            .get("cluster")
            .map(|field| field.string(CLUSTER, errors).map(str::to_owned));
        let cluster_path = format!("{}.cluster", field.path());
        let keys = read_keys(
            section.get("jwks").as_ref(),
            cluster.as_ref(),
            &cluster_path,
            errors,
        );
        let prefix = section.read("cookie_prefix", String::new(), |field| {
            read_prefix(field, errors)
        });
        let prefix = prefix.as_deref();
        let jwt = section.get("jwt");
        let jwt = JwtPolicy::read(jwt.as_ref(), endpoint.as_ref(), prefix, errors);
        let session = match section.get("session") {
            Some(field) if field.is_null() => Some(None),
            field => SessionPolicy::read(
                field.as_ref(),
                cluster.as_ref(),
                &cluster_path,
                prefix,
                errors,
            )
            .map(Some),
        };
        if let Some(login) = section.get("login").filter(|field| !field.is_null()) {
            login.not_supported_yet(errors);
        }
        section.finish(errors);
        let asks = jwt.as_ref().is_some_and(|jwt| jwt.revalidate.is_some());
        if asks && session == Some(None) {
            let reason = "it asks the resolver: do not set \"session\" to null beside it";
            let problem = Problem::Contradiction(reason.to_owned());
            errors.add(format!("{}.jwt.revalidate", field.path()), problem);
        }
        Some(Self {
            endpoint: endpoint?,
            keys: keys?,
            jwt: jwt?,
            session: session?,
        })
    }
}

const ENDPOINT: &str = "an origin as Authgear writes it into \"iss\", such as \"https://auth.example.com\": \
                        lower case, no path, no trailing slash, no default port";
pub(super) const CLUSTER: &str = "the name of an upstream cluster";

/// The cluster of a call: its own, or else the project's. The inner `None` stands for one that was refused already.
pub(super) fn cluster_or(
    own: Option<Option<String>>,
    project: Option<&Option<String>>,
    path: &str,
    errors: &mut Collector,
) -> Option<String> {
    match own.as_ref().or(project) {
        Some(cluster) => cluster.clone(),
        None => {
            let missing = Problem::Missing { expected: CLUSTER };
            errors.add_once(path, missing);
            None
        }
    }
}

fn read_keys(
    field: Option<&Field<'_>>,
    cluster: Option<&Option<String>>,
    cluster_path: &str,
    errors: &mut Collector,
) -> Option<KeySource> {
    let Some(field) = field else {
        let cluster = cluster_or(None, cluster, cluster_path, errors)?;
        return Some(KeySource::Remote(RemoteKeys::defaults(cluster)));
    };
    let mut section = field.section(errors)?;
    let uri = section.get("uri");
    let no = Node::Bool(false);
    let discover = section.get("discover").filter(|field| *field.node() != no);
    let inline = section.get("inline").filter(|field| !field.is_null());
    let given = [&uri, &discover, &inline].into_iter().flatten().count();
    if given > 1 {
        field.contradiction(
            "\"uri\", \"discover\" and \"inline\" exclude each other: keep one",
            errors,
        );
    }
    let mut remote = RemoteKeys::defaults(String::new());
    let timings = read_timings(&mut section, &mut remote, errors);
    section.finish(errors);
    if let Some(inline) = inline {
        if timings {
            field.contradiction(
                "\"inline\" keys are never fetched: remove the timings",
                errors,
            );
        }
        inline.section(errors)?;
        return serde_json::to_string(inline.node())
            .ok()
            .map(KeySource::Inline);
    }
    let cluster = cluster_or(None, cluster, cluster_path, errors);
    if let Some(uri) = uri {
        let expected = "a path on the endpoint, such as \"/oauth2/jwks\"";
        let path = uri.parsed(expected, errors, |path| {
            is_call_path(path).then(|| path.to_owned())
        });
        remote.location = KeyLocation::Path(path?);
    }
    if let Some(discover) = discover
        && discover.bool(errors)?
    {
        remote.location = KeyLocation::Discover;
    }
    remote.cluster = cluster?;
    Some(KeySource::Remote(remote))
}

/// Whether any timing was given.
fn read_timings(section: &mut Section<'_>, keys: &mut RemoteKeys, errors: &mut Collector) -> bool {
    let mut given = false;
    for (name, value, range) in [
        ("refresh", &mut keys.refresh, SECOND..=DAY),
        (
            "max_stale",
            &mut keys.max_stale,
            Duration::ZERO..=DAY.saturating_mul(7),
        ),
        (
            "timeout",
            &mut keys.timeout,
            MILLISECOND.saturating_mul(50)..=MINUTE,
        ),
        (
            "unknown_kid_cooldown",
            &mut keys.unknown_kid_cooldown,
            SECOND..=HOUR,
        ),
    ] {
        if let Some(field) = section.get(name) {
            given = true;
            *value = field.duration(range, errors).unwrap_or(*value);
        }
    }
    given
}

impl RemoteKeys {
    fn defaults(cluster: String) -> Self {
        Self {
            cluster,
            location: KeyLocation::Path("/oauth2/jwks".to_owned()),
            refresh: MINUTE.saturating_mul(5),
            max_stale: HOUR,
            timeout: SECOND.saturating_mul(5),
            unknown_kid_cooldown: SECOND.saturating_mul(30),
        }
    }
}
