//! One request.

use std::cell::Cell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::worker::{Told, Worker};
use gate::engine::edit_trailers;

/// The context of one request. All that it waits for is kept by the worker, which can be reached from every callback.
pub(super) struct Stream {
    context_id: u32,
    /// `None`: the host made a stream before it configured the root. Nothing is forwarded.
    worker: Option<Rc<Worker>>,
    /// What was answered to the request's headers; a host that asks again is told the same.
    action: Option<Action>,
    /// Whether the request has waited, and may go on now.
    resumed: Rc<Cell<bool>>,
}

impl Stream {
    pub(super) fn new(context_id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self {
            context_id,
            worker,
            action: None,
            resumed: Rc::default(),
        }
    }

    /// What holds for the rest of a request: it follows its headers, and goes nowhere before they do. Envoy does not ask
    /// (see `abi::request_headers`); others may.
    fn rest(&self) -> Action {
        match self.action {
            Some(Action::Continue) => Action::Continue,
            _ if self.resumed.get() => Action::Continue,
            _ => Action::Pause,
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
            Some(worker) => worker.enter(self.context_id, &self.resumed),
            None => Told::fault(),
        };
        let action = match outcome {
            Told::Continue => Action::Continue,
            Told::Pause => Action::Pause,
        };
        self.action = Some(action);
        action
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.rest()
    }

    /// None of the reserved family goes on, now or when the request is resumed; where one cannot be removed, nothing does.
    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let removed = host::request_trailers().is_some_and(|map| {
            map.lines()
                .is_some_and(|trailers| edit_trailers(&trailers).all(host::remove_request_trailer))
        });
        if removed {
            return self.rest();
        }
        // Who was answered is not answered again.
        let answered = self.rest() == Action::Pause
            && !self
                .worker
                .as_ref()
                .is_some_and(|worker| worker.waits(self.context_id));
        self.action = Some(Action::Pause);
        self.resumed.set(false);
        if !answered && let Some(worker) = &self.worker {
            worker.left(self.context_id);
            worker.fault();
        }
        Action::Pause
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
}

impl Drop for Stream {
    /// The request has ended, answered or not. No host call may be made here.
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.left(self.context_id);
        }
    }
}
