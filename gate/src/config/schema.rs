//! What operators read of the configuration, made from the tables that it is read by: the reference in
//! `docs/configuration.md`, and a JSON Schema (draft 2020-12). `make schema` writes both.

use serde_json::{Map, Value, json};

use super::of_document;
use super::table::{Facts, Object, Row, Shown};

/// The JSON Schema of the configuration.
///
/// It accepts every configuration that the filter accepts. It cannot refuse all that the filter refuses: what depends on
/// the text of another member, what is refused by checks that no regular expression makes, and keys that cannot be used.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = of_object(&of_document::OBJECT);
    if let Value::Object(schema) = &mut schema {
        for (name, value) in [
            ("$schema", "https://json-schema.org/draft/2020-12/schema"),
            ("$id", ID),
            ("title", "Configuration of the Authgear filter for Envoy"),
        ] {
            schema.insert(name.to_owned(), json!(value));
        }
    }
    schema
}

const ID: &str =
    "https://raw.githubusercontent.com/authgear/authgear-envoy-filter/main/docs/schema.json";

/// A member of the configuration, as the reference has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberReference {
    /// Its name.
    pub name: &'static str,
    /// Its type, in words and Markdown.
    pub kind: String,
    /// Its default, in JSON; `None`: it has none.
    pub default: Option<String>,
    /// Whether it must be given.
    pub required: bool,
    /// Which values it takes, in words and Markdown.
    pub range: String,
}

/// All members of the configuration, each with the path of its object: `projects[].jwks`; empty for the document.
#[must_use]
pub fn members() -> Vec<(&'static str, MemberReference)> {
    let all = objects().into_iter();
    all.flat_map(|object| {
        let members = object.members.iter();
        members.map(|row| (object.path, MemberReference::new(*row)))
    })
    .collect()
}

/// The path of a member of the object at `path`, as [`ConfigError`](super::ConfigError) has it. An empty `path` is the document.
#[must_use]
pub fn path_of(path: &str, name: &str) -> String {
    super::field::path_of(path, name)
}

/// `document` with the tables of its members made anew. Each stands between `<!-- members of PATH -->` and
/// `<!-- end -->`, with `the document` for the path of the whole. `None`: a table has no place, or a place no table.
#[must_use]
pub fn write_reference(document: &str) -> Option<String> {
    let mut rest = document;
    let mut written = String::new();
    let mut tables: Vec<(&str, String)> = objects()
        .into_iter()
        .map(|object| (object.path, table(object)))
        .collect();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (path, after) = after.split_once(" -->\n")?;
        let (_, after) = after.split_once(END)?;
        let path = if path == "the document" { "" } else { path };
        let nth = tables.iter().position(|(known, _)| *known == path)?;
        let (_, table) = tables.remove(nth);
        let name = if path.is_empty() {
            "the document"
        } else {
            path
        };
        written.push_str(&format!("{before}{BEGIN}{name} -->\n\n{table}\n{END}"));
        rest = after;
    }
    written.push_str(rest);
    tables.is_empty().then_some(written)
}

const BEGIN: &str = "<!-- members of ";
const END: &str = "<!-- end -->\n";

impl MemberReference {
    fn new(row: &dyn Row) -> Self {
        let Facts {
            kind,
            absent,
            range,
            ..
        } = row.facts();
        let required = matches!(absent, Shown::Required | Shown::Needed);
        Self {
            name: row.name(),
            kind,
            default: match absent {
                Shown::Required | Shown::Needed | Shown::Any => None,
                Shown::Is(json) | Shown::Like(json) => Some(json),
            },
            required,
            range,
        }
    }
}

/// Every object.
fn objects() -> Vec<&'static Object> {
    let mut objects = Vec::new();
    let mut left = vec![&of_document::OBJECT];
    while let Some(object) = left.pop() {
        // A rule and `default` have one object in common.
        let known = |other: &&Object| other.path == object.path;
        if !objects.iter().any(known) {
            left.extend(object.members.iter().filter_map(|row| row.object()));
            objects.push(object);
        }
    }
    objects
}

/// The schema of an object.
pub(super) fn of_object(object: &'static Object) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for row in object.members {
        let Facts {
            absent, mut schema, ..
        } = row.facts();
        schema.insert("description".to_owned(), json!(plain(row.meaning())));
        match absent {
            Shown::Required => required.push(row.name()),
            Shown::Is(json) => drop(schema.insert("default".to_owned(), parse(&json))),
            // A default that depends on other members is no constant.
            Shown::Needed | Shown::Any | Shown::Like(_) => {}
        }
        properties.insert(row.name().to_owned(), Value::Object(schema));
    }
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let Value::Object(schema) = &mut schema {
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if let Value::Object(more) = parse(object.more) {
            schema.extend(more);
        }
    }
    schema
}

/// JSON of a table.
pub(super) fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn table(object: &Object) -> String {
    let mut table =
        "| member | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for row in object.members {
        let MemberReference {
            name,
            kind,
            default,
            required,
            range,
        } = MemberReference::new(*row);
        let default = match (default, required) {
            (Some(json), _) => format!("`{json}`"),
            (None, true) => "required".to_owned(),
            (None, false) => "any".to_owned(),
        };
        let cells = [&format!("`{name}`"), &kind, &default, &range, row.meaning()];
        let cells = cells.map(|cell| {
            if cell.is_empty() {
                " ".to_owned()
            } else {
                format!(" {cell} ")
            }
        });
        table.push_str(&format!("|{}|\n", cells.join("|")));
    }
    table
}

/// Markdown without its links, and without sentences that are nothing but a link to more.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, label, target, after)) = next_link(rest) {
        text.push_str(before);
        if !label.ends_with('.') || target == "#not-yet" {
            text.push_str(label);
        }
        rest = after;
    }
    text.push_str(rest);
    text.trim_end().to_owned()
}

/// What stands before a link, its text, its target, and what stands behind it.
fn next_link(markdown: &str) -> Option<(&str, &str, &str, &str)> {
    let (head, tail) = markdown.split_once("](")?;
    let (target, after) = tail.split_once(')')?;
    // The text of a link may itself have brackets in code: `[`projects[]`](…)`.
    let code = head.rfind("[`").filter(|_| head.ends_with('`'));
    let at = code.or_else(|| head.rfind('['))?;
    let (before, label) = head.split_at_checked(at)?;
    Some((before, label.strip_prefix('[')?, target, after))
}
