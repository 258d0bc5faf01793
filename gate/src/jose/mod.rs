//! JOSE, as far as the engine needs it: algorithms, keys and key sets, signatures, and their strict encodings.
//!
//! It has no tokens and no policy: [`crate::jwt`] verifies tokens with it, [`crate::jwks`] fetches the keys.

mod algorithm;
pub(crate) mod base64url;
mod der;
pub(crate) mod json;
mod key;
mod key_set;
mod signature;
#[cfg(test)]
pub(crate) mod tests;

pub use algorithm::Algorithm;
pub use key::VerifyingKey;
pub use key_set::KeySet;
pub(crate) use key_set::{DocumentError, Dropped, DroppedKey, NoKey};
pub use signature::{ForHost, HostSignature, RustCrypto, SignatureVerifier, for_host, self_test};
