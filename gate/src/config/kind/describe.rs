//! What reference and JSON Schema say of each kind.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::schema;
use super::super::table::{Facts, Member, Object, Row, Shown};
use super::super::units::{UNITS, show_duration};
use super::{
    Absent, Array, Choice, Flag, LaterFlag, LaterObject, LaterOrNull, List, Nested, OrNull, Own,
    Span, Text, Whole,
};

/// A kind that can be described.
trait Describe {
    fn facts(&self) -> Facts;

    /// The object that it contains, or a list of which it contains.
    fn object(&self) -> Option<&'static Object> {
        None
    }
}

impl<K: Describe> Row for Member<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn facts(&self) -> Facts {
        self.kind.facts()
    }

    fn object(&self) -> Option<&'static Object> {
        self.kind.object()
    }
}

impl Facts {
    fn new(kind: &str, absent: impl Into<Shown>, range: String, schema: Value) -> Self {
        Self {
            kind: kind.to_owned(),
            absent: absent.into(),
            range,
            schema: match schema {
                Value::Object(schema) => schema,
                _ => Map::new(),
            },
        }
    }

    /// The same for what may also be `null`.
    fn or_null(mut self) -> Self {
        self.kind.push_str(" or `null`");
        if let Some(one) = self.schema.get("type").cloned() {
            self.schema.insert("type".to_owned(), json!([one, "null"]));
        }
        self
    }
}

impl From<Absent> for Shown {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Required => Self::Required,
            Absent::Needed => Self::Needed,
            Absent::Any => Self::Any,
            Absent::Is(json) => Self::Is(json.to_owned()),
            Absent::Like(json) => Self::Like(json.to_owned()),
        }
    }
}

fn is(value: &Value) -> Shown {
    Shown::Is(value.to_string())
}

fn from_to(least: &Value, most: &Value) -> String {
    format!("`{least}` to `{most}`")
}

fn codes(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.map(|word| format!("`\"{word}\"`")).collect();
    words.join(", ")
}

impl Describe for Flag {
    fn facts(&self) -> Facts {
        let schema = json!({ "type": "boolean" });
        Facts::new("boolean", is(&json!(self.0)), String::new(), schema)
    }
}

impl Describe for Whole {
    fn facts(&self) -> Facts {
        let range = from_to(&json!(self.least), &json!(self.most));
        let schema = json!({ "type": "integer", "minimum": self.least, "maximum": self.most });
        Facts::new("whole number", is(&json!(self.default)), range, schema)
    }
}

impl Describe for Span {
    fn facts(&self) -> Facts {
        let show = |duration| json!(show_duration(duration));
        let absent = self
            .default
            .map_or(Shown::Required, |default| is(&show(default)));
        let range = from_to(&show(self.shortest), &show(self.longest));
        let schema = json!({ "type": "string", "pattern": span(self.shortest, self.longest) });
        Facts::new("duration", absent, range, schema)
    }
}

impl<T> Describe for Text<T> {
    fn facts(&self) -> Facts {
        let mut facts = Facts::new("string", self.absent, String::new(), json!({}));
        facts.schema = self.schema();
        facts
    }
}

impl<T> Text<T> {
    fn schema(&self) -> Map<String, Value> {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!("string"));
        if !self.may_be_empty {
            schema.insert("minLength".to_owned(), json!(1));
        }
        match (self.pattern, self.may_be_empty) {
            ("", _) => {}
            (pattern, false) => drop(schema.insert("pattern".to_owned(), json!(pattern))),
            (pattern, true) => {
                let pattern = format!("^$|{pattern}");
                schema.insert("pattern".to_owned(), json!(pattern));
            }
        }
        schema
    }
}

impl<T: Copy + PartialEq> Describe for Choice<T> {
    fn facts(&self) -> Facts {
        let default = self
            .values
            .iter()
            .find(|(_, value)| Some(*value) == self.default);
        let absent = default.map_or(Shown::Required, |(name, _)| is(&json!(name)));
        let names: Vec<&str> = self.values.iter().map(|(name, _)| *name).collect();
        let range = codes(names.iter().map(|name| (*name).to_owned()));
        Facts::new("string", absent, range, json!({ "enum": names }))
    }
}

impl<T> Describe for List<T> {
    fn facts(&self) -> Facts {
        let mut schema =
            json!({ "type": "array", "items": self.item.schema(), "uniqueItems": true });
        let mut range = "";
        if let (false, Value::Object(schema)) = (self.may_be_empty, &mut schema) {
            schema.insert("minItems".to_owned(), json!(1));
            range = "at least one";
        }
        let kind = format!("array of {}", self.noun);
        Facts::new(&kind, self.item.absent, range.to_owned(), schema)
    }
}

impl<K: Describe> Describe for OrNull<K> {
    fn facts(&self) -> Facts {
        let facts = self.0.facts().or_null();
        Facts {
            absent: is(&Value::Null),
            ..facts
        }
    }
}

