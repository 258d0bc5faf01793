//! What the resolver is asked: an allow-list, and no secret anywhere else (threats H13, X7, R9, Q2).

use super::*;

/// The example of W3C Trace Context.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SECRET: &str = "c0ffee00c0ffee00c0ffee00c0ffee00";

fn headers(credential: &SessionCredential, client: &ClientFacts) -> Vec<(&'static str, String)> {
    let endpoint = Endpoint::parse("https://auth.example.com:8443").unwrap();
    let policy = policy(&json!({ "cluster": "resolver", "path": "/resolve", "timeout": "700ms" }));
    let call = credential.call(&endpoint, &policy, client);
    assert_eq!(
        (call.cluster.as_str(), call.timeout),
        ("resolver", Duration::from_millis(700))
    );
    call.headers
}

fn always() -> Vec<(&'static str, String)> {
    [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/resolve"),
        (":authority", "auth.example.com:8443"),
        ("x-forwarded-host", "auth.example.com:8443"),
        ("x-forwarded-proto", "https"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

#[test]
fn a_token_is_asked_for_as_a_token_and_cookies_as_cookies() {
    let nobody = ClientFacts::default();
    let mut expected = always();
    expected.push(("authorization", format!("Bearer {SECRET}")));
    assert_eq!(
        headers(&SessionCredential::Bearer(SECRET.into()), &nobody),
        expected
    );
    let mut expected = always();
    expected.push(("cookie", format!("session={SECRET}")));
    assert_eq!(
        headers(&cookies(&format!("session={SECRET}")), &nobody),
        expected
    );
}

#[test]
fn of_the_client_the_resolver_learns_its_agent_its_address_and_its_trace() {
    let client = ClientFacts {
        user_agent: Some("curl/8".to_owned()),
        address: Some("192.0.2.1".to_owned()),
        traceparent: Some(TRACE.into()),
    };
    let mut expected = always();
    expected.push(("cookie", "session=a".to_owned()));
    expected.push(("user-agent", "curl/8".to_owned()));
    expected.push(("x-forwarded-for", "192.0.2.1".to_owned()));
    expected.push(("traceparent", TRACE.to_owned()));
    assert_eq!(headers(&cookies("session=a"), &client), expected);
}

/// By W3C Trace Context.
#[test]
fn a_trace_is_passed_on_only_where_it_is_one() {
    let facts = |traces: &[&[u8]]| {
        let headers: Vec<(&[u8], &[u8])> = traces
            .iter()
            .map(|trace| (&b"traceparent"[..], *trace))
            .collect();
        ClientFacts::new(&headers, None)
    };
    for trace in [
        TRACE,
        "00-00000000000000000000000000000001-0000000000000001-00",
    ] {
        let client = facts(&[trace.as_bytes()]);
        assert_eq!(client.traceparent.as_deref(), Some(trace));
        assert!(!client.is_empty(), "a failed call is made again without it");
    }
    let part = |at: usize, text: &str| {
        let mut trace = TRACE.to_owned();
        trace.replace_range(at..at + text.len(), text);
        trace.into_bytes()
    };
    for trace in [
        Vec::new(),
        part(0, "01"),
        part(0, "ff"),
        part(2, "_"),
        part(3, "A"),
        part(3, "g"),
        part(3, &"0".repeat(32)),
        part(35, "-"),
        part(36, &"0".repeat(16)),
        part(53, "0F"),
        part(54, "\r"),
        format!("{TRACE}-00").into_bytes(),
        TRACE.as_bytes()[..54].to_vec(),
        [&TRACE.as_bytes()[..54], b"\xff"].concat(),
        format!("{TRACE},{TRACE}").into_bytes(),
    ] {
        let shown = String::from_utf8_lossy(&trace).into_owned();
        assert!(
            facts(&[&trace[..]]).is_empty() == (trace != TRACE.as_bytes()),
            "{shown}"
        );
    }
    assert!(
        facts(&[TRACE.as_bytes(), TRACE.as_bytes()]).is_empty(),
        "two"
    );
}

#[test]
fn a_credential_is_never_shown() {
    for credential in [
        SessionCredential::Bearer(SECRET.into()),
        SessionCredential::Jwt(SECRET.into()),
        cookies(&format!("session={SECRET}")),
    ] {
        let mut cache = SessionCache::new(4);
        let policy = policy(&json!({}));
        let answer = yes();
        let said = Verdict::read(Some(&answer));
        cache
            .settle(
                &credential,
                said,
                Heard {
                    answer: Some(&answer),
                    asked_at: Ticks::default(),
                },
                &policy,
                Ticks::default(),
                0,
            )
            .unwrap();
        let mut in_flight = InFlightCalls::default();
        in_flight.join(
            0,
            &credential,
            1,
            ClientFacts::default(),
            Duration::ZERO,
            Ticks::default(),
        );
        let shown = format!("{credential:?} {credential:#?} {cache:?} {in_flight:?}");
        assert!(!shown.contains("c0ffee"), "{shown}");
    }
}

#[test]
fn a_token_and_a_cookie_of_the_same_bytes_are_two_credentials() {
    let bearer = SessionCredential::Bearer("session=a".into());
    assert_ne!(bearer, cookies("session=a"));
}
