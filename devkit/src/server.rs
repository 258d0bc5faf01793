//! A small HTTP server (HTTP/1.1 and HTTP/2, TLS on request) that can also misbehave below HTTP.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Interval;

use crate::message::CannedResponse;

/// Whatever went wrong in a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer.
pub(crate) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// What a handler does with a request.
pub(crate) enum Outcome {
    /// Answers it.
    Answer(Response<Body>),
    /// Writes these bytes instead of HTTP, and closes.
    Raw(Bytes),
    /// Resets the connection (TCP RST).
    Reset,
}

/// The side of a server that answers.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request that came over a connection with or without TLS.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        tls: bool,
    ) -> impl Future<Output = Outcome> + Send;
}

/// A certificate and its key, ready to serve.
#[derive(Clone, Debug)]
pub struct ServerTls(pub(crate) Arc<dyn Encrypt>);

/// What encrypts connections: `crate::tls`, where that is compiled.
pub(crate) trait Encrypt: fmt::Debug + Send + Sync {
    /// The server's side of the handshake.
    fn accept(self: Arc<Self>, stream: TcpStream) -> Accepting;
}

/// A handshake under way.
pub(crate) type Accepting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// A connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// What carries it.
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// A running server; it and its connections end when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens on `address` (port 0: any) and serves in the background.
    pub(crate) async fn start(
        address: &str,
        tls: Option<ServerTls>,
        handler: Arc<impl Handler>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, tls, handler));
        Ok(Self { address, accepting })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The set of connections lives in this future: aborting it ends them all.
async fn accept(listener: TcpListener, tls: Option<ServerTls>, handler: Arc<impl Handler>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, or a client that has closed already: neither ends the server.
                let Ok((stream, _)) = accepted else { tokio::task::yield_now().await; continue };
                connections.spawn(serve(stream, tls.clone(), handler.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<ServerTls>, handler: Arc<impl Handler>) {
    let _ = stream.set_nodelay(true);
    let encrypted = tls.is_some();
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(ServerTls(tls)) => match tls.accept(stream).await {
            Ok(stream) => stream,
            Err(_) => return,
        },
    };
    let control = Arc::new(Control::default());
    let io = TokioIo::new(Io {
        stream,
        control: control.clone(),
    });
    let service = service_fn(move |request| {
        let (handler, control) = (handler.clone(), control.clone());
        async move {
            match handler.handle(request, encrypted).await {
                Outcome::Answer(answer) => Ok(answer),
                Outcome::Raw(bytes) => {
                    control.set_raw(Raw::Sending(bytes));
                    Ok(response(
                        &CannedResponse::status(200).header("connection", "close"),
                    ))
                }
                Outcome::Reset => {
                    control.reset.store(true, Ordering::SeqCst);
                    Err("reset on purpose")
                }
            }
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_headers(2000);
    builder.http2().max_header_list_size(1 << 20);
    let _ = builder.serve_connection_with_upgrades(io, service).await;
}

/// A complete body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// The answer that a test prescribed.
///
/// # Panics
/// Where a status, name or value cannot be sent at all; [`Outcome::Raw`] can send anything.
pub(crate) fn response(answer: &CannedResponse) -> Response<Body> {
    let claims_length = answer
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut response = Response::new(if claims_length {
        Paced {
            rest: answer.body.clone(),
            tick: None,
        }
        .boxed_unsync()
    } else {
        full(answer.body.clone())
    });
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status from 100 to 999");
    for (name, value) in &answer.headers {
        response.headers_mut().append(
            HeaderName::from_bytes(name.as_bytes()).expect("a header name"),
            HeaderValue::from_bytes(value).expect("a header value without control characters"),
        );
    }
    response
}

/// A body that comes byte by byte, or at once; its length is not known to hyper, so the header's stays.
pub(crate) struct Paced {
    pub(crate) rest: Bytes,
    pub(crate) tick: Option<Interval>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let mut next = self.rest.len();
        if let Some(tick) = &mut self.tick {
            ready!(tick.poll_tick(cx));
            next = 1;
        }
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(next)))))
    }
}

/// What a handler can do to its connection.
#[derive(Default)]
struct Control {
    reset: AtomicBool,
    raw: Mutex<Raw>,
}

impl Control {
    fn set_raw(&self, raw: Raw) {
        *self.raw.lock().unwrap_or_else(PoisonError::into_inner) = raw;
    }
}

/// Bytes that take the place of what hyper writes.
#[derive(Default)]
enum Raw {
    #[default]
    Off,
    Sending(Bytes),
    Sent,
}

struct Io {
    stream: Box<dyn Stream>,
    control: Arc<Control>,
}

impl Io {
    fn write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if self.control.reset.load(Ordering::SeqCst) {
            // Closing with a linger of zero is what makes the kernel send RST instead of FIN.
            let _ = self.stream.tcp().set_zero_linger();
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let control = this.control.clone();
        let mut raw = control.raw.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &mut *raw {
                Raw::Off => return this.write(cx, buf),
                Raw::Sent => return Poll::Ready(Ok(buf.len())),
                Raw::Sending(bytes) if bytes.is_empty() => *raw = Raw::Sent,
                Raw::Sending(bytes) => {
                    let written = ready!(this.write(cx, bytes))?;
                    bytes.advance(written);
                }
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
