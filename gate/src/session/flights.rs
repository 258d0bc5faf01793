//! Calls to the resolver that are under way, and who waits for each.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::{ClientFacts, ResolverError, SessionCredential};
use crate::time::{Ticks, jitter};

/// One call per credential, however many requests ask. `W` names a waiting request.
///
/// A flight may also be booked in the background, with nobody waiting: the next sweep makes its call, and whoever asks
/// the same meanwhile joins it.
///
/// No method takes longer the more requests wait, or the more calls are under way (but for their logarithm).
#[derive(Debug)]
pub struct Flights<W> {
    flights: HashMap<FlightKey, Flight<W>>,
    /// Each flight once, by the moment at which the sweep looks at it.
    due: BTreeSet<(Ticks, FlightKey)>,
    /// How many calls are under way, or booked, that were booked in the background.
    background: usize,
    /// How many of the flights were made again after a 500.
    retries: usize,
}

/// A project, by its place, and a credential: nothing else tells two calls apart.
type FlightKey = (usize, SessionCredential);

/// A call that is under way.
#[derive(Debug)]
pub struct Flight<W> {
    waiting: BTreeSet<W>,
    /// The request whose callback made the call: with it, the answer is lost.
    leader: Option<W>,
    due_at: Ticks,
    client: ClientFacts,
    background: Background,
    /// How often a failed call is made again: Authgear locks a session while it is asked for, and the call whose answer
    /// was lost may still hold the lock.
    second_chances: u8,
    /// Whether it was made again after a 500, as another worker may hold that lock.
    retried: bool,
}

/// Whether a flight was booked with nobody waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Background {
    No,
    /// It was, and its call is still to be made.
    Booked,
    /// It was, and its call is made.
    Called,
}

const SECOND_CHANCES: u8 = 3;
/// Before a failed call is made again, so that whoever holds the session's lock can let go of it (contract: 50 to 250 ms
/// between Authgear's own tries); half of it random, so that workers do not try together.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How many calls may be made again after a 500 at once: in an outage, all of them fail.
const MAX_RETRIES: usize = 64;
/// How many calls may be under way at once that nobody waits for.
const MOST_IN_BACKGROUND: usize = 64;

/// How a request boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boarding {
    /// It is the first: it must make the call.
    Lead,
    /// The call is under way: it only waits.
    Join,
}

impl<W> Default for Flights<W> {
    fn default() -> Self {
        Self {
            flights: HashMap::new(),
            due: BTreeSet::new(),
            background: 0,
            retries: 0,
        }
    }
}

impl<W: Copy + Ord> Flights<W> {
    /// Lets a request wait for the verdict on a credential. `patience`: how long the call may take.
    pub fn board(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        request: W,
        client: ClientFacts,
        patience: Duration,
        now: Ticks,
    ) -> Boarding {
        let key = (project, credential.clone());
        if let Some(flight) = self.flights.get_mut(&key) {
            flight.waiting.insert(request);
            return Boarding::Join;
        }
        let flight = Flight {
            waiting: BTreeSet::from([request]),
            leader: Some(request),
            due_at: now.after(patience),
            client,
            background: Background::No,
            second_chances: 0,
            retried: false,
        };
        self.due.insert((flight.due_at, key.clone()));
        self.flights.insert(key, flight);
        Boarding::Lead
    }

    /// Books a call that nobody waits for; the next sweep makes it. `false`: too many such calls are under way. Where
    /// the same is asked already, that will do.
    ///
    /// It carries nothing that a client chose: none of them has asked for it, and its answer may decide about all.
    pub fn book(&mut self, project: usize, credential: SessionCredential) -> bool {
        // A check is one more, so that no crowd of others keeps an open breaker open.
        if self.background >= MOST_IN_BACKGROUND && credential != SessionCredential::Nothing {
            return false;
        }
        if let Entry::Vacant(vacant) = self.flights.entry((project, credential)) {
            self.due.insert((Ticks::default(), vacant.key().clone()));
            vacant.insert(Flight {
                waiting: BTreeSet::new(),
                leader: None,
                due_at: Ticks::default(),
                client: ClientFacts::default(),
                background: Background::Booked,
                second_chances: 0,
                retried: false,
            });
            self.background = self.background.saturating_add(1);
        }
        true
    }

    /// Whether a call for this credential is under way, or about to be made.
    #[must_use]
    pub fn contains(&self, project: usize, credential: &SessionCredential) -> bool {
        self.flights.contains_key(&(project, credential.clone()))
    }

