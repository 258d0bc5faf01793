//! The engine: what happens to requests and calls, in the order in which the host tells of it.
//!
//! It is told what happened (`handle_…`) and asked what to do ([`Engine::poll_action`]). All that is remembered between two
//! callbacks of the host is here: who waits for what, which calls are under way and for whom, what is relayed to whom.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::calls::{CALL_GRACE, Calls, OutgoingCall, Purpose, UnderWay};
use super::{
    Admission, Budget, Edit, Event, Gate, KeyEvent, Levels, Need, Pending, Reason, Reply, Request,
    Settled, Step, Tally, WaitingRequests, edit_headers,
};
use crate::callout::Answer;
use crate::credential::Headers;
use crate::jose::SignatureVerifier;
use crate::jwks::{Fetch, Shared};
use crate::session::{
    Boarding, Booking, ClientFacts, DueCall, Ended, Flights, Heard, MAX_CALLS_PER_SESSION,
    OtherWorker, ResolverError, SessionCredential, SharedAnswer, Turn, Verdict,
};
use crate::time::{Now, Ticks};

/// What the engine is handed with everything that it is told.
#[derive(Clone, Copy)]
pub struct Env<'e> {
    /// The time of this callback.
    pub now: Now,
    /// A number that nobody can foresee, and no other worker draws.
    pub entropy: &'e dyn Fn() -> u64,
    /// Who verifies signatures.
    pub verifier: &'e dyn SignatureVerifier,
    /// What workers share.
    pub shared: Shared<'e>,
}

/// What becomes of a request at once.
#[derive(Debug)]
pub enum Decision {
    /// It goes on to the backend.
    Forward(Admission),
    /// It is answered here.
    Respond(Reply),
    /// It waits; if it is the first to wait for its answer, this call is to be made on its behalf.
    Wait(Option<OutgoingCall>),
}

/// What the host is to do next.
#[derive(Debug)]
pub enum Action {
    /// Let a request that has waited go on to the backend.
    Resume(u32, Admission),
    /// Answer a request that has waited.
    Respond(u32, Reply),
    /// Make a call.
    Call(OutgoingCall),
}

/// Whose callback it is that asks for actions.
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
    tally: Rc<Tally>,
    budget: Budget,
    waiting: WaitingRequests,
    flights: Flights<u32>,
    calls: Calls,
    /// Fetches of keys that the root is to make.
    fetches: VecDeque<(usize, Fetch)>,
    /// Requests whose headers were paused, until they are resumed.
    paused: HashSet<u32>,
    /// Cookies of the resolver's, by the requests of the clients they are for.
    cookies: HashMap<u32, Vec<String>>,
}

impl Decision {
    /// What is to be changed in the headers: what is not forwarded is logged all the same, by no name that the client gave
    /// itself.
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
            tally: Rc::clone(gate.tally()),
            gate,
            budget,
            waiting: WaitingRequests::default(),
            flights: Flights::default(),
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

    /// It ends: other workers may fetch at once what it was about to.
    pub fn end(&mut self, shared: Shared<'_>) {
        self.gate.release_keys(shared);
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
        self.book_background_calls(env);
        let ended = match step {
            Step::Wait(pending) => {
                let client = ClientFacts::new(request.headers(), address());
                match self.wait(id, pending, client, true, env) {
                    Ok(call) => return Decision::Wait(call),
                    Err(ended) => ended,
                }
            }
            ended => ended,
        };
        match self.conclude(id, ended) {
            Ok(admission) => Decision::Forward(admission),
            Err(reply) => Decision::Respond(reply),
        }
    }

    /// The host could not do what was decided: the request goes nowhere, and is answered so. `admission`: it was to go on
    /// to the backend, and does not.
    #[must_use]
    pub fn handle_fault(&mut self, id: u32, admission: Option<&Admission>) -> Reply {
        if let Some(admission) = admission {
            self.tally.take_back(Event::from(admission));
        }
        self.handle_close(id);
        // What follows its headers goes nowhere either.
        self.paused.insert(id);
        self.reply(id, Reply::new(Reason::Internal, false))
    }

