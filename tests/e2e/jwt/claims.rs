//! Who issued a token, and for whom (RFC 9068 §4, RFC 8725 §3.8 to §3.12). Every token here is truly signed; the tables are
//! tried natively, by `gate/src/jwt/tests/claims.rs`.

use devkit::testbed::ORIGIN;
use serde_json::json;

use super::table::Table;

#[tokio::test]
async fn a_token_is_of_this_project_and_for_it() {
    let table = Table::start().await;
    let good = || table.good();
    for (case, token) in [
        ("one audience", good().audience(json!(ORIGIN))),
        (
            "the last audience",
            good().audience(json!(["https://api.example.com", ORIGIN])),
        ),
        ("no scope", good().without("scope")),
        ("no client", good().without("client_id")),
    ] {
        table.admits(case, token.sign(&table.key)).await;
    }
    for (case, token) in [
        (
            "another issuer",
            good().claim("iss", "https://evil.example.com"),
        ),
        (
            "a slash behind the issuer",
            good().claim("iss", format!("{ORIGIN}/")),
        ),
        ("no issuer", good().without("iss")),
        (
            "another audience",
            good().audience("https://api.example.com"),
        ),
        (
            "an audience in which ours stands",
            good().audience(format!("{ORIGIN},https://api.example.com")),
        ),
        ("no audience", good().without("aud")),
        ("a client that is no string", good().claim("client_id", 1)),
    ] {
        table.refuses(case, token.sign(&table.key)).await;
    }
    let payload = table.payload();
    let twice = format!(r#"{{"sub":"mallory",{}"#, &payload[1..]);
    let token = table
        .key
        .sign_raw(table.header().as_bytes(), twice.as_bytes());
    table.refuses("two subjects", token).await;
    table.finish().await;
}
