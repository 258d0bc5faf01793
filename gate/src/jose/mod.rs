//! JOSE, as far as anybody here needs it: algorithms, keys and sets of them, signatures, and the strict forms in which all of it is written.
//!
//! It knows no token and no policy: [`crate::jwt`] judges tokens with it, [`crate::jwks`] keeps the keys fresh.

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
