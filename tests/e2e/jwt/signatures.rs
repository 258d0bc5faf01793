//! Signatures: what is not the one right signature, in its one right form, is refused.

use devkit::client::Connection;
use devkit::keys::{Alg, SigningKey, Token, b64, unb64};
use devkit::testbed::TestBed;
use rsa::pkcs8::DecodePrivateKey;
use rsa::rand_core::OsRng;
use rsa::sha2::{Digest, Sha256};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, Pss, RsaPrivateKey};
use serde_json::json;

use super::table::{Table, segments};

/// A table whose project has a key of each kind: for RS256, for PS256, for ES256, for EdDSA, and an RSA key for any.
async fn all_kinds() -> (Table, [SigningKey; 5]) {
    let keys = [
        SigningKey::rsa(0),
        SigningKey::rsa(1).with_alg(Alg::Ps256),
        SigningKey::es256(),
        SigningKey::ed25519(),
        SigningKey::rsa(2),
    ];
    let mut jwks: Vec<_> = keys.iter().map(SigningKey::jwk).collect();
    jwks[4].as_object_mut().unwrap().remove("alg");
    let published = keys.to_vec();
    let builder = TestBed::builder()
        .project(|project| {
            project["jwt"] = json!({ "algorithms": ["RS256", "RS512", "PS256", "ES256", "EdDSA"] });
        })
        .prepare(move |authgear| {
            authgear.set_keys(published);
            authgear.publish(Some(json!({ "keys": jwks })));
        });
    (Table::of(builder).await, keys)
}

/// The token with another signature.
fn signed_by(token: &str, signature: impl AsRef<[u8]>) -> String {
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.{}", b64(signature.as_ref()))
}

fn signature_of(token: &str) -> Vec<u8> {
    unb64(token.rsplit('.').next().unwrap()).unwrap()
}

#[tokio::test]
async fn a_signature_of_which_one_bit_is_changed_or_missing_is_refused() {
    let (table, keys) = all_kinds().await;
    let connection = Connection::open(table.bed.envoy.address(), true).await;
    let request = |token: &str| {
        table
            .bed
            .get("/api/me")
            .http2()
            .over(&connection)
            .bearer(token)
    };
    for key in &keys[..4] {
        let token = table.good().sign(key);
        table.admits(key.alg.name(), &token).await;
        let signature = signature_of(&token);
        // Pure Rust in Wasm is slow, and every bit stands for the others.
        let step = if key.alg == Alg::Ps256 { 13 } else { 1 };
        for bit in (0..signature.len() * 8).step_by(step) {
            let mut bad = signature.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let case = format!("{}: bit {bit}", key.alg.name());
            table
                .refuses_request(&case, request(&signed_by(&token, bad)))
                .await;
        }
        for length in 0..signature.len() {
            let case = format!("{}: the first {length} bytes", key.alg.name());
            let bad = signed_by(&token, &signature[..length]);
            table.refuses_request(&case, request(&bad)).await;
        }
        for more in [&[0][..], &[1], &[0; 32], &signature] {
            let case = format!("{}: {} bytes behind", key.alg.name(), more.len());
            let bad = signed_by(&token, [&signature, more].concat());
            table.refuses_request(&case, request(&bad)).await;
            let case = format!("{}: {} bytes before", key.alg.name(), more.len());
            let bad = signed_by(&token, [more, &signature].concat());
            table.refuses_request(&case, request(&bad)).await;
        }
        table.admits(key.alg.name(), &token).await;
    }
    table.finish().await;
}

#[tokio::test]
async fn a_signature_is_of_this_token_by_this_algorithm() {
    let (table, keys) = all_kinds().await;
    every_algorithm_that_is_allowed_gives_the_same_identity(&table, &keys).await;
    a_signature_of_something_else_is_refused(&table, &keys).await;
    a_signature_of_another_algorithm_is_refused(&table, &keys).await;
    table.finish().await;
}

async fn a_signature_of_something_else_is_refused(table: &Table, keys: &[SigningKey; 5]) {
    for key in keys {
        let name = key.alg.name();
        let mine = table.good().sign(key);
        let other = table.good().roles(&["owner"]).sign(key);
        table.admits(name, &mine).await;
        let [header, payload, signature] = segments(&mine);
        let [_, other_payload, other_signature] = segments(&other);
        let mut changed = table.good().payload().to_string();
        changed = changed.replacen("admin", "owner", 1);
        let spaced = table
            .good()
            .header_for(key)
            .to_string()
            .replacen(':', ": ", 1);
        for (case, bad) in [
            (
                "another payload",
                format!("{header}.{other_payload}.{signature}"),
            ),
            (
                "another signature",
                format!("{header}.{payload}.{other_signature}"),
            ),
            (
                "a changed payload",
                format!("{header}.{}.{signature}", b64(changed.as_bytes())),
            ),
            (
                "a header written again",
                format!("{}.{payload}.{signature}", b64(spaced.as_bytes())),
            ),
            (
                "of the payload alone",
                signed_by(&mine, key.signature(payload.as_bytes())),
            ),
            ("of nothing", signed_by(&mine, key.signature(b""))),
        ] {
            table.refuses(&format!("{name}: {case}"), bad).await;
        }
    }
}

