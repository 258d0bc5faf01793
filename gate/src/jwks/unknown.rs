//! Tokens with a `kid` that is in no set: each may mean a rotation, and all of them together a flood.

use std::time::Duration;

use crate::time::Ticks;

/// The unknown `kid`s that were asked for.
#[derive(Debug, Default)]
pub(super) struct UnknownKeyIds {
    /// Those that a fetch was made for in vain, and when they may cause another.
    missed: Vec<Retry>,
    /// Whether a fetch is to be made for the sake of one.
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
    /// Whether a fetch was made in vain for this one, too short a time ago for another.
    pub(super) fn was_missed(&self, key_id: &str, now: Ticks) -> bool {
        let mut missed = self.missed.iter();
        missed.any(|retry| retry.key_id == key_id && now < retry.at)
    }

    /// A fetch did not bring it: the next for its sake is made after a pause, twice as long each time.
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
