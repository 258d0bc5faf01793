//! What is read of `allow` and `role_headers`, compared with the types that nothing but the reader makes.

use std::time::Duration;

use super::allow::{requirement, texts};
use super::*;

#[test]
fn every_condition_is_read() {
    let allow = json!({
        "max_auth_age": "15m",
        "amr_all": ["pwd", "otp"],
        "amr_any": ["mfa"],
        "scopes_all": ["read", "write"],
        "scopes_any": ["x:y"],
        "any_of": [{ "verified": false }, { "claims": { "a": 1 }, "roles_all": ["b"] }],
        "claims": { "/org/id": [1, "x", true], "tenant": "acme", "beta": { "present": false } },
        "client_ids": ["app", "https://client.example.com/metadata"],
        "can_reauthenticate": true,
        "anonymous": false,
        "verified": true,
        "roles_all": ["a", "b"],
        "roles_any": ["admin", "app:editor"],
    });
    let path = |text| ClaimPath::parse(text).unwrap();
    let text = |text: &str| Scalar::Text(text.into());
    let expected = [
        Condition::RolesAny(texts(&["admin", "app:editor"])),
        Condition::RolesAll(texts(&["a", "b"])),
        Condition::ClientIds(texts(&["app", "https://client.example.com/metadata"])),
        Condition::Verified(true),
        Condition::Anonymous(false),
        Condition::CanReauthenticate(true),
        Condition::Claim(
            path("/org/id"),
            ClaimTest::AnyOf(vec![Scalar::Number(1.0), text("x"), Scalar::Bool(true)]),
        ),
        Condition::Claim(path("beta"), ClaimTest::Present(false)),
        Condition::Claim(path("tenant"), ClaimTest::AnyOf(vec![text("acme")])),
        Condition::AnyOf(vec![
            vec![Condition::Verified(false)],
            vec![
                Condition::RolesAll(texts(&["b"])),
                Condition::Claim(path("a"), ClaimTest::AnyOf(vec![Scalar::Number(1.0)])),
            ],
        ]),
        Condition::ScopesAny(texts(&["x:y"])),
        Condition::ScopesAll(texts(&["read", "write"])),
        Condition::AmrAny(texts(&["mfa"])),
        Condition::AmrAll(texts(&["pwd", "otp"])),
        Condition::MaxAuthAge(Duration::from_secs(900)),
    ];
    assert_eq!(
        requirement(&json!({ "require": "user", "allow": allow })).allow,
        expected
    );
    let off = json!({ "verified": null, "max_auth_age": null });
    assert_eq!(
        requirement(&json!({ "require": "user", "allow": off })).allow,
        []
    );
    assert_eq!(
        requirement(&json!({ "require": "none", "allow": {} })).allow,
        []
    );
}

#[test]
fn a_role_may_have_a_header_of_its_own() {
    let headers = json!({ "admin": "x-authgear-role-admin", "app:editor": "x-authgear-editor" });
    let config = accepted(&with(&[("/upstream", json!({ "role_headers": headers }))]));
    let mut headers = RoleHeaders::default();
    for (role, header) in [
        ("admin", "x-authgear-role-admin"),
        ("app:editor", "x-authgear-editor"),
    ] {
        headers.add(role, header).unwrap();
    }
    assert_eq!(config.role_headers, headers);
}
