//! What the contexts of one worker share: the engine. It decides; its decisions are performed here. The time is read once a
//! callback.

use std::rc::Rc;

use super::engine_cell::EngineCell;
use super::host::{self, Verifier};
use super::metrics::Metrics;
use super::pace::Pace;
use super::perform::{Outcome, edit, fault, forward, send};
use super::wire::HeaderMap;
use gate::engine::{Action, Admission, Caller, Decision, Engine, Gate, OutgoingCall, Request};
use gate::jwks::SharedData;
use gate::time::Now;

/// The worker.
#[derive(Debug)]
pub(super) struct Worker {
    root_id: u32,
    metrics: Metrics,
    pace: Rc<Pace>,
    engine: EngineCell,
}

impl Worker {
    pub(super) fn new(
        root_id: u32,
        pace: Rc<Pace>,
        gate: Gate,
        verifier: Verifier,
        shared_data: &'static dyn SharedData,
    ) -> Self {
        Self {
            root_id,
            metrics: Metrics::define(),
            engine: EngineCell::new(gate, pace.budget(), verifier, shared_data),
            pace,
        }
    }

    /// Takes over the keys that other workers, or an earlier configuration, have fetched.
    pub(super) fn start(&self) {
        self.engine.report(host::now(), Engine::start);
    }

    /// A request has come in.
    pub(super) fn request(&self, id: u32) -> Outcome {
        let now = host::now();
        let map = host::request_headers();
        let decided = map.as_ref().and_then(HeaderMap::lines).and_then(|headers| {
            let request = Request::new(&headers);
            let decision = self.engine.report(now, |engine, env| {
                engine.handle_request(id, &request, &host::client_address, env)
            })?;
            let edited = edit(&decision.edits(&headers));
            Some((decision, edited))
        });
        match decided {
            Some((Decision::Forward(_), true)) => Outcome::Continue,
            Some((Decision::Forward(admission), false)) => {
                self.fault(id, Some(&admission));
                Outcome::Answered
            }
            Some((Decision::Respond(reply), _)) => {
                send(&reply);
                Outcome::Answered
            }
            Some((Decision::Wait(call), _)) => {
                if let Some(call) = call {
                    self.call(call, now);
                }
                // Where it could not be made, or is for the root to make, the next tick comes soon.
                self.set_pace(now);
                host::act_for(id);
                Outcome::Wait
            }
            None => {
                self.fault(id, None);
                Outcome::Answered
            }
        }
    }

    /// A request has ended. No host call may be made here.
    pub(super) fn close(&self, id: u32) {
        self.engine.ask(|engine| engine.handle_close(id));
    }

    /// Whether the body and trailers of a request that waited must be paused.
    pub(super) fn is_paused(&self, id: u32) -> bool {
        self.engine.ask_or(true, |engine| engine.is_paused(id))
    }

    /// Something failed without which a request may not be forwarded: it is answered, unless it was already.
    pub(super) fn fault(&self, id: u32, admission: Option<&Admission>) {
        let reply = self.engine.ask(|engine| engine.handle_fault(id, admission));
        send(&reply.unwrap_or_else(fault));
    }

    /// Whether a request waits, and is not answered yet.
    pub(super) fn waits(&self, id: u32) -> bool {
        self.engine.ask_or(false, |engine| engine.waits(id))
    }

    /// The cookies that the resolver has for the client of this request.
    pub(super) fn take_cookies(&self, id: u32) -> Vec<String> {
        let no_cookies = Vec::new();
        self.engine
            .ask_or(no_cookies, |engine| engine.take_cookies(id))
    }

    /// Takes the answer to a call, which has come to the root or to the stream that made it: `context_id`. `false`: the
    /// call was not made by this worker.
    pub(super) fn response(
        &self,
        token: u32,
        headers: usize,
        body_size: usize,
        context_id: u32,
    ) -> bool {
        let ours = self.engine.ask(|engine| engine.max_body_bytes(token));
        let Some(max_body_bytes) = ours.flatten() else {
            return false;
        };
        let caller = if context_id == self.root_id {
            Caller::Root
        } else {
            Caller::Request(context_id)
        };
        let now = host::now();
        let answer = host::answer(headers, body_size, max_body_bytes);
        let took = self.engine.report(now, |engine, env| {
            engine.handle_response(token, answer.as_ref(), caller, env)
        });
        if let Some(took) = took.flatten() {
            self.metrics.resolver_answered(took);
        }
        self.perform(caller, now);
        self.set_pace(now);
        host::act_for(context_id);
        true
    }

    /// A tick has come. A worker that is no longer `in_use` completes what it has begun, and begins nothing.
    pub(super) fn tick(&self, in_use: bool) {
        let now = host::now();
        self.engine
            .report(now, |engine, env| engine.handle_timeout(in_use, env));
        self.perform(Caller::Root, now);
        host::act_for(self.root_id);
        self.report(now);
    }

    /// Whether there is more to do at once.
    pub(super) fn is_due(&self, now: Now) -> bool {
        self.engine.ask_or(false, |engine| engine.is_due(now))
    }

    /// Whether tokens can be verified.
    pub(super) fn is_ready(&self, now: Now) -> bool {
        self.engine.ask_or(false, |engine| engine.is_ready(now))
    }

    /// The worker ends: its part of the gauges is withdrawn, and its leases are released.
    pub(super) fn end(&self) {
        let now = host::now();
        self.report(now);
        self.metrics.withdraw();
        self.engine.report(now, |engine, env| engine.end(env));
    }

    fn perform(&self, caller: Caller, now: Now) {
        let next = || {
            self.engine
                .report(now, |engine, env| engine.poll_action(caller, env))
                .flatten()
        };
        while let Some(action) = next() {
            match action {
                Action::Resume(id, admission) => self.resume(id, &admission),
                Action::Respond(id, reply) => {
                    // `false`: the stream has ended, and nothing may be done in the current context instead.
                    if host::act_for(id) {
                        send(&reply);
                    }
                }
                Action::Call(call) => self.call(call, now),
            }
        }
    }

    fn resume(&self, id: u32, admission: &Admission) {
        if host::act_for(id) && !forward(admission) {
            self.fault(id, Some(admission));
        }
    }

    /// Makes a call as the root, so that no host ends it with the stream of this callback.
    fn call(&self, call: OutgoingCall, now: Now) {
        host::act_for(self.root_id);
        let token = host::dispatch(&call.call);
        self.engine.report(now, |engine, env| {
            engine.handle_dispatched(call, token, env)
        });
    }

    fn set_pace(&self, now: Now) {
        if self.is_due(now) {
            self.pace.hurry();
        }
    }

    /// Reports the metrics to the host.
    fn report(&self, now: Now) {
        let counted = self
            .engine
            .ask(|engine| (Rc::clone(engine.counters()), engine.levels(now)));
        if let Some((counters, levels)) = counted {
            self.metrics.report(&counters, &levels);
        }
    }
}
