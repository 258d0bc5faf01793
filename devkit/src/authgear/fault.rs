//! Faults on demand, and gates that hold answers until the test lets them go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, interval, sleep_until};

use super::resolver::lock_failure;
use crate::message::Canned;
use crate::server::{Body, Outcome, Paced, canned};
use crate::wait::{DEADLINE, within};

/// What faults and gates attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `/oauth2/jwks`.
    Jwks,
    /// Both `/.well-known/` documents.
    Discovery,
    /// `/resolve` and `/_resolver/resolve`.
    Resolver,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status with a short text.
    Status(u16),
    /// The right answer, late.
    Delay(Duration),
    /// No answer until the fault is cleared, then the right one.
    Hang,
    /// The right answer, its body one byte at each interval.
    Drip(Duration),
    /// Half of the body under the `Content-Length` of the whole.
    Truncate,
    /// TCP RST instead of an answer.
    Reset,
    /// 200 with bytes that are no JSON, nor UTF-8.
    Garbage,
    /// 200 with a login page.
    Html,
    /// 200 with so many bytes of JSON white space.
    Huge(usize),
    /// 200 with `{"keys":[]}`.
    EmptySet,
    /// 302 to this place.
    Redirect(String),
    /// 500 as the resolver answers when it cannot get the session's lock.
    LockFailure,
    /// Any answer.
    Custom(Canned),
    /// Any bytes, HTTP or not; then the connection is closed.
    Raw(Bytes),
    /// A firewall: this fault, but only for calls in which this header holds this text.
    If {
        /// The header's name, in lower case.
        header: &'static str,
        /// What its value contains.
        contains: &'static str,
        /// What becomes of them.
        fault: Box<Fault>,
    },
}

impl Fault {
    /// The same, but only for calls in which this header holds this text.
    #[must_use]
    pub fn only_if(self, header: &'static str, contains: &'static str) -> Self {
        Self::If {
            header,
            contains,
            fault: Box::new(self),
        }
    }

    /// What becomes of a call with these headers, if anything.
    fn of(&self, headers: &HeaderMap) -> Option<&Self> {
        let Self::If {
            header,
            contains,
            fault,
        } = self
        else {
            return Some(self);
        };
        let values = headers.get_all(*header).iter();
        let mut values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let holds = values.any(|value| value.contains(contains));
        if holds { fault.of(headers) } else { None }
    }
}

/// Faults and gates of one stand-in.
#[derive(Default)]
pub(super) struct Faults {
    set: watch::Sender<HashMap<Endpoint, (Fault, Option<u64>)>>,
    gates: Mutex<HashMap<Endpoint, Arc<Held>>>,
}

impl Faults {
    pub(super) fn set(&self, endpoint: Endpoint, fault: Fault, times: Option<u64>) {
        self.set.send_modify(|all| {
            all.insert(endpoint, (fault, times));
        });
    }

    pub(super) fn clear(&self, endpoint: Option<Endpoint>) {
        self.set
            .send_modify(|all| all.retain(|at, _| endpoint.is_some_and(|cleared| cleared != *at)));
    }

    /// The fault for a call with these headers, counted.
    fn take(&self, endpoint: Endpoint, headers: &HeaderMap) -> Option<Fault> {
        let mut taken = None;
        self.set.send_if_modified(|all| {
            let Some((fault, times)) = all.get_mut(&endpoint) else {
                return false;
            };
            // A spent entry stays only because calls hang on it: its removal is their release.
            if *times == Some(0) {
                return false;
            }
            let Some(applies) = fault.of(headers) else {
                return false;
            };
            taken = Some(applies.clone());
            if let Some(left) = times {
                *left -= 1;
            }
            if *times == Some(0) && !matches!(taken, Some(Fault::Hang)) {
                all.remove(&endpoint);
            }
            false
        });
        taken
    }

    pub(super) fn gate(&self, endpoint: Endpoint) -> Gate {
        let held = Arc::new(Held {
            waiting: watch::Sender::new(0),
            passes: Semaphore::new(0),
        });
        if let Some(before) = self.gates().insert(endpoint, held.clone()) {
            before.passes.close();
        }
        Gate { held }
    }

