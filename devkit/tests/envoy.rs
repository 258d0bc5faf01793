//! The launcher, against the real Envoy.

use devkit::backend::Backend;
use devkit::client::{Connection, Request, raw_reply};
use devkit::envoy::{Builder, Envoy, EnvoyError};
use devkit::tls::TestCa;
use serde_json::json;

/// An Envoy without the filter: what is tested here is the launcher.
async fn plain(change: impl FnOnce(Builder) -> Builder) -> (Envoy, Backend) {
    let backend = Backend::start().await;
    let envoy = change(Envoy::builder().upstream(backend.address()))
        .start()
        .await;
    (envoy, backend)
}

#[tokio::test]
async fn a_request_passes_with_its_bytes_and_repetitions() {
    let (envoy, backend) = plain(|envoy| envoy).await;
    let request = Request::new(envoy.address(), "POST", "/a?b=c")
        .header("x-bytes", b"\xa1b")
        .body("body");
    let reply = request
        .header("x-twice", "1")
        .header("x-twice", "2")
        .send()
        .await;
    assert_eq!(
        (reply.status, &reply.json()["target"]),
        (200, &json!("/a?b=c"))
    );
    let seen = backend.wait_for("/a", 1).await.remove(0);
    assert_eq!(seen.headers.get("x-bytes"), Some(&b"\xa1b"[..]));
    assert_eq!(seen.headers.all("x-twice"), [b"1", b"2"]);
    assert_eq!(&seen.body[..], b"body");
    envoy.assert_no_trap();
}

#[tokio::test]
async fn http2_kept_connections_and_raw_bytes_are_served() {
    let (envoy, backend) = plain(|envoy| envoy).await;
    for http2 in [false, true] {
        let connection = Connection::open(envoy.address(), http2).await;
        for _ in 0..2 {
            let request = Request::new(envoy.address(), "GET", "/kept")
                .host("app.example.com")
                .over(&connection);
            let request = if http2 { request.http2() } else { request };
            assert_eq!(request.send().await.status, 200);
        }
    }
    assert_eq!(
        envoy.stat("http.gateway.downstream_cx_total").await,
        Some(2)
    );
    assert!(
        backend
            .requests()
            .iter()
            .all(|request| request.authority == "app.example.com")
    );
    assert_eq!(
        raw_reply(envoy.address(), b"nonsense\r\n\r\n").await.status,
        400
    );
}

#[tokio::test]
async fn an_upgrade_is_echoed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (envoy, _backend) = plain(|envoy| envoy).await;
    let mut stream = tokio::net::TcpStream::connect(envoy.address())
        .await
        .expect("a connection");
    let head =
        b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(head).await.expect("written");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut seen).await.expect("an answer"), 0);
    }
    assert!(
        seen.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&seen)
    );
    stream.write_all(b"ping").await.expect("written");
    let mut four = [0; 4];
    stream.read_exact(&mut four).await.expect("an echo");
    assert_eq!(&four, b"ping");
}

#[tokio::test]
async fn a_client_that_leaves_is_gone() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = silent.local_addr().expect("an address");
    let (envoy, _backend) = plain(|envoy| {
        envoy.cluster("silent", &[address]).route(json!({
            "match": { "prefix": "/" }, "route": { "cluster": "silent" },
        }))
    })
    .await;
    let waiting = Request::new(envoy.address(), "GET", "/").start();
    envoy
        .wait_for_stat("http.gateway.downstream_rq_active", |n| n == 1)
        .await;
    waiting.disconnect().await;
    envoy
        .wait_for_stat("http.gateway.downstream_rq_active", |n| n == 0)
        .await;
    assert_eq!(
        envoy
            .stat("http.gateway.downstream_cx_destroy_remote")
            .await,
        Some(1)
    );
}

#[tokio::test]
async fn envoy_ends_with_its_handle() {
    let (envoy, _backend) = plain(|envoy| envoy).await;
    let port = envoy.admin_address();
    assert!(envoy.usage().resident > 1 << 20);
    assert_eq!(envoy.ended(), None);
    drop(envoy);
    assert!(tokio::net::TcpStream::connect(port).await.is_err());
}

#[tokio::test]
async fn a_configuration_that_envoy_refuses_is_reported_with_its_reason() {
    let refused = Envoy::builder().manager(|manager| manager["no_such_field"] = json!(1));
    let Err(EnvoyError::Ended { log, .. }) = refused.try_start().await else {
        panic!("accepted")
    };
    assert!(log.contains("no_such_field"), "{log}");
    let refused = Envoy::builder().manager(|manager| manager["no_such_field"] = json!(1));
    assert!(refused.validate().await.is_err());
    Envoy::builder()
        .cluster("app", &[])
        .validate()
        .await
        .expect("a sound configuration");
}

#[tokio::test]
async fn a_cluster_with_tls_verifies_the_name_and_the_authority() {
    let (ca, stranger) = (TestCa::new(), TestCa::new());
    let certificate = ca.issue(&["auth.example.com"]);
    let options = devkit::authgear::Options {
        tls: Some(certificate),
        ..Default::default()
    };
    let authgear = devkit::authgear::FakeAuthgear::start(options).await;
    let trials = [
        ("auth.example.com", ca.pem(), 200),
        ("other.example.com", ca.pem(), 503),
        ("auth.example.com", stranger.pem(), 503),
    ];
    for (name, pem, expected) in trials {
        let envoy = Envoy::builder()
            .tls_cluster("app", authgear.address(), name, &pem)
            .start()
            .await;
        let reply = Request::new(envoy.address(), "GET", "/healthz")
            .send()
            .await;
        assert_eq!(reply.status, expected, "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn the_filter_is_loaded_and_reloaded_while_envoy_runs() {
    let (mut envoy, backend) = plain(|envoy| {
        envoy
            .filter(&config("https://one.example.com"))
            .cluster("authgear", &[])
            .reloadable()
            .concurrency(2)
    })
    .await;
    let before = envoy.address();
    envoy
        .reload(&config("https://two.example.com"))
        .await
        .expect("accepted");
    envoy
        .reload(&config("https://two.example.com"))
        .await
        .expect("accepted again");
    assert_eq!(Request::new(before, "GET", "/").send().await.status, 401);
    assert!(envoy.reload(&json!({ "projects": 1 })).await.is_err());
    assert_eq!(Request::new(before, "GET", "/").send().await.status, 401);
    assert!(backend.requests().is_empty());
    envoy.assert_no_trap();
}

fn config(endpoint: &str) -> serde_json::Value {
    json!({ "projects": [{ "endpoint": endpoint, "cluster": "authgear" }] })
}

#[tokio::test]
async fn raw_bytes_are_answered_with_or_without_a_body() {
    let (envoy, _backend) = plain(|envoy| envoy).await;
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", 400),
    ] {
        assert_eq!(
            raw_reply(envoy.address(), request.as_bytes()).await.status,
            status,
            "{request:?}"
        );
    }
}
