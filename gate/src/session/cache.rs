//! Verdicts of the resolver, remembered for a while.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::answer::freshness;
use super::{Heard, ResolverError, SessionCredential, Verdict};
use crate::config::SessionPolicy;
use crate::hashing::{self, Hasher};
use crate::time::{Ticks, jitter};

/// Remembers what the resolver said of a credential, for `ttl` (a yes) or `negative_ttl` (a no), counted from when it was asked. Errors are never
/// remembered; a yes is, for `stale_if_error` longer, given again in an outage of the resolver's.
///
/// The noes live in a memory of their own: no flood of made-up cookies drives out a good session. Of one user's good
/// sessions [`MAX_SESSIONS_PER_USER`] are remembered, the last asked for: whoever sends a good cookie beside one that
/// changes with each request drives out nobody's but their own.
#[derive(Debug)]
pub(crate) struct SessionCache {
    valid: Option<Entries>,
    invalid: Option<Entries>,
    /// The good sessions of each user, the one that was asked for last behind.
    users: HashMap<Box<str>, Vec<SessionCredential>, Hasher>,
    /// Good sessions that were forgotten before their time, since somebody asked.
    evicted: u32,
}

type Entries = LruCache<SessionCredential, Entry, Hasher>;

#[derive(Debug)]
struct Entry {
    verdict: Verdict,
    /// When the resolver was asked.
    at: Ticks,
    fresh_for: Duration,
    /// How long it will do where the resolver fails.
    good_for: Duration,
    /// From then on whoever asks for it has it asked for again; nobody, where there is no such moment.
    refresh_at: Option<Ticks>,
}

/// What is remembered for a shorter time is not refreshed ahead: the resolver would have little rest.
const MIN_REFRESHED_TTL: Duration = Duration::from_secs(1);
/// How many good sessions of one user are remembered at most.
pub(super) const MAX_SESSIONS_PER_USER: usize = 8;
/// How many noes are remembered at most.
const MAX_INVALID_SESSIONS: usize = 1_024;
/// The longest credential that is remembered, in bytes; Authgear's are far shorter.
const MAX_CREDENTIAL_BYTES: usize = 4_096;

/// What is remembered of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CacheLookup {
    /// The resolver's word, fresh enough.
    Hit {
        /// What it is.
        verdict: Verdict,
        /// Whether it is time to ask again, in the background: whoever is told so does so.
        refresh: bool,
    },
    /// Nothing that is fresh enough.
    Miss,
}

impl SessionCache {
    /// A memory of as many good sessions, and of no more bad ones; none: nothing is remembered.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        let entries = |capacity| {
            let capacity = NonZeroUsize::new(capacity)?;
            Some(LruCache::with_hasher(capacity, hashing::seeded()))
        };
        Self {
            valid: entries(capacity),
            invalid: entries(capacity.min(MAX_INVALID_SESSIONS)),
            users: HashMap::with_hasher(hashing::seeded()),
            evicted: 0,
        }
    }

    /// What is remembered of a credential.
    pub(crate) fn get(&mut self, credential: &SessionCredential, now: Ticks) -> CacheLookup {
        for entries in [&mut self.valid, &mut self.invalid].into_iter().flatten() {
            match entries.get_mut(credential) {
                Some(entry) if now.since(entry.at) < entry.fresh_for => {
                    let refresh = entry.refresh_at.is_some_and(|at| at <= now);
                    if refresh {
                        // Should nothing come of it, it is asked for again after a while.
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

    /// Takes what the resolver said in an answer, and gives the verdict on the credential: the resolver's, or, in an
    /// [outage](ResolverError::is_outage), the last one it gave, if that was a yes and not too long ago.
    ///
    /// # Errors
    /// The resolver gave no verdict, and there is none to fall back on.
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
            // Clients can cause it: it keeps nobody in.
            Err(error) => Err(error),
        }
    }

    /// The last word on a credential, in an outage of the resolver's: a yes, and not too long ago.
    pub(crate) fn last_valid(
        &mut self,
        credential: &SessionCredential,
        now: Ticks,
    ) -> Option<Verdict> {
        let entry = self.valid.as_mut()?.get(credential)?;
        (now.since(entry.at) < entry.good_for).then(|| entry.verdict.clone())
    }

    /// Whether a good session is remembered, and fresh.
    #[must_use]
    pub(crate) fn is_fresh(&self, credential: &SessionCredential, now: Ticks) -> bool {
        let entry = self
            .valid
            .as_ref()
            .and_then(|entries| entries.peek(credential));
        entry.is_some_and(|entry| now.since(entry.at) < entry.fresh_for)
    }

    /// When the resolver was asked for its last verdict on a credential, if that is remembered.
    #[must_use]
    pub(crate) fn asked_at(&self, credential: &SessionCredential) -> Option<Ticks> {
        let caches = [&self.valid, &self.invalid].into_iter().flatten();
        let entries = caches.filter_map(|entries| entries.peek(credential));
        entries.map(|entry| entry.at).max()
    }

    /// How many good sessions were forgotten for want of room since this was last asked.
    pub(crate) fn take_evicted(&mut self) -> u32 {
        std::mem::take(&mut self.evicted)
    }

    /// How many good sessions are remembered.
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
        // What must not be remembered is not remembered for an outage either.
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

    /// A session is no more among its user's.
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
