//! Faults on demand, and holds that keep answers back until the test releases them.

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
use crate::message::CannedResponse;
use crate::server::{Body, Outcome, Paced, response};
use crate::wait::{DEADLINE, within};

/// Where faults and holds apply.
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
    Custom(CannedResponse),
    /// Any bytes, HTTP or not; then the connection is closed.
    Raw(Bytes),
    /// A firewall: this fault, but only for calls in which this header holds this text.
    If {
        /// The header's name, in lower case.
        header: &'static str,
        /// What its value contains.
        contains: &'static str,
        /// The fault that they meet.
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

    /// The fault that a call with these headers meets, if any.
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

/// Faults and holds of one fake Authgear.
#[derive(Default)]
pub(super) struct Faults {
    set: watch::Sender<HashMap<Endpoint, (Fault, Option<u64>)>>,
    holds: Mutex<HashMap<Endpoint, Arc<HoldState>>>,
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
            // A used-up entry stays only because calls wait for it: removing it answers them.
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

    pub(super) fn hold(&self, endpoint: Endpoint) -> Hold {
        let held = Arc::new(HoldState {
            waiting: watch::Sender::new(0),
            passes: Semaphore::new(0),
        });
        if let Some(before) = self.holds().insert(endpoint, held.clone()) {
            before.passes.close();
        }
        Hold { held }
    }

    fn holds(&self) -> std::sync::MutexGuard<'_, HashMap<Endpoint, Arc<HoldState>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the answer back while a hold is on its endpoint, then applies the fault to it.
    pub(super) async fn pass(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        answer: CannedResponse,
    ) -> Outcome {
        let fault = self.take(endpoint, headers);
        let hold = self.holds().get(&endpoint).cloned();
        if let Some(held) = hold {
            held.pass().await;
        }
        let Some(fault) = fault else {
            return Outcome::Answer(response(&answer));
        };
        self.apply(endpoint, headers, fault, answer).await
    }

    async fn apply(
        &self,
        endpoint: Endpoint,
        headers: &HeaderMap,
        fault: Fault,
        answer: CannedResponse,
    ) -> Outcome {
        let answer = match fault {
            Fault::Status(status) => {
                CannedResponse::status(status).body(format!("fault: {status}\n"))
            }
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
                // An empty body has no half: announce a byte that does not come.
                return Outcome::Answer(partial(answer, half, None));
            }
            Fault::Reset => return Outcome::Reset,
            Fault::Garbage => CannedResponse::status(200).body(&b"{\"keys\":[\xff\xfe\x00{{]"[..]),
            Fault::Html => {
                CannedResponse::html("<!DOCTYPE html><title>Log in</title><form>Log in</form>")
            }
            Fault::Huge(bytes) => {
                let mut body = b"{\"keys\":[".to_vec();
                body.resize(bytes.max(body.len()), b' ');
                CannedResponse::status(200)
                    .header("content-type", "application/json")
                    .body(body)
            }
            Fault::EmptySet => CannedResponse::json(&serde_json::json!({ "keys": [] })),
            Fault::Redirect(location) => CannedResponse::status(302).header("location", location),
            Fault::LockFailure => lock_failure(),
            Fault::Custom(custom) => custom,
            Fault::Raw(bytes) => return Outcome::Raw(bytes),
            // `of` has replaced it by the fault within.
            Fault::If { .. } => answer,
        };
        Outcome::Answer(response(&answer))
    }
}

/// The first `upto` bytes of the body under the length of all of it.
fn partial(
    mut answer: CannedResponse,
    upto: usize,
    every: Option<Duration>,
) -> http::Response<Body> {
    let mut body = std::mem::take(&mut answer.body);
    let promised = if upto < usize::MAX {
        body.len().max(1)
    } else {
        body.len()
    };
    body.truncate(upto);
    let answer = answer.header("content-length", promised.to_string());
    response(&answer).map(|_| {
        Paced {
            rest: body,
            tick: every.map(interval),
        }
        .boxed_unsync()
    })
}

struct HoldState {
    waiting: watch::Sender<usize>,
    passes: Semaphore,
}

impl HoldState {
    async fn pass(&self) {
        let _waiting = Waiting::new(&self.waiting);
        // The hold that was released or replaced has closed the semaphore.
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

/// Keeps every answer of an endpoint back: made when the call came, sent when the test says so.
///
/// Dropping it releases every answer.
#[must_use = "a hold that is dropped holds nothing"]
pub struct Hold {
    held: Arc<HoldState>,
}

impl Hold {
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
        let what = format!("{n} calls to be held");
        let come = within(DEADLINE, &what, changes.wait_for(|waiting| *waiting == n))
            .await
            .is_ok();
        assert!(come, "{what} did not come: there are {}", self.waiting());
    }

    /// Lets one call pass, the longest waiting first.
    pub fn release_one(&self) {
        self.held.passes.add_permits(1);
    }

    /// Releases every answer, those to come too.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.passes.close();
    }
}
