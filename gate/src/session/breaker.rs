//! Stops asking a resolver that fails: neither it nor those who wait for it are helped by more calls.

use std::time::Duration;

use super::{ResolverError, SessionCredential};
use crate::time::{Ticks, back_off};

/// A circuit breaker (one per project and worker). After [`FAILURES`] failed calls in a row it opens: nobody is asked
/// for a back-off that starts at a second and doubles up to half a minute. Then one call goes out as a probe: if it is
/// answered, the breaker closes, else the next back-off begins.
///
/// What fails a call is an [outage](ResolverError::is_outage) of the resolver's, and nothing that a client can cause. A
/// credential of which the resolver says 500 again and again (a session that is locked) counts once in a row. An answer
/// that is neither a verdict nor an outage says nothing: the count stays as it is, and after a probe the next may ask,
/// whose failure opens the breaker again.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// Failed calls in a row.
    failures: u32,
    /// The credentials of those whose status may be their own fault, the last few.
    blamed: Vec<SessionCredential>,
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
    /// A call is under way; if nothing is heard of it by then, the next may try.
    Probing {
        until: Ticks,
    },
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Call,
    /// It may, and must be made whatever becomes of the request that asks: the others wait for how it ends.
    Probe,
    /// Not now. Time until the next try.
    Wait(Duration),
}

const FAILURES: u32 = 5;
const BLAMED: usize = 8;
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

impl Breaker {
    /// Asks leave for a call that takes at most `patience`. While the breaker is open, the first to ask after the
    /// back-off gets leave for the probe, and must make it.
    pub fn permit(&mut self, patience: Duration, now: Ticks) -> Permit {
        match self.state {
            State::Closed => Permit::Call,
            State::Open { until } if now < until => Permit::Wait(until.since(now)),
            // It may be answered at any moment.
            State::Probing { until } if now < until => {
                Permit::Wait(until.since(now).min(FIRST_BACK_OFF))
            }
            State::Open { .. } | State::Probing { .. } => {
                let until = now.after(patience);
                self.state = State::Probing { until };
                Permit::Probe
            }
        }
    }

    /// Whether no call is to be made now.
    #[must_use]
    pub fn is_open(&self, now: Ticks) -> bool {
        matches!(self.state, State::Open { until } if now < until)
    }

    /// Whether the resolver answers, as far as is known.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Takes note of how a call for this credential ended. `retry_after`: the pause that the resolver asked for. If the
    /// breaker has opened: for how long, and how often in a row it has.
    pub fn note(
        &mut self,
        credential: &SessionCredential,
        error: Option<&ResolverError>,
        retry_after: Option<Duration>,
        now: Ticks,
        entropy: u64,
    ) -> Option<(Duration, u32)> {
        let Some(error) = error else {
            *self = Self::default();
            return None;
        };
        if !error.is_outage() {
            if matches!(self.state, State::Probing { .. }) {
                self.state = State::Closed;
            }
            return None;
        }
        let blamable = matches!(error, ResolverError::Status(500));
        if blamable && self.state == State::Closed {
            if self.blamed.contains(credential) {
                return None;
            }
            if self.blamed.len() >= BLAMED {
                self.blamed.remove(0);
            }
            self.blamed.push(credential.clone());
        }
        self.failures = self.failures.saturating_add(1);
        match self.state {
            State::Closed if self.failures < FAILURES => return None,
            // A call that was under way when it opened.
            State::Open { .. } => return None,
            State::Closed | State::Probing { .. } => {}
        }
        let back_off = back_off(FIRST_BACK_OFF, LONGEST_BACK_OFF, self.opened, entropy);
        self.opened = self.opened.saturating_add(1).min(16);
        let asked = retry_after.unwrap_or_default().min(LONGEST_BACK_OFF);
        let pause = back_off.max(asked);
        let until = now.after(pause);
        self.state = State::Open { until };
        Some((pause, self.opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);
    /// What clients can cause.
    const NO_OUTAGES: [ResolverError; 9] = [
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

    fn at(millis: u64) -> Ticks {
        Ticks::from_millis(millis)
    }

    fn of(name: &str) -> SessionCredential {
        SessionCredential::Cookies(format!("session={name}").into())
    }

    /// Whether it opened.
    fn note(
        breaker: &mut Breaker,
        credential: &SessionCredential,
        error: Option<&ResolverError>,
        retry_after: Option<Duration>,
        now: Ticks,
        entropy: u64,
    ) -> bool {
        let opened = Breaker::note(breaker, credential, error, retry_after, now, entropy);
        opened.is_some()
    }

    fn fail(breaker: &mut Breaker, times: u32, now: u64) -> bool {
        (0..times).fold(false, |_, _| {
            note(breaker, &of("a"), FAILED, None, at(now), 0)
        })
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_an_answer_starts_the_count_anew() {
        let mut breaker = Breaker::default();
        assert!(!fail(&mut breaker, 4, 0));
        assert!(!note(&mut breaker, &of("a"), None, None, at(0), 0));
        assert!(!fail(&mut breaker, 4, 0));
        assert_eq!(breaker.permit(PATIENCE, at(0)), Permit::Call);
        assert!(fail(&mut breaker, 1, 0));
        assert!(!breaker.is_closed());
        assert_eq!(
            breaker.permit(PATIENCE, at(100)),
            Permit::Wait(Duration::from_millis(400))
        );
    }

    #[test]
    fn after_the_back_off_one_call_is_the_probe() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, 5, 0);
        assert_eq!(breaker.permit(PATIENCE, at(500)), Permit::Probe);
        assert_eq!(
            breaker.permit(PATIENCE, at(501)),
            Permit::Wait(Duration::from_secs(1))
        );
        assert!(!note(&mut breaker, &of("a"), None, None, at(600), 0));
        assert!(breaker.is_closed());
        assert_eq!(breaker.permit(PATIENCE, at(600)), Permit::Call);
    }

    #[test]
    fn a_probe_that_nobody_hears_of_again_is_followed_by_another() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, 5, 0);
        assert_eq!(breaker.permit(PATIENCE, at(500)), Permit::Probe);
        assert_eq!(breaker.permit(PATIENCE, at(2_500)), Permit::Probe);
    }

