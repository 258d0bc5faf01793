//! When keys are fetched, by which worker, and how long they are used.

use std::time::Duration;

use super::fetch::{
    Fetch, FetchError, FetchId, MAX_BODY_BYTES, NewKeys, Stage, read_discovery, read_keys,
};
use super::outcome::{Fetched, Lookup, Polled};
use super::shared::{FetchState, NotWritten, Shared, SharedStore};
use super::unknown::UnknownKeyIds;
use crate::callout::Answer;
use crate::config::{KeyLocation, RemoteKeys};
use crate::endpoint::Endpoint;
use crate::jose::{KeySet, NoKey};
use crate::time::{Ticks, back_off, jitter};

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
pub(super) const MAX_BACK_OFF: Duration = Duration::from_secs(60);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// The pause after a failed fetch while there are no usable keys and requests need some: from this to twice this.
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(1);
/// The longest such pause where Authgear asks for one: meanwhile every token is refused.
const MAX_RETRY_AFTER_WITHOUT_KEYS: Duration = Duration::from_secs(10);
/// Added to the timeout of a call, which the host enforces: an answer that is later still counts as lost.
const GRACE: Duration = Duration::from_secs(1);

/// Decides when this worker fetches a project's keys. What all workers share of that is a [`FetchState`].
#[derive(Debug)]
pub(super) struct Refresher {
    endpoint: Endpoint,
    policy: RemoteKeys,
    store: SharedStore,
    /// The fetch state, as this worker last read or wrote it.
    state: FetchState,
    /// The document that gave the current set.
    document: Option<Vec<u8>>,
    in_flight: Option<InFlight>,
    /// When the lease of another worker expires; the default: no other worker fetches.
    elsewhere_until: Ticks,
    last_id: FetchId,
    unknown: UnknownKeyIds,
    /// Whether a request has found no usable keys since the last fetch.
    needed: bool,
}

#[derive(Debug)]
struct InFlight {
    id: FetchId,
    stage: Stage,
    overdue_at: Ticks,
}

/// The outcome of another worker's fetch.
pub(super) enum SyncOutcome {
    /// It has ended, without new keys.
    Ended,
    /// New keys.
    Document(KeySet),
}

impl Refresher {
    pub(super) fn new(endpoint: Endpoint, policy: RemoteKeys) -> Self {
        Self {
            store: SharedStore::new(&endpoint, &policy),
            endpoint,
            policy,
            state: FetchState::default(),
            document: None,
            in_flight: None,
            elsewhere_until: Ticks::default(),
            last_id: FetchId::default(),
            unknown: UnknownKeyIds::default(),
            needed: false,
        }
    }

    pub(super) fn age(&self, now: Ticks) -> Duration {
        now.since(self.state.fetched_at)
    }

    pub(super) fn is_current(&self, now: Ticks) -> bool {
        self.age(now) <= self.longest_use()
    }

    fn longest_use(&self) -> Duration {
        self.policy.refresh.saturating_add(self.policy.max_stale)
    }

    /// How long the set can still be used, if there is a usable one.
    fn serves_for(&self, now: Ticks) -> Option<Duration> {
        let left = self.longest_use().checked_sub(self.age(now))?;
        self.document.as_ref().map(|_| left)
    }

    /// When the next fetch is due. Long pauses apply while a set can still be used; where requests need keys and there
    /// are none, the next fetch is soon.
    fn next_due_at(&self, now: Ticks) -> Ticks {
        if self.needed && self.serves_for(now).is_none() {
            self.state.due_at.min(self.state.needed_at)
        } else {
            self.state.due_at
        }
    }

    /// The lookup without a current set: it waits for a fetch that is due or in flight, else it says when the next is due.
    pub(super) fn without_keys(&mut self, now: Ticks) -> Lookup {
        self.needed = true;
        let due_at = self.next_due_at(now);
        if self.is_fetching(now) || due_at <= now {
            Lookup::Wait
        } else {
            Lookup::Unavailable(due_at.since(now))
        }
    }

