//! Algorithms: only those of the project's list, only with the keys they are for (RFC 8725 §3.1, §3.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devkit::keys::{Alg, SigningKey, b64};
use devkit::testbed::TestBed;
use rsa::RsaPublicKey;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use serde_json::{Value, json};

use super::table::{Table, segments};

#[tokio::test]
async fn an_algorithm_of_another_name_is_refused() {
    let table = Table::start().await;
    an_unsigned_token_is_refused(&table).await;
    an_algorithm_of_another_name_is_refused_however_well_signed(&table).await;
    table.finish().await;
}

async fn an_unsigned_token_is_refused(table: &Table) {
    let token = table.good().header("kid", table.key.kid.as_str());
    for alg in [
        "none", "None", "NONE", "nOnE", "none ", "", "RS256", "HS256", "ES256", "EdDSA",
    ] {
        let unsigned = token.unsigned(alg);
        table.refuses(&format!("{alg:?}"), &unsigned).await;
        for junk in ["x", "AA", "AAAA"] {
            let case = format!("{alg:?} and {junk:?}");
            table.refuses(&case, format!("{unsigned}{junk}")).await;
        }
        let [_, _, signature] = segments(&table.good().sign(&table.key));
        let case = format!("{alg:?} and another token's signature");
        table.refuses(&case, format!("{unsigned}{signature}")).await;
    }
}

async fn an_algorithm_of_another_name_is_refused_however_well_signed(table: &Table) {
    table.admits("RS256", table.good().sign(&table.key)).await;
    for alg in [
        "none",
        "RS256 ",
        " RS256",
        "rs256",
        "Rs256",
        "RS256\0",
        "RS-256",
        "RSA256",
        "RS1",
        "HS1",
        "HS256",
        "HS384",
        "HS512",
        "ES256K",
        "ES384",
        "ES512",
        "ES521",
        "Ed448",
        "Ed25519",
        "ML-DSA-44",
        "SHA256withRSA",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    ] {
        let token = table.good().header("alg", alg);
        table
            .refuses(&format!("{alg:?}"), token.sign(&table.key))
            .await;
    }
    let token = table.good().without_header("alg");
    table.refuses("no alg", token.sign(&table.key)).await;
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let ec = SigningKey::es256();
    let ed = SigningKey::ed25519();
    let keys = vec![SigningKey::rsa(0), ec.clone(), ed.clone()];
    let published = keys.clone();
    let builder = TestBed::builder()
        .project(|project| project["jwt"] = json!({ "algorithms": ["RS256", "ES256", "EdDSA"] }))
        .prepare(move |authgear| authgear.set_keys(published));
    let table = Table::of(builder).await;
    for key in &keys {
        let spki = key.spki_der();
        let jwk = key.jwk();
        let mut secrets = vec![
            Vec::new(),
            vec![0; 32],
            spki.clone(),
            jwk.to_string().into_bytes(),
            b64(&spki).into_bytes(),
        ];
        secrets.extend(pem(&key.spki_der(), key.alg));
        for member in ["n", "e", "x", "y", "kid"] {
            if let Some(text) = jwk[member].as_str() {
                secrets.push(text.as_bytes().to_vec());
                secrets.extend(devkit::keys::unb64(text));
            }
        }
        for (nth, secret) in secrets.iter().enumerate() {
            let case = format!("{} as a secret, form {nth}", key.alg.name());
            table
                .refuses(&case, table.good().hs256(secret, &key.kid))
                .await;
            // The MAC under the name of an algorithm that is allowed.
            let mac = SigningKey::hs256(secret).with_kid(&key.kid);
            let token = table.good().header("alg", key.alg.name()).sign(&mac);
            table.refuses(&format!("{case}, disguised"), token).await;
        }
    }
    table.finish().await;
}

