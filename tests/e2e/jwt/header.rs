//! The JOSE header (RFC 7515 §4): what it must say, and what it may not. The tables are tried natively, by
//! `gate/src/jwt/tests/header.rs`.

use devkit::backend::Backend;
use serde_json::json;

use super::table::Table;

#[tokio::test]
async fn a_header_says_what_an_access_tokens_does_and_nothing_else() {
    let table = Table::start().await;
    for typ in ["AT+JWT", "application/at+jwt"] {
        let token = table.good().header("typ", typ);
        table.admits(typ, token.sign(&table.key)).await;
    }
    for (name, value) in [
        ("alg", json!("none")),
        ("kid", json!(1)),
        ("typ", json!("JWT")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        let token = table.good().header(name, value);
        table.refuses(name, token.sign(&table.key)).await;
    }
    table
        .refuses("an ID token", table.bed.authgear.id_token(&table.bed.alice))
        .await;
    let twice = format!(r#"{{"alg":"none",{}"#, &table.header()[1..]);
    let token = table
        .key
        .sign_raw(twice.as_bytes(), table.payload().as_bytes());
    table.refuses("two algorithms", token).await;
    an_unencoded_payload_is_refused(&table).await;
    a_key_or_its_address_in_the_header_is_never_looked_at(&table).await;
    table.finish().await;
}

/// RFC 7797 to the letter: the payload is not encoded, and signed so.
async fn an_unencoded_payload_is_refused(table: &Table) {
    let header = json!({
        "alg": "RS256", "kid": table.key.kid, "typ": "at+jwt", "b64": false, "crit": ["b64"],
    });
    let header = devkit::keys::b64(header.to_string().as_bytes());
    let token = table.compact(&header, &table.payload().replace('.', ""));
    table.refuses("unencoded payload", token).await;
}

async fn a_key_or_its_address_in_the_header_is_never_looked_at(table: &Table) {
    let listener = Backend::start().await;
    let url = format!("http://{}/keys", listener.address());
    let attacker = devkit::keys::SigningKey::rsa(9);
    let own = table.key.kid.clone();
    let chain = json!(["MIIB", "MIIC"]);
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jwk", attacker.clone().with_kid(&own).jwk()),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("x5c", chain),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
    ] {
        // Signed by the attacker, under the attacker's own kid and under ours.
        for kid in [&attacker.kid, &own] {
            let token = table
                .good()
                .header("kid", kid.as_str())
                .header(name, value.clone());
            let case = format!("{name}, kid {kid}");
            table.refuses(&case, token.sign(&attacker)).await;
        }
        let token = table
            .good()
            .without_header("kid")
            .header(name, value.clone());
        table
            .refuses(&format!("{name}, no kid"), token.sign(&attacker))
            .await;
        // Signed by us, it is only ballast.
        let token = table.good().header(name, value);
        table.admits(name, token.sign(&table.key)).await;
    }
    assert_eq!(listener.requests().len(), 0, "somebody asked the attacker");
}
