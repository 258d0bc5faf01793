//! Tokens entry before: verified ones, and, apart from them, refused ones.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use lru::LruCache;

use super::{RevalidationScope, TokenError, VerifiedToken};
use crate::hashing::{self, Hasher};
use crate::time::Ticks;

/// Remembers verified tokens while the keys stay the same, and for a moment those refused for their signature.
///
/// Tokens are compared byte by byte over their whole length: what was verified under one signature is not known under
/// another. But of one ECDSA signature anybody can make another. So what the resolver says of a token is remembered
/// by what is signed, header and payload: no other signature evades it, and none is asked for apart. Refused tokens live
/// in a memory of their own, so that no flood of them drives out a good one.
///
/// Tokens that the resolver has disowned are remembered as well, whatever becomes of the keys: they are good no more.
#[derive(Debug)]
pub(crate) struct TokenCache {
    /// By what is signed.
    verified: Option<Entries>,
    /// By all bytes.
    refused: Option<Entries>,
    /// By what is signed. Made when there is one to remember.
    revoked: Option<Entries>,
    /// Kinds of tokens of which the resolver has confirmed one, the latest last.
    confirmed: Vec<RevalidationScope>,
    generation: u64,
    /// Verified and disowned tokens that were forgotten for want of room, since somebody asked.
    evicted: u32,
}

/// A token that was verified.
#[derive(Debug)]
struct VerifiedEntry {
    /// The signature that it was verified with last.
    signature: Box<[u8]>,
    token: Rc<VerifiedToken>,
    /// From then on it is to be confirmed by the resolver.
    confirm_at: Ticks,
    /// When the resolver was asked the question to which it was silent, if it was the last time.
    silent_at: Option<Ticks>,
    /// When the question was asked whose answer it was last judged by.
    judged_at: Option<Ticks>,
    /// Whether the resolver, when it was last asked, answered without a verdict: until there is one, nobody knows whether
    /// the token still lives.
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

/// One type of memory for all three of them: the code for it is there once.
type Entries = LruCache<Box<[u8]>, Entry, Hasher>;

#[derive(Debug)]
enum Entry {
    Verified(VerifiedEntry),
    /// Refused, and when.
    Refused(TokenError, Ticks),
}

fn entries(capacity: NonZeroUsize) -> Entries {
    LruCache::with_hasher(capacity, hashing::seeded())
}

/// What is remembered of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CachedToken {
    /// It was verified. Its time must be checked again.
    Verified {
        /// The token.
        token: Rc<VerifiedToken>,
        /// How it stands with the resolver.
        standing: Standing,
    },
    /// It was refused a moment ago.
    Refused(TokenError),
}

/// How a verified token stands with the resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it is time to have it confirmed by the resolver: whoever is told so does so.
    pub confirm: bool,
    /// Whether its last confirmation was answered without a verdict: it is not good until there is one.
    pub unconfirmed: bool,
}

/// Refused tokens are fewer, shorter and forgotten sooner.
const MAX_REFUSED_TOKENS: NonZeroUsize = NonZeroUsize::new(256).unwrap();
const MAX_REFUSED_TOKEN_BYTES: usize = 4_096;
const REFUSED_LIFETIME: Duration = Duration::from_secs(10);
/// Between two tries to ask the resolver about a token that it has given no verdict on, or that it could not be asked
/// about.
const UNCONFIRMED_PAUSE: Duration = Duration::from_secs(1);
/// There are as many kinds as there are clients and audiences.
const MAX_CONFIRMED_SCOPES: usize = 64;

impl TokenCache {
    /// A memory of as many verified tokens; none: nothing is remembered.
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

    /// What is known of a token under this generation of the keys. `every`: how often verified tokens are to be
    /// confirmed.
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

    /// Remembers a token that was verified with a key of this generation. How it stands with the resolver, as in
    /// [`get`](Self::get): another signature makes no other token of it.
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
            silent_at: None,
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

    /// Remembers a token that was refused for its signature under a key of this generation.
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

    /// The token that was verified, under this signature or another, if it is remembered.
    #[must_use]
    pub(crate) fn peek(&self, token: &[u8]) -> Option<&Rc<VerifiedToken>> {
        let (message, _) = split(token);
        match self.verified.as_ref()?.peek(message)? {
            Entry::Verified(entry) => Some(&entry.token),
            Entry::Refused(..) => None,
        }
    }

    /// The resolver has confirmed a token, which is of this kind.
    pub(crate) fn confirmed(&mut self, token: &[u8], scope: RevalidationScope) {
        self.confirmed.retain(|other| *other != scope);
        if self.confirmed.len() >= MAX_CONFIRMED_SCOPES {
            self.confirmed.remove(0);
        }
        self.confirmed.push(scope);
        let (message, _) = split(token);
        if let Some(entry) = self.verified_entry(message) {
            entry.silent_at = None;
        }
    }

