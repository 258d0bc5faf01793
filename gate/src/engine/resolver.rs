//! The gate's resolver: the background calls it asks for, and what follows from the answers.

use std::rc::Rc;
use std::time::Duration;

use super::{Counter, Env, Gate};
use crate::callout::{Answer, explain};
use crate::jwks::Shared;
use crate::principal::User;
use crate::session::{
    Asked, Heard, OtherWorker, Permit, Question, ResolverError, SessionCredential, SharedAnswer,
    SharedAnswers, Turn, Verdict, is_explicit_no, set_cookies,
};
use crate::time::{Now, Seconds, Ticks};

use super::project::{LogKind, ProjectState};

impl Gate {
    /// The background calls to schedule since this was last called: the project's index, and the credential. Their
    /// answers go to [`Gate::resolved`], as all do.
    pub(super) fn take_background_calls(&mut self) -> Vec<(usize, SessionCredential)> {
        let mut background_calls = Vec::new();
        for (index, state) in self.projects.iter_mut().enumerate() {
            background_calls.extend(
                state
                    .background_calls
                    .drain(..)
                    .map(|credential| (index, credential)),
            );
        }
        background_calls
    }

    /// What an answer says of a credential.
    ///
    /// # Errors
    /// It says nothing.
    pub(super) fn read_verdict(
        &self,
        project: usize,
        credential: &SessionCredential,
        answer: Option<&Answer>,
    ) -> Result<Verdict, ResolverError> {
        let state = self.projects.get(project);
        state.map_or(Err(ResolverError::NoAnswer), |state| {
            state.read_verdict(credential, answer)
        })
    }

    /// Takes the answer to a call to the resolver, and gives the verdict for all who waited for it.
    ///
    /// # Errors
    /// The resolver gave none, and there is no cached one that may be served.
    pub(super) fn resolved(
        &mut self,
        project: usize,
        (credential, question): (&SessionCredential, Option<&Question>),
        said: Result<Verdict, ResolverError>,
        heard: Heard<'_>,
        env: &Env<'_>,
        entropy: u64,
    ) -> Result<Verdict, ResolverError> {
        let state = self.projects.get_mut(project);
        let state = state.ok_or(ResolverError::NoAnswer)?;
        state.record(credential, &said, heard.answer, env.now, entropy);
        if *credential == SessionCredential::Nothing {
            return said;
        }
        let later = question.and_then(|question| state.share(question, &said, heard, env));
        match &later {
            // Another worker has asked later.
            Some(later) => {
                let said = state.read_verdict(credential, Some(&later.answer));
                let heard = later.heard();
                self.settled_by(project, credential, said, heard, env.now, entropy)
            }
            None => self.settled_by(project, credential, said, heard, env.now, entropy),
        }
    }

    /// A question will not be answered: other workers may ask it at once.
    pub(super) fn release(
        &self,
        project: usize,
        credential: &SessionCredential,
        shared: Shared<'_>,
        now: Now,
    ) {
        if let Some(state) = self.projects.get(project)
            && let Some((answers, question)) = state.question(credential, shared)
        {
            answers.release(shared, &question, now.ticks);
        }
    }

    /// What to do instead of asking the resolver, if anything: another worker may have been answered, or be asking.
    pub(super) fn turn(
        &self,
        project: usize,
        credential: &SessionCredential,
        other: Option<OtherWorker>,
        env: &Env<'_>,
    ) -> Turn {
        let state = self.projects.get(project);
        state.map_or(Turn::Ask(None), |state| state.turn(credential, other, env))
    }

    /// The answer of the other worker that is waited for, or another one that may be used, if there is one.
    pub(super) fn find(
        &self,
        project: usize,
        credential: &SessionCredential,
        other: OtherWorker,
        env: &Env<'_>,
    ) -> Option<SharedAnswer> {
        self.projects.get(project)?.find(credential, other, env)
    }

    /// Whether another worker's answer is fresh.
    pub(super) fn is_fresh(&self, project: usize, shared: &SharedAnswer, now: Now) -> bool {
        let state = self.projects.get(project);
        let answers = state.and_then(|state| state.answers.as_ref());
        answers.is_some_and(|answers| answers.is_fresh(shared, now.ticks))
    }

