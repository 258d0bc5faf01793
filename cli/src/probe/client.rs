//! A request over a connection of its own. Its path goes out as it is spelt, redirects are not followed, and nothing is waited for
//! without an end or read without a bound.

use std::error::Error as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::target::Target;

/// What is read of a body, at the most: much more than the filter's answers have, and enough for headers that are echoed.
const MAX_BODY_BYTES: usize = 262_144;
/// What the head of an answer may be long.
const MAX_HEAD_BYTES: usize = 65_536;
const MAX_HEADERS: usize = 256;
/// Many times what a machine's certificates take.
const MAX_CA_BYTES: u64 = 8_388_608;

/// Why nobody's certificate could be verified.
#[derive(Debug, Error)]
pub(crate) enum RootsError {
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0}: has no certificate in it (PEM)")]
    NoCertificate(PathBuf),
    #[error("{0}: a certificate in it cannot be used: {1}")]
    Certificate(PathBuf, rustls::Error),
    #[error("this machine has no certificates of authorities: name a file of them with --ca-file")]
    None,
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("the name has no address: {0}")]
    Name(io::Error),
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("no HTTP/1.1 answer: {0}")]
    Http(String),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// What came.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether that is all of the body.
    pub(crate) complete: bool,
}

/// What asks.
pub(crate) struct Client {
    tls: TlsConnector,
    timeout: Duration,
}

impl Client {
    /// A client that trusts this machine's authorities, if `tls` is needed at all, and those in `ca_file`.
    pub(crate) fn new(
        tls: bool,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = ca_file {
            add_file(&mut roots, path)?;
        }
        if tls {
            // What a machine has beside good certificates does not matter.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(RootsError::None);
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: Arc::new(config).into(),
            timeout,
        })
    }

    /// Sends a request, and reads its answer.
    pub(crate) async fn send(
        &self,
        target: &Target,
        method: &Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Answer, ClientError> {
        let deadline = Instant::now()
            .checked_add(self.timeout)
            .ok_or(ClientError::Timeout(self.timeout))?;
        // Ends with this request, whatever becomes of it.
        let mut connection = JoinSet::new();
        let head = self.head(target, method, path, headers, &mut connection);
        let head = timeout_at(deadline, head).await;
        let response = head.map_err(|_| ClientError::Timeout(self.timeout))??;
        let (parts, body) = response.into_parts();
        let (body, complete) = read(body, deadline).await;
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            complete,
        })
    }

    async fn head(
        &self,
        target: &Target,
        method: &Method,
        path: &str,
        headers: HeaderMap,
        connection: &mut JoinSet<()>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        // In origin form: it goes out byte by byte.
        let uri: Uri = path.parse().map_err(http_error)?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let stream = self.connect(target).await?;
        let mut builder = http1::Builder::new();
        builder
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS);
        let (mut sender, driver) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(hyper_error)?;
        connection.spawn(async move {
            // What went wrong is said by the request.
            let _ = driver.await;
        });
        sender.send_request(request).await.map_err(hyper_error)
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Stream>, ClientError> {
        let addresses = tokio::net::lookup_host((target.host.as_str(), target.port));
        let addresses: Vec<_> = addresses.await.map_err(ClientError::Name)?.collect();
        let stream = TcpStream::connect(&addresses[..])
            .await
            .map_err(ClientError::Connect)?;
        if !target.tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| ClientError::Tls(io::Error::other(error)))?;
        let stream = self.tls.connect(name, stream).await;
        Ok(Box::new(stream.map_err(ClientError::Tls)?))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The body as far as it comes in time and fits, and whether that is all of it.
async fn read(mut body: Incoming, deadline: Instant) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match timeout_at(deadline, body.frame()).await {
            Ok(None) => return (bytes, true),
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                let room = MAX_BODY_BYTES.saturating_sub(bytes.len());
                bytes.extend(data.iter().take(room));
                if data.len() > room {
                    return (bytes, false);
                }
            }
            Ok(Some(Err(_))) | Err(_) => return (bytes, false),
        }
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), RootsError> {
    use std::io::Read as _;
    let mut pem = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_CA_BYTES).read_to_end(&mut pem))
        .map_err(|error| RootsError::File(path.to_owned(), error))?;
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| RootsError::NoCertificate(path.to_owned()))?;
        roots
            .add(certificate)
            .map_err(|error| RootsError::Certificate(path.to_owned(), error))?;
        found = true;
    }
    if found {
        Ok(())
    } else {
        Err(RootsError::NoCertificate(path.to_owned()))
    }
}

fn http_error(error: http::uri::InvalidUri) -> ClientError {
    ClientError::Http(error.to_string())
}

/// With its cause, which is what tells.
fn hyper_error(error: hyper::Error) -> ClientError {
    let cause = error.source().map(|cause| format!(": {cause}"));
    ClientError::Http(format!("{error}{}", cause.unwrap_or_default()))
}