    #[test]
    fn back_offs_double_up_to_half_a_minute_and_heed_what_the_resolver_asks_for() {
        for (entropy, pauses) in [
            (0, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]),
            (
                u64::MAX,
                [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000],
            ),
        ] {
            let mut breaker = Breaker::default();
            let mut now = 0;
            fail(&mut breaker, 4, now);
            for pause in pauses {
                assert!(note(&mut breaker, &of("a"), FAILED, None, at(now), entropy));
                assert!(breaker.is_open(at(now + pause - 1)) && !breaker.is_open(at(now + pause)));
                now += pause;
                assert_eq!(breaker.permit(PATIENCE, at(now)), Permit::Probe);
            }
        }
        let mut breaker = Breaker::default();
        fail(&mut breaker, 4, 0);
        let asked = Some(Duration::from_secs(7));
        assert!(note(
            &mut breaker,
            &of("a"),
            Some(&ResolverError::Status(503)),
            asked,
            at(0),
            0
        ));
        assert_eq!(
            breaker.permit(PATIENCE, at(0)),
            Permit::Wait(Duration::from_secs(7))
        );
    }

    #[test]
    fn what_is_one_requests_fault_does_not_open_it() {
        let mut breaker = Breaker::default();
        for error in NO_OUTAGES {
            for nth in 0..20 {
                let stranger = of(&nth.to_string());
                assert!(
                    !note(&mut breaker, &stranger, Some(&error), None, at(0), 0),
                    "{error}"
                );
                assert!(breaker.is_closed());
            }
        }
        // Sessions that stay locked count once; many count each.
        let locked = Some(&ResolverError::Status(500));
        for nth in 0..20 {
            let one = of(["a", "twin"][nth % 2]);
            assert!(!note(&mut breaker, &one, locked, None, at(0), 0));
        }
        let opened =
            ["b", "c", "d"].map(|name| note(&mut breaker, &of(name), locked, None, at(0), 0));
        assert_eq!(opened, [false, false, true]);
    }

    #[test]
    fn an_answer_that_says_nothing_starts_no_count_anew_and_ends_none() {
        for error in NO_OUTAGES {
            let mut breaker = Breaker::default();
            fail(&mut breaker, 4, 0);
            note(&mut breaker, &of("b"), Some(&error), None, at(0), 0);
            assert!(fail(&mut breaker, 1, 0), "{error}: the fifth in a row");
            // While it is open, nobody closes it so.
            note(&mut breaker, &of("b"), Some(&error), None, at(0), 0);
            assert!(breaker.is_open(at(499)), "{error}");
        }
    }

    #[test]
    fn a_probe_that_a_client_spoils_holds_nobody_up_and_closes_nothing() {
        for error in NO_OUTAGES {
            let mut breaker = Breaker::default();
            fail(&mut breaker, 5, 0);
            assert_eq!(breaker.permit(PATIENCE, at(500)), Permit::Probe);
            note(&mut breaker, &of("b"), Some(&error), None, at(600), 0);
            assert_eq!(breaker.permit(PATIENCE, at(600)), Permit::Call, "{error}");
            // One failure is enough, and the pause is the next longer one.
            assert!(fail(&mut breaker, 1, 700), "{error}");
            let pause = Permit::Wait(Duration::from_secs(1));
            assert_eq!(breaker.permit(PATIENCE, at(700)), pause, "{error}");
        }
    }

    #[test]
    fn a_call_that_was_under_way_when_it_opened_changes_nothing_but_by_an_answer() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, 5, 0);
        assert!(!fail(&mut breaker, 20, 400));
        assert_eq!(
            breaker.permit(PATIENCE, at(499)),
            Permit::Wait(Duration::from_millis(1))
        );
        assert!(!note(&mut breaker, &of("b"), None, None, at(450), 0));
        assert!(breaker.is_closed());
    }
}
