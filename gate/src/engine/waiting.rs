//! Requests that wait, and how they are settled: a few at a time.
//!
//! Envoy performs what a callback asks for when the callback has returned, each action within the one before it: a
//! callback that answers or resumes a crowd recurses as deep as the crowd, and the VM traps (Envoy 1.40: at 305). So the
//! end of what a crowd waits for only marks its group as settled, and [`Budget`] says how many requests may be taken out
//! before the next tick.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::{WaitFor, WaitingRequest};
use crate::crowd::Crowd;
use crate::per_project::PerProject;
use crate::session::{ClientFacts, ResolverError, Verdict};
use crate::time::Ticks;

/// How many waiting requests may be answered or resumed, and calls be made for them, between two ticks: all callbacks
/// in between together, for a host may nest them.
pub(crate) const MAX_SETTLED_PER_TICK: usize = 32;

/// How many requests that have ended may be skipped in the search for the next.
const MAX_SKIPPED: usize = 64;

/// The outcome that requests have waited for.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// A fetch of keys has ended. `served`: it was this worker's.
    Keys {
        /// Another worker's may have begun before the request came.
        served: bool,
    },
    /// The resolver's verdict, or that there is none.
    Session(Rc<Result<Verdict, ResolverError>>),
}

/// The requests that wait, by the contexts of the host.
///
/// No method takes longer the more requests wait (but for the logarithm of their number).
#[derive(Debug, Default)]
pub(super) struct WaitingRequests {
    requests: HashMap<u32, Waiting>,
    /// Those that wait for keys, by project. Those that wait for the resolver are kept with their in-flight call.
    for_keys: HashMap<usize, Crowd>,
    /// Groups whose outcome is known, the first to settle first.
    settled: VecDeque<Group>,
    deadlines: BTreeSet<(Ticks, u32)>,
    /// How many wait, by project.
    counts: PerProject<Counts>,
}

/// How many requests of one project wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    keys: usize,
    sessions: usize,
}

#[derive(Debug)]
struct Waiting {
    pending: WaitingRequest,
    client: ClientFacts,
    until: Ticks,
}

/// A request whose wait is over.
#[derive(Debug)]
pub(super) struct Settled {
    /// The request.
    pub(super) request: u32,
    /// What is needed to proceed with it.
    pub(super) pending: WaitingRequest,
    /// Its client.
    pub(super) client: ClientFacts,
    /// Its deadline.
    pub(super) until: Ticks,
    /// The outcome of its wait.
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
struct Group {
    members: Crowd,
    outcome: Outcome,
}

impl WaitingRequests {
    /// Lets a request wait, until then at the latest.
    pub(super) fn insert(
        &mut self,
        request: u32,
        pending: WaitingRequest,
        client: ClientFacts,
        until: Ticks,
    ) {
        self.remove(request);
        if let WaitFor::Keys(_) = pending.wait_for() {
            let group = self.for_keys.entry(pending.project()).or_default();
            group.insert(request);
        }
        self.count(&pending, 1);
        self.deadlines.insert((until, request));
        let waiting = Waiting {
            pending,
            client,
            until,
        };
        self.requests.insert(request, waiting);
    }

    fn count(&mut self, pending: &WaitingRequest, change: isize) {
        self.counts.change(pending.project(), |counts| {
            let kind = match pending.wait_for() {
                WaitFor::Keys(_) => &mut counts.keys,
                WaitFor::Session(_) => &mut counts.sessions,
            };
            *kind = kind.saturating_add_signed(change);
        });
    }

    /// Extends a request's deadline by so much.
    pub(super) fn extend(&mut self, request: u32, longer: Duration) {
        if let Some(waiting) = self.requests.get_mut(&request) {
            self.deadlines.remove(&(waiting.until, request));
            waiting.until = waiting.until.after(longer);
            self.deadlines.insert((waiting.until, request));
        }
    }

    /// A request no longer waits: it has ended, or proceeds.
    pub(super) fn remove(&mut self, request: u32) -> Option<WaitingRequest> {
        self.take(request).map(|waiting| waiting.pending)
    }