    /// A request has ended, answered or not.
    pub fn handle_close(&mut self, id: u32) {
        if let Some((pending, _)) = self.waiting.remove(id) {
            self.leave(id, &pending);
        }
        self.paused.remove(&id);
        self.cookies.remove(&id);
    }

    /// Whether what follows a request's headers must be held back.
    #[must_use]
    pub fn holds(&self, id: u32) -> bool {
        self.paused.contains(&id)
    }

    /// Whether a request waits, and is not answered yet.
    #[must_use]
    pub fn waits(&self, id: u32) -> bool {
        self.waiting.contains(id)
    }

    /// The host was told to make a call: it answers with a token, or could not.
    pub fn handle_dispatched(&mut self, call: OutgoingCall, token: Option<u32>, env: &Env<'_>) {
        let OutgoingCall { call, purpose } = call;
        match token {
            Some(token) => {
                if let Purpose::Session { .. } = purpose {
                    self.tally.add(Event::ResolverCall);
                }
                self.calls
                    .insert(token, purpose, call.timeout, env.now.ticks);
            }
            None => self.unanswered(purpose, env),
        }
    }

    /// The longest body that is looked at of the answer to this call, in bytes. `None`: it is not of this engine.
    #[must_use]
    pub fn max_body_bytes(&self, token: u32) -> Option<usize> {
        self.calls.purpose(token).map(Purpose::max_body_bytes)
    }

