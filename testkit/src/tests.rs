use super::*;

fn parts(token: &str) -> (String, Value, Value, Vec<u8>) {
    let (input, signature) = token.rsplit_once('.').expect("three segments");
    let (header, payload) = input.split_once('.').expect("three segments");
    let json = |segment| serde_json::from_slice(&unb64(segment).expect("base64url")).expect("JSON");
    (
        input.to_owned(),
        json(header),
        json(payload),
        unb64(signature).expect("base64url"),
    )
}

#[test]
fn every_algorithm_signs_what_it_verifies() {
    let rsa = SigningKey::rsa(0);
    let mut keys = vec![
        SigningKey::es256(),
        SigningKey::ed25519(),
        SigningKey::hs256(b"secret"),
    ];
    for alg in [
        Alg::Rs256,
        Alg::Rs384,
        Alg::Rs512,
        Alg::Ps256,
        Alg::Ps384,
        Alg::Ps512,
    ] {
        keys.push(rsa.clone().with_alg(alg));
    }
    for key in keys {
        let (input, header, _, signature) =
            parts(&Token::user("https://a", &User::new("alice")).sign(&key));
        assert_eq!(
            header,
            json!({"alg": key.alg.name(), "kid": key.kid, "typ": "at+jwt"})
        );
        assert!(key.verify(input.as_bytes(), &signature), "{key:?}");
        assert!(!key.verify(b"something else", &signature), "{key:?}");
    }
}

#[test]
fn the_pool_gives_the_same_key_again_and_another_for_another_number() {
    assert_eq!(SigningKey::rsa(0).jwk(), SigningKey::rsa(0).jwk());
    assert_ne!(SigningKey::rsa(0).kid, SigningKey::rsa(1).kid);
    assert_eq!(
        SigningKey::rsa_bits(1024, 0).jwk()["n"]
            .as_str()
            .map(str::len),
        Some(171)
    );
}

#[test]
fn a_key_is_published_as_authgear_publishes_it() {
    let jwk = SigningKey::rsa(0).jwk();
    let names: Vec<_> = jwk.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["alg", "created_at", "e", "kid", "kty", "n", "use"]);
    assert_eq!(
        (&jwk["e"], &jwk["alg"], &jwk["use"]),
        (&json!("AQAB"), &json!("RS256"), &json!("sig"))
    );
    assert_eq!(jwk["kid"].as_str().map(str::len), Some(36));
}

#[test]
fn a_user_token_carries_the_claims_of_the_contract() {
    let alice = User::new("alice").roles(&["store_manager"]).amr(&["pwd"]);
    let (_, _, payload, _) =
        parts(&Token::user("https://auth.example.com", &alice).sign(&SigningKey::es256()));
    let names: Vec<_> = payload
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "amr",
            "aud",
            "auth_time",
            "client_id",
            "exp",
            "https://authgear.com/claims/user/can_reauthenticate",
            "https://authgear.com/claims/user/is_anonymous",
            "https://authgear.com/claims/user/is_verified",
            "https://authgear.com/claims/user/roles",
            "iat",
            "iss",
            "jti",
            "scope",
            "sub",
        ]
    );
    assert_eq!(payload["aud"], json!(["https://auth.example.com"]));
    assert_eq!(payload["jti"].as_str().map(str::len), Some(64));
}

#[test]
fn a_machine_token_says_nothing_about_a_user() {
    let token = Token::machine("https://a", "https://api.example.com", "m1");
    assert_eq!(token.get("sub"), Some(&json!("client_id_m1")));
    assert!(
        token
            .payload()
            .as_object()
            .expect("an object")
            .keys()
            .all(|name| !name.starts_with(CLAIMS))
    );
}

#[test]
fn claims_and_header_parameters_can_be_left_out() {
    let token = Token::user("https://a", &User::new("alice"))
        .without("sub")
        .without_header("kid")
        .header("typ", 1);
    let (_, header, payload, _) = parts(&token.sign(&SigningKey::es256()));
    assert_eq!(header, json!({"alg": "ES256", "typ": 1}));
    assert_eq!(payload.get("sub"), None);
}

#[test]
fn attack_tokens_have_the_form_they_claim() {
    let token = Token::user("https://a", &User::new("alice"));
    assert!(token.unsigned("none").ends_with('.'));
    let (_, header, _, _) = parts(&token.hs256(b"secret", "some-kid"));
    assert_eq!(
        header,
        json!({"alg": "HS256", "kid": "some-kid", "typ": "at+jwt"})
    );
    let (input, signature) = {
        let signed = SigningKey::hs256(b"").sign_raw(b"[]", b"not json");
        let (input, signature) = signed.rsplit_once('.').expect("three segments");
        (input.to_owned(), signature.to_owned())
    };
    assert_eq!(
        unb64(&signature).as_deref(),
        Some(&SigningKey::hs256(b"").signature(input.as_bytes())[..])
    );
}

#[test]
fn the_twin_of_a_token_is_signed_by_the_same_key() {
    let key = SigningKey::es256();
    let token = Token::user("https://auth.example.com", &User::new("alice")).sign(&key);
    let twin = es256_twin(&token);
    assert_ne!(twin, token);
    assert_eq!(es256_twin(&twin), token);
    for token in [token, twin] {
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = unb64(signature).unwrap();
        assert!(key.verify(input.as_bytes(), &signature));
        assert!(!key.verify(b"another", &signature));
    }
}
