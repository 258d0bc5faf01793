//! What the contexts of one worker share: the gate, the requests that wait, and the calls that are under way.
//!
//! No borrow is held across a host call that could come back: decisions are taken first, told to the host afterwards.

mod calls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::time::Duration;

use super::host::{self, Verifier};
use super::metrics::Metrics;
use super::pace::Pace;
use super::wire::HeaderMap;
use calls::{Calls, Lead, client_facts};
use gate::credential::Headers;
use gate::engine::{
    Admission, Edit, Event, Gate, Need, Outcome, Pending, Reason, Reply, Request, Step, Tally,
    WaitingRequests, edit_headers,
};
use gate::jwks::{Shared, SharedData};
use gate::session::{Boarding, Flights};
use gate::time::Now;

/// How much longer than its call a request waits: the host keeps the time of the call, a tick that of the request.
const PATIENCE: Duration = Duration::from_millis(500);

/// The worker.
#[derive(Debug)]
pub(super) struct Worker {
    root_id: u32,
    /// What tells it from the other workers of the process.
    number: u64,
    verifier: Verifier,
    shared_data: &'static dyn SharedData,
    metrics: Metrics,
    pace: Rc<Pace>,
    tally: Rc<Tally>,
    gate: RefCell<Gate>,
    waiting: RefCell<WaitingRequests>,
    flights: RefCell<Flights<u32>>,
    calls: RefCell<Calls>,
    /// Whether the streams that wait have been resumed, by their contexts.
    resumed: RefCell<HashMap<u32, Rc<Cell<bool>>>>,
    /// Cookies of the resolver's, by the contexts of the clients they are for.
    cookies: RefCell<HashMap<u32, Vec<String>>>,
    entropy: RandomState,
    drawn: Cell<u64>,
}

/// What a stream tells the host at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Continue,
    Pause,
}