/// The PEM forms of an RSA key, with and without the last line's end.
fn pem(spki: &[u8], alg: Alg) -> Vec<Vec<u8>> {
    if alg != Alg::Rs256 {
        return Vec::new();
    }
    let key = RsaPublicKey::from_public_key_der(spki).unwrap();
    let pkcs1 = key.to_pkcs1_der().unwrap();
    let mut forms = vec![pkcs1.as_bytes().to_vec()];
    for (label, der) in [("PUBLIC KEY", spki), ("RSA PUBLIC KEY", pkcs1.as_bytes())] {
        let text = STANDARD.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(64).collect();
        let text = String::from_utf8(lines.join(&b'\n')).unwrap();
        let pem = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----");
        forms.push(pem.replace('\n', "\r\n").into_bytes());
        forms.push(format!("{pem}\n").into_bytes());
        forms.push(pem.into_bytes());
    }
    forms
}

#[tokio::test]
async fn an_algorithm_that_is_not_on_the_list_is_refused() {
    let keys = vec![
        SigningKey::rsa(0),
        SigningKey::es256(),
        SigningKey::ed25519(),
    ];
    let mut jwks: Vec<Value> = keys.iter().map(SigningKey::jwk).collect();
    jwks[0].as_object_mut().unwrap().remove("alg");
    let published = keys.clone();
    let table = Table::of(TestBed::builder().prepare(move |authgear| {
        authgear.set_keys(published);
        authgear.publish(Some(json!({ "keys": jwks })));
    }))
    .await;
    table.admits("RS256", table.good().sign(&keys[0])).await;
    for alg in [Alg::Rs384, Alg::Rs512, Alg::Ps256, Alg::Ps384, Alg::Ps512] {
        let key = keys[0].clone().with_alg(alg);
        table.refuses(alg.name(), table.good().sign(&key)).await;
    }
    table.refuses("ES256", table.good().sign(&keys[1])).await;
    table.refuses("EdDSA", table.good().sign(&keys[2])).await;
    table.finish().await;
}

#[tokio::test]
async fn an_algorithm_is_refused_with_a_key_of_another_kind() {
    let keys = vec![
        SigningKey::rsa(0),
        SigningKey::rsa(1).with_alg(Alg::Ps256),
        SigningKey::es256(),
        SigningKey::ed25519(),
    ];
    let published = keys.clone();
    let builder = TestBed::builder()
        .project(|project| {
            let all = [
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA",
            ];
            project["jwt"] = json!({ "algorithms": all });
        })
        .prepare(move |authgear| authgear.set_keys(published));
    let table = Table::of(builder).await;
    for key in &keys {
        table.admits(key.alg.name(), table.good().sign(key)).await;
        for alg in [
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA",
        ] {
            if alg == key.alg.name() {
                continue;
            }
            // Signed as it says wherever the key can.
            let able = match alg {
                "RS384" => Some(Alg::Rs384),
                "RS512" => Some(Alg::Rs512),
                "PS256" => Some(Alg::Ps256),
                "PS384" => Some(Alg::Ps384),
                "PS512" => Some(Alg::Ps512),
                "RS256" => Some(Alg::Rs256),
                _ => None,
            };
            let rsa = matches!(key.alg, Alg::Rs256 | Alg::Ps256);
            let signer = match able.filter(|_| rsa) {
                Some(able) => key.clone().with_alg(able),
                None => key.clone(),
            };
            let token = table.good().header("alg", alg).sign(&signer);
            let case = format!("{alg} with the key for {}", key.alg.name());
            table.refuses(&case, token).await;
        }
    }
    table.finish().await;
}

/// Each of them is tried natively, by `gate/src/config/tests/values.rs`.
#[tokio::test]
async fn a_list_with_an_unsafe_algorithm_is_no_configuration() {
    let bed = TestBed::builder()
        .project(|project| project["jwt"] = json!({ "algorithms": ["RS256", "HS256", "none"] }))
        .try_start()
        .await;
    let error = bed.err().expect("refused").to_string();
    assert!(error.contains("projects[0].jwt.algorithms"), "{error}");
}
