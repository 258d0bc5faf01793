//! JSON, with its places.

use std::rc::Rc;

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};

use super::node::{Kind, Member, Node, Scalar, Style};

/// Reads a text that is valid JSON; whether it is, and what is wrong with it, others tell. `None`: it is not, or nests too deep.
pub(in crate::check) fn parse(text: &str) -> Option<Node> {
    let collect = CollectOptions {
        comments: CommentCollectionStrategy::Off,
        tokens: false,
    };
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let value = parse_to_ast(text, &collect, &strict).ok()?.value?;
    Some(node(value))
}

fn node(value: Value<'_>) -> Node {
    let range = value.range();
    let literal = |text: String| {
        Kind::Scalar(Scalar {
            text,
            style: Style::JsonLiteral,
        })
    };
    let kind = match value {
        Value::StringLit(string) => Kind::Scalar(Scalar {
            text: string.value.into_owned(),
            style: Style::JsonString,
        }),
        Value::NumberLit(number) => literal(number.value.to_owned()),
        Value::BooleanLit(flag) => literal(flag.value.to_string()),
        Value::NullKeyword(_) => literal("null".to_owned()),
        Value::Array(array) => {
            let items = array.elements.into_iter();
            Kind::Sequence(items.map(|item| Rc::new(node(item))).collect())
        }
        Value::Object(object) => {
            let members = object.properties.into_iter().map(|property| {
                let span = match &property.name {
                    ObjectPropName::String(name) => name.range,
                    ObjectPropName::Word(name) => name.range,
                };
                Member {
                    name: property.name.into_string(),
                    span: span.start..span.end,
                    value: Rc::new(node(property.value)),
                }
            });
            Kind::Mapping(members.collect())
        }
    };
    Node {
        span: range.start..range.end,
        kind,
    }
}
