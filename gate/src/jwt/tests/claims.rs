//! The claims but for their times (threats T8, T9, C4 to C6, C8 to C11).

use super::*;
use crate::principal::{ClientId, Subject, UserError};

const MALFORMED: TokenError = TokenError::Claims;

fn identity(token: &Token) -> Vec<(&'static str, String)> {
    let verified = verify(&token.sign(&KEY), &key_of(&KEY), &RustCrypto).unwrap();
    let Some(user) = verified.principal().user() else {
        panic!("a machine");
    };
    let mut headers: Vec<_> = user
        .headers()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    headers.sort();
    headers
}

#[test]
fn a_users_token_says_what_the_resolver_would() {
    for user in [
        User::new("alice").roles(&["admin", "app:editor"]),
        User::new("bob").authenticated_at(None).amr(&[]),
        User::new("carol").anonymous(),
        User::new("dave")
            .verified(false)
            .can_reauthenticate(false)
            .amr(&["mfa", "otp"]),
    ] {
        let token = Token::user(ISSUER, &user)
            .claim("iat", NOW)
            .claim("exp", NOW + 1);
        let expected = user.headers();
        let headers = identity(&token);
        let headers: Vec<_> = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        assert_eq!(headers, expected, "{}", user.name);
    }
}

#[test]
fn the_claims_of_every_token_must_be_there_and_of_their_type() {
    for name in ["iss", "aud", "sub", "exp"] {
        assert_eq!(
            inspect(&alice().without(name).sign(&KEY)),
            Err(MALFORMED),
            "{name} absent"
        );
        let upper = alice().payload().to_string().replace(
            &format!("\"{name}\":"),
            &format!("\"{}\":", name.to_uppercase()),
        );
        assert_eq!(inspect(&paid(upper)), Err(MALFORMED), "{name} in capitals");
        for bad in [json!(null), json!({}), json!(true)] {
            assert_eq!(
                inspect(&alice().claim(name, bad.clone()).sign(&KEY)),
                Err(MALFORMED),
                "{name} {bad}"
            );
        }
    }
    for (name, bad) in [
        ("iss", json!([ISSUER])),
        ("iss", json!(1)),
        ("iss", json!([1])),
        ("iss", json!([[ISSUER]])),
        ("sub", json!(1)),
        ("sub", json!(["a"])),
        ("exp", json!("9999999999")),
        ("exp", json!("never")),
        ("exp", json!([9_999_999_999_u64])),
        ("nbf", json!("0")),
        ("nbf", json!(null)),
        ("nbf", json!([])),
        ("iat", json!("0")),
        ("iat", json!(null)),
        ("iat", json!(-12345)),
        ("iat", json!(2.001e206)),
        ("client_id", json!(1)),
        ("client_id", json!(["a"])),
        ("client_id", json!(null)),
        ("client_id", json!(true)),
        ("client_id", json!({})),
    ] {
        assert_eq!(
            inspect(&alice().claim(name, bad.clone()).sign(&KEY)),
            Err(MALFORMED),
            "{name} {bad}"
        );
    }
}

#[test]
fn a_claim_that_is_given_twice_is_refused_whichever_is_right() {
    let text = alice().payload().to_string();
    let roles = format!("{CLAIMS}roles");
    let flags = ["is_anonymous", "is_verified", "can_reauthenticate"];
    let [anonymous, verified, reauthenticates] = flags.map(|flag| format!("{CLAIMS}{flag}"));
    for name in [
        "sub",
        "exp",
        "aud",
        "iss",
        "iat",
        "client_id",
        "amr",
        "auth_time",
        &roles,
        &anonymous,
        &verified,
        &reauthenticates,
    ] {
        let other = match alice().get(name).unwrap() {
            Value::Bool(flag) => json!(!flag),
            Value::Array(_) => json!(["other"]),
            Value::Number(_) => json!(9_999_999_999_u64),
            _ => json!("other"),
        };
        for value in [alice().get(name).unwrap(), &other] {
            let in_front = text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
            let behind = format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]);
            let escaped = format!(
                "{},\"\\u{:04x}{}\":{value}}}",
                &text[..text.len() - 1],
                name.as_bytes()[0],
                &name[1..]
            );
            for payload in [in_front, behind, escaped] {
                assert_eq!(inspect(&paid(&payload)), Err(MALFORMED), "{payload}");
            }
        }
    }
}

#[test]
fn the_name_of_a_claim_is_the_whole_name_in_its_own_case() {
    let verified = format!("{CLAIMS}is_verified");
    let shouted = format!("{CLAIMS}IS_VERIFIED");
    for (name, other) in [
        ("iss", "Iss"),
        ("aud", "Aud"),
        ("sub", "Sub"),
        ("exp", "Exp"),
        ("exp", "exp "),
        (&verified, &shouted),
    ] {
        let value = alice().get(name).unwrap().clone();
        let token = alice().without(name).claim(other, value);
        assert_eq!(inspect(&token.sign(&KEY)), Err(MALFORMED), "{other}");
    }
}