    /// Nobody makes the call now: the next sweep does.
    pub fn leave_to_sweep(&mut self, project: usize, credential: &SessionCredential) {
        self.orphan(&(project, credential.clone()));
    }

    /// A call has ended: whether it is made again, by the next sweep. That depends on how it has `failed`, if it has, which
    /// is asked only where it matters.
    ///
    /// What the client may have caused is asked once more without what the client chose; that answer counts.
    pub fn try_again(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        failed: impl FnOnce() -> Option<ResolverError>,
        now: Ticks,
        entropy: u64,
    ) -> bool {
        let key = (project, credential.clone());
        let flight = self.flights.get_mut(&key);
        let Some(flight) = flight.filter(|flight| !flight.waiting.is_empty()) else {
            return false;
        };
        let half = RETRY_PAUSE.mul_f64(0.5);
        let later = now.after(half.saturating_add(jitter(half, entropy)));
        let due_at = match failed() {
            None => return false,
            Some(error) if error.is_outage() => {
                match (flight.second_chances.checked_sub(1), error) {
                    (Some(left), _) => flight.second_chances = left,
                    (None, ResolverError::Status(500))
                        if !flight.retried && self.retries < MAX_RETRIES =>
                    {
                        flight.retried = true;
                        self.retries = self.retries.saturating_add(1);
                    }
                    (None, _) => return false,
                }
                later
            }
            Some(_) if flight.client.is_empty() => return false,
            Some(_) => {
                flight.client = ClientFacts::default();
                Ticks::default()
            }
        };
        flight.leader = None;
        self.put_off(&key, due_at);
        true
    }

    /// The answer is there: those who waited for it.
    pub fn land(&mut self, project: usize, credential: &SessionCredential) -> BTreeSet<W> {
        let key = (project, credential.clone());
        let flight = self.flights.remove(&key);
        flight.map_or_else(BTreeSet::new, |flight| {
            self.forget(key, &flight);
            flight.waiting
        })
    }

    /// A request has gone. If it made the call, the answer is lost with it, and the next sweep makes it again.
    pub fn leave(&mut self, project: usize, credential: &SessionCredential, request: W) {
        let key = (project, credential.clone());
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        flight.waiting.remove(&request);
        if flight.leader == Some(request) {
            flight.second_chances = SECOND_CHANCES;
            self.orphan(&key);
        }
    }

    /// The calls that are to be made by somebody whose answers are not lost: those that were booked, and those whose
    /// answers are lost, but for the ones that nobody waits for. At most `most` flights are looked at: see
    /// [`Flights::is_due`] for whether there are more.
    pub fn sweep(
        &mut self,
        now: Ticks,
        most: usize,
        patience: impl Fn(usize) -> Duration,
    ) -> Vec<(usize, SessionCredential, ClientFacts)> {
        let mut again = Vec::new();
        for _ in 0..most {
            let Some((_, key)) = self
                .due
                .first()
                .filter(|(due_at, _)| *due_at <= now)
                .cloned()
            else {
                break;
            };
            let Some(flight) = self.flights.get_mut(&key) else {
                self.due.pop_first();
                continue;
            };
            if flight.waiting.is_empty() && flight.background != Background::Booked {
                if let Some(flight) = self.flights.remove(&key) {
                    self.forget(key, &flight);
                }
                continue;
            }
            if flight.background == Background::Booked {
                flight.background = Background::Called;
            }
            flight.leader = None;
            again.push((key.0, key.1.clone(), flight.client.clone()));
            let due_at = now.after(patience(key.0));
            self.put_off(&key, due_at);
        }
        again
    }

    /// Whether a sweep would find something to do.
    #[must_use]
    pub fn is_due(&self, now: Ticks) -> bool {
        self.due.first().is_some_and(|(due_at, _)| *due_at <= now)
    }

    /// How many calls are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether no call is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    fn orphan(&mut self, key: &FlightKey) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.leader = None;
            self.put_off(key, Ticks::default());
        }
    }

    fn put_off(&mut self, key: &FlightKey, due_at: Ticks) {
        if let Some(flight) = self.flights.get_mut(key) {
            self.due.remove(&(flight.due_at, key.clone()));
            flight.due_at = due_at;
            self.due.insert((due_at, key.clone()));
        }
    }

    fn forget(&mut self, key: FlightKey, flight: &Flight<W>) {
        self.due.remove(&(flight.due_at, key));
        if flight.background != Background::No {
            self.background = self.background.saturating_sub(1);
        }
        if flight.retried {
            self.retries = self.retries.saturating_sub(1);
        }
    }
}
