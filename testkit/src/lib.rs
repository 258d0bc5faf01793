//! Signing keys, and the tokens they sign: good ones as Authgear makes them, and bad ones for attacks.
//!
//! ```no_run
//! use testkit::{SigningKey, Token, User};
//!
//! let key = SigningKey::rsa(0);
//! let token = Token::user("https://auth.example.com", &User::new("alice").roles(&["admin"]))
//!     .claim("email", "alice@example.com")
//!     .without("amr")
//!     .sign(&key);
//! ```

mod pool;
mod token;
mod user;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, Verifier as _};
use hmac::{Hmac, Mac};
use rand::rngs::OsRng;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey};
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};

pub use token::{CLAIMS, Token, now};
pub use user::User;
pub use user::{random_alphanumeric, random_uuid};

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Alg {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    EdDsa,
    Hs256,
}

impl Alg {
    /// The name in the token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

#[derive(Clone)]
enum Secret {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
    Hmac(Vec<u8>),
}

/// A private key, and the names it goes by.
#[derive(Clone)]
pub struct SigningKey {
    /// The key's ID: a UUID made from the key, as Authgear's look.
    pub kid: String,
    /// How it signs, and what its JWK says.
    pub alg: Alg,
    secret: Secret,
}

impl SigningKey {
    /// The `n`-th RSA-2048 key of the pool: slow the first time on a machine, then read from the target directory.
    #[must_use]
    pub fn rsa(n: usize) -> Self {
        Self::rsa_bits(2048, n)
    }

    /// The `n`-th RSA key of another size.
    #[must_use]
    pub fn rsa_bits(bits: usize, n: usize) -> Self {
        Self::new(Alg::Rs256, Secret::Rsa(Box::new(pool::rsa(bits, n))))
    }

    /// A new key for ES256.
    #[must_use]
    pub fn es256() -> Self {
        Self::new(
            Alg::Es256,
            Secret::P256(p256::ecdsa::SigningKey::random(&mut OsRng)),
        )
    }

    /// A new key for `EdDSA` (Ed25519).
    #[must_use]
    pub fn ed25519() -> Self {
        Self::new(
            Alg::EdDsa,
            Secret::Ed25519(ed25519_dalek::SigningKey::generate(&mut OsRng)),
        )
    }

    /// A key for HS256: attack tests try public keys as such secrets.
    #[must_use]
    pub fn hs256(secret: &[u8]) -> Self {
        Self::new(Alg::Hs256, Secret::Hmac(secret.to_vec()))
    }

    fn new(alg: Alg, secret: Secret) -> Self {
        let mut key = Self {
            kid: String::new(),
            alg,
            secret,
        };
        key.kid = user::uuid_of(key.material().to_string().as_bytes());
        key
    }

    /// The same key under another ID.
    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        self
    }

    /// The same key with another way to sign.
    ///
    /// # Panics
    /// Where the key cannot sign so (only RSA keys have a choice).
    #[must_use]
    pub fn with_alg(mut self, alg: Alg) -> Self {
        let rsa = matches!(self.secret, Secret::Rsa(_));
        let wants_rsa = matches!(alg.name().as_bytes()[0], b'R' | b'P');
        assert!(
            alg == self.alg || (rsa && wants_rsa),
            "a key of another kind cannot do {}",
            alg.name()
        );
        self.alg = alg;
        self
    }

