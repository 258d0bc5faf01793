//! Calls to the resolver that are under way, and who waits for each.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use super::{ClientFacts, ResolverError, SessionCounts, SessionCredential};
use crate::time::{Ticks, back_off, jitter};

/// One call per credential, however many requests ask. `W` names a waiting request.
///
/// A flight may also be booked in the background, with nobody waiting: the next sweep makes its call, and whoever asks
/// the same meanwhile joins it.
///
/// No method takes longer the more requests wait, or the more calls are under way (but for their logarithm).
#[derive(Debug)]
pub(crate) struct Flights<W> {
    flights: HashMap<FlightKey, Flight<W>>,
    /// Each flight once, by the moment at which the sweep looks at it.
    due: BTreeSet<(Ticks, FlightKey)>,
    /// How many calls are under way, or booked, that were booked in the background.
    background: usize,
    /// The flights that were made again after a 500, or as their connections broke, and for which user, where that is known.
    retries: Vec<(FlightKey, Option<Rc<str>>)>,
    /// How many of the flights are for one session.
    sessions: SessionCounts,
    /// Calls that were booked and whose answers are lost, since somebody asked.
    lost: Vec<(usize, SessionCredential)>,
    /// Calls of which nothing will be heard, and that nobody waits for: other workers may make them.
    abandoned: Vec<FlightKey>,
}

/// A project, by its place, and a credential: nothing else tells two calls apart.
type FlightKey = (usize, SessionCredential);

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Flight<W> {
    waiting: BTreeSet<W>,
    call: CallState<W>,
    due_at: Ticks,
    client: ClientFacts,
    /// Whether it was booked, so that its call is made though nobody waits for it.
    background: bool,
    /// How often a failed call is made again: Authgear locks a session while it is asked for, and the call whose answer
    /// was lost may still hold the lock.
    second_chances: u8,
    /// How often it was looked whether another worker has been answered.
    looks: u32,
    /// Whether it was made again: after a 500, as another worker may hold that lock, or as its connection broke.
    retried: bool,
}

/// Where the call of a flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallState<W> {
    /// A sweep is to make it.
    Due,
    /// It was made in this request's callback: with it, the answer is lost.
    Leader(W),
    /// A sweep has made it: its answer comes, whoever leaves.
    Swept,
    /// Another worker has made it: a sweep looks whether it has been answered.
    Other(OtherWorker),
}

/// A worker that asks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherWorker {
    /// Since when it asks.
    pub(crate) since: Ticks,
    /// It is waited for until then.
    pub(crate) until: Ticks,
}

/// A call that is to be made by somebody whose answers are not lost.
#[derive(Clone, Debug)]
pub(crate) struct DueCall {
    /// The project, by its place.
    pub(crate) project: usize,
    /// What is asked for.
    pub(crate) credential: SessionCredential,
    /// What the resolver is told of the client.
    pub(crate) client: ClientFacts,
    /// Another worker that was waited for so far.
    pub(crate) other: Option<OtherWorker>,
}

impl<W> CallState<W> {
    /// Whether a sweep has to do something, lest nobody ever answers.
    fn is_due(&self) -> bool {
        matches!(self, Self::Due | Self::Other(_))
    }
}

/// What has become of a call that was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Booking {
    /// The next sweep makes it.
    New,
    /// The same is asked already, and that will do.
    Joined,
    /// Too many such calls are under way.
    Full,
}

