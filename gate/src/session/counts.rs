//! How many calls there are for one session, whatever is presented beside it.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use super::SessionCredential;
use crate::hashing::{self, Hasher};

/// A shorter cookie value is no session of Authgear's (they have 32 characters and more), and may be the same for many
/// clients.
const MIN_SESSION_BYTES: usize = 16;

/// Counts something by the sessions in its credential: by each cookie's value, for whoever has a session can present it
/// with any others beside it, and each time that is another credential.
///
/// Of values only digests are kept, with a secret seed.
#[derive(Debug)]
pub(crate) struct SessionCounts {
    counts: HashMap<(usize, u64), usize, Hasher>,
}

impl Default for SessionCounts {
    fn default() -> Self {
        Self {
            counts: HashMap::with_hasher(hashing::seeded()),
        }
    }
}

impl SessionCounts {
    /// One more for this credential.
    pub(crate) fn add(&mut self, project: usize, credential: &SessionCredential) {
        for value in values(credential) {
            let count = self.counts.entry(self.key(project, value)).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// One less for this credential.
    pub(crate) fn remove(&mut self, project: usize, credential: &SessionCredential) {
        for value in values(credential) {
            let key = self.key(project, value);
            if let Some(count) = self.counts.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.counts.remove(&key);
                }
            }
        }
    }

    /// How many there are for the session in this credential of which there are most.
    #[must_use]
    pub(crate) fn most(&self, project: usize, credential: &SessionCredential) -> usize {
        let counts = values(credential)
            .into_iter()
            .filter_map(|value| self.counts.get(&self.key(project, value)));
        counts.copied().max().unwrap_or_default()
    }

    fn key(&self, project: usize, value: &str) -> (usize, u64) {
        (project, self.counts.hasher().hash_one(value))
    }
}

/// The values of cookies that may be sessions, each once; there are as many as the project has cookies. Authgear takes off
/// one pair of quotes.
fn values(credential: &SessionCredential) -> Vec<&str> {
    let mut values = Vec::new();
    // The whole of any other credential is what is asked about, and that is asked once.
    if let SessionCredential::Cookies(line) = credential {
        for (_, value) in line.split(';').filter_map(|pair| pair.split_once('=')) {
            let value = value.trim().trim_matches('"');
            if value.len() >= MIN_SESSION_BYTES && !values.contains(&value) {
                values.push(value);
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "0123456789abcdef";

    fn of(line: &str) -> SessionCredential {
        SessionCredential::Cookies(line.into())
    }

    #[test]
    fn a_session_is_counted_whatever_is_beside_it() {
        let mut counts = SessionCounts::default();
        let lines = [
            format!("session={SESSION}"),
            format!("session={SESSION}; app_session=x"),
            format!("app_session={SESSION}y; session=\"{SESSION}\""),
            format!("session=z; app_session={SESSION}"),
        ];
        for (before, line) in lines.iter().enumerate() {
            assert_eq!(counts.most(0, &of(line)), before, "{line}");
            counts.add(0, &of(line));
        }
        assert_eq!(counts.most(1, &of(&lines[0])), 0, "another project");
        assert_eq!(counts.most(0, &of("session=fedcba9876543210")), 0);
        for line in &lines {
            counts.remove(0, &of(line));
            counts.remove(1, &of(line));
        }
        counts.remove(0, &of(&lines[0]));
        assert!(counts.counts.is_empty());
    }

    #[test]
    fn a_session_in_two_cookies_is_one() {
        let mut counts = SessionCounts::default();
        let twice = of(&format!("session={SESSION}; app_session={SESSION}"));
        counts.add(0, &twice);
        assert_eq!(counts.most(0, &twice), 1);
        counts.remove(0, &twice);
        assert!(counts.counts.is_empty());
    }

    #[test]
    fn what_many_clients_may_have_is_not_counted() {
        let mut counts = SessionCounts::default();
        for line in ["app_session=deleted", "session", "app_session=", ""] {
            counts.add(0, &of(line));
        }
        counts.add(0, &SessionCredential::Bearer(SESSION.into()));
        counts.add(0, &SessionCredential::Nothing);
        assert!(counts.counts.is_empty());
    }
}
