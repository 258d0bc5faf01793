//! Documents that give keys, and those that give none (threats J1, J3).

use super::*;

#[test]
fn what_is_no_key_set_is_malformed() {
    let good = String::from_utf8(named(&["a"])).unwrap();
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "{}",
        "[]",
        "[1]",
        "null",
        "123",
        "\"keys\"",
        "true",
        r#"{"keys":null}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":"a"}"#,
        r#"{"keys":1}"#,
        r#"{"Keys":[]}"#,
        r#"{"keys":[{}],}"#,
        r#"{"keys":[{},]}"#,
        r#"{"keys":[],"keys":[{}]}"#,
        "<!doctype html><title>Log in</title>",
        r#"{"keys":[{"a":NaN}]}"#,
        r#"{"1a2b":"-----BEGIN CERTIFICATE-----"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    bodies.extend(
        (1..good.len())
            .step_by(7)
            .map(|end| good.as_bytes()[..end].to_vec()),
    );
    // Deserialised, an array of the members' values would be as good as the object.
    let keys = good.strip_prefix(r#"{"keys":"#).unwrap();
    bodies.push(format!("[{}]", keys.strip_suffix('}').unwrap()).into_bytes());
    bodies.push(format!("[{good}]").into_bytes());
    bodies.push(format!("{good}{good}").into_bytes());
    bodies.push(format!("{good}x").into_bytes());
    bodies.push(format!("\u{feff}{good}").into_bytes());
    bodies.push(good.encode_utf16().flat_map(u16::to_le_bytes).collect());
    bodies.push([good.as_bytes(), &[0xff]].concat());
    bodies.push("[".repeat(100_000).into_bytes());
    bodies.push(format!(r#"{{"keys":{}"#, "[".repeat(100_000)).into_bytes());
    bodies.push(good.replace("\"a\"", "\"a\u{1}\"").into_bytes());
    for body in bodies {
        let shown = String::from_utf8_lossy(&body);
        let parsed = KeySet::parse(&body).map(|_| ());
        assert!(
            matches!(parsed, Err(DocumentError::Malformed(_))),
            "{shown:.200}: {parsed:?}"
        );
    }
}

#[test]
fn a_set_without_a_usable_key_is_none() {
    assert_eq!(
        KeySet::parse(b" {\"keys\" : [ ] } ").unwrap_err(),
        DocumentError::Empty
    );
    let secret = SigningKey::hs256(b"secret").jwk();
    let error = KeySet::parse(&jwks(&[secret, json!({})])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "has no usable key: keys[0] is of an unsupported kind, keys[1] is malformed"
    );
    let error = KeySet::parse(&jwks(&vec![json!({}); 1_000])).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("keys[4] is malformed, and 995 more"),
        "{error}"
    );
}

#[test]
fn unknown_members_of_the_document_are_ignored() {
    let text = String::from_utf8(named(&["a"])).unwrap();
    let more = text.replacen('{', r#"{"x":{"keys":[]},"y":1,"#, 1);
    let (set, dropped) = KeySet::parse(more.as_bytes()).unwrap();
    assert_eq!((set.count(), dropped.len()), (1, 0));
}

#[test]
fn ten_thousand_keys_are_read_and_one_more_is_not() {
    let jwk = SigningKey::rsa(0).jwk();
    let mut keys: Vec<Value> = (0..10_000)
        .map(|nth| changed(jwk.clone(), &json!({ "kid": nth.to_string() })))
        .collect();
    let (set, dropped) = KeySet::parse(&jwks(&keys)).unwrap();
    assert_eq!((set.count(), dropped.len()), (10_000, 0));
    assert!(set.select("9999", Algorithm::Rs256).is_ok());
    assert_eq!(
        set.select("10000", Algorithm::Rs256).unwrap_err(),
        NoKey::UnknownKeyId
    );
    keys.push(jwk.clone());
    assert_eq!(
        KeySet::parse(&jwks(&keys)).unwrap_err(),
        DocumentError::TooManyKeys
    );
}

#[test]
fn ten_thousand_keys_of_one_id_are_one() {
    let jwk = SigningKey::rsa(0).jwk();
    let (set, dropped) = KeySet::parse(&jwks(&vec![jwk; 10_000])).unwrap();
    assert_eq!((set.count(), dropped.len()), (1, 9_999));
}
