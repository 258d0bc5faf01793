//! What the contexts of one worker share: the gate, the requests that wait, and the calls that are under way.
//!
//! No borrow is held across a host call that could come back: decisions are taken first, told to the host afterwards.

mod calls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::time::Duration;

use super::host::{self, ProcessData, Verifier};
use super::metrics::Metrics;
use super::wire::HeaderMap;
use crate::credential::Headers;
use crate::gate::{
    Admission, Edit, Event, Gate, Need, Pending, Reason, Reply, Request, Step, Tally, edit_headers,
};
use crate::jwks::Shared;
use crate::session::{Boarding, Flights};
use crate::time::{Now, Ticks};
use calls::{Lead, UnderWay, client_facts};

/// How much longer than its call a request waits: the host keeps the time of the call, a tick that of the request.
const PATIENCE: Duration = Duration::from_millis(500);

/// The worker.
#[derive(Debug)]
pub(super) struct Worker {
    root_id: u32,
    /// What tells it from the other workers of the process.
    number: u64,
    verifier: Verifier,
    metrics: Metrics,
    tally: Rc<Tally>,
    gate: RefCell<Gate>,
    /// The requests that wait, by their contexts.
    waiting: RefCell<HashMap<u32, Waiting>>,
    flights: RefCell<Flights<u32>>,
    /// The calls that are under way, by their tokens.
    calls: RefCell<HashMap<u32, UnderWay>>,
    /// Cookies of the resolver's, by the contexts of the clients they are for.
    cookies: RefCell<Vec<(u32, Vec<String>)>>,
    entropy: RandomState,
    drawn: Cell<u64>,
}

#[derive(Debug)]
struct Waiting {
    pending: Pending,
    until: Ticks,
}

/// What a stream tells the host at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Continue,
    Pause,
}

impl Outcome {
    /// The filter cannot do its work: the request goes nowhere.
    pub(super) fn fault() -> Self {
        send(&fault());
        Self::Pause
    }
}

impl Worker {
    pub(super) fn new(root_id: u32, gate: Gate, verifier: Verifier) -> Self {
        let entropy = RandomState::new();
        Self {
            root_id,
            // 0 is nobody's.
            number: entropy.hash_one(0_u64) | 1,
            verifier,
            metrics: Metrics::define(),
            tally: Rc::clone(gate.tally()),
            gate: RefCell::new(gate),
            waiting: RefCell::default(),
            flights: RefCell::default(),
            calls: RefCell::default(),
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

    /// A request has come in.
    pub(super) fn enter(&self, context_id: u32) -> Outcome {
        let map = host::request_headers();
        let Some(headers) = map.as_ref().and_then(HeaderMap::lines) else {
            self.send(&fault());
            return Outcome::Pause;
        };
        let now = host::now();
        let mut step = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.enter(&Request::of(&headers), now, &self.verifier),
            Err(_) => Step::Reply(fault()),
        };
        self.book_errands(|| client_facts(&headers));
        // What is not forwarded is logged all the same: by no name that the client gave itself.
        if !matches!(step, Step::Forward(_)) {
            rewrite(&headers, &Admission::Unchecked);
        }
        if let Step::Wait(pending) = step {
            match self.wait(context_id, pending, &headers, now) {
                Ok(lead) => match lead.and_then(|lead| self.take_off(context_id, lead)) {
                    None => return Outcome::Pause,
                    // Not resumed but continued: the host is in the midst of asking.
                    Some(at_once) => step = at_once,
                },
                Err(reply) => step = Step::Reply(reply),
            }
        }
        match step {
            Step::Forward(admission) if self.forward(&headers, &admission) => Outcome::Continue,
            Step::Reply(reply) => {
                self.send(&reply);
                Outcome::Pause
            }
            Step::Forward(_) | Step::Wait(_) => {
                self.send(&fault());
                Outcome::Pause
            }
        }
    }

    /// A request has ended.
    pub(super) fn left(&self, context_id: u32) {
        let waiting = match self.waiting.try_borrow_mut() {
            Ok(mut waiting) => waiting.remove(&context_id),
            Err(_) => None,
        };
        if let Some(waiting) = waiting {
            self.disembark(context_id, &waiting.pending);
        }
        self.take_cookies(context_id);
    }

    /// The cookies that the resolver has for the client of this request.
    pub(super) fn take_cookies(&self, context_id: u32) -> Vec<String> {
        let Ok(mut cookies) = self.cookies.try_borrow_mut() else {
            return Vec::new();
        };
        let place = cookies.iter().position(|(whose, _)| *whose == context_id);
        place.map_or_else(Vec::new, |place| cookies.swap_remove(place).1)
    }

    /// Looks after what is due: fetches, requests that have waited long enough, calls whose answers are lost. A worker
    /// that is not `in_use` any more ends what it has begun, and begins nothing.
    pub(super) fn tick(&self, in_use: bool) {
        let now = host::now();
        if let Ok(mut calls) = self.calls.try_borrow_mut() {
            calls.retain(|_, call| now.ticks < call.until);
        }
        let polled = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.poll_keys(self.shared(), in_use, now),
            Err(_) => Vec::new(),
        };
        for (project, polled) in polled {
            if polled.settled {
                self.keys_settled(project, false, now);
            }
            if let Some(fetch) = polled.fetch {
                self.fetch_keys(project, &fetch);
            }
        }
        self.call_again(now);
        self.give_up_overdue(now);
        host::act_for(self.root_id);
        self.tell(now);
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
        waiting.insert(context_id, Waiting { pending, until });
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
        self.book_errands(|| {
            let map = host::request_headers().unwrap_or_default();
            client_facts(&map.lines().unwrap_or_default())
        });
        match step {
            Step::Forward(admission) => {
                let map = host::request_headers();
                let headers = map.as_ref().and_then(HeaderMap::lines);
                if headers.is_some_and(|headers| self.forward(&headers, &admission)) {
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
                    // An answer to a call made here would go to whoever's callback this is: a tick makes it instead.
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

    fn give_up_overdue(&self, now: Now) {
        for (request, pending) in self.take_waiting(|waiting| waiting.until <= now.ticks) {
            self.disembark(request, &pending);
            if host::act_for(request) {
                self.send(&pending.give_up(Reason::TimedOut));
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

    fn take_waiting(&self, chosen: impl Fn(&Waiting) -> bool) -> Vec<(u32, Pending)> {
        let Ok(mut waiting) = self.waiting.try_borrow_mut() else {
            return Vec::new();
        };
        waiting
            .extract_if(|_, waiting| chosen(waiting))
            .map(|(context_id, waiting)| (context_id, waiting.pending))
            .collect()
    }

    /// Lets a request go on to the backend. `false`: its headers could not be written, and it must not.
    fn forward(&self, headers: &Headers<'_>, admission: &Admission) -> bool {
        let forwarded = rewrite(headers, admission);
        if forwarded {
            self.tally.add(Event::from(admission));
        }
        forwarded
    }

    fn send(&self, reply: &Reply) {
        self.tally.add(Event::from(reply.reason()));
        send(reply);
    }

    /// This worker among those of the process.
    fn shared(&self) -> Shared<'_> {
        Shared {
            data: &ProcessData,
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
