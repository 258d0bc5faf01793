//! A client for tests: every request on a connection of its own, header values as bytes, repetition allowed.
//!
//! ```no_run
//! # async fn test() {
//! use devkit::client::Request;
//!
//! let gateway = "127.0.0.1:10000".parse().unwrap();
//! let reply = Request::new(gateway, "GET", "/api/me").bearer("eyJ…").send().await;
//! assert_eq!(reply.status, 200);
//!
//! let waiting = Request::new(gateway, "GET", "/api/me").cookie("session=…").start();
//! waiting.disconnect().await;
//! # }
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::message::{Headers, Reply};
use crate::wait::{DEADLINE, within};

/// More than any answer has that a test reads.
const MAX_HEADERS: usize = 2000;

/// What can go wrong with a request: a gateway that resets, refuses or never answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection could not be made, or broke.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// What came was no HTTP answer.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// No answer within the deadline.
    #[error(transparent)]
    TimedOut(#[from] crate::wait::TimedOut),
}

/// A request that is being put together.
#[derive(Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    address: SocketAddr,
    http2: bool,
    method: Method,
    target: String,
    authority: Option<String>,
    headers: HeaderMap,
    body: Bytes,
    connection: Option<Connection>,
    protocol: Option<&'static str>,
}

impl Request {
    /// A request to this address.
    ///
    /// # Panics
    /// Where the method is not valid; [`raw`] can send anything.
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            http2: false,
            method: method.parse().expect("a method"),
            target: target.to_owned(),
            authority: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            connection: None,
            protocol: None,
        }
    }

    /// Adds a header; a name may be repeated.
    ///
    /// # Panics
    /// Where hyper would not send it (control characters); [`raw`] can send anything.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value =
            HeaderValue::from_bytes(value.as_ref()).expect("a value without control characters");
        self.headers.append(name, value);
        self
    }

    /// Adds `Authorization: Bearer …`.
    pub fn bearer(self, token: impl AsRef<[u8]>) -> Self {
        self.header("authorization", [b"Bearer ", token.as_ref()].concat())
    }

    /// Adds a `Cookie` header: one line, e.g. `session=…`.
    pub fn cookie(self, cookies: impl AsRef<[u8]>) -> Self {
        self.header("cookie", cookies)
    }

    /// `Host`, or `:authority`; otherwise the gateway's address.
    pub fn host(mut self, authority: &str) -> Self {
        self.authority = Some(authority.to_owned());
        self
    }

    /// The body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Over HTTP/2 (prior knowledge).
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// An extended `CONNECT` over HTTP/2, which asks for this protocol: `websocket` (RFC 8441).
    pub fn connect_to(mut self, protocol: &'static str) -> Self {
        self.method = Method::CONNECT;
        self.protocol = Some(protocol);
        self.http2()
    }

    /// Over a connection that is kept, so that the worker that served the requests before serves it.
    pub fn over(mut self, connection: &Connection) -> Self {
        self.connection = Some(connection.clone());
        self
    }

    /// Sends it, and waits for the whole answer.
    ///
    /// # Panics
    /// Where no answer comes; [`Request::try_send`] says why instead.
    pub async fn send(self) -> Reply {
        let what = format!("{self:?}");
        self.try_send()
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends it, and waits for the whole answer.
    ///
    /// # Errors
    /// Where no answer comes.
    pub async fn try_send(self) -> Result<Reply, ClientError> {
        let what = format!("the answer to {self:?}");
        within(DEADLINE, &what, self.exchange()).await?
    }

    /// Sends it in the background.
    pub fn start(self) -> InFlight {
        InFlight(tokio::spawn(self.try_send()))
    }

    async fn exchange(self) -> Result<Reply, ClientError> {
        if let Some(connection) = self.connection.clone() {
            let mut sender = connection.0.lock().await;
            // HTTP/2 takes many at a time.
            let many = match &*sender {
                Sender::Http2(sender) => Some(sender.clone()),
                Sender::Http1(_) => None,
            };
            let Some(many) = many else {
                return sender.exchange(self).await;
            };
            drop(sender);
            return Sender::Http2(many).exchange(self).await;
        }
        let (mut sender, driver) = connect(self.address, self.http2).await?;
        // Dropping this future (`disconnect`) closes the connection.
        tokio::select! {
            reply = sender.exchange(self) => reply,
            never = async { driver.await; std::future::pending().await } => never,
        }
    }

    fn into_http(self) -> http::Request<Full<Bytes>> {
        let authority = self.authority.unwrap_or_else(|| self.address.to_string());
        let uri: Uri = if self.http2 {
            Uri::builder()
                .scheme("http")
                .authority(authority.as_str())
                .path_and_query(self.target.as_str())
                .build()
        } else {
            Uri::try_from(self.target.as_str()).map_err(Into::into)
        }
        .unwrap_or_else(|error| {
            panic!("{:?}: {error}; client::raw can send anything", self.target)
        });
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        if let Some(protocol) = self.protocol {
            request
                .extensions_mut()
                .insert(hyper::ext::Protocol::from_static(protocol));
        }
        if !self.http2 {
            let host = HeaderValue::from_str(&authority).expect("an authority");
            request.headers_mut().insert(http::header::HOST, host);
        }
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        request
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {:?}",
            self.method,
            self.target,
            Headers::from(&self.headers)
        )
    }
}

