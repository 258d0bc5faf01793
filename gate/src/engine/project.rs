//! One project's state: its keys, tokens and sessions, and what they say of a credential.

use std::mem::Discriminant;
use std::rc::Rc;
use std::time::Duration;

use super::calls::CALL_GRACE;
use super::waiting_request::{KeyWait, WaitFor};
use super::{Counter, Counters, Reason, TokenSource};
use crate::config::{Accept, Audiences, Project, Requirement};
use crate::credential::{BearerToken, CookieJar};
use crate::jose::{NoKey, SignatureVerifier};
use crate::jwks::{FetchError, KeyRing, Lookup};
use crate::jwt::{CachedToken, InspectedToken, Standing, TokenCache, TokenError, VerifiedToken};
use crate::log_limit::LogLimit;
use crate::policy::NeededFacts;
use crate::principal::Principal;
use crate::session::{
    Breaker, CacheLookup, Health, KnownUsers, Permit, ResolverError, SessionCache,
    SessionCredential, SharedAnswers, UserShares, Verdict,
};
use crate::time::{Now, Ticks};

/// The kinds of log lines that requests or answers can cause: each is limited on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogKind {
    /// A failure of the resolver's, and its status.
    Resolver(Discriminant<ResolverError>, u16),
    ResolverAnswers,
    BreakerOpened,
    /// The resolver names another user than the token does.
    OtherUser,
    /// A failed fetch of keys, and its status.
    KeysFailed(Discriminant<FetchError>, u16),
    /// Another set, and how many keys it has.
    KeysReplaced(usize),
    KeysDropped,
    KeysConfirmed,
}

#[derive(Debug)]
pub(super) struct ProjectState {
    pub(super) project: Project,
    pub(super) keys: KeyRing,
    /// What rules ask of tokens.
    pub(super) needed: Rc<NeededFacts>,
    pub(super) tokens: TokenCache,
    pub(super) sessions: SessionCache,
    /// The resolver's answers that workers share.
    pub(super) answers: Option<SharedAnswers>,
    pub(super) resolver: Health,
    pub(super) log: LogLimit<LogKind>,
    pub(super) breaker: Breaker,
    /// The users whose calls count for the breaker.
    pub(super) known: KnownUsers,
    /// The users whom the background calls are for.
    pub(super) shares: UserShares,
    /// Background calls to be scheduled.
    pub(super) background_calls: Vec<SessionCredential>,
    /// The wall clock when a token was last verified: where it goes back, expired tokens are good again.
    pub(super) unix: u64,
    pub(super) counters: Rc<Counters>,
}

/// The outcome of authentication.
pub(super) enum Authentication {
    /// A principal.
    Principal(Rc<Principal>),
    /// Nobody, and why.
    Nobody(Reason),
    /// It cannot be decided now, and why.
    Unavailable(Reason),
    /// It waits for this.
    Wait(WaitFor),
}

/// A token to be verified, and what to try if it is refused.
pub(super) struct TokenCase<'t> {
    pub(super) token: &'t [u8],
    pub(super) source: TokenSource,
    /// What the resolver is asked if the token is good: the token, and the cookies beside it. `None`: the token suffices.
    pub(super) session_first: Option<SessionCredential>,
    /// What the resolver is asked if the token is refused: the session cookies beside it.
    pub(super) fallback: Option<SessionCredential>,
    /// Whom it must be issued for: one of each of these sets.
    pub(super) audiences: &'t [Audiences],
    /// Whether it waited for keys before.
    pub(super) waited: bool,
}

