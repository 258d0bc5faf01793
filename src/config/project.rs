//! `projects[]`: an Authgear project, where its keys and its resolver are, and what its tokens must look like.

use std::time::Duration;

use super::endpoint::{Endpoint, is_call_path};
use super::error::{Collector, Problem};
use super::reader::{Field, Section};
use super::{Algorithm, rules};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

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

/// What access tokens must look like.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtPolicy {
    /// A token must be meant for one of these.
    pub audiences: Vec<String>,
    /// A token must have been issued to one of these clients; empty: to any.
    pub client_ids: Vec<String>,
    /// The algorithms a token may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// How far this clock and Authgear's may differ.
    pub clock_skew: Duration,
    /// The longest lifetime, from `iat` to `exp`, that is accepted.
    pub max_lifetime: Option<Duration>,
    /// Whether the header must say `at+jwt` (RFC 9068 §2.1).
    pub require_typ: bool,
    /// Cookies that may hold a token.
    pub cookies: Vec<String>,
    /// Headers that may hold a token.
    pub headers: Vec<TokenHeader>,
}

/// A header that may hold a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHeader {
    /// Its name, in lower case.
    pub name: String,
    /// The scheme in front of the token; `None`: the value is the token.
    pub scheme: Option<String>,
}

/// How the resolver is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPolicy {
    /// The upstream cluster of the calls.
    pub cluster: String,
    /// The resolver's path.
    pub path: String,
    /// How long one call may take.
    pub timeout: Duration,
    /// The cookies that hold a session or an access token: no other cookie is sent to the resolver.
    pub cookies: Vec<String>,
    /// How long a yes is remembered.
    pub ttl: Duration,
    /// How long a no is remembered.
    pub negative_ttl: Duration,
    /// How long past its `ttl` the last yes is still given while the resolver fails.
    pub stale_if_error: Duration,
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
        let jwt = JwtPolicy::read(section.get("jwt").as_ref(), endpoint.as_ref(), errors);
        let session = match section.get("session") {
            Some(field) if field.is_null() => Some(None),
            field => SessionPolicy::read(field.as_ref(), cluster.as_ref(), &cluster_path, errors)
                .map(Some),
        };
        if let Some(login) = section.get("login").filter(|field| !field.is_null()) {
            login.not_supported_yet(errors);
        }
        section.finish(errors);
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
const CLUSTER: &str = "the name of an upstream cluster";

