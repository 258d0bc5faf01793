//! The key ring of a project.

use std::rc::Rc;
use std::time::Duration;

use super::fetch::FetchId;
use super::outcome::{Fetched, Lookup, Polled};
use super::refresher::{MAX_BACK_OFF, Refresher, SyncOutcome};
use super::shared::Shared;
use crate::callout::Answer;
use crate::config::RemoteKeys;
use crate::endpoint::Endpoint;
use crate::jose::{Algorithm, KeySet, NoKey};
use crate::time::Ticks;

/// The keys of a project: the current set, and when it is fetched anew.
#[derive(Debug)]
pub(crate) struct KeyRing {
    set: Option<KeySet>,
    /// Counts the key sets: a token that was verified with one set must be verified again with the next.
    generation: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Inline,
    Remote(Box<Refresher>),
}

impl KeyRing {
    /// A key ring of keys from the configuration.
    #[must_use]
    pub(crate) fn inline(set: KeySet) -> Self {
        Self {
            set: Some(set),
            generation: 1,
            source: Source::Inline,
        }
    }

    /// A key ring of keys that are fetched; the first fetch is due at once.
    #[must_use]
    pub(crate) fn remote(endpoint: Endpoint, policy: RemoteKeys) -> Self {
        Self {
            set: None,
            generation: 0,
            source: Source::Remote(Box::new(Refresher::new(endpoint, policy))),
        }
    }

    /// The generation of the current set.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// How long ago the keys were fetched, if they ever were.
    #[must_use]
    pub(crate) fn age(&self, now: Ticks) -> Option<Duration> {
        match (&self.set, &self.source) {
            (Some(_), Source::Remote(refresher)) => Some(refresher.age(now)),
            _ => None,
        }
    }

    /// Whether there is a set that is not too old.
    #[must_use]
    pub(crate) fn is_current(&self, now: Ticks) -> bool {
        match (&self.set, &self.source) {
            (None, _) => false,
            (Some(_), Source::Inline) => true,
            (Some(_), Source::Remote(refresher)) => refresher.is_current(now),
        }
    }

    /// Looks up the key of this ID. `waited`: whether the request has waited for a fetch already.
    pub(crate) fn lookup(
        &mut self,
        key_id: &str,
        algorithm: Algorithm,
        waited: bool,
        now: Ticks,
    ) -> Lookup {
        let current = self.is_current(now);
        match (&self.set, &mut self.source) {
            (Some(set), source) if current => {
                let error = match set.select(key_id, algorithm) {
                    Ok(key) => return Lookup::Found(Rc::clone(key)),
                    Err(error) => error,
                };
                match source {
                    Source::Remote(refresher) if error == NoKey::UnknownKeyId => {
                        refresher.unknown(key_id, waited, now)
                    }
                    _ => Lookup::Unknown(error),
                }
            }
            (_, Source::Remote(refresher)) => refresher.without_keys(now),
            // Inline keys are always there and current.
            (_, Source::Inline) => Lookup::Unavailable(MAX_BACK_OFF),
        }
    }

    /// Adopts what other workers have fetched.
    pub(crate) fn sync(&mut self, shared: Shared<'_>, now: Ticks) -> Polled {
        let Source::Remote(refresher) = &mut self.source else {
            return Polled::default();
        };
        let (outcome, _) = refresher.sync(shared, now);
        Polled {
            fetch: None,
            fetch_ended: self.take(outcome),
        }
    }

    /// Adopts what other workers have fetched, and says whether a fetch is due; only one worker gets it.
    pub(crate) fn poll(&mut self, shared: Shared<'_>, now: Ticks) -> Polled {
        let Source::Remote(refresher) = &mut self.source else {
            return Polled::default();
        };
        let (outcome, version) = refresher.sync(shared, now);
        let mut polled = refresher.poll(shared, version, now);
        polled.fetch_ended |= self.take(outcome);
        polled
    }

    /// Gives up the lease, because this worker ends: another worker can fetch at once.
    pub(crate) fn release(&mut self, shared: Shared<'_>) {
        if let Source::Remote(refresher) = &mut self.source {
            refresher.release(shared);
        }
    }

    /// Handles the answer to the call that [`KeyRing::poll`] returned; `None`: the call failed.
    pub(crate) fn answered(
        &mut self,
        id: FetchId,
        answer: Option<&Answer>,
        shared: Shared<'_>,
        now: Ticks,
        entropy: u64,
    ) -> Fetched {
        let Source::Remote(refresher) = &mut self.source else {
            return Fetched::Late;
        };
        let (fetched, set) = refresher.answered(id, answer, shared, now, entropy);
        self.replace(set);
        fetched
    }

    /// Records that a fetch did not bring the key of this ID, so that it does not cause the next fetch.
    pub(crate) fn record_miss(&mut self, key_id: &str, now: Ticks) {
        if let Source::Remote(refresher) = &mut self.source {
            refresher.record_miss(key_id, now);
        }
    }

    /// Applies the outcome. Whether a fetch of another worker has ended.
    fn take(&mut self, outcome: Option<SyncOutcome>) -> bool {
        match outcome {
            None => false,
            Some(SyncOutcome::Ended) => true,
            Some(SyncOutcome::Document(set)) => {
                self.replace(Some(set));
                true
            }
        }
    }

    fn replace(&mut self, set: Option<KeySet>) {
        if set.is_some() {
            self.set = set;
            self.generation = self.generation.saturating_add(1);
        }
    }
}
