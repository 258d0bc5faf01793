//! A plugin whose configuration is invalid, and that has none from before: it answers every request with 503.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::metrics::HostCounters;
use super::perform::send;
use gate::engine::{Admission, Counter, Counters, Edit, Reason, Reply, Request, edit_headers};

/// What its requests share.
#[derive(Debug)]
pub(super) struct Closed {
    host_counters: HostCounters,
    counters: Counters,
}

impl Closed {
    pub(super) fn new() -> Self {
        Self {
            host_counters: HostCounters::define(),
            counters: Counters::default(),
        }
    }

    /// Reports the counts to the host.
    pub(super) fn report(&self) {
        self.host_counters.report(&self.counters);
    }

    fn answer(&self) {
        let map = host::request_headers().unwrap_or_default();
        let headers = map.lines().unwrap_or_default();
        // Envoy logs the request: no name that the client gave itself may get there.
        for edit in edit_headers(&headers, &Admission::Unchecked) {
            match edit {
                Edit::Remove(name) => host::remove_request_header(name),
                Edit::Set(name, value) => host::set_request_header(name, &value),
            };
        }
        let reason = Reason::InvalidConfiguration;
        self.counters.add(Counter::from(reason));
        let request = Request::new(&headers);
        send(&Reply::new(reason, request.is_grpc()).to(request.id()));
    }
}

/// One request. It is not forwarded.
pub(super) struct ClosedStream {
    closed: Rc<Closed>,
    answered: bool,
}

impl ClosedStream {
    pub(super) fn new(closed: Rc<Closed>) -> Self {
        Self {
            closed,
            answered: false,
        }
    }
}

impl Context for ClosedStream {}

impl HttpContext for ClosedStream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        if !std::mem::replace(&mut self.answered, true) {
            self.closed.answer();
        }
        Action::Pause
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        Action::Pause
    }
}
