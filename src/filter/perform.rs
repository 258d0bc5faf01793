//! What the host is asked to do with the request of the effective context.

use super::host;
use super::wire::HeaderMap;
use gate::engine::{Admission, Edit, Reason, Reply, edit_headers};

/// What becomes of a request at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Continue,
    /// It was answered.
    Answered,
    /// It waits, or was answered since.
    Wait,
}

/// Changes the headers. `false`: the host did not take a change.
pub(super) fn edit(edits: &[Edit<'_>]) -> bool {
    edits.iter().all(|edit| match edit {
        Edit::Remove(name) => host::remove_request_header(name),
        Edit::Set(name, value) => host::set_request_header(name, value),
    })
}

/// Forwards a request that has waited. `false`: the host did not.
pub(super) fn forward(admission: &Admission) -> bool {
    let map = host::request_headers();
    let headers = map.as_ref().and_then(HeaderMap::lines);
    let edited = headers.is_some_and(|headers| edit(&edit_headers(&headers, admission)));
    edited && host::resume_request()
}

/// Answers it.
pub(super) fn send(reply: &Reply) {
    let (status, reason) = (reply.status(), reply.reason());
    let id = reply.request_id().unwrap_or("-");
    log::debug!("answered {status}: {reason}; request {id}");
    host::reply(reply);
}

/// The answer to a request where the filter itself fails.
pub(super) fn fault() -> Reply {
    Reply::new(Reason::Internal, false)
}
