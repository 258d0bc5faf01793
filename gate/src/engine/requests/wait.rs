//! Which requests may wait, for what, and how long.

use super::super::calls::{CALL_GRACE, OutgoingCall};
use super::super::{Counter, Reason, Step, WaitFor, WaitingRequest};
use super::{Engine, Env};
use crate::session::{
    ClientFacts, Joined, MAX_CALLS_PER_SESSION, OtherWorker, ResolverError, SessionCredential,
    SharedAnswer, Turn, Verdict,
};
use crate::time::{Ticks, jitter};

impl Engine {
    /// Lets a request wait for keys or a verdict. Returns the call that is to be made on its behalf, in its own callback; for
    /// a request that has waited before, until `before` at the latest, the root makes it.
    ///
    /// # Errors
    /// The request does not wait, and this becomes of it instead: no more may wait, or another worker has the answer.
    pub(super) fn wait(
        &mut self,
        id: u32,
        pending: WaitingRequest,
        client: ClientFacts,
        before: Option<Ticks>,
        env: &Env<'_>,
    ) -> Result<Option<OutgoingCall>, Step> {
        if !self.may_wait(&pending, env) {
            return Err(Step::Reply(pending.give_up(Reason::Overloaded)));
        }
        let mut patience = self.gate.patience(&pending).saturating_add(CALL_GRACE);
        let now = env.now.ticks;
        let mut call = None;
        if let WaitFor::Session(credential) = pending.wait_for() {
            let project = pending.project();
            let credential = credential.clone();
            // A request that comes after another worker's answer may use it only where it is fresh.
            if let Some(other) = self.in_flight.other(project, &credential)
                && let Some(shared) = self.gate.find(project, &credential, other, env)
            {
                let verdict = self.settle_by(project, &credential, &shared, env);
                if self.gate.is_fresh(project, &shared, env.now) {
                    return Err(self.gate.session_settled(pending, &verdict, env.now));
                }
            }
            let joined =
                self.in_flight
                    .join(project, &credential, id, client.clone(), patience, now);
            if joined == Joined::Existing {
                self.counters.add(Counter::ResolverCallShared);
            } else if before.is_some()
                || self.is_crowded(project)
                || self.is_crowded_for(project, &credential)
            {
                // Where requests end before their answers come, their calls count until they time out: the root makes
                // the call, if a request still waits for it then.
                self.in_flight.make_due(project, &credential);
            } else {
                match self.gate.turn(project, &credential, None, env) {
                    Turn::Answered(shared) => {
                        self.in_flight.complete(project, &credential);
                        let verdict = self.take_shared(project, &credential, &shared, env);
                        return Err(self.gate.session_settled(pending, &verdict, env.now));
                    }
                    Turn::Wait(since) => {
                        self.wait_for_other(project, &credential, since, None, env);
                    }
                    Turn::Ask(question) => {
                        call = self.resolver_call(project, &credential, question, &client);
                    }
                }
            }
            if self.in_flight.other(project, &credential).is_some() {
                patience = patience.saturating_add(self.gate.resolver_timeout(project));
            }
        }
        let until = match (before, pending.wait_for()) {
            // However often keys are fetched meanwhile.
            (Some(before), WaitFor::Keys(_)) => before,
            _ => now.after(patience),
        };
        self.paused.insert(id);
        self.waiting.insert(id, pending, client, until);
        Ok(call)
    }

    /// Another worker asks: this one waits for it, for a bounded time.
    pub(super) fn wait_for_other(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        since: Ticks,
        before: Option<OtherWorker>,
        env: &Env<'_>,
    ) {
        let now = env.now.ticks;
        let until = match before {
            Some(other) => other.until,
            None => {
                let timeout = self.gate.resolver_timeout(project);
                // Workers that wait for the same one do not all ask at the same moment.
                let sooner = jitter(timeout.mul_f64(0.25), (env.entropy)());
                now.after(timeout.saturating_sub(sooner))
            }
        };
        let other = OtherWorker { since, until };
        // Once, however often it is another's turn.
        if self.in_flight.wait_for(project, credential, other, now) {
            let timeout = self.gate.resolver_timeout(project);
            for request in self.in_flight.waiting(project, credential) {
                self.waiting.extend(request, timeout);
            }
        }
    }

    /// Uses the answer to another worker's question.
    pub(super) fn take_shared(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        shared: &SharedAnswer,
        env: &Env<'_>,
    ) -> Result<Verdict, ResolverError> {
        self.counters.add(Counter::ResolverSharedAnswer);
        let said = self
            .gate
            .read_verdict(project, credential, Some(&shared.answer));
        let (heard, entropy) = (shared.heard(), (env.entropy)());
        self.gate
            .settled_by(project, credential, said, heard, env.now, entropy)
    }

    /// Whether one more request may wait for this. Each project has limits of its own, and keys and sessions have, so that a
    /// flood of the one does not affect the other.
    pub(super) fn may_wait(&self, pending: &WaitingRequest, env: &Env<'_>) -> bool {
        let limit = self.gate.limits().waiting_requests;
        match pending.wait_for() {
            WaitFor::Keys(_) => {
                // The keys are current, and the token names another: it may be new, or made up.
                let made_up = self.gate.has_keys(pending.project(), env.now.ticks);
                let limit = if made_up {
                    limit.div_ceil(UNKNOWN_KEY_SHARE)
                } else {
                    limit
                };
                self.waiting.for_keys(pending.project()) < limit
            }
            WaitFor::Session(credential) => {
                let project = pending.project();
                let may_call = || {
                    self.calls.of(project) < self.max_calls()
                        && !self.in_flight.is_crowded(project, credential)
                };
                self.waiting.for_sessions(project) < limit
                    && (self.in_flight.contains(project, credential) || may_call())
            }
        }
    }

    /// How many calls a project may have under way.
    pub(super) fn max_calls(&self) -> usize {
        let limit = self.gate.limits().waiting_requests;
        limit.saturating_add(MAX_CALLS_BEYOND_WAITING)
    }

    pub(super) fn is_crowded(&self, project: usize) -> bool {
        self.calls.of(project) >= self.max_calls() / 2
    }

    /// Whether so many calls are in flight for one session that the root makes the next.
    pub(super) fn is_crowded_for(&self, project: usize, credential: &SessionCredential) -> bool {
        self.calls.for_session(project, credential) >= MAX_CALLS_PER_SESSION / 2
    }

    pub(super) fn cancel(&mut self, id: u32, pending: &WaitingRequest) {
        if let WaitFor::Session(credential) = pending.wait_for() {
            self.in_flight.cancel(pending.project(), credential, id);
        }
    }
}

/// One in so many of the requests that may wait may do so for a key that a current set does not have.
const UNKNOWN_KEY_SHARE: usize = 8;

/// So many more calls may be under way than requests may wait: background calls, and those whose requests have ended.
const MAX_CALLS_BEYOND_WAITING: usize = 256;
