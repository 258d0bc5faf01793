//! A public key, and the algorithms it suits.

use std::borrow::Cow;
use std::fmt;

use jwt_compact::alg::{Ed25519, Es256, RsaPublicKey};
use jwt_compact::jwk::JsonWebKey;
use rsa::traits::PublicKeyParts as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

use super::Algorithm;
use super::base64url::decode;
use super::der;
use super::json::object;

type EcKey = <Es256 as jwt_compact::Algorithm>::VerifyingKey;
type EdKey = <Ed25519 as jwt_compact::Algorithm>::VerifyingKey;

/// A key that can verify signatures.
#[derive(PartialEq)]
pub struct VerifyingKey {
    pub(super) material: Material,
    /// The one algorithm that its JWK names, if it does.
    algorithm: Option<Algorithm>,
    /// `SubjectPublicKeyInfo` in DER: what the host's cryptography reads.
    spki: Vec<u8>,
}

#[derive(PartialEq)]
pub(super) enum Material {
    Rsa(RsaPublicKey),
    P256(EcKey),
    Ed25519(EdKey),
}

/// Why a JWK cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum KeyError {
    /// Not an object with the members of its kind (RFC 7518 §6), each once, in strict base64url.
    #[error("is malformed")]
    Malformed,
    /// Without `kid`, or with an empty one: no token could name it.
    #[error("has no \"kid\"")]
    NoKeyId,
    /// Of a kind that verifies no allowed signature: symmetric, or of an unknown `kty` or `crv`.
    #[error("is of an unsupported kind")]
    Kind,
    /// Meant for something else than signatures, by `use` or `key_ops`.
    #[error("is not meant for signatures")]
    Use,
    /// A private key: anybody who has read the document can sign with it.
    #[error("is a private key: it must not be published, nor be trusted any more")]
    Private,
    /// With an `alg` that the filter does not know, or that does not suit its kind.
    #[error("names an unsuitable \"alg\"")]
    Algorithm,
    /// RSA, but not of 2048 to 4096 bits with the exponent 65537, or of a modulus that can be factored.
    #[error("is an RSA key of unsafe parameters")]
    Rsa,
    /// A point that is not on its curve, or of small order.
    #[error("is not a point on its curve")]
    Point,
    /// The set has another key of the same `kid` for the same algorithm.
    #[error("has the \"kid\" of an earlier key for the same algorithm")]
    Duplicate,
}

/// RFC 7517 §4. Unknown members are ignored.
#[derive(Deserialize)]
struct RawJwk<'d> {
    #[serde(borrow)]
    kty: Cow<'d, str>,
    #[serde(borrow)]
    kid: Option<Cow<'d, str>>,
    #[serde(borrow)]
    alg: Option<Cow<'d, str>>,
    #[serde(rename = "use", borrow)]
    usage: Option<Cow<'d, str>>,
    #[serde(borrow)]
    key_ops: Option<Vec<Cow<'d, str>>>,
    #[serde(borrow)]
    crv: Option<Cow<'d, str>>,
    #[serde(borrow)]
    n: Option<Cow<'d, str>>,
    #[serde(borrow)]
    e: Option<Cow<'d, str>>,
    #[serde(borrow)]
    x: Option<Cow<'d, str>>,
    #[serde(borrow)]
    y: Option<Cow<'d, str>>,
    /// The private part; its value is not read.
    d: Option<IgnoredAny>,
}

impl VerifyingKey {
    /// Reads one JWK: its `kid`, and the key.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn from_jwk(json: &str) -> Result<(String, Self), KeyError> {
        let jwk: RawJwk<'_> = object(json.as_bytes()).ok_or(KeyError::Malformed)?;
        let key_id = jwk.kid.as_deref().filter(|kid| !kid.is_empty());
        let key_id = key_id.ok_or(KeyError::NoKeyId)?.to_owned();
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err(KeyError::Use);
        }
        let verifies = |operations: &Vec<Cow<'_, str>>| operations.iter().any(|op| op == "verify");
        if !jwk.key_ops.as_ref().is_none_or(verifies) {
            return Err(KeyError::Use);
        }
        if jwk.d.is_some() {
            return Err(KeyError::Private);
        }
        let (material, spki) = jwk.material()?;
        let algorithm = match jwk.alg.as_deref() {
            Some(name) => {
                let named = Algorithm::parse(name).filter(|algorithm| material.suits(*algorithm));
                Some(named.ok_or(KeyError::Algorithm)?)
            }
            None => None,
        };
        let key = Self {
            material,
            algorithm,
            spki,
        };
        Ok((key_id, key))
    }

    /// Whether signatures of this algorithm can be verified with it.
    #[must_use]
    pub(crate) fn suits(&self, algorithm: Algorithm) -> bool {
        match self.algorithm {
            Some(named) => named == algorithm,
            None => self.material.suits(algorithm),
        }
    }

    /// Whether an algorithm suits both keys, so that it and a `kid` could not distinguish them.
    #[must_use]
    pub(crate) fn has_algorithm_of(&self, other: &Self) -> bool {
        let mut algorithms = Algorithm::ALL.into_iter();
        algorithms.any(|algorithm| self.suits(algorithm) && other.suits(algorithm))
    }

    /// The key as `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1.2.7).
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("VerifyingKey")
    }
}

