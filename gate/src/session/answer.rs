//! What the resolver's answer means.

use std::rc::Rc;
use std::time::Duration;

use thiserror::Error;

use crate::callout::{Answer, DispatchError, unreachable};
use crate::config::SessionCookie;
use crate::principal::{self, Assertion, Method, Principal, Subject, User, UserError};
use crate::time::Ticks;

/// The resolver's word on a credential.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// A session of this user.
    Valid(Rc<Principal>),
    /// No session.
    Invalid,
}

/// What is known of a call to the resolver that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    /// The answer; `None`: there was none.
    pub(crate) answer: Option<&'a Answer>,
    /// When the question was sent: what the answer says is true of some moment since.
    pub(crate) asked_at: Ticks,
}

/// Why the resolver's answer says nothing. Never a no: a request that needs an answer gets 503.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolverError {
    /// No answer.
    #[error("no answer from the cluster: the connection broke before its end, or it took too long")]
    NoAnswer,
    /// The call was not made.
    #[error("{0}")]
    NotSent(#[from] DispatchError),
    /// It was not asked, since it fails. Time until the next try.
    #[error("not asked, it has failed too often")]
    NotAsked(Duration),
    /// It was not asked: the gateway's own limits for its cluster let no more calls through.
    #[error("not asked: the cluster's circuit breakers in Envoy let no more calls through")]
    Overloaded,
    /// Any other status but 200.
    #[error("answered with status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    /// A status of 500 or more, with the pause that it asks for.
    #[error("answered with status {0}{hint}", hint = unreachable(*.0))]
    Busy(u16, Duration),
    /// Status 429: whoever is asked for asks too much. The pause that is asked for, if one is.
    #[error("answered with status 429")]
    TooManyRequests(Option<Duration>),
    /// Status 200, but otherwise as Authgear's resolver never answers: with a body, with a user and no verdict, or without a
    /// verdict on the cookie of a login.
    #[error(
        "answered with status 200, but not as Authgear's resolver does: check \"session.cluster\" and \"session.path\""
    )]
    NotAResolver,
    /// `x-authgear-session-valid` is neither `true` nor `false`, or is given more than once.
    #[error("answered with an unclear \"x-authgear-session-valid\"")]
    Unclear,
    /// A valid session without exactly one user ID.
    #[error("answered with a valid session, but not with one user ID")]
    NoUser,
    /// A header of the answer is not as the contract has it.
    #[error("answered with a malformed {0:?}")]
    Header(&'static str),
    /// What it says of the user cannot be handed on.
    #[error("answered with {0}: does something between Envoy and the resolver change its headers?")]
    Identity(#[from] UserError),
}

/// What to check where the resolver, or what stands before it, answers with this status.
fn hint(status: u16) -> &'static str {
    match status {
        301 => {
            " (a slash at the end of \"session.path\", or something before the resolver that redirects to https)"
        }
        308 => {
            " (something before the resolver redirects, perhaps to https: is \"endpoint\" Authgear's public origin, scheme and port included?)"
        }
        302 | 307 => " (is \"endpoint\" Authgear's public origin, scheme and port included?)",
        403 => " (something before it refuses the gateway, or this client)",
        404 => {
            " (is \"endpoint\" the project's public origin, and \"session.path\" the resolver's?)"
        }
        405 => " (is \"session.path\" the resolver's?)",
        other => unreachable(other),
    }
}

/// The longest pause in a `Retry-After` to a client.
const MAX_PAUSE: Duration = Duration::from_secs(3_600);

/// With this header Envoy says that it dropped a call, by limits that concern neither the resolver nor the credential.
const ENVOY_OVERLOADED: &str = "x-envoy-overloaded";

impl ResolverError {
    /// Whether it may come of a connection that broke: no answer, or 503, as Envoy has it. Whatever comes before the
    /// resolver says 503 for reasons of its own, too, and then with a pause.
    #[must_use]
    pub(super) fn may_be_broken_connection(&self) -> bool {
        matches!(self, Self::NoAnswer | Self::Status(503))
    }

    /// The status that says nothing; 0 where it is something else.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Status(status) | Self::Busy(status, _) => *status,
            _ => 0,
        }
    }

    /// Whether this is an outage of the resolver's: no answer at all, or a status of 500 or more.
    ///
    /// Everything else may be the work of whoever is asked for: a firewall before the resolver refuses an odd user agent,
    /// a limit is theirs alone. So only an outage opens the [`Breaker`](super::Breaker), serves a stale yes, or
    /// leaves a token as it was; and a retry carries nothing that the client chose.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::NoAnswer | Self::NotSent(_) | Self::Busy(..) => true,
            Self::Status(status) => *status >= 500,
            // The resolver was not asked, or answered something else.
            Self::NotAsked(_)
            | Self::Overloaded
            | Self::TooManyRequests(_)
            | Self::NotAResolver
            | Self::Unclear
            | Self::NoUser
            | Self::Header(_)
            | Self::Identity(_) => false,
        }
    }
}

impl Verdict {
    /// The user whom it names, if it is a yes.
    #[must_use]
    pub(crate) fn user_id(&self) -> Option<&str> {
        match self {
            Self::Valid(principal) => Some(principal.user()?.user_id()),
            Self::Invalid => None,
        }
    }

