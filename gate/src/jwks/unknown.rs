//! Tokens with a `kid` that is in no set: each may mean a rotation, and all of them together a flood.

use std::time::Duration;

use crate::time::Ticks;

/// The unknown `kid`s that were asked for.
#[derive(Debug, Default)]
pub(super) struct UnknownKeyIds {
    /// Those that a fetch was made for in vain, and when they may cause another.
    in_vain: Vec<Retry>,
    /// Whether a fetch is to be made for the sake of one.
    pub(super) wanted: bool,
}

#[derive(Debug)]
struct Retry {
    key_id: String,
    at: Ticks,
    pause: Duration,
}

const REMEMBERED: usize = 256;
const LONGEST: usize = 256;

impl UnknownKeyIds {
    /// Whether a fetch was made in vain for this one, too short a time ago for another.
    pub(super) fn is_in_vain(&self, key_id: &str, now: Ticks) -> bool {
        let mut in_vain = self.in_vain.iter();
        in_vain.any(|retry| retry.key_id == key_id && now < retry.at)
    }

    /// A fetch did not bring it: the next for its sake is made after a pause, twice as long each time.
    pub(super) fn in_vain(
        &mut self,
        key_id: &str,
        shortest: Duration,
        longest: Duration,
        now: Ticks,
    ) {
        if key_id.len() > LONGEST {
            return;
        }
        let known = &mut self.in_vain;
        let place = known.iter().position(|retry| retry.key_id == key_id);
        let before = place.map(|place| known.remove(place).pause);
        if known.len() >= REMEMBERED {
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
