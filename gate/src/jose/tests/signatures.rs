//! Signatures: every verifier gives the same verdict, and every bit of one matters (threats S5 to S10).

use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use rsa::{BigUint, Pss, RsaPrivateKey};
use sha2::{Digest as _, Sha256};

use super::hosts::Host;
use super::*;

const MESSAGE: &[u8] = b"eyJhbGciOiJ4In0.eyJzdWIiOiJhIn0";

/// The verdict of both verifiers.
fn verdict(algorithm: Algorithm, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    let rust = RustCrypto.verify(algorithm, key, message, signature);
    let host = Host.verify(algorithm, key, message, signature);
    assert_eq!(
        rust, host,
        "{algorithm}: the verifiers disagree on {signature:02x?}"
    );
    rust
}

fn without_alg(signer: &SigningKey) -> VerifyingKey {
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    key_from(&jwk)
}

pub(crate) fn signers() -> Vec<(Algorithm, SigningKey)> {
    let rsa = |alg| RSA.clone().with_alg(alg);
    vec![
        (Algorithm::Rs256, rsa(Alg::Rs256)),
        (Algorithm::Rs384, rsa(Alg::Rs384)),
        (Algorithm::Rs512, rsa(Alg::Rs512)),
        (Algorithm::Ps256, rsa(Alg::Ps256)),
        (Algorithm::Ps384, rsa(Alg::Ps384)),
        (Algorithm::Ps512, rsa(Alg::Ps512)),
        (Algorithm::Es256, KEY.clone()),
        (Algorithm::EdDsa, SigningKey::ed25519()),
    ]
}

#[test]
fn every_algorithm_knows_its_own_signatures_and_no_others() {
    let signers = signers();
    for (algorithm, signer) in &signers {
        let key = key_of(signer);
        let signature = signer.signature(MESSAGE);
        assert!(
            verdict(*algorithm, &key, MESSAGE, &signature),
            "{algorithm}"
        );
        assert!(
            !verdict(*algorithm, &key, b"another", &signature),
            "{algorithm}"
        );
        assert!(!verdict(*algorithm, &key, MESSAGE, b""), "{algorithm}");
        // RS256 as RS512, RS256 as PS256, and so on, under a key that names no algorithm.
        let any = without_alg(signer);
        for (other, _) in &signers {
            if other != algorithm && any.suits(*other) {
                assert!(
                    !verdict(*other, &any, MESSAGE, &signature),
                    "{algorithm} as {other}"
                );
            }
        }
    }
}

#[test]
fn a_key_suits_its_own_algorithm_only() {
    let signers = signers();
    for (mine, signer) in &signers {
        let key = key_of(signer);
        for (other, _) in &signers {
            assert_eq!(key.suits(*other), mine == other, "{mine} {other}");
        }
    }
}

/// Every n-th bit flipped, every n-th length, and more than the whole.
fn mutations(signature: &[u8], step: usize) -> Vec<Vec<u8>> {
    let mut mutations = Vec::new();
    for bit in (0..signature.len() * 8).step_by(step) {
        let mut flipped = signature.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        mutations.push(flipped);
    }
    for length in 0..signature.len() {
        mutations.push(signature[..length].to_vec());
        mutations.push(signature[signature.len() - length..].to_vec());
    }
    for more in 1..4 {
        mutations.push([signature, &vec![0; more][..]].concat());
        mutations.push([&vec![0; more][..], signature].concat());
    }
    mutations.push([signature, signature].concat());
    mutations
}

#[test]
fn no_bit_and_no_length_of_an_ecdsa_signature_is_idle() {
    let key = key_of(&KEY);
    for mutation in mutations(&KEY.signature(MESSAGE), 1) {
        assert!(
            !verdict(Algorithm::Es256, &key, MESSAGE, &mutation),
            "{mutation:02x?}"
        );
    }
}

#[test]
fn no_bit_and_no_length_of_an_eddsa_signature_is_idle() {
    let signer = SigningKey::ed25519();
    for mutation in mutations(&signer.signature(MESSAGE), 1) {
        assert!(
            !verdict(Algorithm::EdDsa, &key_of(&signer), MESSAGE, &mutation),
            "{mutation:02x?}"
        );
    }
}

