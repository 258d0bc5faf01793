//! What a host gets, read back as a host would, from DER alone.

use jwt_compact::{Algorithm as _, AlgorithmSignature as _};
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::DecodePublicKey as _;

use super::*;

/// A host: it gets the key as SPKI DER, the name of a hash, and the signature in its own form.
pub(super) struct Host;

impl SignatureVerifier for Host {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &VerifyingKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match for_host(algorithm, key, signature) {
            ForHost::Supported(signature) => by_der(key.spki(), &signature, message),
            ForHost::Invalid => false,
            ForHost::Unsupported => RustCrypto.verify(algorithm, key, message, signature),
        }
    }
}

fn by_der(spki: &[u8], signature: &HostSignature<'_>, message: &[u8]) -> bool {
    use jwt_compact::alg::{Rsa, RsaPublicKey};
    if let Ok(key) = RsaPublicKey::from_public_key_der(spki) {
        let algorithm = match signature.hash {
            "sha256" => Rsa::rs256(),
            "sha384" => Rsa::rs384(),
            "sha512" => Rsa::rs512(),
            other => panic!("{other}"),
        };
        type Signature = <Rsa as jwt_compact::Algorithm>::Signature;
        return Signature::try_from_slice(&signature.bytes)
            .is_ok_and(|signature| algorithm.verify_signature(&signature, &key, message));
    }
    assert_eq!(signature.hash, "sha256");
    let key = p256::PublicKey::from_public_key_der(spki).expect("a key of RSA or P-256");
    let signature = p256::ecdsa::Signature::from_der(&signature.bytes).expect("DER");
    p256::ecdsa::VerifyingKey::from(key)
        .verify(message, &signature)
        .is_ok()
}

#[test]
fn the_host_is_handed_the_very_key() {
    for signer in [RSA.clone(), SigningKey::rsa(1), KEY.clone()] {
        assert_eq!(key_of(&signer).spki(), signer.spki_der(), "{signer:?}");
    }
}

#[test]
fn a_host_passes_the_self_test() {
    assert!(self_test(&Host));
}

#[test]
fn a_signature_is_handed_over_in_the_hosts_form_or_not_at_all() {
    let (rsa, ec) = (key_of(&RSA), key_of(&KEY));
    let signature = RSA.signature(b"x");
    for (algorithm, name) in [
        (Algorithm::Rs256, "sha256"),
        (Algorithm::Rs384, "sha384"),
        (Algorithm::Rs512, "sha512"),
    ] {
        let ForHost::Supported(handed) = for_host(algorithm, &rsa, &signature) else {
            panic!("{algorithm}");
        };
        assert_eq!((handed.hash, &handed.bytes[..]), (name, &signature[..]));
        for wrong in [&signature[1..], &[&signature[..], &[0]].concat()[..], b""] {
            assert!(
                matches!(for_host(algorithm, &rsa, wrong), ForHost::Invalid),
                "{algorithm}"
            );
        }
    }
    for (nth, message) in (0..64_u8).map(|nth| (nth, [nth])) {
        let signature = KEY.signature(&message);
        let ForHost::Supported(handed) = for_host(Algorithm::Es256, &ec, &signature) else {
            panic!("{nth}");
        };
        let read = p256::ecdsa::Signature::from_der(&handed.bytes).unwrap();
        assert_eq!((handed.hash, read.to_vec()), ("sha256", signature), "{nth}");
    }
    for wrong in [&[0; 64][..], &[0xff; 64], &[1; 63], &[1; 65], b""] {
        assert!(
            matches!(for_host(Algorithm::Es256, &ec, wrong), ForHost::Invalid),
            "{wrong:?}"
        );
    }
    let ed = SigningKey::ed25519();
    for (algorithm, key) in [
        (Algorithm::Ps256, &rsa),
        (Algorithm::Ps384, &rsa),
        (Algorithm::Ps512, &rsa),
        (Algorithm::EdDsa, &key_of(&ed)),
    ] {
        assert!(
            matches!(for_host(algorithm, key, &signature), ForHost::Unsupported),
            "{algorithm}"
        );
    }
}
