//! What scalars are to Kubernetes. The right column is what `YAMLToJSON` of sigs.k8s.io/yaml 1.6 makes of the left one.
//!
//! What they are to Envoy is asked of Envoy itself, in `cli/tests/check/envoy.rs`.

use crate::check::read::scalar::{Delivery, Reader, to_json};
use crate::check::read::yaml;

fn json(text: &str, reader: Reader, delivery: Delivery) -> String {
    let (documents, error) = yaml::parse(&format!("a: {text}\n"));
    assert_eq!(error, None, "{text}");
    let value = documents[0].get("a").expect("it was written");
    to_json(value, reader, delivery)
}

#[test]
fn scalars_are_what_kubernetes_makes_of_them() {
    for (text, expected) in [
        ("yes", "true"),
        ("y", "true"),
        ("Y", "true"),
        ("n", "false"),
        ("off", "false"),
        ("oN", r#""oN""#),
        ("On", "true"),
        ("TRUE", "true"),
        ("tRUE", r#""tRUE""#),
        ("~", "null"),
        ("null", "null"),
        ("Null", "null"),
        ("NULL", "null"),
        ("5", "5"),
        ("-5", "-5"),
        ("+5", "5"),
        ("0", "0"),
        ("00", "0"),
        ("0177", "127"),
        ("0o17", "15"),
        ("0x1F", "31"),
        ("0X1f", "31"),
        ("-0x1f", "-31"),
        ("0b101", "5"),
        ("1_000", "1000"),
        ("_1", r#""_1""#),
        ("1__0", "10"),
        ("5.5", "5.5"),
        ("5.0", "5"),
        ("4096.0", "4096"),
        ("4.096e3", "4096"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1e-3", "0.001"),
        ("1e400", r#""1e400""#),
        (".5", "0.5"),
        ("5.", "5"),
        ("+.5", "0.5"),
        ("-.5", "-0.5"),
        ("nan", r#""nan""#),
        ("inf", r#""inf""#),
        ("1:30", r#""1:30""#),
        ("2020-01-01", r#""2020-01-01""#),
        ("2020-01-01T00:00:00Z", r#""2020-01-01T00:00:00Z""#),
        ("!!str 5", r#""5""#),
        (r#"!!int "5""#, "5"),
        (r#"!!str "5""#, r#""5""#),
        (r#""5""#, r#""5""#),
        ("'no'", r#""no""#),
        ("99999999999", "99999999999"),
        ("9223372036854775807", "9223372036854775807"),
        ("089", "89"),
        ("08", "8"),
        ("1.5.5", r#""1.5.5""#),
        ("0.1", "0.1"),
        ("100000000000000000000.0", "100000000000000000000"),
        ("=", r#""=""#),
        ("0x", r#""0x""#),
        ("+", r#""+""#),
        ("1e", r#""1e""#),
        ("0x1.5", r#""0x1.5""#),
        ("0b2", r#""0b2""#),
        ("-0b1", "-1"),
        ("-0177", "-127"),
        ("1_0.5", "10.5"),
        (".5_0", "0.5"),
        ("[yes, 1.0]", "[true,1]"),
    ] {
        assert_eq!(
            json(text, Reader::Kubernetes, Delivery::Json),
            expected,
            "{text}"
        );
    }
}

#[test]
fn numbers_of_a_struct_are_doubles() {
    for (text, expected) in [
        ("5", "5.0"),
        ("0x10", "16.0"),
        ("[1, { a: -1 }]", r#"[1.0,{"a":-1.0}]"#),
    ] {
        assert_eq!(
            json(text, Reader::Envoy, Delivery::Struct),
            expected,
            "{text}"
        );
        assert_eq!(
            json(text, Reader::Kubernetes, Delivery::Struct),
            expected,
            "{text}"
        );
    }
}

#[test]
fn what_is_merged_yields_to_what_is_there() {
    for (text, expected) in [
        ("{ <<: { b: 1, c: 2 }, c: 3 }", r#"{"c":3,"b":1}"#),
        ("{ <<: [{ b: 1 }, { b: 2, d: 4 }] }", r#"{"b":1,"d":4}"#),
        ("{ <<: { <<: { b: 1 }, c: 2 } }", r#"{"c":2,"b":1}"#),
    ] {
        assert_eq!(
            json(text, Reader::Kubernetes, Delivery::Json),
            expected,
            "{text}"
        );
    }
    let kept = json("{ <<: { b: 1 }, c: 3 }", Reader::Envoy, Delivery::Json);
    assert_eq!(kept, r#"{"<<":{"b":1},"c":3}"#);
}
