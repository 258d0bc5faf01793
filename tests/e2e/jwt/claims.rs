//! Who issued a token, and for whom (RFC 9068 §4, RFC 8725 §3.8 to §3.12). Every token here is truly signed.

use devkit::testbed::ORIGIN;
use serde_json::{Value, json};

use super::table::Table;

/// What is no string.
fn no_strings() -> [Value; 6] {
    [
        json!(null),
        json!(1),
        json!(true),
        json!({}),
        json!([1]),
        json!([[ORIGIN]]),
    ]
}

#[tokio::test]
async fn a_token_is_of_this_project_and_for_it() {
    let table = Table::start().await;
    a_claim_that_is_given_twice_is_refused(&table).await;
    the_issuer_is_the_project_to_the_letter(&table).await;
    the_audience_is_the_project_whether_alone_or_among_others(&table).await;
    names_of_claims_are_case_sensitive(&table).await;
    scope_may_be_anything_and_a_client_id_only_a_string(&table).await;
    table.finish().await;
}

async fn a_claim_that_is_given_twice_is_refused(table: &Table) {
    let payload = table.payload();
    let sign = |payload: &str| {
        table
            .key
            .sign_raw(table.header().as_bytes(), payload.as_bytes())
    };
    table.admits("once each", sign(&payload)).await;
    for (name, other) in [
        ("iss", json!("https://evil.example.com")),
        ("aud", json!("https://evil.example.com")),
        ("sub", json!("mallory")),
        ("exp", json!(9_999_999_999_u64)),
        ("iat", json!(0)),
        ("client_id", json!("evil")),
        ("auth_time", json!(1)),
        ("amr", json!(["mfa"])),
        ("https://authgear.com/claims/user/roles", json!(["owner"])),
        (
            "https://authgear.com/claims/user/is_anonymous",
            json!(false),
        ),
        ("https://authgear.com/claims/user/is_verified", json!(true)),
        (
            "https://authgear.com/claims/user/can_reauthenticate",
            json!(true),
        ),
    ] {
        let inner = &payload[1..payload.len() - 1];
        let again = table.good().get(name).cloned().unwrap_or(Value::Null);
        for value in [&other, &again] {
            let before = format!(r#"{{"{name}":{value},{inner}}}"#);
            table
                .refuses(&format!("{name}: {value} first"), sign(&before))
                .await;
            let after = format!(r#"{{{inner},"{name}":{value}}}"#);
            table
                .refuses(&format!("{name}: {value} last"), sign(&after))
                .await;
        }
        let escaped = name.replacen(&name[..1], &format!("\\u{:04x}", name.as_bytes()[0]), 1);
        let after = format!(r#"{{{inner},"{escaped}":{other}}}"#);
        table
            .refuses(&format!("{escaped}: {other} last"), sign(&after))
            .await;
    }
}

async fn the_issuer_is_the_project_to_the_letter(table: &Table) {
    for issuer in [
        "",
        "https://auth.example.com/",
        "https://auth.example.com:443",
        "https://AUTH.example.com",
        "HTTPS://auth.example.com",
        "http://auth.example.com",
        "auth.example.com",
        "https://auth.example.com.evil.com",
        "https://auth.example.com@evil.com",
        "https://evil.com/https://auth.example.com",
        "https://evil.com#https://auth.example.com",
        "https://user@auth.example.com",
        "https://auth.example.co",
        "https://uth.example.com",
        "https://authXexample.com",
        "https://auth.example.com ",
        " https://auth.example.com",
        "https://auth.example.com\0",
        "https://auth.example.com\n",
        "https://\u{430}uth.example.com",
    ] {
        let token = table.good().claim("iss", issuer);
        table
            .refuses(&format!("{issuer:?}"), token.sign(&table.key))
            .await;
    }
    for issuer in no_strings().into_iter().chain([json!([ORIGIN])]) {
        let token = table.good().claim("iss", issuer.clone());
        table
            .refuses(&issuer.to_string(), token.sign(&table.key))
            .await;
    }
    let token = table
        .good()
        .without("iss")
        .claim("ISS", ORIGIN)
        .claim("Iss", ORIGIN);
    table.refuses("none", token.sign(&table.key)).await;
}

async fn the_audience_is_the_project_whether_alone_or_among_others(table: &Table) {
    for audience in [
        json!(ORIGIN),
        json!([ORIGIN]),
        json!(["https://api.example.com", ORIGIN]),
        json!([ORIGIN, ""]),
    ] {
        let token = table.good().audience(audience.clone());
        table
            .admits(&audience.to_string(), token.sign(&table.key))
            .await;
    }
    let near = [
        json!(""),
        json!([]),
        json!([""]),
        json!("https://auth.example.com/"),
        json!("https://auth.example.com/api"),
        json!("https://auth.example.co"),
        json!("auth.example.com"),
        json!("https://AUTH.EXAMPLE.COM"),
        json!("https://auth.example.com,https://api.example.com"),
        json!("https://auth.example.com https://api.example.com"),
        json!("https://auth.example.com\0"),
        json!("https://api.example.com"),
        json!("3f2a9c0d11e2b7aa"),
        json!([1, 2]),
        json!([ORIGIN, 1]),
        json!([1, ORIGIN]),
        json!([ORIGIN, null]),
        json!({ ORIGIN: 1 }),
    ];
    for audience in near.into_iter().chain(no_strings()) {
        let token = table.good().audience(audience.clone());
        table
            .refuses(&audience.to_string(), token.sign(&table.key))
            .await;
    }
    let token = table.good().without("aud");
    table.refuses("none", token.sign(&table.key)).await;
}

async fn names_of_claims_are_case_sensitive(table: &Table) {
    for (name, other) in [
        ("iss", "Iss"),
        ("aud", "AUD"),
        ("sub", "Sub"),
        ("exp", "Exp"),
        ("exp", "exp "),
        (
            "https://authgear.com/claims/user/is_verified",
            "https://authgear.com/claims/user/IS_VERIFIED",
        ),
    ] {
        let value = table.good().get(name).cloned().unwrap();
        let token = table.good().without(name).claim(other, value);
        table.refuses(other, token.sign(&table.key)).await;
    }
}

async fn scope_may_be_anything_and_a_client_id_only_a_string(table: &Table) {
    for scope in [json!(1), json!(["a"]), json!(null), json!(""), json!({})] {
        let token = table.good().claim("scope", scope.clone());
        table
            .admits(&format!("scope {scope}"), token.sign(&table.key))
            .await;
    }
    table
        .admits("no scope", table.good().without("scope").sign(&table.key))
        .await;
    table
        .admits(
            "no client",
            table.good().without("client_id").sign(&table.key),
        )
        .await;
    for client in no_strings() {
        let token = table.good().claim("client_id", client.clone());
        table
            .refuses(&format!("client {client}"), token.sign(&table.key))
            .await;
    }
}
