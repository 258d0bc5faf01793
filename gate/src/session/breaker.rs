//! Stops asking a resolver that fails: more calls help neither it nor those who wait for it.

use std::time::Duration;

use super::ResolverError;
use crate::time::{Ticks, back_off};

/// A circuit breaker (one per project and worker). No stranger's call opens or closes it: anybody can make up
/// credentials, and a proxy before the resolver may answer instead of it, by its own rules for clients.
///
/// So only two kinds of calls count: those without a credential, which the filter makes itself and the resolver answers
/// with 200, and those for users that the resolver has named before. A [stranger's](Asked::Stranger) failure only makes
/// it suspicious: then it has a [check](Breaker::takes_check) made, a call without a credential, one at a time.
///
/// It opens after [`MAX_FAILED_CHECKS`] failed checks in a row, or after failed calls for [`MAX_FAILED_USERS`] different
/// users with no answer to a user's call between them. Then no call is made for a back-off that starts at a second and
/// doubles up to half a minute. After it a check is made: if it is answered, all calls may be made again, else the next
/// back-off begins.
///
/// An answered check says less than an answered call for a user: without a credential the resolver may not need what it
/// lacks (its sessions' store, say). So it resets the failed checks and not the failed users, and after it the breaker is half
/// closed: a failed check, or failed calls for [`MAX_FAILED_USERS_HALF_CLOSED`] different users, open it again, for longer.
/// An answered call for a user closes it.
///
/// A call fails by an [outage](ResolverError::is_outage) of the resolver, and by nothing that a client can cause. An
/// answer that is neither a verdict nor an outage leaves the counts as they are; if it is that to the check of an open
/// breaker, calls may be made again, and one more outage opens it again.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: State,
    /// Failed checks in a row.
    failed_checks: u32,
    /// The users whose calls have failed since the last answer to a user's call, or since it was half closed.
    failed_users: Vec<String>,
    /// Whether a call has failed since the last answer to a check.
    suspicious: bool,
    /// No check before then.
    next_check_at: Ticks,
    /// Back-offs in a row.
    opened: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Ticks,
    },
    /// A check is under way; if it has not ended by then, another is made.
    Probing {
        until: Ticks,
    },
    /// The check after a back-off ended without an outage: calls may be made. A failed check opens it again, and so do
    /// failed calls for so many users.
    HalfClosed {
        max_failed_users: usize,
    },
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// It may.
    Call,
    /// Not now. Time until the next try.
    Wait(Duration),
}

/// For whom a call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked<'u> {
    /// For nobody: a check.
    Check,
    /// For this user: the resolver has named him, now or before, or his token was verified.
    User(&'u str),
    /// For a credential that has never been good.
    Stranger,
}

/// It opens after so many failed checks in a row.
const MAX_FAILED_CHECKS: u32 = 2;
/// It opens when the calls of so many users fail, without an answer that counts between them.
const MAX_FAILED_USERS: usize = 5;
/// The same for a half-closed breaker. One is too few: a single user's session that always fails would keep the others
/// out.
const MAX_FAILED_USERS_HALF_CLOSED: usize = 2;
/// The pause between the end of a check and the next, while the breaker is not open.
const CHECK_PAUSE_MILLIS: u64 = 500;
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

impl Breaker {
    /// Whether a call may be made now.
    #[must_use]
    pub(crate) fn permit(&self, now: Ticks) -> Permit {
        match self.state {
            State::Closed | State::HalfClosed { .. } => Permit::Call,
            State::Open { until } if now < until => Permit::Wait(until.since(now)),
            // The check may be answered at any moment.
            State::Open { .. } | State::Probing { .. } => Permit::Wait(FIRST_BACK_OFF),
        }
    }

