//! The compact form (RFC 7515 §7.1), and base64url. The tables are tried natively, by `gate/src/jwt/tests/form.rs`; here is what
//! comes through HTTP.

use devkit::keys::{Token, b64, unb64};
use devkit::testbed::{ORIGIN, RESOLVER, TestBed};
use serde_json::json;

use super::table::{Table, segments};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[tokio::test]
async fn what_is_not_the_compact_form_is_refused() {
    let table = Table::start().await;
    what_is_not_three_segments_is_refused(&table).await;
    bytes_that_are_not_ascii_are_refused(&table).await;
    a_token_may_be_16_kb_long_and_no_longer(&table).await;
    table.finish().await;
}

async fn what_is_not_three_segments_is_refused(table: &Table) {
    let token = table.bed.token();
    let [header, payload, signature] = segments(&token);
    table.admits("the token itself", &token).await;
    for (case, bad) in [
        ("no token", String::new()),
        ("one short segment", "abc".to_owned()),
        ("two segments", format!("{header}.{payload}")),
        ("four segments", format!("{token}.{signature}")),
        ("a dot bomb", ".".repeat(50_000)),
        (
            "a dot bomb that begins like a token",
            format!("eyJ{}", ".".repeat(50_000)),
        ),
        ("garbage of 30 kB", "x".repeat(30_000)),
        // What HTTP might take for the end of a value, or for white space around it.
        ("a comma behind", format!("{token},")),
        ("another token behind", format!("{token}, {token}")),
        ("a list", format!("{token}, Bearer {token}")),
        ("a space and more", format!("{token} .jjjj")),
        ("two spaces before", format!(" {token}")),
        ("a tab before", format!("\t{token}")),
        ("the scheme twice", format!("Bearer {token}")),
    ] {
        table.refuses(case, bad).await;
    }
    table.admits("the token again", &token).await;
}

#[tokio::test]
async fn base64url_is_read_strictly() {
    let table = Table::start().await;
    // `?` all the way: at any alignment six bits of it are all ones, `_` in base64url and `/` in base64.
    let payload = table.good().claim("x", "?????").payload().to_string();
    let payload = b64(payload.as_bytes());
    assert!(payload.contains('_'));
    let good = table.compact(&b64(table.header().as_bytes()), &payload);
    table.admits("the token itself", &good).await;
    let [header, payload, signature] = segments(&good);
    let standard = payload.replace('-', "+").replace('_', "/");
    table
        .refuses("the standard alphabet", table.compact(&header, &standard))
        .await;
    // A token that decodes like a cached one is no cache hit; the cached token itself still is.
    for twin in twins(&signature) {
        let twin = format!("{header}.{payload}.{twin}");
        table.refuses("bits left over", twin).await;
    }
    table.refuses("padding", format!("{good}==")).await;
    table.admits("the token itself", &good).await;
    table.finish().await;
}

/// The same bytes with the unused bits of the last character set.
fn twins(segment: &str) -> Vec<String> {
    let (last, unused) = match segment.len() % 4 {
        2 => (segment.len() - 1, 1..16),
        3 => (segment.len() - 1, 1..4),
        _ => return Vec::new(),
    };
    let value = ALPHABET
        .iter()
        .position(|byte| *byte == segment.as_bytes()[last]);
    let value = value.expect("base64url");
    let twins =
        unused.map(|bits| format!("{}{}", &segment[..last], char::from(ALPHABET[value ^ bits])));
    let twins: Vec<_> = twins.collect();
    assert!(
        twins.iter().all(|twin| unb64(twin).is_none()),
        "devkit is strict"
    );
    twins
}

async fn bytes_that_are_not_ascii_are_refused(table: &Table) {
    let token = table.bed.token().into_bytes();
    for byte in [0x80, 0xa1, 0xc0, 0xff] {
        for at in [0, 10, token.len() / 2, token.len()] {
            let mut bad = token.clone();
            bad.insert(at, byte);
            table.refuses(&format!("{byte:#x} at {at}"), bad).await;
        }
    }
    table.refuses("nothing else", [0xa1; 40]).await;
}

