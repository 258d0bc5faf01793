//! `exp`, `nbf` and `iat` (RFC 7519 §4.1.4 to §4.1.6), and the clock skew.
//!
//! A bound is tried at the very second: time only advances, so what must be refused from now on is, and what is valid
//! from now on passes, however slow the machine. The other side of a bound is tried a minute away from it.

use devkit::keys::{Token, now};
use devkit::testbed::TestBed;
use devkit::wait::{DEADLINE, until};
use serde_json::json;

use super::table::Table;

#[tokio::test]
async fn a_token_is_valid_from_its_first_second_to_its_last_and_the_clock_skew_beyond() {
    for (setting, skew) in [(None, 30), (Some("0s"), 0)] {
        let builder = TestBed::builder().project(|project| {
            if let Some(setting) = setting {
                project["jwt"] = json!({ "clock_skew": setting });
            }
        });
        let table = Table::of(builder).await;
        let dated = |claim: &str, at: i64| {
            let token = table.good().claim("iat", now() - 3_600);
            token.claim(claim, at).sign(&table.key)
        };
        let case = |what: &str| format!("{what}, a skew of {skew} s");
        for (what, at) in [
            ("just expired", 0),
            ("expired a second ago", -1),
            ("long ago", -3_600),
        ] {
            let token = dated("exp", now() - skew + at);
            table.refuses(&case(what), token).await;
        }
        table
            .admits(&case("about to expire"), dated("exp", now() - skew + 60))
            .await;
        for claim in ["nbf", "iat"] {
            let token = dated(claim, now() + skew);
            table
                .admits(&case(&format!("{claim} just now")), token)
                .await;
            let token = dated(claim, now() + skew + 60);
            table
                .refuses(&case(&format!("{claim} in a minute")), token)
                .await;
        }
        table.finish().await;
    }
}

#[tokio::test]
async fn a_cached_token_is_refused_once_it_has_expired() {
    let table = Table::jwt(json!({ "clock_skew": "0s" })).await;
    let token = table.good().expires_in(6).sign(&table.key);
    table.admits("fresh", &token).await;
    table.admits("cached", &token).await;
    let expired = async || {
        let reply = table.bed.get("/api/me").bearer(&token).send().await;
        table.bed.backend.clear();
        (reply.status == 401).then_some(())
    };
    until(DEADLINE, "the token to expire", expired)
        .await
        .unwrap();
    table.refuses("expired", &token).await;
    table.finish().await;
}

#[tokio::test]
async fn a_date_is_a_number_of_seconds() {
    let table = Table::start().await;
    let sign = |claim: &str, json: &str| {
        let payload = table.payload_with(claim, json);
        table
            .key
            .sign_raw(table.header().as_bytes(), payload.as_bytes())
    };
    let soon = now() + 600;
    for exp in [
        format!("{soon}.0"),
        format!("{soon}.9"),
        format!("{}.{}e9", soon / 1_000_000_000, soon % 1_000_000_000),
        format!("{soon}E+0"),
        "253402300799".to_owned(),
    ] {
        table.admits(&format!("exp {exp}"), sign("exp", &exp)).await;
    }
    let digits = "9".repeat(5_000);
    let wrong = [
        r#""9999999999""#,
        r#""never""#,
        "null",
        "true",
        "[]",
        "{}",
        "[9999999999]",
        "-1",
        "-0",
        "-1e300",
        "0",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e19",
        "1e308",
        "1e309",
        "1e999999999",
        "253402300801",
        "1e9",
        &digits,
    ];
    let milliseconds = (soon * 1_000).to_string();
    for exp in wrong.into_iter().chain([milliseconds.as_str()]) {
        table.refuses(&format!("exp {exp}"), sign("exp", exp)).await;
    }
    for date in ["0", "1.5", "1e9", "-0"] {
        for claim in ["nbf", "iat"] {
            table
                .admits(&format!("{claim} {date}"), sign(claim, date))
                .await;
        }
    }
    for date in [
        r#""1000000000""#,
        "null",
        "false",
        "[]",
        "{}",
        "[1]",
        "-1",
        "-12345",
        "-1e300",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "1e19",
        "2.001e206",
        &milliseconds,
        &digits,
    ] {
        for claim in ["nbf", "iat"] {
            table
                .refuses(&format!("{claim} {date}"), sign(claim, date))
                .await;
        }
    }
    table
        .refuses("no exp", table.good().without("exp").sign(&table.key))
        .await;
    table
        .admits("no iat", table.good().without("iat").sign(&table.key))
        .await;
    table.finish().await;
}

#[tokio::test]
async fn a_token_that_begins_after_it_ends_is_refused() {
    let table = Table::jwt(json!({ "clock_skew": "5m" })).await;
    let token = table
        .good()
        .claim("nbf", now() + 200)
        .claim("exp", now() + 100);
    table.refuses("nbf after exp", token.sign(&table.key)).await;
    table.finish().await;
}

#[tokio::test]
async fn a_lifetime_may_be_bounded() {
    let table = Table::jwt(json!({ "max_lifetime": "30m" })).await;
    let lasting = |seconds: i64| -> Token {
        let start = now() - 60;
        table
            .good()
            .claim("iat", start)
            .claim("exp", start + seconds)
    };
    table
        .admits("30 minutes", lasting(1_800).sign(&table.key))
        .await;
    table
        .refuses("a second more", lasting(1_801).sign(&table.key))
        .await;
    table
        .refuses("a day", lasting(86_400).sign(&table.key))
        .await;
    let token = lasting(1_800).without("iat");
    table.refuses("nobody knows", token.sign(&table.key)).await;
    let token = lasting(1_800).claim("iat", 0);
    table.refuses("since 1970", token.sign(&table.key)).await;
    table.finish().await;
}
