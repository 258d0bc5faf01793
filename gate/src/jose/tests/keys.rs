//! Which keys are used, and why not the others (threats K6 to K11, J2).

use super::key::KeyError;
use super::*;

/// What happens to a key between two valid ones.
fn judge(jwk: &Value) -> Result<(), KeyError> {
    let (before, after) = (SigningKey::es256(), SigningKey::es256());
    let document = jwks(&[before.jwk(), jwk.clone(), after.jwk()]);
    let (set, dropped) = KeySet::parse(&document).unwrap();
    for good in [before, after] {
        assert!(set.select(&good.kid, Algorithm::Es256).is_ok(), "{jwk}");
    }
    match dropped.as_slice() {
        [] => {
            assert_eq!(set.count(), 3);
            Ok(())
        }
        [DroppedKey { index: 1, error }] => {
            assert_eq!(set.count(), 2);
            Err(*error)
        }
        other => panic!("{jwk}: {other:?}"),
    }
}

fn rsa() -> Value {
    SigningKey::rsa(0).jwk()
}

fn ec() -> Value {
    SigningKey::es256().jwk()
}

fn ed() -> Value {
    SigningKey::ed25519().jwk()
}

/// An RSA key of this size that nobody has the private part of.
fn modulus_of(bits: usize) -> Value {
    let mut modulus = vec![0xff; bits / 8];
    *modulus.last_mut().unwrap() = 0x01;
    changed(rsa(), &json!({ "n": b64(&modulus) }))
}

#[test]
fn keys_as_the_world_publishes_them_are_used() {
    let bare = |jwk| without(without(without(jwk, "alg"), "use"), "created_at");
    for jwk in [
        rsa(),
        ec(),
        ed(),
        bare(rsa()),
        bare(ec()),
        changed(rsa(), &json!({ "key_ops": ["verify"] })),
        changed(rsa(), &json!({ "key_ops": ["sign", "verify"] })),
        changed(rsa(), &json!({ "alg": null, "use": null, "key_ops": null })),
        changed(
            rsa(),
            &json!({ "x5c": ["MIIB"], "x5t": "a", "x5t#S256": "b", "issuer": "c", "value": "d", "exp": 0 }),
        ),
        changed(ec(), &json!({ "kid": "any \u{0} thing" })),
        modulus_of(2_048),
        modulus_of(3_072),
        modulus_of(4_096),
    ] {
        assert_eq!(judge(&jwk), Ok(()), "{jwk}");
    }
}

#[test]
fn what_is_no_key_costs_the_others_nothing() {
    for bad in [
        json!(null),
        json!(1),
        json!("key"),
        json!([]),
        json!(["RSA", "a"]),
        // An array with the members of the struct.
        json!([
            "RSA",
            "a",
            null,
            null,
            null,
            null,
            rsa()["n"],
            "AQAB",
            null,
            null,
            null
        ]),
        json!({}),
        json!({ "kid": "a" }),
        changed(rsa(), &json!({ "kty": 1 })),
        changed(rsa(), &json!({ "kid": 1 })),
        changed(rsa(), &json!({ "alg": 1 })),
        changed(rsa(), &json!({ "use": ["sig"] })),
        changed(rsa(), &json!({ "key_ops": "verify" })),
        changed(rsa(), &json!({ "n": 1 })),
        changed(rsa(), &json!({ "n": "" })),
        without(rsa(), "n"),
        without(rsa(), "e"),
        without(ec(), "x"),
        without(ec(), "y"),
        without(ed(), "x"),
    ] {
        assert_eq!(judge(&bad), Err(KeyError::Malformed), "{bad}");
    }
    for kid in [json!(""), json!(null)] {
        assert_eq!(
            judge(&changed(rsa(), &json!({ "kid": kid }))),
            Err(KeyError::NoKeyId)
        );
    }
    assert_eq!(judge(&without(rsa(), "kid")), Err(KeyError::NoKeyId));
}