async fn a_token_may_be_16_kb_long_and_no_longer(table: &Table) {
    let of_length = |length: usize| {
        let token = |filler: usize| {
            let filler = "x".repeat(filler);
            table.good().claim("filler", filler).sign(&table.key)
        };
        let rest = length - token(0).len();
        let token = token(rest / 4 * 3);
        assert!((length - 4..=length).contains(&token.len()));
        token
    };
    table.admits("8 kB", of_length(8_192)).await;
    table.admits("16 kB", of_length(16_384)).await;
    table.refuses("a little more", of_length(16_394)).await;
    table.refuses("32 kB", of_length(32_768)).await;
    // Envoy's own bound on a request's headers.
    let reply = table
        .bed
        .get("/api/me")
        .bearer(of_length(61_440))
        .send()
        .await;
    assert_eq!(reply.status, 431, "{reply:?}");
    table.bed.assert_nothing_forwarded();
}

#[tokio::test]
async fn the_bound_on_tokens_is_the_operators() {
    let bed = TestBed::builder()
        .configure(|config| config["limits"] = json!({ "token_bytes": 65_536 }))
        .envoy(|envoy| envoy.manager(|manager| manager["max_request_headers_kb"] = 96.into()));
    let table = Table::of(bed).await;
    let mut audience = vec!["a"; 10_000];
    audience.push(ORIGIN);
    let token = table.good().audience(json!(audience)).sign(&table.key);
    assert!(token.len() > 40_000);
    table.admits("10 000 audiences, ours the last", token).await;
    audience.pop();
    let token = table.good().audience(json!(audience)).sign(&table.key);
    table.refuses("10 000 audiences, not ours", token).await;
    table.finish().await;
}

#[tokio::test]
async fn an_opaque_token_is_for_the_resolver() {
    let bed = TestBed::start().await;
    let token = bed.authgear.opaque_token(&bed.alice);

    let reply = bed.get("/api/me").bearer(&token).send().await;

    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    let calls = bed.authgear.calls_to(RESOLVER);
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(
        calls[0].header("authorization"),
        Some(format!("Bearer {token}"))
    );
    assert_eq!(calls[0].header("cookie"), None);
    bed.finish().await;
}

#[tokio::test]
async fn an_opaque_token_that_nobody_knows_is_refused_like_any_other() {
    let bed = TestBed::start().await;
    let unknown = "a".repeat(32);
    let revoked = bed.authgear.opaque_token(&bed.alice);
    assert!(bed.authgear.revoke(&revoked));
    // Where a token ends that lost its dots.
    let [header, ..] = segments(&bed.token());
    for (case, token) in [
        ("unknown", unknown),
        ("revoked", revoked),
        ("one segment", header),
    ] {
        bed.authgear.clear_calls();
        let reply = bed.get("/api/me").bearer(token).send().await;
        assert_eq!(reply.status, 401, "{case}: {reply:?}");
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        assert!(
            challenge.ends_with(r#"error="invalid_token""#),
            "{case}: {challenge}"
        );
        assert_eq!(bed.authgear.calls_to(RESOLVER).len(), 1, "{case}");
    }
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn without_sessions_an_opaque_token_is_refused_and_nobody_asked() {
    let bed = TestBed::builder().project(|project| project["session"] = json!(null));
    let table = Table::of(bed).await;
    let token = table.bed.authgear.opaque_token(&table.bed.alice);
    table.refuses("opaque", token).await;
    table.admits("a JWT", table.good().sign(&table.key)).await;
    table.finish().await;
}

#[tokio::test]
async fn one_good_token_among_a_thousand_bad_ones_passes() {
    let table = Table::start().await;
    let good = table.bed.token();
    let [header, payload, _] = segments(&good);
    let connection = devkit::client::Connection::open(table.bed.envoy.address(), true).await;
    for nth in 0..1_000 {
        let bad = match nth % 4 {
            0 => format!("{header}.{payload}.{}", b64(&[nth as u8; 256])),
            1 => format!("{nth}.{payload}.x"),
            2 => Token::user("https://elsewhere.example.com", &table.bed.alice).unsigned("none"),
            _ => format!("{nth}.."),
        };
        let request = table
            .bed
            .get("/api/me")
            .http2()
            .over(&connection)
            .bearer(bad);
        table.refuses_request(&nth.to_string(), request).await;
    }
    table.admits("the good one", good).await;
    table.finish().await;
}
