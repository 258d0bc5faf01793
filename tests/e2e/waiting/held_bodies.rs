//! Requests that wait, and whose bodies, trailers or early bytes come meanwhile: nothing of them is forwarded before the
//! hold is released, whatever the plugin's `allow_on_headers_stop_iteration` says (threats P13, P14).

use devkit::authgear::Endpoint::{self, Jwks, Resolver};
use devkit::authgear::Hold;
use devkit::envoy::capabilities_without;
use devkit::keys::SigningKey;
use devkit::testbed::{Builder, TestBed};
use devkit::wait::{DEADLINE, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The rest of a request, which comes while its headers wait.
#[derive(Clone, Copy, Debug)]
struct Rest {
    headers: &'static str,
    bytes: &'static [u8],
}

const RESTS: [Rest; 5] = [
    Rest {
        headers: "content-length: 1\r\n",
        bytes: b"x",
    },
    Rest {
        headers: "transfer-encoding: chunked\r\n",
        bytes: b"0\r\n\r\n",
    },
    Rest {
        headers: "transfer-encoding: chunked\r\n",
        bytes: b"3\r\nabc\r\n0\r\n\r\n",
    },
    Rest {
        headers: "transfer-encoding: chunked\r\ntrailer: x-authgear-user-id\r\n",
        bytes: b"0\r\nx-authgear-user-id: admin\r\n\r\n",
    },
    Rest {
        headers: "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                  sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        bytes: b"\x81\x05hello",
    },
];

/// What is presented, and what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presented {
    MadeUpSession,
    /// Signed by somebody else, with a `kid` that a fetch may bring.
    UnknownKey,
    /// Signed by somebody else, and there are no keys yet.
    ForgedBeforeKeys,
}

impl Presented {
    fn endpoint(self) -> Endpoint {
        match self {
            Self::MadeUpSession => Resolver,
            Self::UnknownKey | Self::ForgedBeforeKeys => Jwks,
        }
    }

    fn header(self, bed: &TestBed) -> String {
        let other = SigningKey::rsa(3);
        let signed = |key: &SigningKey| bed.authgear.token(&bed.alice).sign(key);
        match self {
            Self::MadeUpSession => "cookie: session=made-up".to_owned(),
            Self::UnknownKey => format!("authorization: Bearer {}", signed(&other.with_kid("new"))),
            Self::ForgedBeforeKeys => {
                let kid = bed.authgear.key();
                let kid = kid.jwk()["kid"].as_str().expect("a kid").to_owned();
                format!("authorization: Bearer {}", signed(&other.with_kid(&kid)))
            }
        }
    }
}

fn fixture(stop_iteration: bool) -> Builder {
    TestBed::builder()
        .patient()
        .stop_iteration(stop_iteration)
        .rules(json!([
            { "match": { "path": "/open" }, "require": "none" },
            { "match": { "path_prefix": "/optional" }, "require": "optional" },
        ]))
        .envoy(|envoy| {
            envoy.manager(|manager| {
                manager["http_protocol_options"] = json!({ "enable_trailers": true });
            })
        })
}

/// A test bed that keeps answers of this endpoint back, from the first on where it is needed.
async fn held(fixture: Builder, presented: Presented) -> (TestBed, Hold) {
    if presented == Presented::ForgedBeforeKeys {
        let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
        let prepared = slot.clone();
        let fixture = fixture.prepare(move |authgear| {
            *prepared.lock().unwrap() = Some(authgear.hold(Jwks));
        });
        let bed = fixture.start().await;
        let hold = slot.lock().unwrap().take().expect("a hold");
        return (bed, hold);
    }
    let bed = fixture.start().await;
    bed.keys_are_there().await;
    let hold = bed.authgear.hold(presented.endpoint());
    (bed, hold)
}

async fn a_call_is_held(hold: &Hold) {
    let called = async || (hold.waiting() > 0).then_some(());
    until(DEADLINE, "a call", called).await.expect("a call");
}

/// The gateway has read all that was sent to it before, as it has one worker, which serves one connection after the other;
/// and nothing of it has been forwarded.
async fn nothing_of_it_goes_on(bed: &TestBed) {
    for _ in 0..3 {
        assert_eq!(bed.get("/open").send().await.status, 200);
    }
    for forwarded in bed.forwarded() {
        assert_eq!(forwarded.target, "/open", "{forwarded:?}");
    }
    bed.backend.clear();
}