#[test]
fn a_member_that_is_given_twice_spoils_its_key_only() {
    let good = SigningKey::es256();
    for name in ["kty", "kid", "n", "e", "alg", "use"] {
        let value = rsa()[name].to_string();
        let twice = rsa()
            .to_string()
            .replacen('{', &format!("{{\"{name}\":{value},"), 1);
        let document = format!(r#"{{"keys":[{twice},{}]}}"#, good.jwk());
        let (set, dropped) = KeySet::parse(document.as_bytes()).unwrap();
        assert_eq!((set.count(), dropped.len()), (1, 1), "{name}");
        assert_eq!(dropped[0].error, KeyError::Malformed, "{name}");
    }
}

#[test]
fn a_key_of_another_kind_is_dropped() {
    for bad in [
        SigningKey::hs256(b"secret").jwk(),
        changed(rsa(), &json!({ "kty": "AKP" })),
        changed(rsa(), &json!({ "kty": "rsa" })),
        changed(ec(), &json!({ "crv": "P-384" })),
        changed(ec(), &json!({ "crv": "P-521" })),
        changed(ec(), &json!({ "crv": "secp256k1" })),
        changed(ec(), &json!({ "crv": "Ed25519" })),
        without(ec(), "crv"),
        changed(ed(), &json!({ "crv": "X25519" })),
        changed(ed(), &json!({ "crv": "Ed448" })),
    ] {
        assert_eq!(judge(&bad), Err(KeyError::Kind), "{bad}");
    }
}

#[test]
fn a_key_for_something_else_is_dropped() {
    for usage in ["enc", "tls", "SIG", "", "sig "] {
        assert_eq!(
            judge(&changed(rsa(), &json!({ "use": usage }))),
            Err(KeyError::Use),
            "{usage:?}"
        );
    }
    for operations in [
        json!([]),
        json!(["encrypt"]),
        json!(["sign"]),
        json!(["Verify"]),
    ] {
        assert_eq!(
            judge(&changed(rsa(), &json!({ "key_ops": operations }))),
            Err(KeyError::Use),
            "{operations}"
        );
    }
}

#[test]
fn a_key_whose_alg_is_not_its_own_is_dropped() {
    for (jwk, alg) in [
        (rsa(), "ES256"),
        (rsa(), "HS256"),
        (rsa(), "none"),
        (rsa(), "RSA-OAEP"),
        (rsa(), "rs256"),
        (rsa(), ""),
        (ec(), "RS256"),
        (ec(), "ES384"),
        (ec(), "ES224"),
        (ed(), "ES256"),
        (ed(), "Ed25519"),
    ] {
        assert_eq!(
            judge(&changed(jwk, &json!({ "alg": alg }))),
            Err(KeyError::Algorithm),
            "{alg:?}"
        );
    }
}

#[test]
fn a_private_key_is_dropped_and_never_shown() {
    for jwk in [rsa(), ec(), ed()] {
        let leaked = changed(
            jwk,
            &json!({ "d": "c2VjcmV0", "p": "c2VjcmV0", "q": "c2VjcmV0" }),
        );
        assert_eq!(judge(&leaked), Err(KeyError::Private), "{leaked}");
        let error = KeySet::parse(&jwks(&[leaked])).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("c2VjcmV0"));
    }
}