impl ProjectState {
    pub(super) fn bearer(
        &mut self,
        now: Now,
        token: BearerToken<'_>,
        requirement: &Requirement,
        verifier: &dyn SignatureVerifier,
    ) -> Authentication {
        let refused = |error| Reason::Token(error, TokenSource::Header);
        let accept = requirement.accept;
        match token {
            BearerToken::Jwt(_) if !accept.jwt => {
                Authentication::Nobody(refused(TokenError::NotAccepted))
            }
            BearerToken::Opaque(_) if !accept.session => {
                Authentication::Nobody(refused(TokenError::NotAccepted))
            }
            BearerToken::Jwt(token) => {
                let case = TokenCase {
                    token,
                    source: TokenSource::Header,
                    session_first: None,
                    fallback: None,
                    audiences: &requirement.audiences,
                    waited: false,
                };
                self.token(now, case, verifier)
            }
            // The resolver does not say to whom it was issued.
            BearerToken::Opaque(_) if !self.project.jwt.client_ids.is_empty() => {
                Authentication::Nobody(refused(TokenError::Client))
            }
            BearerToken::Opaque(token) if self.project.session.is_some() => {
                self.session(now, SessionCredential::Bearer(token.into()))
            }
            BearerToken::Opaque(_) | BearerToken::Malformed => {
                Authentication::Nobody(refused(TokenError::Malformed))
            }
            BearerToken::TooLong => Authentication::Nobody(refused(TokenError::TooLong)),
        }
    }

    pub(super) fn cookies(
        &mut self,
        now: Now,
        jar: &CookieJar<'_>,
        requirement: &Requirement,
        verifier: &dyn SignatureVerifier,
    ) -> Authentication {
        let accept = requirement.accept;
        let session = || jar.session(&self.project).filter(|_| accept.session);
        if accept.jwt
            && let Some((name, token)) = jar.jwt(&self.project)
        {
            let beside = jar.session_beside(&self.project, name);
            let case = TokenCase {
                token,
                source: TokenSource::Cookie,
                session_first: beside.filter(|_| accept.session),
                fallback: session(),
                audiences: &requirement.audiences,
                waited: false,
            };
            return self.token(now, case, verifier);
        }
        match session() {
            Some(credential) => self.session(now, credential),
            // Cookies of a kind that does not count are none.
            None if accept != Accept::ALL => Authentication::Nobody(Reason::NoCredential),
            None => Authentication::Nobody(Reason::InvalidSession),
        }
    }

    pub(super) fn token(
        &mut self,
        now: Now,
        case: TokenCase<'_>,
        verifier: &dyn SignatureVerifier,
    ) -> Authentication {
        match self.verify(now, &case, verifier) {
            Verified::Yes(token) => {
                let principal = token.principal();
                // A machine's token is none of a user's, and the session beside it may be one.
                let instead = match principal.user() {
                    Some(_) => case.session_first,
                    None => case.fallback,
                };
                match instead {
                    Some(credential) => self.session(now, credential),
                    None => Authentication::Principal(Rc::clone(principal)),
                }
            }
            Verified::No(error) => self.refused(now, case, error),
            Verified::Unconfirmed => match case.session_first {
                // The resolver is about to be asked for the verdict that it did not give.
                Some(credential) => self.session(now, credential),
                None => Authentication::Unavailable(Reason::TokenUnconfirmed),
            },
            Verified::Unavailable(retry_in) => {
                Authentication::Unavailable(Reason::KeysUnavailable(retry_in))
            }
            Verified::Wait => Authentication::Wait(WaitFor::Keys(KeyWait {
                token: case.token.to_vec(),
                source: case.source,
                session_first: case.session_first,
                fallback: case.fallback,
            })),
        }
    }

    /// A token is refused: a session beside it may count instead. The token itself is not asked about.
    fn refused(&mut self, now: Now, case: TokenCase<'_>, error: TokenError) -> Authentication {
        match case.fallback {
            Some(credential) => self.session(now, credential),
            None => Authentication::Nobody(Reason::Token(error, case.source)),
        }
    }

