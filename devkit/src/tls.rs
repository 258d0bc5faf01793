//! A certificate authority for tests, so that Envoy's verification has something to verify.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::server::TlsStream;

pub use crate::server::ServerTls;
use crate::server::{Accepting, Encrypt, Stream};

/// A certificate authority that lives as long as its test.
#[derive(Debug)]
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl TestCa {
    /// A new authority, trusted by nobody yet: give [`TestCa::pem`] to Envoy.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "devkit test CA");
        let key = KeyPair::generate().expect("a new key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key)
                .expect("a certificate of our own making"),
        }
    }

    /// The authority's certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for these names (DNS names or IP addresses).
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> ServerTls {
        let (certificate, key) = self.certificate(names);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("versions that ring supports")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a key that fits its certificate");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        ServerTls(Arc::new(config))
    }

    /// The same for Envoy: a `DownstreamTlsContext` with certificate and key.
    #[must_use]
    pub fn downstream_tls(&self, names: &[&str]) -> Value {
        let (certificate, key) = self.certificate(names);
        json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": { "inline_string": certificate.pem() },
                        "private_key": { "inline_string": key.serialize_pem() },
                    }],
                },
            },
        })
    }

    fn certificate(&self, names: &[&str]) -> (Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a new key");
        let params = CertificateParams::new(names).expect("names that fit a certificate");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate of our own making");
        (certificate, key)
    }
}

impl Encrypt for ServerConfig {
    fn accept(self: Arc<Self>, stream: TcpStream) -> Accepting {
        let handshake = TlsAcceptor::from(self).accept(stream);
        Box::pin(async { Ok(Box::new(handshake.await?) as Box<dyn Stream>) })
    }
}

impl Stream for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}
