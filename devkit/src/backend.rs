//! A backend that records what reaches it, and answers what its test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;

use crate::log::Log;
use crate::message::{CannedResponse, Headers, Recorded};
use crate::server::{Handler, Outcome, Server, full, response};

/// A recording backend; it ends when this is dropped.
///
/// It answers 200 with `{"method":…,"target":…,"headers":[[name, value],…]}`; a request with `Upgrade` gets 101, and
/// every byte back that it then sends.
pub struct Backend {
    service: Arc<Service>,
    server: Server,
}

impl Backend {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn start() -> Self {
        let service = Arc::new(Service::default());
        let server = Server::start("127.0.0.1:0", None, service.clone())
            .await
            .expect("a free port");
        Self { service, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Answers this from now on; `None`: the default.
    pub fn answer(&self, answer: Option<CannedResponse>) {
        *self
            .service
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.service.log.all()
    }

    /// Waits until at least `n` requests to a path have come; answers all of them.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for(&self, path: &str, n: usize) -> Vec<Recorded> {
        self.service.log.wait_for(path, n).await
    }

    /// Clears the record of requests.
    pub fn clear(&self) {
        self.service.log.clear();
    }
}

#[derive(Default)]
struct Service {
    log: Log,
    answer: Mutex<Option<CannedResponse>>,
}

impl Handler for Service {
    async fn handle(self: Arc<Self>, mut request: Request<Incoming>, _tls: bool) -> Outcome {
        if let Some(protocol) = request.headers().get(header::UPGRADE).cloned() {
            let upgrade = hyper::upgrade::on(&mut request);
            self.log.push(Recorded::head(&request.into_parts().0));
            tokio::spawn(echo(upgrade));
            return Outcome::Answer(switching_to(protocol));
        }
        let (parts, body) = request.into_parts();
        let mut recorded = Recorded::head(&parts);
        let answer = json!({
            "method": recorded.method, "target": recorded.target, "headers": recorded.headers.to_json(),
        });
        // A client that leaves in the middle of its body has sent no request.
        let Ok(body) = body.collect().await else {
            return Outcome::Reset;
        };
        recorded.trailers = body.trailers().map(Headers::from).unwrap_or_default();
        recorded.body = body.to_bytes();
        self.log.push(recorded);
        let prescribed = self
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Outcome::Answer(response(
            &prescribed.unwrap_or_else(|| CannedResponse::json(&answer)),
        ))
    }
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    if let Ok(connection) = upgrade.await {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(connection));
        let _ = tokio::io::copy(&mut read, &mut write).await;
    }
}

fn switching_to(protocol: HeaderValue) -> Response<crate::server::Body> {
    let mut answer = Response::new(full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(header::UPGRADE, protocol);
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer
}