    fn take(&mut self, request: u32) -> Option<Waiting> {
        let waiting = self.requests.remove(&request)?;
        self.deadlines.remove(&(waiting.until, request));
        self.count(&waiting.pending, -1);
        if let WaitFor::Keys(_) = waiting.pending.wait_for()
            && let Some(group) = self.for_keys.get_mut(&waiting.pending.project())
        {
            group.remove(request);
        }
        Some(waiting)
    }

    /// A fetch of this project's keys has ended: those who wait for it proceed in their turn.
    pub(super) fn settle_keys(&mut self, project: usize, served: bool) {
        if let Some(members) = self.for_keys.remove(&project) {
            self.settle(members, Outcome::Keys { served });
        }
    }

    /// There is a verdict, or it is known that there will be none: these requests proceed in their turn.
    pub(super) fn settle_sessions(
        &mut self,
        members: Crowd,
        verdict: Result<Verdict, ResolverError>,
    ) {
        self.settle(members, Outcome::Session(Rc::new(verdict)));
    }

    fn settle(&mut self, members: Crowd, outcome: Outcome) {
        if !members.is_empty() {
            self.settled.push_back(Group { members, outcome });
        }
    }

    /// Takes out the next request that can proceed. `None`: there is none, or only ended ones were found within the limit.
    pub(super) fn next_settled(&mut self) -> Option<Settled> {
        for _ in 0..MAX_SKIPPED {
            let group = self.settled.front_mut()?;
            let request = group.members.pop_first();
            let outcome = group.outcome.clone();
            if group.members.is_empty() {
                self.settled.pop_front();
            }
            if let Some(request) = request
                && let Some(waiting) = self.take(request)
            {
                return Some(Settled {
                    request,
                    pending: waiting.pending,
                    client: waiting.client,
                    until: waiting.until,
                    outcome,
                });
            }
        }
        None
    }

    /// Takes out the next request whose deadline has passed.
    pub(super) fn next_overdue(&mut self, now: Ticks) -> Option<(u32, WaitingRequest)> {
        let (until, request) = self.deadlines.first().copied()?;
        if now < until {
            return None;
        }
        Some((request, self.remove(request)?))
    }

    /// Whether there are requests that can proceed now.
    pub(super) fn is_due(&self, now: Ticks) -> bool {
        let overdue = self
            .deadlines
            .first()
            .is_some_and(|(until, _)| *until <= now);
        overdue || !self.settled.is_empty()
    }

    /// Whether this request waits.
    pub(super) fn contains(&self, request: u32) -> bool {
        self.requests.contains_key(&request)
    }

    /// Whether any request waits for keys.
    pub(super) fn any_for_keys(&self) -> bool {
        self.counts.iter().any(|counts| counts.keys > 0)
    }

    /// How many requests of a project wait for its keys.
    pub(super) fn for_keys(&self, project: usize) -> usize {
        self.counts.get(project).keys
    }

    /// How many requests of a project wait for its resolver.
    pub(super) fn for_sessions(&self, project: usize) -> usize {
        self.counts.get(project).sessions
    }

    /// How many requests wait, including those that are about to proceed.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }
}

/// How many requests may still be settled, and calls made for them, before the next tick. Clones share one budget: a host
/// may nest the callbacks of all their owners.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Cell<usize>>);

impl Default for Budget {
    fn default() -> Self {
        Self(Rc::new(Cell::new(MAX_SETTLED_PER_TICK)))
    }
}

impl Budget {
    /// A tick has come: no host nests it within another callback.
    pub fn renew(&self) {
        self.0.set(MAX_SETTLED_PER_TICK);
    }

    /// Uses up one. `false`: there is none left before the next tick.
    #[must_use]
    pub(crate) fn take_one(&self) -> bool {
        let left = self.0.get().checked_sub(1);
        if let Some(left) = left {
            self.0.set(left);
        }
        left.is_some()
    }
}
