//! One project's half of the gate: its keys, tokens and sessions, and what they say of a credential.

use std::rc::Rc;
use std::time::Duration;

use super::{Admission, Event, Pending, Place, Reason, Scene, Step, Tally};
use crate::config::Project;
use crate::credential::{BearerToken, CookieJar};
use crate::jwks::{KeyRing, Lookup};
use crate::jwt::{
    InspectedToken, Remembered, SignatureVerifier, Standing, Subject, TokenCache, TokenError,
    VerifiedToken,
};
use crate::session::{Breaker, Health, Permit, Recalled, SessionCache, SessionCredential, Verdict};
use crate::time::Ticks;

/// Beyond the timeout of a call, until its end is heard of.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct ProjectState {
    pub(super) project: Project,
    pub(super) keys: KeyRing,
    pub(super) tokens: TokenCache,
    pub(super) sessions: SessionCache,
    pub(super) resolver: Health,
    /// Whether it names the users of tokens that it confirms as they do themselves.
    pub(super) names: Health,
    pub(super) breaker: Breaker,
    /// Calls that nobody waits for.
    pub(super) errands: Vec<SessionCredential>,
    /// The wall clock at the last look at a token: where it goes back, what expired is good again.
    pub(super) unix: u64,
    pub(super) tally: Rc<Tally>,
}

/// A token on its way through the gate, and what to try if it fails.
pub(super) struct TokenCase<'t> {
    pub(super) token: &'t [u8],
    pub(super) place: Place,
    /// What the resolver is asked if the token is good: the token, and the cookies beside it. It stands alone where this is
    /// nothing.
    pub(super) session_first: Option<SessionCredential>,
    /// What the resolver is asked if the token is refused: the session cookies beside it.
    pub(super) fallback: Option<SessionCredential>,
    /// Whether it waited for keys before.
    pub(super) waited: bool,
}

impl ProjectState {
    pub(super) fn bearer(
        &mut self,
        scene: &Scene,
        token: BearerToken<'_>,
        verifier: &dyn SignatureVerifier,
    ) -> Step {
        let refused = |error| Reason::Token(error, Place::Header);
        match token {
            BearerToken::Jwt(token) => {
                let case = TokenCase {
                    token,
                    place: Place::Header,
                    session_first: None,
                    fallback: None,
                    waited: false,
                };
                self.token(scene, case, verifier)
            }
            // The resolver does not say to whom it was issued.
            BearerToken::Opaque(_) if !self.project.jwt.client_ids.is_empty() => {
                scene.unauthenticated(self, refused(TokenError::Client))
            }
            BearerToken::Opaque(token) if self.project.session.is_some() => {
                self.session(scene, SessionCredential::Bearer(token.into()))
            }
            BearerToken::Opaque(_) | BearerToken::Malformed => {
                scene.unauthenticated(self, refused(TokenError::Malformed))
            }
            BearerToken::TooLong => scene.unauthenticated(self, refused(TokenError::TooLong)),
        }
    }

    pub(super) fn cookies(
        &mut self,
        scene: &Scene,
        jar: &CookieJar<'_>,
        verifier: &dyn SignatureVerifier,
    ) -> Step {
        if let Some((name, token)) = jar.jwt(&self.project) {
            let case = TokenCase {
                token,
                place: Place::Cookie,
                session_first: jar.session_beside(&self.project, name),
                fallback: jar.session(&self.project),
                waited: false,
            };
            return self.token(scene, case, verifier);
        }
        match jar.session(&self.project) {
            Some(credential) => self.session(scene, credential),
            None => scene.unauthenticated(self, Reason::InvalidSession),
        }
    }

    pub(super) fn token(
        &mut self,
        scene: &Scene,
        case: TokenCase<'_>,
        verifier: &dyn SignatureVerifier,
    ) -> Step {
        match self.verify(scene, &case, verifier) {
            Verified::Yes(token) => match (token.subject(), case.session_first, case.fallback) {
                (Subject::User(_), Some(credential), _) => self.session(scene, credential),
                (Subject::User(user), None, _) => Step::Forward(Admission::User(Rc::clone(user))),
                (Subject::Machine, _, Some(credential)) => self.session(scene, credential),
                (Subject::Machine, _, None) => scene.not_a_user(),
            },
            Verified::No(error) => match case.fallback {
                Some(credential) => self.session(scene, credential),
                None => scene.unauthenticated(self, Reason::Token(error, case.place)),
            },
            Verified::Unconfirmed => match case.session_first {
                // It is about to be asked what it did not say.
                Some(credential) => self.session(scene, credential),
                None => scene.refuse(Reason::TokenUnconfirmed),
            },
            Verified::Unavailable(retry_in) => scene.refuse(Reason::KeysUnavailable(retry_in)),
            Verified::Wait => Step::Wait(Pending::for_keys(scene, case)),
        }
    }

