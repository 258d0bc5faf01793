//! How the caches hash what strangers send: fast, with a seed that strangers do not know.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::num::NonZeroUsize;

use lru::LruCache;

/// Builds hashers with the seed of one cache.
pub(crate) type Hasher = foldhash::fast::FixedState;

/// A hasher with a seed from the host. The default of the hash crate derives its seed from addresses, which in Wasm are the
/// same at every start.
#[must_use]
pub(crate) fn seeded() -> Hasher {
    Hasher::with_seed(RandomState::new().hash_one(0_u64))
}

/// A cache of so many entries at the most, which takes up memory as it fills.
#[must_use]
pub(crate) fn bounded<K: Hash + Eq, V>(capacity: NonZeroUsize) -> LruCache<K, V, Hasher> {
    let mut cache = LruCache::unbounded_with_hasher(seeded());
    cache.resize(capacity);
    cache
}

/// Numbers by texts.
#[derive(Clone, Debug)]
pub(crate) struct TextIndex(HashMap<Box<str>, usize, Hasher>);

impl Default for TextIndex {
    fn default() -> Self {
        Self(HashMap::with_hasher(seeded()))
    }
}

impl TextIndex {
    /// Gives a text this number, unless it has one.
    #[inline(never)]
    pub(crate) fn insert(&mut self, text: &str, number: usize) {
        if !self.0.contains_key(text) {
            self.0.insert(text.into(), number);
        }
    }

    #[inline(never)]
    pub(crate) fn get(&self, text: &str) -> Option<usize> {
        self.0.get(text).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