async fn a_signature_of_another_algorithm_is_refused(table: &Table, keys: &[SigningKey; 5]) {
    let [.., any] = keys;
    let says = |alg: Alg| {
        let key = any.clone().with_alg(alg);
        table.good().header("alg", alg.name()).sign(&key)
    };
    for alg in [Alg::Rs256, Alg::Rs512, Alg::Ps256] {
        table.admits(alg.name(), says(alg)).await;
        for other in [
            Alg::Rs256,
            Alg::Rs384,
            Alg::Rs512,
            Alg::Ps256,
            Alg::Ps384,
            Alg::Ps512,
        ] {
            if other == alg {
                continue;
            }
            let token = says(alg);
            let (input, _) = token.rsplit_once('.').unwrap();
            let signature = any.clone().with_alg(other).signature(input.as_bytes());
            let case = format!("{} says it is {}", other.name(), alg.name());
            table.refuses(&case, signed_by(&token, signature)).await;
        }
    }
}

#[tokio::test]
async fn a_signature_in_another_form_is_refused() {
    let (table, keys) = all_kinds().await;
    an_rsa_signature_out_of_range_or_with_another_padding_is_refused(&table, &keys).await;
    a_pss_signature_with_another_salt_is_refused(&table, &keys).await;
    an_ecdsa_signature_out_of_range_or_in_another_form_is_refused(&table, &keys).await;
    an_eddsa_signature_that_is_not_canonical_is_refused(&table, &keys).await;
    table.finish().await;
}

async fn an_rsa_signature_out_of_range_or_with_another_padding_is_refused(
    table: &Table,
    keys: &[SigningKey; 5],
) {
    let [key, ..] = keys;
    let private = RsaPrivateKey::from_pkcs8_der(&key.pkcs8_der()).unwrap();
    let (n, e, d) = (private.n(), private.e(), private.d());
    let token = table.good().sign(key);
    table.admits("the token itself", &token).await;
    let signature = signature_of(&token);
    let s = BigUint::from_bytes_be(&signature);
    let one = BigUint::from(1_u8);
    let bytes = |number: &BigUint| {
        let bytes = number.to_bytes_be();
        [vec![0; 256_usize.saturating_sub(bytes.len())], bytes].concat()
    };
    for (case, number) in [
        ("0", BigUint::from(0_u8)),
        ("1", one.clone()),
        ("n - 1", n - &one),
        ("n", n.clone()),
        ("n + 1", n + &one),
        ("s + n", &s + n),
        ("n - s", n - &s),
    ] {
        table.refuses(case, signed_by(&token, bytes(&number))).await;
    }

    // Signed with the private key, but under another padding: only PKCS #1 v1.5 to the letter passes.
    let encoded = s.modpow(e, n).to_bytes_be();
    let hash = &encoded[encoded.len() - 32..];
    let info = &encoded[encoded.len() - 51..encoded.len() - 32];
    let fill = |before: &[u8], after: &[u8]| {
        let filling = vec![0xff; 256 - before.len() - after.len()];
        [before, &filling, after].concat()
    };
    let tail = |parts: &[&[u8]]| fill(&[0, 1], &[&[0][..], &parts.concat()].concat());
    let sign = |padded: Vec<u8>| bytes(&BigUint::from_bytes_be(&padded).modpow(d, n));
    assert_eq!(
        sign(tail(&[info, hash])),
        signature,
        "the padding as it should be"
    );
    let without_null = [&[0x30, 0x2f, 0x30, 0x0b], &info[4..15], &[0x04, 0x20]].concat();
    let long_form = [&[0x30, 0x81, 0x31], &info[2..]].concat();
    let long_null = [
        &[0x30, 0x33, 0x30, 0x0f],
        &info[4..15],
        &[5, 2, 0, 0, 0x04, 0x20],
    ]
    .concat();
    let mut sha512 = info.to_vec();
    sha512[14] = 3;
    let mut gap = tail(&[info, hash]);
    gap[100] = 0xfe;
    let mut early_end = tail(&[info, hash]);
    early_end[100] = 0;
    // Bleichenbacher 2006: a short padding, and garbage behind the hash.
    let garbage = [&[0, 1][..], &[0xff; 8], &[0], info, hash, &[0x55; 194]].concat();
    for (case, padded) in [
        ("without NULL", tail(&[&without_null, hash])),
        ("a length in long form", tail(&[&long_form, hash])),
        ("a NULL with content", tail(&[&long_null, hash])),
        ("another hash's identifier", tail(&[&sha512, hash])),
        ("a bare hash", tail(&[hash])),
        (
            "block type 0",
            fill(&[0, 0], &[&[0][..], info, hash].concat()),
        ),
        (
            "block type 2",
            fill(&[0, 2], &[&[0][..], info, hash].concat()),
        ),
        (
            "no end of the padding",
            fill(&[0, 1], &[info, hash].concat()),
        ),
        ("a byte of the padding changed", gap),
        ("an early end of the padding", early_end),
        ("a byte behind the hash", tail(&[info, hash, &[0]])),
        ("garbage behind the hash", garbage),
    ] {
        assert_eq!(padded.len(), 256, "{case}");
        table.refuses(case, signed_by(&token, sign(padded))).await;
    }
    table.admits("the token itself", &token).await;
}

