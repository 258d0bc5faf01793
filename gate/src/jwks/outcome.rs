//! What comes of asking for a key, of looking at the time, and of a fetch.

use std::rc::Rc;
use std::time::Duration;

use super::fetch::{Fetch, FetchError};
use crate::jose::{DroppedKey, NoKey, VerifyingKey};

/// What is known of a key.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Here it is.
    Found(Rc<VerifyingKey>),
    /// It may be here soon: a fetch is under way, or about to be made.
    Wait,
    /// The keys are good, and it is not among them.
    Unknown(NoKey),
    /// There are no keys that are good enough. Time until the next try.
    Unavailable(Duration),
}

/// What a look at the time, and at what other workers did, has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    /// The fetch that is to be made now. Whoever is given it makes the call, and hands the answer to
    /// [`KeyRing::answered`](super::KeyRing::answered).
    pub fetch: Option<Fetch>,
    /// Whether those who wait for keys can go on: a fetch of another worker's has ended, well or not.
    pub fetch_ended: bool,
}

/// What came of a fetch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
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
