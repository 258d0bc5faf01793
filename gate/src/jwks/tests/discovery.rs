//! The calls to Authgear, and which answers have no keys (threats J5, J9).

use super::*;

fn failure(jwks: &Value, answer: &Answer) -> String {
    let mut fixture = Fixture::new(jwks);
    let fetch = fixture.expect_fetch();
    match fixture.answered(&fetch, answer) {
        Fetched::Failed {
            error, failures: 1, ..
        } => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_call_is_built_from_the_endpoint_alone() {
    for (jwks, path) in [
        (json!({}), "/oauth2/jwks"),
        (json!({ "uri": "/keys?v=1" }), "/keys?v=1"),
        (
            json!({ "discover": true }),
            "/.well-known/openid-configuration",
        ),
    ] {
        let call = Fixture::new(&jwks).expect_fetch().call;
        assert_eq!(
            (call.cluster.as_str(), call.timeout),
            ("authgear", Duration::from_secs(5))
        );
        let headers: Vec<(&str, &str)> = call
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let expected = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", path),
            (":authority", "auth.example.com"),
            ("x-forwarded-host", "auth.example.com"),
            ("x-forwarded-proto", "https"),
            ("accept", "application/json"),
            (
                "user-agent",
                concat!("authgear-filter/", env!("CARGO_PKG_VERSION")),
            ),
        ];
        assert_eq!(headers, expected);
    }
}

#[test]
fn every_failure_says_what_an_operator_can_do() {
    let redirect = |status, location| with_header(answer(status, b""), "location", location);
    let plain = json!({});
    for (answer, expected) in [
        (
            redirect(307, "https://login.example.com:8443/oauth2/jwks?secret=1"),
            "redirected to \"login.example.com:8443\": is \"endpoint\" Authgear's public origin, scheme and port included?",
        ),
        (
            redirect(307, "https://auth.example.com/oauth2/jwks"),
            "redirected to itself: Authgear does not see that the call is for its public origin: set TRUST_PROXY=true there, and let no proxy between change \"x-forwarded-proto\"",
        ),
        (
            redirect(307, "https://auth.example.com"),
            "redirected to itself: Authgear does not see that the call is for its public origin: set TRUST_PROXY=true there, and let no proxy between change \"x-forwarded-proto\"",
        ),
        (
            redirect(307, "https://auth.example.com.evil.example/oauth2/jwks"),
            "redirected to \"auth.example.com.evil.example\": is \"endpoint\" Authgear's public origin, scheme and port included?",
        ),
        (
            redirect(307, "https://auth.example.com/"),
            "redirected to itself: Authgear does not see that the call is for its public origin: set TRUST_PROXY=true there, and let no proxy between change \"x-forwarded-proto\"",
        ),
        (
            redirect(301, "/oauth2/jwks"),
            "redirected to itself: Authgear does not see that the call is for its public origin: set TRUST_PROXY=true there, and let no proxy between change \"x-forwarded-proto\"",
        ),
        (
            redirect(301, "https://auth.example.com/v2/jwks?secret=1"),
            "redirected to \"/v2/jwks\" on the same origin: set \"jwks.uri\" to the path of the keys",
        ),
        (
            redirect(301, "/elsewhere"),
            "redirected to \"/elsewhere\" on the same origin: set \"jwks.uri\" to the path of the keys",
        ),
        (
            redirect(301, "//elsewhere.example/oauth2/jwks"),
            "redirected: is \"endpoint\" Authgear's public origin, scheme and port included?",
        ),
        (
            redirect(301, ""),
            "redirected: is \"endpoint\" Authgear's public origin, scheme and port included?",
        ),
        (
            redirect(302, "http://169.254.169.254/"),
            "redirected to \"169.254.169.254\": is \"endpoint\" Authgear's public origin, scheme and port included?",
        ),
        (
            answer(403, b""),
            "refused with status 403: does the project's IP filter let this gateway in?",
        ),
        (answer(404, &named(&["a"])), "answered with status 404"),
        (answer(500, &named(&["a"])), "answered with status 500"),
        (answer(204, b""), "answered with status 204"),
        (answer(206, &named(&["a"])), "answered with status 206"),
        (
            Answer {
                body: None,
                ..answer(200, b"")
            },
            "answered with more than 8 MiB",
        ),
        (answer(200, br#"{"keys":[]}"#), "the document has no keys"),
    ] {
        assert_eq!(failure(&plain, &answer), expected);
    }
    let html = failure(&plain, &answer(200, b"<html>"));
    assert!(
        html.starts_with("the document is not a JWKS document ("),
        "{html}"
    );
    let no_answer =
        "no answer from the cluster: the connection broke before its end, or it took too long";
    assert_eq!(failure(&plain, &Answer::default()), no_answer);
    let long = format!("https://{}/", "x".repeat(10_000));
    assert!(failure(&plain, &redirect(302, &long)).len() < 300);
}

#[test]
fn discovery_leads_to_the_keys_and_is_done_again_for_the_next_fetch() {
    let mut fixture = Fixture::new(&json!({ "discover": true }));
    let document =
        json!({ "issuer": ENDPOINT, "jwks_uri": format!("{ENDPOINT}/moved/jwks?x=1"), "more": [] });
    let first = fixture.expect_fetch();
    assert_eq!(fixture.lookup("a"), Known::Wait);
    let Fetched::Discovered(second) =
        fixture.answered(&first, &answer(200, document.to_string().as_bytes()))
    else {
        panic!("not discovered");
    };
    assert_eq!(
        second.call.headers[2],
        (":path", "/moved/jwks?x=1".to_owned())
    );
    assert_ne!(first.id, second.id);
    assert_eq!(fixture.poll(), None);
    assert_eq!(fixture.lookup("a"), Known::Wait);
    // The first answer again: no fetch is in flight for it.
    assert_eq!(
        fixture.answered(&first, &answer(200, document.to_string().as_bytes())),
        Fetched::Late
    );
    assert!(matches!(
        fixture.answered(&second, &answer(200, &named(&["a"]))),
        Fetched::Replaced { keys: 1, .. }
    ));
    assert_eq!(fixture.lookup("a"), Known::Found);
    let (_, third) = fixture.until_fetch();
    assert_eq!(third.call.headers[2].1, "/.well-known/openid-configuration");
}

#[test]
fn a_discovery_document_that_leads_elsewhere_is_refused() {
    let not_json = "the discovery document is not JSON with \"issuer\" and \"jwks_uri\"";
    let issuer = "the discovery document names another \"issuer\" than \"endpoint\"";
    let uri = "the discovery document names a \"jwks_uri\" that is not on \"endpoint\"";
    let keys = "https://auth.example.com/oauth2/jwks";
    for (body, expected) in [
        ("<html>".to_owned(), not_json),
        ("{}".to_owned(), not_json),
        ("[]".to_owned(), not_json),
        // Deserialised, it would be as good as an object.
        (json!([ENDPOINT, keys]).to_string(), not_json),
        (
            json!([{ "issuer": ENDPOINT, "jwks_uri": keys }]).to_string(),
            not_json,
        ),
        (json!({ "issuer": ENDPOINT }).to_string(), not_json),
        (
            json!({ "issuer": 1, "jwks_uri": keys }).to_string(),
            not_json,
        ),
        (
            json!({ "issuer": "https://auth.example.com/", "jwks_uri": keys }).to_string(),
            issuer,
        ),
        (
            json!({ "issuer": "https://evil.example", "jwks_uri": keys }).to_string(),
            issuer,
        ),
        (
            json!({ "issuer": ENDPOINT, "jwks_uri": "https://evil.example/oauth2/jwks" })
                .to_string(),
            uri,
        ),
        (
            json!({ "issuer": ENDPOINT, "jwks_uri": "https://auth.example.com.evil.example/jwks" })
                .to_string(),
            uri,
        ),
        (
            json!({ "issuer": ENDPOINT, "jwks_uri": "https://auth.example.com@evil.example/jwks" })
                .to_string(),
            uri,
        ),
        (
            json!({ "issuer": ENDPOINT, "jwks_uri": "https://auth.example.com:8443/jwks" })
                .to_string(),
            uri,
        ),
        (
            json!({ "issuer": ENDPOINT, "jwks_uri": "http://auth.example.com/jwks" }).to_string(),
            uri,
        ),
        (
            json!({ "issuer": ENDPOINT, "jwks_uri": "/oauth2/jwks" }).to_string(),
            uri,
        ),
        (
            json!({ "issuer": ENDPOINT, "jwks_uri": ENDPOINT }).to_string(),
            uri,
        ),
        (
            json!({ "issuer": ENDPOINT, "jwks_uri": format!("{keys}\r\nx: y") }).to_string(),
            uri,
        ),
    ] {
        assert_eq!(
            failure(&json!({ "discover": true }), &answer(200, body.as_bytes())),
            expected,
            "{body}"
        );
    }
}
