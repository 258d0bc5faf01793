//! The compact form: segments, base64url, JSON (threats T1 to T7).

use super::*;

fn parts() -> [String; 3] {
    let token = alice().sign(&KEY);
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

#[test]
fn a_good_token_is_read() {
    let token = alice().sign(&KEY);
    let inspected = InspectedToken::inspect(
        token.as_bytes(),
        &issuer(),
        &policy(&json!({})),
        &needed(),
        NOW,
    );
    let inspected = inspected.unwrap();
    assert_eq!(inspected.key_id(), "a-key");
    assert_eq!(inspected.algorithm(), Algorithm::Es256);
}

#[test]
fn only_three_segments_that_are_not_empty_are_a_token() {
    let [h, p, s] = parts();
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        h.clone(),
        format!("{h}.{p}"),
        format!("{h}..{s}"),
        format!(".{p}.{s}"),
        format!(".{p}."),
        format!("{h}.{p}."),
        format!("{h}.{p}.{s}."),
        format!(".{h}.{p}.{s}"),
        format!("{h}.{p}.{s}.{s}"),
        format!("{h}.{p}.{s}.{s}.{s}"),
        format!("{h}.{p}.{s}.{s}.{s}.{s}"),
        ".".repeat(50_000),
        "x".repeat(30_000),
        format!("{h}{}", ".".repeat(50_000)),
        json!({ "protected": h, "payload": p, "signature": s }).to_string(),
        json!({ "payload": p, "signatures": [{ "protected": h, "signature": s }] }).to_string(),
        format!(r#"{{"{h}.{p}.{s}":1}}"#),
        format!(r#"{{"x":"{h}.{p}.{s}","payload":"{p}"}}"#),
        // The polyglot of CVE-2022-39227: JSON to one reader, three segments to another.
        format!(r#"{{"{h}.{p}.":"","protected":"{h}","payload":"{p}","signature":"{s}"}}"#),
    ] {
        assert_eq!(inspect(&token), Err(TokenError::Malformed), "{token:.60}");
    }
}

#[test]
fn base64url_has_one_spelling_in_every_segment() {
    let parts = parts();
    assert_eq!(inspect(&parts.join(".")), Ok(()));
    for nth in 0..3 {
        let with = |segment: String| {
            let mut parts = parts.clone();
            parts[nth] = segment;
            inspect(&parts.join("."))
        };
        let segment = &parts[nth];
        for bad in [
            "=", "==", "+", "/", " ", "\t", "\n", "\r", "%", "!", "\0", "\"", "ä", "A=", "%3D",
        ] {
            assert_eq!(
                with(format!("{segment}{bad}")),
                Err(TokenError::Malformed),
                "{nth} {bad:?} behind"
            );
            assert_eq!(
                with(format!("{bad}{segment}")),
                Err(TokenError::Malformed),
                "{nth} {bad:?} in front"
            );
            let (head, tail) = segment.split_at(8);
            assert_eq!(
                with(format!("{head}{bad}{tail}")),
                Err(TokenError::Malformed),
                "{nth} {bad:?} inside"
            );
        }
        // One character more than whole bytes: never a length of base64.
        let whole = &segment[..segment.len() / 4 * 4];
        assert_eq!(
            with(format!("{whole}A")),
            Err(TokenError::Malformed),
            "{nth}"
        );
    }
}

#[test]
fn the_unused_bits_of_a_last_character_are_nought() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let signature = parts()[2].clone();
    let mut twins = 0;
    for padding in ["", " ", "  "] {
        // Whitespace that is signed: it only moves the segments' lengths.
        let header = format!("{}{padding}", header());
        let payload = format!("{}{padding}", alice().payload());
        let token = KEY.sign_raw(header.as_bytes(), payload.as_bytes());
        assert_eq!(inspect(&token), Ok(()));
        let segments: Vec<&str> = token.split('.').collect();
        for nth in 0..3 {
            let unused = match segments[nth].len() % 4 {
                2 => 4,
                3 => 2,
                _ => continue,
            };
            let (head, last) = segments[nth].split_at(segments[nth].len() - 1);
            let value = ALPHABET
                .iter()
                .position(|letter| last.as_bytes() == [*letter])
                .unwrap();
            for bits in 1..1 << unused {
                let twin = format!("{head}{}", char::from(ALPHABET[value | bits]));
                let mut segments = segments.clone();
                segments[nth] = &twin;
                assert_eq!(
                    inspect(&segments.join(".")),
                    Err(TokenError::Malformed),
                    "{nth} {bits}"
                );
                twins += 1;
            }
        }
    }
    assert!(twins > 30, "{twins} twins of {signature}");
}

#[test]
fn what_surrounds_a_token_is_not_cut_off() {
    let token = alice().sign(&KEY);
    for bad in [
        format!("\"{token}\""),
        format!("{token};"),
        format!("{token},"),
        format!("{token} .jjjj"),
        format!("{token}, x"),
        format!("{token}, {token}"),
        format!("\t{token}"),
        format!("Bearer {token}"),
        format!(" {token}"),
        format!("{token} "),
        format!("%65{}", &token[1..]),
        format!("{token}\u{a1}"),
    ] {
        assert_eq!(inspect(&bad), Err(TokenError::Malformed), "{bad}");
    }
    for byte in 0x80..=0xff_u8 {
        let mut token = token.clone().into_bytes();
        token[10] = byte;
        let inspected =
            InspectedToken::inspect(&token, &issuer(), &policy(&json!({})), &needed(), NOW);
        assert_eq!(
            inspected.map(|_| ()),
            Err(TokenError::Malformed),
            "{byte:x}"
        );
    }
}

/// Texts that no strict reader takes for a JSON object, made from one that is (JSONTestSuite, `n_*`).
fn no_objects(object: &str) -> Vec<Vec<u8>> {
    let inner = &object[1..object.len() - 1];
    let mut texts: Vec<Vec<u8>> = [
        "[]",
        "\"a\"",
        "1",
        "null",
        "true",
        " ",
        "{",
        "}",
        "{\"",
        "[{}]",
        "{1:1}",
        "{\"a\" \"b\"}",
        "{\"a\"}",
        "{,}",
        "\u{0}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    texts.extend(
        [
            format!("{object}{object}"),
            format!("{object}x"),
            format!("{object}\0"),
            format!("{object},"),
            format!("{object}]"),
            format!("\u{feff}{object}"),
            format!("[{object}]"),
            format!("{{{inner},}}"),
            format!("{{,{inner}}}"),
            format!("{{{inner}"),
            format!("{inner}}}"),
            format!("{{/* x */{inner}}}"),
            format!("{{{inner} /* x */}}"),
            format!("{{{inner}}} // x"),
            format!("# x\n{object}"),
            format!("{{{inner},\"x\":NaN}}"),
            format!("{{{inner},\"x\":Infinity}}"),
            format!("{{{inner},\"x\":-}}"),
            format!("{{{inner},\"x\":01}}"),
            format!("{{{inner},\"x\":.5}}"),
            format!("{{{inner},\"x\":1.}}"),
            format!("{{{inner},\"x\":+1}}"),
            format!("{{{inner},\"x\":0x1}}"),
            format!("{{{inner},\"x\":True}}"),
            format!("{{{inner},\"x\":'a'}}"),
            format!("{{{inner},x:1}}"),
            format!("{{{inner},'x':1}}"),
            format!("{{{inner},\"x\" 1}}"),
            format!("{{{inner},\"x\":\"\t\"}}"),
            format!("{{{inner},\"x\":\"\n\"}}"),
            format!("{{{inner},\"x\":\"\\x\"}}"),
            format!("{{{inner},\"x\":\"\\x41\"}}"),
            format!("{{{inner},\"x\":\"\\u00g0\"}}"),
            format!("{{{inner},\"x\":[1,]}}"),
            format!("{{{inner},\"x\":{}", "[".repeat(100_000)),
            format!("{{{inner},\"x\":{}", "{\"x\":".repeat(100_000)),
        ]
        .map(String::into_bytes),
    );
    // Not UTF-8: a stray byte, Latin-1, an overlong slash, half a surrogate, and UTF-16.
    for bad in [&b"\xff"[..], b"\xe9", b"\xc0\xaf", b"\xed\xa0\x80"] {
        texts.push([b"{", inner.as_bytes(), b",\"x\":\"", bad, b"\"}"].concat());
    }
    texts.push(object.encode_utf16().flat_map(u16::to_le_bytes).collect());
    texts.push("[".repeat(100_000).into_bytes());
    texts
}

#[test]
fn a_header_that_is_no_json_object_is_malformed() {
    for text in no_objects(&header().to_string()) {
        let shown = String::from_utf8_lossy(&text);
        assert_eq!(
            inspect(&headed(&text)),
            Err(TokenError::Malformed),
            "{shown:.200}"
        );
    }
    // An array with the members of the struct.
    let array = r#"["ES256","a-key","at+jwt"]"#;
    assert_eq!(inspect(&headed(array)), Err(TokenError::Malformed));
}

#[test]
fn a_payload_that_is_no_json_object_has_malformed_claims() {
    for text in no_objects(&alice().payload().to_string()) {
        let shown = String::from_utf8_lossy(&text);
        assert_eq!(
            inspect(&paid(&text)),
            Err(TokenError::Claims),
            "{shown:.900}"
        );
    }
    // An array with the members of the struct: of a machine's token.
    let array = json!([ISSUER, ISSUER, "a", NOW + 100]);
    assert_eq!(inspect(&paid(array.to_string())), Err(TokenError::Claims));
    let nested = paid("eyJhbGciOiJub25lIn0.e30.");
    assert_eq!(inspect(&nested), Err(TokenError::Claims));
    assert_eq!(inspect(&paid("")), Err(TokenError::Malformed));
}

#[test]
fn a_member_that_nobody_knows_may_be_any_json() {
    let many = format!("[{}[]]", "[],".repeat(2_000));
    let deep = format!("{}{}", "[".repeat(20), "]".repeat(20));
    for member in [
        many.as_str(),
        &deep,
        &"9".repeat(8_000),
        "1e999999999",
        r#""\ud800""#,
        r#""\u0000""#,
    ] {
        let with = |object: Value| {
            let object = object.to_string();
            format!(r#"{{"x":{member},{}"#, &object[1..])
        };
        assert_eq!(inspect(&headed(with(header()))), Ok(()), "{member:.40}");
        let paid = paid(with(alice().payload()));
        assert_eq!(inspect(&paid), Ok(()), "{member:.40}");
    }
}

#[test]
fn whitespace_that_was_signed_is_no_matter() {
    let loose = |json: Value| format!("\r\n\t {}\n", json.to_string().replace(':', " : "));
    assert_eq!(inspect(&headed(loose(header()))), Ok(()));
    let payload = format!(" \t\r\n{}\n", alice().payload());
    assert_eq!(inspect(&paid(payload)), Ok(()));
}

#[test]
fn nesting_has_an_end_even_where_nobody_looks() {
    let deep = |object: Value, levels: usize| {
        let nested = format!(
            r#""jwk":{}{},"s":"\\\"[[[{}""#,
            "[".repeat(levels),
            "]".repeat(levels),
            "[".repeat(40)
        );
        object.to_string().replacen('{', &format!("{{{nested},"), 1)
    };
    for (levels, header_is, payload_is) in [
        (31, Ok(()), Ok(())),
        (32, Err(TokenError::Malformed), Err(TokenError::Claims)),
        (100_000, Err(TokenError::Malformed), Err(TokenError::Claims)),
    ] {
        assert_eq!(
            inspect(&headed(deep(header(), levels))),
            header_is,
            "{levels}"
        );
        let token = paid(deep(alice().payload(), levels));
        assert_eq!(inspect(&token), payload_is, "{levels}");
    }
}