/// The status of the response.
async fn status(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.windows(2).any(|two| two == b"\r\n") {
        let read = stream.read_buf(&mut answer).await.expect("an answer");
        assert_ne!(read, 0, "the connection ended without an answer");
    }
    String::from_utf8_lossy(&answer[9..12]).into_owned()
}

async fn nothing_goes_on(stop_iteration: bool, presented: Presented) {
    let mut fixture = fixture(stop_iteration);
    if presented == Presented::UnknownKey {
        fixture = fixture.session(Value::Null);
    }
    rests_go_nowhere(fixture, presented).await;
}

async fn rests_go_nowhere(fixture: Builder, presented: Presented) {
    let (bed, hold) = held(fixture, presented).await;
    let mut streams = Vec::new();
    for rest in RESTS {
        let mut stream = TcpStream::connect(bed.envoy.address()).await.unwrap();
        let method = if rest.headers.contains("websocket") {
            "GET"
        } else {
            "POST"
        };
        let (credential, headers) = (presented.header(&bed), rest.headers);
        let head = format!("{method} /admin HTTP/1.1\r\nhost: a\r\n{credential}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        streams.push((stream, rest));
    }
    bed.wait_for_active(RESTS.len()).await;
    a_call_is_held(&hold).await;
    for (stream, rest) in &mut streams {
        stream.write_all(rest.bytes).await.unwrap();
    }
    nothing_of_it_goes_on(&bed).await;

    drop(hold);
    for (mut stream, rest) in streams {
        assert_eq!(status(&mut stream).await, "401", "{rest:?}");
    }
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn the_rest_of_a_request_with_a_made_up_session_goes_nowhere() {
    nothing_goes_on(false, Presented::MadeUpSession).await;
}

#[tokio::test]
async fn the_rest_of_a_request_with_a_made_up_session_goes_nowhere_with_the_option() {
    nothing_goes_on(true, Presented::MadeUpSession).await;
}

#[tokio::test]
async fn the_rest_of_a_request_with_an_unknown_key_goes_nowhere() {
    nothing_goes_on(false, Presented::UnknownKey).await;
}

#[tokio::test]
async fn the_rest_of_a_request_with_an_unknown_key_goes_nowhere_with_the_option() {
    nothing_goes_on(true, Presented::UnknownKey).await;
}

#[tokio::test]
async fn the_rest_of_a_request_before_the_keys_goes_nowhere() {
    nothing_goes_on(false, Presented::ForgedBeforeKeys).await;
}

#[tokio::test]
async fn the_rest_of_a_request_before_the_keys_goes_nowhere_with_the_option() {
    nothing_goes_on(true, Presented::ForgedBeforeKeys).await;
}

#[tokio::test]
async fn a_host_that_reports_nothing_of_itself_holds_what_waits_all_the_same() {
    let fixture = fixture(true).plugin(|plugin| {
        plugin["capability_restriction_config"] =
            capabilities_without(&["proxy_get_property", "proxy_call_foreign_function"]);
    });
    rests_go_nowhere(fixture, Presented::MadeUpSession).await;
}

/// An HTTP/2 frame (RFC 9113 §4.1) on stream 1, or on 0 for the connection's own.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

/// A header block without compression (RFC 7541 §6.2.2).
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in headers
        .iter()
        .flat_map(|(name, value)| [(true, name), (false, value)])
    {
        if text.0 {
            block.push(0);
        }
        block.push(u8::try_from(text.1.len()).unwrap());
        block.extend(text.1.as_bytes());
    }
    block
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The status in the first HEADERS frame of the answer, as Envoy compresses it: an index of RFC 7541's static table for
/// 200, three digits (Huffman-coded or plain) else.
async fn is_refused_over_http2(stream: &mut TcpStream) -> bool {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.expect("its payload");
        if head[3] == HEADERS {
            // 0x88 is `:status: 200`.
            return payload[0] != 0x88;
        }
    }
}

async fn nothing_goes_on_over_http2(stop_iteration: bool) {
    let trailers = block(&[("x-authgear-user-id", "admin")]);
    let rests = [
        frame(DATA, END_STREAM, 1, b""),
        frame(DATA, END_STREAM, 1, b"x"),
        [frame(DATA, 0, 1, b""), frame(DATA, 0, 1, b"x")].concat(),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers),
    ];
    let (bed, hold) = held(fixture(stop_iteration), Presented::MadeUpSession).await;
    let mut streams = Vec::new();
    for _ in &rests {
        let mut stream = TcpStream::connect(bed.envoy.address()).await.unwrap();
        let head = block(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/admin"),
            ("cookie", "session=made-up"),
        ]);
        let opening = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, b""),
            frame(HEADERS, END_HEADERS, 1, &head),
        ];
        stream.write_all(&opening.concat()).await.unwrap();
        streams.push(stream);
    }
    bed.wait_for_active(rests.len()).await;
    a_call_is_held(&hold).await;
    for (stream, rest) in streams.iter_mut().zip(&rests) {
        stream.write_all(rest).await.unwrap();
    }
    nothing_of_it_goes_on(&bed).await;

    drop(hold);
    for (mut stream, rest) in streams.into_iter().zip(rests) {
        assert!(is_refused_over_http2(&mut stream).await, "{rest:?}");
    }
    bed.assert_nothing_forwarded();
    bed.finish().await;
}

