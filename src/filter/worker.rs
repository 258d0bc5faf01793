//! What the contexts of one worker share: the gate, the requests that wait, and the calls that are under way.
//!
//! No borrow is held across a host call that could come back: decisions are taken first, told to the host afterwards.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::time::Duration;

use super::host::{self, ProcessData, Verifier};
use super::metrics::Metrics;
use crate::callout::{Answer, Call};
use crate::credential::Headers;
use crate::gate::{
    Admission, Edit, Event, Gate, KeyEvent, Need, Pending, Reason, Reply, Request, Step, Tally,
    edit_headers,
};
use crate::jwks::{self, Fetch, FetchId, Shared};
use crate::session::{Boarding, ClientFacts, Flights, SessionCredential};
use crate::time::{Now, Ticks};

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
    cookies: RefCell<HashMap<u32, Vec<String>>>,
    entropy: RandomState,
    drawn: Cell<u64>,
}

#[derive(Debug)]
struct Waiting {
    pending: Pending,
    until: Ticks,
}

#[derive(Debug)]
struct UnderWay {
    purpose: Purpose,
    since: Ticks,
    /// The answer is lost if it has not come by then: the SDK drops those to streams that have ended.
    until: Ticks,
}

/// What a call is for.
#[derive(Clone, Debug)]
enum Purpose {
    Keys {
        project: usize,
        id: FetchId,
    },
    Session {
        project: usize,
        credential: SessionCredential,
    },
}