const SECOND_CHANCES: u8 = 3;
/// Before a failed call is made again, so that whoever holds the session's lock can let go of it (contract §4.2: 50 to
/// 250 ms between Authgear's own tries); half of it random, so that workers do not try together.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How many calls may be made again after a 500, or as their connections broke, at once: in an outage, all of them fail.
const MAX_RETRIES: usize = 64;
/// How many of them may be for one user, whoever locks all of his sessions.
const MAX_RETRIES_PER_USER: usize = 8;
/// How many of them may be for nobody who is known: so many are for the others in any case.
const MAX_RETRIES_FOR_STRANGERS: usize = 32;
/// Before it is looked whether another worker has been answered; longer each time.
const FIRST_LOOK_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_LOOK_PAUSE: Duration = Duration::from_millis(32);
/// The same where nobody waits.
const BACKGROUND_LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How many calls may be under way at once that nobody waits for.
const MOST_IN_BACKGROUND: usize = 64;
/// How many calls may be asked for at once for one session, whatever is presented beside it: Authgear locks the session
/// for each, and those that wait for the lock hold connections that the others need.
pub(crate) const MAX_CALLS_PER_SESSION: usize = 8;
/// How many calls that nobody waits for any more, and whose answers are lost, one sweep may pass over.
const MAX_SKIPPED: usize = 64;
/// How many of them other workers are told of at a tick; of the rest they hear when those are late.
const MAX_ABANDONED: usize = 64;

/// How a call has ended, beside its answer.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// Whose credential it was for, where that is known.
    pub(crate) user: Option<Rc<str>>,
    /// Whether it was made, and has ended before its time was over: without an answer, its connection broke.
    pub(crate) early: bool,
    /// When.
    pub(crate) now: Ticks,
    /// A number that nobody can foresee.
    pub(crate) entropy: u64,
}

/// How a request boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boarding {
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
            retries: Vec::new(),
            sessions: SessionCounts::default(),
            lost: Vec::new(),
            abandoned: Vec::new(),
        }
    }
}

