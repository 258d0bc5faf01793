//! One request.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::perform::{Outcome, fault, send};
use super::worker::Worker;
use gate::engine::edit_trailers;

/// The context of one request. The worker keeps what it waits for, since every callback can reach the worker.
pub(super) struct Stream {
    context_id: u32,
    /// `None`: the host made a stream before it configured the root. Nothing is forwarded.
    worker: Option<Rc<Worker>>,
    /// What was decided on the request's headers; a host that asks again gets the same.
    outcome: Option<Outcome>,
}

impl Stream {
    pub(super) fn new(context_id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self {
            context_id,
            worker,
            outcome: None,
        }
    }

    /// The action for the body and trailers of a request: they are forwarded only after the headers are. Envoy does not ask
    /// (see `abi::request_headers`); others may.
    fn rest(&self) -> Action {
        let paused = match (self.outcome, &self.worker) {
            (Some(Outcome::Continue), _) => false,
            (Some(Outcome::Wait), Some(worker)) => worker.is_paused(self.context_id),
            _ => true,
        };
        if paused {
            Action::Pause
        } else {
            Action::Continue
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _: usize) {
        if let Some(worker) = &self.worker {
            worker.response(token, headers, body_size, self.context_id);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let outcome = match (self.outcome, &self.worker) {
            (Some(outcome), _) => outcome,
            (None, Some(worker)) => worker.request(self.context_id),
            (None, None) => {
                send(&fault());
                Outcome::Answered
            }
        };
        self.outcome = Some(outcome);
        match outcome {
            Outcome::Continue => Action::Continue,
            Outcome::Answered | Outcome::Wait => Action::Pause,
        }
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.rest()
    }

    /// No trailer of the reserved family is forwarded, now or when the request is resumed; where one cannot be removed, or
    /// the host does not show the trailers that it has, the request is not forwarded.
    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        let removed = host::request_trailers().is_some_and(|map| {
            map.lines().is_some_and(|trailers| {
                (count == 0 || !trailers.is_empty())
                    && edit_trailers(&trailers).all(host::remove_request_trailer)
            })
        });
        if removed {
            return self.rest();
        }
        // A request that was answered is not answered again, nor one that was forwarded counted again.
        if self.rest() == Action::Continue {
            send(&fault());
        } else if let Some(worker) = &self.worker
            && worker.waits(self.context_id)
        {
            worker.fault(self.context_id, None);
        }
        self.outcome = Some(Outcome::Answered);
        Action::Pause
    }

    /// Adds the resolver's cookies for this client, where the operator wants it.
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        // Only a request that has waited for the resolver has any.
        if self.outcome == Some(Outcome::Wait)
            && let Some(worker) = &self.worker
        {
            for cookie in worker.take_cookies(self.context_id) {
                host::add_response_header("set-cookie", &cookie);
            }
        }
        Action::Continue
    }
}

impl Drop for Stream {
    /// The request has ended, answered or not. No host call may be made here.
    fn drop(&mut self) {
        // The engine keeps no state of a request that was forwarded at once.
        if self.outcome != Some(Outcome::Continue)
            && let Some(worker) = &self.worker
        {
            worker.close(self.context_id);
        }
    }
}
