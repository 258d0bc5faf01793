//! Bounds how often similar lines are logged: clients and answers can cause only so many lines in a time.

use std::fmt;

use crate::time::Ticks;

/// The time between two lines of the same kind.
pub(crate) const LOG_PAUSE_MILLIS: u64 = 10_000;
/// How many kinds of lines are distinguished at once. All others count as one kind.
pub(crate) const MAX_LOG_KINDS: usize = 32;

/// Bounds the lines of the log: one of each kind in [`LOG_PAUSE_MILLIS`]. Each says how many were left out before it.
#[derive(Debug)]
pub(crate) struct LogLimit<K> {
    kinds: Vec<(K, Kind)>,
    others: Kind,
}

#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    written_at: Option<Ticks>,
    left_out: u64,
}

/// How many lines of this kind were left out since the last one. Its text is for the end of a line, and empty for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut(pub u64);

impl<K> Default for LogLimit<K> {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            others: Kind::default(),
        }
    }
}

impl<K: PartialEq> LogLimit<K> {
    /// Whether a line of this kind is to be written now; if not, counts it as left out.
    pub(crate) fn allow(&mut self, kind: K, now: Ticks) -> Option<LeftOut> {
        if let Some((_, known)) = self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            return known.allow(now);
        }
        if self.kinds.len() >= MAX_LOG_KINDS {
            // Evicts a kind whose next line would be written at once anyway: first one with nothing left out, and of those the
            // one that was written the longest time ago.
            let kinds = self.kinds.iter().enumerate();
            let idle = kinds
                .filter(|(_, (_, kind))| kind.is_due(now))
                .min_by_key(|(_, (_, kind))| (kind.left_out > 0, kind.written_at))
                .map(|(index, _)| index);
            let Some(idle) = idle else {
                return self.others.allow(now);
            };
            let (_, idle) = self.kinds.swap_remove(idle);
            // It may never recur: its lines that were left out are reported with those of the others.
            self.others.left_out = self.others.left_out.saturating_add(idle.left_out);
        }
        let mut new = Kind::default();
        let allowed = new.allow(now);
        self.kinds.push((kind, new));
        allowed
    }
}

impl Kind {
    fn is_due(&self, now: Ticks) -> bool {
        let since = |at| now.as_millis().saturating_sub(Ticks::as_millis(at));
        self.written_at
            .is_none_or(|at| since(at) >= LOG_PAUSE_MILLIS)
    }

    fn allow(&mut self, now: Ticks) -> Option<LeftOut> {
        if self.is_due(now) {
            self.written_at = Some(now);
            Some(LeftOut(std::mem::take(&mut self.left_out)))
        } else {
            self.left_out = self.left_out.saturating_add(1);
            None
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(formatter, " (left out since the last such line: {count})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Ticks {
        Ticks::from_millis(millis)
    }

    #[test]
    fn of_each_kind_there_is_one_line_in_ten_seconds() {
        let mut limit = LogLimit::default();
        for start in [0, 10_000, 20_000] {
            for kind in ["a", "b"] {
                let left_out = if start == 0 { 0 } else { 100 };
                assert_eq!(limit.allow(kind, at(start)), Some(LeftOut(left_out)));
                for nth in 0..100 {
                    assert_eq!(limit.allow(kind, at(start + 9_900 + nth)), None);
                }
            }
        }
        assert_eq!(limit.allow("a", at(29_999)), None);
        assert_eq!(limit.allow("a", at(30_000)), Some(LeftOut(101)));
    }

    #[test]
    fn however_many_kinds_there_are_the_lines_and_the_memory_are_bounded() {
        let mut limit = LogLimit::default();
        let written = (0..100_000_u64).filter(|kind| limit.allow(*kind, at(kind / 100)).is_some());
        // One second: one line of each kind that is distinguished, and one of the others.
        assert_eq!(written.count(), MAX_LOG_KINDS + 1);
        assert_eq!(limit.kinds.len(), MAX_LOG_KINDS);
        // Later they are evicted for others.
        assert_eq!(limit.allow(1_000_000, at(11_000)), Some(LeftOut(0)));
        assert_eq!(limit.kinds.len(), MAX_LOG_KINDS);
    }

    #[test]
    fn a_kind_that_does_not_recur_gives_its_place_up_though_lines_of_it_were_left_out() {
        let mut limit = LogLimit::default();
        for kind in 0..MAX_LOG_KINDS {
            for expected in [Some(LeftOut(0)), None] {
                assert_eq!(limit.allow(kind, at(0)), expected);
            }
        }
        assert_eq!(limit.allow(100, at(9_999)), Some(LeftOut(0)), "the others");
        // Kinds whose last line is not older than the pause stay.
        assert_eq!(limit.allow(0, at(10_000)), Some(LeftOut(1)));
        for kind in 101..100 + MAX_LOG_KINDS {
            assert_eq!(limit.allow(kind, at(10_001)), Some(LeftOut(0)), "{kind}");
        }
        assert_eq!(limit.allow(0, at(10_002)), None, "it is known");
        assert_eq!(limit.kinds.len(), MAX_LOG_KINDS);
        // The lines that were left out are reported all the same.
        assert_eq!(limit.allow(200, at(19_999)), Some(LeftOut(31)));
    }

    #[test]
    fn a_kind_of_which_nothing_was_left_out_gives_its_place_up_first() {
        let mut limit = LogLimit::default();
        for kind in 0..MAX_LOG_KINDS {
            assert_eq!(limit.allow(kind, at(0)), Some(LeftOut(0)));
        }
        assert_eq!(limit.allow(0, at(1)), None);
        assert_eq!(limit.allow(100, at(10_000)), Some(LeftOut(0)));
        assert_eq!(limit.allow(0, at(10_000)), Some(LeftOut(1)));
    }

    #[test]
    fn a_line_says_how_many_were_left_out() {
        let written = [0, 7].map(|count| LeftOut(count).to_string());
        assert_eq!(written, ["", " (left out since the last such line: 7)"]);
    }
}
