//! JWTs, good and bad, and the model's signatures.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use gate::jose::{Algorithm, SignatureVerifier, VerifyingKey};
use testkit::{SigningKey, b64};

use crate::authgear::{Identity, User};
use crate::policies;
use crate::projects::OTHER_KEY;

/// A JWT, good or bad.
#[derive(Clone, Debug)]
pub(crate) struct Jwt {
    pub(crate) text: String,
    /// The project that has issued it.
    pub(crate) project: usize,
    pub(crate) identity: Identity,
    pub(crate) key: usize,
    pub(crate) not_before: u64,
    pub(crate) expires: u64,
    pub(crate) machine: bool,
    /// Whom it is for.
    pub(crate) audiences: Vec<&'static str>,
    /// Whether it is signed by its key, and for this project.
    pub(crate) genuine: bool,
    /// All that it claims.
    pub(crate) claims: Rc<Value>,
    /// Of which kind it is to the resolver, which accepts all of a kind or none.
    pub(crate) kind: Rc<str>,
}

/// Real keys, made once: only their public halves are used, signatures are the model's.
pub(crate) static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    let keys = (0..=POOL).map(|nth| {
        let id = if nth == OTHER_KEY { 0 } else { nth };
        SigningKey::es256().with_kid(&format!("key-{id}"))
    });
    keys.collect()
});

pub(crate) const POOL: usize = 12;

impl Jwt {
    /// Writes its text, with the signature of its key, or with another.
    pub(crate) fn sign(&mut self, issuer: &str, kid: &str, jti: u64, users: &[User]) {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#);
        let Self {
            identity,
            not_before,
            expires,
            audiences,
            ..
        } = self;
        let user = policies::facts(&users[identity.user].id, *identity);
        let claims = testkit::CLAIMS;
        let mut payload = policies::claims(*identity);
        for (name, value) in [
            ("iss", json!(issuer)),
            ("aud", json!(audiences)),
            ("jti", json!(format!("{jti:x}"))),
            ("nbf", json!(not_before)),
            ("exp", json!(expires)),
        ] {
            payload[name] = value;
        }
        if self.machine {
            let client = policies::client(*identity);
            payload["sub"] = json!(format!("client_id_{client}"));
            payload["client_id"] = json!(client);
        } else {
            payload["sub"] = json!(user.id);
            if let Some(at) = user.authenticated_at {
                payload["auth_time"] = json!(at);
            }
            for (name, value) in [
                ("is_anonymous", json!(user.anonymous)),
                ("is_verified", json!(user.verified)),
                ("can_reauthenticate", json!(user.can_reauthenticate)),
                ("roles", json!(user.roles)),
            ] {
                payload[format!("{claims}{name}")] = value;
            }
        }
        self.kind = kind(&payload).into();
        self.claims = Rc::new(payload);
        let payload = self.claims.to_string();
        let message = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
        let key = if self.genuine { self.key } else { usize::MAX };
        let signature = b64(&signature(key, message.as_bytes(), false));
        self.text = format!("{message}.{signature}");
    }

    /// What is signed.
    pub(crate) fn message(&self) -> &str {
        self.text.rsplit_once('.').unwrap().0
    }

    /// The same under the other signature that anybody can make of its own.
    pub(crate) fn twin(&self) -> Self {
        let key = if self.genuine { self.key } else { usize::MAX };
        let message = self.message();
        let signature = b64(&signature(key, message.as_bytes(), true));
        Self {
            text: format!("{message}.{signature}"),
            ..self.clone()
        }
    }

    /// Whether its times are good by this wall clock. `None`: on the brink.
    pub(crate) fn is_in_time(&self, unix: u64, skew: u64) -> Option<bool> {
        let (from, until) = (self.not_before.saturating_sub(skew), self.expires + skew);
        if unix + 1 == from || unix == until {
            return None;
        }
        Some(from <= unix && unix < until)
    }
}

/// By its client and its audiences.
fn kind(claims: &Value) -> String {
    format!("{} for {}", claims["client_id"], claims["aud"])
}

/// The kind of a token, by what is signed of it.
pub(crate) fn kind_of(message: &str) -> String {
    let (_, payload) = message.split_once('.').unwrap();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    kind(&serde_json::from_slice(&payload).unwrap())
}

/// The model's signature: no cryptography, but of the same size, and with a twin, as ECDSA has.
fn signature(key: usize, message: &[u8], twin: bool) -> [u8; 64] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in message {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut bytes = [0; 64];
    for (nth, byte) in bytes.iter_mut().enumerate() {
        *byte = hash.to_le_bytes()[nth % 8];
    }
    bytes[63] = u8::from(twin);
    bytes
}

/// Verifies the model's signatures.
#[derive(Debug)]
pub(crate) struct ModelVerifier(HashMap<Vec<u8>, usize>);

impl ModelVerifier {
    pub(crate) fn new() -> Self {
        let keys = KEYS
            .iter()
            .enumerate()
            .map(|(nth, key)| (key.spki_der(), nth));
        Self(keys.collect())
    }
}

impl SignatureVerifier for ModelVerifier {
    fn verify(&self, _: Algorithm, key: &VerifyingKey, message: &[u8], given: &[u8]) -> bool {
        let key = self.0[key.spki()];
        [false, true]
            .iter()
            .any(|twin| signature(key, message, *twin) == given)
    }
}
