//! The JOSE header (threats T8 to T10, S1, S2, C7, K1, K3).

use super::*;

fn with(name: &str, value: Value) -> String {
    let mut header = header();
    header[name] = value;
    headed(header.to_string())
}

#[test]
fn alg_and_kid_must_be_there_and_be_strings() {
    for name in ["alg", "kid"] {
        let mut header = header();
        header.as_object_mut().unwrap().remove(name);
        assert_eq!(
            inspect(&headed(header.to_string())),
            Err(TokenError::Malformed),
            "{name}"
        );
        for value in [
            json!(null),
            json!(1),
            json!(256),
            json!([]),
            json!(["RS256"]),
            json!({}),
            json!(true),
        ] {
            assert_eq!(
                inspect(&with(name, value.clone())),
                Err(TokenError::Malformed),
                "{name} {value}"
            );
        }
        let none = if name == "alg" {
            Err(TokenError::Algorithm)
        } else {
            Ok(())
        };
        assert_eq!(inspect(&with(name, json!(""))), none, "{name} empty");
        // A name that only looks the same is a different name.
        for other in [
            format!("{}{}", name[..1].to_uppercase(), &name[1..]),
            format!("{name} "),
            format!(" {name}"),
            name.replace('g', "\u{261}").replace('k', "\u{3ba}"),
        ] {
            let mut header = header.clone();
            header[&other] = self::header()[name].clone();
            let header = headed(header.to_string());
            assert_eq!(inspect(&header), Err(TokenError::Malformed), "{other:?}");
        }
        let upper = header.to_string().replacen(
            '{',
            &format!("{{\"{}\":\"ES256\",", name.to_uppercase()),
            1,
        );
        assert_eq!(
            inspect(&headed(upper)),
            Err(TokenError::Malformed),
            "{name}"
        );
    }
}

#[test]
fn only_algorithms_on_the_list_are_heard() {
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "ES256 ",
        " ES256",
        "es256",
        "ES256\0",
        "ES-256",
        "HS256",
        "HS384",
        "HS512",
        "RS384",
        "PS256",
        "ES384",
        "ES512",
        "ES256K",
        "EdDSA",
        "Ed25519",
        "Ed448",
        "RS1",
        "ES521",
        "ML-DSA-44",
        "HS1",
        "dir",
        "RSA1_5",
        "RSA-OAEP",
        "ECDH-ES",
        "A128KW",
        "PBES2-HS256+A128KW",
    ] {
        assert_eq!(
            inspect(&with("alg", json!(alg))),
            Err(TokenError::Algorithm),
            "{alg:?}"
        );
    }
    assert_eq!(inspect(&with("alg", json!("RS256"))), Ok(()));
}

