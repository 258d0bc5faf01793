//! The compact form (RFC 7515 §7.1), and base64url. The signatures are true wherever a segment is not.

use devkit::keys::{Token, b64, unb64};
use devkit::testbed::{Bed, ORIGIN, RESOLVER};
use serde_json::json;

use super::table::{Table, segments};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[tokio::test]
async fn what_is_not_the_compact_form_is_refused() {
    let table = Table::start().await;
    what_is_not_three_segments_is_refused(&table).await;
    a_token_in_json_is_refused(&table).await;
    bytes_that_are_not_ascii_are_refused(&table).await;
    a_token_may_be_16_kb_long_and_no_longer(&table).await;
    an_encrypted_token_is_not_decrypted(&table).await;
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
        ("a trailing dot", format!("{token}.")),
        ("a leading dot", format!(".{token}")),
        ("five segments", format!("{token}.{header}.{payload}")),
        ("six segments", format!("{token}.{token}")),
        ("a dot bomb", ".".repeat(50_000)),
        (
            "a dot bomb that begins like a token",
            format!("eyJ{}", ".".repeat(50_000)),
        ),
        ("garbage of 30 kB", "x".repeat(30_000)),
        ("detached payload", format!("{header}..{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("only a payload", format!(".{payload}.")),
        ("only dots", "..".to_owned()),
        ("quoted", format!("\"{token}\"")),
        ("a semicolon behind", format!("{token};")),
        ("a comma behind", format!("{token},")),
        ("another token behind", format!("{token}, {token}")),
        ("a list", format!("{token}, Bearer {token}")),
        ("a space and more", format!("{token} .jjjj")),
        ("a comma and more", format!("{token}, x")),
        ("two spaces before", format!(" {token}")),
        ("a tab before", format!("\t{token}")),
        ("percent-encoded", token.replacen('e', "%65", 1)),
        ("the scheme twice", format!("Bearer {token}")),
    ] {
        table.refuses(case, bad).await;
    }
    table.admits("the token again", &token).await;
}

async fn a_token_in_json_is_refused(table: &Table) {
    let token = table.bed.token();
    let [header, payload, signature] = segments(&token);
    let forged = b64(table
        .good()
        .roles(&["owner"])
        .payload()
        .to_string()
        .as_bytes());
    let flattened = json!({ "protected": header, "payload": payload, "signature": signature });
    let general = json!({
        "payload": payload, "signatures": [{ "protected": header, "signature": signature }],
    });
    // The polyglot of CVE-2022-39227: JSON to one reader, three segments to another.
    let polyglot = format!(
        r#"{{"{header}.{forged}.":"","protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#
    );
    let inside = format!(r#"{{"a":"{token}"}}"#);
    for (case, bad) in [
        ("flattened", flattened.to_string()),
        ("general", general.to_string()),
        ("polyglot", polyglot),
        ("a token in a value", inside),
    ] {
        table.refuses(case, bad).await;
    }
}

#[tokio::test]
async fn base64url_is_read_strictly() {
    let table = Table::start().await;
    // `?` all the way: at any alignment six bits of it are all ones, `_` in base64url and `/` in base64.
    let header = |pad: &str| {
        let header = table.good().header("x", format!("?????{pad}"));
        b64(header.header_for(&table.key).to_string().as_bytes())
    };
    let payload = |pad: &str| {
        let payload = table.good().claim("x", format!("?????{pad}"));
        b64(payload.payload().to_string().as_bytes())
    };
    for pad in ["", "a", "aa"] {
        let (good_header, good_payload) = (header(pad), payload(pad));
        let good = table.compact(&good_header, &good_payload);
        table.admits("a member that nobody knows", &good).await;
        for (what, bad) in misspelt(&good_header) {
            let case = format!("header: {what}, padded by {pad:?}");
            table
                .refuses(&case, table.compact(&bad, &good_payload))
                .await;
        }
        for (what, bad) in misspelt(&good_payload) {
            let case = format!("payload: {what}, padded by {pad:?}");
            table
                .refuses(&case, table.compact(&good_header, &bad))
                .await;
        }
        let [.., signature] = segments(&good);
        for (what, bad) in misspelt(&signature) {
            let bad = format!("{good_header}.{good_payload}.{bad}");
            let case = format!("signature: {what}, padded by {pad:?}");
            table.refuses(&case, bad).await;
        }
        // A twin of a token that is remembered is not served from memory; the token itself still is.
        table.admits("the token itself", &good).await;
    }
    table.finish().await;
}

/// Spellings of a segment that a lenient reader would take for it.
fn misspelt(segment: &str) -> Vec<(&'static str, String)> {
    let middle = segment.len() / 2;
    let insert = |junk: &str| format!("{}{junk}{}", &segment[..middle], &segment[middle..]);
    let mut all = vec![
        ("=", format!("{segment}=")),
        ("==", format!("{segment}==")),
        ("a space within", insert(" ")),
        ("a tab within", insert("\t")),
        ("a percent sign within", insert("%")),
        ("an exclamation mark within", insert("!")),
        ("one character too many", one_over(segment)),
    ];
    let standard = segment.replace('-', "+").replace('_', "/");
    if standard != segment {
        all.push(("the standard alphabet", standard));
    }
    all.extend(
        twins(segment)
            .into_iter()
            .map(|twin| ("bits left over", twin)),
    );
    all
}

/// Cut to a length that no bytes have.
fn one_over(segment: &str) -> String {
    let whole = segment.len() / 4 * 4;
    format!("{}A", &segment[..whole])
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
    let bed = Bed::builder()
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

async fn an_encrypted_token_is_not_decrypted(table: &Table) {
    let jwe = json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "kid": table.key.kid, "typ": "at+jwt" });
    let jwe = b64(jwe.to_string().as_bytes());
    let part = b64(&[7; 16]);
    table
        .refuses(
            "five segments",
            format!("{jwe}.{part}.{part}.{part}.{part}"),
        )
        .await;
    for alg in ["dir", "RSA1_5", "RSA-OAEP", "PBES2-HS256+A128KW", "ECDH-ES"] {
        let token = table
            .good()
            .header("alg", alg)
            .header("p2c", 2_147_483_648_u64);
        table.refuses(alg, token.sign(&table.key)).await;
        let token = token.header("enc", "A256GCM");
        table.refuses(alg, token.sign(&table.key)).await;
    }
}

#[tokio::test]
async fn an_opaque_token_is_for_the_resolver() {
    let bed = Bed::start().await;
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
    let bed = Bed::start().await;
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
        bed.authgear.forget_calls();
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
    let bed = Bed::builder().project(|project| project["session"] = json!(null));
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
