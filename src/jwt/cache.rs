//! Tokens seen before: verified ones, and, apart from them, refused ones.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use lru::LruCache;

use super::{TokenError, VerifiedToken};
use crate::time::Ticks;

/// Remembers verified tokens while the keys stay the same, and for a moment those refused for their signature.
///
/// Tokens are compared byte by byte over their whole length: what was verified under one spelling is not known under
/// another. Refused tokens live in a memory of their own, so that no flood of them drives out a good one.
#[derive(Debug)]
pub struct TokenCache {
    verified: Option<Memory>,
    refused: Option<Memory>,
    generation: u64,
}

/// What is remembered of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// It was verified. Its time must be checked again.
    Verified(Rc<VerifiedToken>),
    /// It was refused a moment ago.
    Refused(TokenError),
}

type Memory = LruCache<Box<[u8]>, (Remembered, Ticks)>;

/// Refused tokens are fewer, shorter and forgotten sooner.
const REFUSED: NonZeroUsize = NonZeroUsize::new(256).unwrap();
const LONGEST_REFUSED: usize = 4_096;
const REFUSED_FOR: Duration = Duration::from_secs(10);

impl TokenCache {
    /// A memory of as many verified tokens; none: nothing is remembered.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity);
        Self {
            verified: capacity.map(LruCache::new),
            refused: capacity.map(|_| LruCache::new(REFUSED)),
            generation: 0,
        }
    }

    /// What is known of a token under this generation of the keys.
    pub fn recall(&mut self, token: &[u8], generation: u64, now: Ticks) -> Option<Remembered> {
        self.enter(generation);
        if let Some((remembered, _)) = self.verified.as_mut()?.get(token) {
            return Some(remembered.clone());
        }
        let refused = self.refused.as_mut()?;
        let (remembered, at) = refused.get(token)?;
        if now.since(*at) < REFUSED_FOR {
            return Some(remembered.clone());
        }
        refused.pop(token);
        None
    }

    /// Remembers a token that was verified with a key of this generation.
    pub fn verified(&mut self, token: &[u8], verified: &Rc<VerifiedToken>, generation: u64) {
        self.enter(generation);
        if let Some(cache) = self.verified.as_mut() {
            let remembered = Remembered::Verified(Rc::clone(verified));
            cache.put(token.into(), (remembered, Ticks::default()));
        }
    }

    /// Remembers a token that was refused for its signature under a key of this generation.
    pub fn refused(&mut self, token: &[u8], error: TokenError, generation: u64, now: Ticks) {
        self.enter(generation);
        if let Some(cache) = self.refused.as_mut()
            && token.len() <= LONGEST_REFUSED
        {
            cache.put(token.into(), (Remembered::Refused(error), now));
        }
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
