//! Verifies signatures: with the host's BoringSSL where it offers that, else with RustCrypto. The filter has no
//! cryptographic arithmetic of its own.

use std::borrow::Cow;

use jwt_compact::AlgorithmSignature;
use jwt_compact::alg::{Ed25519, Es256, Rsa};
use rsa::traits::PublicKeyParts as _;

use super::der;
use super::key::Material;
use super::{Algorithm, VerifyingKey};

/// Verifies signatures. Every verifier must give the same verdict on the same input.
pub trait SignatureVerifier {
    /// Whether `signature`, as it stands in a JWS, is that of `message` under `key`.
    ///
    /// `key` suits `algorithm`; the caller has made sure of that.
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &VerifyingKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool;
}

/// Pure Rust, with `jwt-compact`.
#[derive(Clone, Copy, Debug)]
pub struct RustCrypto;

impl SignatureVerifier for RustCrypto {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &VerifyingKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match &key.material {
            Material::Rsa(public) => {
                let Some(rsa) = rsa(algorithm) else {
                    return false;
                };
                signature.len() == public.size() && check(&rsa, public, message, signature)
            }
            Material::P256(public) => check(&Es256, public, message, signature),
            Material::Ed25519(public) => check(&Ed25519, public, message, signature),
        }
    }
}

#[inline(never)]
fn rsa(algorithm: Algorithm) -> Option<Rsa> {
    match algorithm {
        Algorithm::Rs256 => Some(Rsa::rs256()),
        Algorithm::Rs384 => Some(Rsa::rs384()),
        Algorithm::Rs512 => Some(Rsa::rs512()),
        Algorithm::Ps256 => Some(Rsa::ps256()),
        Algorithm::Ps384 => Some(Rsa::ps384()),
        Algorithm::Ps512 => Some(Rsa::ps512()),
        Algorithm::Es256 | Algorithm::EdDsa => None,
    }
}

#[inline(never)]
fn check<A: jwt_compact::Algorithm>(
    algorithm: &A,
    key: &A::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let expected = <A::Signature as AlgorithmSignature>::LENGTH;
    if expected.is_some_and(|length| length.get() != signature.len()) {
        return false;
    }
    A::Signature::try_from_slice(signature)
        .is_ok_and(|signature| algorithm.verify_signature(&signature, key, message))
}

/// A signature in the form that general-purpose cryptography reads, for the host.
#[derive(Debug)]
pub struct HostSignature<'s> {
    /// The hash function: `sha256`, `sha384` or `sha512`.
    pub hash: &'static str,
    /// PKCS #1 v1.5 for RSA, DER for ECDSA.
    pub bytes: Cow<'s, [u8]>,
}

/// A signature for a host, if the host can verify it.
#[derive(Debug)]
pub enum ForHost<'s> {
    /// In this form.
    Supported(HostSignature<'s>),
    /// No form: the signature is invalid for every verifier.
    Invalid,
    /// No form: hosts do not support the algorithm.
    Unsupported,
}

/// Puts a JWS signature (RFC 7518 §3) into the form that a host reads.
#[must_use]
pub fn for_host<'s>(algorithm: Algorithm, key: &VerifyingKey, signature: &'s [u8]) -> ForHost<'s> {
    let hash = match algorithm {
        Algorithm::Rs256 | Algorithm::Es256 => "sha256",
        Algorithm::Rs384 => "sha384",
        Algorithm::Rs512 => "sha512",
        _ => return ForHost::Unsupported,
    };
    match &key.material {
        Material::Rsa(public) if signature.len() == public.size() => {
            ForHost::Supported(HostSignature {
                hash,
                bytes: Cow::Borrowed(signature),
            })
        }
        Material::P256(_) => match p256::ecdsa::Signature::from_slice(signature) {
            Ok(signature) => {
                let (r, s) = signature.split_bytes();
                ForHost::Supported(HostSignature {
                    hash,
                    bytes: Cow::Owned(der::ecdsa_signature(&r, &s)),
                })
            }
            Err(_) => ForHost::Invalid,
        },
        _ => ForHost::Invalid,
    }
}

/// Whether a verifier accepts valid signatures and refuses others: the examples of RFC 7515, appendices A.2 and A.3, and
/// the same with one bit of the message changed.
#[must_use]
pub fn self_test(verifier: &dyn SignatureVerifier) -> bool {
    [
        (Algorithm::Rs256, RFC_7515_A2_KEY, RFC_7515_A2_TOKEN),
        (Algorithm::Es256, RFC_7515_A3_KEY, RFC_7515_A3_TOKEN),
    ]
    .into_iter()
    .all(|(algorithm, jwk, token)| {
        let Ok((_, key)) = VerifyingKey::from_jwk(jwk) else {
            return false;
        };
        let Some((message, signature)) = token.rsplit_once('.') else {
            return false;
        };
        let Some(signature) = super::base64url::decode(signature.as_bytes()) else {
            return false;
        };
        let mut altered = message.as_bytes().to_vec();
        if let Some(last) = altered.last_mut() {
            *last ^= 1;
        }
        verifier.verify(algorithm, &key, message.as_bytes(), &signature)
            && !verifier.verify(algorithm, &key, &altered, &signature)
    })
}

const RFC_7515_A2_KEY: &str = r#"{"kty":"RSA","kid":"A.2","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
const RFC_7515_A2_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const RFC_7515_A3_KEY: &str = r#"{"kty":"EC","kid":"A.3","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const RFC_7515_A3_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

#[cfg(test)]
mod tests {
    use super::*;

    struct Never;

    impl SignatureVerifier for Never {
        fn verify(&self, _: Algorithm, _: &VerifyingKey, _: &[u8], _: &[u8]) -> bool {
            false
        }
    }

    struct Always;

    impl SignatureVerifier for Always {
        fn verify(&self, _: Algorithm, _: &VerifyingKey, _: &[u8], _: &[u8]) -> bool {
            true
        }
    }

    #[test]
    fn the_self_test_accepts_correct_verifiers_and_no_others() {
        assert!(self_test(&RustCrypto));
        assert!(!self_test(&Never));
        assert!(!self_test(&Always));
    }
}