impl Purpose {
    fn is_session(&self, project: usize, credential: &SessionCredential) -> bool {
        matches!(self, Self::Session { project: of, credential: asked } if *of == project && asked == credential)
    }
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
        let Some(headers) = host::request_headers() else {
            self.send(&fault());
            return Outcome::Pause;
        };
        let now = host::now();
        let mut step = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.enter(&Request::of(&headers), now, &self.verifier),
            Err(_) => Step::Reply(fault()),
        };
        self.book_errands(&headers);
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
        match self.cookies.try_borrow_mut() {
            Ok(mut cookies) if !cookies.is_empty() => {
                cookies.remove(&context_id).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Takes the answer to a call, which has come to the root or to the stream that made it: `context_id`. `false`: the
    /// call was not made by this worker.
    pub(super) fn answered(
        &self,
        token: u32,
        headers: usize,
        body_size: usize,
        context_id: u32,
    ) -> bool {
        let under_way = match self.calls.try_borrow_mut() {
            Ok(mut calls) => calls.remove(&token),
            Err(_) => None,
        };
        let Some(UnderWay { purpose, since, .. }) = under_way else {
            return false;
        };
        match purpose {
            Purpose::Keys { project, id } => {
                let answer = host::answer(headers, body_size, jwks::LONGEST_BODY);
                self.keys_answered(project, id, answer.as_ref());
            }
            Purpose::Session {
                project,
                credential,
            } => {
                // The resolver's body is empty, and not looked at if it is not.
                let answer = host::answer(headers, body_size, 0);
                let now = host::ticks();
                self.metrics.resolver_answered(now.since(since));
                // The root is nobody's client.
                if context_id != self.root_id {
                    self.keep_cookies(context_id, project, answer.as_ref());
                }
                self.session_answered(project, &credential, answer.as_ref());
            }
        }
        host::act_for(context_id);
        true
    }

    /// Looks after what is due: fetches, requests that have waited long enough, calls whose answers are lost. A worker that
    /// is not `in_use` any more ends what it has begun, and begins nothing.
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
                self.keys_settled(project, now);
            }
            if let Some(fetch) = polled.fetch {
                self.fetch_keys(project, &fetch);
            }
        }
        self.call_again(now);
        self.give_up_overdue(now);
        host::act_for(self.root_id);
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

    /// It ends: nothing of it counts any more.
    pub(super) fn end(&self) {
        self.metrics.leave();
    }

    /// Lets a request wait for what it needs. What is given back is the call that it must make for itself.
    fn wait(
        &self,
        context_id: u32,
        pending: Pending,
        headers: &Headers,
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

    /// Makes the call that a request leads, from within that request's own callback. What is given back is the request's
    /// next step where the call could not be made.
    fn take_off(&self, context_id: u32, lead: Lead) -> Option<Step> {
        // As the root: the host would cancel a stream's own call with the stream, and the SDK never hear of it.
        host::act_for(self.root_id);
        let made = self.call_resolver(lead.project, &lead.credential, &lead.client);
        host::act_for(context_id);
        if made {
            return None;
        }
        let now = host::now();
        let (verdict, landed) = self.land(lead.project, &lead.credential, None, now)?;
        let mut own = None;
        for (request, pending) in landed {
            let step = self.decide(|gate| gate.session_settled(pending, &verdict, now));
            if request == context_id {
                own = Some(step);
            } else {
                self.go_on(request, step);
            }
        }
        host::act_for(context_id);
        own
    }

    /// Whether the call is on its way.
    fn call_resolver(
        &self,
        project: usize,
        credential: &SessionCredential,
        client: &ClientFacts,
    ) -> bool {
        let call = self.gate.try_borrow().ok().and_then(|gate| {
            let project = gate.project(project)?;
            let policy = project.session.as_ref()?;
            Some(credential.call(&project.endpoint, policy, client))
        });
        let credential = credential.clone();
        let purpose = Purpose::Session {
            project,
            credential,
        };
        call.is_some_and(|call| self.call(&call, purpose))
    }

    fn fetch_keys(&self, project: usize, fetch: &Fetch) {
        let id = fetch.id;
        if !self.call(&fetch.call, Purpose::Keys { project, id }) {
            self.keys_answered(project, id, None);
        }
    }

    /// Whether the call is on its way.
    fn call(&self, call: &Call, purpose: Purpose) -> bool {
        let Ok(token) = host::dispatch(call) else {
            return false;
        };
        let since = host::ticks();
        let until = since.after(call.timeout).after(PATIENCE);
        match self.calls.try_borrow_mut() {
            Ok(mut calls) => {
                let under_way = UnderWay {
                    purpose,
                    since,
                    until,
                };
                calls.insert(token, under_way);
                true
            }
            Err(_) => false,
        }
    }

    fn keys_answered(&self, project: usize, id: FetchId, answer: Option<&Answer>) {
        let now = host::now();
        let entropy = self.draw();
        let event = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.fetched(project, id, answer, self.shared(), now, entropy),
            Err(_) => KeyEvent::Late,
        };
        match event {
            KeyEvent::Follow(fetch) => self.fetch_keys(project, &fetch),
            KeyEvent::Settled => self.keys_settled(project, now),
            KeyEvent::Late => {}
        }
    }

    /// A fetch has ended, here or in another worker: those who wait for keys go on.
    fn keys_settled(&self, project: usize, now: Now) {
        let for_keys = |waiting: &Waiting| {
            let pending = &waiting.pending;
            pending.project() == project && matches!(pending.need(), Need::Keys(_))
        };
        for (request, pending) in self.take_waiting(for_keys) {
            let step = self.decide(|gate| gate.keys_settled(pending, now, &self.verifier));
            self.go_on(request, step);
        }
    }

    fn session_answered(
        &self,
        project: usize,
        credential: &SessionCredential,
        answer: Option<&Answer>,
    ) {
        let now = host::now();
        let Some((verdict, landed)) = self.land(project, credential, answer, now) else {
            return;
        };
        for (request, pending) in landed {
            let step = self.decide(|gate| gate.session_settled(pending, &verdict, now));
            self.go_on(request, step);
        }
    }

    /// The verdict on a credential, and the requests that waited for it.
    fn land(
        &self,
        project: usize,
        credential: &SessionCredential,
        answer: Option<&Answer>,
        now: Now,
    ) -> Option<(ResolverVerdict, Vec<(u32, Pending)>)> {
        let mut gate = self.gate.try_borrow_mut().ok()?;
        let mut flights = self.flights.try_borrow_mut().ok()?;
        let mut waiting = self.waiting.try_borrow_mut().ok()?;
        let verdict = gate.resolved(project, credential, answer, now, self.draw());
        if verdict.is_err() && flights.try_again(project, credential) {
            return None;
        }
        let landed = flights.land(project, credential).into_iter();
        let landed =
            landed.filter_map(|request| Some((request, waiting.remove(&request)?.pending)));
        Some((verdict, landed.collect()))
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
            return;
        }
        match step {
            Step::Forward(admission) => {
                let headers = host::request_headers();
                self.book_errands(headers.as_deref().unwrap_or_default());
                if headers.is_some_and(|headers| self.forward(&headers, &admission)) {
                    host::resume_request();
                } else {
                    self.send(&fault());
                }
            }
            Step::Reply(reply) => self.send(&reply.with_cookies(self.take_cookies(context_id))),
            Step::Wait(pending) => {
                let headers = host::request_headers().unwrap_or_default();
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

    /// Books the calls that nobody waits for; a tick makes them, whose answers come to the root.
    fn book_errands(&self, headers: &Headers) {
        let errands = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.take_errands(),
            Err(_) => return,
        };
        if errands.is_empty() {
            return;
        }
        let client = client_facts(headers);
        for (project, credential) in errands {
            let booked = match self.flights.try_borrow_mut() {
                Ok(mut flights) => flights.book(project, credential, client.clone()),
                Err(_) => false,
            };
            if !booked {
                self.tally.add(Event::BackgroundCallDropped);
            }
        }
    }

    /// Keeps what the resolver has for the client whose request made the call, if it still waits.
    fn keep_cookies(&self, context_id: u32, project: usize, answer: Option<&Answer>) {
        let (Ok(gate), Ok(waiting), Ok(mut kept)) = (
            self.gate.try_borrow(),
            self.waiting.try_borrow(),
            self.cookies.try_borrow_mut(),
        ) else {
            return;
        };
        let cookies = gate.cookies_to_relay(project, answer);
        if !cookies.is_empty() && waiting.contains_key(&context_id) {
            kept.insert(context_id, cookies);
        }
    }

    /// Makes the calls that were booked, and those again whose answers are lost, as their streams ended before.
    fn call_again(&self, now: Now) {
        let patience = |project| {
            let gate = self.gate.try_borrow().ok();
            let timeout = gate.and_then(|gate| Some(gate.session_policy(project)?.timeout));
            timeout.unwrap_or_default().saturating_add(PATIENCE)
        };
        let again = match self.flights.try_borrow_mut() {
            Ok(mut flights) => flights.sweep(now.ticks, patience),
            Err(_) => Vec::new(),
        };
        for (project, credential, client) in again {
            self.tally.add(Event::ResolverCall);
            if !self.call_resolver(project, &credential, &client) {
                self.session_answered(project, &credential, None);
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
        let led = match self.flights.try_borrow_mut() {
            Ok(mut flights) => flights.leave(pending.project(), credential, context_id),
            Err(_) => false,
        };
        // Nobody will hear of the answer to its call.
        if led && let Ok(mut calls) = self.calls.try_borrow_mut() {
            calls.retain(|_, call| !call.purpose.is_session(pending.project(), credential));
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
    fn forward(&self, headers: &Headers, admission: &Admission) -> bool {
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

type ResolverVerdict = Result<crate::session::Verdict, crate::session::ResolverError>;

/// A call to the resolver that a request has to make for itself and for those who join it.
#[derive(Debug)]
struct Lead {
    project: usize,
    credential: SessionCredential,
    client: ClientFacts,
}

fn client_facts(headers: &Headers) -> ClientFacts {
    ClientFacts {
        user_agent: host::user_agent(headers),
        address: host::client_address(),
    }
}

/// Makes the headers what the backend shall see. `false`: the host did not take them.
fn rewrite(headers: &Headers, admission: &Admission) -> bool {
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