    /// The lookup of a key that the set does not have: it may be in the next set, which is fetched for it if need be.
    pub(super) fn unknown(&mut self, key_id: &str, waited: bool, now: Ticks) -> Lookup {
        let fetching = self.is_fetching(now);
        // Authgear does not answer: whether it has rotated its keys is not known, and the back-off applies.
        if self.state.failures > 0 && !fetching {
            return Lookup::Unavailable(self.state.due_at.since(now));
        }
        if waited || self.unknown.was_missed(key_id, now) {
            return Lookup::Unknown(NoKey::UnknownKeyId);
        }
        if fetching {
            return Lookup::Wait;
        }
        if self.is_cooling_down(now) {
            return Lookup::Unknown(NoKey::UnknownKeyId);
        }
        self.unknown.refetch = true;
        Lookup::Wait
    }

    pub(super) fn record_miss(&mut self, key_id: &str, now: Ticks) {
        let (shortest, longest) = (self.policy.unknown_kid_cooldown, self.policy.refresh);
        self.unknown.record_miss(key_id, shortest, longest, now);
    }

    /// Adopts the fetch state of other workers. Also returns the version of the record that was read.
    pub(super) fn sync(
        &mut self,
        shared: Shared<'_>,
        now: Ticks,
    ) -> (Option<SyncOutcome>, Option<u32>) {
        let (fetch_state, version) = self.store.read_state(shared.data);
        let is_past = |time: Ticks| time <= now.after(GRACE);
        let Some(fetch_state) = fetch_state.filter(|fetch_state| {
            is_past(fetch_state.fetched_at) && is_past(fetch_state.unknown_at)
        }) else {
            // The first worker writes the fetch state: from then on only one worker at a time takes the lease.
            let written = self.store.write_state(shared.data, &self.state, version);
            let again = self.store.read_state(shared.data).1;
            return (None, written.ok().and(again));
        };
        self.state.unknown_at = fetch_state.unknown_at.min(now);
        let awaited = std::mem::take(&mut self.elsewhere_until) != Ticks::default();
        if let Some(lease_owner) = fetch_state.lease_owner(now, self.max_lease())
            && lease_owner != shared.worker
        {
            self.elsewhere_until = fetch_state.lease_expires_at;
        }
        if fetch_state.attempts == self.state.attempts {
            if awaited && self.elsewhere_until == Ticks::default() {
                // The worker that fetched has ended without an outcome, and requests may wait for its keys.
                self.state.due_at = self.state.due_at.min(now);
            }
            return (None, version);
        }
        // The answer that this worker waits for is older.
        self.in_flight = None;
        (Some(self.adopt(&fetch_state, shared, now)), version)
    }

    /// Adopts the outcome of another worker's fetch.
    fn adopt(&mut self, fetch_state: &FetchState, shared: Shared<'_>, now: Ticks) -> SyncOutcome {
        let (known, fetched_at) = (self.state.document_version, self.state.fetched_at);
        self.state = FetchState {
            fetched_at: fetch_state.fetched_at.min(now),
            due_at: self.due_at(fetch_state, now),
            needed_at: fetch_state
                .needed_at
                .min(now.after(MAX_RETRY_AFTER_WITHOUT_KEYS)),
            unknown_at: self.state.unknown_at,
            ..*fetch_state
        };
        self.needed = false;
        if fetch_state.document_version != known {
            let document = self.store.read_document(shared.data);
            let newer = document.filter(|(document_version, document)| {
                *document_version >= fetch_state.document_version
                    && document.len() <= MAX_BODY_BYTES
            });
            let Some((document_version, document)) = newer else {
                return self.fetch_anew(known, fetched_at, now);
            };
            if self.document.as_ref() != Some(&document) {
                let Ok((set, _)) = KeySet::parse(&document) else {
                    return self.fetch_anew(known, fetched_at, now);
                };
                self.state.document_version = document_version;
                self.document = Some(document);
                return SyncOutcome::Document(set);
            }
            self.state.document_version = document_version;
        }
        // What other workers write does not make the same document older.
        self.state.fetched_at = self.state.fetched_at.max(fetched_at);
        SyncOutcome::Ended
    }

    /// The document that the fetch state names is not there: only the end of the fetch is adopted, and a fetch is due.
    fn fetch_anew(&mut self, known: u64, fetched_at: Ticks, now: Ticks) -> SyncOutcome {
        self.state.document_version = known;
        self.state.fetched_at = fetched_at;
        self.state.due_at = now;
        SyncOutcome::Ended
    }

