//! Every fault that the fake Authgear can show, as a client meets it.

use std::time::Duration;

use devkit::authgear::{Endpoint, FakeAuthgear, Fault, Options};
use devkit::client::{ClientError, Request, raw};
use devkit::message::CannedResponse;

async fn fake_authgear() -> FakeAuthgear {
    let authgear = FakeAuthgear::start(Options::default()).await;
    authgear.configure(|settings| settings.tenant_by_host = false);
    authgear
}

fn jwks(authgear: &FakeAuthgear) -> Request {
    let host = authgear.address().to_string();
    Request::new(authgear.address(), "GET", "/oauth2/jwks").host(&host)
}

#[tokio::test]
async fn a_fault_lasts_for_its_calls_or_until_it_is_cleared() {
    let authgear = fake_authgear().await;
    authgear.fault_next(2, Endpoint::Jwks, Fault::Status(503));
    for expected in [503, 503, 200] {
        assert_eq!(jwks(&authgear).send().await.status, expected);
    }
    authgear.fault(
        Endpoint::Jwks,
        Fault::Redirect("http://127.0.0.1:1/".to_owned()),
    );
    for _ in 0..3 {
        assert_eq!(jwks(&authgear).send().await.status, 302);
    }
    authgear.clear_fault(Endpoint::Jwks);
    assert_eq!(jwks(&authgear).send().await.status, 200);
    assert_eq!(authgear.wait_for_calls("/oauth2/jwks", 7).await.len(), 7);
}

#[tokio::test]
async fn bodies_that_are_no_key_set() {
    let authgear = fake_authgear().await;
    let body = async |fault| {
        authgear.fault_next(1, Endpoint::Jwks, fault);
        jwks(&authgear).send().await
    };
    assert!(serde_json::from_slice::<serde_json::Value>(&body(Fault::Garbage).await.body).is_err());
    assert!(body(Fault::Html).await.text().contains("<form>"));
    assert_eq!(body(Fault::Huge(3 << 20)).await.body.len(), 3 << 20);
    assert_eq!(body(Fault::EmptySet).await.text(), r#"{"keys":[]}"#);
    let custom = CannedResponse::status(299)
        .header("x-a", b"\xff")
        .header("x-a", "2")
        .body("body");
    let reply = body(Fault::Custom(custom)).await;
    assert_eq!((reply.status, &reply.body[..]), (299, &b"body"[..]));
    assert_eq!(reply.headers.all("x-a"), [&b"\xff"[..], b"2"]);
    assert_eq!(body(Fault::LockFailure).await.status, 500);
}

#[tokio::test]
async fn answers_that_break_off() {
    let authgear = fake_authgear().await;
    for fault in [Fault::Truncate, Fault::Reset] {
        authgear.fault_next(1, Endpoint::Jwks, fault);
        assert!(matches!(
            jwks(&authgear).try_send().await,
            Err(ClientError::Http(_))
        ));
    }
    authgear.fault_next(
        1,
        Endpoint::Jwks,
        Fault::Raw("HTTP/1.1 200 OK\r\nbad header\0\r\n\r\n".into()),
    );
    let request = format!(
        "GET /oauth2/jwks HTTP/1.1\r\nhost: {}\r\n\r\n",
        authgear.address()
    );
    assert_eq!(
        raw(authgear.address(), request.as_bytes()).await,
        b"HTTP/1.1 200 OK\r\nbad header\0\r\n\r\n"
    );
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let authgear = fake_authgear().await;
    authgear.fault_next(1, Endpoint::Jwks, Fault::Reset);
    let mut stream = tokio::net::TcpStream::connect(authgear.address())
        .await
        .expect("a connection");
    let request = format!(
        "GET /oauth2/jwks HTTP/1.1\r\nhost: {}\r\n\r\n",
        authgear.address()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let error = stream.read(&mut [0; 16]).await.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn answers_that_take_their_time() {
    let authgear = fake_authgear().await;
    authgear.fault_next(1, Endpoint::Jwks, Fault::Delay(Duration::from_millis(50)));
    let before = std::time::Instant::now();
    assert_eq!(jwks(&authgear).send().await.status, 200);
    assert!(before.elapsed() >= Duration::from_millis(50));
    authgear.fault_next(1, Endpoint::Jwks, Fault::Drip(Duration::from_micros(100)));
    assert_eq!(jwks(&authgear).send().await.json(), authgear.jwks());
    authgear.fault_next(1, Endpoint::Jwks, Fault::Hang);
    let hanging = jwks(&authgear).start();
    authgear.wait_for_calls("/oauth2/jwks", 3).await;
    assert_eq!(
        jwks(&authgear).send().await.status,
        200,
        "only one call hangs"
    );
    assert!(!hanging.is_done());
    authgear.clear_faults();
    assert_eq!(hanging.reply().await.status, 200);
}

#[tokio::test]
async fn a_hold_delays_answers_made_on_arrival() {
    let authgear = fake_authgear().await;
    let hold = authgear.hold(Endpoint::Jwks);
    let old = authgear.jwks();
    let (first, second) = (jwks(&authgear).start(), jwks(&authgear).start());
    hold.wait_for(2).await;
    let leaving = jwks(&authgear).start();
    hold.wait_for(3).await;
    leaving.disconnect().await;
    hold.wait_for(2).await;
    authgear.swap_key();
    hold.release_one();
    hold.wait_for(1).await;
    hold.release();
    assert_eq!(first.reply().await.json(), old);
    assert_eq!(second.reply().await.json(), old);
    assert_ne!(jwks(&authgear).send().await.json(), old);
}
