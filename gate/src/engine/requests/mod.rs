//! The engine: what happens to requests and calls, in the order in which the host reports it.
//!
//! The host reports what happened (`handle_…`) and asks what to do ([`Engine::poll_action`]). All state between two
//! callbacks of the host is here: who waits for what, which calls are under way and for whom, what is relayed to whom.

mod answers;
mod wait;

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::calls::{Calls, OutgoingCall, Purpose, UnderWay};
use super::{
    Admission, Budget, Counter, Counters, Edit, Gate, Levels, Reason, Reply, Request, Settled,
    Step, WaitingRequests, edit_headers,
};
use crate::callout::{Answer, DispatchError};
use crate::credential::Headers;
use crate::jose::SignatureVerifier;
use crate::jwks::{Fetch, Shared};
use crate::session::{ClientFacts, Heard, InFlightCalls};
use crate::time::Now;

/// What the host passes to the engine with every report.
#[derive(Clone, Copy)]
pub struct Env<'e> {
    /// The time of this callback.
    pub now: Now,
    /// An unpredictable number, which no other worker draws.
    pub entropy: &'e dyn Fn() -> u64,
    /// What verifies signatures.
    pub verifier: &'e dyn SignatureVerifier,
    /// The data that workers share.
    pub shared: Shared<'e>,
}

/// What becomes of a request at once.
#[derive(Debug)]
pub enum Decision {
    /// It is forwarded to the backend.
    Forward(Admission),
    /// It is answered here.
    Respond(Reply),
    /// It waits; if it is the first to wait for its answer, this call is to be made on its behalf.
    Wait(Option<OutgoingCall>),
}

/// What the host is to do next.
#[derive(Debug)]
pub enum Action {
    /// Forward a request that has waited to the backend.
    Resume(u32, Admission),
    /// Answer a request that has waited.
    Respond(u32, Reply),
    /// Make a call.
    Call(OutgoingCall),
}

/// In whose callback the host asks for actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The root's: answers to calls made here are never lost.
    Root,
    /// A request's. The SDK drops answers to calls made here once the request has ended.
    Request(u32),
}

/// The engine of one worker.
#[derive(Debug)]
pub struct Engine {
    gate: Gate,
    counters: Rc<Counters>,
    budget: Budget,
    waiting: WaitingRequests,
    in_flight: InFlightCalls,
    calls: Calls,
    /// Fetches of keys that the root is to make.
    fetches: VecDeque<(usize, Fetch)>,
    /// Requests whose headers were paused, until they are resumed.
    paused: HashSet<u32>,
    /// The resolver's cookies, by the requests of the clients they are for.
    cookies: HashMap<u32, Vec<String>>,
}

impl Decision {
    /// What is to be changed in the headers. Requests that are not forwarded are edited, too: Envoy logs them, and no name
    /// that the client gave itself may get there.
    #[must_use]
    pub fn edits<'h>(&'h self, headers: &'h Headers<'h>) -> Vec<Edit<'h>> {
        match self {
            Self::Forward(admission) => edit_headers(headers, admission),
            Self::Respond(_) | Self::Wait(_) => edit_headers(headers, &Admission::Unchecked),
        }
    }
}

impl Engine {
    /// An engine around this gate. Engines whose callbacks a host may nest share a budget.
    #[must_use]
    pub fn new(gate: Gate, budget: Budget) -> Self {
        Self {
            counters: Rc::clone(gate.counters()),
            gate,
            budget,
            waiting: WaitingRequests::default(),
            in_flight: InFlightCalls::default(),
            calls: Calls::default(),
            fetches: VecDeque::new(),
            paused: HashSet::new(),
            cookies: HashMap::new(),
        }
    }

    /// Takes over the keys that other workers, or an earlier configuration, have fetched.
    pub fn start(&mut self, env: &Env<'_>) {
        self.gate.poll_keys(env.shared, false, env.now);
    }

    /// The engine ends: other workers may at once fetch and ask what it was about to.
    pub fn end(&mut self, env: &Env<'_>) {
        self.gate.release_keys(env.shared);
        for (project, credential) in self.in_flight.keys() {
            self.gate.release(*project, credential, env.shared, env.now);
        }
    }

