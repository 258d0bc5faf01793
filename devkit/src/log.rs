//! The record of requests that a server keeps for its test.

use tokio::sync::watch;

use crate::message::Recorded;
use crate::wait::{DEADLINE, within};

/// Every request a server received, in order.
#[derive(Debug)]
pub(crate) struct Log(watch::Sender<Vec<Recorded>>);

impl Default for Log {
    fn default() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }
}

impl Log {
    pub(crate) fn push(&self, request: Recorded) {
        self.0.send_modify(|all| all.push(request));
    }

    pub(crate) fn clear(&self) {
        self.0.send_modify(Vec::clear);
    }

    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.0.borrow().clone()
    }

    pub(crate) fn to(&self, path: &str) -> Vec<Recorded> {
        to(&self.0.borrow(), path)
    }

    /// Waits until at least `n` requests to `path` have come, and answers all of them.
    pub(crate) async fn wait_for(&self, path: &str, n: usize) -> Vec<Recorded> {
        let mut changes = self.0.subscribe();
        let what = format!("{n} requests to {path}");
        let come = within(
            DEADLINE,
            &what,
            changes.wait_for(|all| to(all, path).len() >= n),
        )
        .await;
        match come {
            Ok(Ok(all)) => to(&all, path),
            _ => panic!("{what} did not come; these did: {:#?}", self.all()),
        }
    }
}

fn to(all: &[Recorded], path: &str) -> Vec<Recorded> {
    all.iter()
        .filter(|request| request.path() == path)
        .cloned()
        .collect()
}
