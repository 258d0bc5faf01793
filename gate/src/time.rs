//! The types of time that every module uses.

use std::fmt;
use std::time::Duration;

/// The time of one callback: read once from the host, passed to every module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock in whole seconds since the Unix epoch: for the times that tokens claim.
    pub unix: u64,
    /// A clock that never steps back: for ages and deadlines.
    pub ticks: Ticks,
}

/// A moment on a clock that never steps back and is the same for all workers of a process, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// The moment `millis` after the start of the clock.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// In milliseconds since the start of the clock.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment `duration` after this one.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long before this moment `earlier` was; zero if it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The pause after `before` earlier pauses in a row: `first`, doubled each time, up to `longest`. Half of it is random, so
/// that workers do not retry at the same time.
#[must_use]
pub(crate) fn back_off(first: Duration, longest: Duration, before: u32, entropy: u64) -> Duration {
    let whole = first
        .saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX))
        .min(longest);
    let half = whole.mul_f64(0.5);
    half.saturating_add(jitter(half, entropy))
}

/// A random time between zero and `most`.
#[must_use]
pub(crate) fn jitter(most: Duration, entropy: u64) -> Duration {
    // Ten bits are random enough, and exact in a double.
    most.mul_f64((entropy & 0x3ff) as f64 / 1_023.0)
}

/// A duration as a person reads it: seconds and tenths.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.subsec_millis() / 100;
        write!(formatter, "{}.{tenths}s", self.0.as_secs())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_tenths_of_seconds() {
        let shown = |millis| Seconds(Duration::from_millis(millis)).to_string();
        assert_eq!(
            [0, 689, 3_000, 61_050].map(shown),
            ["0.0s", "0.6s", "3.0s", "61.0s"]
        );
    }

    #[test]
    fn ages_and_deadlines_never_wrap() {
        let start = Ticks::from_millis(10);
        assert_eq!(start.since(Ticks::from_millis(20)), Duration::ZERO);
        assert_eq!(start.after(Duration::MAX), Ticks(u64::MAX));
        assert_eq!(
            start.after(Duration::from_secs(1)).since(start),
            Duration::from_secs(1)
        );
    }
}
