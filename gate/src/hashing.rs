//! How the caches hash what strangers send: fast, with a seed that strangers do not know.

use std::hash::{BuildHasher as _, RandomState};

/// Builds hashers with the seed of one cache.
pub(crate) type Hasher = foldhash::fast::FixedState;

/// A hasher with a seed from the host. The default of the hash crate derives its seed from addresses, which in Wasm are the
/// same at every start.
#[must_use]
pub(crate) fn seeded() -> Hasher {
    Hasher::with_seed(RandomState::new().hash_one(0_u64))
}