impl Describe for Nested {
    fn facts(&self) -> Facts {
        let schema = schema::of_object(self.object);
        let facts = Facts::new("object", self.absent, String::new(), schema);
        if self.nullable {
            facts.or_null()
        } else {
            facts
        }
    }

    fn object(&self) -> Option<&'static Object> {
        Some(self.object)
    }
}

impl Describe for Array {
    fn facts(&self) -> Facts {
        let items = schema::of_object(self.object);
        if self.default.is_empty() {
            let schema = json!({ "type": "array", "items": items, "minItems": 1 });
            return Facts::new("array", Shown::Required, "at least one".to_owned(), schema);
        }
        if self.default == Self::NOTHING {
            let schema = json!({ "type": "array", "items": items, "minItems": 1 });
            return Facts::new("array", Shown::Any, "at least one".to_owned(), schema);
        }
        let schema = json!({ "type": "array", "items": items });
        let absent = Shown::Is(self.default.to_owned());
        Facts::new("array", absent, String::new(), schema)
    }

    fn object(&self) -> Option<&'static Object> {
        Some(self.object)
    }
}

impl Describe for LaterFlag {
    fn facts(&self) -> Facts {
        let off = json!(false);
        Facts::new(
            "boolean",
            is(&off),
            format!("`{off}`"),
            json!({ "const": off }),
        )
    }
}

impl Describe for LaterObject {
    fn facts(&self) -> Facts {
        let schema = json!({ "type": "object", "maxProperties": 0 });
        Facts::new("object", is(&json!({})), "`{}`".to_owned(), schema)
    }
}

impl Describe for LaterOrNull {
    fn facts(&self) -> Facts {
        let schema = json!({ "type": "null" });
        Facts::new(
            "object or `null`",
            is(&Value::Null),
            "`null`".to_owned(),
            schema,
        )
    }
}

impl Describe for Own {
    fn facts(&self) -> Facts {
        let facts = &self.facts;
        let schema = schema::parse(facts.schema);
        Facts::new(facts.kind, facts.absent, facts.range.to_owned(), schema)
    }
}

/// A regular expression for the durations of a range.
fn span(shortest: Duration, longest: Duration) -> String {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let units = UNITS.iter().filter_map(|(unit, factor)| {
        let most = millis(longest).checked_div(*factor)?;
        let least = millis(shortest).div_ceil(*factor);
        (least <= most).then(|| format!("{}{unit}", numbers(least, most)))
    });
    format!("^({})$", units.collect::<Vec<_>>().join("|"))
}

/// A regular expression for the numbers of a range, with any zeros at their start.
fn numbers(least: u64, most: u64) -> String {
    let mut parts = Vec::new();
    let mut from = least.max(1);
    // As many numbers at once as share all digits but the last ones, which may be any.
    while from <= most {
        let fits = |tail: &u32| {
            let step = 10_u64.checked_pow(*tail);
            step.is_some_and(|step| {
                let last = from.saturating_add(step.saturating_sub(1));
                from.is_multiple_of(step) && last <= most
            })
        };
        let tail = (1..20).take_while(fits).last().unwrap_or(0);
        let step = 10_u64.checked_pow(tail).unwrap_or(1);
        let head = from.checked_div(step).unwrap_or(0);
        // The last digit of the head, up to 9 or to the end of the range.
        let last = head.checked_rem(10).unwrap_or(0);
        let more = most
            .saturating_add(1)
            .saturating_sub(from)
            .checked_div(step)
            .unwrap_or(1);
        let upto = last.saturating_add(more.saturating_sub(1)).min(9);
        let head = head.checked_div(10).filter(|head| *head > 0);
        let head = head.map_or_else(String::new, |head| head.to_string());
        let digit = if last == upto {
            last.to_string()
        } else {
            format!("[{last}-{upto}]")
        };
        let any = match tail {
            0 => String::new(),
            1 => "[0-9]".to_owned(),
            _ => format!("[0-9]{{{tail}}}"),
        };
        parts.push(format!("{head}{digit}{any}"));
        let taken = upto
            .saturating_sub(last)
            .saturating_add(1)
            .saturating_mul(step);
        from = from.saturating_add(taken);
    }
    let zero = if least == 0 { "0+|" } else { "" };
    if parts.is_empty() {
        return "0+".to_owned();
    }
    format!("({zero}0*({}))", parts.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_numbers_is_a_short_regular_expression() {
        for (least, most, expected) in [
            (1, 9, "(0*([1-9]))"),
            (0, 0, "0+"),
            (0, 5, "(0+|0*([1-5]))"),
            (1, 60, "(0*([1-9]|[1-5][0-9]|60))"),
            (50, 1_000, "(0*([5-9][0-9]|[1-9][0-9]{2}|1000))"),
            (1_000, 1_000, "(0*(1000))"),
        ] {
            assert_eq!(numbers(least, most), expected, "{least} to {most}");
        }
    }
}
