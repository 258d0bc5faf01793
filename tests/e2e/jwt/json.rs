//! Header and payload must each be one JSON object in strict UTF-8 (RFC 7515 §4, RFC 7519 §7.2, RFC 8725 §3.7).
//! Every token here is truly signed.

use super::table::Table;

/// What is not one JSON object: made from one.
fn not_one_object(object: &str) -> Vec<(&'static str, Vec<u8>)> {
    let members = &object[1..object.len() - 1];
    let utf16: Vec<u8> = object.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with = |member: &[u8]| [b"{", member, b",", members.as_bytes(), b"}"].concat();
    let text = |text: String| text.into_bytes();
    vec![
        ("empty array", text("[]".to_owned())),
        ("string", text(r#""a""#.to_owned())),
        ("number", text("1".to_owned())),
        ("null", text("null".to_owned())),
        ("true", text("true".to_owned())),
        ("object in an array", text(format!("[{object}]"))),
        ("two objects", text(format!("{object}{object}"))),
        ("something behind", text(format!("{object}x"))),
        ("a comma behind", text(format!("{object},"))),
        ("a NUL behind", text(format!("{object}\0"))),
        (
            "a byte order mark before",
            text(format!("\u{feff}{object}")),
        ),
        ("UTF-16", utf16),
        ("not closed", text(object[..object.len() - 1].to_owned())),
        ("trailing comma", text(format!("{{{members},}}"))),
        ("comment", text(format!("{{/* */{members}}}"))),
        ("line comment", text(format!("{{{members}}}//"))),
        ("single quotes", with(b"'x':1")),
        ("unquoted name", with(b"x:1")),
        ("NaN", with(br#""x":NaN"#)),
        ("Infinity", with(br#""x":Infinity"#)),
        ("leading zero", with(br#""x":01"#)),
        ("hexadecimal number", with(br#""x":0x1"#)),
        ("raw control character", with(b"\"x\":\"\n\"")),
        ("invalid escape", with(br#""x":"\x41""#)),
        ("overlong UTF-8", with(b"\"x\":\"\xc0\xaf\"")),
        ("lone surrogate in UTF-8", with(b"\"x\":\"\xed\xa0\x80\"")),
        ("Latin-1", with(b"\"x\":\"\xe9\"")),
        ("missing colon", with(br#""x" 1"#)),
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
    a_header_that_is_not_one_json_object_is_refused(&table).await;
    a_payload_that_is_not_one_json_object_is_refused(&table).await;
    white_space_that_was_signed_is_no_harm_and_white_space_that_was_not_is(&table).await;
    members_that_nobody_knows_are_ignored_however_they_look(&table).await;
    table.finish().await;
}

async fn a_header_that_is_not_one_json_object_is_refused(table: &Table) {
    let payload = table.payload();
    for (case, header) in not_one_object(&table.header()) {
        let token = table.key.sign_raw(&header, payload.as_bytes());
        table.refuses(case, token).await;
    }
    // A struct in an array's clothing.
    let header = format!(r#"["RS256","{}","at+jwt"]"#, table.key.kid);
    let token = table.key.sign_raw(header.as_bytes(), payload.as_bytes());
    table.refuses("the members in an array", token).await;
}

async fn a_payload_that_is_not_one_json_object_is_refused(table: &Table) {
    let header = table.header();
    for (case, payload) in not_one_object(&table.payload()) {
        let token = table.key.sign_raw(header.as_bytes(), &payload);
        table.refuses(case, token).await;
    }
    for (case, payload) in [
        ("empty", ""),
        ("blank", " "),
        ("a nested token", "eyJhbGciOiJub25lIn0.e30."),
    ] {
        let token = table.key.sign_raw(header.as_bytes(), payload.as_bytes());
        table.refuses(case, token).await;
    }
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
        ("a long number", &"9".repeat(8_000)),
        ("a large exponent", "1e999999999"),
        ("an escaped surrogate", r#""\ud800""#),
        ("an escaped NUL", r#""\u0000""#),
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