    /// An answer has come; `None`: the call has ended without one. How long the resolver took, if it was asked.
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
        if let Purpose::Session { project, .. } = &purpose {
            let time = env.now.ticks.since(since);
            took = Some(time);
            let policy = self.gate.session_policy(*project);
            ended_early = policy.is_some_and(|policy| time < policy.timeout);
            // The root is nobody's client.
            if let Caller::Request(id) = caller {
                self.keep_cookies(id, *project, answer);
            }
        }
        let heard = Heard {
            answer,
            asked_at: since,
        };
        self.answered(purpose, heard, ended_early, env);
        took
    }

    /// Time has passed. An engine that is not `in_use` any more ends what it has begun, and begins nothing but what its requests
    /// wait for.
    pub fn handle_timeout(&mut self, in_use: bool, env: &Env<'_>) {
        self.calls.give_up_lost(env.now.ticks);
        // Who waits for a fetch that was not made before was promised one.
        let may_fetch = in_use || self.waiting.for_keys() > 0;
        for (project, polled) in self.gate.poll_keys(env.shared, may_fetch, env.now) {
            if polled.settled {
                self.waiting.settle_keys(project, false);
            }
            self.fetches
                .extend(polled.fetch.map(|fetch| (project, fetch)));
        }
    }

    /// What is to be done now, if anything, and if it may be before the next tick.
    pub fn poll_action(&mut self, caller: Caller, env: &Env<'_>) -> Option<Action> {
        while self.can_go_on(caller, env.now) && self.budget.take_one() {
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
            || self.flights.is_due_soon(now.ticks)
    }

    /// The cookies that the resolver has for the client of this request.
    pub fn take_cookies(&mut self, id: u32) -> Vec<String> {
        self.cookies.remove(&id).unwrap_or_default()
    }

    /// What was done, counted.
    #[must_use]
    pub fn tally(&self) -> &Rc<Tally> {
        &self.tally
    }

    /// How things stand.
    #[must_use]
    pub fn levels(&mut self, now: Now) -> Levels {
        Levels {
            waiting_requests: self.waiting.len(),
            resolver_calls: self.flights.len(),
            ..self.gate.levels(now)
        }
    }

    fn has_calls_to_make(&self, now: Now) -> bool {
        !self.fetches.is_empty() || self.flights.is_due(now.ticks)
    }

    fn can_go_on(&self, caller: Caller, now: Now) -> bool {
        self.waiting.is_due(now.ticks) || (caller == Caller::Root && self.has_calls_to_make(now))
    }

    fn next_action(&mut self, caller: Caller, env: &Env<'_>) -> Option<Action> {
        if let Some(settled) = self.waiting.next_settled() {
            return self.go_on(settled, env);
        }
        if let Some((id, pending)) = self.waiting.next_overdue(env.now.ticks) {
            self.leave(id, &pending);
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
        self.next_flight(env).map(Action::Call)
    }

    /// Goes on with a request whose wait is over. `None`: it waits for something else now.
    fn go_on(&mut self, settled: Settled, env: &Env<'_>) -> Option<Action> {
        let Settled {
            request: id,
            pending,
            client,
            outcome,
        } = settled;
        let step = self.gate.settled(pending, &outcome, env.now, env.verifier);
        self.book_background_calls(env);
        let ended = match step {
            // An answer to a call made here would go to whoever's callback this is: the root makes it instead.
            Step::Wait(pending) => match self.wait(id, pending, client, false, env) {
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

    /// The end of every request: it is counted, and goes on to the backend or is answered.
    fn conclude(&mut self, id: u32, ended: Step) -> Result<Admission, Reply> {
        match ended {
            Step::Forward(admission) => {
                self.tally.add(Event::from(&admission));
                Ok(admission)
            }
            Step::Reply(reply) => Err(self.reply(id, reply)),
            // Whoever waits has not ended.
            Step::Wait(pending) => Err(self.reply(id, pending.give_up(Reason::Internal))),
        }
    }

    /// An answer of the filter's takes along what the resolver has for the client.
    fn reply(&mut self, id: u32, reply: Reply) -> Reply {
        self.tally.add(Event::from(reply.reason()));
        match self.cookies.remove(&id) {
            Some(cookies) => reply.with_cookies(cookies),
            None => reply,
        }
    }

    /// Lets a request wait for what it needs. What is given back is the call that is to be made on its behalf, in its own
    /// callback, if this is that (`leads`); else the root makes it.
    ///
    /// # Errors
    /// It does not wait, and what has become of it instead: no more may, or another worker knows the answer.
    fn wait(
        &mut self,
        id: u32,
        pending: Pending,
        client: ClientFacts,
        leads: bool,
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
            let boarding =
                self.flights
                    .board(project, &credential, id, client.clone(), patience, now);
            if boarding == Boarding::Join {
                self.tally.add(Event::ResolverCallShared);
            } else if !leads || self.is_crowded() || self.is_crowded_for(project, &credential) {
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
            if self.flights.waits_for_other(project, &credential) {
                patience = patience.saturating_add(self.gate.resolver_timeout(project));
            }
        }
        self.paused.insert(id);
        self.waiting
            .insert(id, pending, client, now.after(patience));
        Ok(call)
    }

    /// Another worker asks: it is waited for, but not for ever.
    fn wait_for_other(
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
            None => now.after(self.gate.resolver_timeout(project)),
        };
        let other = OtherWorker { since, until };
        self.flights.wait_for(project, credential, other, now);
    }

    /// Takes the answer to another worker's question.
    fn take_shared(
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
    fn has_room(&self, pending: &Pending, env: &Env<'_>) -> bool {
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

    fn max_calls(&self) -> usize {
        let limit = self.gate.limits().waiting_requests;
        limit.saturating_add(MAX_CALLS_BEYOND_WAITING)
    }

    fn is_crowded(&self) -> bool {
        self.calls.len() >= self.max_calls() / 2
    }

    /// Whether so many calls are under way for one session that the root makes the next.
    fn is_crowded_for(&self, project: usize, credential: &SessionCredential) -> bool {
        self.calls.for_session(project, credential) >= MAX_CALLS_PER_SESSION / 2
    }

    fn leave(&mut self, id: u32, pending: &Pending) {
        if let Need::Session(credential) = pending.need() {
            self.flights.leave(pending.project(), credential, id);
        }
    }

    /// A call was not made, or could not be.
    fn unanswered(&mut self, purpose: Purpose, env: &Env<'_>) {
        let heard = Heard {
            answer: None,
            asked_at: env.now.ticks,
        };
        self.answered(purpose, heard, false, env);
    }

    /// A call has ended. `ended_early`: it was made, and that was before its time was over.
    fn answered(&mut self, purpose: Purpose, heard: Heard<'_>, ended_early: bool, env: &Env<'_>) {
        let entropy = (env.entropy)();
        match purpose {
            Purpose::Keys { project, fetch } => {
                let gate = &mut self.gate;
                match gate.fetched(project, fetch, heard.answer, env.shared, env.now, entropy) {
                    KeyEvent::Follow(fetch) => self.fetches.push_back((project, fetch)),
                    KeyEvent::Settled => self.waiting.settle_keys(project, true),
                    KeyEvent::Late => {}
                }
            }
            Purpose::Session {
                project,
                credential,
            } => {
                let of_token = matches!(credential, SessionCredential::Jwt(_));
                if of_token && !self.flights.contains(project, &credential) {
                    // It was given up, and that was its outcome.
                    return;
                }
                let ended = Ended {
                    user: self.gate.known_user(project, &credential),
                    early: ended_early,
                    now: env.now.ticks,
                    entropy,
                };
                let failed = || Verdict::read(heard.answer).err();
                if self.flights.try_again(project, &credential, failed, ended) {
                    self.tally.add(Event::ResolverFailure);
                    return;
                }
                let gate = &mut self.gate;
                let verdict = gate.resolved(project, &credential, heard, env, entropy);
                let waited = self.flights.land(project, &credential);
                self.waiting.settle_sessions(waited, verdict);
            }
        }
    }

    /// Schedules the calls that nobody waits for: the root makes them.
    fn book_background_calls(&mut self, env: &Env<'_>) {
        for (project, credential) in self.gate.take_errands() {
            let booking = self.flights.book(project, credential.clone());
            if booking == Booking::Full {
                self.tally.add(Event::BackgroundCallDropped);
            }
            // A token that is being asked about already has one outcome, and this is the other.
            let of_token = matches!(credential, SessionCredential::Jwt(_));
            if booking == Booking::Full || (booking == Booking::Joined && of_token) {
                self.gate.give_up_call(project, &credential, env.now);
            }
        }
    }

    /// A call that was scheduled, or one again whose answer is lost, as its request has ended before.
    fn next_flight(&mut self, env: &Env<'_>) -> Option<OutgoingCall> {
        let gate = &self.gate;
        let patience = |project| gate.resolver_patience(project);
        let now = env.now.ticks;
        let swept = self.flights.sweep(now, 1, patience).pop();
        for (project, credential) in self.flights.take_lost() {
            self.gate.give_up_call(project, &credential, env.now);
        }
        let DueCall {
            project,
            credential,
            client,
            other,
        } = swept?;
        if !self.gate.spares_resolver(project, env.now) {
            match self.gate.turn(project, &credential, other, env) {
                Turn::Answered(shared) => {
                    let verdict = self.take_shared(project, &credential, &shared, env);
                    let waited = self.flights.land(project, &credential);
                    self.waiting.settle_sessions(waited, verdict);
                    return None;
                }
                Turn::Wait(since) => {
                    self.wait_for_other(project, &credential, since, other, env);
                    return None;
                }
                Turn::Ask => {}
            }
            if let Some(call) = self.resolver_call(project, &credential, &client) {
                return Some(call);
            }
        }
        let waited = self.flights.land(project, &credential);
        let awaited = !waited.is_empty();
        let gate = &mut self.gate;
        let verdict = gate.not_asked(project, &credential, awaited, env.now);
        self.waiting.settle_sessions(waited, verdict);
        self.book_background_calls(env);
        None
    }

    fn resolver_call(
        &self,
        project: usize,
        credential: &SessionCredential,
        client: &ClientFacts,
    ) -> Option<OutgoingCall> {
        let settings = self.gate.project(project)?;
        let policy = settings.session.as_ref()?;
        Some(OutgoingCall {
            call: credential.call(&settings.endpoint, policy, client),
            purpose: Purpose::Session {
                project,
                credential: credential.clone(),
            },
        })
    }

    /// Keeps what the resolver has for the client whose request made the call, if it still waits.
    fn keep_cookies(&mut self, id: u32, project: usize, answer: Option<&Answer>) {
        if self.waiting.contains(id) {
            let cookies = self.gate.cookies_to_relay(project, answer);
            if !cookies.is_empty() {
                self.cookies.insert(id, cookies);
            }
        }
    }
}

/// Of the requests that may wait, one in so many may do so for a key that a good set does not have.
const UNKNOWN_KEY_SHARE: usize = 8;

/// So many more calls may be under way than requests may wait for them: those in the background, and those whose requests
/// have ended.
const MAX_CALLS_BEYOND_WAITING: usize = 256;
