//! What the language has and this version does not: refused by name, but not where it is said to be off.

use super::*;

fn rule(more: &Value) -> Value {
    let mut rule = json!({ "match": { "path_prefix": "/admin/" }, "require": "user" });
    let members = more.as_object().unwrap().clone();
    rule.as_object_mut().unwrap().extend(members);
    json!([rule])
}

#[test]
fn a_feature_of_a_later_version_is_refused_by_its_place() {
    for (place, value, path) in [
        (
            "/projects/0/login",
            json!({ "client_id": "a", "redirect_uri": "https://b/c" }),
            "projects[0].login",
        ),
        (
            "/rules",
            rule(&json!({ "on_unauthenticated": "login" })),
            "rules[0].on_unauthenticated",
        ),
        (
            "/default",
            json!({ "on_unauthenticated": "login" }),
            "default.on_unauthenticated",
        ),
        (
            "/upstream",
            json!({ "strip_credentials": true }),
            "upstream.strip_credentials",
        ),
        (
            "/upstream",
            json!({ "claim_headers": { "email": "x-email" } }),
            "upstream.claim_headers",
        ),
        ("/report_only", json!(true), "report_only"),
    ] {
        let expected = format!("{path}: not supported yet by this version of the filter");
        assert_eq!(refused(with(&[(place, value)]).to_string()), [expected]);
    }
}

#[test]
fn a_feature_of_a_later_version_may_be_said_to_be_off() {
    for (place, value) in [
        ("/projects/0/login", json!(null)),
        ("/rules", rule(&json!({ "on_unauthenticated": "401" }))),
        ("/upstream", json!({})),
        (
            "/upstream",
            json!({ "strip_credentials": false, "claim_headers": {} }),
        ),
        ("/report_only", json!(false)),
    ] {
        accepted(&with(&[(place, value)]));
    }
}

#[test]
fn a_feature_of_a_later_version_must_still_be_spelt_and_typed_as_it_will_be() {
    for (place, value, expected) in [
        (
            "/projects/0/session",
            json!({ "relay_set_cookie": 1 }),
            "projects[0].session.relay_set_cookie: expected true or false, found the number 1",
        ),
        (
            "/rules",
            rule(&json!({ "on_unauthenticated": "302" })),
            "rules[0].on_unauthenticated: expected \"401\" or \"login\", found the string \"302\"",
        ),
        (
            "/rules",
            rule(&json!({ "on_unauthenticated": 401 })),
            "rules[0].on_unauthenticated: expected \"401\" or \"login\", found the number 401",
        ),
        (
            "/upstream",
            json!({ "strip_credentials": "no" }),
            "upstream.strip_credentials: expected true or false, found the string \"no\"",
        ),
        (
            "/upstream",
            json!([]),
            "upstream: expected an object, found an array",
        ),
        (
            "/report_only",
            json!(0),
            "report_only: expected true or false, found the number 0",
        ),
    ] {
        let lines = refused(with(&[(place, value)]).to_string());
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected}\n{lines:#?}"
        );
    }
}
