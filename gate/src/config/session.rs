//! `projects[].session`: how the resolver is asked, and how long its word is good.

use std::time::Duration;

use super::cookie::{CookieRole, SessionCookie};
use super::endpoint::is_call_path;
use super::error::Collector;
use super::project::{CLUSTER, DAY, HOUR, MILLISECOND, MINUTE, SECOND, cluster_or};
use super::reader::Field;

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
    pub cookies: Vec<SessionCookie>,
    /// The name of the cookie in which the resolver reads an access token, whether it is one of the `cookies` or not.
    pub access_token_cookie: String,
    /// How long a yes is remembered.
    pub ttl: Duration,
    /// How long a no is remembered.
    pub negative_ttl: Duration,
    /// How long past its `ttl` the last yes is still given while the resolver fails.
    pub stale_if_error: Duration,
    /// Whether the resolver's `Set-Cookie` of one of the `cookies` goes to the client whose request was asked for.
    pub relay_set_cookie: bool,
}

impl SessionPolicy {
    pub(super) fn read(
        field: Option<&Field<'_>>,
        project_cluster: Option<&Option<String>>,
        cluster_path: &str,
        cookie_prefix: Option<&str>,
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
            || Some(SessionCookie::all(cookie_prefix.unwrap_or_default())),
            |field| SessionCookie::read(&field, cookie_prefix, errors),
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
        let relay_set_cookie =
            get("relay_set_cookie").map_or(Some(false), |field| field.bool(errors));
        if let Some(section) = section {
            section.finish(errors);
        }
        Some(Self {
            cluster: cluster?,
            path: path?,
            timeout: timeout?,
            cookies: cookies?,
            access_token_cookie: CookieRole::AccessToken
                .with_prefix(cookie_prefix.unwrap_or_default()),
            ttl: ttl?,
            negative_ttl: negative_ttl?,
            stale_if_error: stale_if_error?,
            relay_set_cookie: relay_set_cookie?,
        })
    }
}
