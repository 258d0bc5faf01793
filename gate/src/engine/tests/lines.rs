//! What the log says of calls that fail: what is wrong, where, and what to do about it. Never a secret.

use std::cell::RefCell;

use super::engine::Host;
use super::*;
use crate::callout::DispatchError;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the lines of each thread apart: tests run at the same time.
struct PerThread;

impl log::Log for PerThread {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// The lines that this thread logs meanwhile.
fn logged(meanwhile: impl FnOnce()) -> Vec<String> {
    if log::set_logger(&PerThread).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
    LINES.take();
    meanwhile();
    LINES.take()
}

/// The one line about a call to the resolver that was answered so, and the one about a fetch of keys.
fn about(answer: &Answer) -> [String; 2] {
    let resolver = logged(|| {
        let credential =
            SessionCredential::Cookies("session=0123456789abcdef; app_session=x".into());
        let _ = Fixture::new().resolved(0, &credential, Some(answer));
    });
    let keys = logged(|| {
        let mut fixture = Fixture::remote();
        let polled = fixture.gate.poll_keys(ALONE, true, fixture.now);
        let fetch = polled.into_iter().find_map(|(_, polled)| polled.fetch);
        let id = fetch.expect("a fetch").id;
        fixture
            .gate
            .fetched(0, id, Ok(answer), ALONE, fixture.now, 0);
    });
    [resolver, keys].map(|lines| {
        let [line] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert!(line.contains("cluster \"authgear\""), "{line}");
        line.clone()
    })
}

/// As Envoy 1.40 has them, with its runtime flag off where there is a reason.
#[test]
fn a_call_that_fails_on_its_way_says_what_to_do() {
    const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";
    let reset = |reason: &str| [RESET, reason].concat();
    let tls = |error: &str| {
        let code = "remote connection failure, transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:";
        [RESET, code, error, ":TLS_error_end"].concat()
    };
    for (status, body, hint) in [
        (
            503,
            tls("CERTIFICATE_VERIFY_FAILED:verify cert failed: SAN matcher"),
            "\"trusted_ca\"",
        ),
        (503, tls("WRONG_VERSION_NUMBER"), "does not speak TLS"),
        (503, tls("TLSV1_ALERT_UNRECOGNIZED_NAME"), "\"sni\""),
        (503, tls("SSLV3_ALERT_HANDSHAKE_FAILURE"), "\"sni\""),
        (
            503,
            reset(
                "remote connection failure, transport failure reason: delayed connect error: Connection refused",
            ),
            "nobody listens there: look at address and port)",
        ),
        (503, reset("remote connection failure"), "or TLS fails"),
        (503, reset("connection termination"), "\"transport_socket\""),
        (503, reset("connection timeout"), "firewall"),
        (502, reset("protocol error"), "\"transport_socket\""),
        (503, "no healthy upstream".to_owned(), "DNS"),
        (504, "upstream request timeout".to_owned(), "takes too long"),
        (502, "<html>502 Bad Gateway</html>".to_owned(), ""),
        (500, "internal error".to_owned(), ""),
    ] {
        for line in about(&answer(status, &[], body.as_bytes())) {
            assert!(line.contains(&format!("status {status}")), "{line}");
            assert!(line.contains(&format!(": \"{body}\"")), "{line}");
            assert!(line.contains(hint), "{line}");
        }
    }
    // A server for TLS that got plain HTTP: only what to do.
    for body in [
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        "Client sent an HTTP request to an HTTPS server.\n",
    ] {
        for line in about(&answer(400, &[], body.as_bytes())) {
            assert!(
                line.contains("that port speaks TLS: give the cluster a \"transport_socket\""),
                "{line}"
            );
            assert!(!line.contains(body.trim()), "{line}");
        }
    }
}

#[test]
fn only_errors_are_shown_and_only_what_is_printable_and_short() {
    let secret = "session=0123456789abcdef";
    for (status, body) in [
        (301, "moved"),
        (404, "app not found"),
        (429, "slow down"),
        // The proxy before the resolver repeats what it was sent, whole or in part.
        (500, "cookie: session=0123456789abcdef"),
        (502, "<td>01234567"),
    ] {
        let [line, _] = about(&answer(status, &[], body.as_bytes()));
        assert!(!line.contains(body) && !line.contains(secret), "{line}");
        assert!(line.contains(&format!("status {status}")), "{line}");
    }
    let body = [&b"a\r\nb\"c\\d\x1b[31m\xff"[..], &[b'x'; 10_000]].concat();
    for line in about(&answer(500, &[], &body)) {
        assert!(line.contains(": \"a  b'c'd [31m xxx"), "{line}");
        assert!(
            line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{line}"
        );
        assert!(line.len() < 800, "{line}");
    }
}

#[test]
fn of_a_body_that_may_say_why_the_beginning_is_read() {
    for (status, size, longest, read) in [
        (200, 10, 10, Some(10)),
        (200, 11, 10, None),
        (200, 0, 0, Some(0)),
        (302, 1, 0, None),
        (400, 3, 0, Some(3)),
        (503, 100_000, 0, Some(512)),
        (503, 100_000, 8 << 20, Some(512)),
    ] {
        let answer = answer(status, &[], b"");
        assert_eq!(answer.bytes_to_read(size, longest), read, "{status} {size}");
    }
    assert_eq!(Answer::default().bytes_to_read(1, 0), None);
}

#[test]
fn a_call_that_is_not_sent_says_whether_envoy_knows_the_cluster() {
    for (error, expected) in [
        (
            DispatchError::UnknownCluster,
            "Envoy knows no such cluster: is it in \"clusters\", spelt so?",
        ),
        (
            DispatchError::NotStarted,
            "the cluster has no healthy endpoint (look at its addresses, DNS and health checks)",
        ),
    ] {
        let lines = logged(|| {
            let mut host = Host::new(|_| {});
            host.with(|engine, env| {
                engine.handle_timeout(true, env);
                while let Some(Action::Call(call)) = engine.poll_action(Caller::Root, env) {
                    engine.handle_dispatched(call, Err(error), env);
                }
            });
            let headers = request("/", &[("cookie", "session=a")]);
            let asked = Request::new(&headers);
            let decision = host.with(|engine, env| engine.handle_request(1, &asked, &|| None, env));
            let Decision::Wait(Some(call)) = decision else {
                panic!("{decision:?}");
            };
            host.with(|engine, env| engine.handle_dispatched(call, Err(error), env));
        });
        for part in ["JWKS: not sent: ", "resolver fails: not sent: "] {
            let line = lines.iter().find(|line| line.contains(part));
            let line = line.unwrap_or_else(|| panic!("{part}: {lines:?}"));
            assert!(line.contains(expected), "{line}");
            assert!(line.contains("cluster \"authgear\""), "{line}");
        }
    }
}

#[test]
fn a_header_of_the_resolvers_that_cannot_be_handed_on_is_named() {
    for (name, value, expected) in [
        (
            "x-authgear-user-id",
            "a b",
            "an \"x-authgear-user-id\" that is not 1 to 256 characters",
        ),
        (
            "x-authgear-user-roles",
            "a, b",
            "a role in \"x-authgear-user-roles\" that is empty",
        ),
        (
            "x-authgear-session-amr",
            "pwd  otp",
            "a method in \"x-authgear-session-amr\" that is empty",
        ),
        (
            "x-authgear-user-roles",
            &"x".repeat(20_000),
            "more than 16 KiB in \"x-authgear-user-roles\"",
        ),
    ] {
        let mut headers = ALICE.headers();
        headers.retain(|(other, _)| other != name);
        headers.push((name.to_owned(), value.to_owned()));
        let said = answer(200, &headers, b"");
        let credential = SessionCredential::Cookies("session=s".into());
        let lines = logged(|| drop(Fixture::new().resolved(0, &credential, Some(&said))));
        let line = lines.concat();
        assert!(
            line.contains(&format!("answered with {expected}")),
            "{line}"
        );
        assert!(
            line.contains("does something between Envoy and the resolver change its headers?"),
            "{line}"
        );
    }
}