#[test]
fn an_rsa_key_of_unsafe_parameters_is_dropped() {
    let bytes = testkit::unb64(rsa()["n"].as_str().unwrap()).unwrap();
    let modulus = |bytes: &[u8]| changed(rsa(), &json!({ "n": b64(bytes) }));
    let mut even = bytes.clone();
    *even.last_mut().unwrap() &= 0xfe;
    let mut cases = vec![
        ("leading zero", modulus(&[&[0], &bytes[..]].concat())),
        ("even", modulus(&even)),
        ("nought", modulus(&[0])),
        ("one", modulus(&[1])),
        (
            "2047 bits",
            modulus(&{
                let mut short = bytes.clone();
                short[0] &= 0x7f;
                short[0] |= 0x40;
                short
            }),
        ),
        ("512 bits", modulus_of(512)),
        ("1024 bits", modulus_of(1_024)),
        ("4104 bits", modulus_of(4_104)),
        ("8192 bits", modulus_of(8_192)),
        ("16384 bits", modulus_of(16_384)),
        ("65536 bits", modulus_of(65_536)),
    ];
    for exponent in [
        &[0][..],
        &[1],
        &[2],
        &[3],
        &[17],
        &[1, 0, 0],
        &[1, 0, 3],
        &[0, 1, 0, 1],
        &[0xff; 32],
        &bytes,
    ] {
        cases.push(("exponent", changed(rsa(), &json!({ "e": b64(exponent) }))));
    }
    for (name, jwk) in cases {
        assert_eq!(judge(&jwk), Err(KeyError::Rsa), "{name}: {jwk}");
    }
    let text = rsa()["n"].as_str().unwrap().to_owned();
    for bad in [
        format!("{text}=="),
        format!("{text}="),
        text.replacen(&text[4..5], "+", 1),
        "65537".to_owned() + "1",
    ] {
        let judged = judge(&changed(rsa(), &json!({ "n": bad })));
        assert!(judged.is_err(), "{bad}");
    }
}

/// A modulus as Infineon's RSALib made them (CVE-2017-15361): the product of two numbers `k·M + (65537^a mod M)`, where `M` is
/// the product of the first primes. They are not prime, for nothing here asks for that.
fn roca(seed: u32) -> Vec<u8> {
    use rsa::BigUint;
    let is_prime = |number: &u32| (2..*number).all(|divisor| !number.is_multiple_of(divisor));
    let number = |number: u32| BigUint::from(number);
    // For 2048 bits, M has the first 126 primes.
    let primes = (2_u32..).filter(is_prime).take(126);
    let product = primes.fold(number(1), |product, prime| product * number(prime));
    let factor = |seed: u32| {
        let power = number(65_537).modpow(&number(seed), &product);
        // 1024 bits, the first two of them set.
        let multiple = (number(3) << 1_022_usize) / &product + number(seed);
        multiple * &product + power
    };
    (factor(seed) * factor(seed + 1)).to_bytes_be()
}

#[test]
fn an_rsa_key_of_infineons_is_dropped() {
    let weak = |modulus: &[u8]| judge(&changed(rsa(), &json!({ "n": b64(modulus) })));
    for seed in [1, 7, 1_000, 65_537, 4_000_000_000] {
        let mut modulus = roca(seed);
        assert_eq!(modulus.len(), 256, "{seed}");
        assert_eq!(weak(&modulus), Err(KeyError::Rsa), "{seed}");
        // One that differs by little has not its pattern.
        *modulus.last_mut().unwrap() ^= 0x02;
        assert_eq!(weak(&modulus), Ok(()), "{seed}");
    }
    // A power of the generator is in its group for every prime.
    let generator = rsa::BigUint::from(65_537_u32);
    let power = (1..128).fold(generator.clone(), |power, _| power * &generator);
    assert_eq!(weak(&power.to_bytes_be()), Err(KeyError::Rsa));
}

#[test]
fn an_ordinary_rsa_key_is_none_of_infineons() {
    let keys = (0..2).map(|nth| SigningKey::rsa(nth).jwk());
    for jwk in keys {
        assert_eq!(judge(&jwk), Ok(()));
    }
    // Odd numbers of 2048 bits, as a generator of pseudo-random numbers has them.
    let mut state = 1_u64;
    for nth in 0..200 {
        let mut modulus: Vec<u8> = (0..256)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        modulus[0] |= 0x80;
        modulus[255] |= 1;
        let jwk = changed(rsa(), &json!({ "n": b64(&modulus) }));
        assert!(VerifyingKey::from_jwk(&jwk.to_string()).is_ok(), "{nth}");
    }
}

