//! Which key: the one that `kid` names, byte by byte, and no other (RFC 7517 §4.5, RFC 8725 §3.10).

use devkit::keys::{SigningKey, Token, b64};
use devkit::testbed::{JWKS, ORIGIN, RESOLVER, TestBed};
use serde_json::{Value, json};

use super::table::Table;

/// A project with these keys, and what they are published as.
async fn publishing(keys: Vec<SigningKey>, jwks: Vec<Value>) -> Table {
    let builder = TestBed::builder()
        .project(|project| project["jwt"] = json!({ "algorithms": ["RS256", "ES256"] }))
        .prepare(move |authgear| {
            authgear.set_keys(keys);
            authgear.publish(Some(json!({ "keys": jwks })));
        });
    Table::of(builder).await
}

#[tokio::test]
async fn a_key_is_found_by_its_id_alone() {
    let (first, second) = (SigningKey::rsa(0), SigningKey::rsa(1));
    let special = SigningKey::rsa(2).with_kid("Kid-\u{e9}");
    let keys = vec![first.clone(), second.clone(), special.clone()];
    let jwks = keys.iter().map(SigningKey::jwk).collect();
    let table = publishing(keys, jwks).await;
    for key in [&first, &second, &special] {
        table.admits(&key.kid, table.good().sign(key)).await;
    }
    for (case, token) in [
        (
            "the second key under the first's ID",
            table.good().header("kid", first.kid.as_str()).sign(&second),
        ),
        (
            "the first key under the second's ID",
            table.good().header("kid", second.kid.as_str()).sign(&first),
        ),
        ("no ID", table.good().without_header("kid").sign(&first)),
        ("an empty ID", table.good().header("kid", "").sign(&first)),
    ] {
        table.refuses(case, token).await;
    }
    for kid in [
        "kid-\u{e9}",
        "KID-\u{e9}",
        "Kid-\u{e9} ",
        " Kid-\u{e9}",
        "Kid-e\u{301}",
        "Kid-",
        "Kid-\u{e9}\0",
    ] {
        let token = table.good().header("kid", kid).sign(&special);
        table.refuses(&format!("{kid:?}"), token).await;
    }
    table.finish().await;
}

#[tokio::test]
async fn neither_an_id_nor_a_confirmation_is_interpreted() {
    let table = Table::start().await;
    an_id_is_not_interpreted(&table).await;
    a_token_bound_to_a_key_is_no_bearer_token(&table).await;
    table.finish().await;
}

async fn an_id_is_not_interpreted(table: &Table) {
    let injected = "x\r\n[info] injected";
    for kid in [
        "../../../../../../dev/null",
        "/dev/null",
        "x' UNION SELECT '1';--",
        "|sleep 10",
        "http://127.0.0.1/",
        injected,
        "\0",
        "\u{1b}[31m",
        "%s%n",
        &"k".repeat(8_000),
    ] {
        let token = table.good().header("kid", kid);
        table
            .refuses(&format!("{kid:?}"), token.sign(&table.key))
            .await;
        // An empty secret: what `/dev/null` would give.
        table
            .refuses(&format!("{kid:?}, HS256"), token.hs256(b"", kid))
            .await;
    }
    let log = table.bed.envoy.logs();
    assert!(
        !log.lines().any(|line| line.starts_with("[info] injected")),
        "{log}"
    );
}

#[tokio::test]
async fn a_flood_of_unknown_ids_is_one_fetch() {
    let bed = TestBed::builder()
        .project(|project| project["jwks"] = json!({ "unknown_kid_cooldown": "1h" }))
        .start()
        .await;
    let good = bed.token();
    assert_eq!(bed.get("/api/me").bearer(&good).send().await.status, 200);
    bed.backend.clear();
    bed.authgear.clear_calls();
    let key = bed.authgear.key();
    for nth in 0..200 {
        let token = Token::user(ORIGIN, &bed.alice).header("kid", format!("unknown-{nth}"));
        let reply = bed.get("/api/me").bearer(token.sign(&key)).send().await;
        assert_eq!(reply.status, 401, "{nth}: {reply:?}");
    }
    bed.assert_nothing_forwarded();
    assert!(bed.authgear.calls_to(RESOLVER).is_empty());
    // The main thread's VM fetches once too, before or after the flood began.
    let fetches = bed.authgear.calls_to(JWKS);
    assert!(matches!(fetches.len(), 1 | 2), "{fetches:#?}");
    for fetch in fetches {
        assert_eq!(fetch.header("authorization"), None);
    }
    assert_eq!(bed.get("/api/me").bearer(&good).send().await.status, 200);
    bed.finish().await;
}

