//! The life of a project's keys.

use std::rc::Rc;
use std::time::Duration;

use super::document::{DroppedKey, KeySet};
use super::fetch::{FetchError, Stage, read_discovery, read_keys};
use crate::callout::{Answer, Call};
use crate::config::{Algorithm, Endpoint, KeyLocation, RemoteKeys};
use crate::jwt::TokenError;
use crate::time::Ticks;

/// The longest answer that is looked at, in bytes.
pub const LONGEST_BODY: usize = 8 * 1_048_576;

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Beyond the timeout of a call, which the host keeps: an answer that comes even later was lost.
const GRACE: Duration = Duration::from_secs(1);
const UNKNOWN_KEY_IDS: usize = 256;

/// The keys of a project, now and in time to come.
#[derive(Debug)]
pub struct KeyRing {
    set: Option<Rc<KeySet>>,
    /// Counts the key sets: what was verified under one is not verified under the next.
    generation: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Inline,
    Remote(Box<Remote>),
}

#[derive(Debug)]
struct Remote {
    endpoint: Endpoint,
    policy: RemoteKeys,
    /// The document that gave the current set.
    document: Vec<u8>,
    fetched_at: Ticks,
    /// When the next fetch is due.
    due_at: Ticks,
    in_flight: Option<InFlight>,
    last_id: FetchId,
    /// Fetches that failed since the last good one.
    failures: u32,
    unknown: UnknownKeyIds,
}

#[derive(Debug)]
struct InFlight {
    id: FetchId,
    stage: Stage,
    overdue_at: Ticks,
}

/// Tokens with a `kid` that is in no set: each may mean a rotation, and all of them together a flood.
#[derive(Debug)]
struct UnknownKeyIds {
    /// One of them may cause a fetch from then on.
    fetch_from: Ticks,
    /// Those that a fetch was made for in vain, and when they may cause another.
    in_vain: Vec<Retry>,
    wanted: bool,
}

#[derive(Debug)]
struct Retry {
    key_id: String,
    at: Ticks,
    pause: Duration,
}

/// What is known of a key.
#[derive(Debug)]
pub enum Lookup {
    /// Here it is.
    Found(Rc<KeySet>),
    /// It may be here soon: a fetch is under way, or about to be made.
    Wait,
    /// The keys are good, and it is not among them.
    Unknown(TokenError),
    /// There are no keys that are good enough. Time until the next try.
    Unavailable(Duration),
}

/// Tells the answer to one call from that to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchId(u64);

/// A call for keys, and what to say when its answer comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// To be given back with the answer.
    pub id: FetchId,
    /// The call.
    pub call: Call,
}

/// What came of a fetch.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The place of the keys is known now: this call fetches them.
    Discovered(Fetch),
    /// A new set is in place.
    Replaced {
        /// How many keys it has.
        keys: usize,
        /// Those that cannot be used.
        dropped: Vec<DroppedKey>,
        /// Whether fetches had failed before.
        recovered: bool,
    },
    /// The same set as before: it is as good as new.
    Confirmed {
        /// Whether fetches had failed before.
        recovered: bool,
    },
    /// None; the last one stays while it is good.
    Failed {
        /// Why.
        error: FetchError,
        /// How many in a row.
        failures: u32,
        /// Time until the next try.
        retry_in: Duration,
    },
    /// Nothing: the answer is to a fetch that was given up.
    Late,
}

impl KeyRing {
    /// Keys that are in the configuration.
    #[must_use]
    pub fn inline(set: KeySet) -> Self {
        Self {
            set: Some(Rc::new(set)),
            generation: 1,
            source: Source::Inline,
        }
    }

    /// Keys that are fetched; the first time at once.
    #[must_use]
    pub fn remote(endpoint: Endpoint, policy: RemoteKeys) -> Self {
        Self {
            set: None,
            generation: 0,
            source: Source::Remote(Box::new(Remote {
                endpoint,
                policy,
                document: Vec::new(),
                fetched_at: Ticks::default(),
                due_at: Ticks::default(),
                in_flight: None,
                last_id: FetchId::default(),
                failures: 0,
                unknown: UnknownKeyIds {
                    fetch_from: Ticks::default(),
                    in_vain: Vec::new(),
                    wanted: false,
                },
            })),
        }
    }

