//! How the resolver is, as an operator wants to hear of it: when it changes, and now and then while it is bad.

use std::time::Duration;

use crate::time::Ticks;

/// The resolver's health.
#[derive(Debug, Default)]
pub struct Health {
    /// Failures since the last answer, and when they were last told of.
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    calls: u64,
    told_at: Ticks,
}

/// What is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// So many calls in a row have failed.
    Failing(u64),
    /// It answers again.
    Recovered,
}

const TELL_EVERY: Duration = Duration::from_secs(60);

impl Health {
    /// Takes note of how a call ended.
    pub fn note(&mut self, failed: bool, now: Ticks) -> Option<News> {
        if !failed {
            return self.failing.take().map(|_| News::Recovered);
        }
        let Some(failing) = self.failing.as_mut() else {
            let first = Failing {
                calls: 1,
                told_at: now,
            };
            self.failing = Some(first);
            return Some(News::Failing(1));
        };
        failing.calls = failing.calls.saturating_add(1);
        if now.since(failing.told_at) < TELL_EVERY {
            return None;
        }
        failing.told_at = now;
        Some(News::Failing(failing.calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_of_once_a_minute_and_its_end_once() {
        let at = Ticks::from_millis;
        let mut health = Health::default();
        assert_eq!(health.note(false, at(0)), None);
        assert_eq!(health.note(true, at(1)), Some(News::Failing(1)));
        assert_eq!(health.note(true, at(60_000)), None);
        assert_eq!(health.note(true, at(60_001)), Some(News::Failing(3)));
        assert_eq!(health.note(false, at(60_002)), Some(News::Recovered));
        assert_eq!(health.note(false, at(60_003)), None);
    }
}
