//! Reference and JSON Schema, member by member, against the parser.

use std::collections::BTreeSet;
use std::fs;

use devkit::envoy::checkout;
use gate::config::Config;
use gate::config::schema::{self, MemberReference};
use serde_json::{Value, json};

use super::markdown::{Document, codes};
use super::{parse, put, schema_validator, smallest};

/// A member as the reference has it.
struct Member {
    /// Its JSON pointer.
    pointer: String,
    /// Its path in the parser's errors.
    path: String,
    reference: MemberReference,
}

fn members() -> Vec<Member> {
    let members: Vec<Member> = schema::members()
        .into_iter()
        .map(|(section, reference)| {
            let section = section.replace("[]", "[0]");
            let path = if section.is_empty() {
                reference.name.to_owned()
            } else {
                format!("{section}.{}", reference.name)
            };
            Member {
                pointer: format!("/{}", path.replace("[0]", "/0").replace('.', "/")),
                path,
                reference,
            }
        })
        .collect();
    assert!(members.len() > 40, "{} members found", members.len());
    members
}

/// The smallest configuration that can have the member.
fn base(member: &Member) -> Value {
    let mut base = smallest();
    if member.pointer.starts_with("/rules/0") {
        put(
            &mut base,
            "/rules",
            json!([{ "match": {}, "require": "user" }]),
        );
    }
    if member.pointer.ends_with("/require") {
        // Machines have tokens for a resource only.
        let resource = json!(["https://auth.example.com", "https://api.example.com"]);
        put(&mut base, "/projects/0/jwt/audiences", resource);
    }
    if member.pointer.starts_with("/rules/0/match/not/") {
        // It is not for every request.
        let something = if member.pointer.ends_with("/methods") {
            json!({ "headers": { "x-a": "b" } })
        } else {
            json!({ "methods": ["GET"] })
        };
        put(&mut base, "/rules/0/match/not", something);
    }
    if member.pointer.starts_with("/rules/0/allow/any_of/0") {
        // Each alternative asks for something.
        let something = if member.pointer.ends_with("/claims") {
            json!({ "verified": true })
        } else {
            json!({ "claims": { "tenant": "acme" } })
        };
        put(&mut base, "/rules/0/allow/any_of", json!([something]));
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

/// What the filter says against it. The schema must be of the same opinion.
fn refusal(configuration: &Value) -> Option<String> {
    let text = configuration.to_string();
    let errors = Config::parse(text.as_bytes()).err();
    let errors = errors.map(|errors| errors.to_string());
    let valid = schema_validator().is_valid(configuration);
    assert_eq!(errors.is_none(), valid, "{configuration}: {errors:?}");
    errors
}

fn accepts(configuration: &Value) -> bool {
    refusal(configuration).is_none()
}

#[test]
fn the_schema_and_the_reference_are_those_of_the_tables() {
    let docs = checkout().join("docs");
    let schema = fs::read_to_string(docs.join("schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert!(
        schema == schema::json_schema(),
        "docs/schema.json is stale: run make schema"
    );
    let reference = fs::read_to_string(docs.join("configuration.md")).unwrap();
    assert!(
        schema::write_reference(&reference).as_ref() == Some(&reference),
        "docs/configuration.md is stale: run make schema"
    );
}

#[test]
fn every_member_takes_values_of_its_type_only() {
    for member in members() {
        let whole = with(&member, json!({ "no such member": [[]] }));
        // Of each that is known the parser has something to say, but not that it is unknown.
        let errors = refusal(&whole).unwrap_or_else(|| panic!("{} is accepted", member.path));
        let own = format!("{}: unknown member", member.path);
        assert!(
            !errors.lines().any(|line| line.starts_with(&own)),
            "{errors}"
        );
        assert!(errors.contains(&member.path), "{errors}");
        for wrong in [json!(0.5), json!(-1), json!([0])] {
            assert!(!accepts(&with(&member, wrong)), "{}", member.path);
        }
        let null = accepts(&with(&member, json!(null)));
        assert_eq!(
            null,
            member.reference.kind.ends_with("`null`"),
            "{}",
            member.path
        );
    }
}

/// Within a block, or by the block's own place.
#[test]
fn every_member_that_can_be_chosen_is_in_an_example() {
    let page = Document::read(&checkout().join("docs/configuration.md"));
    let mut shown = BTreeSet::new();
    for block in &page.blocks {
        if let Some(rest) = block.info.strip_prefix("json filter-config")
            && (rest.is_empty() || rest.starts_with(" at="))
        {
            let at = rest.trim_start_matches(" at=");
            walk(&serde_json::from_str(&block.text).unwrap(), at, &mut shown);
        }
    }
    for member in members() {
        // What has but one value can only be left out; keys are an example of their own.
        let reference = &member.reference;
        let code = |value: &String| format!("`{value}`") == reference.range;
        let only = reference.default.as_ref().is_some_and(code) || reference.range == "both";
        let inline = member.path.ends_with(".inline");
        assert!(
            only || inline || shown.contains(&member.pointer),
            "{}",
            member.path
        );
    }
}

/// The JSON pointers of all members, with the first place of each array for all of its places.
fn walk(value: &Value, at: &str, shown: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let pointer = format!("{at}/{name}");
                walk(value, &pointer, shown);
                shown.insert(pointer);
            }
        }
        Value::Array(items) => {
            let place = format!("{at}/0");
            items.iter().for_each(|item| walk(item, &place, shown));
        }
        _ => {}
    }
}