    /// The public key as Authgear publishes it, its `created_at` included.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = self.material();
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.alg.name());
        jwk["use"] = json!("sig");
        jwk["created_at"] = json!(1_136_171_045);
        jwk
    }

    /// `kty` and the key itself.
    fn material(&self) -> Value {
        match &self.secret {
            Secret::Rsa(key) => json!({
                "kty": "RSA", "n": b64(&key.n().to_bytes_be()), "e": b64(&key.e().to_bytes_be()),
            }),
            Secret::P256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                let coordinates = &point.as_bytes()[1..];
                json!({ "kty": "EC", "crv": "P-256", "x": b64(&coordinates[..32]), "y": b64(&coordinates[32..]) })
            }
            Secret::Ed25519(key) => json!({
                "kty": "OKP", "crv": "Ed25519", "x": b64(key.verifying_key().as_bytes()),
            }),
            Secret::Hmac(secret) => json!({ "kty": "oct", "k": b64(secret) }),
        }
    }

    /// The public key as SPKI DER: what an attack takes for an HS256 secret.
    ///
    /// # Panics
    /// For an HS256 key, which has none.
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        let der = match &self.secret {
            Secret::Rsa(key) => key.to_public_key().to_public_key_der(),
            Secret::P256(key) => p256::PublicKey::from(key.verifying_key()).to_public_key_der(),
            Secret::Ed25519(key) => key.verifying_key().to_public_key_der(),
            Secret::Hmac(_) => panic!("a secret has no public key"),
        };
        der.expect("a key that was made here").into_vec()
    }

    /// The private key as PKCS#8 DER, for tools that sign by themselves.
    ///
    /// # Panics
    /// For an HS256 key.
    #[must_use]
    pub fn pkcs8_der(&self) -> Vec<u8> {
        let der = match &self.secret {
            Secret::Rsa(key) => key.to_pkcs8_der(),
            Secret::P256(key) => p256::SecretKey::from(key).to_pkcs8_der(),
            Secret::Ed25519(key) => key.to_pkcs8_der(),
            Secret::Hmac(_) => panic!("a secret is no key pair"),
        };
        der.expect("a key that was made here").as_bytes().to_vec()
    }

    /// A compact token of this header and payload, taken as they are: `alg` and `kid` are the caller's.
    #[must_use]
    pub fn sign(&self, header: &Value, payload: &Value) -> String {
        self.sign_raw(
            header.to_string().as_bytes(),
            payload.to_string().as_bytes(),
        )
    }

    /// A compact token of these bytes, JSON or not, with a true signature.
    #[must_use]
    pub fn sign_raw(&self, header: &[u8], payload: &[u8]) -> String {
        let input = format!("{}.{}", b64(header), b64(payload));
        format!("{input}.{}", b64(&self.signature(input.as_bytes())))
    }

    /// The signature of these bytes, in the form that JWS wants.
    #[must_use]
    pub fn signature(&self, input: &[u8]) -> Vec<u8> {
        match &self.secret {
            Secret::Rsa(key) => rsa_signature(key, self.alg, input),
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(input);
                signature.to_vec()
            }
            Secret::Ed25519(key) => key.sign(input).to_vec(),
            Secret::Hmac(secret) => {
                let mut mac =
                    Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes any length");
                mac.update(input);
                mac.finalize().into_bytes().to_vec()
            }
        }
    }

    /// Whether this key made `signature` over `input`.
    #[must_use]
    pub fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        match &self.secret {
            Secret::Rsa(key) => rsa_verify(key, self.alg, input, signature),
            Secret::P256(key) => {
                let signature = p256::ecdsa::Signature::from_slice(signature);
                let verify = |signature| key.verifying_key().verify(input, &signature);
                signature.is_ok_and(|signature| verify(signature).is_ok())
            }
            // These two sign deterministically.
            _ => self.signature(input) == signature,
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({} {})", self.alg.name(), self.kid)
    }
}

fn rsa_signature(key: &RsaPrivateKey, alg: Alg, input: &[u8]) -> Vec<u8> {
    use rsa::{Pkcs1v15Sign, Pss};
    let (s256, s384, s512) = (
        Sha256::digest(input),
        Sha384::digest(input),
        Sha512::digest(input),
    );
    match alg {
        Alg::Rs384 => key.sign(Pkcs1v15Sign::new::<Sha384>(), &s384),
        Alg::Rs512 => key.sign(Pkcs1v15Sign::new::<Sha512>(), &s512),
        Alg::Ps256 => key.sign_with_rng(&mut OsRng, Pss::new::<Sha256>(), &s256),
        Alg::Ps384 => key.sign_with_rng(&mut OsRng, Pss::new::<Sha384>(), &s384),
        Alg::Ps512 => key.sign_with_rng(&mut OsRng, Pss::new::<Sha512>(), &s512),
        _ => key.sign(Pkcs1v15Sign::new::<Sha256>(), &s256),
    }
    .expect("a key large enough for the digest")
}

fn rsa_verify(key: &RsaPrivateKey, alg: Alg, input: &[u8], signature: &[u8]) -> bool {
    use rsa::{Pkcs1v15Sign, Pss};
    let (s256, s384, s512) = (
        Sha256::digest(input),
        Sha384::digest(input),
        Sha512::digest(input),
    );
    let key = key.to_public_key();
    match alg {
        Alg::Rs384 => key.verify(Pkcs1v15Sign::new::<Sha384>(), &s384, signature),
        Alg::Rs512 => key.verify(Pkcs1v15Sign::new::<Sha512>(), &s512, signature),
        Alg::Ps256 => key.verify(Pss::new::<Sha256>(), &s256, signature),
        Alg::Ps384 => key.verify(Pss::new::<Sha384>(), &s384, signature),
        Alg::Ps512 => key.verify(Pss::new::<Sha512>(), &s512, signature),
        _ => key.verify(Pkcs1v15Sign::new::<Sha256>(), &s256, signature),
    }
    .is_ok()
}

/// An ES256 token under the other signature that anybody can make of its own: (r, n - s) of (r, s).
///
/// # Panics
/// Where it is no ES256 token.
#[must_use]
pub fn es256_twin(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').expect("a compact token");
    let signature = unb64(signature).expect("base64url");
    let signature = p256::ecdsa::Signature::from_slice(&signature).expect("an ES256 signature");
    let (r, s) = signature.split_scalars();
    let twin = p256::ecdsa::Signature::from_scalars(r, -s).expect("numbers in range");
    format!("{input}.{}", b64(&twin.to_bytes()))
}

/// Base64url without padding.
#[must_use]
pub fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a base64url segment.
#[must_use]
pub fn unb64(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests;