#[test]
fn only_the_endpoint_itself_is_the_issuer() {
    for iss in [
        "",
        "https://auth.example.com/",
        "https://auth.example.com:443",
        "https://auth.example.com.evil.example",
        "http://auth.example.com",
        "https://Auth.Example.com",
        "HTTPS://auth.example.com",
        "https://user@auth.example.com",
        "https://auth.example.com@evil.example",
        "https://evil.example/https://auth.example.com",
        "https://evil.example#https://auth.example.com",
        "https://uth.example.com",
        "https://authXexample.com",
        "https://auth.example.com\n",
        "https://auth.example.co",
        "auth.example.com",
        " https://auth.example.com",
        "https://auth.example.com ",
        "https://auth.example.com\0",
        "https://аuth.example.com",
    ] {
        assert_eq!(
            inspect(&alice().claim("iss", iss).sign(&KEY)),
            Err(TokenError::Issuer),
            "{iss:?}"
        );
    }
}

#[test]
fn the_audience_is_one_of_the_list_in_full() {
    let mut flood: Vec<String> = (0..10_000)
        .map(|nth| format!("https://{nth}.example.com"))
        .collect();
    flood.push(ISSUER.to_owned());
    for aud in [
        json!(ISSUER),
        json!([ISSUER]),
        json!(["x", ISSUER]),
        json!([ISSUER, ""]),
        json!(flood),
    ] {
        assert_eq!(
            inspect(&alice().audience(aud.clone()).sign(&KEY)),
            Ok(()),
            "{:.100}",
            aud.to_string()
        );
    }
    for aud in [
        json!(""),
        json!([]),
        json!([""]),
        json!("https://auth.example.com/"),
        json!("https://auth.example"),
        json!("https://auth.example.co"),
        json!("auth.example.com"),
        json!("https://auth.example.com\0"),
        json!("https://api.example.com"),
        json!("https://auth.example.com,https://api.example.com"),
        json!("3f2a9c0d11e2b7aa"),
        json!("https://auth.example.com/x"),
        json!("HTTPS://AUTH.EXAMPLE.COM"),
        json!("x,https://auth.example.com"),
        json!("https://auth.example.com https://b"),
        json!(["3f2a9c0d11e2b7aa"]),
    ] {
        assert_eq!(
            inspect(&alice().audience(aud.clone()).sign(&KEY)),
            Err(TokenError::Audience),
            "{aud}"
        );
    }
    for aud in [
        json!([1, 2]),
        json!([ISSUER, 1]),
        json!([1, ISSUER]),
        json!([ISSUER, null]),
        json!([[ISSUER]]),
        json!({ ISSUER: 1 }),
        json!(1),
        json!([null]),
    ] {
        assert_eq!(
            inspect(&alice().audience(aud.clone()).sign(&KEY)),
            Err(MALFORMED),
            "{aud}"
        );
    }
    let others = policy(&json!({ "audiences": ["api-a", "api-b"] }));
    for (aud, expected) in [("api-b", Ok(())), (ISSUER, Err(TokenError::Audience))] {
        assert_eq!(
            inspect_with(&alice().audience(aud).sign(&KEY), &others, NOW),
            expected,
            "{aud}"
        );
    }
}

#[test]
fn a_list_of_clients_lets_no_other_client_in() {
    let listed = policy(&json!({ "client_ids": ["a", "b"] }));
    for (token, expected) in [
        (alice().claim("client_id", "a"), Ok(())),
        (alice().claim("client_id", "b"), Ok(())),
        (alice().claim("client_id", "A"), Err(TokenError::Client)),
        (alice().claim("client_id", ""), Err(TokenError::Client)),
        (alice().claim("client_id", "ab"), Err(TokenError::Client)),
        (alice().without("client_id"), Err(TokenError::Client)),
    ] {
        assert_eq!(
            inspect_with(&token.sign(&KEY), &listed, NOW),
            expected,
            "{token:?}"
        );
    }
    assert_eq!(inspect(&alice().without("client_id").sign(&KEY)), Ok(()));
}

#[test]
fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    for cnf in [json!({ "jkt": "x" }), json!({}), json!(null), json!("x")] {
        assert_eq!(
            inspect(&alice().claim("cnf", cnf.clone()).sign(&KEY)),
            Err(TokenError::SenderConstrained),
            "{cnf}"
        );
    }
}

#[test]
fn a_token_that_says_nothing_of_a_user_is_a_machines() {
    let machine = Token::machine(ISSUER, ISSUER, "m1")
        .claim("iat", NOW)
        .claim("exp", NOW + 10);
    let verified = verify(&machine.sign(&KEY), &key_of(&KEY), &RustCrypto).unwrap();
    let client = ClientId::new("m1");
    assert!(client.is_some());
    assert_eq!(verified.principal().subject(), &Subject::Machine(client));
    // Neither by its subject nor by a claim that only users have does it become one.
    let disguised = alice().subject("client_id_m1");
    assert_eq!(inspect(&disguised.sign(&KEY)), Err(MALFORMED));
    let elsewhere = Token::machine(ISSUER, "https://api.example.com", "m1")
        .claim("iat", NOW)
        .claim("exp", NOW + 10);
    assert_eq!(inspect(&elsewhere.sign(&KEY)), Err(TokenError::Audience));
}

