//! What the scalars of YAML are: Envoy and Kubernetes each have a reading of their own.
//!
//! Both follow YAML 1.1, where `yes` is true and `0177` is 127. Envoy 1.40 was asked by `--mode validate` what it makes of each.

use std::collections::HashSet;

use super::node::{Kind, MERGE, Node, Scalar, Style};

/// Who reads the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum Reader {
    /// yaml-cpp, and then what Envoy makes of it: numbers are whole ones of 32 bits, everything else is a string.
    Envoy,
    /// sigs.k8s.io/yaml, of which the API server gets JSON.
    Kubernetes,
}

/// How the value reaches the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum Delivery {
    /// As JSON text.
    Json,
    /// As a `google.protobuf.Struct`, in which all numbers are doubles.
    Struct,
}

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String,
}

/// The JSON that the filter gets of a value.
pub(in crate::check) fn to_json(node: &Node, reader: Reader, delivery: Delivery) -> String {
    let mut json = String::new();
    write(&mut json, node, reader, delivery);
    json
}

/// Whether a scalar is true. `None`: it is no boolean.
pub(in crate::check) fn as_bool(node: &Node, reader: Reader) -> Option<bool> {
    match &node.kind {
        Kind::Scalar(scalar) => match value_of(scalar, reader) {
            Value::Bool(value) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a scalar is a string.
pub(in crate::check) fn is_string(node: &Node, reader: Reader) -> bool {
    matches!(&node.kind, Kind::Scalar(scalar) if value_of(scalar, reader) == Value::String)
}

/// Whether a scalar is null, or there is nothing.
pub(in crate::check) fn is_null(node: &Node, reader: Reader) -> bool {
    matches!(&node.kind, Kind::Scalar(scalar) if value_of(scalar, reader) == Value::Null)
}

fn write(json: &mut String, node: &Node, reader: Reader, delivery: Delivery) {
    match &node.kind {
        Kind::Scalar(scalar) => write_scalar(json, scalar, reader, delivery),
        Kind::Sequence(items) => {
            json.push('[');
            for (nth, item) in items.iter().enumerate() {
                if nth > 0 {
                    json.push(',');
                }
                write(json, item, reader, delivery);
            }
            json.push(']');
        }
        Kind::Mapping(_) => {
            json.push('{');
            write_members(json, node, &mut HashSet::new(), reader, delivery);
            json.push('}');
        }
    }
}

/// Duplicates within one mapping stay: the filter says that they are some. What `<<` brings yields to what is there.
fn write_members<'n>(
    json: &mut String,
    node: &'n Node,
    there: &mut HashSet<&'n str>,
    reader: Reader,
    delivery: Delivery,
) {
    let merges = reader == Reader::Kubernetes;
    for member in node.members() {
        if there.contains(member.name.as_str()) || (merges && member.name == MERGE) {
            continue;
        }
        if !json.ends_with('{') {
            json.push(',');
        }
        push_string(json, &member.name);
        json.push(':');
        write(json, &member.value, reader, delivery);
    }
    if merges {
        there.extend(node.members().iter().map(|member| member.name.as_str()));
        for merged in node.merged() {
            write_members(json, merged, there, reader, delivery);
        }
    }
}

fn write_scalar(json: &mut String, scalar: &Scalar, reader: Reader, delivery: Delivery) {
    match value_of(scalar, reader) {
        Value::Null => json.push_str("null"),
        Value::Bool(value) => json.push_str(if value { "true" } else { "false" }),
        Value::String => push_string(json, &scalar.text),
        // A number of a JSON file is left as it is written, unless it becomes a double.
        Value::Float(_) | Value::Integer(_)
            if scalar.style == Style::JsonLiteral && delivery == Delivery::Json =>
        {
            json.push_str(&scalar.text);
        }
        Value::Integer(number) if delivery == Delivery::Json => json.push_str(&number.to_string()),
        #[allow(clippy::cast_precision_loss, reason = "as in a Struct")]
        Value::Integer(number) => push_double(json, number as f64),
        Value::Float(number) if delivery == Delivery::Struct => push_double(json, number),
        Value::Float(number) => json.push_str(&number.to_string()),
    }
}

fn push_double(json: &mut String, number: f64) {
    json.push_str(&serde_json::Value::from(number).to_string());
}

fn push_string(json: &mut String, text: &str) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

fn value_of(scalar: &Scalar, reader: Reader) -> Value {
    let text = scalar.text.as_str();
    match scalar.style {
        Style::JsonLiteral => match text {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            number => match (number.parse(), number.parse()) {
                (Ok(number), _) => Value::Integer(number),
                (_, Ok(number)) => Value::Float(number),
                _ => Value::String,
            },
        },
        // To Envoy, `!!str 5` is 5, and so is `!!str "5"`.
        Style::TaggedString if reader == Reader::Kubernetes => Value::String,
        Style::Plain | Style::TaggedString => plain(text, reader),
        _ => Value::String,
    }
}

fn plain(text: &str, reader: Reader) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    match reader {
        Reader::Envoy => match integer(text, reader) {
            Some(number) if i32::try_from(number).is_ok() => Value::Integer(number),
            _ => Value::String,
        },
        Reader::Kubernetes => {
            // Rust takes names of numbers as well (`inf`, `nan`), which are none here.
            let may_be_number = text
                .starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
                && text.bytes().any(|byte| byte.is_ascii_digit());
            let digits = text.replace('_', "");
            match (integer(&digits, reader), digits.parse::<f64>()) {
                _ if !may_be_number => Value::String,
                (Some(number), _) => Value::Integer(number),
                (None, Ok(number)) if number.is_finite() => Value::Float(number),
                _ => Value::String,
            }
        }
    }
}

/// Decimal, `0x` hexadecimal, or octal after a `0`; to Kubernetes, `0b` is binary and `0o` octal, too.
fn integer(text: &str, reader: Reader) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefix = digits.get(..2).filter(|_| digits.len() > 2);
    let (radix, digits) = match (prefix, reader) {
        (Some("0x" | "0X"), _) => (16, &digits[2..]),
        (Some("0b"), Reader::Kubernetes) => (2, &digits[2..]),
        (Some("0o"), Reader::Kubernetes) => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // The standard library would take a second sign.
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}
