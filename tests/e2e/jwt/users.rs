//! What a token says of its user: passed to the backend without ambiguity, or not at all.

use devkit::keys::{CLAIMS, Token, User, now};
use devkit::testbed::{ORIGIN, TestBed};
use serde_json::{Value, json};

use super::table::Table;

fn claim(name: &str) -> String {
    format!("{CLAIMS}{name}")
}

#[tokio::test]
async fn users_are_reported_as_the_resolver_would_report() {
    let bed = TestBed::start().await;
    every_kind_of_user_is_reported_as_the_resolver_would_report(&bed).await;
    claims_that_authgear_leaves_out_are_optional(&bed).await;
    a_subject_with_a_comma_is_reported_as_it_is(&bed).await;
    bed.finish().await;
}

async fn every_kind_of_user_is_reported_as_the_resolver_would_report(bed: &TestBed) {
    for user in [
        User::new("plain"),
        User::new("roles").roles(&["stock_view", "app:editor"]),
        User::new("unverified").verified(false),
        User::new("frozen").can_reauthenticate(false),
        User::new("guest").anonymous(),
        User::new("methods").amr(&["pwd", "mfa", "otp"]),
        User::new("no-methods").amr(&[]),
        User::new("timeless").authenticated_at(None),
        User::new("before-time").authenticated_at(Some(1)),
    ] {
        let user = bed.authgear.add_user(user);
        let by_token = bed.get("/token").bearer(bed.authgear.access_token(&user));
        assert_eq!(by_token.send().await.status, 200, "{user:?}");
        assert_eq!(
            bed.only_forwarded().identity(),
            user.headers(),
            "{user:?}, by token"
        );
        bed.backend.clear();
        let cookie = format!("session={}", bed.authgear.session(&user));
        assert_eq!(bed.get("/session").cookie(cookie).send().await.status, 200);
        assert_eq!(
            bed.only_forwarded().identity(),
            user.session_headers(),
            "{user:?}, by session"
        );
        bed.backend.clear();
    }
    bed.backend.clear();
}

async fn claims_that_authgear_leaves_out_are_optional(bed: &TestBed) {
    let key = bed.authgear.key();
    let sparse = Token::user(ORIGIN, &bed.alice)
        .without("amr")
        .without("auth_time")
        .without("scope")
        .without("jti")
        .without(&claim("roles"));
    let reply = bed.get("/api/me").bearer(sparse.sign(&key)).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let same = bed.alice.clone().roles(&[]).amr(&[]).authenticated_at(None);
    assert_eq!(bed.only_forwarded().identity(), same.headers());
    bed.backend.clear();

    // An unknown time is a negative number (contract §6.2), a whole one may be a double, and roles may be empty.
    for (case, at) in [("unknown", json!(-62_135_596_800_i64)), ("zero", json!(0))] {
        let token = Token::user(ORIGIN, &bed.alice).claim("auth_time", at);
        bed.get("/api/me").bearer(token.sign(&key)).send().await;
        let same = bed.alice.clone().authenticated_at(None);
        assert_eq!(bed.only_forwarded().identity(), same.headers(), "{case}");
        bed.backend.clear();
    }
    let at = now();
    let token = Token::user(ORIGIN, &bed.alice)
        .claim("auth_time", json!(at as f64))
        .roles(&[]);
    bed.get("/api/me").bearer(token.sign(&key)).send().await;
    let same = bed.alice.clone().authenticated_at(Some(at)).roles(&[]);
    assert_eq!(bed.only_forwarded().identity(), same.headers());
    bed.backend.clear();
}

#[tokio::test]
async fn what_cannot_be_reported_without_ambiguity_is_refused() {
    let table = Table::start().await;
    a_claim_about_the_user_of_the_wrong_type_is_refused(&table).await;
    no_claim_can_inject_a_role_or_a_header(&table).await;
    a_subject_is_visible_ascii_of_a_sensible_length(&table).await;
    table.finish().await;
}