#[test]
fn a_parameter_that_is_given_twice_is_refused_in_either_order() {
    let text = header().to_string();
    for (name, good, bad) in [
        ("alg", "\"ES256\"", "\"none\""),
        ("alg", "\"ES256\"", "\"ES256\""),
        ("kid", "\"a-key\"", "\"b-key\""),
        ("kid", "\"a-key\"", "\"a-key\""),
        ("typ", "\"at+jwt\"", "\"JWT\""),
        ("typ", "\"at+jwt\"", "\"at+jwt\""),
    ] {
        let member = format!("\"{name}\":{good}");
        assert!(text.contains(&member), "{text}");
        let escaped = format!("\"\\u{:04x}{}\":{bad}", name.as_bytes()[0], &name[1..]);
        for twice in [
            format!("\"{name}\":{bad},{member}"),
            format!("{member},\"{name}\":{bad}"),
            format!("{escaped},{member}"),
            format!("{member},{escaped}"),
        ] {
            let header = text.replace(&member, &twice);
            assert_eq!(
                inspect(&headed(&header)),
                Err(TokenError::Malformed),
                "{header}"
            );
        }
    }
    let header = text.replacen('{', r#"{"crit":[],"crit":[],"#, 1);
    assert_eq!(inspect(&headed(header)), Err(TokenError::Malformed));
}

#[test]
fn an_escaped_name_is_the_name() {
    let header = header()
        .to_string()
        .replace("\"alg\"", "\"\\u0061lg\"")
        .replace("a-key", "\\u0061-key");
    let token = headed(header);
    let inspected = InspectedToken::inspect(
        token.as_bytes(),
        &issuer(),
        &policy(&json!({})),
        &needed(),
        NOW,
    );
    assert_eq!(inspected.unwrap().key_id(), "a-key");
}

#[test]
fn what_would_change_the_meaning_of_the_token_is_refused() {
    for name in ["crit", "b64", "zip", "cty", "enc"] {
        for value in [
            json!(null),
            json!([]),
            json!("exp"),
            json!(["exp"]),
            json!(["b64"]),
            json!(["alg"]),
            json!(["not-in-the-header"]),
            json!(["x", "x"]),
            json!(true),
            json!(false),
            json!("DEF"),
            json!("JWT"),
        ] {
            assert_eq!(
                inspect(&with(name, value.clone())),
                Err(TokenError::UnsupportedHeader),
                "{name} {value}"
            );
        }
    }
}

#[test]
fn a_key_that_comes_with_the_token_is_not_looked_at() {
    let attacker = SigningKey::es256();
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jwk", json!("not even a key")),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!(1)),
    ] {
        let mut header = header();
        header[name] = value;
        let token = attacker.sign_raw(
            header.to_string().as_bytes(),
            alice().payload().to_string().as_bytes(),
        );
        assert_eq!(inspect(&token), Ok(()), "{name}");
        let verified = verify(&token, &key_of(&KEY), &RustCrypto);
        assert_eq!(verified, Err(TokenError::Signature), "{name}");
    }
}

#[test]
fn only_the_type_of_an_access_token_will_do() {
    for typ in [
        "at+jwt",
        "AT+JWT",
        "At+Jwt",
        "application/at+jwt",
        "Application/AT+jwt",
    ] {
        assert_eq!(inspect(&with("typ", json!(typ))), Ok(()), "{typ}");
    }
    let others = [
        "",
        "jwt",
        "JWT",
        " at+jwt",
        "at+jwt ",
        "at+jwt; v=1",
        "at+jwt\0",
        "at-jwt",
        "x-at+jwt",
        "text/at+jwt",
        "application/application/at+jwt",
        "application/",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
    ];
    for typ in others {
        assert_eq!(
            inspect(&with("typ", json!(typ))),
            Err(TokenError::Type),
            "{typ:?}"
        );
    }
    for typ in [
        json!(null),
        json!([]),
        json!(1),
        json!(["at+jwt"]),
        json!({}),
        json!(true),
    ] {
        assert_eq!(
            inspect(&with("typ", typ.clone())),
            Err(TokenError::Malformed),
            "{typ}"
        );
    }
    let mut absent = header();
    absent.as_object_mut().unwrap().remove("typ");
    let absent = headed(absent.to_string());
    assert_eq!(inspect(&absent), Err(TokenError::Type));

    let lenient = policy(&json!({ "require_typ": false }));
    assert_eq!(inspect_with(&absent, &lenient, NOW), Ok(()));
    for typ in others {
        let expected = if typ.eq_ignore_ascii_case("jwt") {
            Ok(())
        } else {
            Err(TokenError::Type)
        };
        assert_eq!(
            inspect_with(&with("typ", json!(typ)), &lenient, NOW),
            expected,
            "{typ:?}"
        );
    }
}

#[test]
fn a_kid_is_taken_byte_by_byte() {
    for kid in [
        "",
        " ",
        "a-key ",
        "A-KEY",
        "../../../dev/null",
        "x' UNION SELECT '1';--",
        "|sleep 10",
        "\r\n",
        "\0",
        "ä",
        "a\u{308}",
    ] {
        let token = with("kid", json!(kid));
        let inspected = InspectedToken::inspect(
            token.as_bytes(),
            &issuer(),
            &policy(&json!({})),
            &needed(),
            NOW,
        );
        assert_eq!(inspected.unwrap().key_id(), kid);
    }
}
