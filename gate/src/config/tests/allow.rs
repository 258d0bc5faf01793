//! What rules ask: `require`, `accept`, `audiences`, `allow`.

use std::rc::Rc;

use super::*;

const JOBS: &str = "https://api.example.com/jobs";

/// The smallest configuration with one rule.
fn ruled(rule: &Value) -> Value {
    let mut rule = rule.clone();
    rule["match"] = json!({ "path_prefix": "/a" });
    with(&[("/rules", json!([rule]))])
}

pub(super) fn requirement(rule: &Value) -> Rc<Requirement> {
    let config = accepted(&ruled(rule));
    // `default` takes the same members.
    let default = accepted(&with(&[("/default", rule.clone())])).default;
    assert_eq!(config.rules[0].requirement, default);
    default
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn who_may_pass_is_one_word_or_two() {
    for (require, expected) in [
        (json!("none"), Require::None),
        (json!("optional"), Require::Optional),
        (json!("user"), Require::User),
        (json!(["user"]), Require::User),
    ] {
        assert_eq!(
            requirement(&json!({ "require": require })).require,
            expected
        );
    }
    for (require, expected) in [
        (json!("machine"), Require::Machine),
        (json!(["machine"]), Require::Machine),
        (json!(["user", "machine"]), Require::UserOrMachine),
        (json!(["machine", "user"]), Require::UserOrMachine),
    ] {
        let rule = json!({ "require": require, "audiences": [JOBS] });
        assert_eq!(requirement(&rule).require, expected);
    }
}

#[test]
fn what_counts_follows_from_what_is_asked_unless_it_is_written_out() {
    let accept = |jwt, session| Accept { jwt, session };
    for (rule, expected) in [
        (json!({ "require": "user" }), accept(true, true)),
        (
            json!({ "require": "user", "accept": ["jwt"] }),
            accept(true, false),
        ),
        (
            json!({ "require": "user", "accept": ["session"] }),
            accept(false, true),
        ),
        (
            json!({ "require": "user", "accept": ["session", "jwt"] }),
            accept(true, true),
        ),
        (
            json!({ "require": "user", "audiences": [JOBS] }),
            accept(true, false),
        ),
        (
            json!({ "require": "user", "audiences": [JOBS], "accept": ["jwt", "session"] }),
            accept(true, true),
        ),
        (
            json!({ "require": "machine", "audiences": [JOBS] }),
            accept(true, false),
        ),
    ] {
        assert_eq!(requirement(&rule).accept, expected, "{rule}");
    }
}

#[test]
fn what_can_never_be_met_or_asks_for_nothing_is_refused() {
    let user = |allow: Value| json!({ "require": "user", "allow": allow });
    let machine = |more: Value| {
        let mut rule = json!({ "require": "machine", "audiences": [JOBS] });
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        rule
    };
    for (rule, expected) in [
        (
            json!({ "require": "all" }),
            "require: expected \"none\", \"optional\", \"user\", \"machine\" or [\"user\", \"machine\"], found the string \"all\"",
        ),
        (
            json!({ "require": 1 }),
            "require: expected \"none\", \"optional\", \"user\", \"machine\" or [\"user\", \"machine\"], found the number 1",
        ),
        (
            json!({ "require": [] }),
            "require: expected at least one: \"user\" or \"machine\", found an array",
        ),
        (
            json!({ "require": ["none"] }),
            "require[0]: expected \"user\" or \"machine\", found the string \"none\"",
        ),
        (
            json!({ "require": ["user", "user"] }),
            "require[1]: given more than once: keep one",
        ),
        (
            json!({ "require": "none", "accept": ["jwt"] }),
            "accept: \"require\": \"none\" looks at no credential: leave this out",
        ),
        (
            json!({ "require": "none", "audiences": ["x"] }),
            "audiences: \"require\": \"none\" looks at no credential: leave this out",
        ),
        (
            json!({ "require": "none", "allow": { "verified": true } }),
            "allow: \"require\": \"none\" looks at no credential: leave this out",
        ),
        (
            json!({ "require": "optional", "allow": { "verified": true } }),
            "allow: \"require\": \"optional\" lets everybody pass: nothing can be asked of them; use \"user\"",
        ),
        (
            json!({ "require": "user", "accept": [] }),
            "accept: expected at least one: \"jwt\" or \"session\", found an array",
        ),
        (
            json!({ "require": "user", "accept": ["jwt", "cookie"] }),
            "accept[1]: expected \"jwt\" or \"session\", found the string \"cookie\"",
        ),
        (
            json!({ "require": "user", "audiences": [] }),
            "audiences: expected at least one: an audience, found an array",
        ),
        (
            json!({ "require": "machine" }),
            ": machines need \"audiences\": their tokens are for a resource, never for \"endpoint\"",
        ),
        (
            json!({ "require": ["user", "machine"] }),
            ": machines need \"audiences\": their tokens are for a resource, never for \"endpoint\"",
        ),
        (
            machine(json!({ "accept": ["jwt", "session"] })),
            "accept: no session is a machine's: machines have access tokens, \"jwt\"",
        ),
        (
            machine(json!({ "allow": { "roles_any": ["a"] } })),
            "allow.roles_any: is never met: \"roles_any\" is about a user, and \"require\" takes machines only",
        ),
        (
            machine(
                json!({ "allow": { "any_of": [{ "scopes_all": ["a"] }, { "verified": true }] } }),
            ),
            "allow.any_of: is never met: \"verified\" is about a user, and \"require\" takes machines only",
        ),
        (
            machine(json!({ "require": ["user", "machine"], "allow": { "verified": true } })),
            "allow.verified: no machine meets this: write it into one alternative of \"any_of\", or give users a rule of their own",
        ),
        (
            json!({ "require": "user", "accept": ["session"], "allow": { "scopes_any": ["a"] } }),
            "allow.scopes_any: is never met: \"scopes_any\" is about a token, and \"accept\" takes sessions only",
        ),
        (
            json!({ "require": "user", "accept": ["session"], "allow": { "any_of": [{ "claims": { "a": 1 } }] } }),
            "allow.any_of: is never met: \"claims\" is about a token, and \"accept\" takes sessions only",
        ),
        (user(json!([])), "allow: expected an object, found an array"),
        (
            user(json!({ "roles_any": [] })),
            "allow.roles_any: expected at least one: a role key: visible ASCII without a comma, found an array",
        ),
        (
            user(json!({ "roles_any": ["a,b"] })),
            "allow.roles_any[0]: expected a role key: visible ASCII without a comma, found the string \"a,b\"",
        ),
        (
            user(json!({ "scopes_all": ["a b"] })),
            "allow.scopes_all[0]: expected a scope (RFC 6749 §3.3), found the string \"a b\"",
        ),
        (
            user(json!({ "scopes_all": ["a\""] })),
            "allow.scopes_all[0]: expected a scope (RFC 6749 §3.3), found the string \"a\\\"\"",
        ),
        (
            user(json!({ "verified": "yes" })),
            "allow.verified: expected true or false, found the string \"yes\"",
        ),
        (
            user(json!({ "max_auth_age": 900 })),
            "allow.max_auth_age: expected a duration with a unit, such as \"30s\", from 1s to 365d, found the number 900",
        ),
        (
            user(json!({ "role_any": ["a"] })),
            "allow.role_any: unknown member: did you mean \"roles_any\"?",
        ),
        (
            user(json!({ "claims": {} })),
            "allow.claims: expected at least one claim, found an object",
        ),
        (
            user(json!({ "claims": { "": 1 } })),
            "allow.claims[\"\"]: names no claim: expected a claim's name, or \"/name/name\" for one inside another",
        ),
        (
            user(json!({ "claims": { "/a//b": 1 } })),
            "allow.claims[\"/a//b\"]: names no claim: expected a claim's name, or \"/name/name\" for one inside another",
        ),
        (
            user(json!({ "claims": { "a": null } })),
            "allow.claims.a: expected a string, a number, true or false, an array of these, or { \"present\": true }, found null",
        ),
        (
            user(json!({ "claims": { "a": [] } })),
            "allow.claims.a: expected a string, a number, true or false, an array of these, or { \"present\": true }, found an array",
        ),
        (
            user(json!({ "claims": { "a": [["b"]] } })),
            "allow.claims.a: expected a string, a number, true or false, an array of these, or { \"present\": true }, found an array",
        ),
        (
            user(json!({ "claims": { "a": 9_007_199_254_740_993_u64 } })),
            "allow.claims.a: expected a string, a number, true or false, an array of these, or { \"present\": true }, found the number 9007199254740993",
        ),
        (
            user(json!({ "any_of": [] })),
            "allow.any_of: expected at least one alternative, found an array",
        ),
        (
            user(json!({ "any_of": [{}] })),
            "allow.any_of[0]: asks for nothing, so that everybody meets it: leave \"any_of\" out",
        ),
        (
            user(json!({ "any_of": [{ "any_of": [] }] })),
            "allow.any_of[0].any_of: unknown member",
        ),
    ] {
        let place = if expected.starts_with(':') { "" } else { "." };
        let lines = refused(ruled(&rule).to_string());
        assert!(
            lines.contains(&format!("rules[0]{place}{expected}")),
            "{rule}\n{lines:#?}"
        );
        let lines = refused(with(&[("/default", rule.clone())]).to_string());
        let expected = format!("default{place}{expected}");
        assert!(lines.contains(&expected), "{rule}\n{lines:#?}");
    }
}

#[test]
fn what_no_credential_of_the_project_can_meet_is_refused() {
    for (places, expected) in [
        (
            vec![
                ("/projects/0/session", json!(null)),
                ("/default", json!({ "accept": ["session"] })),
            ],
            "default.accept: is never met: sessions are off (\"session\": null)",
        ),
        (
            vec![
                ("/projects/0/jwt", json!({ "client_ids": ["a", "b"] })),
                ("/default", json!({ "allow": { "client_ids": ["c"] } })),
            ],
            "default.allow.client_ids: is never met: the project's \"jwt.client_ids\" has none of these",
        ),
        (
            vec![
                ("/projects/0/jwt", json!({ "client_ids": ["a", "b"] })),
                (
                    "/default",
                    json!({ "allow": { "any_of": [{ "verified": true }, { "client_ids": ["c"] }] } }),
                ),
            ],
            "default.allow.any_of: is never met: the project's \"jwt.client_ids\" has none of these",
        ),
    ] {
        assert_eq!(refused(with(&places).to_string()), [expected]);
        for place in &places {
            accepted(&with(std::slice::from_ref(place)));
        }
    }
    accepted(&with(&[
        ("/projects/0/jwt", json!({ "audiences": [ENDPOINT, JOBS] })),
        ("/default", json!({ "require": "machine" })),
    ]));
}

#[test]
fn authentication_methods_are_warned_of() {
    let config = accepted(&ruled(&json!({
        "require": "user",
        "allow": { "amr_any": ["mfa"], "any_of": [{ "amr_all": ["otp"] }, { "verified": true }] },
    })));
    let paths = warned_of(&config);
    assert_eq!(
        paths,
        ["rules[0].allow.any_of[0].amr_all", "rules[0].allow.amr_any"]
    );
    assert!(
        config.warnings[0]
            .text
            .contains("first token after a login")
    );
}

#[test]
fn rules_name_so_many_claims_and_no_more() {
    let rule = |nth: usize| {
        json!({ "match": { "path": format!("/{nth}") }, "require": "user",
                "allow": { "any_of": [{ "claims": { format!("claim-{nth}"): 1 } }, { "claims": { "shared": 1 } }] } })
    };
    let rules = |claims: usize| with(&[("/rules", (1..claims).map(rule).collect())]);
    accepted(&rules(64));
    assert_eq!(
        refused(rules(65).to_string()),
        ["rules: name more than 64 claims: as many would be kept of each token"]
    );
}

#[test]
fn a_header_of_a_role_is_its_own() {
    let with_headers = |headers: Value| with(&[("/upstream", json!({ "role_headers": headers }))]);
    let expected = "a header of its own that begins with \"x-authgear-\", in lower case, and is none of the filter's others";
    for (given, line) in [
        (
            json!({ "a": "x-role" }),
            format!("upstream.role_headers.a: expected {expected}, found the string \"x-role\""),
        ),
        (
            json!({ "a": "x-authgear-user-id" }),
            format!(
                "upstream.role_headers.a: expected {expected}, found the string \"x-authgear-user-id\""
            ),
        ),
        (
            json!({ "a": "x-authgear-r", "b": "x-authgear-r" }),
            format!(
                "upstream.role_headers.b: expected {expected}, found the string \"x-authgear-r\""
            ),
        ),
        (
            json!({ "a": true }),
            format!("upstream.role_headers.a: expected {expected}, found true"),
        ),
        (
            json!({ "a,b": "x-authgear-r" }),
            "upstream.role_headers[\"a,b\"]: is no role key: visible ASCII without a comma"
                .to_owned(),
        ),
        (
            json!([]),
            "upstream.role_headers: expected an object, found an array".to_owned(),
        ),
    ] {
        assert_eq!(refused(with_headers(given).to_string()), [line]);
    }
    let many: serde_json::Map<String, Value> = (0..65)
        .map(|nth| (format!("r{nth}"), json!(format!("x-authgear-r{nth}"))))
        .collect();
    assert_eq!(
        refused(with_headers(Value::Object(many)).to_string()),
        ["upstream.role_headers: has more than 64 roles"]
    );
}

#[test]
fn a_path_may_have_any_segments_and_all_below() {
    for (member, text, expected) in [
        (
            "path",
            "/users/*/keys",
            PathPattern::Exact("/users/*/keys".to_owned()),
        ),
        ("path", "/*", PathPattern::Exact("/*".to_owned())),
        ("path", "/*/", PathPattern::Exact("/*/".to_owned())),
        (
            "path",
            "/static/**",
            PathPattern::Prefix("/static/".to_owned()),
        ),
        ("path", "/a/*/**", PathPattern::Prefix("/a/*/".to_owned())),
        ("path", "/**", PathPattern::Prefix("/".to_owned())),
        (
            "path_prefix",
            "/a/*/b",
            PathPattern::Prefix("/a/*/b".to_owned()),
        ),
        (
            "path_prefix",
            "/a/*/",
            PathPattern::Prefix("/a/*/".to_owned()),
        ),
    ] {
        let rule = json!([{ "match": { member: text }, "require": "user" }]);
        let config = accepted(&with(&[("/rules", rule)]));
        assert_eq!(config.rules[0].matches.path, Some(expected), "{text}");
        assert_eq!(config.warnings, []);
    }
}

#[test]
fn so_many_rules_may_be_for_one_path_and_one_host_and_no_more() {
    let rules = |most: usize, of: fn(usize) -> Value| -> Value {
        let rule = |nth| json!({ "match": of(nth), "require": "user" });
        with(&[("/rules", (0..most).map(rule).collect())])
    };
    let by_method = |nth| json!({ "path": "/a", "methods": [format!("M{}", "X".repeat(nth))] });
    let by_host = |nth| json!({ "path": "/a", "hosts": [format!("h{nth}.example")] });
    accepted(&rules(64, by_method));
    assert_eq!(
        refused(rules(65, by_method).to_string()),
        ["rules: more than 64 are for one path and one host"]
    );
    accepted(&rules(10_000, by_host));
}

#[test]
fn what_a_client_writes_is_read() {
    let config = accepted(&with(&[(
        "/rules",
        json!([{
            "match": {
                "headers": { "x-a": "1", "x-b": ["2", "3"] },
                "query": { "c": { "present": false } },
                "not": { "path": "/a/*", "query": { "d.e": "f~" } },
            },
            "require": "user",
        }]),
    )]));
    let is = |name: &str, values: &[&str]| ClientCondition {
        name: name.to_owned(),
        test: ValueTest::Is(texts(values)),
    };
    let matches = &config.rules[0].matches;
    assert_eq!(matches.headers, [is("x-a", &["1"]), is("x-b", &["2", "3"])]);
    let absent = ClientCondition {
        name: "c".to_owned(),
        test: ValueTest::Present(false),
    };
    assert_eq!(matches.query, [absent]);
    let not = matches.not.as_ref().unwrap();
    assert_eq!(not.path, Some(PathPattern::Exact("/a/*".to_owned())));
    assert_eq!(not.query, [is("d.e", &["f~"])]);
    assert_eq!(config.warnings, []);
}

#[test]
fn what_no_rule_can_compare_is_refused() {
    let expected = "expected a string, an array of strings, or { \"present\": true }";
    for (matches, line) in [
        (json!({ "headers": {} }), "headers: expected at least one name, found an object".to_owned()),
        (json!({ "headers": [] }), "headers: expected an object, found an array".to_owned()),
        (json!({ "headers": { "x-a": 1 } }), format!("headers.x-a: {expected}, found the number 1")),
        (json!({ "headers": { "x-a": [] } }), format!("headers.x-a: {expected}, found an array")),
        (json!({ "headers": { "x-a": { "present": 1 } } }), format!("headers.x-a: {expected}, found an object")),
        (json!({ "headers": { "X-A": "1" } }), "headers.X-A: is no name of a header in lower case".to_owned()),
        (json!({ "headers": { ":path": "/" } }), "headers[\":path\"]: is no name of a header in lower case".to_owned()),
        (json!({ "headers": { "host": "a" } }), "headers.host: is compared by \"hosts\"".to_owned()),
        (json!({ "headers": { "cookie": "a" } }), "headers.cookie: credentials are for \"require\", \"accept\" and \"allow\"".to_owned()),
        (json!({ "headers": { "x-authgear-user-id": "a" } }), "headers.x-authgear-user-id: no client's header of this family is ever seen by a rule: ask with \"require\" and \"allow\"".to_owned()),
        (json!({ "headers": { "x-a": " b" } }), "headers.x-a: a header's value is visible ASCII, not empty and without spaces at its ends".to_owned()),
        (json!({ "query": { "a b": "1" } }), "query[\"a b\"]: readers of a query agree only about letters, digits, \"-\", \".\", \"_\" and \"~\": nothing else can be compared".to_owned()),
        (json!({ "query": { "a": "b c" } }), "query.a: readers of a query agree only about letters, digits, \"-\", \".\", \"_\" and \"~\": nothing else can be compared".to_owned()),
        (json!({ "not": {} }), "not: is for every request, so that the rule is for none: leave it out".to_owned()),
        (json!({ "not": { "not": {} } }), "not.not: unknown member: did you mean \"path\"?".to_owned()),
    ] {
        let rule = json!([{ "match": matches, "require": "user" }]);
        let lines = refused(with(&[("/rules", rule)]).to_string());
        let line = format!("rules[0].match.{line}");
        assert!(lines.iter().any(|other| line.starts_with(other.as_str()) || *other == line), "{line}\n{lines:#?}");
    }
}

#[test]
fn a_rule_that_a_client_can_loosen_is_warned_of() {
    let debug = json!({ "headers": { "x-debug": "1" } });
    for (rules, default, warned) in [
        (json!([{ "match": debug, "require": "none" }]), "user", true),
        (
            json!([{ "match": debug, "require": "optional" }]),
            "user",
            true,
        ),
        (
            json!([{ "match": debug, "require": "user" }]),
            "user",
            false,
        ),
        (
            json!([{ "match": debug, "require": "user" }]),
            "none",
            false,
        ),
        (
            json!([{ "match": { "query": { "a": "1" } }, "require": "none" }]),
            "user",
            true,
        ),
        (
            json!([{ "match": { "not": { "query": { "a": "1" } } }, "require": "none" }]),
            "user",
            true,
        ),
        (
            json!([{ "match": { "not": { "path": "/a" } }, "require": "none" }]),
            "user",
            false,
        ),
        (
            json!([{ "match": debug, "require": "none" }, { "match": {}, "require": "none" }]),
            "user",
            false,
        ),
        (
            json!([{ "match": { "path": "/a", "headers": { "x-debug": "1" } }, "require": "none" }, { "match": { "path_prefix": "/b" }, "require": "none" }]),
            "user",
            true,
        ),
        (
            json!([{ "match": debug, "require": "user", "allow": { "verified": true } }, { "match": {}, "require": "user", "allow": { "roles_any": ["a"] } }]),
            "none",
            true,
        ),
    ] {
        let config = accepted(&with(&[
            ("/rules", rules.clone()),
            ("/default", json!({ "require": default })),
        ]));
        let paths = warned_of(&config);
        let expected: &[&str] = if warned { &["rules[0].match"] } else { &[] };
        assert_eq!(paths, expected, "{rules}");
    }
}
