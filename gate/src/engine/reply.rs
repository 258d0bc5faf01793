//! What the filter answers itself.

use std::fmt;
use std::time::Duration;

use super::TokenSource;
use crate::credential::Conflict;
use crate::endpoint::Endpoint;
use crate::jwt::TokenError;
use crate::policy::{Condition, ConditionName, PathRefused, Requirement, Unmet};
use crate::session::ResolverError;

/// Why a request is answered by the filter: for the operator. The client gets one of eight [codes](Reply::code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing was presented.
    NoCredential,
    /// No project guards the host.
    NoProject,
    /// Headers that only the gateway may set, where the configuration refuses them.
    ClientIdentityHeaders,
    /// Credentials that contradict each other.
    Conflict(Conflict),
    /// The path is refused: no rule can be chosen by it.
    Path(PathRefused),
    /// A token that is refused, and where it was presented.
    #[allow(
        private_interfaces,
        reason = "only the gate makes reasons of this kind"
    )]
    Token(TokenError, TokenSource),
    /// An opaque token that the resolver does not know.
    InvalidOpaqueToken,
    /// A session cookie that the resolver does not know, or that is none.
    InvalidSession,
    /// A good token, of a machine.
    NotAUser,
    /// A good credential, but not a machine's.
    NotAMachine,
    /// A good credential, of which a condition of the rule does not hold.
    Unmet(Unmet),
    /// There are no keys. Time until the next try.
    KeysUnavailable(Duration),
    /// The resolver gave no verdict.
    ResolverUnavailable(ResolverError),
    /// A token whose confirmation the resolver has answered without a verdict.
    TokenUnconfirmed,
    /// The resolver has failed too often, and is not asked. Time until the next try.
    CircuitOpen(Duration),
    /// The answer that was waited for did not come in time.
    TimedOut,
    /// The limit of waiting requests is reached.
    Overloaded,
    /// There is no configuration that the filter understands.
    InvalidConfiguration,
    /// A fault of the filter.
    Internal,
}

/// An answer of the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    reason: Reason,
    grpc: bool,
    /// What Envoy calls the request.
    request_id: Option<Box<str>>,
    /// The value of `WWW-Authenticate`.
    challenge: Option<String>,
    /// The values of `Set-Cookie` that the resolver has for this client.
    cookies: Vec<String>,
}

impl Reason {
    /// A short stable name, for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::NoProject => "no_project",
            Self::ClientIdentityHeaders => "client_identity_headers",
            Self::Conflict(_) => "conflicting_credentials",
            Self::Path(_) => "ambiguous_path",
            Self::Token(..) | Self::InvalidOpaqueToken => "invalid_token",
            Self::InvalidSession => "invalid_session",
            Self::NotAUser => "not_a_user",
            Self::NotAMachine => "not_a_machine",
            Self::Unmet(unmet) => match lack(unmet) {
                Lack::Token => "token_needed",
                Lack::Scope => "insufficient_scope",
                Lack::Authentication => "insufficient_authentication",
                Lack::Other => "condition_not_met",
            },
            Self::KeysUnavailable(_) => "keys_unavailable",
            Self::ResolverUnavailable(_) | Self::TokenUnconfirmed | Self::CircuitOpen(_) => {
                "resolver_unavailable"
            }
            Self::TimedOut => "timed_out",
            Self::Overloaded => "overloaded",
            Self::InvalidConfiguration => "invalid_configuration",
            Self::Internal => "internal",
        }
    }

    /// Whether the client presented a token by its own intent, and it failed.
    pub(super) fn is_deliberate(self) -> bool {
        matches!(
            self,
            Self::Token(_, TokenSource::Header) | Self::InvalidOpaqueToken
        )
    }
}

/// What a client lacks, as RFC 6750 and RFC 9470 tell it apart.
enum Lack {
    Token,
    Scope,
    Authentication,
    Other,
}

fn lack(unmet: Unmet) -> Lack {
    match unmet.condition {
        _ if unmet.needs_token => Lack::Token,
        ConditionName::ScopesAny | ConditionName::ScopesAll => Lack::Scope,
        ConditionName::AmrAny | ConditionName::AmrAll | ConditionName::MaxAuthAge => {
            Lack::Authentication
        }
        _ => Lack::Other,
    }
}

impl fmt::Display for Reason {
    /// For the log: the name, and what is known beyond it. Never a credential.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        match self {
            Self::Conflict(conflict) => write!(formatter, ": {conflict}"),
            Self::Path(ambiguous) => write!(formatter, ": {ambiguous}"),
            Self::Token(error, TokenSource::Header) => write!(formatter, ": {error}"),
            Self::Token(error, TokenSource::Cookie) => write!(formatter, ": {error} (in a cookie)"),
            Self::Unmet(unmet) => write!(formatter, ": {}", unmet.condition.text()),
            Self::ResolverUnavailable(error) => write!(formatter, ": {error}"),
            Self::TokenUnconfirmed => {
                formatter.write_str(": the token's confirmation was answered without a verdict")
            }
            Self::CircuitOpen(_) => formatter.write_str(": not asked, it has failed too often"),
            _ => Ok(()),
        }
    }
}

impl Reply {
    /// An answer for this reason.
    #[must_use]
    pub fn new(reason: Reason, grpc: bool) -> Self {
        Self {
            reason,
            grpc,
            request_id: None,
            challenge: None,
            cookies: Vec::new(),
        }
    }

    /// The same to the request of this ID.
    #[must_use]
    pub fn to(mut self, request_id: Option<&str>) -> Self {
        self.request_id = request_id.map(Box::from);
        self
    }

