//! The results of a key lookup, of a poll, and of a fetch.

use std::rc::Rc;
use std::time::Duration;

use super::fetch::{Fetch, FetchError};
use crate::jose::{DroppedKey, NoKey, VerifyingKey};

/// The result of a key lookup.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The key.
    Found(Rc<VerifyingKey>),
    /// It may come soon: a fetch is in flight, or is about to start.
    Wait,
    /// The keys are current, and it is not among them.
    Unknown(NoKey),
    /// There are no current keys. The time until the next fetch.
    Unavailable(Duration),
}

/// The result of a poll: of the time, and of what other workers did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    /// The fetch to make now. Whoever gets it makes the call, and passes the answer to
    /// [`KeyRing::answered`](super::KeyRing::answered).
    pub fetch: Option<Fetch>,
    /// Whether requests that wait for keys can proceed: a fetch of another worker has ended, with or without success.
    pub fetch_ended: bool,
}

/// The result of a fetch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The path of the keys is known now: this call fetches them.
    Discovered(Fetch),
    /// A new set is in use.
    Replaced {
        /// How many keys it has.
        keys: usize,
        /// The keys that cannot be used.
        dropped: Vec<DroppedKey>,
        /// Whether fetches had failed before.
        recovered: bool,
    },
    /// The same set as before: its age starts anew.
    Confirmed {
        /// Whether fetches had failed before.
        recovered: bool,
    },
    /// No set; the last one is used until it is too old.
    Failed {
        /// Why.
        error: FetchError,
        /// How many fetches have failed in a row.
        failures: u64,
        /// The time until the next fetch; if there are no usable keys, the time while requests need some.
        retry_in: Duration,
        /// How long the last set can still be used; `None`: there is no usable set.
        serves_for: Option<Duration>,
    },
    /// Nothing: the fetch was given up, or another worker has made it since.
    Late,
}
