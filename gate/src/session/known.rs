//! Whose credentials were good: for longer than verdicts are cached, and where they are not cached at all.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;

use super::SessionCredential;
use crate::hashing::{self, Hasher};

/// How many users are known at once; then the one named the longest time ago is evicted.
pub(crate) const MAX_KNOWN_USERS: usize = 1_024;
/// By how many credentials one user is known; then by the latest.
pub(crate) const MAX_CREDENTIALS_PER_KNOWN_USER: usize = 8;
/// A longer user ID is not kept. Authgear's are UUIDs.
const MAX_USER_ID_BYTES: usize = 256;

/// The users whom the resolver has named, by their credentials: the outcome of their calls distinguishes an outage from
/// what strangers can cause.
///
/// It admits nobody. Of credentials only digests are kept, with a secret seed.
#[derive(Debug)]
pub(crate) struct KnownUsers {
    users: Option<LruCache<Rc<str>, Vec<u64>, Hasher>>,
    credentials: HashMap<u64, Rc<str>, Hasher>,
}

impl Default for KnownUsers {
    fn default() -> Self {
        let capacity = NonZeroUsize::new(MAX_KNOWN_USERS);
        Self {
            users: capacity.map(hashing::bounded),
            credentials: HashMap::with_hasher(hashing::seeded()),
        }
    }
}

impl KnownUsers {
    /// The resolver has named this user for a credential.
    pub(crate) fn named(&mut self, credential: &SessionCredential, user: &str) {
        let Some(users) = &mut self.users else {
            return;
        };
        if user.len() > MAX_USER_ID_BYTES {
            return;
        }
        let digest = self.credentials.hasher().hash_one(credential);
        if let Some(known) = self.credentials.get(&digest)
            && **known == *user
        {
            users.promote(user);
            return;
        }
        self.remove(credential);
        let Some(users) = &mut self.users else {
            return;
        };
        let user: Rc<str> = user.into();
        self.credentials.insert(digest, Rc::clone(&user));
        if let Some(digests) = users.get_mut(&user) {
            if digests.len() >= MAX_CREDENTIALS_PER_KNOWN_USER {
                self.credentials.remove(&digests.remove(0));
            }
            digests.push(digest);
        } else if let Some((_, evicted)) = users.push(user, vec![digest]) {
            for digest in evicted {
                self.credentials.remove(&digest);
            }
        }
    }

    /// The user whom the resolver has named for a credential.
    #[must_use]
    pub(crate) fn user(&self, credential: &SessionCredential) -> Option<Rc<str>> {
        let digest = self.credentials.hasher().hash_one(credential);
        self.credentials.get(&digest).cloned()
    }

    /// The resolver says no of a credential: whoever presents it is a stranger from now on.
    pub(crate) fn remove(&mut self, credential: &SessionCredential) {
        let digest = self.credentials.hasher().hash_one(credential);
        let Some(user) = self.credentials.remove(&digest) else {
            return;
        };
        let Some(users) = &mut self.users else {
            return;
        };
        if let Some(digests) = users.get_mut(&user) {
            digests.retain(|other| *other != digest);
            if digests.is_empty() {
                users.pop(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> SessionCredential {
        SessionCredential::Cookies(format!("session={name}").into())
    }

    fn knows(known: &KnownUsers, name: &str) -> bool {
        known.user(&of(name)).is_some()
    }

    #[test]
    fn a_user_is_known_by_a_credential_until_the_resolver_says_no() {
        let mut known = KnownUsers::default();
        assert!(!knows(&known, "a"));
        known.named(&of("a"), "alice");
        assert_eq!(known.user(&of("a")).as_deref(), Some("alice"));
        known.named(&of("a"), "bob");
        assert_eq!(known.user(&of("a")).as_deref(), Some("bob"));
        known.remove(&of("other"));
        known.remove(&of("a"));
        known.remove(&of("a"));
        assert!(!knows(&known, "a"));
        assert!(known.users.as_ref().is_some_and(LruCache::is_empty));
    }

    #[test]
    fn one_user_with_many_credentials_makes_nobody_a_stranger() {
        let mut known = KnownUsers::default();
        known.named(&of("b"), "bob");
        for nth in 0..10_000 {
            known.named(&of(&nth.to_string()), "alice");
        }
        assert!(knows(&known, "b"));
        assert!(knows(&known, "9999") && knows(&known, "9992") && !knows(&known, "9991"));
        assert_eq!(known.credentials.len(), 1 + MAX_CREDENTIALS_PER_KNOWN_USER);
    }

    #[test]
    fn so_many_users_are_known_and_the_one_named_last_longest() {
        let mut known = KnownUsers::default();
        for nth in 0..MAX_KNOWN_USERS {
            known.named(&of(&nth.to_string()), &nth.to_string());
        }
        known.named(&of("0"), "0");
        known.named(&of("one more"), "one more");
        assert!(knows(&known, "0") && knows(&known, "one more") && !knows(&known, "1"));
        assert_eq!(known.credentials.len(), MAX_KNOWN_USERS);
        known.named(&of("longest"), &"x".repeat(256));
        known.named(&of("long"), &"x".repeat(257));
        assert!(knows(&known, "longest") && !knows(&known, "long"));
    }
}