    /// Takes an answer, whichever worker asked, and gives the verdict for all who waited for it.
    ///
    /// # Errors
    /// As [`Gate::resolved`].
    pub(super) fn settled_by(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        said: Result<Verdict, ResolverError>,
        heard: Heard<'_>,
        now: Now,
        entropy: u64,
    ) -> Result<Verdict, ResolverError> {
        let state = self.projects.get_mut(project);
        let state = state.ok_or(ResolverError::NoAnswer)?;
        state.shares.end(credential);
        if let SessionCredential::Jwt(token) = credential {
            // Its user is known from the token itself.
            state.revalidated(token, &said, heard, now);
            return said;
        }
        match &said {
            Ok(Verdict::Valid(principal)) => {
                if let Some(user) = principal.user() {
                    state.known.named(credential, user.user_id());
                }
            }
            Ok(Verdict::Invalid) => state.known.remove(credential),
            Err(_) => {}
        }
        let Some(policy) = &state.project.session else {
            return Err(ResolverError::NoAnswer);
        };
        let stale = said.is_err() && !state.sessions.is_fresh(credential, now.ticks);
        let verdict = state
            .sessions
            .settle(credential, said, heard, policy, now.ticks, entropy);
        if stale && verdict.is_ok() {
            self.counters.add(Counter::SessionServedStale);
        }
        verdict
    }

    /// The user whom the resolver has named for a credential, if that is known.
    pub(super) fn known_user(
        &self,
        project: usize,
        credential: &SessionCredential,
    ) -> Option<Rc<str>> {
        self.projects.get(project)?.known.user(credential)
    }

    /// Whether the project's circuit breaker is open.
    pub(super) fn is_circuit_open(&self, project: usize, now: Now) -> bool {
        let state = self.projects.get(project);
        state.is_some_and(|state| state.breaker.is_open(now.ticks))
    }

    /// A background call is not made, or will not be answered.
    pub(super) fn give_up_call(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        now: Now,
    ) {
        if let Some(state) = self.projects.get_mut(project) {
            state.give_up(credential, now.ticks);
        }
    }

    /// A call is not made, since the circuit breaker is open. `awaited`: requests wait for it, and get a stale verdict if
    /// one may be served.
    ///
    /// # Errors
    /// There is no stale verdict that may be served.
    pub(super) fn not_asked(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        awaited: bool,
        now: Now,
    ) -> Result<Verdict, ResolverError> {
        let state = self.projects.get_mut(project);
        let state = state.ok_or(ResolverError::NoAnswer)?;
        if *credential != SessionCredential::Nothing {
            self.counters.add(Counter::ResolverCallRejected);
        }
        state.give_up(credential, now.ticks);
        let retry_in = match state.permit(now.ticks) {
            Permit::Wait(retry_in) => retry_in,
            Permit::Call => Duration::ZERO,
        };
        let stale = if awaited {
            state.stale(credential, now.ticks)
        } else {
            None
        };
        stale.ok_or(ResolverError::NotAsked(retry_in))
    }

    /// The cookies of an answer that go to the client whose request made the call, where the operator wants it. None of an
    /// answer without a verdict: the call may be retried.
    pub(super) fn cookies_to_relay(
        &self,
        project: usize,
        credential: &SessionCredential,
        answer: Option<&Answer>,
    ) -> Vec<String> {
        match (self.session_policy(project), answer) {
            (Some(policy), Some(answer))
                if policy.relay_set_cookie
                    && self.read_verdict(project, credential, Some(answer)).is_ok() =>
            {
                set_cookies(answer, &policy.cookies)
            }
            _ => Vec::new(),
        }
    }
}

impl ProjectState {
    /// On the cookie of a login Authgear says yes or no, whatever is beside it (contract §3.1).
    fn read_verdict(
        &self,
        credential: &SessionCredential,
        answer: Option<&Answer>,
    ) -> Result<Verdict, ResolverError> {
        let said = Verdict::read(answer)?;
        let policy = self.project.session.as_ref();
        let is_no_verdict = said == Verdict::Invalid
            && !answer.is_some_and(is_explicit_no)
            && policy.is_some_and(|policy| credential.has_login(&policy.cookies));
        if is_no_verdict {
            return Err(ResolverError::NotAResolver);
        }
        Ok(said)
    }

