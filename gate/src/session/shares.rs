//! How many of the background calls are for one user.

use std::collections::VecDeque;

use super::SessionCredential;
use crate::time::Ticks;

/// How many background calls for one user may be under way at once.
pub(super) const MAX_BACKGROUND_CALLS_PER_USER: usize = 4;
/// How many background calls there may be in all.
const MAX_BACKGROUND_CALLS: usize = 64;

/// The background calls that are scheduled or under way, by the users that they are for: no user may use up the limit for
/// all.
#[derive(Debug, Default)]
pub(crate) struct UserShares {
    calls: VecDeque<Share>,
}

#[derive(Debug)]
struct Share {
    user: Box<str>,
    credential: SessionCredential,
    until: Ticks,
}

impl UserShares {
    /// Counts a call that ends by then at the latest. `false`: the limit of the user, or that of all, is reached.
    pub(crate) fn take(
        &mut self,
        user: &str,
        credential: &SessionCredential,
        until: Ticks,
        now: Ticks,
    ) -> bool {
        self.calls.retain(|call| now < call.until);
        let of_user = self.calls.iter().filter(|call| *call.user == *user);
        if self.calls.len() >= MAX_BACKGROUND_CALLS
            || of_user.count() >= MAX_BACKGROUND_CALLS_PER_USER
        {
            return false;
        }
        self.calls.push_back(Share {
            user: user.into(),
            credential: credential.clone(),
            until,
        });
        true
    }

    /// Whether a call for this credential is counted.
    #[must_use]
    pub(crate) fn contains(&self, credential: &SessionCredential, now: Ticks) -> bool {
        let mut calls = self.calls.iter();
        calls.any(|call| now < call.until && call.credential == *credential)
    }

    /// The call for this credential has ended.
    pub(crate) fn end(&mut self, credential: &SessionCredential) {
        self.calls.retain(|call| call.credential != *credential);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nth: usize) -> SessionCredential {
        SessionCredential::Cookies(format!("session={nth}").into())
    }

    #[test]
    fn a_user_has_four_calls_and_the_others_have_theirs() {
        let at = Ticks::from_millis;
        let mut shares = UserShares::default();
        let taken = (0..10).map(|nth| shares.take("a", &of(nth), at(100), at(0)));
        assert_eq!(taken.filter(|taken| *taken).count(), 4);
        assert!(shares.take("b", &of(20), at(100), at(0)));
        shares.end(&of(2));
        assert!(shares.take("a", &of(30), at(100), at(99)));
        assert!(!shares.take("a", &of(31), at(100), at(99)));
        // Those whose end is never reported.
        assert!(shares.take("a", &of(32), at(200), at(100)));
    }

    #[test]
    fn there_are_sixty_four_in_all() {
        let at = Ticks::from_millis;
        let mut shares = UserShares::default();
        let mut take = |nth: usize| shares.take(&nth.to_string(), &of(nth), at(100), at(0));
        assert!((0..64).all(&mut take));
        assert!(!take(64));
    }
}