#[test]
fn a_member_that_is_not_in_the_table_is_refused() {
    for member in members() {
        let (parent, _) = member.pointer.rsplit_once('/').unwrap();
        let mut whole = base(&member);
        put(&mut whole, &format!("{parent}/x-unknown"), json!(1));
        let errors = refusal(&whole).unwrap_or_else(|| panic!("{parent}: accepted"));
        assert!(errors.ends_with("x-unknown: unknown member"), "{errors}");
    }
}

#[test]
fn every_default_of_the_reference_is_the_parsers() {
    let mut seen = 0;
    for member in members() {
        let at = &member.path;
        let Some(default) = &member.reference.default else {
            let mut without = base(&member);
            let (parent, name) = member.pointer.rsplit_once('/').unwrap();
            without
                .pointer_mut(parent)
                .map(|parent| parent.as_object_mut().unwrap().remove(name));
            assert_eq!(accepts(&without), !member.reference.required, "{at}");
            continue;
        };
        let default: Value =
            serde_json::from_str(default).unwrap_or_else(|error| panic!("{at}: {error}"));
        let whole = with(&member, default);
        assert!(accepts(&whole), "{at}: {:?}", parse(&whole));
        assert_eq!(parse(&whole), parse(&base(&member)), "{at}");
        seen += 1;
    }
    assert!(seen > 30, "{seen} defaults found");
}

