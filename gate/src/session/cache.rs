//! The cache of the resolver's verdicts.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::answer::freshness;
use super::{Heard, ResolverError, SessionCredential, Verdict};
use crate::config::SessionPolicy;
use crate::hashing::{self, Hasher};
use crate::time::{Ticks, jitter};

/// Caches what the resolver said of a credential, for `ttl` (a yes) or `negative_ttl` (a no), counted from when it was
/// asked. Errors are never cached; in an outage of the resolver, a yes is served for `stale_if_error` longer.
///
/// Negative entries have a cache of their own: no flood of made-up cookies evicts a good session. Of one user's good
/// sessions the last [`MAX_SESSIONS_PER_USER`] are cached: whoever sends a good cookie beside one that changes with each
/// request evicts only their own.
#[derive(Debug)]
pub(crate) struct SessionCache {
    valid: Option<Entries>,
    invalid: Option<Entries>,
    /// The good sessions of each user, the last one that was asked for at the end.
    users: HashMap<Box<str>, Vec<SessionCredential>, Hasher>,
    /// Good sessions that were evicted since [`SessionCache::take_evicted`] was last called.
    evicted: u32,
}

type Entries = LruCache<SessionCredential, Entry, Hasher>;

#[derive(Debug)]
struct Entry {
    verdict: Verdict,
    /// When the resolver was asked.
    at: Ticks,
    fresh_for: Duration,
    /// How long it may be served where the resolver fails.
    good_for: Duration,
    /// From then on the first hit refreshes it; `None`: it is not refreshed.
    refresh_at: Option<Ticks>,
}

/// An entry with a shorter life is not refreshed ahead: that would mean too many calls.
const MIN_REFRESHED_TTL: Duration = Duration::from_secs(1);
/// How many good sessions of one user are cached at most.
pub(super) const MAX_SESSIONS_PER_USER: usize = 8;
/// How many negative entries there are at most.
const MAX_INVALID_SESSIONS: usize = 1_024;
/// The longest credential that is cached, in bytes; Authgear's are far shorter.
const MAX_CREDENTIAL_BYTES: usize = 4_096;

/// What the cache has for a credential.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CacheLookup {
    /// A fresh verdict.
    Hit {
        /// What it is.
        verdict: Verdict,
        /// Whether it is to be refreshed in the background: only one caller gets `true`.
        refresh: bool,
    },
    /// No fresh verdict.
    Miss,
}

