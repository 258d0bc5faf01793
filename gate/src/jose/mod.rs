//! JOSE, as far as anybody here needs it: algorithms, keys, signatures, and the strict forms in which all of it is written.
//!
//! It knows no token and no policy: [`crate::jwt`] judges tokens with it, [`crate::jwks`] keeps the keys fresh.

mod algorithm;
pub(crate) mod base64url;
mod der;
pub(crate) mod json;
mod key;
mod signature;
#[cfg(test)]
pub(crate) mod tests;

pub use algorithm::Algorithm;
pub use key::{KeyError, VerifyingKey};
pub use signature::{ForHost, HostSignature, RustCrypto, SignatureVerifier, for_host, self_test};
