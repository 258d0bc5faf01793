//! The operator's options: `projects[].jwt`.

use devkit::keys::{SigningKey, Token};
use devkit::testbed::{ORIGIN, TestBed};
use serde_json::json;

use super::table::Table;

#[tokio::test]
async fn only_what_is_listed_is_an_audience() {
    let api = "https://api.example.com";
    let table = Table::jwt(json!({ "audiences": [api, "urn:shop"] })).await;
    for audience in [
        json!(api),
        json!([api]),
        json!("urn:shop"),
        json!(["x", "urn:shop"]),
    ] {
        let token = table.good().audience(audience.clone());
        table
            .admits(&audience.to_string(), token.sign(&table.key))
            .await;
    }
    table
        .refuses("the project itself", table.good().sign(&table.key))
        .await;
    let token = table.good().audience(api).sign(&table.key);
    assert_eq!(table.bed.get("/").bearer(token).send().await.status, 200);
}

#[tokio::test]
async fn only_tokens_of_listed_clients_pass() {
    let table = Table::jwt(json!({ "client_ids": ["3f2a9c0d11e2b7aa", "shop"] })).await;
    for client in ["3f2a9c0d11e2b7aa", "shop"] {
        let token = table.good().claim("client_id", client);
        table.admits(client, token.sign(&table.key)).await;
    }
    for client in ["Shop", "shop ", "dcrc_1", "", "3f2a9c0d11e2b7aa,shop"] {
        let token = table.good().claim("client_id", client);
        table.refuses(client, token.sign(&table.key)).await;
    }
    for (case, token) in [
        ("none", table.good().without("client_id")),
        (
            "azp instead",
            table.good().without("client_id").claim("azp", "shop"),
        ),
        ("a list", table.good().claim("client_id", json!(["shop"]))),
    ] {
        table.refuses(case, token.sign(&table.key)).await;
    }
    table.finish().await;
}

#[tokio::test]
async fn a_type_need_not_be_given_but_may_not_be_another() {
    let table = Table::jwt(json!({ "require_typ": false })).await;
    for typ in ["at+jwt", "application/at+jwt", "JWT", "jwt"] {
        let token = table.good().header("typ", typ);
        table.admits(typ, token.sign(&table.key)).await;
    }
    table
        .admits("none", table.good().without_header("typ").sign(&table.key))
        .await;
    for typ in ["logout+jwt", "secevent+jwt", "dpop+jwt", "JOSE", "JWT ", ""] {
        let token = table.good().header("typ", typ);
        table.refuses(typ, token.sign(&table.key)).await;
    }
    // An ID token is still refused: its audience is the client.
    table
        .refuses("an ID token", table.bed.authgear.id_token(&table.bed.alice))
        .await;
    table.finish().await;
}

#[tokio::test]
async fn another_algorithm_can_be_allowed_instead() {
    let (ec, rsa) = (SigningKey::es256(), SigningKey::rsa(1));
    let keys = vec![ec.clone(), rsa.clone()];
    let builder = TestBed::builder()
        .project(|project| project["jwt"] = json!({ "algorithms": ["ES256"] }))
        .prepare(move |authgear| authgear.set_keys(keys));
    let table = Table::of(builder).await;
    table.admits("ES256", table.good().sign(&ec)).await;
    table.refuses("RS256", table.good().sign(&rsa)).await;
    table.finish().await;
}

#[tokio::test]
async fn a_token_may_come_in_another_header() {
    let headers = json!([
        { "name": "x-token" },
        { "name": "x-auth", "scheme": "Token" },
        { "name": "authorization", "scheme": "Bearer" },
    ]);
    let table = Table::jwt(json!({ "headers": headers })).await;
    let token = table.bed.token();
    let get = || table.bed.get("/api/me");
    for (case, request) in [
        ("bare", get().header("x-token", &token)),
        ("a scheme", get().header("x-auth", format!("Token {token}"))),
        (
            "a scheme in another case",
            get().header("X-Auth", format!("tOKEN {token}")),
        ),
        ("as usual", get().bearer(&token)),
        (
            "the same twice",
            get().bearer(&token).header("x-token", &token),
        ),
        (
            "beside another scheme",
            get()
                .header("x-token", &token)
                .header("authorization", "Basic YTpi"),
        ),
    ] {
        table.admits_request(case, request).await;
    }
    for (case, request) in [
        (
            "a scheme where none is",
            get().header("x-token", format!("Bearer {token}")),
        ),
        ("garbage", get().header("x-token", "garbage")),
        (
            "the scheme without a token",
            get().header("x-auth", "Token"),
        ),
    ] {
        table.refuses_request(case, request).await;
    }
    let other = table.good().sign(&table.key);
    for (case, request) in [
        (
            "two tokens in two headers",
            get().bearer(&token).header("x-token", &other),
        ),
        (
            "two tokens in one header",
            get().header("x-token", &token).header("x-token", &other),
        ),
        (
            "garbage and a token",
            get().header("x-token", "garbage").bearer(&token),
        ),
    ] {
        let reply = request.send().await;
        assert!(matches!(reply.status, 400 | 401), "{case}: {reply:?}");
        table.bed.assert_nothing_forwarded();
    }
    let reply = get()
        .header("x-auth", format!("Bearer {token}"))
        .send()
        .await;
    assert_eq!(reply.status, 401, "another scheme: {reply:?}");
    table.finish().await;
}

#[tokio::test]
async fn without_a_header_for_it_a_bearer_token_is_not_looked_at() {
    let bed = TestBed::builder()
        .project(|project| project["jwt"] = json!({ "headers": [{ "name": "x-token" }] }))
        .start()
        .await;
    let reply = bed.get("/api/me").bearer(bed.token()).send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    assert_eq!(reply.json()["code"], "unauthenticated");
    bed.assert_nothing_forwarded();
    let reply = bed
        .get("/api/me")
        .header("x-token", bed.token())
        .send()
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn a_token_may_come_in_another_cookie() {
    let jwt = json!({ "cookies": ["shop_token", "other_token"] });
    let table = Table::of(TestBed::builder().project(|project| {
        project["jwt"] = jwt;
        project["session"] = json!(null);
    }))
    .await;
    let token = table.bed.token();
    let get = || table.bed.get("/api/me");
    for (case, cookie) in [
        ("the first", format!("shop_token={token}")),
        ("the second", format!("other_token={token}")),
        (
            "among others",
            format!("a=b; shop_token={token}; session=x"),
        ),
    ] {
        table.admits_request(case, get().cookie(cookie)).await;
    }
    let bad = Token::user(ORIGIN, &table.bed.alice).unsigned("none") + "x";
    let reply = get().cookie(format!("shop_token={bad}")).send().await;
    assert_eq!(reply.status, 401, "a bad one: {reply:?}");
    assert_eq!(reply.json()["code"], "unauthenticated", "{reply:?}");
    table.bed.assert_nothing_forwarded();
    let reply = get()
        .cookie(format!("app_access_token={token}"))
        .send()
        .await;
    assert_eq!(
        reply.status, 401,
        "a name that is not configured: {reply:?}"
    );
    table.finish().await;
}