impl Told {
    /// The filter cannot do its work: the request goes nowhere.
    pub(super) fn fault() -> Self {
        send(&fault());
        Self::Pause
    }
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
            // 0 is nobody's.
            number: entropy.hash_one(0_u64) | 1,
            verifier,
            shared_data,
            metrics: Metrics::define(),
            pace,
            tally: Rc::clone(gate.tally()),
            gate: RefCell::new(gate),
            waiting: RefCell::default(),
            flights: RefCell::default(),
            calls: RefCell::default(),
            resumed: RefCell::default(),
            cookies: RefCell::default(),
            entropy,
            drawn: Cell::new(0),
        }
    }

    /// Takes over the keys that other workers, or an earlier configuration, have fetched.
    pub(super) fn start(&self) {
        if let Ok(mut gate) = self.gate.try_borrow_mut() {
            gate.poll_keys(self.shared(), false, host::now());
        }
    }

    /// Says once how this worker works.
    pub(super) fn announce(&self) {
        let version = env!("CARGO_PKG_VERSION");
        let verifier = match self.verifier {
            Verifier::Host => "the host's cryptography",
            Verifier::Rust => "pure Rust",
        };
        log::info!("authgear-filter {version}: configured; signatures are verified by {verifier}");
    }

    /// A request has come in. `resumed` is set if it waits, and once it may go on.
    pub(super) fn enter(&self, context_id: u32, resumed: &Rc<Cell<bool>>) -> Told {
        let map = host::request_headers();
        let Some(headers) = map.as_ref().and_then(HeaderMap::lines) else {
            self.send(&fault());
            return Told::Pause;
        };
        let now = host::now();
        let mut step = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.enter(&Request::of(&headers), now, &self.verifier),
            Err(_) => Step::Reply(fault()),
        };
        self.book_errands();
        // What is not forwarded is logged all the same: by no name that the client gave itself.
        if !matches!(step, Step::Forward(_)) {
            rewrite(&headers, &Admission::Unchecked);
        }
        if let Step::Wait(pending) = step {
            match self.wait(context_id, pending, &headers, now) {
                Ok(lead) => {
                    if let Ok(mut streams) = self.resumed.try_borrow_mut() {
                        streams.insert(context_id, Rc::clone(resumed));
                    }
                    if let Some(lead) = lead {
                        self.take_off(context_id, &lead);
                    }
                    return Told::Pause;
                }
                Err(reply) => step = Step::Reply(reply),
            }
        }
        match step {
            Step::Forward(admission) if self.forward(&headers, &admission) => Told::Continue,
            Step::Reply(reply) => {
                self.send(&reply);
                Told::Pause
            }
            Step::Forward(_) | Step::Wait(_) => {
                self.send(&fault());
                Told::Pause
            }
        }
    }

    /// A request has ended.
    pub(super) fn left(&self, context_id: u32) {
        let pending = match self.waiting.try_borrow_mut() {
            Ok(mut waiting) => waiting.remove(context_id),
            Err(_) => None,
        };
        if let Some(pending) = pending {
            self.disembark(context_id, &pending);
        }
        if let Ok(mut streams) = self.resumed.try_borrow_mut() {
            streams.remove(&context_id);
        }
        self.take_cookies(context_id);
    }

    /// The cookies that the resolver has for the client of this request.
    pub(super) fn take_cookies(&self, context_id: u32) -> Vec<String> {
        let Ok(mut cookies) = self.cookies.try_borrow_mut() else {
            return Vec::new();
        };
        cookies.remove(&context_id).unwrap_or_default()
    }

    /// Looks after what is due: fetches, requests that have waited long enough, calls whose answers are lost. A worker
    /// that is not `in_use` any more ends what it has begun, and begins nothing. Whether there is more to do at once.
    pub(super) fn tick(&self, in_use: bool) -> bool {
        let now = host::now();
        if let Ok(mut calls) = self.calls.try_borrow_mut() {
            calls.give_up_lost(now.ticks);
        }
        let polled = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.poll_keys(self.shared(), in_use, now),
            Err(_) => Vec::new(),
        };
        for (project, polled) in polled {
            if polled.settled {
                self.keys_settled(project, false);
            }
            if let Some(fetch) = polled.fetch {
                self.fetch_keys(project, &fetch);
            }
        }
        let more = self.settle(now, true);
        host::act_for(self.root_id);
        self.tell(now);
        more
    }

    /// Goes on with requests that can go on, a few of them: the rest is for the next tick. Calls are made only within the
    /// root's callbacks, so that their answers come to it. Whether there is more to do.
    pub(super) fn settle(&self, now: Now, as_root: bool) -> bool {
        loop {
            let (Ok(waiting), Ok(flights)) = (self.waiting.try_borrow(), self.flights.try_borrow())
            else {
                return false;
            };
            let calls = flights.is_due(now.ticks);
            let due = waiting.is_due(now.ticks) || calls;
            let can = waiting.is_due(now.ticks) || (calls && as_root);
            drop((waiting, flights));
            if !due {
                return false;
            }
            if !can || !self.pace.take_one() {
                self.pace.hurry();
                return true;
            }
            self.settle_one(now, as_root);
        }
    }

    /// Goes on with one request, or makes one call, which only the root does.
    fn settle_one(&self, now: Now, as_root: bool) {
        let (settled, overdue) = match self.waiting.try_borrow_mut() {
            Ok(mut waiting) => match waiting.next_settled() {
                Some(settled) => (Some(settled), None),
                None => (None, waiting.next_overdue(now.ticks)),
            },
            Err(_) => return,
        };
        if let Some((request, pending, outcome)) = settled {
            let step = self.decide(|gate| match outcome {
                Outcome::Keys { served } => gate.keys_settled(pending, served, now, &self.verifier),
                Outcome::Session(verdict) => gate.session_settled(pending, &verdict, now),
            });
            self.go_on(request, step);
        } else if let Some((request, pending)) = overdue {
            self.disembark(request, &pending);
            if host::act_for(request) {
                self.send(&pending.give_up(Reason::TimedOut));
            }
        } else if as_root {
            self.call_again(now);
        }
    }

    /// Tells the host what was done, and how things stand.
    fn tell(&self, now: Now) {
        if let (Ok(mut gate), Ok(waiting), Ok(flights)) = (
            self.gate.try_borrow_mut(),
            self.waiting.try_borrow(),
            self.flights.try_borrow(),
        ) {
            let levels = gate.levels(now);
            self.metrics
                .tell(&self.tally, &levels, waiting.len(), flights.len());
        }
    }

    /// It ends: nothing of it counts any more, and nobody waits for what it was about to fetch.
    pub(super) fn end(&self) {
        self.tell(host::now());
        self.metrics.leave();
        if let Ok(mut gate) = self.gate.try_borrow_mut() {
            gate.release_keys(self.shared());
        }
    }

    /// Lets a request wait for what it needs. What is given back is the call that it must make for itself.
    fn wait(
        &self,
        context_id: u32,
        pending: Pending,
        headers: &Headers<'_>,
        now: Now,
    ) -> Result<Option<Lead>, Reply> {
        let (Ok(gate), Ok(mut waiting), Ok(mut flights)) = (
            self.gate.try_borrow(),
            self.waiting.try_borrow_mut(),
            self.flights.try_borrow_mut(),
        ) else {
            return Err(pending.give_up(Reason::Internal));
        };
        if waiting.len() >= gate.limits().waiting_requests {
            return Err(pending.give_up(Reason::Overloaded));
        }
        let patience = gate.patience(&pending).saturating_add(PATIENCE);
        let mut lead = None;
        if let Need::Session(credential) = pending.need() {
            let project = pending.project();
            let client = client_facts(headers);
            let boarding = flights.board(
                project,
                credential,
                context_id,
                client.clone(),
                patience,
                now.ticks,
            );
            if boarding == Boarding::Join {
                self.tally.add(Event::ResolverCallShared);
            } else {
                self.tally.add(Event::ResolverCall);
                let credential = credential.clone();
                lead = Some(Lead {
                    project,
                    credential,
                    client,
                });
            }
        }
        let until = now.ticks.after(patience);
        waiting.insert(context_id, pending, until);
        Ok(lead)
    }

    fn decide(&self, decide: impl FnOnce(&mut Gate) -> Step) -> Step {
        match self.gate.try_borrow_mut() {
            Ok(mut gate) => decide(&mut gate),
            Err(_) => Step::Reply(fault()),
        }
    }

    /// Goes on with a request that has waited, from within another's callback, or from its own for an answer.
    fn go_on(&self, context_id: u32, step: Step) {
        // A stream that has gone: nothing may be done in whatever context is current instead.
        if !host::act_for(context_id) {
            self.drop_errands();
            return;
        }
        self.book_errands();
        match step {
            Step::Forward(admission) => {
                let map = host::request_headers();
                let headers = map.as_ref().and_then(HeaderMap::lines);
                if headers.is_some_and(|headers| self.forward(&headers, &admission)) {
                    if let Ok(mut streams) = self.resumed.try_borrow_mut()
                        && let Some(resumed) = streams.remove(&context_id)
                    {
                        resumed.set(true);
                    }
                    host::resume_request();
                } else {
                    self.send(&fault());
                }
            }
            Step::Reply(reply) => self.send(&reply.with_cookies(self.take_cookies(context_id))),
            Step::Wait(pending) => {
                let map = host::request_headers().unwrap_or_default();
                let headers = map.lines().unwrap_or_default();
                match self.wait(context_id, pending, &headers, host::now()) {
                    // An answer to a call made here would go to whoever's callback this is: the root makes it instead.
                    Ok(Some(lead)) => {
                        if let Ok(mut flights) = self.flights.try_borrow_mut() {
                            flights.leave_to_sweep(lead.project, &lead.credential);
                        }
                    }
                    Ok(None) => {}
                    Err(reply) => self.send(&reply),
                }
            }
        }
    }

    fn disembark(&self, context_id: u32, pending: &Pending) {
        let Need::Session(credential) = pending.need() else {
            return;
        };
        if let Ok(mut flights) = self.flights.try_borrow_mut() {
            flights.leave(pending.project(), credential, context_id);
        }
    }

    /// Lets a request go on to the backend. `false`: its headers could not be written, and it must not.
    fn forward(&self, headers: &Headers<'_>, admission: &Admission) -> bool {
        let forwarded = rewrite(headers, admission);
        if forwarded {
            self.tally.add(Event::from(admission));
        }
        forwarded
    }

    /// Whether a request waits.
    pub(super) fn waits(&self, context_id: u32) -> bool {
        let waiting = self.waiting.try_borrow();
        waiting.is_ok_and(|waiting| waiting.contains(context_id))
    }

    /// Something cannot be done without which no request may go on.
    pub(super) fn fault(&self) {
        self.send(&fault());
    }

    fn send(&self, reply: &Reply) {
        self.tally.add(Event::from(reply.reason()));
        send(reply);
    }

    /// This worker among those of the process.
    fn shared(&self) -> Shared<'_> {
        Shared {
            data: self.shared_data,
            worker: self.number,
        }
    }

    /// Something that other workers do not draw at the same time.
    fn draw(&self) -> u64 {
        let drawn = self.drawn.get().wrapping_add(1);
        self.drawn.set(drawn);
        self.entropy.hash_one(drawn)
    }
}

/// Makes the headers what the backend shall see. `false`: the host did not take them.
fn rewrite(headers: &Headers<'_>, admission: &Admission) -> bool {
    edit_headers(headers, admission)
        .iter()
        .all(|edit| match edit {
            Edit::Remove(name) => host::remove_request_header(name),
            Edit::Set(name, value) => host::set_request_header(name, value),
        })
}

fn fault() -> Reply {
    Reply::new(Reason::Internal, false)
}

fn send(reply: &Reply) {
    log::debug!("answered {}: {}", reply.status(), reply.reason());
    host::reply(reply);
}