    fn verify(
        &mut self,
        scene: &Scene,
        case: &TokenCase<'_>,
        verifier: &dyn SignatureVerifier,
    ) -> Verified {
        if scene.now.unix < self.unix {
            self.tokens.forget_refused();
        }
        self.unix = scene.now.unix;
        let generation = self.keys.generation();
        let ticks = scene.now.ticks;
        if self.keys.is_current(ticks) {
            let every = self.project.jwt.revalidate;
            let remembered = self.tokens.recall(case.token, generation, every, ticks);
            self.tally.add(match remembered {
                Some(_) => Event::TokenCacheHit,
                None => Event::TokenCacheMiss,
            });
            match remembered {
                Some(Remembered::Verified { token, standing }) => {
                    return match token.check_time(scene.now.unix) {
                        Ok(()) => self.confirmed(case.token, token, standing, ticks),
                        Err(error) => {
                            self.tokens.forget(case.token);
                            Verified::No(error)
                        }
                    };
                }
                Some(Remembered::Refused(error)) => return Verified::No(error),
                None => {}
            }
        }
        if self.tokens.is_revoked(case.token) {
            return Verified::No(TokenError::Revoked);
        }
        let project = &self.project;
        let inspected =
            InspectedToken::inspect(case.token, &project.endpoint, &project.jwt, scene.now.unix);
        let inspected = match inspected {
            Ok(inspected) => inspected,
            Err(error) => {
                // Its bytes will never be good again, and its client may not know that yet.
                if error == TokenError::Expired {
                    self.tokens.refused(case.token, error, generation, ticks);
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
                if case.waited && error == TokenError::UnknownKey {
                    self.keys.in_vain(key_id, ticks);
                }
                return Verified::No(error);
            }
        };
        match inspected.verify(&key, verifier) {
            Ok(token) => {
                let token = Rc::new(token);
                let every = self.project.jwt.revalidate;
                let standing = self
                    .tokens
                    .verified(case.token, &token, generation, every, ticks);
                self.confirmed(case.token, token, standing, ticks)
            }
            Err(error) => {
                self.tokens.refused(case.token, error, generation, ticks);
                Verified::No(error)
            }
        }
    }

    /// What a token is worth whose signature is good, whichever of its signatures it is.
    fn confirmed(
        &mut self,
        text: &[u8],
        token: Rc<VerifiedToken>,
        standing: Standing,
        now: Ticks,
    ) -> Verified {
        if standing.confirm {
            self.have_confirmed(text, now);
        }
        if standing.unconfirmed {
            Verified::Unconfirmed
        } else {
            Verified::Yes(token)
        }
    }

    /// Has the resolver confirm a token, in the background.
    fn have_confirmed(&mut self, token: &[u8], now: Ticks) {
        self.tally.add(Event::Revalidation);
        match (std::str::from_utf8(token), self.permit(now)) {
            (Ok(token), Permit::Call | Permit::Probe) => {
                self.errands.push(SessionCredential::Jwt(token.into()));
            }
            _ => self.tally.add(Event::RevalidationFailed),
        }
    }

    /// Whether the resolver may be asked.
    fn permit(&mut self, now: Ticks) -> Permit {
        let timeout = self.project.session.as_ref().map(|session| session.timeout);
        let patience = timeout.unwrap_or_default().saturating_add(GRACE);
        self.breaker.permit(patience, now)
    }

    fn session(&mut self, scene: &Scene, credential: SessionCredential) -> Step {
        let now = scene.now.ticks;
        match self.sessions.recall(&credential, now) {
            Recalled::Fresh { verdict, refresh } => {
                self.tally.add(Event::SessionCacheHit);
                if refresh && self.breaker.is_closed() {
                    self.tally.add(Event::SessionRefresh);
                    self.errands.push(credential.clone());
                }
                self.verdict(scene, &verdict, &credential)
            }
            Recalled::Nothing => {
                self.tally.add(Event::SessionCacheMiss);
                match self.permit(now) {
                    Permit::Call => Step::Wait(Pending::for_session(scene, credential)),
                    Permit::Probe => {
                        // Booked, so that it is made though the client should leave; the request joins it.
                        self.errands.push(credential.clone());
                        Step::Wait(Pending::for_session(scene, credential))
                    }
                    Permit::Wait(retry_in) => self.without_resolver(scene, &credential, retry_in),
                }
            }
        }
    }

    /// The resolver fails, and is not asked: the last yes must do, if there is one that may.
    fn without_resolver(
        &mut self,
        scene: &Scene,
        credential: &SessionCredential,
        retry_in: Duration,
    ) -> Step {
        self.tally.add(Event::ResolverCallSpared);
        match self.sessions.last_yes(credential, scene.now.ticks) {
            Some(verdict) => {
                self.tally.add(Event::SessionServedStale);
                self.verdict(scene, &verdict, credential)
            }
            None => scene.refuse(Reason::ResolverAvoided(retry_in)),
        }
    }

    pub(super) fn verdict(
        &self,
        scene: &Scene,
        verdict: &Verdict,
        credential: &SessionCredential,
    ) -> Step {
        match (verdict, credential) {
            (Verdict::Valid(user), _) => Step::Forward(Admission::User(Rc::clone(user))),
            (Verdict::Invalid, SessionCredential::Bearer(_) | SessionCredential::Jwt(_)) => {
                scene.unauthenticated(self, Reason::InvalidOpaqueToken)
            }
            (Verdict::Invalid, SessionCredential::Cookies(_)) => {
                scene.unauthenticated(self, Reason::InvalidSession)
            }
        }
    }
}

/// What verification says of a token.
enum Verified {
    Yes(Rc<VerifiedToken>),
    No(TokenError),
    /// Its signature is good, but the resolver has answered without a verdict whether it still lives.
    Unconfirmed,
    /// There are no keys to tell. Time until the next try.
    Unavailable(Duration),
    Wait,
}
