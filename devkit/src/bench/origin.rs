//! Everything behind Envoy, as cheap as it can be: Authgear's keys and resolver, and a backend.
//!
//! Not the fake Authgear: that one records every call, and here there are a million.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use serde_json::Value;

/// What the filter and ext_authz ask.
pub(super) const RESOLVER: &str = "/_resolver/resolve";

/// The server; its threads end with the process.
pub(super) struct Origin {
    address: SocketAddr,
    resolved: Arc<AtomicU64>,
}

struct Answers {
    documents: HashMap<String, Vec<u8>>,
    /// The bytes before and after the user ID.
    resolver: (Vec<u8>, Vec<u8>),
    backend: Vec<u8>,
    resolved: Arc<AtomicU64>,
}

impl Origin {
    /// Serves these documents by their paths, and the headers of this user to every call to the resolver, but for the ID:
    /// each session has a user of its own.
    pub(super) fn start(
        documents: &[(String, Value)],
        user: &[(String, String)],
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let resolved = Arc::new(AtomicU64::new(0));
        let others = user.iter().filter(|(name, _)| name != USER_ID);
        let others: String = others
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let resolver = (
            format!("HTTP/1.1 200 OK\r\n{others}{USER_ID}: ").into_bytes(),
            b"\r\ncontent-length: 0\r\n\r\n".to_vec(),
        );
        let documents = documents
            .iter()
            .map(|(path, document)| (path.clone(), answer(&document.to_string())));
        let answers = Arc::new(Answers {
            documents: documents.collect(),
            resolver,
            backend: answer("hello\n"),
            resolved: resolved.clone(),
        });
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let answers = answers.clone();
                thread::spawn(move || serve(connection, &answers));
            }
        });
        Ok(Self { address, resolved })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often the resolver was asked so far.
    pub(super) fn resolved(&self) -> u64 {
        self.resolved.load(Ordering::SeqCst)
    }
}

const USER_ID: &str = "x-authgear-user-id";

fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// Requests without bodies, one after another, until the peer closes.
fn serve(mut connection: TcpStream, answers: &Answers) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = connection
            .read(&mut buffer)
            .ok()
            .filter(|count| *count > 0)?;
        received.extend_from_slice(&buffer[..count]);
        while let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let answer = choose(&received[..end], answers);
            connection.write_all(&answer).ok()?;
            received.drain(..end + 4);
        }
    }
}

fn choose<'a>(head: &[u8], answers: &'a Answers) -> Cow<'a, [u8]> {
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if path.starts_with(RESOLVER.as_bytes()) {
        answers.resolved.fetch_add(1, Ordering::SeqCst);
        let (before, after) = &answers.resolver;
        return [before, user_of(head), after].concat().into();
    }
    let document = std::str::from_utf8(path)
        .ok()
        .and_then(|path| answers.documents.get(path));
    document.unwrap_or(&answers.backend).into()
}

/// The part of a session that names the user: its first.
fn user_of(head: &[u8]) -> &[u8] {
    const COOKIE: &[u8] = b"session=";
    let at = head.windows(COOKIE.len()).position(|part| part == COOKIE);
    let session = at.map_or(&b"nobody"[..], |at| &head[at + COOKIE.len()..]);
    let end = session
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-'));
    &session[..end.unwrap_or(session.len())]
}