    /// The question about a credential, as workers share it. `None`: nothing is shared, or not of this credential.
    fn question(
        &self,
        credential: &SessionCredential,
        shared: Shared<'_>,
    ) -> Option<(&SharedAnswers, Question)> {
        let answers = self.answers.as_ref().filter(|_| shared.data.is_shared())?;
        Some((answers, Question::about(credential)?))
    }

    /// Publishes an answer to the other workers, or releases the lease. Returns the answer to a later question of theirs.
    #[inline(never)]
    fn share(
        &self,
        question: &Question,
        said: &Result<Verdict, ResolverError>,
        heard: Heard<'_>,
        env: &Env<'_>,
    ) -> Option<SharedAnswer> {
        let (shared, now) = (env.shared, env.now.ticks);
        let answers = self.answers.as_ref()?;
        match heard.answer {
            Some(answer) if said.is_ok() => {
                answers.publish(shared, question, heard.asked_at, answer, now)
            }
            _ => {
                answers.release(shared, question, now);
                None
            }
        }
    }

    fn turn(
        &self,
        credential: &SessionCredential,
        other: Option<OtherWorker>,
        env: &Env<'_>,
    ) -> Turn {
        let Some((answers, question)) = self.question(credential, env.shared) else {
            return Turn::Ask(None);
        };
        let now = env.now.ticks;
        let until = match other {
            Some(other) => other.until,
            None => now.after(self.resolver_timeout()),
        };
        let will_do = |shared: &SharedAnswer| self.will_do(answers, credential, other, shared, now);
        answers.turn(env.shared, question, will_do, until, now)
    }

    fn find(
        &self,
        credential: &SessionCredential,
        other: OtherWorker,
        env: &Env<'_>,
    ) -> Option<SharedAnswer> {
        let (answers, question) = self.question(credential, env.shared)?;
        let now = env.now.ticks;
        let found = answers.find(env.shared, &question, now);
        found.filter(|shared| self.will_do(answers, credential, Some(other), shared, now))
    }

    /// Whether the answer to another worker's question may be used instead of a call of this worker's own.
    fn will_do(
        &self,
        answers: &SharedAnswers,
        credential: &SessionCredential,
        other: Option<OtherWorker>,
        shared: &SharedAnswer,
        now: Ticks,
    ) -> bool {
        let asked_at = shared.asked_at;
        // An answer that was used already is not used again.
        let (is_wanted, is_new) = match credential {
            SessionCredential::Jwt(token) => {
                let every = self.project.jwt.revalidate.unwrap_or_default();
                let is_judged = self.tokens.is_judged(token.as_bytes(), asked_at);
                (now.since(asked_at) < every, !is_judged)
            }
            _ => {
                let known = self.sessions.asked_at(credential);
                let is_new = known.is_none_or(|known| known < asked_at);
                (answers.is_fresh(shared, now), is_new)
            }
        };
        let is_awaited = other.is_some_and(|other| other.since <= asked_at);
        (is_wanted || is_awaited)
            && is_new
            && self.read_verdict(credential, Some(&shared.answer)).is_ok()
    }

    /// Records how a call ended: in the log, the counters and the breaker.
    #[inline(never)]
    fn record(
        &mut self,
        credential: &SessionCredential,
        said: &Result<Verdict, ResolverError>,
        answer: Option<&Answer>,
        now: Now,
        entropy: u64,
    ) {
        let error = said.as_ref().err();
        if error.is_some() {
            self.counters.add(Counter::ResolverFailure);
        }
        self.log_answer(credential, error, answer, now.ticks);
        let asked = answer.and_then(Answer::retry_after);
        let verified = match credential {
            SessionCredential::Jwt(token) => self.tokens.peek(token.as_bytes()),
            _ => None,
        };
        let named = match said {
            Ok(Verdict::Valid(principal)) => principal.user(),
            _ => verified.and_then(|token| token.principal().user()),
        };
        let known = match named {
            Some(_) => None,
            None => self.known.user(credential),
        };
        let whom = match named.map(User::user_id).or(known.as_deref()) {
            _ if *credential == SessionCredential::Nothing => Asked::Check,
            Some(user) => Asked::User(user),
            None => Asked::Stranger,
        };
        let breaker = &mut self.breaker;
        let opened = breaker.record(whom, error, asked, now.ticks, entropy);
        self.check_resolver(now.ticks);
        let endpoint = &self.project.endpoint;
        if let Some((pause, times)) = opened {
            self.counters.add(Counter::BreakerOpened);
            if times == 1
                && let Some(left_out) = self.log.allow(LogKind::BreakerOpened, now.ticks)
            {
                log::warn!(
                    "{endpoint}: resolver: not asked for {}, and then by one call at a time, without a credential, until it answers{left_out}",
                    Seconds(pause)
                );
            }
        }
    }

