//! The JOSE header (RFC 7515 §4): what it must say, and what it may not. Every token here is truly signed.

use devkit::backend::Backend;
use serde_json::{Value, json};

use super::table::Table;

#[tokio::test]
async fn a_header_says_what_an_access_tokens_does_and_nothing_else() {
    let table = Table::start().await;
    a_parameter_that_is_given_twice_is_refused(&table).await;
    a_parameter_of_the_wrong_type_or_spelling_is_refused(&table).await;
    only_the_type_of_an_access_token_will_do(&table).await;
    a_parameter_that_changes_the_tokens_meaning_is_refused(&table).await;
    a_key_or_its_address_in_the_header_is_never_looked_at(&table).await;
    table.finish().await;
}

async fn a_parameter_that_is_given_twice_is_refused(table: &Table) {
    let kid = table.key.kid.clone();
    let sign = |header: String| {
        let payload = table.payload();
        table.key.sign_raw(header.as_bytes(), payload.as_bytes())
    };
    let good = |rest: &str| format!(r#"{{{rest}"alg":"RS256","kid":"{kid}","typ":"at+jwt"}}"#);
    table.admits("once each", sign(good(""))).await;
    table
        .admits(
            "an escaped name alone",
            sign(good("").replace("\"alg\"", r#""\u0061lg""#)),
        )
        .await;
    let behind = |rest: &str| format!(r#"{{"alg":"RS256","kid":"{kid}","typ":"at+jwt",{rest}}}"#);
    for member in [
        r#""alg":"none""#.to_owned(),
        r#""alg":"RS256""#.to_owned(),
        r#""\u0061lg":"none""#.to_owned(),
        r#""\u0061lg":"RS256""#.to_owned(),
        r#""kid":"other""#.to_owned(),
        format!(r#""kid":"{kid}""#),
        r#""typ":"JWT""#.to_owned(),
        r#""typ":"at+jwt""#.to_owned(),
        r#""crit":["x"],"crit":[]"#.to_owned(),
    ] {
        let before = sign(good(&format!("{member},")));
        table.refuses(&format!("{member} first"), before).await;
        table
            .refuses(&format!("{member} last"), sign(behind(&member)))
            .await;
    }
}

async fn a_parameter_of_the_wrong_type_or_spelling_is_refused(table: &Table) {
    let wrong = [
        json!(1),
        json!(null),
        json!([]),
        json!({}),
        json!(true),
        json!(""),
    ];
    for name in ["alg", "kid", "typ"] {
        for value in &wrong {
            let token = sign_with(table, name, value);
            table.refuses(&format!("{name}: {value}"), token).await;
        }
        let token = sign_with(
            table,
            name,
            &json!([table.good().header_for(&table.key)[name]]),
        );
        table.refuses(&format!("{name} in an array"), token).await;
    }
    for (right, others) in [
        ("alg", ["ALG", "Alg", "al\u{0261}"]),
        ("kid", ["KID", "Kid", "kid "]),
        ("typ", ["TYP", "Typ", " typ"]),
    ] {
        for other in others {
            let mut header = table.good().header_for(&table.key);
            let value = header.as_object_mut().unwrap().remove(right).unwrap();
            header[other] = value;
            let token = table.key.sign(&header, &table.good().payload());
            table
                .refuses(&format!("{other:?} for {right:?}"), token)
                .await;
        }
    }
}

/// With a header parameter that may be null.
fn sign_with(table: &Table, name: &str, value: &Value) -> String {
    let mut header = table.good().header_for(&table.key);
    header[name] = value.clone();
    table.key.sign(&header, &table.good().payload())
}

async fn only_the_type_of_an_access_token_will_do(table: &Table) {
    for typ in [
        "at+jwt",
        "AT+JWT",
        "At+Jwt",
        "application/at+jwt",
        "Application/AT+jwt",
    ] {
        let token = table.good().header("typ", typ);
        table.admits(typ, token.sign(&table.key)).await;
    }
    for typ in [
        "JWT",
        "jwt",
        " at+jwt",
        "at+jwt ",
        "at+jwt; v=1",
        "at+jwt\0",
        "at-jwt",
        "x-at+jwt",
        "text/at+jwt",
        "application/application/at+jwt",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
    ] {
        let token = table.good().header("typ", typ);
        table.refuses(typ, token.sign(&table.key)).await;
    }
    let token = table.good().without_header("typ");
    table.refuses("no typ", token.sign(&table.key)).await;
    table
        .refuses("an ID token", table.bed.authgear.id_token(&table.bed.alice))
        .await;
    let token = table
        .good()
        .header("typ", "JWT")
        .audience("3f2a9c0d11e2b7aa");
    table.refuses("for a client", token.sign(&table.key)).await;
}

async fn a_parameter_that_changes_the_tokens_meaning_is_refused(table: &Table) {
    for (name, value) in [
        ("crit", json!(["http://example.com/unknown"])),
        ("crit", json!([])),
        ("crit", json!("exp")),
        ("crit", json!(null)),
        ("crit", json!(["alg"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["not-in-the-header"])),
        ("crit", json!(["x", "x"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("zip", json!(null)),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
    ] {
        let token = sign_with(table, name, &value);
        table.refuses(&format!("{name}: {value}"), token).await;
    }
    // RFC 7797 to the letter: the payload is not encoded, and signed so.
    let header = json!({
        "alg": "RS256", "kid": table.key.kid, "typ": "at+jwt", "b64": false, "crit": ["b64"],
    });
    let header = devkit::keys::b64(header.to_string().as_bytes());
    table
        .refuses(
            "unencoded payload",
            table.compact(&header, &table.payload().replace('.', "")),
        )
        .await;
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
