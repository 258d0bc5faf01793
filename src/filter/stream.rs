//! One request.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::wire::HeaderMap;
use super::worker::{Outcome, Worker};
use crate::gate::edit_trailers;

/// The context of one request. All that it waits for is kept by the worker, which can be reached from every callback.
pub(super) struct Stream {
    context_id: u32,
    /// `None`: the host made a stream before it configured the root. Nothing is forwarded.
    worker: Option<Rc<Worker>>,
    /// What was answered to the request's headers; a host that asks again is told the same.
    action: Option<Action>,
}

impl Stream {
    pub(super) fn new(context_id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self {
            context_id,
            worker,
            action: None,
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _: usize) {
        if let Some(worker) = &self.worker {
            worker.answered(token, headers, body_size, self.context_id);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(action) = self.action {
            return action;
        }
        let outcome = match &self.worker {
            Some(worker) => worker.enter(self.context_id),
            None => Outcome::fault(),
        };
        let action = match outcome {
            Outcome::Continue => Action::Continue,
            Outcome::Pause => Action::Pause,
        };
        self.action = Some(action);
        action
    }

    /// Cookies of the resolver's for this client, where the operator wants it.
    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(worker) = &self.worker {
            for cookie in worker.take_cookies(self.context_id) {
                host::add_response_header("set-cookie", &cookie);
            }
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let trailers = host::request_trailers();
        if let Some(trailers) = trailers.as_ref().and_then(HeaderMap::lines) {
            for name in edit_trailers(&trailers) {
                host::remove_request_trailer(name);
            }
        }
        Action::Continue
    }
}

impl Drop for Stream {
    /// The request has ended, answered or not. No host call may be made here.
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.left(self.context_id);
        }
    }
}