    /// A request has come in. `address`: its client's, as the gateway sees it; asked for only where a call is made.
    pub fn handle_request(
        &mut self,
        id: u32,
        request: &Request<'_>,
        address: &dyn Fn() -> Option<String>,
        env: &Env<'_>,
    ) -> Decision {
        let step = self.gate.enter(request, env.now, env.verifier);
        self.schedule_background_calls(env);
        let ended = match step {
            Step::Wait(mut pending) => {
                pending.keep_id(request.id());
                let client = ClientFacts::new(request.headers(), address());
                match self.wait(id, pending, client, None, env) {
                    Ok(call) => return Decision::Wait(call),
                    Err(ended) => ended,
                }
            }
            ended => ended,
        };
        match self.conclude(id, ended) {
            Ok(admission) => Decision::Forward(admission),
            Err(reply) => Decision::Respond(reply.to(request.id())),
        }
    }

    /// The host could not perform a decision: the request is refused. `admission`: it was to be forwarded, and is not.
    #[must_use]
    pub fn handle_fault(&mut self, id: u32, admission: Option<&Admission>) -> Reply {
        if let Some(admission) = admission {
            self.counters.take_back(Counter::from(admission));
        }
        self.handle_close(id);
        // Its body and trailers are not forwarded either.
        self.paused.insert(id);
        self.reply(id, Reply::new(Reason::Internal, false))
    }

    /// A request has ended, answered or not.
    pub fn handle_close(&mut self, id: u32) {
        if let Some(pending) = self.waiting.remove(id) {
            self.cancel(id, &pending);
        }
        self.paused.remove(&id);
        self.cookies.remove(&id);
    }

    /// Whether a request's body and trailers must be paused.
    #[must_use]
    pub fn is_paused(&self, id: u32) -> bool {
        self.paused.contains(&id)
    }

    /// Whether a request waits, and is not answered yet.
    #[must_use]
    pub fn waits(&self, id: u32) -> bool {
        self.waiting.contains(id)
    }

    /// The host was to make a call: it has, and gives its token, or could not.
    pub fn handle_dispatched(
        &mut self,
        call: OutgoingCall,
        token: Result<u32, DispatchError>,
        env: &Env<'_>,
    ) {
        let OutgoingCall { call, purpose } = call;
        match token {
            Ok(token) => {
                if let Purpose::Session { .. } = purpose {
                    self.counters.add(Counter::ResolverCall);
                }
                self.calls
                    .insert(token, purpose, call.timeout, env.now.ticks);
            }
            Err(error) => self.not_sent(purpose, error, env),
        }
    }

    /// The longest body that is read of the answer to this call, in bytes. `None`: the call is not this engine's.
    #[must_use]
    pub fn max_body_bytes(&self, token: u32) -> Option<usize> {
        self.calls.purpose(token).map(Purpose::max_body_bytes)
    }

    /// An answer has come; `None`: the call has ended without one. Returns how long the resolver took, if it was asked.
    pub fn handle_response(
        &mut self,
        token: u32,
        answer: Option<&Answer>,
        caller: Caller,
        env: &Env<'_>,
    ) -> Option<Duration> {
        let UnderWay { purpose, since, .. } = self.calls.remove(token)?;
        let mut took = None;
        let mut ended_early = false;
        if let Purpose::Session {
            project,
            credential,
            ..
        } = &purpose
        {
            let time = env.now.ticks.since(since);
            took = Some(time);
            let policy = self.gate.session_policy(*project);
            ended_early = policy.is_some_and(|policy| time < policy.timeout);
            // A call of the root's has no client.
            if let Caller::Request(id) = caller {
                self.keep_cookies(id, *project, credential, answer);
            }
        }
        let heard = Heard {
            answer,
            asked_at: since,
        };
        self.answered(purpose, heard, Ok(ended_early), env);
        took
    }

    /// Time has passed. An engine that is no longer `in_use` completes what it has begun, and begins only what its requests
    /// wait for.
    pub fn handle_timeout(&mut self, in_use: bool, env: &Env<'_>) {
        self.calls.give_up_lost(env.now.ticks);
        for (project, credential) in self.in_flight.take_abandoned() {
            // Unless it has been asked again since.
            if !self.in_flight.contains(project, &credential) {
                self.gate.release(project, &credential, env.shared, env.now);
            }
        }
        // Requests that wait for keys need a fetch, even in an engine that is no longer in use.
        let may_fetch = in_use || self.waiting.any_for_keys();
        for (project, polled) in self.gate.poll_keys(env.shared, may_fetch, env.now) {
            if polled.fetch_ended {
                self.waiting.settle_keys(project, false);
            }
            self.fetches
                .extend(polled.fetch.map(|fetch| (project, fetch)));
        }
    }

