//! Tokens seen before: verified ones, and, apart from them, refused ones.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use lru::LruCache;

use super::{TokenError, TokenKind, VerifiedToken};
use crate::hashing::{self, Hasher};
use crate::time::Ticks;

/// Remembers verified tokens while the keys stay the same, and for a moment those refused for their signature.
///
/// Tokens are compared byte by byte over their whole length: what was verified under one spelling is not known under
/// another. Refused tokens live in a memory of their own, so that no flood of them drives out a good one.
///
/// Tokens that the resolver has disowned are remembered as well, whatever becomes of the keys: they are good no more.
#[derive(Debug)]
pub struct TokenCache {
    verified: Option<Memory>,
    refused: Option<Memory>,
    /// Made when there is one to remember.
    revoked: Option<Memory>,
    /// Kinds of tokens of which the resolver has confirmed one, the latest last.
    confirmed: Vec<TokenKind>,
    generation: u64,
    /// Verified and disowned tokens that were forgotten for want of room, since somebody asked.
    evicted: u32,
}

/// A token that was verified.
#[derive(Debug)]
struct Seen {
    token: Rc<VerifiedToken>,
    /// From then on it is to be confirmed by the resolver.
    confirm_at: Ticks,
    /// Whether the resolver was silent when it was last asked.
    doubted: bool,
}

/// One type of memory for all three of them: the code for it is there once.
type Memory = LruCache<Box<[u8]>, Known, Hasher>;

#[derive(Debug)]
enum Known {
    Verified(Seen),
    /// Refused, and when.
    Refused(TokenError, Ticks),
}

fn memory(capacity: NonZeroUsize) -> Memory {
    LruCache::with_hasher(capacity, hashing::seeded())
}

/// What is remembered of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// It was verified. Its time must be checked again.
    Verified {
        /// The token.
        token: Rc<VerifiedToken>,
        /// Whether it is time to have it confirmed by the resolver: whoever is told so does so.
        confirm: bool,
    },
    /// It was refused a moment ago.
    Refused(TokenError),
}

/// Refused tokens are fewer, shorter and forgotten sooner.
const REFUSED: NonZeroUsize = NonZeroUsize::new(256).unwrap();
const LONGEST_REFUSED: usize = 4_096;
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// There are as many kinds as there are clients and audiences.
const KINDS: usize = 64;

impl TokenCache {
    /// A memory of as many verified tokens; none: nothing is remembered.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity);
        Self {
            verified: capacity.map(memory),
            refused: capacity.map(|_| memory(REFUSED)),
            revoked: None,
            confirmed: Vec::new(),
            generation: 0,
            evicted: 0,
        }
    }

    /// What is known of a token under this generation of the keys. `every`: how often verified tokens are to be
    /// confirmed.
    pub fn recall(
        &mut self,
        token: &[u8],
        generation: u64,
        every: Option<Duration>,
        now: Ticks,
    ) -> Option<Remembered> {
        self.enter(generation);
        if let Some(Known::Verified(seen)) = self.verified.as_mut()?.get_mut(token) {
            let confirmable = seen.token.kind().is_some();
            let due = every.filter(|_| confirmable && seen.confirm_at <= now);
            if let Some(every) = due {
                seen.confirm_at = now.after(every);
            }
            return Some(Remembered::Verified {
                token: Rc::clone(&seen.token),
                confirm: due.is_some(),
            });
        }
        let refused = self.refused.as_mut()?;
        match refused.get(token)? {
            Known::Refused(error, at) if now.since(*at) < REFUSED_FOR => {
                return Some(Remembered::Refused(*error));
            }
            _ => {}
        }
        refused.pop(token);
        None
    }

    /// Remembers a token that was verified with a key of this generation, and is to be confirmed again from then on.
    pub fn verified(
        &mut self,
        token: &[u8],
        verified: &Rc<VerifiedToken>,
        generation: u64,
        confirm_at: Ticks,
    ) {
        self.enter(generation);
        if let Some(cache) = self.verified.as_mut() {
            let seen = Known::Verified(Seen {
                token: Rc::clone(verified),
                confirm_at,
                doubted: false,
            });
            if let Some((forgotten, _)) = cache.push(token.into(), seen)
                && *forgotten != *token
            {
                self.evicted = self.evicted.saturating_add(1);
            }
        }
    }

    /// Remembers a token that was refused for its signature under a key of this generation.
    pub fn refused(&mut self, token: &[u8], error: TokenError, generation: u64, now: Ticks) {
        self.enter(generation);
        if let Some(cache) = self.refused.as_mut()
            && token.len() <= LONGEST_REFUSED
        {
            cache.put(token.into(), Known::Refused(error, now));
        }
    }

    /// The token that was verified under this spelling, if it is remembered.
    #[must_use]
    pub fn peek(&self, token: &[u8]) -> Option<&Rc<VerifiedToken>> {
        match self.verified.as_ref()?.peek(token)? {
            Known::Verified(seen) => Some(&seen.token),
            Known::Refused(..) => None,
        }
    }

    /// The resolver has confirmed a token, which is of this kind.
    pub fn confirmed(&mut self, token: &[u8], kind: TokenKind) {
        self.confirmed.retain(|other| *other != kind);
        if self.confirmed.len() >= KINDS {
            self.confirmed.remove(0);
        }
        self.confirmed.push(kind);
        if let Some(seen) = self.seen(token) {
            seen.doubted = false;
        }
    }

    /// The resolver is silent about a token. Whether it was the last time, too.
    pub fn doubt(&mut self, token: &[u8]) -> bool {
        let seen = self.seen(token);
        seen.is_some_and(|seen| std::mem::replace(&mut seen.doubted, true))
    }

    fn seen(&mut self, token: &[u8]) -> Option<&mut Seen> {
        match self.verified.as_mut()?.peek_mut(token)? {
            Known::Verified(seen) => Some(seen),
            Known::Refused(..) => None,
        }
    }

    /// Whether the resolver has ever confirmed a token of this kind.
    #[must_use]
    pub fn knows(&self, kind: &TokenKind) -> bool {
        self.confirmed.contains(kind)
    }

    /// The resolver has disowned a token that was verified: it is never good again.
    pub fn revoke(&mut self, token: &[u8], now: Ticks) {
        self.forget(token);
        let Some(capacity) = self.verified.as_ref().map(LruCache::cap) else {
            return;
        };
        let revoked = self.revoked.get_or_insert_with(|| memory(capacity));
        if let Some((forgotten, _)) =
            revoked.push(token.into(), Known::Refused(TokenError::Revoked, now))
            && *forgotten != *token
        {
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// Whether the resolver has disowned a token.
    pub fn is_revoked(&mut self, token: &[u8]) -> bool {
        let revoked = self.revoked.as_mut();
        revoked.is_some_and(|revoked| revoked.get(token).is_some())
    }

    /// Forgets a token.
    pub fn forget(&mut self, token: &[u8]) {
        if let Some(cache) = self.verified.as_mut() {
            cache.pop(token);
        }
    }

    /// Forgets all refused tokens.
    pub fn forget_refused(&mut self) {
        self.refused.as_mut().map(LruCache::clear);
    }

    /// How many verified and disowned tokens were forgotten for want of room since this was last asked.
    pub fn take_evicted(&mut self) -> u32 {
        std::mem::take(&mut self.evicted)
    }

    /// How many verified tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verified.as_ref().map_or(0, LruCache::len)
    }

    /// Whether no verified token is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