    /// When the next fetch is due, bounded by this worker's own policy: its configuration may be newer.
    fn due_at(&self, fetch_state: &FetchState, now: Ticks) -> Ticks {
        if fetch_state.failures > 0 {
            fetch_state.due_at.min(now.after(MAX_RETRY_AFTER))
        } else {
            let refresh = fetch_state.fetched_at.after(self.policy.refresh);
            fetch_state.due_at.min(refresh)
        }
    }

    /// Whether this worker is to fetch now.
    pub(super) fn poll(&mut self, shared: Shared<'_>, version: Option<u32>, now: Ticks) -> Polled {
        if self.is_fetching(now) {
            return Polled::default();
        }
        self.in_flight = None;
        if now < self.next_due_at(now) {
            if !self.unknown.refetch {
                return Polled::default();
            }
            if self.is_cooling_down(now) {
                // Another worker has fetched for an unknown `kid` since.
                self.unknown.refetch = false;
                return Polled {
                    fetch: None,
                    fetch_ended: true,
                };
            }
        }
        let mut fetch_state = self.lease(shared.worker, now);
        if self.unknown.refetch {
            fetch_state.unknown_at = now;
        }
        if self.store.write_state(shared.data, &fetch_state, version) == Err(NotWritten::Conflict) {
            // Another worker has taken the lease; the next poll adopts that.
            return Polled::default();
        }
        self.state = fetch_state;
        self.unknown.refetch = false;
        self.needed = false;
        let stage = match &self.policy.location {
            KeyLocation::Path(path) => Stage::Keys(path.clone()),
            KeyLocation::Discover => Stage::Discovery,
        };
        Polled {
            fetch: Some(self.start(stage, now)),
            fetch_ended: false,
        }
    }

    /// Gives up the lease, because this worker ends: another worker can fetch.
    pub(super) fn release(&mut self, shared: Shared<'_>) {
        if self.in_flight.take().is_none() {
            return;
        }
        let (fetch_state, version) = self.store.read_state(shared.data);
        if let Some(fetch_state) =
            fetch_state.filter(|fetch_state| fetch_state.lease_owner == shared.worker)
        {
            let released = FetchState {
                lease_owner: 0,
                ..fetch_state
            };
            // If that fails, the lease expires.
            let _ = self.store.write_state(shared.data, &released, version);
        }
    }

    /// Handles the answer to the fetch. Also returns the set, if there is a new one.
    pub(super) fn answered(
        &mut self,
        id: FetchId,
        answer: Option<&Answer>,
        shared: Shared<'_>,
        now: Ticks,
        entropy: u64,
    ) -> (Fetched, Option<KeySet>) {
        let awaited = self.in_flight.take_if(|in_flight| in_flight.id == id);
        let Some(InFlight { stage, .. }) = awaited else {
            return (Fetched::Late, None);
        };
        let asked = stage.path();
        let outcome = match (&stage, answer.ok_or(FetchError::NoAnswer)) {
            (_, Err(error)) => Err(error),
            (Stage::Discovery, Ok(answer)) => match read_discovery(answer, &self.endpoint, asked) {
                Ok(path) => {
                    let fetch = self.start(Stage::Keys(path), now);
                    return (Fetched::Discovered(fetch), None);
                }
                Err(error) => Err(error),
            },
            (Stage::Keys(_), Ok(answer)) => {
                read_keys(answer, &self.endpoint, asked, self.document.as_deref())
            }
        };
        let Some(version) = self.renew_lease(shared, now) else {
            return (Fetched::Late, None);
        };
        let asked = answer.and_then(Answer::retry_after);
        self.finish(outcome, asked, shared, version, now, entropy)
    }

