//! Keys and documents of them, for the tests of keys and signatures.

use std::sync::LazyLock;

use serde_json::{Value, json};
use testkit::{Alg, SigningKey, b64};

use super::*;

mod hosts;
mod key_set;
mod keys;
pub(crate) mod signatures;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::es256().with_kid("a-key"));
static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa(0));

fn key_of(signer: &SigningKey) -> VerifyingKey {
    key_from(&signer.jwk())
}

fn key_from(jwk: &Value) -> VerifyingKey {
    VerifyingKey::from_jwk(&jwk.to_string()).unwrap().1
}

pub(crate) fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

pub(crate) fn changed(mut jwk: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

fn without(mut jwk: Value, name: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(name);
    jwk
}

/// A document with keys of these IDs.
pub(crate) fn named(kids: &[&str]) -> Vec<u8> {
    static KEY: LazyLock<SigningKey> = LazyLock::new(SigningKey::es256);
    let keys: Vec<Value> = kids
        .iter()
        .map(|kid| KEY.clone().with_kid(kid).jwk())
        .collect();
    jwks(&keys)
}
