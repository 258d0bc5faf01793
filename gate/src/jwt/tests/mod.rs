//! Fixtures for the tests of tokens: a key, a user, a time, and a policy.

use std::sync::LazyLock;

use serde_json::{Value, json};
use testkit::{SigningKey, Token, User, b64};

use super::*;
use crate::config::{Config, JwtPolicy};
use crate::endpoint::Endpoint;
use crate::jose::{Algorithm, RustCrypto, SignatureVerifier, VerifyingKey};
use crate::policy::NeededFacts;

mod cache;
mod claims;
mod facts;
mod form;
mod header;
mod signatures;
mod times;

const ISSUER: &str = "https://auth.example.com";
/// The time in every test, in Unix seconds.
const NOW: u64 = 1_767_225_700;
const CLAIMS: &str = testkit::CLAIMS;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::es256().with_kid("a-key"));
static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::rsa(0));

fn issuer() -> Endpoint {
    Endpoint::parse(ISSUER).unwrap()
}

/// The default policy with these members of `jwt`; ES256 is allowed beside RS256.
fn policy(jwt: &Value) -> JwtPolicy {
    let mut members = json!({ "algorithms": ["RS256", "ES256"] });
    let more = jwt.as_object().unwrap().clone();
    members.as_object_mut().unwrap().extend(more);
    let json = json!({ "projects": [{ "endpoint": ISSUER, "cluster": "a", "jwt": members }] });
    let config = Config::parse(json.to_string().as_bytes()).unwrap();
    config.projects[0].jwt.clone()
}

fn anything() -> JwtPolicy {
    policy(&json!({ "algorithms": Algorithm::ALL.map(Algorithm::name) }))
}

/// A good token of Alice.
fn alice() -> Token {
    let user = User::new("alice")
        .roles(&["admin"])
        .amr(&["pwd"])
        .authenticated_at(Some(1_767_225_590));
    Token::user(ISSUER, &user)
        .claim("iat", NOW - 100)
        .claim("exp", NOW + 1_700)
}

fn header() -> Value {
    alice().header_for(&KEY)
}

/// A token with this payload, truly signed.
fn paid(payload: impl AsRef<[u8]>) -> String {
    KEY.sign_raw(header().to_string().as_bytes(), payload.as_ref())
}

/// A token with this header, truly signed.
fn headed(header: impl AsRef<[u8]>) -> String {
    KEY.sign_raw(header.as_ref(), alice().payload().to_string().as_bytes())
}

/// No rule asks anything of a token.
fn needed() -> NeededFacts {
    NeededFacts::of(std::iter::empty())
}

fn inspect_with(token: &str, policy: &JwtPolicy, unix: u64) -> Result<(), TokenError> {
    InspectedToken::inspect(token.as_bytes(), &issuer(), policy, &needed(), unix).map(|_| ())
}

fn inspect(token: &str) -> Result<(), TokenError> {
    inspect_with(token, &policy(&json!({})), NOW)
}

fn key_of(signer: &SigningKey) -> VerifyingKey {
    key_from(&signer.jwk())
}

fn key_from(jwk: &Value) -> VerifyingKey {
    VerifyingKey::from_jwk(&jwk.to_string()).unwrap().1
}

fn verify(
    token: &str,
    key: &VerifyingKey,
    verifier: &dyn SignatureVerifier,
) -> Result<VerifiedToken, TokenError> {
    InspectedToken::inspect(token.as_bytes(), &issuer(), &anything(), &needed(), NOW)?
        .verify(key, verifier)
}