#[test]
fn no_bit_and_no_length_of_an_rsa_signature_is_idle() {
    for (algorithm, alg) in [
        (Algorithm::Rs256, Alg::Rs256),
        (Algorithm::Ps256, Alg::Ps256),
    ] {
        let signer = RSA.clone().with_alg(alg);
        let key = key_of(&signer);
        for mutation in mutations(&signer.signature(MESSAGE), 61) {
            assert!(
                !verdict(algorithm, &key, MESSAGE, &mutation),
                "{algorithm} {mutation:02x?}"
            );
        }
    }
}

fn big_endian(number: &BigUint, length: usize) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    [vec![0; length.saturating_sub(bytes.len())], bytes].concat()
}

#[test]
fn an_ecdsa_signature_out_of_range_is_invalid_for_every_verifier() {
    let order = BigUint::parse_bytes(
        b"FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551",
        16,
    )
    .unwrap();
    let key = key_of(&KEY);
    let good = KEY.signature(MESSAGE);
    let (r, s) = good.split_at(32);
    let one = BigUint::from(1_u32);
    let extremes = [
        BigUint::from(0_u32),
        one.clone(),
        &order - &one,
        order.clone(),
        &order + &one,
        BigUint::from_bytes_be(&[0xff; 32]),
    ]
    .map(|number| big_endian(&number, 32));
    for (nth, extreme) in extremes.iter().enumerate() {
        for signature in [
            [extreme, s].concat(),
            [r, extreme].concat(),
            [&extreme[..], extreme].concat(),
        ] {
            assert!(
                !verdict(Algorithm::Es256, &key, MESSAGE, &signature),
                "{nth}"
            );
        }
        for other in &extremes {
            assert!(
                !verdict(
                    Algorithm::Es256,
                    &key,
                    MESSAGE,
                    &[&extreme[..], other].concat()
                ),
                "{nth}"
            );
        }
    }
    // The numbers plus the order, where that fits into 32 bytes.
    for (part, at) in [(r, 0), (s, 32)] {
        let beyond = BigUint::from_bytes_be(part) + &order;
        if beyond.bits() <= 256 {
            let mut signature = good.clone();
            signature[at..at + 32].copy_from_slice(&big_endian(&beyond, 32));
            assert!(!verdict(Algorithm::Es256, &key, MESSAGE, &signature));
        }
    }
    // The twin (r, n - s) is a signature too: every verifier takes it, and the cache distinguishes the two.
    let twin = [r, &big_endian(&(&order - BigUint::from_bytes_be(s)), 32)].concat();
    assert!(verdict(Algorithm::Es256, &key, MESSAGE, &twin));
    // DER is not how a JWS is signed.
    let der = p256::ecdsa::Signature::from_slice(&good).unwrap().to_der();
    assert!(!verdict(Algorithm::Es256, &key, MESSAGE, der.as_bytes()));
}

#[test]
fn an_rsa_signature_out_of_range_is_invalid_for_every_verifier() {
    let private = RsaPrivateKey::from_pkcs8_der(&RSA.pkcs8_der()).unwrap();
    let n = private.n().clone();
    let key = key_of(&RSA);
    let good = RSA.signature(MESSAGE);
    let one = BigUint::from(1_u32);
    for number in [
        BigUint::from(0_u32),
        one.clone(),
        &n - &one,
        n.clone(),
        &n - BigUint::from_bytes_be(&good),
        BigUint::from_bytes_be(&[0xff; 256]),
    ] {
        assert!(
            !verdict(Algorithm::Rs256, &key, MESSAGE, &big_endian(&number, 256)),
            "{number}"
        );
    }
    // s + n is the same number modulo n.
    let beyond = big_endian(&(BigUint::from_bytes_be(&good) + &n), 256);
    assert!(!verdict(Algorithm::Rs256, &key, MESSAGE, &beyond));
}