#[test]
fn every_range_of_the_reference_is_the_parsers() {
    let mut seen = 0;
    for member in members() {
        let at = &member.path;
        let accepts = |value: &Value| accepts(&with(&member, value.clone()));
        let range = &member.reference.range;
        let ends = codes(range);
        let values: Vec<Value> = ends
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        for value in &values {
            assert!(accepts(value), "{at}: {value} is in the range");
        }
        match range.as_str() {
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

#[test]
fn schema_and_parser_read_every_duration_alike() {
    let spans = members().into_iter();
    let spans = spans.filter(|member| member.reference.kind.starts_with("duration"));
    for member in spans {
        for unit in ["ms", "s", "m", "h", "d", "", "S", "y"] {
            for number in [
                "",
                "0",
                "00",
                "1",
                "01",
                "9",
                "10",
                "11",
                "19",
                "20",
                "23",
                "24",
                "25",
                "49",
                "50",
                "59",
                "60",
                "61",
                "99",
                "100",
                "101",
                "299",
                "300",
                "301",
                "364",
                "365",
                "366",
                "599",
                "600",
                "999",
                "1000",
                "1001",
                "1440",
                "1441",
                "3599",
                "3600",
                "3601",
                "9999",
                "10000",
                "59999",
                "60000",
                "60001",
                "86399",
                "86400",
                "86401",
                "99999",
                "100000",
                "525600",
                "525601",
                "604800",
                "604801",
                "3599999",
                "3600000",
                "3600001",
                "86400000",
                "86400001",
                "604800000",
                "604800001",
                "31536000",
                "31536001",
                "31536000000",
                "31536000001",
                "99999999999999999999",
                "-1",
                "+1",
                "1.5",
                "1 ",
            ] {
                accepts(&with(&member, json!(format!("{number}{unit}"))));
            }
        }
    }
}

#[test]
fn schema_and_parser_read_texts_alike() {
    let rule = |conditions: Value| json!([{ "match": conditions, "require": "none" }]);
    let jwt = |name: &str, value: Value| ("/projects/0/jwt", json!({ name: value }));
    let mut seen = (0, 0);
    let mut check = |pointer: &str, value: Value| {
        let mut whole = smallest();
        put(&mut whole, pointer, value);
        match refusal(&whole) {
            None => seen.0 += 1,
            Some(_) => seen.1 += 1,
        }
    };
    for text in [
        "",
        "/",
        "/a",
        "/a/",
        "/a/b.c",
        "/.well-known/x",
        "/a b",
        "/\u{e4}",
        "a",
        "/a/../b",
        "/a/.",
        "/a//b",
        "/a;b",
        "/a\\b",
        "/a?b",
        "/a#b",
        "/a.",
        "/a ",
        "/a./b",
        "/*",
        "/users/{id}",
        "/^a",
        "/(a|b)",
        "/[a]",
        "/<a>",
        "/`a`",
        "/\"a\"",
        "/caf\u{fffd}",
        "/%7Bid%7D",
        "/users/:id",
        "/admin$",
        "/a*b",
        "//",
        "*",
        "https://a/b",
    ] {
        check("/rules", rule(json!({ "path": text })));
        check("/rules", rule(json!({ "path_prefix": text })));
    }
    for text in [
        "", "/", "/a", "/a?b=c&d", "/a//b", "/a b", "/a#b", "/\u{e4}", "/a\r\n", "a", "/\"", "/~",
    ] {
        check("/projects/0/jwks", json!({ "uri": text }));
        check("/projects/0/session", json!({ "path": text }));
    }
    for text in [
        "", "GET", "M-SEARCH", "X_Y", "-", "get", "GET ", "GET,POST", "G1",
    ] {
        check("/rules", rule(json!({ "methods": [text] })));
    }
    for text in [
        "",
        "a",
        "a.example.com",
        "*.example.com",
        "a_b",
        "1.2.3.4",
        "A.example.com",
        "a:80",
        "*",
        "*.",
        "*a.b",
        "a.*.b",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-",
        "a/b",
        "\u{e4}",
    ] {
        check("/rules", rule(json!({ "hosts": [text] })));
    }
    for text in [
        "https://auth.example.com",
        "http://localhost:10001",
        "http://[::1]:3000",
        "https://1.2.3.4",
        "",
        "https://auth.example.com/",
        "https://auth.example.com/a",
        "https://auth.example.com?a",
        "auth.example.com",
        "ftp://auth.example.com",
        "https://user@auth.example.com",
        "https://Auth.example.com",
        "https://a:0",
        "https://a:01",
        "https://a:",
        "https://",
        "https://a b",
    ] {
        check("/projects/0/endpoint", json!(text));
    }
    for text in [
        "",
        "a",
        "x-token",
        "X-Token",
        ":path",
        "a b",
        "a=b",
        "a;b",
        "\u{e4}",
        "a\r\nb",
        "!#$%&'*+-.^_`|~",
        "!#$%&'+-.^_`|~",
        "*session",
    ] {
        check("/projects/0/cookie_prefix", json!(text));
        for (pointer, value) in [
            jwt("cookies", json!([text])),
            jwt("headers", json!([{ "name": text }])),
            jwt("headers", json!([{ "name": "a", "scheme": text }])),
        ] {
            check(pointer, value);
        }
    }
    for text in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA", "", "none",
        "HS256", "rs256", "ES384", "Ed25519",
    ] {
        let (pointer, value) = jwt("algorithms", json!([text]));
        check(pointer, value);
    }
    assert!(seen.0 > 60 && seen.1 > 100, "{seen:?}");
}

#[test]
fn schema_and_parser_see_the_same_members_at_odds() {
    let keys = json!({ "keys": [] });
    let mut refused = 0;
    for (pointer, value) in [
        ("/projects/0/jwks", json!({ "uri": "/a", "discover": true })),
        (
            "/projects/0/jwks",
            json!({ "uri": "/a", "discover": false, "inline": null }),
        ),
        (
            "/projects/0/jwks",
            json!({ "discover": true, "inline": null, "timeout": "1s" }),
        ),
        ("/projects/0/jwks", json!({ "uri": "/a", "inline": keys })),
        (
            "/projects/0/jwks",
            json!({ "discover": true, "inline": keys }),
        ),
        (
            "/projects/0/jwks",
            json!({ "inline": keys, "refresh": "5m" }),
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": [{ "name": "authorization" }] }),
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": [{ "name": "authorization", "scheme": null }] }),
        ),
        (
            "/projects/0/jwt",
            json!({ "headers": [{ "name": "authorization", "scheme": "DPoP" }] }),
        ),
        ("/projects/0/jwt", json!({ "headers": [] })),
        ("/projects/0/jwt", json!({ "audiences": ["a", "a"] })),
        (
            "/projects/0/jwt",
            json!({ "algorithms": ["RS256", "RS256"] }),
        ),
        (
            "/projects/0/session",
            json!({ "cookies": ["session", "session"] }),
        ),
        (
            "/rules",
            json!([{ "match": { "path": "/a", "path_prefix": "/a" }, "require": "none" }]),
        ),
        (
            "/rules",
            json!([{ "match": { "methods": ["GET", "GET"] }, "require": "none" }]),
        ),
        ("/rules", json!([{ "match": {} }])),
        ("/rules", json!([{ "require": "user" }])),
        ("/rules", json!([{ "match": {}, "require": "machines" }])),
        (
            "/rules",
            json!([{ "match": {}, "require": "user", "accept": ["session", "jwt"] }]),
        ),
        (
            "/rules",
            json!([{ "match": {}, "require": "user", "accept": ["jwt"] }]),
        ),
        (
            "/rules",
            json!([{ "match": {}, "require": "user", "allow": { "roles_any": ["a"] } }]),
        ),
        ("/default", json!({ "allow": { "roles_any": [] } })),
        ("/default", json!({ "allow": { "any_of": [] } })),
        (
            "/default",
            json!({ "allow": { "claims": { "a": { "present": true, "b": 1 } } } }),
        ),
        ("/default", json!({ "allow": { "scopes_all": ["a", "a"] } })),
        (
            "/rules",
            json!([{ "match": {}, "require": "user", "on_unauthenticated": "login" }]),
        ),
        ("/projects", json!([])),
        (
            "/projects/1",
            json!({ "endpoint": "http://b.example.com/", "cluster": "b" }),
        ),
        (
            "/projects/0",
            json!({ "endpoint": "https://auth.example.com" }),
        ),
        (
            "/projects/0",
            json!({ "endpoint": "https://auth.example.com", "session": null }),
        ),
        (
            "/projects/0",
            json!({ "endpoint": "https://auth.example.com", "session": { "cluster": "a" } }),
        ),
        ("/projects/0", json!({ "cluster": "authgear" })),
        ("/limits", json!({ "token_bytes": 4096.0 })),
        ("/limits", json!({ "token_bytes": 4096.5 })),
    ] {
        let mut whole = smallest();
        put(&mut whole, pointer, value);
        refused += usize::from(!accepts(&whole));
    }
    assert_eq!(refused, 26);
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