    /// Logs what an operator should know of an answer: one line of each kind now and then, whatever clients cause.
    fn log_answer(
        &mut self,
        credential: &SessionCredential,
        error: Option<&ResolverError>,
        answer: Option<&Answer>,
        now: Ticks,
    ) {
        let endpoint = &self.project.endpoint;
        let session = self.project.session.as_ref();
        let cluster = session.map_or("", |session| session.cluster.as_str());
        let Some(error) = error else {
            if self.resolver.answered()
                && let Some(left_out) = self.log.allow(LogKind::ResolverAnswers, now)
            {
                log::info!("{endpoint}: resolver: answers again{left_out}");
            }
            return;
        };
        let kind = LogKind::Resolver(std::mem::discriminant(error), error.status());
        let left_out = self.log.allow(kind, now);
        let explained = match left_out {
            Some(_) => explain(answer, credential.secret()),
            None => String::new(),
        };
        if error.is_outage() {
            let calls = self.resolver.failed();
            if let Some(left_out) = left_out {
                self.resolver.logged();
                log::warn!(
                    "{endpoint}: resolver fails: {error}{explained}; cluster {cluster:?}, failed calls in a row: {calls}{left_out}"
                );
            }
        } else if let Some(left_out) = left_out {
            log::warn!(
                "{endpoint}: resolver: no verdict for a client: {error}{explained}; cluster {cluster:?}{left_out}"
            );
        }
    }

    /// What the resolver says of a token that was verified here.
    ///
    /// It is silent about tokens that it has revoked, a banned user's among them, but also about those of a kind that it
    /// never accepts: its silence is a no only where it has confirmed a token of the same kind before. A no is not for ever:
    /// a user may be disabled for a time only.
    ///
    /// After an outage, or if no call was made, a token stays as it was, and is asked about again soon. Any other answer
    /// without a verdict may be caused by the client: the token is then not accepted until there is a verdict.
    fn revalidated(
        &mut self,
        token: &str,
        said: &Result<Verdict, ResolverError>,
        heard: Heard<'_>,
        now: Now,
    ) {
        let token = token.as_bytes();
        let verified = self.tokens.peek(token).cloned();
        let scope = verified
            .as_ref()
            .and_then(|verified| verified.revalidation_scope());
        let every = self.project.jwt.revalidate.unwrap_or_default();
        let asked_at = heard.asked_at;
        if said.is_ok() {
            self.tokens.answered(token, asked_at, every);
        }
        let counter = match said {
            Ok(Verdict::Valid(theirs)) => {
                let ours = verified.as_ref().and_then(|token| token.principal().user());
                match ours.zip(theirs.user()) {
                    Some((ours, theirs)) if ours.user_id() != theirs.user_id() => {
                        if let Some(left_out) = self.log.allow(LogKind::OtherUser, now.ticks) {
                            let endpoint = &self.project.endpoint;
                            log::warn!(
                                "{endpoint}: resolver: names another user than the token it confirms{left_out}"
                            );
                        }
                        self.tokens.unconfirmed(token, asked_at, now.ticks);
                        Counter::RevalidationFailed
                    }
                    _ => {
                        if let Some(scope) = scope {
                            self.tokens.confirmed(token, scope.clone());
                        }
                        Counter::RevalidationConfirmed
                    }
                }
            }
            Ok(Verdict::Invalid) => {
                let known = scope.is_some_and(|scope| self.tokens.has_confirmed(scope));
                if known || heard.answer.is_some_and(is_explicit_no) {
                    self.tokens.revoke(token, now.ticks);
                    Counter::RevalidationRefused
                } else {
                    Counter::RevalidationUnknown
                }
            }
            Err(error) => {
                if error.is_outage() || *error == ResolverError::Overloaded {
                    self.tokens.not_asked(token, now.ticks);
                } else {
                    self.tokens.unconfirmed(token, asked_at, now.ticks);
                }
                Counter::RevalidationFailed
            }
        };
        self.counters.add(counter);
    }
}