    fn gates(&self) -> std::sync::MutexGuard<'_, HashMap<Endpoint, Arc<Held>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the answer while a gate is shut, then lets the fault have its way with it.
    pub(super) async fn pass(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        answer: Canned,
    ) -> Outcome {
        let fault = self.take(endpoint, headers);
        let gate = self.gates().get(&endpoint).cloned();
        if let Some(held) = gate {
            held.pass().await;
        }
        let Some(fault) = fault else {
            return Outcome::Answer(canned(&answer));
        };
        self.apply(endpoint, headers, fault, answer).await
    }

    async fn apply(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        fault: Fault,
        answer: Canned,
    ) -> Outcome {
        let answer = match fault {
            Fault::Status(status) => Canned::status(status).body(format!("fault: {status}\n")),
            Fault::Delay(delay) => {
                sleep_until(Instant::now() + delay).await;
                answer
            }
            Fault::Hang => {
                let mut changes = self.set.subscribe();
                let _ = changes
                    .wait_for(|all| {
                        let hangs = all.get(&endpoint).and_then(|(fault, _)| fault.of(headers));
                        !matches!(hangs, Some(Fault::Hang))
                    })
                    .await;
                answer
            }
            Fault::Drip(every) => return Outcome::Answer(partial(answer, usize::MAX, Some(every))),
            Fault::Truncate => {
                let half = answer.body.len() / 2;
                // An empty body has no half: promise a byte that does not come.
                return Outcome::Answer(partial(answer, half, None));
            }
            Fault::Reset => return Outcome::Reset,
            Fault::Garbage => Canned::status(200).body(&b"{\"keys\":[\xff\xfe\x00{{]"[..]),
            Fault::Html => Canned::html("<!DOCTYPE html><title>Log in</title><form>Log in</form>"),
            Fault::Huge(bytes) => {
                let mut body = b"{\"keys\":[".to_vec();
                body.resize(bytes.max(body.len()), b' ');
                Canned::status(200)
                    .header("content-type", "application/json")
                    .body(body)
            }
            Fault::EmptySet => Canned::json(&serde_json::json!({ "keys": [] })),
            Fault::Redirect(location) => Canned::status(302).header("location", location),
            Fault::LockFailure => lock_failure(),
            Fault::Custom(custom) => custom,
            Fault::Raw(bytes) => return Outcome::Raw(bytes),
            // Taken apart before.
            Fault::If { .. } => answer,
        };
        Outcome::Answer(canned(&answer))
    }
}

/// The first `upto` bytes of the body under the length of all of it.
fn partial(mut answer: Canned, upto: usize, every: Option<Duration>) -> http::Response<Body> {
    let mut body = std::mem::take(&mut answer.body);
    let promised = if upto < usize::MAX {
        body.len().max(1)
    } else {
        body.len()
    };
    body.truncate(upto);
    let answer = answer.header("content-length", promised.to_string());
    canned(&answer).map(|_| {
        Paced {
            rest: body,
            tick: every.map(interval),
        }
        .boxed_unsync()
    })
}

struct Held {
    waiting: watch::Sender<usize>,
    passes: Semaphore,
}

impl Held {
    async fn pass(&self) {
        let _waiting = Waiting::new(&self.waiting);
        // A closed semaphore is an open gate.
        if let Ok(pass) = self.passes.acquire().await {
            pass.forget();
        }
    }
}

/// Counts a call as long as it waits; a caller that leaves is counted no more.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|n| *n += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

/// Holds every answer of an endpoint: made when the call came, sent when the test says so.
///
/// Dropping it opens the gate.
#[must_use = "a gate that is dropped is open"]
pub struct Gate {
    held: Arc<Held>,
}

impl Gate {
    /// How many calls wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        *self.held.waiting.borrow()
    }

    /// Waits until exactly `n` calls wait: fewer too, when callers leave.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn wait_for(&self, n: usize) {
        let mut changes = self.held.waiting.subscribe();
        let what = format!("{n} calls at the gate");
        let come = within(DEADLINE, &what, changes.wait_for(|waiting| *waiting == n))
            .await
            .is_ok();
        assert!(come, "{what} did not come: there are {}", self.waiting());
    }

    /// Lets one call pass, the longest waiting first.
    pub fn release_one(&self) {
        self.held.passes.add_permits(1);
    }

    /// Opens the gate for good.
    pub fn release(self) {}
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.held.passes.close();
    }
}
