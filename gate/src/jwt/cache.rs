//! The token cache: verified tokens and, apart from them, refused and revoked ones.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use lru::LruCache;

use super::{RevalidationScope, TokenError, VerifiedToken};
use crate::hashing::{self, Hasher};
use crate::time::Ticks;

/// Caches verified tokens while the keys stay the same, and for a short time those refused for their signature.
///
/// A hit needs the whole token, byte by byte: a token that was verified with one signature is a miss with another. But
/// anybody can make a second valid signature from one by ECDSA. So the resolver's verdict on a token is cached by what is
/// signed, header and payload: another signature does not change the verdict, and causes no call of its own. Refused
/// tokens have a cache of their own, so that no flood of them evicts a verified one.
///
/// Tokens that the resolver has revoked are cached too, and stay so when the keys change: they are accepted again only once it
/// has confirmed them.
#[derive(Debug)]
pub(crate) struct TokenCache {
    /// The key is what is signed.
    verified: Option<Entries>,
    /// The key is the whole token.
    refused: Option<Entries>,
    /// The key is what is signed. Allocated with the first entry.
    revoked: Option<Entries>,
    /// The scopes in which the resolver has confirmed a token, the latest last.
    confirmed: Vec<RevalidationScope>,
    generation: u64,
    /// How many verified and revoked tokens were evicted since this was last taken.
    evicted: u32,
}

/// A token that was verified.
#[derive(Debug)]
struct VerifiedEntry {
    /// The signature with which it was last verified.
    signature: Box<[u8]>,
    token: Rc<VerifiedToken>,
    /// When the resolver is next asked to confirm it.
    confirm_at: Ticks,
    /// When the call was made whose answer was last applied to it.
    judged_at: Option<Ticks>,
    /// Whether the last answer of the resolver had no verdict: until there is one, the token may have been revoked.
    unconfirmed: bool,
}

impl VerifiedEntry {
    fn standing(&mut self, every: Option<Duration>, now: Ticks) -> Standing {
        let every =
            every.filter(|_| self.token.revalidation_scope().is_some() && self.confirm_at <= now);
        if let Some(every) = every {
            let pause = if self.unconfirmed {
                UNCONFIRMED_PAUSE
            } else {
                every
            };
            self.confirm_at = now.after(pause);
        }
        Standing {
            confirm: every.is_some(),
            unconfirmed: self.unconfirmed,
        }
    }
}

/// One type for all three caches, so that its code is compiled once.
type Entries = LruCache<Box<[u8]>, Entry, Hasher>;

#[derive(Debug)]
enum Entry {
    Verified(VerifiedEntry),
    /// Refused, and when.
    Refused(TokenError, Ticks),
}

fn entries(capacity: NonZeroUsize) -> Entries {
    hashing::bounded(capacity)
}

/// A cache hit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CachedToken {
    /// The token was verified. Its times must be checked again.
    Verified {
        /// The token.
        token: Rc<VerifiedToken>,
        /// Its standing with the resolver.
        standing: Standing,
    },
    /// The token was refused a short time ago.
    Refused(TokenError),
}

/// A verified token's standing with the resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether the resolver is to be asked now to confirm it: whoever gets this asks.
    pub confirm: bool,
    /// Whether the last answer had no verdict: the token is not accepted until there is one.
    pub unconfirmed: bool,
}

/// The cache of refused tokens is smaller, its entries are shorter and expire sooner.
const MAX_REFUSED_TOKENS: NonZeroUsize = NonZeroUsize::new(256).unwrap();
const MAX_REFUSED_TOKEN_BYTES: usize = 4_096;
const REFUSED_LIFETIME: Duration = Duration::from_secs(10);
/// The pause before the resolver is asked again about a token on which it has given no verdict, or about which it could not
/// be asked.
const UNCONFIRMED_PAUSE: Duration = Duration::from_secs(1);
/// There are as many scopes as there are combinations of client and audiences.
const MAX_CONFIRMED_SCOPES: usize = 64;

