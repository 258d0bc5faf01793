//! What becomes of requests and calls: a state machine without I/O and without a clock.
//!
//! The host reports to the [`Engine`] what happened, and asks it what to do. There is one way through it, and every request
//! comes out at its end once: `route` (which rule), `present` (which credential), `authenticate` (who is it, or wait), `authorize` (may this
//! principal), and the [`Decision`] or [`Action`] that the host performs.
//!
//! ```
//! use gate::callout::Answer;
//! use gate::config::Config;
//! use gate::engine::{Budget, Caller, Decision, Engine, Env, Gate, Request};
//! use gate::jose::RustCrypto;
//! use gate::jwks::{NoSharedData, Shared};
//! use gate::time::{Now, Ticks};
//!
//! let config = r#"{ "projects": [{ "endpoint": "https://auth.example.com", "cluster": "authgear" }] }"#;
//! let config = Config::parse(config.as_bytes()).expect("a good configuration");
//! let mut engine = Engine::new(Gate::new(config), Budget::default());
//! let env = Env {
//!     now: Now { unix: 1_767_225_600, ticks: Ticks::from_millis(5_000) },
//!     entropy: &|| 4,
//!     verifier: &RustCrypto,
//!     shared: Shared { data: &NoSharedData, worker: 1 },
//! };
//!
//! // A request without a credential is refused.
//! let headers: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":authority", b"app"), (b":path", b"/")];
//! let decision = engine.handle_request(1, &Request::new(&headers), &|| None, &env);
//! let Decision::Respond(reply) = decision else { panic!("{decision:?}") };
//! assert_eq!(reply.status(), 401);
//!
//! // A session waits for a call to the resolver.
//! let headers = [&headers[..], &[(b"cookie", b"session=s")]].concat();
//! let decision = engine.handle_request(2, &Request::new(&headers), &|| None, &env);
//! let Decision::Wait(Some(call)) = decision else { panic!("{decision:?}") };
//! assert_eq!(call.call.cluster, "authgear");
//! engine.handle_dispatched(call, Ok(77), &env);
//! assert!(engine.waits(2));
//!
//! // The resolver fails: the request gets 503, never in.
//! let failed = Answer { headers: vec![(":status".to_owned(), b"502".to_vec())], body: None };
//! engine.handle_response(77, Some(&failed), Caller::Request(2), &env);
//! let action = engine.poll_action(Caller::Request(2), &env);
//! assert!(format!("{action:?}").starts_with("Some(Respond(2"));
//! assert!(!engine.waits(2));
//! ```

mod calls;
mod counters;
mod hosts;
mod keys;
mod project;
#[cfg(feature = "schema")]
mod reasons;
mod reply;
mod request;
mod requests;
mod resolver;
#[cfg(test)]
mod tests;
mod waiting;
mod waiting_request;

pub use calls::OutgoingCall;
pub use counters::{Counter, Counters};
#[cfg(feature = "schema")]
pub use reasons::{answers, is_identity_header, reasons};
pub use reply::{Reason, Reply};
pub use request::{Edit, Request, edit_headers, edit_trailers};
pub use requests::{Action, Caller, Decision, Engine, Env};
pub use waiting::Budget;

pub use crate::policy::Unmet;

use hosts::ProjectHosts;
use keys::KeyEvent;
use waiting::{Outcome, Settled, WaitingRequests};
use waiting_request::{WaitFor, WaitingRequest};

use std::rc::Rc;
use std::time::Duration;

use crate::config::{
    ClientIdentityHeaders, Config, KeyLocation, KeySource, Limits, Project, Require, Requirement,
    SessionPolicy,
};
use crate::credential::{self, Presented};
use crate::jose::SignatureVerifier;
use crate::jwks::KeyRing;
use crate::jwt::TokenCache;
use crate::log_limit::LogLimit;
use crate::policy::{Authenticated, Denial, NeededFacts, Permit, Policy, authorize};
use crate::principal::{Principal, RoleHeaders};
use crate::session::{
    Breaker, Health, KnownUsers, ResolverError, SessionCache, SharedAnswers, UserShares, Verdict,
};
use crate::time::{Now, Ticks};
use project::{Authentication, ProjectState, TokenCase};