    fn verify(
        &mut self,
        now: Now,
        case: &TokenCase<'_>,
        verifier: &dyn SignatureVerifier,
    ) -> Verified {
        if now.unix < self.unix {
            self.tokens.remove_refused();
        }
        self.unix = now.unix;
        let generation = self.keys.generation();
        let ticks = now.ticks;
        // The resolver is not asked about a token for another audience than that of the rule at hand.
        let every = self.project.jwt.revalidate.filter(|_| {
            let cached = self.tokens.peek(case.token);
            cached.is_none_or(|token| token.is_for(case.audiences))
        });
        if self.keys.is_current(ticks) {
            let remembered = self.tokens.get(case.token, generation, every, ticks);
            self.counters.add(match remembered {
                Some(_) => Counter::TokenCacheHit,
                None => Counter::TokenCacheMiss,
            });
            match remembered {
                Some(CachedToken::Verified { token, standing }) => {
                    return match token.check_time(now.unix) {
                        Ok(()) => self.confirmed(case, token, standing, ticks),
                        Err(error) => {
                            self.tokens.remove(case.token);
                            Verified::No(error)
                        }
                    };
                }
                Some(CachedToken::Refused(error)) => return Verified::No(error),
                None => {}
            }
        }
        if self.tokens.is_revoked(case.token) {
            if let Some(every) = every
                && let Some((text, token)) = self.tokens.recheck(case.token, every, now.unix, ticks)
            {
                self.have_confirmed(&text, &token, ticks);
            }
            return Verified::No(TokenError::Revoked);
        }
        let project = &self.project;
        let inspected = InspectedToken::inspect(
            case.token,
            &project.endpoint,
            &project.jwt,
            &self.needed,
            now.unix,
        );
        let inspected = match inspected {
            Ok(inspected) => inspected,
            Err(error) => {
                // It will never be good again, and its client may not know that yet.
                if error == TokenError::Expired {
                    self.tokens
                        .insert_refused(case.token, error, generation, ticks);
                }
                return Verified::No(error);
            }
        };
        let (key_id, algorithm) = (inspected.key_id(), inspected.algorithm());
        let key = match self.keys.lookup(key_id, algorithm, case.waited, ticks) {
            Lookup::Found(key) => key,
            Lookup::Wait => return Verified::Wait,
            Lookup::Unavailable(retry_in) => return Verified::Unavailable(retry_in),
            Lookup::Unknown(error) => {
                if case.waited && error == NoKey::UnknownKeyId {
                    self.keys.record_miss(key_id, ticks);
                }
                return Verified::No(error.into());
            }
        };
        match inspected.verify(&key, verifier) {
            Ok(token) => {
                let token = Rc::new(token);
                let every = every.filter(|_| token.is_for(case.audiences));
                let standing = self
                    .tokens
                    .insert_verified(case.token, &token, generation, every, ticks);
                self.confirmed(case, token, standing, ticks)
            }
            Err(error) => {
                self.tokens
                    .insert_refused(case.token, error, generation, ticks);
                Verified::No(error)
            }
        }
    }

    /// Whether a token whose signature is good is for this audience, and confirmed.
    fn confirmed(
        &mut self,
        case: &TokenCase<'_>,
        token: Rc<VerifiedToken>,
        standing: Standing,
        now: Ticks,
    ) -> Verified {
        if !token.is_for(case.audiences) {
            return Verified::No(TokenError::Audience);
        }
        if standing.confirm {
            self.have_confirmed(case.token, &token, now);
        }
        if standing.unconfirmed {
            Verified::Unconfirmed
        } else {
            Verified::Yes(token)
        }
    }

    /// Has the resolver confirm a token, in the background.
    fn have_confirmed(&mut self, text: &[u8], token: &VerifiedToken, now: Ticks) {
        let (Ok(plain), Some(user)) = (std::str::from_utf8(text), token.principal().user()) else {
            return;
        };
        let credential = SessionCredential::Jwt(plain.into());
        if self.shares.contains(&credential, now) {
            // A call for it is still in flight, for longer than the interval.
            return;
        }
        self.counters.add(Counter::Revalidation);
        let asked = self.permit(now) == Permit::Call
            && self.ask_in_background(user.user_id(), credential, now);
        if !asked {
            self.not_confirmed(text, now);
        }
    }

    /// A token was to be confirmed, and no call was made, or it will not be answered.
    fn not_confirmed(&mut self, token: &[u8], now: Ticks) {
        self.counters.add(Counter::RevalidationFailed);
        // A missed confirmation must not keep a banned user's token in use for as long as a confirmation does.
        self.tokens.not_asked(token, now);
    }

    /// A background call is not made, or will not be answered.
    pub(super) fn give_up(&mut self, credential: &SessionCredential, now: Ticks) {
        self.shares.end(credential);
        if let SessionCredential::Jwt(token) = credential {
            self.not_confirmed(token.as_bytes(), now);
        }
    }

