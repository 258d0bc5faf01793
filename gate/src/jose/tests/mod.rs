//! Keys for the tests of signatures.

use std::sync::LazyLock;

use serde_json::Value;
use testkit::{Alg, SigningKey};

use super::*;

mod hosts;
pub(crate) mod signatures;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::es256().with_kid("a-key"));
static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa(0));

fn key_of(signer: &SigningKey) -> VerifyingKey {
    key_from(&signer.jwk())
}

fn key_from(jwk: &Value) -> VerifyingKey {
    VerifyingKey::from_jwk(&jwk.to_string()).unwrap().1
}