/// What becomes of a request.
#[derive(Debug)]
enum Step {
    /// It is forwarded to the backend.
    Forward(Admission),
    /// It is answered here.
    Reply(Reply),
    /// It waits.
    Wait(WaitingRequest),
}

/// As whom a request is forwarded to the backend.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// Somebody who was not authenticated: the rule does not ask for it.
    Unchecked,
    /// An anonymous client.
    Anonymous,
    /// A user, or a machine; with the headers of a user's roles.
    Principal(Rc<Principal>, Rc<RoleHeaders>),
}

/// The gate of one worker: the policy, and what is known of keys, tokens and sessions.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    client_identity_headers: ClientIdentityHeaders,
    role_headers: Rc<RoleHeaders>,
    limits: Limits,
    projects: Vec<ProjectState>,
    hosts: ProjectHosts,
    counters: Rc<Counters>,
}

/// The values of the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// How many verified tokens are cached.
    pub cached_tokens: usize,
    /// How many good sessions are cached.
    pub cached_sessions: usize,
    /// How long ago the keys were fetched, if they ever were.
    pub jwks_age: Option<Duration>,
    /// How many key sets there have been.
    pub jwks_generation: u64,
    /// How many resolvers are not asked, since they fail.
    pub open_breakers: usize,
    /// How many requests wait.
    pub waiting_requests: usize,
    /// How many calls to the resolver are under way, or about to be made.
    pub resolver_calls: usize,
}

/// Where a token was presented: in a header by intent, in a cookie by the browser's habit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenSource {
    Header,
    Cookie,
}

/// What the matching rule requires of a request, and the project that judges it.
#[derive(Debug)]
struct Route {
    requirement: Rc<Requirement>,
    project: usize,
    grpc: bool,
    /// What Envoy calls the request, where it has to wait.
    request_id: Option<Box<str>>,
}