    /// The generation of the current set.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How long ago the keys were fetched, if they ever were.
    #[must_use]
    pub fn age(&self, now: Ticks) -> Option<Duration> {
        match (&self.set, &self.source) {
            (Some(_), Source::Remote(remote)) => Some(remote.age(now)),
            _ => None,
        }
    }

    /// Whether the current set is good enough to be believed.
    #[must_use]
    pub fn is_current(&self, now: Ticks) -> bool {
        match (&self.set, &self.source) {
            (None, _) => false,
            (Some(_), Source::Inline) => true,
            (Some(_), Source::Remote(remote)) => remote.age(now) <= remote.policy.longest_use(),
        }
    }

    /// Looks for the key of this ID. `waited`: whether the asker has waited for a fetch already.
    pub fn lookup(
        &mut self,
        key_id: &str,
        algorithm: Algorithm,
        waited: bool,
        now: Ticks,
    ) -> Lookup {
        let current = self.is_current(now);
        match (&self.set, &mut self.source) {
            (Some(set), source) if current => {
                let Err(error) = set.select(key_id, algorithm) else {
                    return Lookup::Found(Rc::clone(set));
                };
                match source {
                    Source::Remote(remote) if error == TokenError::UnknownKey => {
                        remote.unknown(key_id, waited, now)
                    }
                    _ => Lookup::Unknown(error),
                }
            }
            (_, Source::Remote(remote)) => remote.without_keys(now),
            // Inline keys are there and current by construction.
            (_, Source::Inline) => Lookup::Unavailable(LONGEST_BACK_OFF),
        }
    }

    /// The fetch that is to be made now, if any. Whoever is given it makes the call, and hands the answer to
    /// [`KeyRing::answered`].
    pub fn poll(&mut self, now: Ticks) -> Option<Fetch> {
        let Source::Remote(remote) = &mut self.source else {
            return None;
        };
        remote.poll(now)
    }

    /// Takes the answer to the call that [`KeyRing::poll`] gave; `None`: there was none.
    pub fn answered(
        &mut self,
        id: FetchId,
        answer: Option<&Answer>,
        now: Ticks,
        entropy: u64,
    ) -> Fetched {
        let Source::Remote(remote) = &mut self.source else {
            return Fetched::Late;
        };
        let awaited = remote.in_flight.take_if(|in_flight| in_flight.id == id);
        let Some(InFlight { stage, .. }) = awaited else {
            return Fetched::Late;
        };
        let outcome = match (stage, answer.ok_or(FetchError::NoAnswer)) {
            (_, Err(error)) => Err(error),
            (Stage::Discovery, Ok(answer)) => match read_discovery(answer, &remote.endpoint) {
                Ok(path) => return Fetched::Discovered(remote.start(Stage::Keys(path), now)),
                Err(error) => Err(error),
            },
            (Stage::Keys(_), Ok(answer)) => read_keys(answer, &remote.document),
        };
        match outcome {
            Ok(None) => Fetched::Confirmed {
                recovered: remote.succeeded(now, entropy),
            },
            Ok(Some((document, set, dropped))) => {
                let recovered = remote.succeeded(now, entropy);
                let keys = set.count();
                remote.document = document;
                self.set = Some(Rc::new(set));
                self.generation = self.generation.saturating_add(1);
                Fetched::Replaced {
                    keys,
                    dropped,
                    recovered,
                }
            }
            Err(error) => {
                let asked = answer.and_then(Answer::retry_after);
                let retry_in = remote.failed(asked, now, entropy);
                Fetched::Failed {
                    error,
                    failures: remote.failures,
                    retry_in,
                }
            }
        }
    }

    /// Keeps the `kid`s of tokens that waited for a fetch in vain from causing the next.
    pub fn in_vain(&mut self, key_id: &str, now: Ticks) {
        if let Source::Remote(remote) = &mut self.source {
            remote.in_vain(key_id, now);
        }
    }
}

impl RemoteKeys {
    fn longest_use(&self) -> Duration {
        self.refresh.saturating_add(self.max_stale)
    }
}

impl Remote {
    fn age(&self, now: Ticks) -> Duration {
        now.since(self.fetched_at)
    }

