//! `projects[].session`: how the resolver is called, and how long its answers are cached.

use std::time::Duration;

use super::cluster::{CLUSTER, ProjectCluster};
use super::cookie::{CookieRole, SessionCookie};
use super::error::Collector;
use super::kind::{Absent, Flag, Own, Span, Text};
use super::section::Section;
use super::table::{Member, Object, object};
use super::text::{CALL_PATH_PATTERN, call_path};
use super::units::{days, hours, millis, minutes, seconds};

/// How the resolver is called.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPolicy {
    /// The upstream cluster of the calls.
    pub cluster: String,
    /// The resolver's path.
    pub path: String,
    /// How long one call may take.
    pub timeout: Duration,
    /// The cookies that contain a session or an access token: no other cookie is sent to the resolver.
    pub cookies: Vec<SessionCookie>,
    /// The name of the cookie in which the resolver reads an access token, whether it is one of the `cookies` or not.
    pub access_token_cookie: String,
    /// How long a valid session is cached.
    pub ttl: Duration,
    /// How long an invalid session is cached.
    pub negative_ttl: Duration,
    /// How long past its `ttl` a valid session is still accepted while the resolver fails.
    pub stale_if_error: Duration,
    /// Whether the resolver's `Set-Cookie` of one of the `cookies` is forwarded to the client whose request caused the call.
    pub relay_set_cookie: bool,
}

object! {
    /// How the resolver is asked.
    of_session at "projects[].session" {
        OWN_CLUSTER: Text<String> = "cluster",
            CLUSTER.or(Absent::Like(r#""authgear""#)),
            "The Envoy cluster that leads to the resolver. The default is the project's `cluster`.";
        PATH: Text<String> = "path",
            Text::new("a path, such as \"/_resolver/resolve\"", call_path)
                .or(Absent::Is(r#""/_resolver/resolve""#)).pattern(CALL_PATH_PATTERN),
            "The resolver's path.";
        TIMEOUT: Span = "timeout",
            Span::new(seconds(1), millis(50), minutes(1)),
            "How long one call may take. A request waits half a second longer. Under a `vm_id`, it waits as long again where another \
             worker asks.";
        COOKIES: Own = "cookies",
            Own::new(
                "array of names",
                Absent::Like(r#"["session", "app_session", "app_access_token"]"#),
                "at least one",
                r#"{ "type": "array", "minItems": 1, "uniqueItems": true,
                     "items": { "type": "string", "pattern": "^[!#$%&'+.^_`|~0-9A-Za-z-]*(session|app_session|app_access_token)$" } }"#,
            ),
            "The cookies that are looked at for the resolver: all three, or some of them, each with `cookie_prefix` before it. No \
             other cookie is sent to it, but for a verified token out of `jwt.cookies`.";
        TTL: Span = "ttl",
            Span::new(seconds(10), seconds(0), hours(1)),
            "How long a valid session is cached. Within it, a logout is not seen. `\"0s\"`: the resolver is asked for every request.";
        NEGATIVE_TTL: Span = "negative_ttl",
            Span::new(seconds(2), seconds(0), minutes(5)),
            "How long an invalid session is cached.";
        STALE_IF_ERROR: Span = "stale_if_error",
            Span::new(seconds(0), seconds(0), days(1)),
            "How long after `ttl` the last valid answer is served in an outage of the resolver's: no answer, or a status of 500 and \
             above. It delays a logout by as much during an outage. Needs `cached_sessions`.";
        RELAY_SET_COOKIE: Flag = "relay_set_cookie",
            Flag(false),
            "Hand the resolver's `Set-Cookie` of one of the `cookies` on to the client whose request made the call: never to \
             others, never from the cache. So Authgear clears the cookie of an invalid session. Leave it off if another application uses the \
             same cookie name.";
    }
}

impl SessionPolicy {
    #[inline(never)]
    pub(super) fn read(
        section: &Section<'_>,
        project_cluster: &ProjectCluster,
        cookie_prefix: Option<&str>,
        errors: &mut Collector,
    ) -> Option<Self> {
        let own_cluster = section.given(&of_session::OWN_CLUSTER, errors);
        let cluster = project_cluster.or(own_cluster, errors);
        let path = section.value(&of_session::PATH, errors);
        let cookies = section.get(&of_session::COOKIES).map_or_else(
            || Some(SessionCookie::all(cookie_prefix.unwrap_or_default())),
            |field| SessionCookie::read(&field, cookie_prefix, errors),
        );
        let timeout = section.value(&of_session::TIMEOUT, errors);
        let ttl = section.value(&of_session::TTL, errors);
        let negative_ttl = section.value(&of_session::NEGATIVE_TTL, errors);
        let stale_if_error = section.value(&of_session::STALE_IF_ERROR, errors);
        let relay_set_cookie = section.value(&of_session::RELAY_SET_COOKIE, errors);
        section.finish(errors);
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