impl Gate {
    /// A gate for this configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let limits = config.limits;
        let counters = Rc::new(Counters::default());
        let requirements = config.rules.iter().map(|rule| &*rule.requirement);
        let needed = NeededFacts::of(requirements.chain([&*config.default]));
        let needed = Rc::new(needed);
        let project = |project: Project| {
            let keys = match &project.keys {
                KeySource::Remote(remote) => {
                    KeyRing::remote(project.endpoint.clone(), remote.clone())
                }
                KeySource::Inline(set) => KeyRing::inline(set.clone()),
            };
            ProjectState {
                keys,
                needed: Rc::clone(&needed),
                tokens: TokenCache::new(limits.cached_tokens),
                sessions: SessionCache::new(limits.cached_sessions),
                answers: project.session.as_ref().map(|policy| {
                    SharedAnswers::new(&project.endpoint, policy, limits.cached_sessions)
                }),
                resolver: Health::default(),
                log: LogLimit::default(),
                breaker: Breaker::default(),
                known: KnownUsers::default(),
                shares: UserShares::default(),
                background_calls: Vec::new(),
                unix: 0,
                counters: Rc::clone(&counters),
                project,
            }
        };
        Self {
            policy: Policy::new(config.rules, config.default),
            client_identity_headers: config.client_identity_headers,
            role_headers: Rc::new(config.role_headers),
            limits,
            hosts: ProjectHosts::new(config.projects.iter()),
            projects: config.projects.into_iter().map(project).collect(),
            counters,
        }
    }

    /// Judges a request: route, present, authenticate, authorize.
    fn enter(&mut self, request: &Request<'_>, now: Now, verifier: &dyn SignatureVerifier) -> Step {
        let route = match self.route(request) {
            Ok(route) => route,
            Err(reason) => return Step::Reply(Reply::new(reason, request.is_grpc())),
        };
        let Some(route) = route else {
            return Step::Forward(Admission::Unchecked);
        };
        let longest = self.limits.token_bytes;
        let Some(state) = self.projects.get_mut(route.project) else {
            return route.refuse(Reason::Internal);
        };
        let authentication = match credential::read(request.headers(), &state.project, longest) {
            Err(conflict) => return route.refuse(Reason::Conflict(conflict)),
            Ok(Presented::Nothing) => Authentication::Nobody(Reason::NoCredential),
            Ok(Presented::Bearer(token)) => state.bearer(now, token, &route.requirement, verifier),
            Ok(Presented::Cookies(jar)) => state.cookies(now, &jar, &route.requirement, verifier),
        };
        self.authorize(route, authentication, now)
    }

    /// What is required of a request, before its credentials are read, and of whom. `None`: nothing, of whatever host.
    fn route(&self, request: &Request<'_>) -> Result<Option<Route>, Reason> {
        // Before any rule: the route was chosen by these headers, and with them who guards it.
        if self.client_identity_headers == ClientIdentityHeaders::Refuse
            && request.has_reserved_headers()
        {
            return Err(Reason::ClientIdentityHeaders);
        }
        let requirement = self.policy.requirement(
            request.method(),
            request.authority(),
            request.path(),
            request.headers(),
        );
        let (requirement, host) = requirement.map_err(Reason::Path)?;
        if requirement.require == Require::None {
            return Ok(None);
        }
        Ok(Some(Route {
            requirement,
            project: self.hosts.find(host).ok_or(Reason::NoProject)?,
            grpc: request.is_grpc(),
            request_id: None,
        }))
    }

    /// Whether the request may pass: the only way from an authentication to a decision.
    fn authorize(&self, route: Route, authentication: Authentication, now: Now) -> Step {
        match authentication {
            Authentication::Wait(wait_for) => Step::Wait(WaitingRequest::new(route, wait_for)),
            Authentication::Unavailable(reason) => route.refuse(reason),
            Authentication::Principal(principal) => {
                let who = Authenticated::Principal(&principal);
                match authorize(who, &route.requirement, now.unix) {
                    Ok(Permit::Principal) => {
                        let roles = Rc::clone(&self.role_headers);
                        Step::Forward(Admission::Principal(principal, roles))
                    }
                    Ok(Permit::Anonymous) => Step::Forward(Admission::Anonymous),
                    Err(denial) => self.deny(&route, denial, Reason::NoCredential),
                }
            }
            Authentication::Nobody(reason) => {
                let deliberate = reason.is_deliberate();
                let nobody = Authenticated::Nobody { deliberate };
                match authorize(nobody, &route.requirement, now.unix) {
                    Ok(_) => Step::Forward(Admission::Anonymous),
                    Err(denial) => self.deny(&route, denial, reason),
                }
            }
        }
    }

    /// `unauthenticated`: why nobody was authenticated, where that is the reason.
    fn deny(&self, route: &Route, denial: Denial, unauthenticated: Reason) -> Step {
        let reply = route.reply(match denial {
            Denial::Unauthenticated => unauthenticated,
            Denial::NotAUser => Reason::NotAUser,
            Denial::NotAMachine => Reason::NotAMachine,
            Denial::Unmet(unmet) => Reason::Unmet(unmet),
        });
        Step::Reply(match self.project(route.project) {
            Some(project) => reply.challenging(&project.endpoint, &route.requirement),
            None => reply,
        })
    }

    /// Proceeds with a request that waited for keys, once a fetch has ended. `served`: it was this worker's, and made for
    /// this request, too; another worker's may have begun before the request came.
    fn keys_settled(
        &mut self,
        pending: WaitingRequest,
        served: bool,
        now: Now,
        verifier: &dyn SignatureVerifier,
    ) -> Step {
        let (route, wait_for) = pending.resume();
        let state = self.projects.get_mut(route.project);
        let (WaitFor::Keys(wait), Some(state)) = (wait_for, state) else {
            return route.refuse(Reason::Internal);
        };
        let case = TokenCase {
            token: &wait.token,
            source: wait.source,
            session_first: wait.session_first,
            fallback: wait.fallback,
            audiences: &route.requirement.audiences,
            waited: served,
        };
        let authentication = state.token(now, case, verifier);
        self.authorize(route, authentication, now)
    }

    /// Proceeds with a request that waited for the resolver, once there is a verdict.
    fn session_settled(
        &self,
        pending: WaitingRequest,
        verdict: &Result<Verdict, ResolverError>,
        now: Now,
    ) -> Step {
        let (route, wait_for) = pending.resume();
        let WaitFor::Session(credential) = wait_for else {
            return route.refuse(Reason::Internal);
        };
        let authentication = match verdict {
            Ok(verdict) => ProjectState::verdict(verdict, &credential),
            Err(ResolverError::NotAsked(retry_in)) => {
                Authentication::Unavailable(Reason::CircuitOpen(*retry_in))
            }
            Err(error) => Authentication::Unavailable(Reason::ResolverUnavailable(*error)),
        };
        self.authorize(route, authentication, now)
    }

    /// Proceeds with a request whose wait has had this outcome.
    fn settled(
        &mut self,
        pending: WaitingRequest,
        outcome: &Outcome,
        now: Now,
        verifier: &dyn SignatureVerifier,
    ) -> Step {
        match outcome {
            Outcome::Keys { served } => self.keys_settled(pending, *served, now, verifier),
            Outcome::Session(verdict) => self.session_settled(pending, verdict, now),
        }
    }

    /// Whether a project has keys that are good now.
    fn has_keys(&self, project: usize, now: Ticks) -> bool {
        let state = self.projects.get(project);
        state.is_some_and(|state| state.keys.is_current(now))
    }

    /// Whether a project has keys that are good now. One whose Authgear is away takes no other out of service.
    fn is_ready(&self, now: Ticks) -> bool {
        self.projects.iter().any(|state| state.keys.is_current(now))
    }

    /// The counters.
    fn counters(&self) -> &Rc<Counters> {
        &self.counters
    }

    /// The values of the gauges over all projects; the age is that of the oldest key set.
    fn levels(&mut self, now: Now) -> Levels {
        let mut levels = Levels::default();
        for state in &mut self.projects {
            let evicted = (state.tokens.take_evicted(), state.sessions.take_evicted());
            self.counters
                .add_many(Counter::TokenCacheEviction, evicted.0);
            self.counters
                .add_many(Counter::SessionCacheEviction, evicted.1);
            levels.cached_tokens = levels.cached_tokens.saturating_add(state.tokens.len());
            levels.cached_sessions = levels.cached_sessions.saturating_add(state.sessions.len());
            levels.jwks_age = levels.jwks_age.max(state.keys.age(now.ticks));
            levels.jwks_generation = levels.jwks_generation.max(state.keys.generation());
            let open = usize::from(!state.breaker.is_closed());
            levels.open_breakers = levels.open_breakers.saturating_add(open);
        }
        levels
    }

    /// The limits of the configuration.
    fn limits(&self) -> Limits {
        self.limits
    }

    /// How long what a request waits for may take.
    fn patience(&self, pending: &WaitingRequest) -> Duration {
        let Some(project) = self.project(pending.project()) else {
            return Duration::ZERO;
        };
        match (pending.wait_for(), &project.keys, &project.session) {
            (WaitFor::Session(_), _, Some(session)) => session.timeout,
            (WaitFor::Keys(_), KeySource::Remote(remote), _) => match remote.location {
                KeyLocation::Path(_) => remote.timeout,
                // Two calls, one after the other.
                KeyLocation::Discover => remote.timeout.saturating_mul(2),
            },
            _ => Duration::ZERO,
        }
    }

    /// The project of this index.
    fn project(&self, index: usize) -> Option<&Project> {
        self.projects.get(index).map(|state| &state.project)
    }

    /// How long a call to the project's resolver may take, until the host reports its end.
    fn resolver_patience(&self, project: usize) -> Duration {
        let state = self.projects.get(project);
        state.map_or(Duration::ZERO, ProjectState::patience)
    }

    /// How long a call to the project's resolver may take.
    fn resolver_timeout(&self, project: usize) -> Duration {
        let state = self.projects.get(project);
        state.map_or(Duration::ZERO, ProjectState::resolver_timeout)
    }

    /// The settings of the project's resolver.
    fn session_policy(&self, project: usize) -> Option<&SessionPolicy> {
        self.project(project)?.session.as_ref()
    }
}

impl Route {
    fn reply(&self, reason: Reason) -> Reply {
        Reply::new(reason, self.grpc).to(self.request_id.as_deref())
    }

    fn refuse(&self, reason: Reason) -> Step {
        Step::Reply(self.reply(reason))
    }
}