async fn a_pss_signature_with_another_salt_is_refused(table: &Table, keys: &[SigningKey; 5]) {
    let [_, key, ..] = keys;
    let private = RsaPrivateKey::from_pkcs8_der(&key.pkcs8_der()).unwrap();
    let token = table.good().sign(key);
    let (input, _) = token.rsplit_once('.').unwrap();
    let digest = Sha256::digest(input);
    for salt in [0, 20, 31, 32, 33, 64] {
        let padding = Pss::new_with_salt::<Sha256>(salt);
        let signature = private.sign_with_rng(&mut OsRng, padding, &digest).unwrap();
        let token = signed_by(&token, signature);
        let case = format!("a salt of {salt} bytes");
        if salt == 32 {
            table.admits(&case, token).await;
        } else {
            table.refuses(&case, token).await;
        }
    }
}

async fn an_ecdsa_signature_out_of_range_or_in_another_form_is_refused(
    table: &Table,
    keys: &[SigningKey; 5],
) {
    let [_, _, key, ..] = keys;
    let order = "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";
    let n = BigUint::parse_bytes(order.as_bytes(), 16).unwrap();
    let one = BigUint::from(1_u8);
    let bytes = |number: &BigUint| {
        let bytes = number.to_bytes_be();
        [vec![0; 32 - bytes.len()], bytes].concat()
    };
    let token = table.good().sign(key);
    table.admits("the token itself", &token).await;
    let signature = signature_of(&token);
    let (r, s) = signature.split_at(32);
    let odd = [
        ("0", vec![0; 32]),
        ("n", bytes(&n)),
        ("n + 1", bytes(&(&n + &one))),
        ("n - 1", bytes(&(&n - &one))),
        ("1", bytes(&one)),
        ("2^256 - 1", vec![0xff; 32]),
    ];
    for (name, value) in &odd {
        let bad = [value, s].concat();
        table
            .refuses(&format!("r = {name}"), signed_by(&token, bad))
            .await;
        let bad = [r, value].concat();
        table
            .refuses(&format!("s = {name}"), signed_by(&token, bad))
            .await;
        for (other, second) in &odd {
            let bad = [&value[..], second].concat();
            let case = format!("r = {name}, s = {other}");
            table.refuses(&case, signed_by(&token, bad)).await;
        }
    }
    let der = p256::ecdsa::Signature::from_slice(&signature)
        .unwrap()
        .to_der();
    table
        .refuses("DER", signed_by(&token, der.as_bytes()))
        .await;
    table
        .refuses("s and r", signed_by(&token, [s, r].concat()))
        .await;
    let p384 = [&[0; 16][..], r, &[0; 16], s].concat();
    table
        .refuses("as long as for P-384", signed_by(&token, p384))
        .await;

    // The other signature that ECDSA has for every message is as good: no list of tokens is kept that it could dodge.
    let twin = bytes(&(&n - BigUint::from_bytes_be(s)));
    table
        .admits("the twin", signed_by(&token, [r, &twin[..]].concat()))
        .await;
}

async fn an_eddsa_signature_that_is_not_canonical_is_refused(
    table: &Table,
    keys: &[SigningKey; 5],
) {
    let [_, _, _, key, _] = keys;
    let token = table.good().sign(key);
    table.admits("the token itself", &token).await;
    let signature = signature_of(&token);
    let (r, s) = signature.split_at(32);
    // RFC 8032 §5.1: L = 2^252 + 27742317777372353535851937790883648493, little-endian on the wire.
    let order = "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED";
    let order = BigUint::parse_bytes(order.as_bytes(), 16).unwrap();
    let little = |number: &BigUint| {
        let mut bytes = number.to_bytes_le();
        bytes.resize(32, 0);
        bytes
    };
    let s_number = BigUint::from_bytes_le(s);
    for times in 1..15_u8 {
        let larger = &s_number + &order * BigUint::from(times);
        let bad = [r, &little(&larger)[..]].concat();
        table
            .refuses(&format!("S + {times} L"), signed_by(&token, bad))
            .await;
    }
    let identity = [&[1][..], &[0; 31]].concat();
    let field = [&[0xed][..], &[0xff; 30], &[0x7f]].concat();
    for (case, bad) in [
        ("all zero", vec![0; 64]),
        ("R the identity, S 0", [&identity[..], &[0; 32]].concat()),
        ("R the identity", [&identity, s].concat()),
        ("R not canonical", [&field[..], s].concat()),
        ("S and R", [s, r].concat()),
    ] {
        table.refuses(case, signed_by(&token, bad)).await;
    }
}

async fn every_algorithm_that_is_allowed_gives_the_same_identity(
    table: &Table,
    keys: &[SigningKey; 5],
) {
    for key in keys {
        let token = Token::user(devkit::testbed::ORIGIN, &table.bed.alice).sign(key);
        table.admits(key.alg.name(), token).await;
    }
}