    /// The resolver is silent about a token. Whether it was before, too, when it was asked a whole time `every` earlier: two
    /// questions in one moment of trouble are one.
    pub(crate) fn record_silence(
        &mut self,
        token: &[u8],
        asked_at: Ticks,
        every: Duration,
    ) -> bool {
        let Some(entry) = self.verified_entry(split(token).0) else {
            return false;
        };
        let before = *entry.silent_at.get_or_insert(asked_at);
        before.after(every) <= asked_at
    }

    /// The resolver was asked about a token then, and answered without a verdict: it is asked again after a moment, and no
    /// verdict from before will do.
    pub(crate) fn unconfirmed(&mut self, token: &[u8], asked_at: Ticks, now: Ticks) {
        if let Some(entry) = self.verified_entry(split(token).0) {
            entry.judged_at = entry.judged_at.max(Some(asked_at));
            entry.unconfirmed = true;
            entry.confirm_at = now.after(UNCONFIRMED_PAUSE);
        }
    }

    /// The resolver was to be asked about a token, and could not be: the next try is soon.
    pub(crate) fn not_asked(&mut self, token: &[u8], now: Ticks) {
        if let Some(entry) = self.verified_entry(split(token).0) {
            entry.confirm_at = entry.confirm_at.min(now.after(UNCONFIRMED_PAUSE));
        }
    }

    /// There is a verdict of the resolver's on a token: it is asked again a time `every` after the question, whoever has
    /// asked it.
    pub(crate) fn answered(&mut self, token: &[u8], asked_at: Ticks, every: Duration) {
        if let Some(entry) = self.verified_entry(split(token).0) {
            entry.unconfirmed = false;
            entry.confirm_at = asked_at.after(every);
            entry.judged_at = entry.judged_at.max(Some(asked_at));
        }
    }

    /// Whether a token was judged by the answer to this question, or to a later one.
    #[must_use]
    pub(crate) fn is_judged(&self, token: &[u8], asked_at: Ticks) -> bool {
        let entry = self
            .verified
            .as_ref()
            .and_then(|verified| verified.peek(split(token).0));
        match entry {
            Some(Entry::Verified(entry)) => entry
                .judged_at
                .is_some_and(|judged_at| asked_at <= judged_at),
            Some(Entry::Refused(..)) | None => false,
        }
    }

    fn verified_entry(&mut self, message: &[u8]) -> Option<&mut VerifiedEntry> {
        match self.verified.as_mut()?.get_mut(message)? {
            Entry::Verified(entry) => Some(entry),
            Entry::Refused(..) => None,
        }
    }

    /// Whether the resolver has ever confirmed a token of this kind.
    #[must_use]
    pub(crate) fn has_confirmed(&self, scope: &RevalidationScope) -> bool {
        self.confirmed.contains(scope)
    }

    /// The resolver has disowned a token that was verified: it is never good again, under any signature.
    pub(crate) fn revoke(&mut self, token: &[u8], now: Ticks) {
        self.remove(token);
        let Some(capacity) = self.verified.as_ref().map(LruCache::cap) else {
            return;
        };
        let (message, _) = split(token);
        let revoked = self.revoked.get_or_insert_with(|| entries(capacity));
        if let Some((evicted, _)) =
            revoked.push(message.into(), Entry::Refused(TokenError::Revoked, now))
            && *evicted != *message
        {
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// Whether the resolver has disowned a token.
    pub(crate) fn is_revoked(&mut self, token: &[u8]) -> bool {
        let (message, _) = split(token);
        let revoked = self.revoked.as_mut();
        revoked.is_some_and(|revoked| revoked.get(message).is_some())
    }

    /// Forgets a token.
    pub(crate) fn remove(&mut self, token: &[u8]) {
        let (message, _) = split(token);
        if let Some(cache) = self.verified.as_mut() {
            cache.pop(message);
        }
    }

    /// Forgets all refused tokens.
    pub(crate) fn remove_refused(&mut self) {
        self.refused.as_mut().map(LruCache::clear);
    }

    /// How many verified and disowned tokens were forgotten for want of room since this was last asked.
    pub(crate) fn take_evicted(&mut self) -> u32 {
        std::mem::take(&mut self.evicted)
    }

    /// How many verified tokens are remembered.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.verified.as_ref().map_or(0, LruCache::len)
    }

    /// New keys: what was verified with the old ones is forgotten.
    fn enter(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.verified.as_mut().map(LruCache::clear);
            self.refused.as_mut().map(LruCache::clear);
        }
    }
}

/// What is signed of a compact token, and its signature with the dot before it.
fn split(token: &[u8]) -> (&[u8], &[u8]) {
    let dot = memchr::memrchr(b'.', token);
    dot.and_then(|dot| token.split_at_checked(dot))
        .unwrap_or((token, b""))
}
