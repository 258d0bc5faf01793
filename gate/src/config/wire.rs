//! `google.protobuf.Struct` in its wire form: what Envoy passes on where an operator writes the configuration as YAML
//! members instead of as one JSON string.

use serde_json::Number;

use crate::json::Node;

/// How deep a configuration may nest; no valid one is as deep.
const MAX_DEPTH: u32 = 64;

/// Reads a `Struct`. `None`: the bytes are not one.
pub(super) fn read_struct(bytes: &[u8]) -> Option<Node> {
    structure(bytes, MAX_DEPTH)
}

/// Whether it is a `TypedStruct`, of `udpa.type.v1` or `xds.type.v3`: it begins with the URL of a type, and a `Struct` with an
/// entry, which is a message.
pub(super) fn is_typed_struct(bytes: &[u8]) -> bool {
    let first = Fields(bytes).next().flatten();
    matches!(first, Some((1, Wire::Bytes([b'!'..=b'~', ..]))))
}

/// `message Struct { map<string, Value> fields = 1; }`
fn structure(bytes: &[u8], depth: u32) -> Option<Node> {
    let depth = depth.checked_sub(1)?;
    let mut members = Vec::new();
    for field in Fields(bytes) {
        let (1, Wire::Bytes(entry)) = field? else {
            return None;
        };
        let (mut name, mut value) = ("", Node::Null);
        for field in Fields(entry) {
            match field? {
                (1, Wire::Bytes(text)) => name = std::str::from_utf8(text).ok()?,
                (2, Wire::Bytes(bytes)) => value = self::value(bytes, depth)?,
                _ => return None,
            }
        }
        members.push((name.to_owned(), value));
    }
    Some(Node::Object(members))
}

/// `message Value { oneof kind { … } }`
fn value(bytes: &[u8], depth: u32) -> Option<Node> {
    let depth = depth.checked_sub(1)?;
    let mut node = Node::Null;
    for field in Fields(bytes) {
        node = match field? {
            (1, Wire::Varint(_)) => Node::Null,
            (2, Wire::Double(number)) => Node::Number(Number::from_f64(number)?),
            (3, Wire::Bytes(text)) => Node::String(std::str::from_utf8(text).ok()?.to_owned()),
            (4, Wire::Varint(flag)) => Node::Bool(flag != 0),
            (5, Wire::Bytes(bytes)) => structure(bytes, depth)?,
            (6, Wire::Bytes(bytes)) => list(bytes, depth)?,
            _ => return None,
        };
    }
    Some(node)
}

/// `message ListValue { repeated Value values = 1; }`
fn list(bytes: &[u8], depth: u32) -> Option<Node> {
    let mut items = Vec::new();
    for field in Fields(bytes) {
        let (1, Wire::Bytes(item)) = field? else {
            return None;
        };
        items.push(value(item, depth)?);
    }
    Some(Node::Array(items))
}

enum Wire<'b> {
    Varint(u64),
    Double(f64),
    Bytes(&'b [u8]),
}

/// The fields of a message, by number. `None`: the bytes are no message; it is the last item.
struct Fields<'b>(&'b [u8]);

impl<'b> Iterator for Fields<'b> {
    type Item = Option<(u64, Wire<'b>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, Wire<'b>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Double(f64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((tag >> 3, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[(number << 3) | 2, length], bytes].concat()
    }

    fn entry(name: &str, value: &[u8]) -> Vec<u8> {
        field(1, &[field(1, name.as_bytes()), field(2, value)].concat())
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let number = [&[0x11][..], &300.0_f64.to_le_bytes()].concat();
        let list = field(6, &field(1, &field(3, b"RS256")));
        let message = [
            entry("null", &[0x08, 0]),
            entry("number", &number),
            entry("text", &field(3, "ä".as_bytes())),
            entry("flag", &[0x20, 1]),
            entry("object", &field(5, &entry("inner", &[0x20, 0]))),
            entry("list", &list),
        ]
        .concat();
        let json = r#"{"null":null,"number":300.0,"text":"ä","flag":true,"object":{"inner":false},"list":["RS256"]}"#;
        assert_eq!(read_struct(&message), serde_json::from_str(json).ok());
    }

    #[test]
    fn what_is_no_struct_is_none() {
        let mut deep = field(3, b"x");
        for _ in 0..25 {
            deep = field(6, &field(1, &deep));
        }
        let whole = entry("a", &field(3, b"b"));
        for bytes in [
            &b"\n{"[..],
            b"{}",
            b"\x0a",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x08\x01",
        ] {
            assert_eq!(read_struct(bytes), None, "{bytes:?}");
        }
        for cut in 1..whole.len() {
            assert_eq!(read_struct(&whole[..cut]), None, "{cut}");
        }
        assert!(read_struct(&entry("deep", &deep)).is_some());
        let deeper = (0..10).fold(deep, |inner, _| field(6, &field(1, &inner)));
        assert_eq!(read_struct(&entry("deep", &deeper)), None);
    }
}
