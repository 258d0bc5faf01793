//! The keys of a project, now and in time to come.

use std::rc::Rc;
use std::time::Duration;

use super::fetch::FetchError;
use super::notice::Shared;
use super::remote::{LONGEST_BACK_OFF, News, Remote};
use crate::callout::{Answer, Call};
use crate::config::RemoteKeys;
use crate::endpoint::Endpoint;
use crate::jose::{Algorithm, DroppedKey, KeySet, NoKey, VerifyingKey};
use crate::time::Ticks;

/// The keys of a project, now and in time to come.
#[derive(Debug)]
pub struct KeyRing {
    set: Option<KeySet>,
    /// Counts the key sets: what was verified under one is not verified under the next.
    generation: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Inline,
    Remote(Box<Remote>),
}

/// What is known of a key.
#[derive(Debug)]
pub enum Lookup {
    /// Here it is.
    Found(Rc<VerifyingKey>),
    /// It may be here soon: a fetch is under way, or about to be made.
    Wait,
    /// The keys are good, and it is not among them.
    Unknown(NoKey),
    /// There are no keys that are good enough. Time until the next try.
    Unavailable(Duration),
}

/// Tells the answer to one call from that to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchId(pub(super) u64);

/// A call for keys, and what to say when its answer comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// To be given back with the answer.
    pub id: FetchId,
    /// The call.
    pub call: Call,
}

/// What a look at the time, and at what other workers did, has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// The fetch that is to be made now. Whoever is given it makes the call, and hands the answer to
    /// [`KeyRing::answered`].
    pub fetch: Option<Fetch>,
    /// Whether those who wait for keys can go on: a fetch of another worker's has ended, well or not.
    pub settled: bool,
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
        failures: u64,
        /// Time until the next try; if there are no keys that serve, while requests need some.
        retry_in: Duration,
        /// How long the last set serves yet; nothing, where there is none that does.
        serves_for: Option<Duration>,
    },
    /// Nothing: the answer is to a fetch that was given up, or that another worker has made since.
    Late,
}

impl KeyRing {
    /// Keys that are in the configuration.
    #[must_use]
    pub fn inline(set: KeySet) -> Self {
        Self {
            set: Some(set),
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
            source: Source::Remote(Box::new(Remote::new(endpoint, policy))),
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
            (Some(_), Source::Remote(remote)) => remote.is_current(now),
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
                let error = match set.select(key_id, algorithm) {
                    Ok(key) => return Lookup::Found(Rc::clone(key)),
                    Err(error) => error,
                };
                match source {
                    Source::Remote(remote) if error == NoKey::UnknownKeyId => {
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

    /// Looks at what other workers have fetched, and takes it over.
    pub fn sync(&mut self, shared: Shared<'_>, now: Ticks) -> Polled {
        let Source::Remote(remote) = &mut self.source else {
            return Polled::default();
        };
        let (news, _) = remote.sync(shared, now);
        Polled {
            fetch: None,
            settled: self.take(news),
        }
    }

    /// Looks at what other workers have fetched, and whether a fetch is due; only one worker is told to make it.
    pub fn poll(&mut self, shared: Shared<'_>, now: Ticks) -> Polled {
        let Source::Remote(remote) = &mut self.source else {
            return Polled::default();
        };
        let (news, version) = remote.sync(shared, now);
        let mut polled = remote.poll(shared, version, now);
        polled.settled |= self.take(news);
        polled
    }

    /// Lets other workers fetch at once what this one was about to: it ends.
    pub fn release(&mut self, shared: Shared<'_>) {
        if let Source::Remote(remote) = &mut self.source {
            remote.release(shared);
        }
    }

    /// Takes the answer to the call that [`KeyRing::poll`] gave; `None`: there was none.
    pub fn answered(
        &mut self,
        id: FetchId,
        answer: Option<&Answer>,
        shared: Shared<'_>,
        now: Ticks,
        entropy: u64,
    ) -> Fetched {
        let Source::Remote(remote) = &mut self.source else {
            return Fetched::Late;
        };
        let (fetched, set) = remote.answered(id, answer, shared, now, entropy);
        self.replace(set);
        fetched
    }

    /// Keeps the `kid`s of tokens that waited for a fetch in vain from causing the next.
    pub fn in_vain(&mut self, key_id: &str, now: Ticks) {
        if let Source::Remote(remote) = &mut self.source {
            remote.in_vain(key_id, now);
        }
    }

    /// Whether there were any.
    fn take(&mut self, news: Option<News>) -> bool {
        match news {
            None => false,
            Some(News::Ended) => true,
            Some(News::Document(set)) => {
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
