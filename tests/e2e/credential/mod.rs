//! What a client presents, and which of several credentials counts.

mod cookies;
mod credentials;
mod last_users_token;
mod several_authorizations;

use devkit::client::Request;
use devkit::keys::User;
use devkit::testbed::TestBed;

/// Status and code; a refused request reaches no backend.
async fn assert_refused(bed: &TestBed, what: &str, request: Request, status: u16, code: &str) {
    bed.backend.clear();
    let reply = request.send().await;
    assert_eq!(reply.status, status, "{what}: {reply:?}");
    assert_eq!(reply.json()["code"], code, "{what}");
    bed.assert_nothing_forwarded();
}

/// Forwarded as this user.
async fn assert_admitted(bed: &TestBed, what: &str, request: Request, user: &User) {
    bed.backend.clear();
    let reply = request.send().await;
    assert_eq!(reply.status, 200, "{what}: {reply:?}");
    assert_eq!(bed.only_forwarded().identity(), user.headers(), "{what}");
}
