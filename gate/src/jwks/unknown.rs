//! Tokens with an unknown `kid`: one may mean that the keys were rotated, many may be a flood.

use std::time::Duration;

use crate::time::Ticks;

/// The unknown `kid`s that tokens have named.
#[derive(Debug, Default)]
pub(super) struct UnknownKeyIds {
    /// Those that a fetch did not bring, and when each may cause another fetch.
    missed: Vec<Retry>,
    /// Whether an unknown `kid` requires a fetch.
    pub(super) refetch: bool,
}

#[derive(Debug)]
struct Retry {
    key_id: String,
    at: Ticks,
    pause: Duration,
}

const MAX_MISSED_KEY_IDS: usize = 256;
const MAX_KEY_ID_BYTES: usize = 256;

impl UnknownKeyIds {
    /// Whether a fetch did not bring this one, and the pause before the next fetch for it has not ended.
    pub(super) fn was_missed(&self, key_id: &str, now: Ticks) -> bool {
        let mut missed = self.missed.iter();
        missed.any(|retry| retry.key_id == key_id && now < retry.at)
    }

    /// Records that a fetch did not bring this one: the next fetch for it comes after a pause that doubles each time.
    pub(super) fn record_miss(
        &mut self,
        key_id: &str,
        shortest: Duration,
        longest: Duration,
        now: Ticks,
    ) {
        if key_id.len() > MAX_KEY_ID_BYTES {
            return;
        }
        let known = &mut self.missed;
        let index = known.iter().position(|retry| retry.key_id == key_id);
        let before = index.map(|index| known.remove(index).pause);
        if known.len() >= MAX_MISSED_KEY_IDS {
            // The oldest.
            known.remove(0);
        }
        let pause = before.map_or(shortest, |pause| {
            pause.saturating_mul(2).min(longest).max(shortest)
        });
        known.push(Retry {
            key_id: key_id.to_owned(),
            at: now.after(pause),
            pause,
        });
    }
}