async fn a_claim_about_the_user_of_the_wrong_type_is_refused(table: &Table) {
    for name in ["is_anonymous", "is_verified", "can_reauthenticate"] {
        for value in [
            json!("true"),
            json!("false"),
            json!(1),
            json!(0),
            json!(null),
            json!([]),
            json!({}),
        ] {
            let token = table.good().claim(&claim(name), value.clone());
            table
                .refuses(&format!("{name}: {value}"), token.sign(&table.key))
                .await;
        }
        // Without `is_anonymous` it is no user's token.
        if name != "is_anonymous" {
            let token = table.good().without(&claim(name));
            table
                .refuses(&format!("no {name}"), token.sign(&table.key))
                .await;
        }
    }
    for name in [claim("roles"), "amr".to_owned()] {
        for value in [
            json!("admin"),
            json!(null),
            json!(1),
            json!({}),
            json!([1]),
            json!([["admin"]]),
            json!(["user", null]),
            json!({ "admin": true }),
        ] {
            let token = table.good().claim(&name, value.clone());
            table
                .refuses(&format!("{name}: {value}"), token.sign(&table.key))
                .await;
        }
    }
    for value in [
        json!("1"),
        json!(1.5),
        json!(null),
        json!([1]),
        json!(1e300),
    ] {
        let token = table.good().claim("auth_time", value.clone());
        table
            .refuses(&format!("auth_time: {value}"), token.sign(&table.key))
            .await;
    }
}

async fn no_claim_can_inject_a_role_or_a_header(table: &Table) {
    let roles = claim("roles");
    for text in [
        "a\r\nx-evil: y",
        "a\nb",
        "a\0b",
        "a b",
        "",
        " ",
        "\u{e4}",
        "\u{202e}admin",
        "a\tb",
    ] {
        for name in [&roles, "amr"] {
            let token = table.good().claim(name, json!(["user", text]));
            let case = format!("{name}: {text:?}");
            table.refuses(&case, token.sign(&table.key)).await;
        }
    }
    // The separator of roles; that of methods is the space.
    let token = table.good().roles(&["user", "a,admin"]);
    table
        .refuses("a comma in a role", token.sign(&table.key))
        .await;
    let many: Vec<_> = (0..5_000).map(|nth| nth.to_string()).collect();
    let token = table.good().claim(&claim("roles"), json!(many));
    table.refuses("5 000 roles", token.sign(&table.key)).await;
}

async fn a_subject_is_visible_ascii_of_a_sensible_length(table: &Table) {
    let long = "x".repeat(257);
    for subject in [
        "",
        " ",
        "a b",
        "alice ",
        " alice",
        "a\r\nx-authgear-user-roles: owner",
        "a\0",
        "\u{e4}",
        "\u{430}lice",
        "client_id_abc",
        &long,
    ] {
        let token = table.good().subject(subject);
        table
            .refuses(&format!("{subject:?}"), token.sign(&table.key))
            .await;
    }
    for subject in [
        json!(null),
        json!(1),
        json!(["alice"]),
        json!({}),
        json!(true),
    ] {
        let token = table.good().claim("sub", subject.clone());
        table
            .refuses(&subject.to_string(), token.sign(&table.key))
            .await;
    }
    table
        .refuses("none", table.good().without("sub").sign(&table.key))
        .await;
}

async fn a_subject_with_a_comma_is_reported_as_it_is(bed: &TestBed) {
    for subject in ["a,b", "\"a\"", "user@example.com", &"x".repeat(256)] {
        let token = Token::user(ORIGIN, &bed.alice).subject(subject);
        let reply = bed
            .get("/api/me")
            .bearer(token.sign(&bed.authgear.key()))
            .send()
            .await;
        assert_eq!(reply.status, 200, "{subject}: {reply:?}");
        let forwarded = bed.only_forwarded();
        assert_eq!(
            forwarded.headers.all("x-authgear-user-id"),
            [subject.as_bytes()]
        );
        bed.backend.clear();
    }
    bed.backend.clear();
}

#[tokio::test]
async fn a_machine_is_no_user() {
    let bed = TestBed::start().await;
    let machine = |audience: Value| {
        Token::machine(ORIGIN, "", "batch")
            .audience(audience)
            .sign(&bed.authgear.key())
    };
    let foreign = bed
        .authgear
        .machine_token("https://api.example.com", "batch");
    let reply = bed.get("/api/me").bearer(foreign).send().await;
    assert_eq!(reply.status, 401, "for another resource: {reply:?}");
    let reply = bed
        .get("/api/me")
        .bearer(machine(json!([ORIGIN])))
        .send()
        .await;
    assert_eq!(reply.status, 403, "for this one: {reply:?}");
    assert_eq!(reply.json()["code"], "forbidden");
    assert_eq!(reply.header("www-authenticate"), None);
    // A machine's token that claims to be a user's, in part.
    let half = Token::machine(ORIGIN, ORIGIN, "batch").claim(&claim("is_verified"), true);
    let reply = bed
        .get("/api/me")
        .bearer(half.sign(&bed.authgear.key()))
        .send()
        .await;
    assert_eq!(reply.status, 403, "half a user: {reply:?}");
    bed.assert_nothing_forwarded();
    bed.finish().await;
}
