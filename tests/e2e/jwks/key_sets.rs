//! One bad key never costs the others.

use devkit::keys::{Alg, SigningKey, Token, b64, unb64};
use devkit::testbed::{Builder, ORIGIN, TestBed};
use serde_json::{Value, json};

fn publishing(keys: Vec<Value>) -> Builder {
    TestBed::builder()
        .project(|project| {
            project["jwt"] = json!({ "algorithms": ["RS256", "PS256", "ES256", "EdDSA"] });
        })
        .prepare(move |authgear| authgear.publish(Some(json!({ "keys": keys }))))
}

/// Ends the test bed when the published set is not the fake Authgear's own.
fn end(bed: &TestBed) {
    bed.envoy.assert_no_trap();
}

async fn status(bed: &TestBed, key: &SigningKey) -> u16 {
    let token = Token::user(ORIGIN, &bed.alice).sign(key);
    bed.get("/api/me").bearer(token).send().await.status
}

/// A key's JWK with some members changed, and `kid`.
fn changed(key: &SigningKey, kid: &str, members: Value) -> Value {
    let mut jwk = key.jwk();
    jwk["kid"] = json!(kid);
    for (name, value) in members.as_object().expect("members") {
        if value.is_null() {
            jwk.as_object_mut().expect("a JWK").remove(name);
        } else {
            jwk[name] = value.clone();
        }
    }
    jwk
}

fn modulus(key: &SigningKey) -> Vec<u8> {
    unb64(key.jwk()["n"].as_str().expect("n")).expect("base64url")
}

