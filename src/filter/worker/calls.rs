//! The worker's calls: those that it makes, for whom, and what becomes of the answers.

use std::collections::{BTreeSet, HashMap};

use super::{PATIENCE, Worker};
use crate::filter::host;
use gate::callout::{Answer, Call};
use gate::credential::Headers;
use gate::engine::{Event, KeyEvent};
use gate::jwks::{self, Fetch, FetchId};
use gate::session::{ClientFacts, SessionCredential, Verdict};
use gate::time::{Now, Ticks};

/// The calls that are under way, by their tokens.
#[derive(Debug, Default)]
pub(super) struct Calls {
    under_way: HashMap<u32, UnderWay>,
    /// By the moment after which their answers are lost: the SDK drops those to streams that have ended.
    lost: BTreeSet<(Ticks, u32)>,
}

#[derive(Debug)]
struct UnderWay {
    purpose: Purpose,
    since: Ticks,
    until: Ticks,
}

impl Calls {
    fn insert(&mut self, token: u32, under_way: UnderWay) {
        self.lost.insert((under_way.until, token));
        self.under_way.insert(token, under_way);
    }

    fn remove(&mut self, token: u32) -> Option<UnderWay> {
        let under_way = self.under_way.remove(&token)?;
        self.lost.remove(&(under_way.until, token));
        Some(under_way)
    }

    /// Gives up calls whose answers are lost, as many as one callback may.
    pub(super) fn give_up_lost(&mut self, now: Ticks) {
        const MAX_GIVEN_UP: usize = 1_024;
        for _ in 0..MAX_GIVEN_UP {
            let Some((_, token)) = self
                .lost
                .first()
                .filter(|(until, _)| *until <= now)
                .copied()
            else {
                break;
            };
            self.remove(token);
        }
    }
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
            Ok(mut calls) => calls.remove(token),
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
                self.land(project, &credential, answer.as_ref(), host::now());
            }
        }
        self.settle(host::now(), context_id == self.root_id);
        host::act_for(context_id);
        true
    }

    /// Makes the call that a request leads, from within that request's own callback. Where it cannot be made, the next
    /// tick goes on with the request.
    pub(super) fn take_off(&self, context_id: u32, lead: &Lead) {
        if !self.call_resolver(lead.project, &lead.credential, &lead.client) {
            self.land(lead.project, &lead.credential, None, host::now());
            self.pace.hurry();
        }
        host::act_for(context_id);
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
            KeyEvent::Settled => self.keys_settled(project, true),
            KeyEvent::Late => {}
        }
    }

    /// A fetch has ended, here or in another worker: those who wait for keys can go on.
    pub(super) fn keys_settled(&self, project: usize, served: bool) {
        if let Ok(mut waiting) = self.waiting.try_borrow_mut() {
            waiting.settle_keys(project, served);
        }
    }

    /// A call to the resolver has ended: those who wait for it can go on.
    fn land(
        &self,
        project: usize,
        credential: &SessionCredential,
        answer: Option<&Answer>,
        now: Now,
    ) {
        let (Ok(mut gate), Ok(mut flights), Ok(mut waiting)) = (
            self.gate.try_borrow_mut(),
            self.flights.try_borrow_mut(),
            self.waiting.try_borrow_mut(),
        ) else {
            return;
        };
        if flights.try_again(project, credential, || Verdict::read(answer).err()) {
            gate.failed_once();
            return;
        }
        let verdict = gate.resolved(project, credential, answer, now, self.draw());
        waiting.settle_sessions(flights.land(project, credential), verdict);
    }

    /// Books the calls that nobody waits for; a tick makes them, whose answers come to the root.
    pub(super) fn book_errands(&self) {
        let errands = match self.gate.try_borrow_mut() {
            Ok(mut gate) => gate.take_errands(),
            Err(_) => return,
        };
        for (project, credential) in errands {
            let booked = match self.flights.try_borrow_mut() {
                Ok(mut flights) => flights.book(project, credential),
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
        if !cookies.is_empty() && waiting.contains(context_id) {
            kept.insert(context_id, cookies);
        }
    }

    /// Makes a call that was booked, or one again whose answer is lost, as its stream ended before.
    pub(super) fn call_again(&self, now: Now) {
        let patience = |project| {
            let gate = self.gate.try_borrow().ok();
            let timeout = gate.and_then(|gate| Some(gate.session_policy(project)?.timeout));
            timeout.unwrap_or_default().saturating_add(PATIENCE)
        };
        let again = match self.flights.try_borrow_mut() {
            Ok(mut flights) => flights.sweep(now.ticks, 1, patience),
            Err(_) => Vec::new(),
        };
        for (project, credential, client) in again {
            let gate = self.gate.try_borrow().ok();
            let spared = gate.is_none_or(|gate| gate.spares_resolver(project, now));
            if !spared {
                self.tally.add(Event::ResolverCall);
            }
            if spared || !self.call_resolver(project, &credential, &client) {
                self.land(project, &credential, None, now);
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
