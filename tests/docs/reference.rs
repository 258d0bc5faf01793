//! docs/configuration.md, row by row, against the parser.

use std::fs;

use devkit::envoy::checkout;
use serde_json::{Value, json};

use super::markdown::{Document, Row, code, codes};
use super::{parse, put, smallest};

/// A member as the reference has it.
struct Member {
    at: String,
    name: String,
    /// Its JSON pointer.
    pointer: String,
    /// Its path in the parser's errors.
    path: String,
    default: String,
    range: String,
}

/// The members of all tables with the columns of the reference.
fn members() -> Vec<Member> {
    let document = Document::read(&checkout().join("docs/configuration.md"));
    let of_reference = |row: &&Row| {
        row.columns.first().is_some_and(|name| name == "member") && row.columns.len() == 5
    };
    let rows = document.rows.iter().filter(of_reference);
    let members: Vec<Member> = rows
        .map(|row| {
            let at = document.at(row.line);
            assert_eq!(row.cells.len(), 5, "{at}: cells");
            let name = code(&row.cells[0]).unwrap_or_else(|| panic!("{at}: no member"));
            // The heading of the document itself is not code.
            let section = code(&row.heading).unwrap_or_default().replace("[]", "[0]");
            let path = if section.is_empty() {
                name.to_owned()
            } else {
                format!("{section}.{name}")
            };
            let pointer = format!("/{}", path.replace("[0]", "/0").replace('.', "/"));
            Member {
                at,
                name: name.to_owned(),
                pointer,
                path,
                default: row.cells[2].clone(),
                range: row.cells[3].clone(),
            }
        })
        .collect();
    assert!(members.len() > 40, "{} members found", members.len());
    members
}

/// The smallest configuration in which the member has a place.
fn base(member: &Member) -> Value {
    let mut base = smallest();
    if member.pointer.starts_with("/rules/0") {
        put(
            &mut base,
            "/rules",
            json!([{ "match": {}, "require": "user" }]),
        );
    }
    if member.pointer.starts_with("/projects/0/jwt/headers/0") {
        put(
            &mut base,
            "/projects/0/jwt/headers",
            json!([{ "name": "x-token" }]),
        );
    }
    base
}

fn with(member: &Member, value: Value) -> Value {
    let mut whole = base(member);
    put(&mut whole, &member.pointer, value);
    whole
}

#[test]
fn every_member_of_the_reference_is_known_to_the_parser() {
    for member in members() {
        // Hardly a member takes this; each that is known complains of the value, not of the name.
        let Err(errors) = parse(&with(&member, json!({ "no such member": 0.5 }))) else {
            continue;
        };
        let own = format!("{}: unknown member", member.path);
        assert!(
            !errors.lines().any(|line| line.starts_with(&own)),
            "{}: {errors}",
            member.at
        );
        assert!(errors.contains(&member.path), "{}: {errors}", member.at);
    }
}

#[test]
fn every_default_of_the_reference_is_the_parsers() {
    let mut seen = 0;
    for member in members() {
        let at = format!("{}: {}", member.at, member.path);
        let Some(default) = code(&member.default) else {
            assert!(
                ["required", "any"].contains(&member.default.as_str()),
                "{at}: {:?}",
                member.default
            );
            let mut without = base(&member);
            let (parent, name) = member.pointer.rsplit_once('/').unwrap();
            without
                .pointer_mut(parent)
                .map(|parent| parent.as_object_mut().unwrap().remove(name));
            assert_eq!(
                parse(&without).is_err(),
                member.default == "required",
                "{at}"
            );
            continue;
        };
        let default: Value =
            serde_json::from_str(default).unwrap_or_else(|error| panic!("{at}: {error}"));
        let spelt_out =
            parse(&with(&member, default)).unwrap_or_else(|errors| panic!("{at}: {errors}"));
        assert_eq!(Ok(spelt_out), parse(&base(&member)), "{at}");
        seen += 1;
    }
    assert!(seen > 30, "{seen} defaults found");
}

#[test]
fn every_range_of_the_reference_is_the_parsers() {
    let mut seen = 0;
    for member in members() {
        let at = format!("{}: {}", member.at, member.path);
        let accepts = |value: &Value| parse(&with(&member, value.clone())).is_ok();
        let ends = codes(&member.range);
        let values: Vec<Value> = ends
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        for value in &values {
            assert!(accepts(value), "{at}: {value} is in the range");
        }
        match member.range.as_str() {
            "" | "both" | "exactly one" => continue,
            "at least one" => assert!(!accepts(&json!([])), "{at}: nothing is not one"),
            range if range.contains(" to ") => {
                assert_eq!(ends.len(), 2, "{at}");
                let (below, above) = (beside(&values[0], -1), beside(&values[1], 1));
                assert!(
                    below.is_none_or(|below| !accepts(&below)),
                    "{at}: below the range"
                );
                assert!(
                    above.is_some_and(|above| !accepts(&above)),
                    "{at}: above the range"
                );
            }
            _ => assert!(
                !accepts(&json!("something else")),
                "{at}: the values are all there are"
            ),
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen} ranges found");
}

/// A number or duration a little less or more than this one; nothing below zero.
fn beside(value: &Value, step: i64) -> Option<Value> {
    if let Some(number) = value.as_i64() {
        let number = number + step;
        return (number >= 0).then(|| json!(number));
    }
    let text = value.as_str().unwrap();
    let unit_at = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap();
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => panic!("{text}: no unit"),
    };
    let millis = number.parse::<i64>().unwrap() * factor + step;
    (millis >= 0).then(|| json!(format!("{millis}ms")))
}

/// The parser's own source says which members it asks for.
#[test]
fn every_member_that_the_parser_knows_is_in_the_reference() {
    let documented: Vec<String> = members().into_iter().map(|member| member.name).collect();
    let mut seen = 0;
    for file in [
        "cookie.rs",
        "mod.rs",
        "project.rs",
        "jwt.rs",
        "session.rs",
        "rules.rs",
    ] {
        let source = fs::read_to_string(checkout().join("gate/src/config").join(file)).unwrap();
        for asks in ["get(", "require(", "duration(", "("] {
            for (at, _) in source.match_indices(asks) {
                let rest = source[at + asks.len()..].trim_start();
                let Some((name, after)) =
                    rest.strip_prefix('"').and_then(|rest| rest.split_once('"'))
                else {
                    continue;
                };
                // A bare parenthesis opens the rows of the parser's tables: ("name", &mut …).
                if asks == "("
                    && !after
                        .trim_start_matches([',', ' ', '\n'])
                        .starts_with("&mut")
                {
                    continue;
                }
                assert!(
                    documented.iter().any(|known| known == name),
                    "{file}: {name:?} is not in docs/configuration.md"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen} members found");
}
