//! What the contexts of one worker share: the engine. It decides; its decisions are performed here.
//!
//! The engine is borrowed once for each report or question, and never while a decision is performed: the host could call
//! back. The time is read once a callback.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

use super::host::{self, Verifier};
use super::metrics::Metrics;
use super::pace::Pace;
use super::wire::HeaderMap;
use gate::engine::{
    Action, Admission, Caller, Decision, Edit, Engine, Env, Gate, OutgoingCall, Reason, Reply,
    Request, edit_headers,
};
use gate::jwks::{Shared, SharedData};
use gate::time::Now;

/// The worker.
#[derive(Debug)]
pub(super) struct Worker {
    root_id: u32,
    /// What distinguishes it from the other workers of the process.
    number: u64,
    verifier: Verifier,
    shared_data: &'static dyn SharedData,
    metrics: Metrics,
    pace: Rc<Pace>,
    engine: RefCell<Engine>,
    entropy: RandomState,
    drawn: Cell<u64>,
}

/// What becomes of a request at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Continue,
    /// It was answered.
    Answered,
    /// It waits, or was answered since.
    Wait,
}

impl Worker {
    pub(super) fn new(
        root_id: u32,
        pace: Rc<Pace>,
        gate: Gate,
        verifier: Verifier,
        shared_data: &'static dyn SharedData,
    ) -> Self {
        let entropy = RandomState::new();
        Self {
            root_id,
            // 0 stands for no worker.
            number: entropy.hash_one(0_u64) | 1,
            verifier,
            shared_data,
            metrics: Metrics::define(),
            engine: RefCell::new(Engine::new(gate, pace.budget())),
            pace,
            entropy,
            drawn: Cell::new(0),
        }
    }

    /// Takes over the keys that other workers, or an earlier configuration, have fetched.
    pub(super) fn start(&self) {
        self.with(host::now(), Engine::start);
    }

    /// Logs once how this worker is set up.
    pub(super) fn announce(&self) {
        let version = env!("CARGO_PKG_VERSION");
        let verifier = match self.verifier {
            Verifier::Host => "the host's cryptography",
            Verifier::Rust => "pure Rust",
        };
        log::info!("authgear-filter {version}: configured; signatures are verified by {verifier}");
    }

    /// A request has come in.
    pub(super) fn request(&self, id: u32) -> Outcome {
        let now = host::now();
        let map = host::request_headers();
        let decided = map.as_ref().and_then(HeaderMap::lines).and_then(|headers| {
            let request = Request::new(&headers);
            let decision = self.with(now, |engine, env| {
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
        self.with_engine(|engine| engine.handle_close(id));
    }

    /// Whether the body and trailers of a request that waited must be paused.
    pub(super) fn is_paused(&self, id: u32) -> bool {
        self.with_engine(|engine| engine.is_paused(id))
            .unwrap_or(true)
    }

    /// Something failed without which a request may not be forwarded: it is answered, unless it was already.
    pub(super) fn fault(&self, id: u32, admission: Option<&Admission>) {
        let reply = self.with_engine(|engine| engine.handle_fault(id, admission));
        send(&reply.unwrap_or_else(fault));
    }

    /// Whether a request waits, and is not answered yet.
    pub(super) fn waits(&self, id: u32) -> bool {
        self.with_engine(|engine| engine.waits(id)).unwrap_or(false)
    }

    /// The cookies that the resolver has for the client of this request.
    pub(super) fn take_cookies(&self, id: u32) -> Vec<String> {
        self.with_engine(|engine| engine.take_cookies(id))
            .unwrap_or_default()
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
        let ours = self.with_engine(|engine| engine.max_body_bytes(token));
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
        let took = self.with(now, |engine, env| {
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
        self.with(now, |engine, env| engine.handle_timeout(in_use, env));
        self.perform(Caller::Root, now);
        host::act_for(self.root_id);
        self.report(now);
    }

    /// Whether there is more to do at once.
    pub(super) fn is_due(&self, now: Now) -> bool {
        self.with_engine(|engine| engine.is_due(now))
            .unwrap_or(false)
    }

    /// Whether tokens can be verified.
    pub(super) fn is_ready(&self, now: Now) -> bool {
        self.with_engine(|engine| engine.is_ready(now))
            .unwrap_or(false)
    }

    /// The worker ends: its part of the gauges is withdrawn, and its leases are released.
    pub(super) fn end(&self) {
        let now = host::now();
        self.report(now);
        self.metrics.withdraw();
        self.with(now, |engine, env| engine.end(env));
    }

    fn perform(&self, caller: Caller, now: Now) {
        let next = || {
            self.with(now, |engine, env| engine.poll_action(caller, env))
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
        if !host::act_for(id) {
            return;
        }
        let map = host::request_headers();
        let headers = map.as_ref().and_then(HeaderMap::lines);
        let edited = headers.is_some_and(|headers| edit(&edit_headers(&headers, admission)));
        if !(edited && host::resume_request()) {
            self.fault(id, Some(admission));
        }
    }

    /// Makes a call as the root, so that no host ends it with the stream of this callback.
    fn call(&self, call: OutgoingCall, now: Now) {
        host::act_for(self.root_id);
        let token = host::dispatch(&call.call);
        self.with(now, |engine, env| {
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
        let counted = self.with_engine(|engine| (Rc::clone(engine.counters()), engine.levels(now)));
        if let Some((counters, levels)) = counted {
            self.metrics.report(&counters, &levels);
        }
    }

    fn with_engine<T>(&self, run: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        Some(run(&mut *self.engine.try_borrow_mut().ok()?))
    }

    fn with<T>(&self, now: Now, run: impl FnOnce(&mut Engine, &Env<'_>) -> T) -> Option<T> {
        let env = Env {
            now,
            entropy: &|| self.draw(),
            verifier: &self.verifier,
            shared: Shared {
                data: self.shared_data,
                worker: self.number,
            },
        };
        self.with_engine(|engine| run(engine, &env))
    }

    /// A number that other workers do not draw at the same time.
    fn draw(&self) -> u64 {
        let drawn = self.drawn.get().wrapping_add(1);
        self.drawn.set(drawn);
        self.entropy.hash_one(drawn)
    }
}

/// Changes the headers of the effective context's request. `false`: the host did not take a change.
fn edit(edits: &[Edit<'_>]) -> bool {
    edits.iter().all(|edit| match edit {
        Edit::Remove(name) => host::remove_request_header(name),
        Edit::Set(name, value) => host::set_request_header(name, value),
    })
}

/// The answer to a request where the filter itself fails.
pub(super) fn fault() -> Reply {
    Reply::new(Reason::Internal, false)
}

pub(super) fn send(reply: &Reply) {
    let (status, reason) = (reply.status(), reply.reason());
    let id = reply.request_id().unwrap_or("-");
    log::debug!("answered {status}: {reason}; request {id}");
    host::reply(reply);
}