/// The cluster of a call: its own, or else the project's. The inner `None` stands for one that was refused already.
fn cluster_or(
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
    let discover = section.get("discover");
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

impl JwtPolicy {
    fn read(
        field: Option<&Field<'_>>,
        endpoint: Option<&Endpoint>,
        errors: &mut Collector,
    ) -> Option<Self> {
        let issuer = endpoint.map(|endpoint| endpoint.origin().to_owned());
        let defaults = Self {
            audiences: issuer.into_iter().collect(),
            client_ids: Vec::new(),
            algorithms: vec![Algorithm::Rs256],
            clock_skew: SECOND.saturating_mul(30),
            max_lifetime: None,
            require_typ: true,
            cookies: vec!["app_access_token".to_owned()],
            headers: vec![TokenHeader {
                name: "authorization".to_owned(),
                scheme: Some("Bearer".to_owned()),
            }],
        };
        let Some(field) = field else {
            return Some(defaults);
        };
        let mut section = field.section(errors)?;
        let audiences = section.read("audiences", defaults.audiences, |field| {
            field.some_strings("an audience", errors, some_string)
        });
        let client_ids = section.read("client_ids", defaults.client_ids, |field| {
            field.strings("a client ID", errors, some_string)
        });
        let algorithms = section.read("algorithms", defaults.algorithms, |field| {
            let expected =
                "an asymmetric algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256 or EdDSA";
            field.some_strings(expected, errors, Algorithm::parse)
        });
        let clock_skew = section.read("clock_skew", defaults.clock_skew, |field| {
            field.duration(Duration::ZERO..=MINUTE.saturating_mul(5), errors)
        });
        let max_lifetime = section.read("max_lifetime", None, |field| {
            if field.is_null() {
                return Some(None);
            }
            field
                .duration(SECOND..=DAY.saturating_mul(365), errors)
                .map(Some)
        });
        let require_typ = section.read("require_typ", defaults.require_typ, |field| {
            field.bool(errors)
        });
        let cookies = section.read("cookies", defaults.cookies, |field| {
            field.strings(COOKIE, errors, cookie_name)
        });
        let headers = section.read("headers", defaults.headers, |field| {
            read_headers(field, errors)
        });
        if let Some(field) = section.get("revalidate").filter(|field| !field.is_null()) {
            field.not_supported_yet(errors);
        }
        section.finish(errors);
        Some(Self {
            audiences: audiences?,
            client_ids: client_ids?,
            algorithms: algorithms?,
            clock_skew: clock_skew?,
            max_lifetime: max_lifetime?,
            require_typ: require_typ?,
            cookies: cookies?,
            headers: headers?,
        })
    }
}

fn read_headers(field: &Field<'_>, errors: &mut Collector) -> Option<Vec<TokenHeader>> {
    let mut headers: Vec<TokenHeader> = Vec::new();
    for item in field.items("an array of {\"name\", \"scheme\"}", errors)? {
        let Some(mut section) = item.section(errors) else {
            continue;
        };
        let expected = "a header name in lower case, such as \"authorization\"";
        let name = section
            .require("name", expected, errors)
            .and_then(|field| field.parsed(expected, errors, header_name));
        let scheme = match section.get("scheme") {
            Some(field) if !field.is_null() => field
                .parsed(
                    "an authentication scheme, such as \"Bearer\", or null",
                    errors,
                    token,
                )
                .map(Some),
            _ => Some(None),
        };
        section.finish(errors);
        let (Some(name), Some(scheme)) = (name, scheme) else {
            continue;
        };
        if name == "authorization" && scheme.is_none() {
            item.contradiction(
                "\"authorization\" needs a \"scheme\" (RFC 9110 §11.6.2)",
                errors,
            );
        }
        if headers.iter().any(|header| header.name == name) {
            errors.add(item.path(), Problem::Duplicate);
        }
        headers.push(TokenHeader { name, scheme });
    }
    Some(headers)
}

impl SessionPolicy {
    fn read(
        field: Option<&Field<'_>>,
        project_cluster: Option<&Option<String>>,
        cluster_path: &str,
        errors: &mut Collector,
    ) -> Option<Self> {
        let mut section = match field {
            Some(field) => Some(field.section(errors)?),
            None => None,
        };
        let mut get = |name| section.as_mut().and_then(|section| section.get(name));
        let own_cluster =
            get("cluster").map(|field| field.string(CLUSTER, errors).map(str::to_owned));
        let cluster = cluster_or(own_cluster, project_cluster, cluster_path, errors);
        let path = get("path").map_or_else(
            || Some("/_resolver/resolve".to_owned()),
            |field| {
                let expected = "a path, such as \"/_resolver/resolve\"";
                field.parsed(expected, errors, |path| {
                    is_call_path(path).then(|| path.to_owned())
                })
            },
        );
        let cookies = get("cookies").map_or_else(
            || {
                Some(
                    ["session", "app_session", "app_access_token"]
                        .map(str::to_owned)
                        .to_vec(),
                )
            },
            |field| field.some_strings(COOKIE, errors, cookie_name),
        );
        let mut duration = |name, default, range| {
            get(name).map_or(Some(default), |field| field.duration(range, errors))
        };
        let timeout = duration("timeout", SECOND, MILLISECOND.saturating_mul(50)..=MINUTE);
        let ttl = duration("ttl", SECOND.saturating_mul(10), Duration::ZERO..=HOUR);
        let negative_ttl = duration(
            "negative_ttl",
            SECOND.saturating_mul(2),
            Duration::ZERO..=MINUTE.saturating_mul(5),
        );
        let stale_if_error = duration("stale_if_error", Duration::ZERO, Duration::ZERO..=DAY);
        if let Some(field) = get("relay_set_cookie") {
            super::refuse_true(&field, errors);
        }
        if let Some(section) = section {
            section.finish(errors);
        }
        Some(Self {
            cluster: cluster?,
            path: path?,
            timeout: timeout?,
            cookies: cookies?,
            ttl: ttl?,
            negative_ttl: negative_ttl?,
            stale_if_error: stale_if_error?,
        })
    }
}

const COOKIE: &str = "a cookie name";

fn some_string(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn cookie_name(text: &str) -> Option<String> {
    token(text)
}

fn header_name(text: &str) -> Option<String> {
    token(text).filter(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase()))
}

/// RFC 9110 §5.6.2.
fn token(text: &str) -> Option<String> {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!text.is_empty() && text.bytes().all(is_tchar)).then(|| text.to_owned())
}