#[tokio::test]
async fn frames_of_a_stream_that_waits_go_nowhere() {
    nothing_goes_on_over_http2(false).await;
}

#[tokio::test]
async fn frames_of_a_stream_that_waits_go_nowhere_with_the_option() {
    nothing_goes_on_over_http2(true).await;
}

async fn uploads_arrive_whole(stop_iteration: bool) {
    const UPLOAD_BYTES: usize = 10 * 1_048_576;
    let upload: Vec<u8> = (0..UPLOAD_BYTES).map(|nth| (nth % 251) as u8).collect();
    for http2 in [false, true] {
        let as_asked = |request: devkit::client::Request| {
            if http2 { request.http2() } else { request }
        };
        for presented in [Presented::ForgedBeforeKeys, Presented::MadeUpSession] {
            let (bed, hold) = held(fixture(stop_iteration), presented).await;
            let request = bed.post("/upload").body(upload.clone());
            let request = match presented {
                Presented::MadeUpSession => request.cookie(bed.cookie()),
                _ => request.bearer(bed.token()),
            };
            let waiting = as_asked(request).start();
            a_call_is_held(&hold).await;
            nothing_of_it_goes_on(&bed).await;

            drop(hold);
            assert_eq!(waiting.reply().await.status, 200);
            let forwarded = bed.only_forwarded();
            assert!(forwarded.body == upload, "{} bytes", forwarded.body.len());
            assert_eq!(forwarded.identity(), bed.alice.headers());
            bed.finish().await;
        }
    }
}

#[tokio::test]
async fn uploads_that_wait_arrive_whole() {
    uploads_arrive_whole(false).await;
}

#[tokio::test]
async fn uploads_that_wait_arrive_whole_with_the_option() {
    uploads_arrive_whole(true).await;
}

async fn good_sessions_keep_their_identity(stop_iteration: bool) {
    let (bed, hold) = held(fixture(stop_iteration), Presented::MadeUpSession).await;
    let mut stream = TcpStream::connect(bed.envoy.address()).await.unwrap();
    let cookie = bed.cookie();
    let head = format!(
        "POST /optional HTTP/1.1\r\nhost: a\r\ncookie: {cookie}\r\ncontent-length: 1\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    a_call_is_held(&hold).await;
    stream.write_all(b"x").await.unwrap();
    nothing_of_it_goes_on(&bed).await;

    drop(hold);
    assert_eq!(status(&mut stream).await, "200");
    let forwarded = bed.only_forwarded();
    assert_eq!(forwarded.identity(), bed.alice.headers());
    assert_eq!(&forwarded.body[..], b"x");
    bed.finish().await;
}

#[tokio::test]
async fn where_a_user_is_optional_a_good_session_keeps_its_identity() {
    good_sessions_keep_their_identity(false).await;
}

#[tokio::test]
async fn where_a_user_is_optional_a_good_session_keeps_its_identity_with_the_option() {
    good_sessions_keep_their_identity(true).await;
}
