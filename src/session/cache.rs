//! Verdicts of the resolver, remembered for a while.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::answer::freshness;
use super::{ResolverError, SessionCredential, Verdict};
use crate::callout::Answer;
use crate::config::SessionPolicy;
use crate::time::Ticks;

/// Remembers what the resolver said of a credential, for `ttl` (a yes) or `negative_ttl` (a no). Errors are never
/// remembered; a yes is, for `stale_if_error` longer, given again where the resolver fails.
#[derive(Debug)]
pub struct SessionCache {
    entries: Option<LruCache<SessionCredential, Entry>>,
}

#[derive(Debug)]
struct Entry {
    verdict: Verdict,
    at: Ticks,
    fresh_for: Duration,
}

/// What is remembered of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recalled {
    /// The resolver's word, fresh enough.
    Fresh(Verdict),
    /// Nothing that is fresh enough.
    Nothing,
}

impl SessionCache {
    /// A memory of as many verdicts; none: nothing is remembered.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: NonZeroUsize::new(capacity).map(LruCache::new),
        }
    }

    /// What is remembered of a credential.
    pub fn recall(&mut self, credential: &SessionCredential, now: Ticks) -> Recalled {
        let entry = self
            .entries
            .as_mut()
            .and_then(|entries| entries.get(credential));
        match entry {
            Some(entry) if now.since(entry.at) < entry.fresh_for => {
                Recalled::Fresh(entry.verdict.clone())
            }
            _ => Recalled::Nothing,
        }
    }

    /// Takes what the resolver said in an answer, and gives the verdict on the credential: the resolver's, or, where it
    /// failed, the last one it gave, if that was a yes and not too long ago.
    ///
    /// # Errors
    /// The resolver failed, and there is no verdict to fall back on.
    pub fn settle(
        &mut self,
        credential: &SessionCredential,
        said: Result<Verdict, ResolverError>,
        answer: Option<&Answer>,
        policy: &SessionPolicy,
        now: Ticks,
    ) -> Result<Verdict, ResolverError> {
        match said {
            Ok(verdict) => {
                let limit = answer.and_then(freshness).unwrap_or(Duration::MAX);
                self.remember(credential, &verdict, policy, limit, now);
                Ok(verdict)
            }
            Err(error) => self.last_yes(credential, policy, now).ok_or(error),
        }
    }

    /// How many verdicts are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, LruCache::len)
    }

    /// Whether no verdict is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remember(
        &mut self,
        credential: &SessionCredential,
        verdict: &Verdict,
        policy: &SessionPolicy,
        limit: Duration,
        now: Ticks,
    ) {
        let Some(entries) = self.entries.as_mut() else {
            return;
        };
        let ttl = match verdict {
            Verdict::Valid(_) => policy.ttl,
            Verdict::Invalid => policy.negative_ttl,
        };
        let fresh_for = ttl.min(limit);
        let useful = !fresh_for.is_zero()
            || (matches!(verdict, Verdict::Valid(_))
                && !policy.stale_if_error.is_zero()
                && !limit.is_zero());
        if useful {
            let entry = Entry {
                verdict: verdict.clone(),
                at: now,
                fresh_for,
            };
            entries.put(credential.clone(), entry);
        } else {
            entries.pop(credential);
        }
    }

    fn last_yes(
        &mut self,
        credential: &SessionCredential,
        policy: &SessionPolicy,
        now: Ticks,
    ) -> Option<Verdict> {
        let entry = self.entries.as_mut()?.get(credential)?;
        let good_for = entry.fresh_for.saturating_add(policy.stale_if_error);
        let usable = matches!(entry.verdict, Verdict::Valid(_)) && now.since(entry.at) < good_for;
        usable.then(|| entry.verdict.clone())
    }
}