#[test]
fn the_three_flags_of_a_user_are_booleans_and_all_there() {
    for flag in ["is_anonymous", "is_verified", "can_reauthenticate"] {
        let name = format!("{CLAIMS}{flag}");
        for bad in [
            json!("true"),
            json!("false"),
            json!(1),
            json!(0),
            json!(null),
            json!([]),
            json!({}),
        ] {
            assert_eq!(
                inspect(&alice().claim(&name, bad.clone()).sign(&KEY)),
                Err(MALFORMED),
                "{flag} {bad}"
            );
        }
        if flag != "is_anonymous" {
            assert_eq!(
                inspect(&alice().without(&name).sign(&KEY)),
                Err(MALFORMED),
                "{flag} absent"
            );
        }
    }
}

#[test]
fn what_could_add_a_role_or_a_header_is_refused() {
    let roles = format!("{CLAIMS}roles");
    let of = TokenError::Identity;
    let many: Vec<String> = (0..10_000).map(|nth| format!("role_{nth}")).collect();
    for (name, value, expected) in [
        ("sub", json!(""), of(UserError::UserId)),
        ("sub", json!("x".repeat(65_536)), of(UserError::UserId)),
        (
            "sub",
            json!("a\r\nx-authgear-user-roles: admin"),
            of(UserError::UserId),
        ),
        ("sub", json!("a\0"), of(UserError::UserId)),
        ("sub", json!("älice"), of(UserError::UserId)),
        ("sub", json!("a b"), of(UserError::UserId)),
        (&roles, json!(["a,admin"]), of(UserError::Role)),
        (&roles, json!(["a\r\nx: y"]), of(UserError::Role)),
        (&roles, json!([""]), of(UserError::Role)),
        (&roles, json!(["ä"]), of(UserError::Role)),
        (&roles, json!(many), of(UserError::TooLong)),
        (&roles, json!([["admin"]]), MALFORMED),
        (&roles, json!("admin"), MALFORMED),
        (&roles, json!(null), MALFORMED),
        (&roles, json!({ "admin": true }), MALFORMED),
        (&roles, json!(["admin", 1]), MALFORMED),
        ("amr", json!(["pwd mfa"]), of(UserError::Amr)),
        ("amr", json!(["\n"]), of(UserError::Amr)),
        ("amr", json!("pwd"), MALFORMED),
        ("amr", json!([1]), MALFORMED),
        ("amr", json!(null), MALFORMED),
        ("auth_time", json!("1"), MALFORMED),
        ("auth_time", json!(1.5), MALFORMED),
        ("auth_time", json!(null), MALFORMED),
        ("auth_time", json!(1e300), MALFORMED),
        ("auth_time", json!(253_402_300_800_u64), MALFORMED),
    ] {
        let token = alice().claim(name, value.clone()).sign(&KEY);
        assert_eq!(
            inspect(&token),
            Err(expected),
            "{name} {:.100}",
            value.to_string()
        );
    }
    for escaped in [r#""\ud800""#, r#""\udc00\ud800""#] {
        let sub = alice().get("sub").unwrap().to_string();
        let payload = alice().payload().to_string().replace(&sub, escaped);
        assert_eq!(inspect(&paid(payload)), Err(MALFORMED), "{escaped}");
    }
}

#[test]
fn what_a_token_need_not_say_is_left_out_or_empty() {
    let time = "x-authgear-session-authenticated-at";
    let value_of = |token: &Token, header| {
        identity(token)
            .into_iter()
            .find(|(name, _)| *name == header)
            .map(|(_, value)| value)
    };
    for (auth_time, expected) in [
        (json!(1_767_225_590), Some("1767225590")),
        (json!(1_767_225_590.0), Some("1767225590")),
        (json!(0), None),
        (json!(-1), None),
        (json!(-62_135_596_800_i64), None),
        (json!(-1.5e300), None),
        (json!(253_402_300_799_u64), Some("253402300799")),
    ] {
        let token = alice().claim("auth_time", auth_time.clone());
        assert_eq!(value_of(&token, time).as_deref(), expected, "{auth_time}");
    }
    assert_eq!(value_of(&alice().without("auth_time"), time), None);
    assert_eq!(
        value_of(&alice().without("amr"), "x-authgear-session-amr").as_deref(),
        Some("")
    );
    assert_eq!(
        value_of(
            &alice().without(&format!("{CLAIMS}roles")),
            "x-authgear-user-roles"
        ),
        None
    );
    assert_eq!(value_of(&alice().roles(&[]), "x-authgear-user-roles"), None);
    assert_eq!(inspect(&alice().without("scope").sign(&KEY)), Ok(()));
    for strange in [json!(["a"]), json!(7), json!(null), json!(""), json!({})] {
        assert_eq!(
            inspect(&alice().claim("scope", strange).claim("email", 1).sign(&KEY)),
            Ok(())
        );
    }
}