    /// Renews the lease, and returns the version of the record over which this worker may publish its outcome. `None`:
    /// another worker has taken the lease since, and this worker's answer may be older.
    fn renew_lease(&self, shared: Shared<'_>, now: Ticks) -> Option<Option<u32>> {
        let (fetch_state, version) = self.store.read_state(shared.data);
        let Some(fetch_state) = fetch_state else {
            return Some(version);
        };
        if fetch_state.attempts != self.state.attempts || fetch_state.lease_owner != shared.worker {
            return None;
        }
        // Renewed, so that no other worker takes the lease between the writes of the document and of the fetch state.
        let lease = self.lease(shared.worker, now);
        match self.store.write_state(shared.data, &lease, version) {
            Ok(()) => Some(self.store.read_state(shared.data).1),
            Err(_) => None,
        }
    }

    fn finish(
        &mut self,
        outcome: Result<NewKeys, FetchError>,
        retry_after: Option<Duration>,
        shared: Shared<'_>,
        version: Option<u32>,
        now: Ticks,
        entropy: u64,
    ) -> (Fetched, Option<KeySet>) {
        let recovered = self.state.failures > 0;
        self.state.attempts = self.state.attempts.wrapping_add(1);
        self.state.lease_owner = 0;
        let fetched = match outcome {
            Ok(new) => {
                self.state.failures = 0;
                self.state.fetched_at = now;
                // Refreshed ahead of time, after 80 to 95 per cent of `refresh`.
                let ahead = self.policy.refresh.mul_f64(0.80);
                let spread = self.policy.refresh.mul_f64(0.15);
                self.state.due_at = now.after(ahead.saturating_add(jitter(spread, entropy)));
                match new {
                    None => (Fetched::Confirmed { recovered }, None),
                    Some((document, set, dropped)) => {
                        // Version 0 means no document, and successive versions differ.
                        self.state.document_version =
                            self.state.document_version.checked_add(1).unwrap_or(1);
                        let document_version = self.state.document_version;
                        self.store
                            .write_document(shared.data, document_version, &document);
                        self.document = Some(document);
                        let keys = set.count();
                        let replaced = Fetched::Replaced {
                            keys,
                            dropped,
                            recovered,
                        };
                        (replaced, Some(set))
                    }
                }
            }
            Err(error) => {
                let before = u32::try_from(self.state.failures.min(16)).unwrap_or(16);
                let asked = retry_after.unwrap_or_default();
                let pause = back_off(FIRST_BACK_OFF, MAX_BACK_OFF, before, entropy)
                    .max(asked.min(MAX_RETRY_AFTER));
                let needed = PAUSE_WITHOUT_KEYS
                    .saturating_add(jitter(PAUSE_WITHOUT_KEYS, entropy))
                    .max(asked.min(MAX_RETRY_AFTER_WITHOUT_KEYS));
                self.state.failures = self.state.failures.saturating_add(1);
                self.state.due_at = now.after(pause);
                self.state.needed_at = now.after(needed);
                let serves_for = self.serves_for(now);
                let failed = Fetched::Failed {
                    error,
                    failures: self.state.failures,
                    retry_in: if serves_for.is_some() {
                        pause
                    } else {
                        pause.min(needed)
                    },
                    serves_for,
                };
                (failed, None)
            }
        };
        // There is no conflict while the lease lasts; if there were one, the next poll would adopt the other state.
        let _ = self.store.write_state(shared.data, &self.state, version);
        fetched
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

    /// Whether the cooldown after a fetch for an unknown `kid` still runs.
    fn is_cooling_down(&self, now: Ticks) -> bool {
        let last = self.state.unknown_at;
        last != Ticks::default() && now < last.after(self.policy.unknown_kid_cooldown)
    }

    /// Whether a fetch is in flight: this worker's, or another's.
    fn is_fetching(&self, now: Ticks) -> bool {
        let own = self.in_flight.as_ref();
        own.is_some_and(|in_flight| now < in_flight.overdue_at) || now < self.elsewhere_until
    }

    /// The fetch state in which this worker has the lease.
    fn lease(&self, worker: u64, now: Ticks) -> FetchState {
        FetchState {
            lease_owner: worker,
            lease_expires_at: now.after(self.max_lease()),
            ..self.state
        }
    }

    /// The longest time that a fetch may take: discovery needs two calls, one after the other.
    fn max_lease(&self) -> Duration {
        let call = self.policy.timeout.saturating_add(GRACE);
        match self.policy.location {
            KeyLocation::Path(_) => call,
            KeyLocation::Discover => call.saturating_mul(2),
        }
    }
}