#[test]
fn a_point_that_is_not_on_its_curve_is_dropped() {
    let jwk = ec();
    let coordinate = |name: &str| testkit::unb64(jwk[name].as_str().unwrap()).unwrap();
    let (x, y) = (coordinate("x"), coordinate("y"));
    let point = |x: &[u8], y: &[u8]| changed(jwk.clone(), &json!({ "x": b64(x), "y": b64(y) }));
    let mut off = y.clone();
    off[31] ^= 1;
    for (name, bad) in [
        ("off the curve", point(&x, &off)),
        ("swapped", point(&y, &x)),
        ("infinity", point(&[0; 32], &[0; 32])),
        ("beyond the field", point(&[0xff; 32], &[0xff; 32])),
        ("short", point(&x[1..], &y)),
        ("long", point(&[&[0], &x[..]].concat(), &y)),
        ("too long", point(&x, &[&y[..], &[0]].concat())),
    ] {
        assert_eq!(judge(&bad), Err(KeyError::Point), "{name}: {bad}");
    }
    for (name, x) in [
        ("31 bytes", vec![9; 31]),
        ("33 bytes", vec![9; 33]),
        ("order 1", [&[1][..], &[0; 31]].concat()),
        ("order 4", vec![0; 32]),
        ("order 2", [&[0xec][..], &[0xff; 30], &[0x7f]].concat()),
    ] {
        assert_eq!(
            judge(&changed(ed(), &json!({ "x": b64(&x) }))),
            Err(KeyError::Point),
            "{name}"
        );
    }
}

#[test]
fn keys_of_one_id_are_distinguished_by_algorithm_and_the_first_for_one_stays() {
    let [rsa, other] = [0, 1].map(|nth| SigningKey::rsa(nth).with_kid("same"));
    let ec = SigningKey::es256().with_kid("same");
    let (set, dropped) = KeySet::parse(&jwks(&[rsa.jwk(), ec.jwk(), other.jwk()])).unwrap();
    assert_eq!(
        dropped,
        [DroppedKey {
            index: 2,
            error: KeyError::Duplicate
        }]
    );
    assert_eq!(
        set.select("same", Algorithm::Rs256).unwrap().spki(),
        rsa.spki_der()
    );
    assert_eq!(
        set.select("same", Algorithm::Es256).unwrap().spki(),
        ec.spki_der()
    );
    assert_eq!(
        set.select("same", Algorithm::Rs512).unwrap_err(),
        NoKey::KeyMismatch
    );
    assert_eq!(
        set.select("same", Algorithm::EdDsa).unwrap_err(),
        NoKey::KeyMismatch
    );
    // One key under one ID for several algorithms, each listed by itself.
    let listed = |alg: &str| changed(rsa.jwk(), &json!({ "alg": alg }));
    let all = [listed("RS512"), listed("RS384"), listed("RS256")];
    let (set, dropped) = KeySet::parse(&jwks(&all)).unwrap();
    assert_eq!((set.count(), dropped), (3, Vec::new()));
    for (algorithm, known) in [
        (Algorithm::Rs256, true),
        (Algorithm::Rs384, true),
        (Algorithm::Rs512, true),
        (Algorithm::Ps256, false),
    ] {
        assert_eq!(set.select("same", algorithm).is_ok(), known, "{algorithm}");
    }
    // What the same algorithm could choose twice is there once.
    let bare = without(rsa.jwk(), "alg");
    let others = changed(other.jwk(), &json!({ "alg": "RS384" }));
    for keys in [
        [listed("RS512"), bare.clone()],
        [bare.clone(), listed("RS512")],
        [bare.clone(), bare],
        [listed("RS384"), others],
    ] {
        let (set, dropped) = KeySet::parse(&jwks(&keys)).unwrap();
        let error = KeyError::Duplicate;
        assert_eq!(
            (set.count(), dropped),
            (1, vec![DroppedKey { index: 1, error }]),
            "{keys:?}"
        );
    }
    let any = without(rsa.clone().with_alg(Alg::Ps512).jwk(), "alg");
    let (set, _) = KeySet::parse(&jwks(&[any])).unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Ps512] {
        assert!(set.select("same", algorithm).is_ok(), "{algorithm}");
    }
    for kid in ["Same", "same ", " same", "", "sam", "same\0"] {
        assert_eq!(
            set.select(kid, Algorithm::Rs256).unwrap_err(),
            NoKey::UnknownKeyId,
            "{kid:?}"
        );
    }
}
