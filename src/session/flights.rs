//! Calls to the resolver that are under way, and who waits for each.

use std::collections::HashMap;
use std::time::Duration;

use super::{ClientFacts, SessionCredential};
use crate::time::Ticks;

/// One call per credential, however many requests ask. `W` names a waiting request.
#[derive(Debug)]
pub struct Flights<W> {
    flights: HashMap<FlightKey, Flight<W>>,
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
    /// How often a failed call is made again: Authgear locks a session while it is asked for, and the call whose answer
    /// was lost may still hold the lock.
    second_chances: u8,
}

const SECOND_CHANCES: u8 = 3;

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
            second_chances: 0,
        };
        self.flights.insert(key, flight);
        Boarding::Lead
    }

    /// Nobody makes the call now: the next sweep does.
    pub fn leave_to_sweep(&mut self, project: usize, credential: &SessionCredential) {
        if let Some(flight) = self.flights.get_mut(&(project, credential.clone())) {
            flight.orphan();
        }
    }

    /// A call has failed: whether it is made again, by the next sweep.
    pub fn try_again(&mut self, project: usize, credential: &SessionCredential) -> bool {
        let flight = self.flights.get_mut(&(project, credential.clone()));
        let Some(flight) = flight.filter(|flight| !flight.waiting.is_empty()) else {
            return false;
        };
        let Some(left) = flight.second_chances.checked_sub(1) else {
            return false;
        };
        flight.second_chances = left;
        flight.orphan();
        true
    }

    /// The answer is there: those who waited for it.
    pub fn land(&mut self, project: usize, credential: &SessionCredential) -> Vec<W> {
        let flight = self.flights.remove(&(project, credential.clone()));
        flight.map(|flight| flight.waiting).unwrap_or_default()
    }

    /// A request has gone. `true`: the answer to its call is lost with it.
    pub fn leave(&mut self, project: usize, credential: &SessionCredential, request: W) -> bool {
        let Some(flight) = self.flights.get_mut(&(project, credential.clone())) else {
            return false;
        };
        flight.waiting.retain(|waiting| *waiting != request);
        let led = flight.leader == Some(request);
        if led {
            flight.orphan();
            flight.second_chances = SECOND_CHANCES;
        }
        led
    }

    /// The calls whose answers are lost: those that nobody waits for are dropped, the others are to be made again, by
    /// somebody whose answers are not lost.
    pub fn sweep(
        &mut self,
        now: Ticks,
        patience: impl Fn(usize) -> Duration,
    ) -> Vec<(usize, SessionCredential, ClientFacts)> {
        let mut again = Vec::new();
        self.flights.retain(|(project, credential), flight| {
            if now < flight.overdue_at {
                return true;
            }
            if flight.waiting.is_empty() {
                return false;
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