#[tokio::test]
async fn a_bad_key_first_in_the_middle_or_last_costs_only_itself() {
    let (first, second, third) = (SigningKey::rsa(0), SigningKey::rsa(1), SigningKey::es256());
    let (ec, ed) = (SigningKey::es256(), SigningKey::ed25519());
    let n = modulus(&first);
    let even = {
        let mut even = n.clone();
        *even.last_mut().expect("a byte") &= 0xfe;
        even
    };
    let rsa = |kid: &str, members: Value| (kid.to_owned(), changed(&first, kid, members));
    let p256 = |kid: &str, members: Value| (kid.to_owned(), changed(&ec, kid, members));
    let okp = |kid: &str, members: Value| (kid.to_owned(), changed(&ed, kid, members));
    let x_of_ec = unb64(ec.jwk()["x"].as_str().expect("x")).expect("base64url");
    let zero = b64(&[0; 32]);
    let bad: Vec<(String, Value)> = vec![
        rsa("unknown-kty", json!({ "kty": "AKP" })),
        rsa("no-kty", json!({ "kty": null })),
        rsa("unknown-alg", json!({ "alg": "RS1" })),
        rsa("symmetric-alg", json!({ "alg": "HS256" })),
        rsa("alg-of-another-kind", json!({ "alg": "ES256" })),
        rsa("other-use", json!({ "use": "enc" })),
        rsa("unknown-use", json!({ "use": "tls" })),
        rsa("sign-only", json!({ "key_ops": ["sign"] })),
        rsa("encrypt-only", json!({ "key_ops": ["encrypt"] })),
        rsa("no-operation", json!({ "key_ops": [] })),
        rsa("exponent-0", json!({ "e": b64(&[0]) })),
        rsa("exponent-1", json!({ "e": b64(&[1]) })),
        rsa("exponent-2", json!({ "e": b64(&[2]) })),
        rsa("exponent-3", json!({ "e": b64(&[3]) })),
        rsa("even-exponent", json!({ "e": b64(&[1, 0, 0]) })),
        rsa("huge-exponent", json!({ "e": b64(&n) })),
        rsa("no-exponent", json!({ "e": null })),
        rsa("padded-exponent", json!({ "e": "AQAB====" })),
        rsa("even-modulus", json!({ "n": b64(&even) })),
        rsa("zero-modulus", json!({ "n": b64(&[0]) })),
        rsa("no-modulus", json!({ "n": null })),
        rsa("empty-modulus", json!({ "n": "" })),
        rsa("number-modulus", json!({ "n": 12_345 })),
        rsa("decimal-modulus", json!({ "n": "123456789" })),
        rsa(
            "zero-led-modulus",
            json!({ "n": b64(&[&[0], &n[..]].concat()) }),
        ),
        rsa("small-modulus", json!({ "n": b64(&n[..128]) })),
        rsa("huge-modulus", json!({ "n": b64(&n.repeat(4)) })),
        rsa("enormous-modulus", json!({ "n": b64(&n.repeat(32)) })),
        p256("off-the-curve", json!({ "y": ec.jwk()["x"] })),
        p256("origin", json!({ "x": zero, "y": zero })),
        p256("short-coordinate", json!({ "x": b64(&x_of_ec[1..]) })),
        p256("no-y", json!({ "y": null })),
        p256("another-curve", json!({ "crv": "P-384" })),
        p256("secp256k1", json!({ "crv": "secp256k1" })),
        okp("x25519", json!({ "crv": "X25519" })),
        okp("ed448", json!({ "crv": "Ed448" })),
        okp("short-x", json!({ "x": b64(&[7; 31]) })),
        okp("long-x", json!({ "x": b64(&[7; 33]) })),
        okp("low-order-x", json!({ "x": zero })),
        (
            "oct".to_owned(),
            json!({ "kty": "oct", "kid": "oct", "k": b64(b"secret"), "alg": "HS256" }),
        ),
        (
            "nested".to_owned(),
            json!({ "kty": "RSA", "kid": "nested", "n": { "n": [[[[[]]]]] } }),
        ),
        (
            "number-kid".to_owned(),
            changed(&first, "", json!({ "kid": 1 })),
        ),
        ("empty-kid".to_owned(), changed(&first, "", json!({}))),
        (
            "no-kid".to_owned(),
            changed(&first, "", json!({ "kid": null })),
        ),
        ("null".to_owned(), Value::Null),
        ("number".to_owned(), json!(1)),
        ("text".to_owned(), json!("key")),
        ("list".to_owned(), json!([first.jwk()])),
        ("object".to_owned(), json!({})),
    ];
    let (front, back) = bad.split_at(bad.len() / 2);
    let mut keys = vec![json!({ "kty": "RSA" }), first.jwk()];
    keys.extend(front.iter().map(|(_, jwk)| jwk.clone()));
    keys.push(second.jwk());
    keys.extend(back.iter().map(|(_, jwk)| jwk.clone()));
    keys.push(third.jwk());
    keys.push(json!({ "kty": "RSA" }));
    let bed = publishing(keys).start().await;
    bed.envoy.wait_for_log("JWKS: 3 keys in use").await;
    bed.envoy
        .wait_for_log(&format!("{} keys not used: keys[0] ", bad.len() + 2))
        .await;

    for good in [&first, &second, &third] {
        assert_eq!(status(&bed, good).await, 200, "{good:?}");
    }
    bed.backend.clear();
    for (kid, jwk) in &bad {
        let signer = match jwk["kty"].as_str() {
            Some("EC") => &ec,
            Some("OKP") => &ed,
            _ => &first,
        };
        let key = signer.clone().with_kid(kid);
        assert_eq!(status(&bed, &key).await, 401, "{kid} by {key:?}: {jwk}");
    }
    let symmetric = Token::user(ORIGIN, &bed.alice).hs256(b"secret", "oct");
    let reply = bed.get("/").bearer(symmetric).send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    bed.assert_nothing_forwarded();
    end(&bed);
}

#[tokio::test]
async fn rsa_keys_of_unsafe_size_are_not_used_even_if_they_sign() {
    let good = SigningKey::rsa(0);
    let small = SigningKey::rsa_bits(1_024, 0);
    let bed = publishing(vec![small.jwk(), good.jwk()]).start().await;
    assert_eq!(status(&bed, &small).await, 401);
    assert_eq!(status(&bed, &good).await, 200);
    bed.envoy
        .wait_for_log("keys[0] is an RSA key of unsafe parameters")
        .await;
    bed.finish().await;
}

