//! What the filter does with an invalid configuration.

use super::*;
use crate::config::invalid::{Consequence, Invalid, OnInvalid};
use crate::time::Ticks;

#[test]
fn what_the_document_says_is_read_whatever_else_is_wrong() {
    for (text, expected) in [
        (r#"{"on_invalid_config":"close"}"#, Some(OnInvalid::Close)),
        (r#"{"on_invalid_config":"refuse"}"#, Some(OnInvalid::Refuse)),
        (
            r#"{"projcets":[],"rules":7,"rules":8,"on_invalid_config":"close","limits":null}"#,
            Some(OnInvalid::Close),
        ),
        (
            r#" {"projects":[{"on_invalid_config":"close"}],"on_invalid_config":"refuse"} "#,
            Some(OnInvalid::Refuse),
        ),
        // Not said, or not clearly.
        ("{}", None),
        ("", None),
        (r#"{"projects":[{"on_invalid_config":"close"}]}"#, None),
        (r#"{"on_invalid_config":"closed"}"#, None),
        (r#"{"on_invalid_config":"Close"}"#, None),
        (r#"{"on_invalid_config":true}"#, None),
        (r#"{"on_invalid_config":null}"#, None),
        (r#"{"on_invalid_config":["close"]}"#, None),
        (r#"{"on-invalid-config":"close"}"#, None),
        (
            r#"{"on_invalid_config":"close","on_invalid_config":"close"}"#,
            None,
        ),
        (
            r#"{"on_invalid_config":"refuse","on_invalid_config":"close"}"#,
            None,
        ),
        // Not to be read.
        (r#"{"on_invalid_config":"close""#, None),
        (r#"{"on_invalid_config":"close"}}"#, None),
        (r#"{"on_invalid_config":"close",}"#, None),
        ("on_invalid_config: close", None),
        (r#""{\"on_invalid_config\":\"close\"}""#, None),
        (r#"[{"on_invalid_config":"close"}]"#, None),
        ("null", None),
    ] {
        assert_eq!(
            OnInvalid::read_leniently(text.as_bytes()),
            expected,
            "{text}"
        );
    }
    let mut not_utf_8 = br#"{"on_invalid_config":"close","x":"?"}"#.to_vec();
    let at = not_utf_8.iter().position(|byte| *byte == b'?').unwrap();
    not_utf_8[at] = 0xff;
    assert_eq!(OnInvalid::read_leniently(&not_utf_8), None);
    let deep = format!(
        r#"{{"on_invalid_config":"close","x":{}}}"#,
        "[".repeat(100_000)
    );
    assert_eq!(OnInvalid::read_leniently(deep.as_bytes()), None);
}

#[test]
fn what_envoy_makes_of_a_struct_is_read_too() {
    // fields { key: "on_invalid_config" value { string_value: "close" } }
    let entry = |value: &[u8]| {
        let name = b"\x0a\x11on_invalid_config\x12";
        let length = u8::try_from(value.len()).unwrap();
        let entry = [&name[..], &[length], value].concat();
        [&[0x0a, u8::try_from(entry.len()).unwrap()], &entry[..]].concat()
    };
    let close = entry(b"\x1a\x05close");
    assert_eq!(OnInvalid::read_leniently(&close), Some(OnInvalid::Close));
    assert_eq!(OnInvalid::read_leniently(&entry(b"\x20\x01")), None);
    assert_eq!(OnInvalid::read_leniently(&close[1..]), None);
}

#[test]
fn the_names_of_envoy_gateway_mean_close() {
    for vm_id in [
        "envoyextensionpolicy/default/authgear/wasm/0",
        "envoyextensionpolicy/a/b/wasm/17",
        "/default/authgear/wasm/0",
        "/x/wasm/wasm/00",
        "/wasm/wasm/wasm/18446744073709551616",
    ] {
        let chosen = OnInvalid::from_vm_id(vm_id.as_bytes());
        assert_eq!(chosen, OnInvalid::Close, "{vm_id}");
    }
    for vm_id in [
        "",
        "/",
        "////",
        "authgear",
        "default/authgear/wasm/0",
        "//default/authgear/wasm/0",
        "envoyextensionpolicy//authgear/wasm/0",
        "envoyextensionpolicy/default//wasm/0",
        "envoyextensionpolicy/default/authgear/wasm/",
        "envoyextensionpolicy/default/authgear/wasm/0/",
        "envoyextensionpolicy/default/authgear/wasm/0/1",
        "envoyextensionpolicy/default/authgear/wasm/-1",
        "envoyextensionpolicy/default/authgear/wasm/0x",
        "envoyextensionpolicy/default/authgear/wasm/\u{663}",
        "envoyextensionpolicy/default/authgear/wasm/0\n",
        "envoyextensionpolicy/default/authgear/Wasm/0",
        "envoyextensionpolicy/default/authgear/lua/0",
        "envoyextensionpolicy/default/wasm/0",
        "EnvoyExtensionPolicy/default/authgear/wasm/0",
        "xenvoyextensionpolicy/default/authgear/wasm/0",
        "securitypolicy/default/authgear/wasm/0",
        " /default/authgear/wasm/0",
    ] {
        let chosen = OnInvalid::from_vm_id(vm_id.as_bytes());
        assert_eq!(chosen, OnInvalid::Refuse, "{vm_id}");
    }
}

#[test]
fn what_the_document_says_goes_before_what_the_names_say() {
    let (gateway, other) = (&b"/ns/name/wasm/0"[..], &b"authgear"[..]);
    for (text, vm_id, expected) in [
        (
            r#"{"on_invalid_config":"refuse"}"#,
            gateway,
            OnInvalid::Refuse,
        ),
        (r#"{"on_invalid_config":"close"}"#, other, OnInvalid::Close),
        (r#"{"on_invalid_config":"close"}"#, b"", OnInvalid::Close),
        ("{", gateway, OnInvalid::Close),
        ("", gateway, OnInvalid::Close),
        (r#"{"on_invalid_config":"off"}"#, gateway, OnInvalid::Close),
        ("{", other, OnInvalid::Refuse),
        (r#"{"on_invalid_config":"off"}"#, b"", OnInvalid::Refuse),
    ] {
        assert_eq!(
            OnInvalid::choose(text.as_bytes(), vm_id),
            expected,
            "{text}"
        );
    }
}

fn at(seconds: u64) -> Ticks {
    Ticks::from_millis(seconds * 1_000)
}

#[test]
fn the_consequence_is_logged_at_once_and_the_errors_every_five_minutes() {
    let errors = Config::parse(br#"{"a":1,"b":2}"#).unwrap_err();
    let mut invalid = Invalid::new(errors, Consequence::Closed);
    let follows = "every request is answered 503, as the configuration was refused and there is none before it";
    assert_eq!(invalid.lines(at(1_000)), [follows]);
    for second in 1_000..1_300 {
        assert!(invalid.lines(at(second)).is_empty(), "{second}");
    }
    let again = [
        "configuration refused: projects: missing: expected an array of projects",
        "configuration refused: a: unknown member",
        "configuration refused: b: unknown member",
        follows,
    ];
    assert_eq!(invalid.lines(at(1_300)), again);
    assert!(invalid.lines(at(1_599)).is_empty());
    assert_eq!(invalid.lines(at(1_600)), again);
}

#[test]
fn of_very_many_errors_ten_are_logged_again() {
    let members: Vec<String> = (0..1_000).map(|nth| format!(r#""{nth}":1"#)).collect();
    let errors = Config::parse(format!("{{{}}}", members.join(",")).as_bytes()).unwrap_err();
    let mut invalid = Invalid::new(errors, Consequence::LastGood);
    let follows = "the last good configuration stays in use, as the new one was refused";
    assert_eq!(invalid.lines(at(0)), [follows]);
    let again = invalid.lines(at(300));
    assert_eq!(again.len(), 12);
    assert_eq!(again[10], "configuration refused: 90 more errors");
    assert_eq!(again[11], follows);
}
