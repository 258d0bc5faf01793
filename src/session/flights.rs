//! Calls to the resolver that are under way, and who waits for each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use super::{ClientFacts, SessionCredential};
use crate::time::Ticks;

/// One call per credential, however many requests ask. `W` names a waiting request.
///
/// A flight may also be booked in the background, with nobody waiting: the next sweep makes its call, and whoever asks
/// the same meanwhile joins it.
#[derive(Debug)]
pub struct Flights<W> {
    flights: HashMap<FlightKey, Flight<W>>,
    /// How many calls are under way, or booked, that were booked in the background.
    background: usize,
}

/// A project, by its place, and a credential: nothing else tells two calls apart.
type FlightKey = (usize, SessionCredential);

/// A call that is under way.
#[derive(Debug)]
pub struct Flight<W> {
    waiting: Vec<W>,
    /// The request whose callback made the call: with it, the answer is lost.
    leader: Option<W>,
    overdue_at: Ticks,
    client: ClientFacts,
    background: Background,
    /// How often a failed call is made again: Authgear locks a session while it is asked for, and the call whose answer
    /// was lost may still hold the lock.
    second_chances: u8,
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
            background: 0,
        }
    }
}

impl<W: Copy + PartialEq> Flights<W> {
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
            flight.waiting.push(request);
            return Boarding::Join;
        }
        let flight = Flight {
            waiting: vec![request],
            leader: Some(request),
            overdue_at: now.after(patience),
            client,
            background: Background::No,
            second_chances: 0,
        };
        self.flights.insert(key, flight);
        Boarding::Lead
    }

    /// Books a call that nobody waits for; the next sweep makes it. `false`: too many such calls are under way. Where
    /// the same is asked already, that will do.
    pub fn book(
        &mut self,
        project: usize,
        credential: SessionCredential,
        client: ClientFacts,
    ) -> bool {
        if self.background >= MOST_IN_BACKGROUND {
            return false;
        }
        if let Entry::Vacant(vacant) = self.flights.entry((project, credential)) {
            vacant.insert(Flight {
                waiting: Vec::new(),
                leader: None,
                overdue_at: Ticks::default(),
                client,
                background: Background::Booked,
                second_chances: 0,
            });
            self.background = self.background.saturating_add(1);
        }
        true
    }

    /// Nobody makes the call now: the next sweep does.
    pub fn leave_to_sweep(&mut self, project: usize, credential: &SessionCredential) {
        if let Some(flight) = self.flights.get_mut(&(project, credential.clone())) {
            flight.orphan();
        }
    }

    /// A call has ended: whether it is made again, by the next sweep, because it has `failed`, which is asked only where it
    /// matters.
    pub fn try_again(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        failed: impl FnOnce() -> bool,
    ) -> bool {
        let flight = self.flights.get_mut(&(project, credential.clone()));
        let Some(flight) = flight.filter(|flight| !flight.waiting.is_empty()) else {
            return false;
        };
        let Some(left) = flight.second_chances.checked_sub(1) else {
            return false;
        };
        if !failed() {
            return false;
        }
        flight.second_chances = left;
        flight.orphan();
        true
    }

    /// The answer is there: those who waited for it.
    pub fn land(&mut self, project: usize, credential: &SessionCredential) -> Vec<W> {
        let Some(flight) = self.flights.remove(&(project, credential.clone())) else {
            return Vec::new();
        };
        if flight.background != Background::No {
            self.background = self.background.saturating_sub(1);
        }
        flight.waiting
    }

    /// A request has gone. If it made the call, the answer is lost with it, and the next sweep makes it again.
    pub fn leave(&mut self, project: usize, credential: &SessionCredential, request: W) {
        let Some(flight) = self.flights.get_mut(&(project, credential.clone())) else {
            return;
        };
        flight.waiting.retain(|waiting| *waiting != request);
        if flight.leader == Some(request) {
            flight.orphan();
            flight.second_chances = SECOND_CHANCES;
        }
    }

    /// The calls that are to be made by somebody whose answers are not lost: those that were booked, and those whose
    /// answers are lost, but for the ones that nobody waits for.
    pub fn sweep(
        &mut self,
        now: Ticks,
        patience: impl Fn(usize) -> Duration,
    ) -> Vec<(usize, SessionCredential, ClientFacts)> {
        let mut again = Vec::new();
        let background = &mut self.background;
        self.flights.retain(|(project, credential), flight| {
            if now < flight.overdue_at {
                return true;
            }
            if flight.waiting.is_empty() && flight.background != Background::Booked {
                if flight.background == Background::Called {
                    *background = background.saturating_sub(1);
                }
                return false;
            }
            if flight.background == Background::Booked {
                flight.background = Background::Called;
            }
            flight.leader = None;
            flight.overdue_at = now.after(patience(*project));
            again.push((*project, credential.clone(), flight.client.clone()));
            true
        });
        again
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
}

impl<W> Flight<W> {
    fn orphan(&mut self) {
        self.leader = None;
        self.overdue_at = Ticks::default();
    }
}