    /// The next action, if there is one, and if it may be performed before the next tick.
    pub fn poll_action(&mut self, caller: Caller, env: &Env<'_>) -> Option<Action> {
        while self.can_proceed(caller, env.now) && self.budget.take_one() {
            let action = self.next_action(caller, env);
            if action.is_some() {
                return action;
            }
        }
        None
    }

    /// Whether there is something to be done that [`Engine::poll_action`] leaves to the next tick.
    #[must_use]
    pub fn is_due(&self, now: Now) -> bool {
        self.waiting.is_due(now.ticks)
            || self.has_calls_to_make(now)
            || self.in_flight.is_due_soon(now.ticks)
    }

    /// The cookies that the resolver has for the client of this request.
    pub fn take_cookies(&mut self, id: u32) -> Vec<String> {
        self.cookies.remove(&id).unwrap_or_default()
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Rc<Counters> {
        &self.counters
    }

    /// Whether tokens can be verified: those of a project at least, whose keys are there, and not too old.
    #[must_use]
    pub fn is_ready(&self, now: Now) -> bool {
        self.gate.is_ready(now.ticks)
    }

    /// The values of the gauges.
    #[must_use]
    pub fn levels(&mut self, now: Now) -> Levels {
        Levels {
            waiting_requests: self.waiting.len(),
            resolver_calls: self.in_flight.len(),
            ..self.gate.levels(now)
        }
    }

    fn has_calls_to_make(&self, now: Now) -> bool {
        !self.fetches.is_empty() || self.in_flight.is_due(now.ticks)
    }

    fn can_proceed(&self, caller: Caller, now: Now) -> bool {
        self.waiting.is_due(now.ticks) || (caller == Caller::Root && self.has_calls_to_make(now))
    }

    fn next_action(&mut self, caller: Caller, env: &Env<'_>) -> Option<Action> {
        if let Some(settled) = self.waiting.next_settled() {
            return self.proceed(settled, env);
        }
        if let Some((id, pending)) = self.waiting.next_overdue(env.now.ticks) {
            self.cancel(id, &pending);
            let reply = pending.give_up(Reason::TimedOut);
            return Some(Action::Respond(id, self.reply(id, reply)));
        }
        if caller != Caller::Root {
            return None;
        }
        if let Some((project, Fetch { id: fetch, call })) = self.fetches.pop_front() {
            let purpose = Purpose::Keys { project, fetch };
            return Some(Action::Call(OutgoingCall { call, purpose }));
        }
        self.next_call(env).map(Action::Call)
    }

    /// Proceeds with a request whose wait is over. `None`: it waits for something else now.
    fn proceed(&mut self, settled: Settled, env: &Env<'_>) -> Option<Action> {
        let Settled {
            request: id,
            pending,
            client,
            until,
            outcome,
        } = settled;
        let step = self.gate.settled(pending, &outcome, env.now, env.verifier);
        self.schedule_background_calls(env);
        let ended = match step {
            // The answer to a call made here would belong to the request of this callback: the root makes the call instead.
            Step::Wait(pending) => match self.wait(id, pending, client, Some(until), env) {
                Ok(call) => return call.map(Action::Call),
                Err(ended) => ended,
            },
            ended => ended,
        };
        Some(match self.conclude(id, ended) {
            Ok(admission) => {
                self.paused.remove(&id);
                Action::Resume(id, admission)
            }
            Err(reply) => Action::Respond(id, reply),
        })
    }

    /// The end of every request: it is counted, and forwarded or answered.
    fn conclude(&mut self, id: u32, ended: Step) -> Result<Admission, Reply> {
        match ended {
            Step::Forward(admission) => {
                self.counters.add(Counter::from(&admission));
                Ok(admission)
            }
            Step::Reply(reply) => Err(self.reply(id, reply)),
            // A request that waits has not ended.
            Step::Wait(pending) => Err(self.reply(id, pending.give_up(Reason::Internal))),
        }
    }

    /// The filter's answer to a request, with the resolver's cookies for the client.
    fn reply(&mut self, id: u32, reply: Reply) -> Reply {
        self.counters.add(Counter::from(reply.reason()));
        match self.cookies.remove(&id) {
            Some(cookies) => reply.with_cookies(cookies),
            None => reply,
        }
    }
}
