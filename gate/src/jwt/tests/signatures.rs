//! Signatures of tokens: with which key a token is verified, and that the whole token is.

use super::*;
use crate::jose::tests::signatures::signers;

#[test]
fn a_key_is_used_for_its_own_algorithm_only() {
    let signers = signers();
    for (mine, signer) in &signers {
        let key = key_of(signer);
        for (other, another) in &signers {
            let verified = verify(&alice().sign(another), &key, &RustCrypto).map(|_| ());
            let expected = if mine == other {
                Ok(())
            } else {
                Err(TokenError::KeyMismatch)
            };
            assert_eq!(verified, expected, "{mine} {other}");
        }
    }
}

#[test]
fn a_token_is_only_verified_whole() {
    let key = key_of(&KEY);
    let (a, b) = (alice().sign(&KEY), alice().subject("bob").sign(&KEY));
    let [a, b] = [a, b].map(|token| token.split('.').map(str::to_owned).collect::<Vec<_>>());
    let loose = b64(header().to_string().replace(':', ": ").as_bytes());
    for spliced in [
        format!("{}.{}.{}", a[0], b[1], a[2]),
        format!("{}.{}.{}", a[0], a[1], b[2]),
        format!("{loose}.{}.{}", a[1], a[2]),
    ] {
        assert_eq!(
            verify(&spliced, &key, &RustCrypto),
            Err(TokenError::Signature),
            "{spliced}"
        );
    }
    let foreign = alice().sign(&SigningKey::es256().with_kid("a-key"));
    assert_eq!(
        verify(&foreign, &key, &RustCrypto),
        Err(TokenError::Signature)
    );
}

#[test]
fn a_public_key_is_no_secret() {
    let der = RSA.spki_der();
    let jwk = RSA.jwk();
    for secret in [
        der.clone(),
        b64(&der).into_bytes(),
        jwk.to_string().into_bytes(),
        Vec::new(),
        vec![0; 32],
    ] {
        let token = alice().hs256(&secret, &RSA.kid);
        assert_eq!(
            verify(&token, &key_of(&RSA), &RustCrypto),
            Err(TokenError::Algorithm)
        );
    }
    for alg in ["none", "None", "RS256"] {
        let refused = verify(&alice().unsigned(alg), &key_of(&RSA), &RustCrypto);
        assert_eq!(refused, Err(TokenError::Malformed), "{alg}");
    }
}