    /// Reads an answer; `None`: there was none.
    ///
    /// The verdict is the header `x-authgear-session-valid`, and nothing else: the status is 200 for everybody, the body
    /// empty. Absent, as it is for a bad token, it means the same as `false`.
    ///
    /// # Errors
    /// The answer says neither yes nor no.
    pub(crate) fn read(answer: Option<&Answer>) -> Result<Self, ResolverError> {
        let answer = answer.ok_or(ResolverError::NoAnswer)?;
        if answer.values(ENVOY_OVERLOADED).next().is_some() {
            return Err(ResolverError::Overloaded);
        }
        let pause = answer.retry_after().map(|pause| pause.min(MAX_PAUSE));
        match (answer.status().ok_or(ResolverError::NoAnswer)?, pause) {
            (200, _) => {}
            (429, pause) => return Err(ResolverError::TooManyRequests(pause)),
            (status, Some(pause)) if status >= 500 => {
                return Err(ResolverError::Busy(status, pause));
            }
            (status, _) => return Err(ResolverError::Status(status)),
        }
        let has_body = answer.body.as_ref().is_none_or(|body| !body.is_empty());
        if has_body {
            return Err(ResolverError::NotAResolver);
        }
        let mut verdicts = answer.values(principal::SESSION_VALID);
        match (verdicts.next(), verdicts.next()) {
            (None, _) if answer.values(principal::USER_ID).next().is_some() => {
                Err(ResolverError::NotAResolver)
            }
            (None, _) | (Some(b"false"), None) => Ok(Self::Invalid),
            (Some(b"true"), None) => read_user(answer).map(|user| {
                Self::Valid(Rc::new(Principal::new(
                    Subject::User(user),
                    Method::Session,
                )))
            }),
            _ => Err(ResolverError::Unclear),
        }
    }
}

/// Whether an answer says no explicitly. The resolver is silent about tokens that are none to it: broken,
/// expired or revoked ones, and those of a kind that it never accepts.
pub(crate) fn is_explicit_no(answer: &Answer) -> bool {
    answer.single(principal::SESSION_VALID) == Some(b"false")
}

/// The values of `Set-Cookie` that set or clear one of these cookies, as far as a header can carry them.
pub(crate) fn set_cookies(answer: &Answer, cookies: &[SessionCookie]) -> Vec<String> {
    const MAX_COOKIES: usize = 8;
    const MAX_COOKIE_BYTES: usize = 4_096;
    let is_ours = |value: &&str| {
        // Without `=` it is no cookie (RFC 6265 §5.2).
        let name = value.split_once('=').map(|(name, _)| name);
        cookies.iter().any(|known| name == Some(&*known.name))
            && value.len() <= MAX_COOKIE_BYTES
            && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    };
    let values = answer.values("set-cookie");
    let ours = values
        .filter_map(|value| std::str::from_utf8(value).ok())
        .filter(is_ours);
    ours.take(MAX_COOKIES).map(str::to_owned).collect()
}

/// How long an answer may be cached, if it says so itself (RFC 9111 §5.2.2); Authgear says nothing today.
pub(super) fn freshness(answer: &Answer) -> Option<Duration> {
    let mut longest = None;
    for value in answer.values("cache-control") {
        for directive in value.split(|byte| *byte == b',') {
            let directive = directive.trim_ascii().to_ascii_lowercase();
            let seconds = match directive.as_slice() {
                b"no-store" | b"no-cache" => 0,
                other => match other.strip_prefix(b"max-age=") {
                    // What cannot be read does not allow caching.
                    Some(age) => std::str::from_utf8(age)
                        .ok()
                        .and_then(|age| age.trim_matches('"').parse().ok())
                        .unwrap_or(0),
                    None => continue,
                },
            };
            let limit = Duration::from_secs(seconds);
            longest = Some(longest.map_or(limit, |longest: Duration| longest.min(limit)));
        }
    }
    longest
}

fn read_user(answer: &Answer) -> Result<User, ResolverError> {
    let user_id = optional(answer, principal::USER_ID)
        .map_err(|_| ResolverError::NoUser)?
        .filter(|id| !id.is_empty())
        .ok_or(ResolverError::NoUser)?;
    let roles = optional(answer, principal::USER_ROLES)?.unwrap_or_default();
    let roles: Vec<&str> = list(roles, ',');
    let amr = optional(answer, principal::SESSION_AMR)?.unwrap_or_default();
    let amr: Vec<&str> = list(amr, ' ');
    let time = optional(answer, principal::SESSION_AUTHENTICATED_AT)?;
    let authenticated_at = match time {
        Some(time) => Some(
            time.parse()
                .map_err(|_| ResolverError::Header(principal::SESSION_AUTHENTICATED_AT))?,
        ),
        None => None,
    };
    Ok(User::new(&Assertion {
        user_id,
        anonymous: boolean(answer, principal::USER_ANONYMOUS)?,
        verified: boolean(answer, principal::USER_VERIFIED)?,
        can_reauthenticate: boolean(answer, principal::USER_CAN_REAUTHENTICATE)?,
        roles: &roles,
        amr: &amr,
        authenticated_at,
    })?)
}

/// The value of a header that may be absent, but not repeated.
fn optional<'a>(answer: &'a Answer, name: &'static str) -> Result<Option<&'a str>, ResolverError> {
    let mut values = answer.values(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value).map_err(|_| ResolverError::Header(name))?;
    match values.next() {
        Some(_) => Err(ResolverError::Header(name)),
        None => Ok(Some(text)),
    }
}

/// As Authgear's own reader has it: absent means false.
fn boolean(answer: &Answer, name: &'static str) -> Result<bool, ResolverError> {
    match optional(answer, name)? {
        Some("true") => Ok(true),
        Some("false") | None => Ok(false),
        Some(_) => Err(ResolverError::Header(name)),
    }
}

fn list(text: &str, separator: char) -> Vec<&str> {
    if text.is_empty() {
        Vec::new()
    } else {
        text.split(separator).collect()
    }
}
