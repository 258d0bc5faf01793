//! Documents that are hardly JSON, or too much of it (threat E8).

use super::*;

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let valid = smallest().to_string();
    for text in [
        " ".to_owned(),
        "{".to_owned(),
        "{'projects':[]}".to_owned(),
        r#"{"projects":[],}"#.to_owned(),
        r#"{"projects":NaN}"#.to_owned(),
        r#"{"projects":1e999}"#.to_owned(),
        r#"{/* no */"projects":[]}"#.to_owned(),
        format!("{valid}{valid}"),
        format!("{valid}x"),
        "projects:\n- endpoint: https://auth.example.com".to_owned(),
        "projects: []".to_owned(),
    ] {
        let lines = refused(&text);
        assert_eq!(lines.len(), 1, "{text}");
        let line = &lines[0];
        assert!(
            line.starts_with("configuration: not valid JSON: "),
            "{text}: {line}"
        );
        assert!(line.contains(" at line "), "{text}: {line}");
    }
}

/// A field of a protobuf message, of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    [&[(number << 3) | 2, length], bytes].concat()
}

#[test]
fn what_hides_the_document_is_named() {
    let (valid, mark) = (smallest().to_string(), "begins with a byte order mark");
    let wrapped = "is wrapped in a TypedStruct or another message: put the members themselves into a google.protobuf.Struct";
    let url = b"type.googleapis.com/authgear.Config";
    let value = field(1, &[field(1, b"rules"), field(2, &[0x08, 0])].concat());
    for (text, expected) in [
        (format!("\u{feff}{valid}").into_bytes(), mark),
        (b"\xef\xbb\xbf".to_vec(), mark),
        // As Envoy hands on a `TypedStruct`, with its value and without.
        ([field(1, url), field(2, &value)].concat(), wrapped),
        (field(1, url), wrapped),
        // And what somebody makes of it in text.
        (
            br#"{"@type":"type.googleapis.com/xds.type.v3.TypedStruct","value":{"projects":[]}}"#
                .to_vec(),
            wrapped,
        ),
        (br#"{"value":{},"type_url":"a"}"#.to_vec(), wrapped),
    ] {
        let lines = refused(&text);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("configuration: ") && lines[0].contains(expected),
            "{lines:?}"
        );
    }
    // No `Struct` is taken for one: nor are its members that have a slash.
    let lines = refused(field(1, &[field(1, b"a/b"), field(2, &[0x08, 0])].concat()));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("[\"a/b\"]: unknown member")),
        "{lines:?}"
    );
}

#[test]
fn an_empty_configuration_beside_one_for_the_vm_is_at_the_wrong_place() {
    let errors = Config::in_vm_config().to_string();
    assert!(
        errors.starts_with("configuration: it is in \"vm_config.configuration\""),
        "{errors}"
    );
    assert!(
        errors.ends_with("move it to \"config.configuration\""),
        "{errors}"
    );
}

#[test]
fn an_empty_configuration_lacks_its_projects() {
    // It is no JSON, but it is an empty `Struct`.
    assert_eq!(
        refused(""),
        ["projects: missing: expected an array of projects"]
    );
}

#[test]
fn what_is_not_utf_8_is_refused() {
    let mut text = smallest().to_string().into_bytes();
    let at = text.windows(4).position(|four| four == b"auth").unwrap();
    for bad in [0xff, 0xc0, 0x80] {
        text[at] = bad;
        assert!(refused(&text)[0].starts_with("configuration: not valid JSON: "));
    }
    let wide: Vec<u8> = smallest()
        .to_string()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(refused(&wide)[0].starts_with("configuration: not valid JSON: "));
}

#[test]
fn what_is_not_an_object_is_refused() {
    for (text, found) in [
        ("[]", "an array"),
        ("null", "null"),
        ("1", "the number 1"),
        ("true", "true"),
        (r#""{}""#, r#"the string "{}""#),
    ] {
        let expected = format!("configuration: expected an object, found {found}");
        assert_eq!(refused(text), [expected]);
    }
}

#[test]
fn nesting_has_an_end() {
    for open in ["[", r#"{"projects":"#, r#"{"projects":[{"jwks":{"inline":"#] {
        let deep = open.repeat(100_000);
        let lines = refused(&deep);
        assert!(
            lines[0].contains("recursion limit exceeded"),
            "{}",
            lines[0]
        );
    }
}