    /// Whether a check is to be made now, which takes at most `patience`. Whoever gets `true` makes it: nobody else gets
    /// `true` before it has ended.
    pub(crate) fn takes_check(&mut self, patience: Duration, now: Ticks) -> bool {
        let due = match self.state {
            State::Closed | State::HalfClosed { .. } => {
                self.suspicious && self.next_check_at <= now
            }
            State::Open { until } | State::Probing { until } => until <= now,
        };
        if due {
            let until = now.after(patience);
            self.next_check_at = until;
            if let State::Open { .. } | State::Probing { .. } = self.state {
                self.state = State::Probing { until };
            }
        }
        due
    }

    /// Whether no call is to be made now.
    #[must_use]
    pub(crate) fn is_open(&self, now: Ticks) -> bool {
        matches!(self.state, State::Open { until } if now < until)
    }

    /// Whether the resolver answers, as far as is known.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed | State::HalfClosed { .. })
    }

    /// Records how a call ended. `retry_after`: the pause that the resolver asked for. If the breaker has opened, returns
    /// for how long, and how often in a row it has.
    pub(crate) fn record(
        &mut self,
        asked: Asked<'_>,
        error: Option<&ResolverError>,
        retry_after: Option<Duration>,
        now: Ticks,
        entropy: u64,
    ) -> Option<(Duration, u32)> {
        let is_outage = error.is_some_and(ResolverError::is_outage);
        match asked {
            Asked::Stranger => {
                self.suspicious |= is_outage;
                return None;
            }
            Asked::Check => {
                self.next_check_at = now.after(Duration::from_millis(CHECK_PAUSE_MILLIS));
                self.suspicious = is_outage;
            }
            Asked::User(_) => self.suspicious |= is_outage,
        }
        match (asked, error) {
            (Asked::Stranger, _) => return None,
            (Asked::User(_), None) => {
                *self = Self {
                    suspicious: self.suspicious,
                    next_check_at: self.next_check_at,
                    ..Self::default()
                };
                return None;
            }
            (Asked::Check, None) => {
                self.failed_checks = 0;
                self.half_close(MAX_FAILED_USERS_HALF_CLOSED);
                return None;
            }
            (Asked::Check, Some(_)) if !is_outage => {
                self.half_close(1);
                return None;
            }
            (Asked::User(_), Some(_)) if !is_outage => return None,
            (Asked::Check, Some(_)) => self.failed_checks = self.failed_checks.saturating_add(1),
            (Asked::User(user), Some(_)) => {
                let counted = self.failed_users.iter().any(|failed| failed == user);
                if !counted && self.failed_users.len() < MAX_FAILED_USERS {
                    self.failed_users.push(user.to_owned());
                }
            }
        }
        let opens = match self.state {
            State::Closed => {
                self.failed_checks >= MAX_FAILED_CHECKS
                    || self.failed_users.len() >= MAX_FAILED_USERS
            }
            State::HalfClosed { max_failed_users } => {
                asked == Asked::Check || self.failed_users.len() >= max_failed_users
            }
            State::Probing { .. } => asked == Asked::Check,
            // A call that was under way when it opened.
            State::Open { .. } => false,
        };
        if !opens {
            return None;
        }
        let back_off = back_off(FIRST_BACK_OFF, MAX_BACK_OFF, self.opened, entropy);
        self.opened = self.opened.saturating_add(1).min(16);
        let asked_for = retry_after.unwrap_or_default().min(MAX_BACK_OFF);
        let pause = back_off.max(asked_for);
        let until = now.after(pause);
        self.state = State::Open { until };
        Some((pause, self.opened))
    }

    /// A check has ended without an outage. If it was that of an open breaker, calls may be made again.
    fn half_close(&mut self, max_failed_users: usize) {
        if let State::Probing { .. } = self.state {
            self.state = State::HalfClosed { max_failed_users };
            self.failed_users.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);
    /// What clients can cause.
    const NO_OUTAGES: [ResolverError; 10] = [
        ResolverError::Overloaded,
        ResolverError::Status(204),
        ResolverError::Status(302),
        ResolverError::Status(400),
        ResolverError::Status(403),
        ResolverError::Status(499),
        ResolverError::TooManyRequests(None),
        ResolverError::Unclear,
        ResolverError::NoUser,
        ResolverError::Header("x"),
    ];
    const FAILED: Option<&ResolverError> = Some(&ResolverError::NoAnswer);
    const USERS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

    fn at(millis: u64) -> Ticks {
        Ticks::from_millis(millis)
    }

    /// Whether it opened.
    fn record(
        breaker: &mut Breaker,
        asked: Asked<'_>,
        error: Option<&ResolverError>,
        now: u64,
    ) -> bool {
        breaker.record(asked, error, None, at(now), 0).is_some()
    }

    /// Opened at this moment for half a second.
    fn open(now: u64) -> Breaker {
        let mut breaker = Breaker::default();
        assert!(!record(&mut breaker, Asked::Check, FAILED, now));
        assert!(record(&mut breaker, Asked::Check, FAILED, now));
        breaker
    }

    #[test]
    fn whatever_becomes_of_strangers_calls_they_neither_open_nor_close_it() {
        let busy = ResolverError::Busy(503, Duration::from_secs(30));
        let outages = [
            ResolverError::NoAnswer,
            ResolverError::Status(500),
            ResolverError::Status(503),
            busy,
        ];
        for error in outages.iter().chain(&NO_OUTAGES) {
            let mut breaker = Breaker::default();
            for now in 0..1_000 {
                assert!(!record(&mut breaker, Asked::Stranger, Some(error), now));
            }
            assert!(breaker.is_closed(), "{error}");
            assert_eq!(breaker.permit(at(1_000)), Permit::Call, "{error}");
        }
        for error in outages.iter().chain(&NO_OUTAGES).map(Some).chain([None]) {
            let mut breaker = open(0);
            record(&mut breaker, Asked::Stranger, error, 100);
            assert!(breaker.is_open(at(499)), "{error:?}");
            assert!(breaker.takes_check(PATIENCE, at(500)), "{error:?}");
            record(&mut breaker, Asked::Stranger, error, 501);
            assert!(!breaker.is_closed(), "{error:?}");
            let wait = Permit::Wait(Duration::from_secs(1));
            assert_eq!(breaker.permit(at(501)), wait, "{error:?}");
            // The pause is that of the checks alone.
            assert!(record(&mut breaker, Asked::Check, FAILED, 600));
            assert!(breaker.is_open(at(1_599)) && !breaker.is_open(at(1_600)));
        }
    }

    #[test]
    fn a_strangers_failure_causes_one_check_at_a_time_at_a_bounded_rate() {
        let mut breaker = Breaker::default();
        assert!(!breaker.takes_check(PATIENCE, at(0)), "nothing has failed");
        for error in &NO_OUTAGES {
            record(&mut breaker, Asked::Stranger, Some(error), 0);
            assert!(!breaker.takes_check(PATIENCE, at(0)), "{error}");
        }
        let mut checks = Vec::new();
        for now in 0..10_000 {
            record(&mut breaker, Asked::Stranger, FAILED, now);
            if breaker.takes_check(PATIENCE, at(now)) {
                checks.push(now);
                // The first is lost, the others are answered.
                if now > 0 {
                    record(&mut breaker, Asked::Check, None, now);
                }
            }
        }
        let answered = (0..16).map(|nth| 2_000 + nth * CHECK_PAUSE_MILLIS);
        let expected: Vec<u64> = [0].into_iter().chain(answered).collect();
        assert_eq!(checks, expected);
        assert!(breaker.is_closed());
    }

    #[test]
    fn an_answer_to_a_user_neither_replaces_a_check_nor_brings_one_forward() {
        let mut breaker = Breaker::default();
        record(&mut breaker, Asked::Stranger, FAILED, 0);
        record(&mut breaker, Asked::User("a"), None, 1);
        assert!(breaker.takes_check(PATIENCE, at(1)));
        record(&mut breaker, Asked::User("a"), None, 2);
        assert!(
            !breaker.takes_check(PATIENCE, at(2_000)),
            "one is under way"
        );
        assert!(breaker.takes_check(PATIENCE, at(2_001)));
    }

    #[test]
    fn two_failed_checks_in_a_row_open_it_and_one_does_not() {
        let mut breaker = Breaker::default();
        record(&mut breaker, Asked::Stranger, FAILED, 0);
        assert!(breaker.takes_check(PATIENCE, at(0)));
        assert!(!record(&mut breaker, Asked::Check, FAILED, 10));
        assert!(!breaker.takes_check(PATIENCE, at(509)));
        assert!(breaker.takes_check(PATIENCE, at(510)), "no more is needed");
        assert!(!record(&mut breaker, Asked::Check, None, 511));
        assert!(!breaker.takes_check(PATIENCE, at(10_000)), "all is well");
        assert!(!record(&mut breaker, Asked::Check, FAILED, 10_000));
        assert!(record(&mut breaker, Asked::Check, FAILED, 11_000));
        assert!(!breaker.is_closed());
        let pause = Permit::Wait(Duration::from_millis(500));
        assert_eq!(breaker.permit(at(11_000)), pause);
    }

    #[test]
    fn five_users_whose_calls_fail_open_it_and_an_answer_to_one_starts_anew() {
        let fail = |breaker: &mut Breaker, users: &[&str]| -> Vec<bool> {
            let fails = users.iter();
            fails
                .map(|user| record(breaker, Asked::User(user), FAILED, 0))
                .collect()
        };
        let mut breaker = Breaker::default();
        // One user counts once, however many sessions he has.
        assert_eq!(fail(&mut breaker, &["a"; 100]), [false; 100]);
        assert_eq!(fail(&mut breaker, &USERS[..4]), [false; 4]);
        assert!(!record(&mut breaker, Asked::User("z"), None, 0));
        assert_eq!(fail(&mut breaker, &USERS[..4]), [false; 4]);
        for error in &NO_OUTAGES {
            assert!(!record(&mut breaker, Asked::User("z"), Some(error), 0));
        }
        assert_eq!(fail(&mut breaker, &["e", "f"]), [true, false]);
        // A call that was under way closes it, where it is answered.
        assert!(!record(&mut breaker, Asked::User("b"), None, 450));
        assert!(breaker.is_closed());
    }

    #[test]
    fn after_the_back_off_one_check_decides() {
        let mut breaker = open(0);
        assert!(!breaker.takes_check(PATIENCE, at(499)));
        assert!(breaker.takes_check(PATIENCE, at(500)));
        assert!(!breaker.takes_check(PATIENCE, at(2_499)), "one at a time");
        let wait = Permit::Wait(Duration::from_secs(1));
        assert_eq!(breaker.permit(at(501)), wait);
        // It never ends: another is made.
        assert!(breaker.takes_check(PATIENCE, at(2_500)));
        assert!(!record(&mut breaker, Asked::Check, None, 2_600));
        assert!(breaker.is_closed());
        assert_eq!(breaker.permit(at(2_600)), Permit::Call);
    }

    /// The resolver without its store of sessions: who presents nothing is answered, and nobody else.
    #[test]
    fn answered_checks_do_not_make_up_for_users_whose_calls_fail() {
        let mut breaker = Breaker::default();
        let mut now = 0;
        for user in &USERS[..4] {
            assert!(!record(&mut breaker, Asked::User(user), FAILED, now));
            assert!(breaker.takes_check(PATIENCE, at(now)));
            assert!(!record(&mut breaker, Asked::Check, None, now));
            now += 500;
        }
        assert!(record(&mut breaker, Asked::User(USERS[4]), FAILED, now));
        // Two users' calls for each back-off, which is longer each time.
        for pause in [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
            assert!(breaker.is_open(at(now + pause - 1)), "{pause}");
            now += pause;
            assert!(breaker.takes_check(PATIENCE, at(now)), "{pause}");
            assert!(!record(&mut breaker, Asked::Check, None, now));
            assert_eq!(breaker.permit(at(now)), Permit::Call);
            assert!(!record(&mut breaker, Asked::Stranger, FAILED, now));
            // One who fails as often as he likes does not keep the others out.
            for _ in 0..10 {
                assert!(!record(&mut breaker, Asked::User("a"), FAILED, now));
                assert!(!record(&mut breaker, Asked::Check, None, now));
            }
            assert!(
                record(&mut breaker, Asked::User("b"), FAILED, now),
                "{pause}"
            );
        }
        // A user's answered call ends it, and all begins anew.
        now += 15_000;
        assert!(breaker.takes_check(PATIENCE, at(now)));
        record(&mut breaker, Asked::Check, None, now);
        record(&mut breaker, Asked::User("a"), FAILED, now);
        record(&mut breaker, Asked::User("b"), None, now);
        for user in &USERS[..4] {
            assert!(!record(&mut breaker, Asked::User(user), FAILED, now));
        }
        assert!(record(&mut breaker, Asked::User(USERS[4]), FAILED, now));
        assert!(breaker.is_open(at(now + 499)) && !breaker.is_open(at(now + 500)));
    }

    #[test]
    fn an_answered_check_that_was_under_way_when_it_opened_ends_no_back_off() {
        let mut breaker = Breaker::default();
        for user in &USERS[..5] {
            record(&mut breaker, Asked::User(user), FAILED, 0);
        }
        record(&mut breaker, Asked::Check, None, 100);
        assert!(breaker.is_open(at(499)));
    }

    #[test]
    fn a_failed_check_of_a_half_closed_breaker_opens_it() {
        let mut breaker = open(0);
        assert!(breaker.takes_check(PATIENCE, at(500)));
        assert!(!record(&mut breaker, Asked::Check, None, 500));
        assert!(record(&mut breaker, Asked::Check, FAILED, 1_000));
        assert!(breaker.is_open(at(1_999)) && !breaker.is_open(at(2_000)));
    }

    #[test]
    fn back_offs_double_up_to_half_a_minute_and_heed_what_the_resolver_asks_of_a_check() {
        for (entropy, pauses) in [
            (0, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]),
            (
                u64::MAX,
                [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000],
            ),
        ] {
            let mut breaker = Breaker::default();
            let mut now = 0;
            record(&mut breaker, Asked::Check, FAILED, now);
            for pause in pauses {
                let opened = breaker.record(Asked::Check, FAILED, None, at(now), entropy);
                assert_eq!(
                    opened.map(|(pause, _)| pause),
                    Some(Duration::from_millis(pause))
                );
                assert!(breaker.is_open(at(now + pause - 1)) && !breaker.is_open(at(now + pause)));
                now += pause;
                assert!(breaker.takes_check(PATIENCE, at(now)));
            }
        }
        for (asked, pause) in [(7, 7), (30, 30), (31, 30)] {
            let busy = ResolverError::Busy(503, Duration::from_secs(asked));
            let asked = Some(Duration::from_secs(asked));
            let mut breaker = Breaker::default();
            record(&mut breaker, Asked::Check, FAILED, 0);
            // A stranger's pause is the stranger's.
            breaker.record(Asked::Stranger, Some(&busy), asked, at(0), 0);
            let opened = breaker.record(Asked::Check, Some(&busy), asked, at(0), 0);
            assert_eq!(opened, Some((Duration::from_secs(pause), 1)));
        }
    }

    #[test]
    fn a_check_without_a_verdict_stops_nobody_and_closes_nothing() {
        for error in &NO_OUTAGES {
            let mut breaker = open(0);
            assert!(breaker.takes_check(PATIENCE, at(500)));
            record(&mut breaker, Asked::Check, Some(error), 600);
            assert_eq!(breaker.permit(at(600)), Permit::Call, "{error}");
            record(&mut breaker, Asked::Stranger, FAILED, 700);
            assert_eq!(breaker.permit(at(700)), Permit::Call, "{error}");
            // One failure that counts is enough, and the pause is the next longer one.
            assert!(
                record(&mut breaker, Asked::User("a"), FAILED, 800),
                "{error}"
            );
            let pause = Permit::Wait(Duration::from_secs(1));
            assert_eq!(breaker.permit(at(800)), pause, "{error}");
        }
    }
}