    /// Schedules a background call. `false`: the limit for this user, or for all, is reached.
    fn ask_in_background(&mut self, user: &str, credential: SessionCredential, now: Ticks) -> bool {
        // Another worker may be waited for first.
        let until = now.after(self.patience()).after(self.resolver_timeout());
        let taken = self.shares.take(user, &credential, until, now);
        if taken {
            self.background_calls.push(credential);
        } else {
            self.counters.add(Counter::BackgroundCallDropped);
        }
        taken
    }

    /// How long a call to the resolver may take, until the host reports its end.
    pub(super) fn patience(&self) -> Duration {
        self.resolver_timeout().saturating_add(CALL_GRACE)
    }

    /// How long a call to the resolver may take.
    pub(super) fn resolver_timeout(&self) -> Duration {
        let timeout = self.project.session.as_ref().map(|session| session.timeout);
        timeout.unwrap_or_default()
    }

    /// Whether the resolver may be asked.
    pub(super) fn permit(&mut self, now: Ticks) -> Permit {
        self.check_resolver(now);
        self.breaker.permit(now)
    }

    /// Schedules a call without a credential, where the breaker asks for a check.
    pub(super) fn check_resolver(&mut self, now: Ticks) {
        if self.breaker.takes_check(self.patience(), now) {
            self.background_calls.push(SessionCredential::Nothing);
        }
    }

    fn session(&mut self, now: Now, credential: SessionCredential) -> Authentication {
        let ticks = now.ticks;
        match self.sessions.get(&credential, ticks) {
            CacheLookup::Hit { verdict, refresh } => {
                self.counters.add(Counter::SessionCacheHit);
                if let Some(user) = verdict.user_id()
                    && refresh
                    && self.breaker.is_closed()
                    && self.ask_in_background(user, credential.clone(), ticks)
                {
                    self.counters.add(Counter::SessionRefresh);
                }
                Self::verdict(&verdict, &credential)
            }
            CacheLookup::Miss => {
                self.counters.add(Counter::SessionCacheMiss);
                match self.permit(ticks) {
                    Permit::Call => Authentication::Wait(WaitFor::Session(credential)),
                    Permit::Wait(retry_in) => self.without_resolver(now, &credential, retry_in),
                }
            }
        }
    }

    /// The resolver fails, and is not asked: the last valid verdict is served, if it may be.
    fn without_resolver(
        &mut self,
        now: Now,
        credential: &SessionCredential,
        retry_in: Duration,
    ) -> Authentication {
        self.counters.add(Counter::ResolverCallRejected);
        match self.stale(credential, now.ticks) {
            Some(verdict) => Self::verdict(&verdict, credential),
            None => Authentication::Unavailable(Reason::CircuitOpen(retry_in)),
        }
    }

    /// The last valid verdict, if it may still be served in an outage.
    pub(super) fn stale(&mut self, credential: &SessionCredential, now: Ticks) -> Option<Verdict> {
        let verdict = self.sessions.last_valid(credential, now)?;
        self.counters.add(Counter::SessionServedStale);
        Some(verdict)
    }

    /// What follows from the resolver's verdict on a credential.
    pub(super) fn verdict(verdict: &Verdict, credential: &SessionCredential) -> Authentication {
        match (verdict, credential) {
            (Verdict::Valid(principal), _) => Authentication::Principal(Rc::clone(principal)),
            (Verdict::Invalid, SessionCredential::Bearer(_) | SessionCredential::Jwt(_)) => {
                Authentication::Nobody(Reason::InvalidOpaqueToken)
            }
            (Verdict::Invalid, SessionCredential::Cookies(_) | SessionCredential::Nothing) => {
                Authentication::Nobody(Reason::InvalidSession)
            }
        }
    }
}

/// What verification says of a token.
enum Verified {
    Yes(Rc<VerifiedToken>),
    No(TokenError),
    /// Its signature is good, but the resolver was asked to confirm it and has answered without a verdict.
    Unconfirmed,
    /// There are no keys to verify it with. Time until the next try.
    Unavailable(Duration),
    Wait,
}