#[test]
fn only_the_one_padding_of_pkcs_1_is_a_signature() {
    let private = RsaPrivateKey::from_pkcs8_der(&RSA.pkcs8_der()).unwrap();
    let key = key_of(&RSA);
    let sign = |encoded: &[u8]| {
        big_endian(
            &BigUint::from_bytes_be(encoded).modpow(private.d(), private.n()),
            256,
        )
    };
    let good = BigUint::from_bytes_be(&RSA.signature(MESSAGE)).modpow(private.e(), private.n());
    let good = big_endian(&good, 256);
    assert!(verdict(Algorithm::Rs256, &key, MESSAGE, &sign(&good)));
    let hash = Sha256::digest(MESSAGE).to_vec();
    // SEQUENCE { SEQUENCE { OID, NULL }, OCTET STRING }
    let info = good[256 - 51..].to_vec();
    assert_eq!((info[0], &info[19..]), (0x30, &hash[..]));
    let padded = |info: &[u8]| {
        let mut encoded = vec![0xff; 256];
        (encoded[0], encoded[1]) = (0, 1);
        encoded[255 - info.len()] = 0;
        encoded[256 - info.len()..].copy_from_slice(info);
        encoded
    };
    assert_eq!(padded(&info), good);
    let altered = |at: usize, value: u8| {
        let mut info = info.clone();
        info[at] = value;
        info
    };
    let mut cases = vec![
        ("no DigestInfo", padded(&hash)),
        (
            "no NULL",
            padded(&[&[0x30, 0x2f, 0x30, 0x0b], &info[4..15], &info[17..]].concat()),
        ),
        (
            "a long length",
            padded(&[&[0x30, 0x81, 0x31], &info[2..]].concat()),
        ),
        (
            "an indefinite length",
            padded(&[&[0x30, 0x80], &info[2..], &[0, 0]].concat()),
        ),
        ("bytes behind", padded(&[&info[..], &[0]].concat())),
        ("nothing", padded(&[])),
        ("another hash", padded(&altered(14, 2))),
    ];
    for (at, byte) in info.iter().enumerate().take(19) {
        cases.push(("another byte", padded(&altered(at, byte ^ 1))));
    }
    // Bleichenbacher's: little padding, and what is free behind the hash.
    let mut short = vec![0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
    short.extend_from_slice(&info);
    short.resize(256, 0xaa);
    cases.push(("garbage behind the hash", short));
    for (name, at, value) in [
        ("a first byte", 0, 1),
        ("block type 2", 1, 2),
        ("block type 0", 1, 0),
        ("a hole in the padding", 100, 0),
        ("a dent in the padding", 100, 0xfe),
        ("no separator", 256 - 52, 0xff),
    ] {
        let mut encoded = good.clone();
        encoded[at] = value;
        cases.push((name, encoded));
    }
    for (name, encoded) in cases {
        assert!(
            !verdict(Algorithm::Rs256, &key, MESSAGE, &sign(&encoded)),
            "{name}"
        );
    }
}

#[test]
fn only_the_one_salt_length_of_jose_is_a_pss_signature() {
    let private = RsaPrivateKey::from_pkcs8_der(&RSA.pkcs8_der()).unwrap();
    let key = key_of(&RSA.clone().with_alg(Alg::Ps256));
    let hash = Sha256::digest(MESSAGE);
    let sign = |padding: Pss| {
        private
            .sign_with_rng(&mut rsa::rand_core::OsRng, padding, &hash)
            .unwrap()
    };
    assert!(verdict(
        Algorithm::Ps256,
        &key,
        MESSAGE,
        &sign(Pss::new_with_salt::<Sha256>(32))
    ));
    for salt in [0, 20, 31, 33, 64] {
        assert!(
            !verdict(
                Algorithm::Ps256,
                &key,
                MESSAGE,
                &sign(Pss::new_with_salt::<Sha256>(salt))
            ),
            "{salt}"
        );
    }
}

#[test]
fn an_eddsa_signature_has_one_spelling() {
    let order = BigUint::parse_bytes(
        b"1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED",
        16,
    )
    .unwrap();
    let signer = SigningKey::ed25519();
    let key = key_of(&signer);
    let good = signer.signature(MESSAGE);
    let beyond = BigUint::from_bytes_le(&good[32..]) + order;
    let mut s = beyond.to_bytes_le();
    s.resize(32, 0);
    assert!(!verdict(
        Algorithm::EdDsa,
        &key,
        MESSAGE,
        &[&good[..32], &s].concat()
    ));
}