impl SessionCache {
    /// A cache of at most so many good sessions, and no more negative entries; 0: nothing is cached.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        let entries = |capacity| {
            let capacity = NonZeroUsize::new(capacity)?;
            Some(hashing::bounded(capacity))
        };
        Self {
            valid: entries(capacity),
            invalid: entries(capacity.min(MAX_INVALID_SESSIONS)),
            users: HashMap::with_hasher(hashing::seeded()),
            evicted: 0,
        }
    }

    /// Looks up a credential.
    pub(crate) fn get(&mut self, credential: &SessionCredential, now: Ticks) -> CacheLookup {
        for entries in [&mut self.valid, &mut self.invalid].into_iter().flatten() {
            match entries.get_mut(credential) {
                Some(entry) if now.since(entry.at) < entry.fresh_for => {
                    let refresh = entry.refresh_at.is_some_and(|at| at <= now);
                    if refresh {
                        // If the refresh fails, another is due after this pause.
                        let pause = entry.fresh_for.mul_f64(0.25).max(MIN_REFRESHED_TTL);
                        entry.refresh_at = Some(now.after(pause));
                    }
                    return CacheLookup::Hit {
                        verdict: entry.verdict.clone(),
                        refresh,
                    };
                }
                _ => {}
            }
        }
        CacheLookup::Miss
    }

    /// Caches what the resolver said, and returns the verdict on the credential: the resolver's, or, in an
    /// [outage](ResolverError::is_outage), the last valid one, if it is not too old.
    ///
    /// # Errors
    /// The resolver gave no verdict, and there is no cached one that may be served.
    pub(crate) fn settle(
        &mut self,
        credential: &SessionCredential,
        said: Result<Verdict, ResolverError>,
        heard: Heard<'_>,
        policy: &SessionPolicy,
        now: Ticks,
        entropy: u64,
    ) -> Result<Verdict, ResolverError> {
        match said {
            Ok(verdict) => {
                let limit = heard.answer.and_then(freshness).unwrap_or(Duration::MAX);
                self.insert(credential, &verdict, policy, limit, heard.asked_at, entropy);
                Ok(verdict)
            }
            Err(error) if error.is_outage() => self.last_valid(credential, now).ok_or(error),
            // Clients can cause it: no stale verdict is served.
            Err(error) => Err(error),
        }
    }

    /// The last valid verdict on a credential, if it may be served in an outage of the resolver.
    pub(crate) fn last_valid(
        &mut self,
        credential: &SessionCredential,
        now: Ticks,
    ) -> Option<Verdict> {
        let entry = self.valid.as_mut()?.get(credential)?;
        (now.since(entry.at) < entry.good_for).then(|| entry.verdict.clone())
    }

    /// Whether a good session is cached and fresh.
    #[must_use]
    pub(crate) fn is_fresh(&self, credential: &SessionCredential, now: Ticks) -> bool {
        let entry = self
            .valid
            .as_ref()
            .and_then(|entries| entries.peek(credential));
        entry.is_some_and(|entry| now.since(entry.at) < entry.fresh_for)
    }

    /// When the resolver was asked for the cached verdict on a credential, if there is one.
    #[must_use]
    pub(crate) fn asked_at(&self, credential: &SessionCredential) -> Option<Ticks> {
        let caches = [&self.valid, &self.invalid].into_iter().flatten();
        let entries = caches.filter_map(|entries| entries.peek(credential));
        entries.map(|entry| entry.at).max()
    }

    /// How many good sessions were evicted since this was last called.
    pub(crate) fn take_evicted(&mut self) -> u32 {
        std::mem::take(&mut self.evicted)
    }

    /// How many good sessions are cached.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.valid.as_ref().map_or(0, LruCache::len)
    }

    fn insert(
        &mut self,
        credential: &SessionCredential,
        verdict: &Verdict,
        policy: &SessionPolicy,
        limit: Duration,
        asked_at: Ticks,
        entropy: u64,
    ) {
        self.remove(credential);
        let (ttl, stale) = match verdict {
            Verdict::Valid(_) => (policy.ttl, policy.stale_if_error),
            Verdict::Invalid => (policy.negative_ttl, Duration::ZERO),
        };
        let fresh_for = ttl.min(limit);
        // What must not be cached is not served in an outage either.
        let stale = if limit.is_zero() {
            Duration::ZERO
        } else {
            stale
        };
        let good_for = fresh_for.saturating_add(stale);
        if good_for.is_zero() || credential.len() > MAX_CREDENTIAL_BYTES {
            return;
        }
        let refreshed = matches!(verdict, Verdict::Valid(_)) && fresh_for >= MIN_REFRESHED_TTL;
        let entry = Entry {
            verdict: verdict.clone(),
            at: asked_at,
            fresh_for,
            good_for,
            // At 50 to 75 per cent of its time: workers and sessions that began together do not ask together.
            refresh_at: refreshed.then(|| {
                asked_at.after(
                    fresh_for
                        .mul_f64(0.5)
                        .saturating_add(jitter(fresh_for.mul_f64(0.25), entropy)),
                )
            }),
        };
        match verdict.user_id() {
            Some(user) => self.insert_valid(credential, user, entry),
            None => {
                if let Some(invalid) = &mut self.invalid {
                    invalid.push(credential.clone(), entry);
                }
            }
        }
    }

    fn insert_valid(&mut self, credential: &SessionCredential, user: &str, entry: Entry) {
        let Some(valid) = &mut self.valid else {
            return;
        };
        let sessions = self.users.entry(user.into()).or_default();
        if sessions.len() >= MAX_SESSIONS_PER_USER {
            // The user's own oldest.
            valid.pop(&sessions.remove(0));
            self.evicted = self.evicted.saturating_add(1);
        }
        sessions.push(credential.clone());
        if let Some((evicted, entry)) = valid.push(credential.clone(), entry) {
            self.evicted = self.evicted.saturating_add(1);
            self.remove_from_user(&evicted, &entry.verdict);
        }
    }

    fn remove(&mut self, credential: &SessionCredential) {
        if let Some(invalid) = &mut self.invalid {
            invalid.pop(credential);
        }
        let before = self.valid.as_mut().and_then(|valid| valid.pop(credential));
        if let Some(before) = before {
            self.remove_from_user(credential, &before.verdict);
        }
    }

    /// Removes a session from its user's list.
    fn remove_from_user(&mut self, credential: &SessionCredential, verdict: &Verdict) {
        let Some(user) = verdict.user_id() else {
            return;
        };
        if let Some(sessions) = self.users.get_mut(user) {
            sessions.retain(|other| other != credential);
            if sessions.is_empty() {
                self.users.remove(user);
            }
        }
    }
}