impl Material {
    fn suits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(_) => matches!(
                algorithm,
                Algorithm::Rs256
                    | Algorithm::Rs384
                    | Algorithm::Rs512
                    | Algorithm::Ps256
                    | Algorithm::Ps384
                    | Algorithm::Ps512
            ),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }
}

impl RawJwk<'_> {
    fn material(&self) -> Result<(Material, Vec<u8>), KeyError> {
        match (self.kty.as_ref(), self.crv.as_deref()) {
            ("RSA", _) => self.rsa(),
            ("EC", Some("P-256")) => self.p256(),
            ("OKP", Some("Ed25519")) => self.ed25519(),
            _ => Err(KeyError::Kind),
        }
    }

    #[inline(never)]
    fn rsa(&self) -> Result<(Material, Vec<u8>), KeyError> {
        const EXPONENT: [u8; 3] = [1, 0, 1];
        let modulus = member(self.n.as_deref())?;
        let exponent = member(self.e.as_deref())?;
        let odd = modulus.last().is_some_and(|last| last & 1 == 1);
        let minimal = modulus.first().is_some_and(|first| *first != 0);
        if exponent != EXPONENT || !odd || !minimal {
            return Err(KeyError::Rsa);
        }
        let jwk = JsonWebKey::Rsa {
            modulus: modulus.into(),
            public_exponent: exponent.into(),
            private_parts: None,
        };
        let key = RsaPublicKey::try_from(&jwk).map_err(|_| KeyError::Rsa)?;
        if !(2_048..=4_096).contains(&key.n().bits()) {
            return Err(KeyError::Rsa);
        }
        let modulus = key.n().to_bytes_be();
        if is_infineons(&modulus) {
            return Err(KeyError::Rsa);
        }
        let spki = der::rsa_spki(&modulus, &EXPONENT);
        Ok((Material::Rsa(key), spki))
    }

    #[inline(never)]
    fn p256(&self) -> Result<(Material, Vec<u8>), KeyError> {
        let jwk = JsonWebKey::EllipticCurve {
            curve: "P-256".into(),
            x: member(self.x.as_deref())?.into(),
            y: member(self.y.as_deref())?.into(),
            secret: None,
        };
        let key = EcKey::try_from(&jwk).map_err(|_| KeyError::Point)?;
        let spki = der::p256_spki(key.to_encoded_point(false).as_bytes());
        Ok((Material::P256(key), spki))
    }

    #[inline(never)]
    fn ed25519(&self) -> Result<(Material, Vec<u8>), KeyError> {
        let jwk = JsonWebKey::KeyPair {
            curve: "Ed25519".into(),
            x: member(self.x.as_deref())?.into(),
            secret: None,
        };
        let key = EdKey::try_from(&jwk).map_err(|_| KeyError::Point)?;
        if key.is_weak() {
            return Err(KeyError::Point);
        }
        Ok((Material::Ed25519(key), Vec::new()))
    }
}

/// Whether an RSA modulus is of the form that Infineon's RSALib gave to its own, so that it can be factored (ROCA,
/// CVE-2017-15361): modulo each of these primes it is a power of 65537.
#[inline(never)]
fn is_infineons(modulus: &[u8]) -> bool {
    #[rustfmt::skip]
    const PRIMES: [u8; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113,
        127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let reduce = |number: u32| number.checked_rem(u32::from(*prime)).unwrap_or_default();
        let bytes = modulus.iter();
        let residue = bytes.fold(0, |rest, byte| reduce((rest << 8) | u32::from(*byte)));
        let mut power = 1_u32;
        // The powers repeat after fewer steps than that.
        (0..*prime).any(|_| {
            power = reduce(power.saturating_mul(65_537));
            power == residue
        })
    })
}

fn member(text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    text.and_then(|text| decode(text.as_bytes()))
        .filter(|bytes| !bytes.is_empty())
        .ok_or(KeyError::Malformed)
}
