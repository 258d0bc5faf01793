//! Header and payload must each be one JSON object in strict UTF-8 (RFC 7515 §4, RFC 7519 §7.2, RFC 8725 §3.7).
//! Every token here is truly signed.

use super::table::Table;

/// What is not one JSON object: made from one. The whole table is tried natively, by `gate/src/jwt/tests/form.rs`; here is
/// what readers disagree about, and what the stack of Envoy's VM must bear.
fn not_one_object(object: &str) -> Vec<(&'static str, Vec<u8>)> {
    let members = &object[1..object.len() - 1];
    let with = |member: &[u8]| [b"{", member, b",", members.as_bytes(), b"}"].concat();
    let text = |text: String| text.into_bytes();
    vec![
        ("two objects", text(format!("{object}{object}"))),
        (
            "a byte order mark before",
            text(format!("\u{feff}{object}")),
        ),
        ("overlong UTF-8", with(b"\"x\":\"\xc0\xaf\"")),
        (
            "arrays that never end",
            [b"{\"x\":".to_vec(), vec![b'['; 10_000]].concat(),
        ),
        (
            "objects that never end",
            [b"{\"x\":".to_vec(), br#"{"a":"#.repeat(2_000)].concat(),
        ),
        ("only arrays that never end", vec![b'['; 10_000]),
    ]
}

#[tokio::test]
async fn header_and_payload_are_each_one_json_object() {
    let table = Table::start().await;
    let (header, payload) = (table.header(), table.payload());
    for (case, bad) in not_one_object(&header) {
        let token = table.key.sign_raw(&bad, payload.as_bytes());
        table.refuses(&format!("header: {case}"), token).await;
    }
    for (case, bad) in not_one_object(&payload) {
        let token = table.key.sign_raw(header.as_bytes(), &bad);
        table.refuses(&format!("payload: {case}"), token).await;
    }
    white_space_that_was_signed_is_no_harm_and_white_space_that_was_not_is(&table).await;
    members_that_nobody_knows_are_ignored_however_they_look(&table).await;
    table.finish().await;
}

async fn white_space_that_was_signed_is_no_harm_and_white_space_that_was_not_is(table: &Table) {
    let (header, payload) = (table.header(), table.payload());
    let spaced = |json: &str| format!(" \t\r\n{}\n", json.replace(',', " ,\r\n\t"));
    let good = table
        .key
        .sign_raw(spaced(&header).as_bytes(), spaced(&payload).as_bytes());
    table.admits("signed", &good).await;

    let plain = table.key.sign_raw(header.as_bytes(), payload.as_bytes());
    let signature = plain.rsplit('.').next().unwrap();
    let [spaced_header, spaced_payload, _] = super::table::segments(&good);
    let [plain_header, plain_payload, _] = super::table::segments(&plain);
    for (case, bad) in [
        (
            "header",
            format!("{spaced_header}.{plain_payload}.{signature}"),
        ),
        (
            "payload",
            format!("{plain_header}.{spaced_payload}.{signature}"),
        ),
        (
            "both",
            format!("{spaced_header}.{spaced_payload}.{signature}"),
        ),
    ] {
        table.refuses(case, bad).await;
    }
}

async fn members_that_nobody_knows_are_ignored_however_they_look(table: &Table) {
    let flat = "[],".repeat(2_000) + "[]";
    let (flat, deep) = (format!("[{flat}]"), nested(20));
    for (case, member) in [
        ("many arrays", flat.as_str()),
        ("arrays in arrays", deep.as_str()),
    ] {
        let header = format!(r#"{{"x":{member},{}"#, &table.header()[1..]);
        let token = table
            .key
            .sign_raw(header.as_bytes(), table.payload().as_bytes());
        table.admits(&format!("{case} in the header"), token).await;
        let payload = format!(r#"{{"x":{member},{}"#, &table.payload()[1..]);
        let token = table
            .key
            .sign_raw(table.header().as_bytes(), payload.as_bytes());
        table.admits(&format!("{case} in the payload"), token).await;
    }
    for depth in [100, 4_000] {
        let member = nested(depth);
        let header = format!(r#"{{"jwk":{member},{}"#, &table.header()[1..]);
        let token = table
            .key
            .sign_raw(header.as_bytes(), table.payload().as_bytes());
        table
            .refuses(&format!("{depth} arrays in the header"), token)
            .await;
        let payload = format!(r#"{{"x":{member},{}"#, &table.payload()[1..]);
        let token = table
            .key
            .sign_raw(table.header().as_bytes(), payload.as_bytes());
        table
            .refuses(&format!("{depth} arrays in the payload"), token)
            .await;
    }
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}