#[tokio::test]
async fn what_other_products_add_to_a_key_does_no_harm() {
    let key = SigningKey::rsa(0);
    let extras = [
        (
            "bare",
            json!({ "alg": null, "use": null, "created_at": null }),
        ),
        ("operations", json!({ "key_ops": ["verify"], "use": null })),
        (
            "extras",
            json!({ "x5c": ["MIIC"], "x5t": "a", "x5t#S256": "b", "issuer": "https://login", "value": "PEM", "ext": true }),
        ),
        ("Name with spaces, ünïcode and \"quotes\"", json!({})),
    ];
    let keys = extras
        .iter()
        .map(|(kid, members)| changed(&key, kid, members.clone()));
    let bed = publishing(keys.collect()).start().await;
    for (kid, _) in &extras {
        assert_eq!(status(&bed, &key.clone().with_kid(kid)).await, 200, "{kid}");
    }
    // One that names no algorithm suits all of its kind; one that does, that one.
    let pss = key.clone().with_alg(Alg::Ps256);
    assert_eq!(status(&bed, &pss.clone().with_kid("bare")).await, 200);
    assert_eq!(status(&bed, &pss.with_kid("extras")).await, 401);
    end(&bed);
}

#[tokio::test]
async fn a_published_private_key_is_neither_used_nor_logged() {
    let (key, good) = (SigningKey::rsa(1), SigningKey::rsa(0));
    let secret = b64(b"the secret exponent, published by mistake");
    let members =
        json!({ "d": secret, "p": secret, "q": secret, "dp": secret, "dq": secret, "qi": secret });
    let bed = publishing(vec![changed(&key, &key.kid, members), good.jwk()])
        .envoy(|envoy| envoy.log_level("debug"))
        .start()
        .await;
    assert_eq!(status(&bed, &key).await, 401);
    assert_eq!(status(&bed, &good).await, 200);
    assert!(!bed.envoy.logs().contains(&secret));
    bed.finish().await;
}

#[tokio::test]
async fn keys_of_one_kid_are_distinguished_by_kind_and_never_tried_in_turn() {
    let (rsa, other) = (SigningKey::rsa(0), SigningKey::rsa(1));
    let ec = SigningKey::es256().with_kid(&rsa.kid);
    let twin = other.with_kid(&rsa.kid);
    let bed = publishing(vec![rsa.jwk(), ec.jwk(), twin.jwk()])
        .start()
        .await;
    assert_eq!(status(&bed, &rsa).await, 200);
    assert_eq!(status(&bed, &ec).await, 200);
    assert_eq!(status(&bed, &twin).await, 401);
    bed.envoy
        .wait_for_log("keys[2] has the \"kid\" of an earlier key")
        .await;
    bed.finish().await;
}

#[tokio::test]
async fn as_many_keys_as_are_looked_at_do_and_one_more_does_not() {
    let key = SigningKey::ed25519();
    let set = |count: usize| -> Value {
        (0..count)
            .map(|nth| key.clone().with_kid(&nth.to_string()).jwk())
            .collect()
    };
    let keys = set(10_000);
    let bed = publishing(keys.as_array().expect("keys").clone())
        .start()
        .await;
    let last = key.clone().with_kid("9999");
    assert_eq!(status(&bed, &last).await, 200);

    bed.authgear.publish(Some(json!({ "keys": set(10_001) })));
    // A key that nobody knows has the set fetched again.
    let unknown = key.clone().with_kid("10000");
    assert_eq!(status(&bed, &unknown).await, 503);
    bed.envoy
        .wait_for_log("the document has more than 10000 keys")
        .await;
    assert_eq!(status(&bed, &last).await, 200);
    end(&bed);
}

#[tokio::test]
async fn inline_keys_without_a_usable_one_are_refused_at_load() {
    // The causes are tried natively, by `gate/src/config/tests/refused.rs`.
    let inline = json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "AAAA" }] });
    let refused = TestBed::builder()
        .project(|project| project["jwks"] = json!({ "inline": inline }))
        .try_start()
        .await;
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("projects[0].jwks.inline: "), "{error}");
    assert!(
        error.contains("keys[0] is of an unsupported kind"),
        "{error}"
    );
}
