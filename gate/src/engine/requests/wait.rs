//! Who may wait, for what, and how long.

use super::super::calls::{CALL_GRACE, OutgoingCall};
use super::super::{Event, Need, Pending, Reason, Step};
use super::{Engine, Env};
use crate::session::{
    Boarding, ClientFacts, MAX_CALLS_PER_SESSION, OtherWorker, ResolverError, SessionCredential,
    SharedAnswer, Turn, Verdict,
};
use crate::time::{Ticks, jitter};

impl Engine {
    /// Lets a request wait for what it needs. What is given back is the call that is to be made on its behalf, in its own
    /// callback; the root makes it for a request that has waited before, until `before` at the latest.
    ///
    /// # Errors
    /// It does not wait, and what has become of it instead: no more may, or another worker knows the answer.
    pub(super) fn wait(
        &mut self,
        id: u32,
        pending: Pending,
        client: ClientFacts,
        before: Option<Ticks>,
        env: &Env<'_>,
    ) -> Result<Option<OutgoingCall>, Step> {
        if !self.has_room(&pending, env) {
            return Err(Step::Reply(pending.give_up(Reason::Overloaded)));
        }
        let mut patience = self.gate.patience(&pending).saturating_add(CALL_GRACE);
        let now = env.now.ticks;
        let mut call = None;
        if let Need::Session(credential) = pending.need() {
            let project = pending.project();
            let credential = credential.clone();
            // What there is already is for those who come later only where it is fresh.
            if let Some(other) = self.flights.other(project, &credential)
                && let Some(shared) = self.gate.find(project, &credential, other, env)
            {
                let verdict = self.settle_by(project, &credential, &shared, env);
                if self.gate.is_fresh(project, &shared, env.now) {
                    return Err(self.gate.session_settled(pending, &verdict));
                }
            }
            let boarding =
                self.flights
                    .board(project, &credential, id, client.clone(), patience, now);
            if boarding == Boarding::Join {
                self.tally.add(Event::ResolverCallShared);
            } else if before.is_some()
                || self.is_crowded()
                || self.is_crowded_for(project, &credential)
            {
                // Where requests end before their answers come, places are free only after a while: the root makes the
                // call, if anybody still waits for it then.
                self.flights.leave_to_sweep(project, &credential);
            } else {
                match self.gate.turn(project, &credential, None, env) {
                    Turn::Answered(shared) => {
                        self.flights.land(project, &credential);
                        let verdict = self.take_shared(project, &credential, &shared, env);
                        return Err(self.gate.session_settled(pending, &verdict));
                    }
                    Turn::Wait(since) => {
                        self.wait_for_other(project, &credential, since, None, env);
                    }
                    Turn::Ask => call = self.resolver_call(project, &credential, &client),
                }
            }
            if self.flights.other(project, &credential).is_some() {
                patience = patience.saturating_add(self.gate.resolver_timeout(project));
            }
        }
        let until = match (before, pending.need()) {
            // However often keys are fetched meanwhile.
            (Some(before), Need::Keys(_)) => before,
            _ => now.after(patience),
        };
        self.paused.insert(id);
        self.waiting.insert(id, pending, client, until);
        Ok(call)
    }

    /// Another worker asks: it is waited for, but not for ever.
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
                // Not all who wait for one worker shall ask at the same moment.
                let sooner = jitter(timeout.mul_f64(0.25), (env.entropy)());
                now.after(timeout.saturating_sub(sooner))
            }
        };
        let other = OtherWorker { since, until };
        // Once, however often it is another's turn.
        if self.flights.wait_for(project, credential, other, now) {
            let timeout = self.gate.resolver_timeout(project);
            for request in self.flights.waiting(project, credential) {
                self.waiting.extend(request, timeout);
            }
        }
    }

    /// Takes the answer to another worker's question.
    pub(super) fn take_shared(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        shared: &SharedAnswer,
        env: &Env<'_>,
    ) -> Result<Verdict, ResolverError> {
        self.tally.add(Event::ResolverSharedAnswer);
        let (heard, entropy) = (shared.heard(), (env.entropy)());
        self.gate
            .settled_by(project, credential, heard, env.now, entropy)
    }

    /// Whether one more request may wait for this. Keys and sessions have queues of their own, so that a flood in the one
    /// takes nothing from the other.
    pub(super) fn has_room(&self, pending: &Pending, env: &Env<'_>) -> bool {
        let limit = self.gate.limits().waiting_requests;
        match pending.need() {
            Need::Keys(_) => {
                // The keys are good, and the token names another: perhaps it is new, perhaps it is made up.
                let made_up = self.gate.has_keys(pending.project(), env.now.ticks);
                let limit = if made_up {
                    limit.div_ceil(UNKNOWN_KEY_SHARE)
                } else {
                    limit
                };
                self.waiting.for_keys() < limit
            }
            Need::Session(credential) => {
                let project = pending.project();
                let has_place = || {
                    self.calls.len() < self.max_calls()
                        && !self.flights.is_crowded(project, credential)
                };
                self.waiting.for_sessions() < limit
                    && (self.flights.contains(project, credential) || has_place())
            }
        }
    }

    pub(super) fn max_calls(&self) -> usize {
        let limit = self.gate.limits().waiting_requests;
        limit.saturating_add(MAX_CALLS_BEYOND_WAITING)
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.calls.len() >= self.max_calls() / 2
    }

    /// Whether so many calls are under way for one session that the root makes the next.
    pub(super) fn is_crowded_for(&self, project: usize, credential: &SessionCredential) -> bool {
        self.calls.for_session(project, credential) >= MAX_CALLS_PER_SESSION / 2
    }

    pub(super) fn leave(&mut self, id: u32, pending: &Pending) {
        if let Need::Session(credential) = pending.need() {
            self.flights.leave(pending.project(), credential, id);
        }
    }
}

/// Of the requests that may wait, one in so many may do so for a key that a good set does not have.
const UNKNOWN_KEY_SHARE: usize = 8;

/// So many more calls may be under way than requests may wait for them: those in the background, and those whose requests
/// have ended.
const MAX_CALLS_BEYOND_WAITING: usize = 256;