#[tokio::test]
async fn a_key_that_is_not_for_signatures_signs_nothing() {
    let (good, bad) = (SigningKey::rsa(0), SigningKey::rsa(1));
    let with = |kid: &str, change: &dyn Fn(&mut Value)| {
        let mut jwk = bad.clone().with_kid(kid).jwk();
        change(&mut jwk);
        jwk
    };
    let secret = SigningKey::hs256(b"a secret that is published").with_kid("oct");
    let jwks = vec![
        with("use enc", &|jwk| jwk["use"] = json!("enc")),
        with("use tls", &|jwk| jwk["use"] = json!("tls")),
        with("key_ops encrypt", &|jwk| {
            jwk["key_ops"] = json!(["encrypt"])
        }),
        with("key_ops sign", &|jwk| jwk["key_ops"] = json!(["sign"])),
        with("key_ops none", &|jwk| jwk["key_ops"] = json!([])),
        with("alg HS256", &|jwk| jwk["alg"] = json!("HS256")),
        with("alg RSA-OAEP", &|jwk| jwk["alg"] = json!("RSA-OAEP")),
        with("", &|_| ()),
        with("no kid", &|jwk| {
            drop(jwk.as_object_mut().unwrap().remove("kid"))
        }),
        json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": b64(b"a secret that is published") }),
        json!({ "kty": "oct", "kid": "oct-rs", "alg": "RS256", "k": b64(b"a secret that is published") }),
        good.jwk(),
        with("fine", &|jwk| {
            jwk["key_ops"] = json!(["verify"]);
            drop(jwk.as_object_mut().unwrap().remove("use"));
            drop(jwk.as_object_mut().unwrap().remove("alg"));
        }),
    ];
    let kids: Vec<_> = jwks
        .iter()
        .filter_map(|jwk| jwk["kid"].as_str().map(str::to_owned))
        .collect();
    let table = publishing(vec![good.clone()], jwks).await;
    for kid in &kids {
        let token = table.good().header("kid", kid.as_str());
        if *kid == good.kid {
            table.admits(kid, token.sign(&good)).await;
        } else if kid == "fine" {
            table.admits(kid, token.sign(&bad)).await;
        } else {
            table.refuses(kid, token.sign(&bad)).await;
        }
    }
    let token = table.good().without_header("kid").sign(&bad);
    table.refuses("the key without an ID", token).await;
    for kid in ["oct", "oct-rs"] {
        let key = secret.clone().with_kid(kid);
        table.refuses(kid, table.good().sign(&key)).await;
        let token = table.good().header("alg", "RS256").sign(&key);
        table.refuses(&format!("{kid}, disguised"), token).await;
    }
    table.finish().await;
}

#[tokio::test]
async fn of_two_keys_with_one_id_the_algorithm_decides_and_then_the_order() {
    let both = [
        SigningKey::rsa(0).with_kid("both"),
        SigningKey::es256().with_kid("both"),
    ];
    let twice = [
        SigningKey::rsa(1).with_kid("twice"),
        SigningKey::rsa(2).with_kid("twice"),
    ];
    let keys = [both.clone(), twice.clone()].concat();
    let jwks = keys.iter().map(SigningKey::jwk).collect();
    let table = publishing(keys, jwks).await;
    table.admits("RSA", table.good().sign(&both[0])).await;
    table.admits("EC", table.good().sign(&both[1])).await;
    table
        .admits("the first of a kind", table.good().sign(&twice[0]))
        .await;
    table
        .refuses("the second of a kind", table.good().sign(&twice[1]))
        .await;
    table.finish().await;
}

async fn a_token_bound_to_a_key_is_no_bearer_token(table: &Table) {
    for confirmation in [
        json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
        json!({}),
        json!(null),
    ] {
        let token = table.good().claim("cnf", confirmation.clone());
        table
            .refuses(&confirmation.to_string(), token.sign(&table.key))
            .await;
    }
    let dpop = table.good().sign(&table.key);
    let request = table
        .bed
        .get("/api/me")
        .header("authorization", format!("DPoP {dpop}"));
    let reply = request.send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    table.bed.assert_nothing_forwarded();
}
