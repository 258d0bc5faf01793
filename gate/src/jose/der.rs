//! The DER (X.690) that hosts read: public keys, and ECDSA signatures.
//!
//! Written here rather than by the `der` crates, which would add a twentieth to the artefact; the tests compare the two.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// `AlgorithmIdentifier { rsaEncryption, NULL }` (RFC 8017 appendix A.1)
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// `AlgorithmIdentifier { id-ecPublicKey, prime256v1 }` (RFC 5480 §2.1.1)
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];

/// `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) of an RSA key; both numbers big-endian.
pub(super) fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    spki(RSA, &sequence(&[&integer(modulus), &integer(exponent)]))
}

/// `SubjectPublicKeyInfo` of a point on P-256, uncompressed.
pub(super) fn p256_spki(point: &[u8]) -> Vec<u8> {
    spki(P256, point)
}

/// `Ecdsa-Sig-Value` (RFC 3279 §2.2.3); both numbers big-endian.
pub(super) fn ecdsa_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    sequence(&[&integer(r), &integer(s)])
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    const NO_UNUSED_BITS: &[u8] = &[0];
    sequence(&[algorithm, &element(BIT_STRING, &[NO_UNUSED_BITS, key])])
}

fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, elements)
}

/// A number that is not negative: no leading zeros but the one that keeps the sign bit clear.
fn integer(number: &[u8]) -> Vec<u8> {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(leading..).unwrap_or_default();
    let sign: &[u8] = match number.first() {
        Some(first) if *first < 0x80 => &[],
        _ => &[0],
    };
    element(INTEGER, &[sign, number])
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let leading = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(leading..).unwrap_or_default();
    let mut element = vec![tag];
    match length {
        [] => element.push(0),
        [short] if *short < 0x80 => element.push(*short),
        long => {
            // At most eight bytes.
            element.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            element.extend_from_slice(long);
        }
    }
    element.extend_from_slice(&content);
    element
}

#[cfg(test)]
mod tests {
    use p256::pkcs8::EncodePublicKey as _;
    use rsa::traits::PublicKeyParts as _;

    use super::*;

    #[test]
    fn an_rsa_key_is_written_as_the_der_crates_write_it() {
        for size in [2_048_usize, 3_072, 4_096] {
            let mut modulus = vec![0x5a; size / 8];
            modulus[0] = 0xc3;
            *modulus.last_mut().unwrap() = 0x01;
            let numbers = (
                rsa::BigUint::from_bytes_be(&modulus),
                rsa::BigUint::from(65_537_u32),
            );
            let key = rsa::RsaPublicKey::new(numbers.0, numbers.1).unwrap();
            let written = rsa_spki(&key.n().to_bytes_be(), &key.e().to_bytes_be());
            assert_eq!(written, key.to_public_key_der().unwrap().as_bytes());
        }
    }

    #[test]
    fn a_point_and_a_signature_are_written_as_the_der_crates_write_them() {
        for seed in 1..=40_u8 {
            let secret = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
            let public = p256::PublicKey::from(secret.verifying_key());
            let point = secret.verifying_key().to_encoded_point(false);
            assert_eq!(
                p256_spki(point.as_bytes()),
                public.to_public_key_der().unwrap().as_bytes()
            );
            let signature: p256::ecdsa::Signature =
                p256::ecdsa::signature::Signer::sign(&secret, &[seed]);
            let (r, s) = signature.split_bytes();
            assert_eq!(ecdsa_signature(&r, &s), signature.to_der().as_bytes());
        }
    }

    #[test]
    fn numbers_are_minimal_and_not_negative() {
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[]), [2, 1, 0]);
    }
}