/// A connection that is kept: HTTP/1.1 requests on it go one after the other, HTTP/2 requests side by side.
#[derive(Clone)]
pub struct Connection(Arc<tokio::sync::Mutex<Sender>>);

impl Connection {
    /// Opens one.
    ///
    /// # Panics
    /// Where nobody listens.
    pub async fn open(address: SocketAddr, http2: bool) -> Self {
        let (sender, driver) = connect(address, http2).await.expect("somebody to listen");
        tokio::spawn(driver);
        Self(Arc::new(tokio::sync::Mutex::new(sender)))
    }
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn exchange(&mut self, request: Request) -> Result<Reply, ClientError> {
        let request = request.into_http();
        let answer = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (parts, body) = answer.into_parts();
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: Headers::from(&parts.headers),
            body: body.collect().await?.to_bytes(),
        })
    }
}

type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn connect(address: SocketAddr, http2: bool) -> Result<(Sender, Driver), ClientError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    if http2 {
        let (sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
        return Ok((
            Sender::Http2(sender),
            Box::pin(async { drop(driver.await) }),
        ));
    }
    let (sender, driver) = hyper::client::conn::http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .handshake(io)
        .await?;
    Ok((
        Sender::Http1(sender),
        Box::pin(async { drop(driver.await) }),
    ))
}

/// A request under way.
pub struct InFlight(JoinHandle<Result<Reply, ClientError>>);

impl InFlight {
    /// Whether the answer is there.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_finished()
    }

    /// The answer.
    ///
    /// # Panics
    /// Where none comes.
    pub async fn reply(self) -> Reply {
        self.0
            .await
            .expect("a request that was not aborted")
            .expect("an answer")
    }

    /// Leaves without waiting for the answer: the connection is closed when this returns.
    pub async fn disconnect(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// Sends these bytes as they are, and answers what came back until the end of the first response, or of the connection.
///
/// # Panics
/// Where the address does not answer at all, or the other side neither answers nor closes.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        // A reset after an answer is how a server closes on bytes that it did not read.
        let head_only = bytes.starts_with(b"HEAD ");
        while !is_complete(&answer, head_only)
            && stream.read_buf(&mut answer).await.unwrap_or(0) > 0
        {}
        Ok::<_, std::io::Error>(answer)
    };
    let answer = within(DEADLINE, "an answer to raw bytes", exchange).await;
    answer.expect("an answer").expect("a connection")
}

/// As [`raw`], and reads the answer: status 0 where the connection was closed without one.
///
/// # Panics
/// As [`raw`].
pub async fn raw_reply(address: SocketAddr, bytes: &[u8]) -> Reply {
    let answer = raw(address, bytes).await;
    match split(&answer) {
        Some((status, headers, body)) => Reply {
            status,
            headers,
            body: Bytes::copy_from_slice(body),
        },
        None => Reply {
            status: 0,
            headers: Headers::default(),
            body: answer.into(),
        },
    }
}

/// Status, headers and body of an answer whose head is whole.
fn split(answer: &[u8]) -> Option<(u16, Headers, &[u8])> {
    let mut fields = vec![httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = head.parse(answer).ok()? else {
        return None;
    };
    let headers = head
        .headers
        .iter()
        .map(|field| (field.name.to_owned(), field.value.to_vec()))
        .collect();
    Some((head.code?, headers, &answer[end..]))
}

/// Whether a whole response is there; one without a length ends with the connection.
fn is_complete(answer: &[u8], head_only: bool) -> bool {
    let Some((status, headers, body)) = split(answer) else {
        return false;
    };
    if head_only || status < 200 || status == 204 {
        return true;
    }
    if headers.text("transfer-encoding").as_deref() == Some("chunked") {
        return has_last_chunk(body);
    }
    let length = headers.text("content-length");
    length
        .and_then(|length| length.parse().ok())
        .is_some_and(|length| body.len() >= length)
}

/// Whether the last chunk is there, and the trailers behind it (RFC 9112 §7.1).
fn has_last_chunk(mut body: &[u8]) -> bool {
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(body) {
        let rest = &body[start..];
        if size == 0 {
            return rest.starts_with(b"\r\n") || rest.windows(4).any(|four| four == b"\r\n\r\n");
        }
        let end = usize::try_from(size)
            .ok()
            .and_then(|size| size.checked_add(2));
        let Some(next) = end.and_then(|end| rest.get(end..)) else {
            return false;
        };
        body = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_head_says() {
        for (whole, head_only) in [
            (
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}",
                false,
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", false),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n0\r\n\r\nab\r\n0\r\n\r\n",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n",
                false,
            ),
        ] {
            let bytes = whole.as_bytes();
            assert!(is_complete(bytes, head_only), "{whole:?}");
            for end in 0..bytes.len() {
                let part = &bytes[..end];
                assert!(!is_complete(part, head_only), "{whole:?} up to {end}");
            }
        }
        assert!(!is_complete(b"HTTP/1.1 200 OK\r\n\r\nto the end", false));
    }

    #[test]
    fn bytes_of_a_header_stay_as_they_are() {
        let answer = b"HTTP/1.1 200 OK\r\nA: \xff\r\na:  b \r\n\r\nbody";
        let (status, headers, body) = split(answer).expect("a head");
        assert_eq!((status, body), (200, &b"body"[..]));
        assert_eq!(headers.all("a"), [&b"\xff"[..], b"b"]);
    }
}