    fn poll(&mut self, now: Ticks) -> Option<Fetch> {
        if let Some(in_flight) = &self.in_flight {
            if now < in_flight.overdue_at {
                return None;
            }
            self.in_flight = None;
        }
        if now < self.due_at && !self.unknown.wanted {
            return None;
        }
        if self.unknown.wanted {
            self.unknown.wanted = false;
            self.unknown.fetch_from = now.after(self.policy.unknown_kid_cooldown);
        }
        let stage = match &self.policy.location {
            KeyLocation::Path(path) => Stage::Keys(path.clone()),
            KeyLocation::Discover => Stage::Discovery,
        };
        Some(self.start(stage, now))
    }

    fn start(&mut self, stage: Stage, now: Ticks) -> Fetch {
        let call = stage.call(&self.endpoint, &self.policy);
        let overdue_at = now.after(self.policy.timeout.saturating_add(GRACE));
        let id = FetchId(self.last_id.0.wrapping_add(1));
        self.last_id = id;
        self.in_flight = Some(InFlight {
            id,
            stage,
            overdue_at,
        });
        Fetch { id, call }
    }

    /// Without a good set: wait for the first fetch, and for one that is under way; else say when the next is due.
    fn without_keys(&self, now: Ticks) -> Lookup {
        if self.in_flight.is_some() || self.due_at <= now {
            Lookup::Wait
        } else {
            Lookup::Unavailable(self.due_at.since(now))
        }
    }

    /// A key that the set does not have: it may be in the next one, which is fetched for its sake if need be.
    fn unknown(&mut self, key_id: &str, waited: bool, now: Ticks) -> Lookup {
        let unknown = Lookup::Unknown(TokenError::UnknownKey);
        // Authgear cannot be asked: nobody knows whether it has rotated its keys, and the back-off stands.
        if self.failures > 0 && self.in_flight.is_none() {
            return Lookup::Unavailable(self.due_at.since(now));
        }
        let mut in_vain = self.unknown.in_vain.iter();
        if waited || in_vain.any(|retry| retry.key_id == key_id && now < retry.at) {
            return unknown;
        }
        if self.in_flight.is_some() {
            return Lookup::Wait;
        }
        if now < self.unknown.fetch_from {
            return unknown;
        }
        self.unknown.wanted = true;
        Lookup::Wait
    }

    fn in_vain(&mut self, key_id: &str, now: Ticks) {
        const LONGEST_KEY_ID: usize = 256;
        if key_id.len() > LONGEST_KEY_ID {
            return;
        }
        let known = &mut self.unknown.in_vain;
        let place = known.iter().position(|retry| retry.key_id == key_id);
        let before = place.map(|place| known.remove(place).pause);
        if known.len() >= UNKNOWN_KEY_IDS {
            // The oldest.
            known.remove(0);
        }
        let cooldown = self.policy.unknown_kid_cooldown;
        let pause = before.map_or(cooldown, |pause| {
            pause
                .saturating_mul(2)
                .min(self.policy.refresh)
                .max(cooldown)
        });
        known.push(Retry {
            key_id: key_id.to_owned(),
            at: now.after(pause),
            pause,
        });
    }

    /// Whether fetches had failed before.
    fn succeeded(&mut self, now: Ticks, entropy: u64) -> bool {
        let recovered = self.failures > 0;
        self.failures = 0;
        self.fetched_at = now;
        // Ahead of time, at 80 to 95 per cent of it.
        let ahead = self.policy.refresh.mul_f64(0.80);
        let spread = self.policy.refresh.mul_f64(0.15);
        self.due_at = now.after(ahead.saturating_add(jitter(spread, entropy)));
        recovered
    }

    /// Time until the next try.
    fn failed(&mut self, asked: Option<Duration>, now: Ticks, entropy: u64) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let longest = FIRST_BACK_OFF
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
            .min(LONGEST_BACK_OFF);
        let half = longest.mul_f64(0.5);
        let back_off = half.saturating_add(jitter(half, entropy));
        let asked = asked.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let retry_in = back_off.max(asked);
        self.due_at = now.after(retry_in);
        retry_in
    }
}

/// Some time between nothing and `most`.
fn jitter(most: Duration, entropy: u64) -> Duration {
    // Ten bits are spread enough, and exact in a double.
    most.mul_f64((entropy & 0x3ff) as f64 / 1_023.0)
}