impl TokenCache {
    /// A cache of up to `capacity` verified tokens; 0: nothing is cached.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity);
        Self {
            verified: capacity.map(entries),
            refused: capacity.map(|_| entries(MAX_REFUSED_TOKENS)),
            revoked: None,
            confirmed: Vec::new(),
            generation: 0,
            evicted: 0,
        }
    }

    /// Looks up a token under this generation of the keys. `every`: how often the resolver is asked to confirm verified
    /// tokens.
    pub(crate) fn get(
        &mut self,
        token: &[u8],
        generation: u64,
        every: Option<Duration>,
        now: Ticks,
    ) -> Option<CachedToken> {
        self.enter(generation);
        let (message, signature) = split(token);
        if let Some(entry) = self.verified_entry(message)
            && *entry.signature == *signature
        {
            return Some(CachedToken::Verified {
                token: Rc::clone(&entry.token),
                standing: entry.standing(every, now),
            });
        }
        let refused = self.refused.as_mut()?;
        match refused.get(token)? {
            Entry::Refused(error, at) if now.since(*at) < REFUSED_LIFETIME => {
                return Some(CachedToken::Refused(*error));
            }
            _ => {}
        }
        refused.pop(token);
        None
    }

    /// Inserts a token that was verified with a key of this generation. Returns its standing with the resolver, as
    /// [`get`](Self::get) does: another signature does not change it.
    pub(crate) fn insert_verified(
        &mut self,
        token: &[u8],
        verified: &Rc<VerifiedToken>,
        generation: u64,
        every: Option<Duration>,
        now: Ticks,
    ) -> Standing {
        self.enter(generation);
        let (message, signature) = split(token);
        if let Some(entry) = self.verified_entry(message) {
            entry.signature = signature.into();
            return entry.standing(every, now);
        }
        let mut entry = VerifiedEntry {
            signature: signature.into(),
            token: Rc::clone(verified),
            confirm_at: now,
            judged_at: None,
            unconfirmed: false,
        };
        let standing = entry.standing(every, now);
        if let Some(cache) = self.verified.as_mut()
            && cache.push(message.into(), Entry::Verified(entry)).is_some()
        {
            self.evicted = self.evicted.saturating_add(1);
        }
        standing
    }

    /// Inserts a token that was refused under a key of this generation.
    pub(crate) fn insert_refused(
        &mut self,
        token: &[u8],
        error: TokenError,
        generation: u64,
        now: Ticks,
    ) {
        self.enter(generation);
        if let Some(cache) = self.refused.as_mut()
            && token.len() <= MAX_REFUSED_TOKEN_BYTES
        {
            cache.put(token.into(), Entry::Refused(error, now));
        }
    }

    /// The token that was verified, with this signature or another, if it is cached: also if it is revoked.
    #[must_use]
    pub(crate) fn peek(&self, token: &[u8]) -> Option<&Rc<VerifiedToken>> {
        Some(&self.peek_entry(token)?.token)
    }

    /// Records that the resolver has confirmed a token of this scope: it is not revoked.
    pub(crate) fn confirmed(&mut self, token: &[u8], scope: RevalidationScope) {
        self.confirmed.retain(|other| *other != scope);
        if self.confirmed.len() >= MAX_CONFIRMED_SCOPES {
            self.confirmed.remove(0);
        }
        self.confirmed.push(scope);
        if let Some(revoked) = self.revoked.as_mut() {
            revoked.pop(split(token).0);
        }
    }

    /// Records that the resolver, asked at this time, answered without a verdict: it is asked again after a short pause, and
    /// verdicts on earlier calls are ignored.
    pub(crate) fn unconfirmed(&mut self, token: &[u8], asked_at: Ticks, now: Ticks) {
        if let Some(entry) = self.verified_entry(split(token).0) {
            entry.judged_at = entry.judged_at.max(Some(asked_at));
            entry.unconfirmed = true;
            entry.confirm_at = now.after(UNCONFIRMED_PAUSE);
        }
    }

    /// Records that the resolver could not be asked about a token: it is asked again after a short pause.
    pub(crate) fn not_asked(&mut self, token: &[u8], now: Ticks) {
        if let Some(entry) = self.verified_entry(split(token).0) {
            entry.confirm_at = entry.confirm_at.min(now.after(UNCONFIRMED_PAUSE));
        }
    }

    /// Records that the resolver has given a verdict on a token: it is asked again `every` after that call, whichever worker
    /// made it.
    pub(crate) fn answered(&mut self, token: &[u8], asked_at: Ticks, every: Duration) {
        let (message, _) = split(token);
        let caches = self.verified.iter_mut().chain(&mut self.revoked);
        for entry in caches.filter_map(|cache| cache.get_mut(message)) {
            if let Entry::Verified(entry) = entry {
                entry.unconfirmed = false;
                entry.confirm_at = asked_at.after(every);
                entry.judged_at = entry.judged_at.max(Some(asked_at));
            }
        }
    }

    /// Whether the answer to this call, or to a later one, was applied to a token.
    #[must_use]
    pub(crate) fn is_judged(&self, token: &[u8], asked_at: Ticks) -> bool {
        self.peek_entry(token).is_some_and(|entry| {
            entry
                .judged_at
                .is_some_and(|judged_at| asked_at <= judged_at)
        })
    }

    fn peek_entry(&self, token: &[u8]) -> Option<&VerifiedEntry> {
        let (message, _) = split(token);
        let caches = self.verified.iter().chain(&self.revoked);
        let mut entries = caches.filter_map(|cache| cache.peek(message));
        entries.find_map(|entry| match entry {
            Entry::Verified(entry) => Some(entry),
            Entry::Refused(..) => None,
        })
    }

    fn verified_entry(&mut self, message: &[u8]) -> Option<&mut VerifiedEntry> {
        match self.verified.as_mut()?.get_mut(message)? {
            Entry::Verified(entry) => Some(entry),
            Entry::Refused(..) => None,
        }
    }

    /// Whether the resolver has ever confirmed a token of this scope.
    #[must_use]
    pub(crate) fn has_confirmed(&self, scope: &RevalidationScope) -> bool {
        self.confirmed.contains(scope)
    }

    /// Revokes a token: it is not accepted, with any signature, until the resolver confirms it.
    pub(crate) fn revoke(&mut self, token: &[u8], now: Ticks) {
        let (message, _) = split(token);
        if self.is_revoked(token) {
            return;
        }
        let Some(verified) = self.verified.as_mut() else {
            return;
        };
        // One that was evicted meanwhile cannot be asked about again.
        let unknown = Entry::Refused(TokenError::Revoked, now);
        let entry = verified.pop(message).unwrap_or(unknown);
        let capacity = verified.cap();
        let revoked = self.revoked.get_or_insert_with(|| entries(capacity));
        if revoked.push(message.into(), entry).is_some() {
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// Whether the resolver has revoked a token.
    pub(crate) fn is_revoked(&mut self, token: &[u8]) -> bool {
        let (message, _) = split(token);
        let revoked = self.revoked.as_mut();
        revoked.is_some_and(|revoked| revoked.get(message).is_some())
    }

    /// A revoked token of which the resolver is to be asked again, with the signature that was verified: whoever gets this
    /// asks.
    pub(crate) fn recheck(
        &mut self,
        token: &[u8],
        every: Duration,
        unix: u64,
        now: Ticks,
    ) -> Option<(Vec<u8>, Rc<VerifiedToken>)> {
        let (message, _) = split(token);
        let Entry::Verified(entry) = self.revoked.as_mut()?.get_mut(message)? else {
            return None;
        };
        if now < entry.confirm_at || entry.token.check_time(unix).is_err() {
            return None;
        }
        entry.confirm_at = now.after(every);
        Some((
            [message, &entry.signature].concat(),
            Rc::clone(&entry.token),
        ))
    }

    /// Removes a verified token.
    pub(crate) fn remove(&mut self, token: &[u8]) {
        let (message, _) = split(token);
        if let Some(cache) = self.verified.as_mut() {
            cache.pop(message);
        }
    }

    /// Removes all refused tokens.
    pub(crate) fn remove_refused(&mut self) {
        self.refused.as_mut().map(LruCache::clear);
    }

    /// How many verified and revoked tokens were evicted since this was last taken.
    pub(crate) fn take_evicted(&mut self) -> u32 {
        std::mem::take(&mut self.evicted)
    }

    /// How many verified tokens are cached.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.verified.as_ref().map_or(0, LruCache::len)
    }

    /// Removes the verified and refused tokens if the keys have changed.
    fn enter(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.verified.as_mut().map(LruCache::clear);
            self.refused.as_mut().map(LruCache::clear);
        }
    }
}

/// The signed part of a compact token, and its signature with the dot before it.
fn split(token: &[u8]) -> (&[u8], &[u8]) {
    let dot = memchr::memrchr(b'.', token);
    dot.and_then(|dot| token.split_at_checked(dot))
        .unwrap_or((token, b""))
}
