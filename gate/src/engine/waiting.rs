//! Requests that wait, and how they are settled: a few at a time.
//!
//! Envoy performs what a callback asks for when the callback has returned, each action within the one before it: a
//! callback that answers or resumes a crowd recurses as deep as the crowd, and the VM traps (Envoy 1.40: at 280 with a
//! few more filters in the chain). So what a crowd has waited for only marks its group as settled, and [`Settling`]
//! says how many of them may be taken out before the next tick.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use super::{Need, Pending};
use crate::session::{ResolverError, Verdict};
use crate::time::Ticks;

/// How many waiting requests may be answered or resumed, and calls be made for them, between two ticks: all callbacks
/// in between together, for a host may nest them.
pub const MAX_SETTLED_PER_TICK: usize = 32;

/// How many requests that have gone may be passed over while the next is looked for.
const MAX_SKIPPED: usize = 64;

/// What requests have waited for.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A fetch of keys has ended. `served`: it was this worker's.
    Keys {
        /// See [`Gate::keys_settled`](super::Gate::keys_settled).
        served: bool,
    },
    /// The resolver's verdict, or that there is none.
    Session(Rc<Result<Verdict, ResolverError>>),
}

/// The requests that wait, by the contexts of the host.
///
/// No method takes longer the more requests wait (but for the logarithm of their number).
#[derive(Debug, Default)]
pub struct WaitingRequests {
    requests: HashMap<u32, Waiting>,
    /// Those that wait for keys, by project. Those that wait for the resolver are known by their flight.
    for_keys: HashMap<usize, BTreeSet<u32>>,
    /// Groups whose outcome is known, first come first.
    settled: VecDeque<Group>,
    deadlines: BTreeSet<(Ticks, u32)>,
}

#[derive(Debug)]
struct Waiting {
    pending: Pending,
    until: Ticks,
}

#[derive(Debug)]
struct Group {
    members: BTreeSet<u32>,
    outcome: Outcome,
}

impl WaitingRequests {
    /// Lets a request wait, at the longest until then.
    pub fn insert(&mut self, request: u32, pending: Pending, until: Ticks) {
        self.remove(request);
        if let Need::Keys(_) = pending.need() {
            let group = self.for_keys.entry(pending.project()).or_default();
            group.insert(request);
        }
        self.deadlines.insert((until, request));
        self.requests.insert(request, Waiting { pending, until });
    }

    /// A request waits no more: it has gone, or goes on.
    pub fn remove(&mut self, request: u32) -> Option<Pending> {
        let Waiting { pending, until } = self.requests.remove(&request)?;
        self.deadlines.remove(&(until, request));
        if let Need::Keys(_) = pending.need()
            && let Some(group) = self.for_keys.get_mut(&pending.project())
        {
            group.remove(&request);
        }
        Some(pending)
    }

    /// A fetch of this project's keys has ended: those who wait for it go on, when it is their turn.
    pub fn settle_keys(&mut self, project: usize, served: bool) {
        if let Some(members) = self.for_keys.remove(&project) {
            self.settle(members, Outcome::Keys { served });
        }
    }

    /// There is a verdict, or it is known that there will be none: these requests go on, when it is their turn.
    pub fn settle_sessions(
        &mut self,
        members: BTreeSet<u32>,
        verdict: Result<Verdict, ResolverError>,
    ) {
        self.settle(members, Outcome::Session(Rc::new(verdict)));
    }

    fn settle(&mut self, members: BTreeSet<u32>, outcome: Outcome) {
        if !members.is_empty() {
            self.settled.push_back(Group { members, outcome });
        }
    }

    /// Takes out the next request that can go on. `None`: there is none, or none was found among so many that have gone.
    pub fn next_settled(&mut self) -> Option<(u32, Pending, Outcome)> {
        for _ in 0..MAX_SKIPPED {
            let group = self.settled.front_mut()?;
            let request = group.members.pop_first();
            let outcome = group.outcome.clone();
            if group.members.is_empty() {
                self.settled.pop_front();
            }
            if let Some(request) = request
                && let Some(pending) = self.remove(request)
            {
                return Some((request, pending, outcome));
            }
        }
        None
    }

    /// Takes out the next request that has waited long enough.
    pub fn next_overdue(&mut self, now: Ticks) -> Option<(u32, Pending)> {
        let (until, request) = self.deadlines.first().copied()?;
        if now < until {
            return None;
        }
        let pending = self.remove(request)?;
        Some((request, pending))
    }

    /// Whether there are requests that can go on now.
    #[must_use]
    pub fn is_due(&self, now: Ticks) -> bool {
        let overdue = self
            .deadlines
            .first()
            .is_some_and(|(until, _)| *until <= now);
        overdue || !self.settled.is_empty()
    }

    /// Whether this request waits.
    #[must_use]
    pub fn contains(&self, request: u32) -> bool {
        self.requests.contains_key(&request)
    }

    /// How many requests wait, those that are about to go on among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether no request waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// How many requests may still be settled before the next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settling {
    left: usize,
}

impl Default for Settling {
    fn default() -> Self {
        Self {
            left: MAX_SETTLED_PER_TICK,
        }
    }
}

impl Settling {
    /// Takes leave to settle one. `false`: not before the next tick.
    pub fn take_one(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// How many are left.
    #[must_use]
    pub fn left(self) -> usize {
        self.left
    }
}
