//! The worker's calls: those that it makes, for whom, and what becomes of the answers.

use super::{PATIENCE, Waiting, Worker};
use crate::callout::{Answer, Call};
use crate::credential::Headers;
use crate::filter::host;
use crate::gate::{Event, KeyEvent, Need, Pending, Step};
use crate::jwks::{self, Fetch, FetchId};
use crate::session::{ClientFacts, ResolverError, SessionCredential, Verdict};
use crate::time::{Now, Ticks};

/// The resolver's verdict, if there is one.
type Said = Result<Verdict, ResolverError>;

#[derive(Debug)]
pub(super) struct UnderWay {
    purpose: Purpose,
    since: Ticks,
    /// The answer is lost if it has not come by then: the SDK drops those to streams that have ended.
    pub(super) until: Ticks,
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

/// A call to the resolver that a request has to make for itself and for those who join it.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) project: usize,
    pub(super) credential: SessionCredential,
    pub(super) client: ClientFacts,
}

impl Worker {
    /// Takes the answer to a call, which has come to the root or to the stream that made it: `context_id`. `false`: the
    /// call was not made by this worker.
    pub(in crate::filter) fn answered(
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

    /// Makes the call that a request leads, from within that request's own callback. What is given back is the request's
    /// next step where the call could not be made.
    pub(super) fn take_off(&self, context_id: u32, lead: Lead) -> Option<Step> {
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

    pub(super) fn fetch_keys(&self, project: usize, fetch: &Fetch) {
        let id = fetch.id;
        if !self.call(&fetch.call, Purpose::Keys { project, id }) {
            self.keys_answered(project, id, None);
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
            KeyEvent::Settled => self.keys_settled(project, true, now),
            KeyEvent::Late => {}
        }
    }

    /// A fetch has ended, here or in another worker: those who wait for keys go on.
    pub(super) fn keys_settled(&self, project: usize, served: bool, now: Now) {
        let for_keys = |waiting: &Waiting| {
            let pending = &waiting.pending;
            pending.project() == project && matches!(pending.need(), Need::Keys(_))
        };
        for (request, pending) in self.take_waiting(for_keys) {
            let step = self.decide(|gate| gate.keys_settled(pending, served, now, &self.verifier));
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
    ) -> Option<(Said, Vec<(u32, Pending)>)> {
        let mut gate = self.gate.try_borrow_mut().ok()?;
        let mut flights = self.flights.try_borrow_mut().ok()?;
        let mut waiting = self.waiting.try_borrow_mut().ok()?;
        if flights.try_again(project, credential, || Verdict::read(answer).is_err()) {
            gate.failed_once();
            return None;
        }
        let verdict = gate.resolved(project, credential, answer, now, self.draw());
        let landed = flights.land(project, credential).into_iter();
        let landed =
            landed.filter_map(|request| Some((request, waiting.remove(&request)?.pending)));
        Some((verdict, landed.collect()))
    }

    /// Books the calls that nobody waits for; a tick makes them, whose answers come to the root.
    pub(super) fn book_errands(&self, client: impl FnOnce() -> ClientFacts) {
        let errands = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.take_errands(),
            Err(_) => return,
        };
        if errands.is_empty() {
            return;
        }
        let client = client();
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

    /// Drops the calls that were to be booked: the request that they were for has gone, and they are nobody else's.
    pub(super) fn drop_errands(&self) {
        if let Ok(mut gate) = self.gate.try_borrow_mut() {
            for _ in gate.take_errands() {
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
            kept.push((context_id, cookies));
        }
    }

    /// Makes the calls that were booked, and those again whose answers are lost, as their streams ended before.
    pub(super) fn call_again(&self, now: Now) {
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
            let gate = self.gate.try_borrow().ok();
            let spared = gate.is_none_or(|gate| gate.spares_resolver(project, now));
            if !spared {
                self.tally.add(Event::ResolverCall);
            }
            if spared || !self.call_resolver(project, &credential, &client) {
                self.session_answered(project, &credential, None);
            }
        }
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

    /// Whether the call is on its way.
    fn call(&self, call: &Call, purpose: Purpose) -> bool {
        // As the root, so that no host ends the call with the stream whose callback this is.
        host::act_for(self.root_id);
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
}

pub(super) fn client_facts(headers: &Headers<'_>) -> ClientFacts {
    ClientFacts {
        user_agent: host::user_agent(headers),
        address: host::client_address(),
    }
}