impl<W: Copy + Ord> Flights<W> {
    /// Lets a request wait for the verdict on a credential. `patience`: how long the call may take.
    pub(crate) fn board(
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
            let looks_at_leisure =
                flight.waiting.is_empty() && matches!(flight.call, CallState::Other(_));
            flight.waiting.insert(request);
            if looks_at_leisure {
                self.put_off(&key, now);
            }
            return Boarding::Join;
        }
        let flight = Flight {
            waiting: BTreeSet::from([request]),
            call: CallState::Leader(request),
            due_at: now.after(patience),
            client,
            background: false,
            second_chances: 0,
            looks: 0,
            retried: false,
        };
        self.due.insert((flight.due_at, key.clone()));
        self.sessions.add(project, credential);
        self.flights.insert(key, flight);
        Boarding::Lead
    }

    /// Books a call that nobody waits for; the next sweep makes it.
    ///
    /// It carries nothing that a client chose: none of them has asked for it, and its answer may decide about all.
    pub(crate) fn book(&mut self, project: usize, credential: SessionCredential) -> Booking {
        // A check is one more, so that no crowd of others keeps an open breaker open.
        if self.background >= MOST_IN_BACKGROUND && credential != SessionCredential::Nothing {
            return Booking::Full;
        }
        match self.flights.entry((project, credential)) {
            Entry::Occupied(mut occupied) => {
                // Should those leave who wait for it, it is made all the same.
                let before = std::mem::replace(&mut occupied.get_mut().background, true);
                self.background = self.background.saturating_add(usize::from(!before));
                Booking::Joined
            }
            Entry::Vacant(vacant) => {
                self.sessions.add(project, &vacant.key().1);
                self.due.insert((Ticks::default(), vacant.key().clone()));
                vacant.insert(Flight {
                    waiting: BTreeSet::new(),
                    call: CallState::Due,
                    due_at: Ticks::default(),
                    client: ClientFacts::default(),
                    background: true,
                    second_chances: 0,
                    looks: 0,
                    retried: false,
                });
                self.background = self.background.saturating_add(1);
                Booking::New
            }
        }
    }

    /// Whether a call for this credential is under way, or about to be made.
    #[must_use]
    pub(crate) fn contains(&self, project: usize, credential: &SessionCredential) -> bool {
        self.flights.contains_key(&(project, credential.clone()))
    }

    /// Whether as many calls for a session of this credential's are under way, or about to be made, as may be.
    #[must_use]
    pub(crate) fn is_crowded(&self, project: usize, credential: &SessionCredential) -> bool {
        self.sessions.most(project, credential) >= MAX_CALLS_PER_SESSION
    }

    /// Another worker asks the same: the sweep looks again after a moment, and after longer ones each time. Whether this is the
    /// first time.
    pub(crate) fn wait_for(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        other: OtherWorker,
        now: Ticks,
    ) -> bool {
        let key = (project, credential.clone());
        let Some(flight) = self.flights.get_mut(&key) else {
            return false;
        };
        flight.call = CallState::Other(other);
        let pause = if flight.waiting.is_empty() {
            BACKGROUND_LOOK_PAUSE
        } else {
            let looks = flight.looks / 2;
            back_off(FIRST_LOOK_PAUSE, LONGEST_LOOK_PAUSE, looks, u64::MAX)
        };
        let is_first = flight.looks == 0;
        flight.looks = flight.looks.saturating_add(1);
        self.put_off(&key, now.after(pause));
        is_first
    }

    /// Nobody makes the call now: the next sweep does.
    pub(crate) fn leave_to_sweep(&mut self, project: usize, credential: &SessionCredential) {
        self.orphan(&(project, credential.clone()));
    }

    /// A call has ended: whether it is made again, by the next sweep. That depends on how it has `failed`, if it has, which
    /// is asked only where it matters.
    ///
    /// What the client may have caused is asked once more without what the client chose; that answer counts.
    pub(crate) fn try_again(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        failed: impl FnOnce() -> Option<ResolverError>,
        ended: Ended,
    ) -> bool {
        let Ended {
            user,
            early,
            now,
            entropy,
        } = ended;
        let key = (project, credential.clone());
        let may_retry = self.may_retry(project, user.as_deref());
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
                    (None, error)
                        if !flight.retried
                            && may_retry
                            && (error == ResolverError::Status(500)
                                || early && error.may_be_broken_connection()) =>
                    {
                        flight.retried = true;
                        self.retries.push((key.clone(), user));
                    }
                    (None, _) => return false,
                }
                later
            }
            // It would only add to what is too much.
            Some(ResolverError::Overloaded) => return false,
            Some(_) if flight.client.is_empty() => return false,
            Some(_) => {
                flight.client = ClientFacts::default();
                Ticks::default()
            }
        };
        flight.call = CallState::Due;
        self.put_off(&key, due_at);
        true
    }

    /// Whether one more call may be made again for this user of the project's.
    fn may_retry(&self, project: usize, user: Option<&str>) -> bool {
        let most = match user {
            Some(_) => MAX_RETRIES_PER_USER,
            None => MAX_RETRIES_FOR_STRANGERS,
        };
        let of_user = self.retries.iter().filter(|((place, _), other)| {
            other.as_deref() == user && (user.is_none() || *place == project)
        });
        self.retries.len() < MAX_RETRIES && of_user.count() < most
    }

    /// The answer is there: those who waited for it.
    pub(crate) fn land(&mut self, project: usize, credential: &SessionCredential) -> BTreeSet<W> {
        let key = (project, credential.clone());
        let flight = self.flights.remove(&key);
        flight.map_or_else(BTreeSet::new, |flight| {
            self.forget(key, &flight);
            flight.waiting
        })
    }

    /// A request has gone. If it made the call, the answer is lost with it, and the next sweep makes it again. If nobody
    /// waits any more and no answer will come, nothing is left of it at once.
    pub(crate) fn leave(&mut self, project: usize, credential: &SessionCredential, request: W) {
        let key = (project, credential.clone());
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        flight.waiting.remove(&request);
        let is_left = flight.waiting.is_empty();
        if is_left && flight.background {
            flight.client = ClientFacts::default();
        }
        if flight.call == CallState::Leader(request) {
            flight.second_chances = SECOND_CHANCES;
            self.orphan(&key);
        }
        if is_left {
            self.drop_if_dead(key);
        }
    }

    /// Drops a flight that nobody waits for and whose call is not to be made.
    fn drop_if_dead(&mut self, key: FlightKey) {
        let flight = self.flights.get(&key);
        let is_dead = flight.is_some_and(|flight| {
            flight.waiting.is_empty() && !flight.background && flight.call.is_due()
        });
        if is_dead && let Some(flight) = self.flights.remove(&key) {
            self.abandon(key.clone());
            self.forget(key, &flight);
        }
    }

    /// The calls that are to be made by somebody whose answers are not lost: those that were booked, and those whose
    /// answers are lost, but for the ones that nobody waits for; [`Flights::take_lost`] says which of those were booked. At
    /// most `most` calls, and so many more flights looked at: see [`Flights::is_due`] for whether there are more.
    pub(crate) fn sweep(
        &mut self,
        now: Ticks,
        most: usize,
        patience: impl Fn(usize) -> Duration,
    ) -> Vec<DueCall> {
        let mut again = Vec::new();
        for _ in 0..most.saturating_add(MAX_SKIPPED) {
            if again.len() >= most {
                break;
            }
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
            if flight.waiting.is_empty() && !flight.call.is_due() {
                if flight.background {
                    self.lost.push(key.clone());
                }
                if let Some(flight) = self.flights.remove(&key) {
                    self.abandon(key.clone());
                    self.forget(key, &flight);
                }
                continue;
            }
            let before = std::mem::replace(&mut flight.call, CallState::Swept);
            again.push(DueCall {
                project: key.0,
                credential: key.1.clone(),
                client: flight.client.clone(),
                other: match before {
                    CallState::Other(other) => Some(other),
                    _ => None,
                },
            });
            let due_at = now.after(patience(key.0));
            self.put_off(&key, due_at);
        }
        again
    }

    fn abandon(&mut self, key: FlightKey) {
        if self.abandoned.len() < MAX_ABANDONED {
            self.abandoned.push(key);
        }
    }

    /// The calls of which nothing will be heard, and that nobody waits for any more, since this was last asked.
    pub(crate) fn take_abandoned(&mut self) -> Vec<(usize, SessionCredential)> {
        std::mem::take(&mut self.abandoned)
    }

    /// Everything that is asked, or about to be.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &(usize, SessionCredential)> {
        self.flights.keys()
    }

    /// The requests that wait for an answer.
    pub(crate) fn waiting(
        &self,
        project: usize,
        credential: &SessionCredential,
    ) -> impl Iterator<Item = W> {
        let flight = self.flights.get(&(project, credential.clone()));
        flight
            .into_iter()
            .flat_map(|flight| flight.waiting.iter().copied())
    }

    /// The other worker whose answer is waited for.
    #[must_use]
    pub(crate) fn other(
        &self,
        project: usize,
        credential: &SessionCredential,
    ) -> Option<OtherWorker> {
        match self.flights.get(&(project, credential.clone()))?.call {
            CallState::Other(other) => Some(other),
            _ => None,
        }
    }

    /// The calls that were booked, and of which nothing will be heard any more, since this was last asked.
    pub(crate) fn take_lost(&mut self) -> Vec<(usize, SessionCredential)> {
        std::mem::take(&mut self.lost)
    }

    /// Whether a sweep would find something to do.
    #[must_use]
    pub(crate) fn is_due(&self, now: Ticks) -> bool {
        self.due.first().is_some_and(|(due_at, _)| *due_at <= now)
    }

    /// Whether a sweep would find something to do so soon that the next tick must not be waited for.
    #[must_use]
    pub(crate) fn is_due_soon(&self, now: Ticks) -> bool {
        self.is_due(now.after(LONGEST_LOOK_PAUSE))
    }

    /// How many calls are under way.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    fn orphan(&mut self, key: &FlightKey) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.call = CallState::Due;
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
        self.sessions.remove(key.0, &key.1);
        if flight.retried {
            self.retries.retain(|(other, _)| *other != key);
        }
        self.due.remove(&(flight.due_at, key));
        if flight.background {
            self.background = self.background.saturating_sub(1);
        }
    }
}
