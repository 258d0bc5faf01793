//! The client: a few connections that are never idle, and requests that were written before.
//!
//! One thread, blocking, connection after connection: per request it makes one write and one read, so that Envoy waits
//! for nobody, and nobody but Envoy is measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any answer that is expected here.
const BUFFER_BYTES: usize = 16 * 1024;
/// More than any such answer has.
const MAX_HEADERS: usize = 32;

/// Connections to one Envoy.
pub(super) struct Load {
    connections: Vec<Connection>,
}

impl Load {
    pub(super) fn connect(address: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        let connect = |_| Connection::open(address);
        let connections = (0..connections).map(connect).collect::<Result<_, _>>()?;
        Ok(Self { connections })
    }

    /// Sends these requests, one under way on each connection. Every answer has this status.
    pub(super) fn run<'r>(
        &mut self,
        mut requests: impl Iterator<Item = &'r [u8]>,
        status: u16,
    ) -> anyhow::Result<()> {
        let mut under_way = 0;
        for connection in &mut self.connections {
            under_way += usize::from(connection.send_next(&mut requests)?);
        }
        while under_way > 0 {
            for connection in &mut self.connections {
                if connection.waiting {
                    let answered = connection.receive()?;
                    if answered != status {
                        bail!(
                            "answered {answered} instead of {status}:\n{}",
                            String::from_utf8_lossy(&connection.received)
                        );
                    }
                    under_way -= 1;
                    under_way += usize::from(connection.send_next(&mut requests)?);
                }
            }
        }
        Ok(())
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    waiting: bool,
}

impl Connection {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("connecting to Envoy")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            received: Vec::with_capacity(BUFFER_BYTES),
            waiting: false,
        })
    }

    /// Whether there was a request left to send.
    fn send_next<'r>(
        &mut self,
        requests: &mut impl Iterator<Item = &'r [u8]>,
    ) -> anyhow::Result<bool> {
        let request = requests.next();
        self.waiting = request.is_some();
        if let Some(request) = request {
            self.stream
                .write_all(request)
                .context("writing a request")?;
        }
        Ok(self.waiting)
    }

    /// The status of the one answer that is due.
    fn receive(&mut self) -> anyhow::Result<u16> {
        self.received.clear();
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let count = self
                .stream
                .read(&mut buffer)
                .context("waiting for an answer")?;
            ensure!(count > 0, "Envoy closed the connection");
            self.received.extend_from_slice(&buffer[..count]);
            if let Some((status, length)) = measure(&self.received)?
                && self.received.len() >= length
            {
                ensure!(self.received.len() == length, "more than one answer");
                return Ok(status);
            }
        }
    }
}

/// Status and whole length of an answer, once its head is there.
fn measure(received: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(end) = head.parse(received).context("an answer")? else {
        return Ok(None);
    };
    let length = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .with_context(|| format!("no length: {head:?}"))?;
    let body: usize = std::str::from_utf8(length.value)?.parse()?;
    Ok(Some((head.code.context("no status")?, end + body)))
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn an_answer_is_measured_once_its_head_is_there() {
        let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(measure(&answer[..20]).unwrap(), None);
        assert_eq!(measure(answer).unwrap(), Some((401, answer.len())));
        assert!(measure(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