    /// The same with cookies of the resolver's.
    #[must_use]
    pub(crate) fn with_cookies(mut self, cookies: Vec<String>) -> Self {
        self.cookies = cookies;
        self
    }

    /// The same with a challenge: where a credential is missing or invalid (RFC 6750 §3), and where a scope (§3.1) or a later
    /// authentication (RFC 9470 §3) would be enough. It names an error only to those who presented a token by intent, or
    /// whose credential is good.
    #[must_use]
    pub(super) fn challenging(mut self, endpoint: &Endpoint, requirement: &Requirement) -> Self {
        let error = match self.reason {
            Reason::Unmet(unmet) => match lack(unmet) {
                Lack::Scope => insufficient_scope(requirement),
                Lack::Authentication => insufficient_authentication(requirement),
                Lack::Token | Lack::Other => return self,
            },
            reason if reason.is_deliberate() => r#", error="invalid_token""#.to_owned(),
            _ if self.status() == 401 => String::new(),
            _ => return self,
        };
        let realm = endpoint.authority();
        self.challenge = Some([r#"Bearer realm=""#, realm, r#"""#, &error].concat());
        self
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u32 {
        self.kind().0
    }

    /// The code in the body: one of eight, stable, the same for causes that are not the client's business.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().1
    }

    /// What Envoy calls the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        // Envoy writes the content type of gRPC itself.
        if !self.grpc {
            headers.push(("content-type", "application/json".to_owned()));
        }
        if let Some(challenge) = &self.challenge {
            headers.push(("www-authenticate", challenge.clone()));
        }
        if self.status() == 503 {
            headers.push(("retry-after", self.retry_after().to_string()));
        }
        let cookies = self.cookies.iter();
        headers.extend(cookies.map(|cookie| ("set-cookie", cookie.clone())));
        headers
    }

    /// The body: JSON, or, for gRPC, the text that becomes `grpc-message`.
    #[must_use]
    pub fn body(&self) -> String {
        let (_, code, message) = self.kind();
        if self.grpc {
            return message.to_owned();
        }
        let (named, id) = match &self.request_id {
            Some(id) => (r#"","request_id":""#, &**id),
            None => ("", ""),
        };
        [
            r#"{"code":""#,
            code,
            r#"","message":""#,
            message,
            named,
            id,
            r#""}"#,
        ]
        .concat()
    }

    /// Whole seconds, at least one.
    fn retry_after(&self) -> u64 {
        match self.reason {
            // The pause that the resolver asked this client for.
            Reason::ResolverUnavailable(
                ResolverError::TooManyRequests(Some(retry_in)) | ResolverError::Busy(_, retry_in),
            )
            | Reason::KeysUnavailable(retry_in)
            | Reason::CircuitOpen(retry_in) => retry_in
                .saturating_add(Duration::from_millis(999))
                .as_secs()
                .max(1),
            _ => 1,
        }
    }

    fn kind(&self) -> (u32, &'static str, &'static str) {
        match self.reason {
            // A token in a cookie is a browser's: its owner has to log in.
            Reason::NoCredential
            | Reason::InvalidSession
            | Reason::Token(_, TokenSource::Cookie) => {
                (401, "unauthenticated", "Authentication is required.")
            }
            Reason::Token(_, TokenSource::Header) | Reason::InvalidOpaqueToken => {
                (401, "invalid_token", "The access token is not valid.")
            }
            Reason::ClientIdentityHeaders | Reason::Conflict(_) | Reason::Path(_) => {
                (400, "invalid_request", "The request is ambiguous.")
            }
            // RFC 9110 §15.5.20.
            Reason::NoProject => (421, "misdirected_request", "This host is not served here."),
            Reason::NotAUser => (403, "forbidden", "This is for users only."),
            Reason::NotAMachine => (403, "forbidden", "This is for machines only."),
            Reason::Unmet(unmet) => match lack(unmet) {
                Lack::Scope => (
                    403,
                    "insufficient_scope",
                    "The access token does not have the scope that is needed.",
                ),
                Lack::Authentication => (
                    401,
                    "insufficient_user_authentication",
                    "Another, or a later, authentication is needed.",
                ),
                Lack::Token | Lack::Other => (403, "forbidden", "This is not allowed."),
            },
            Reason::KeysUnavailable(_)
            | Reason::ResolverUnavailable(_)
            | Reason::TokenUnconfirmed
            | Reason::CircuitOpen(_)
            | Reason::TimedOut
            | Reason::Overloaded
            | Reason::InvalidConfiguration
            | Reason::Internal => (
                503,
                "unavailable",
                "Authentication is unavailable at the moment. Try again later.",
            ),
        }
    }
}

/// `insufficient_scope`, with the scopes that are needed: all that the rule names, which is enough for it.
fn insufficient_scope(requirement: &Requirement) -> String {
    let mut needed: Vec<&str> = Vec::new();
    for condition in &requirement.allow {
        if let Condition::ScopesAny(scopes) | Condition::ScopesAll(scopes) = condition {
            for scope in scopes {
                if !needed.contains(&scope.as_str()) {
                    needed.push(scope);
                }
            }
        }
    }
    format!(
        r#", error="insufficient_scope", scope="{}""#,
        needed.join(" ")
    )
}

/// `insufficient_user_authentication`, with the greatest age that is accepted, in seconds, if there is one.
fn insufficient_authentication(requirement: &Requirement) -> String {
    let ages = requirement
        .allow
        .iter()
        .filter_map(|condition| match condition {
            Condition::MaxAuthAge(longest) => Some(longest.as_secs()),
            _ => None,
        });
    let age = ages
        .min()
        .map_or_else(String::new, |seconds| format!(r#", max_age="{seconds}""#));
    format!(r#", error="insufficient_user_authentication"{age}"#)
}
