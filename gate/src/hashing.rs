//! How the caches hash what strangers send: fast, and by a seed that they do not know.

use std::hash::{BuildHasher as _, RandomState};

/// Builds hashers with the seed of one cache.
pub(crate) type Hasher = foldhash::fast::FixedState;

/// With a seed from the host. The hash's own default takes it from addresses, which in Wasm are the same at every start.
#[must_use]
pub(crate) fn seeded() -> Hasher {
    Hasher::with_seed(RandomState::new().hash_one(0_u64))
}
