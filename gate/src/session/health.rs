//! How the resolver is, as an operator wants to hear of it: when it changes, and now and then while it is bad.

use std::time::Duration;

use crate::time::Ticks;

/// The resolver's health.
///
/// Clients can make it look bad and good in turns: however often it changes, what is told is bounded by time.
#[derive(Debug, Default)]
pub struct Health {
    /// Failed calls since the last answer.
    calls: u64,
    /// When failures were last told of.
    told_at: Option<Ticks>,
    /// Whether the failures since the last answer were told of, so that their end is, too.
    told: bool,
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
            self.calls = 0;
            return std::mem::take(&mut self.told).then_some(News::Recovered);
        }
        self.calls = self.calls.saturating_add(1);
        if self.told_at.is_some_and(|at| now.since(at) < TELL_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        self.told = true;
        Some(News::Failing(self.calls))
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

    #[test]
    fn however_often_it_changes_that_is_told_of_once_a_minute() {
        let at = Ticks::from_millis;
        let mut health = Health::default();
        let mut told = Vec::new();
        for second in 0..180 {
            for (millis, failed) in [(0, true), (300, true), (600, false)] {
                told.extend(health.note(failed, at(second * 1_000 + millis)));
            }
        }
        let once = [News::Failing(1), News::Recovered];
        assert_eq!(told, once.repeat(3));
    }
}
