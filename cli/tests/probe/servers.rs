//! Servers that are no gateway, TLS, and what no server should do.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use devkit::testbed::{TestBed, closed_port};
use devkit::tls::TestCa;

use crate::{file, path, probe, url};

/// Answers each connection in this way, on a thread of its own that ends with the test's process.
fn server(answer: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), answer) = (stream, answer.clone()) else {
                continue;
            };
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                answer(stream);
            });
        }
    });
    address
}

/// Writes until nobody reads.
fn forever(mut stream: TcpStream, head: &[u8], piece: &[u8]) {
    let pieces = piece.repeat(1_000);
    if stream.write_all(head).is_ok() {
        while stream.write_all(&pieces).is_ok() {}
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_shown() {
    let run = probe([url(closed_port(), "/account")]).await;
    assert_eq!(run.status, 2, "{run:#?}");
    assert!(run.stdout.contains("no connection"), "{run:#?}");
    assert!(run.stdout.contains(" 15 more were not sent"), "{run:#?}");
}

#[tokio::test]
async fn a_name_without_an_address_cannot_be_asked() {
    let run = probe(["http://nothing.invalid/account"]).await;
    assert_eq!(run.status, 2, "{run:#?}");
}

#[tokio::test]
async fn a_route_that_cannot_be_asked_does_not_hide_one_that_is_open() {
    let open = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let run = probe([url(closed_port(), "/a"), url(open, "/b")]).await;
    assert_eq!(run.status, 1, "{run:#?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let silent = server(|stream| {
        // Until the client leaves.
        let _ = (&stream).read(&mut [0; 1]);
    });
    // Its connections are never accepted.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [silent, deaf.local_addr().unwrap()] {
        let start = Instant::now();
        let run = probe([&*url(address, "/account"), "--timeout", "1"]).await;
        assert_eq!(run.status, 2, "{run:#?}");
        assert!(run.stdout.contains("no answer within 1 s"), "{run:#?}");
        assert!(start.elapsed() < Duration::from_secs(60), "{run:#?}");
    }
}

#[tokio::test]
async fn what_is_no_http_cannot_be_asked() {
    for garbage in [
        &b"\x16\x03\x01\x02\x00garbage\r\n\r\n"[..],
        b"HTTP/1.1 999999 no\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ] {
        let address = server(move |mut stream| {
            let _ = stream.write_all(garbage);
        });
        let run = probe([&*url(address, "/account"), "--timeout", "5"]).await;
        assert_eq!(run.status, 2, "{garbage:?}: {run:#?}");
    }
}

/// The status is known all the same. A 401 that is endless is not the filter's.
#[tokio::test]
async fn an_answer_without_an_end_is_no_hang() {
    for (head, piece, status) in [
        (&b"HTTP/1.1 "[..], &b"2"[..], 2),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 2),
        (
            b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\n\r\n",
            b"                ",
            3,
        ),
        (
            b"HTTP/1.1 401 Unauthorized\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
            3,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"xxxxxxxx", 1),
    ] {
        let address = server(move |stream| forever(stream, head, piece));
        // It is the length that ends it, not the time.
        let start = Instant::now();
        let run = probe([&*url(address, "/account"), "--timeout", "300"]).await;
        assert_eq!(run.status, status, "{head:?}: {run:#?}");
        assert!(start.elapsed() < Duration::from_secs(300), "{run:#?}");
    }
    let address = server(|stream| forever(stream, b"", b"HTTP/1.1 100 Continue\r\n\r\n"));
    let run = probe([&*url(address, "/account"), "--timeout", "2"]).await;
    assert_eq!(run.status, 2, "{run:#?}");
}

/// What was promised of it never comes. The status is known.
#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let assert_given_up = async |head: &'static [u8], status| {
        let address = server(move |mut stream| {
            let _ = stream.write_all(head);
            // Until the client leaves.
            let _ = stream.read(&mut [0; 1]);
        });
        let run = probe([&*url(address, "/account"), "--timeout", "1"]).await;
        assert_eq!(run.status, status, "{run:#?}");
    };
    // Each gives up sixteen times.
    tokio::join!(
        assert_given_up(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", 1),
        assert_given_up(
            b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 9\r\n\r\nx",
            3
        ),
    );
}

#[tokio::test]
async fn after_three_requests_without_an_answer_no_more_are_sent() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let address = server(move |mut stream| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let run = probe([url(address, "/account")]).await;
    assert_eq!(run.status, 2, "{run:#?}");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    assert!(run.stdout.contains("12 more were not sent"), "{run:#?}");
    assert!(
        run.stdout.contains("15 of 16 requests have no answer"),
        "{run:#?}"
    );
}

/// Text of the server's is not repeated: it may drive the terminal.
#[tokio::test]
async fn nothing_of_an_answer_is_printed() {
    for (status, body) in [
        ("401 loud", "\x1b[31mloud"),
        ("401 x", r#"{"code":"loud","message":"loud"}"#),
        ("302 x", "loud"),
        ("200 x", r#"{"headers":{"x-authgear-user-id":"loud"}}"#),
        ("401 \x1b[31mloud", "loud"),
    ] {
        let address = server(move |mut stream| {
            let head = "server: loud\r\nlocation: /loud\r\nwww-authenticate: Bearer realm=\"loud\"\r\n\
                        cache-control: no-store\r\ncontent-type: application/json";
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}"
            );
        });
        let token = file("good.token");
        for format in ["human", "json"] {
            let gate = url(address, "/account");
            let run = probe([
                &*gate,
                "--format",
                format,
                "--echo",
                "--token-file",
                &path(&token),
            ])
            .await;
            for printed in [&run.stdout, &run.stderr] {
                assert!(!printed.contains("loud"), "{run:#?}");
            }
        }
    }
}

#[tokio::test]
async fn certificates_are_verified() {
    let ca = TestCa::new();
    let tls = ca.downstream_tls(&["127.0.0.1"]);
    let bed = TestBed::builder()
        .envoy(|envoy| {
            envoy.bootstrap(move |bootstrap| {
                let listener = &mut bootstrap["static_resources"]["listeners"][0];
                listener["filter_chains"][0]["transport_socket"] = tls.clone();
            })
        })
        .start()
        .await;
    let port = bed.envoy.address().port();
    let gate = format!("https://127.0.0.1:{port}/account");
    let ca_file = file(&ca.pem());
    let stranger = file(&TestCa::new().pem());
    let token = file(&bed.token());

    let run = probe([
        &*gate,
        "--ca-file",
        &path(&ca_file),
        "--echo",
        "--token-file",
        &path(&token),
    ])
    .await;
    assert_eq!(run.status, 0, "{run:#?}");

    let run = probe([&*gate, "--ca-file", &path(&stranger)]).await;
    assert_eq!(run.status, 2, "{run:#?}");
    assert!(run.stdout.contains("TLS: "), "{run:#?}");
    assert!(run.stdout.contains("--ca-file"), "{run:#?}");

    let other_name = format!("https://localhost:{port}/account");
    let run = probe([&*other_name, "--ca-file", &path(&ca_file)]).await;
    assert_eq!(run.status, 2, "{run:#?}");
    assert!(run.stdout.contains("TLS: "), "{run:#?}");

    // Plain HTTP to a TLS listener.
    let run = probe([format!("http://127.0.0.1:{port}/account")]).await;
    assert_eq!(run.status, 2, "{run:#?}");
}
