//! Crowds that have waited and can all proceed at once: they are settled a few at a time, and the worker lives (threat E5).
//!
//! Envoy performs what a callback asks for after the callback, one within the other: a filter that refuses a crowd in one
//! callback traps its VM, deeper in a longer chain of filters.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use devkit::authgear::Endpoint::{self, Jwks, Resolver};
use devkit::authgear::{Fault, Hold};
use devkit::client::{Connection, InFlight, Request};
use devkit::keys::SigningKey;
use devkit::testbed::{Builder, TestBed, assert_answered};
use devkit::wait::{DEADLINE, until};
use serde_json::{Value, json};

const CLOSED: &str = "FAIL_CLOSED";
const RELOAD: &str = "FAIL_RELOAD";

/// What a crowd has waited for, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The resolver says no.
    No,
    /// The resolver fails.
    Failure,
    /// The first fetch of keys fails.
    NoKeys,
    /// A fetch of keys brings none for the tokens' `kid`.
    UnknownKey,
    /// No answer comes in time: a tick ends the waiting.
    Overdue,
    /// All are valid, and the backend is full.
    FullBackend,
}

use End::{Failure, FullBackend, No, NoKeys, Overdue, UnknownKey};

#[derive(Clone, Copy, Debug)]
struct Crowd {
    end: End,
    size: usize,
    workers: usize,
    policy: &'static str,
    http2: bool,
}

fn crowd(end: End, size: usize, workers: usize, policy: &'static str) -> Crowd {
    Crowd {
        end,
        size,
        workers,
        policy,
        http2: true,
    }
}

impl Crowd {
    fn over_http1(self) -> Self {
        Self {
            http2: false,
            ..self
        }
    }

    /// What the crowd waits for.
    fn endpoint(self) -> Endpoint {
        match self.end {
            NoKeys | UnknownKey => Jwks,
            No | Failure | Overdue | FullBackend => Resolver,
        }
    }

    fn fixture(self, keys_hold: &KeysHold) -> Builder {
        let policy = self.policy;
        let limit = match self.end {
            // Of those who may wait, an eighth may do so for a key that a good set does not have.
            UnknownKey => 8 * self.size,
            _ => self.size,
        };
        let fixture = TestBed::builder()
            .patient()
            .workers(self.workers)
            .envoy(|envoy| long_chain(envoy).failure_policy(policy))
            .configure(move |config| config["limits"] = json!({ "waiting_requests": limit }));
        match self.end {
            NoKeys => {
                let hold = Arc::clone(keys_hold);
                fixture.prepare(move |authgear| {
                    *hold.lock().unwrap() = Some(authgear.hold(Jwks));
                    authgear.fault(Jwks, Fault::Status(500));
                })
            }
            UnknownKey => fixture.session(Value::Null),
            Overdue => fixture.project(|project| project["session"]["timeout"] = json!("5s")),
            FullBackend => fixture.envoy(|envoy| {
                envoy.bootstrap(|bootstrap| {
                    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut();
                    for cluster in clusters.into_iter().flatten() {
                        if cluster["name"] == "app" {
                            cluster["circuit_breakers"] =
                                json!({ "thresholds": [{ "max_pending_requests": 0, "max_requests": 0 }] });
                        }
                    }
                })
            }),
            No | Failure => fixture,
        }
    }

    fn request(self, bed: &TestBed, good: &str) -> Request {
        let request = bed.get("/crowd");
        match self.end {
            NoKeys => request.bearer(good),
            UnknownKey => request.bearer(good),
            FullBackend => request.cookie(good),
            No | Failure | Overdue => request.cookie("session=dud"),
        }
    }

    /// What all of them present: signing takes longer than verifying.
    fn credential(self, bed: &TestBed) -> String {
        match self.end {
            NoKeys => bed.token(),
            UnknownKey => {
                let unknown = SigningKey::rsa(3).with_kid("unknown");
                bed.authgear.token(&bed.alice).sign(&unknown)
            }
            FullBackend => bed.cookie(),
            No | Failure | Overdue => String::new(),
        }
    }

    fn status(self) -> u16 {
        match self.end {
            No | UnknownKey => 401,
            Failure | NoKeys | Overdue | FullBackend => 503,
        }
    }

    async fn is_settled_without_a_trap(self) {
        let keys_hold = KeysHold::default();
        let bed = self.fixture(&keys_hold).start().await;
        let hold = match self.end {
            NoKeys => keys_hold.lock().unwrap().take().expect("a hold"),
            _ => {
                bed.keys_are_there().await;
                bed.authgear.hold(self.endpoint())
            }
        };
        if self.end == Failure {
            bed.authgear.fault(Resolver, Fault::Status(500));
        }
        let credential = self.credential(&bed);

        // Their streams make the calls, so that the answers are lost with them.
        let leaders: Vec<InFlight> = match self.end {
            Overdue => (0..16 * self.workers)
                .map(|_| self.request(&bed, &credential).start())
                .collect(),
            _ => Vec::new(),
        };
        bed.wait_for_active(leaders.len()).await;
        let connections = self.connections(&bed).await;
        let crowd: Vec<InFlight> = (leaders.len()..self.size)
            .map(|nth| {
                let request = self.request(&bed, &credential);
                match connections.get(nth % connections.len().max(1)) {
                    Some(connection) => request.http2().over(connection),
                    None => request,
                }
            })
            .map(Request::start)
            .collect();
        bed.wait_for_active(self.size).await;
        let called = async || (hold.waiting() > 0).then_some(());
        until(DEADLINE, "a call", called).await.expect("a call");
        for leader in leaders {
            leader.disconnect().await;
        }

        let released = Instant::now();
        if self.end == Overdue {
            bed.wait_for_active(0).await;
        } else {
            drop(hold);
        }
        assert_answered(crowd, self.status()).await;
        println!(
            "{self:?}: the last was answered after {:?}",
            released.elapsed()
        );

        bed.authgear.clear_faults();
        bed.assert_nothing_forwarded();
        for worker in bed.every_worker().await {
            let next = || bed.get("/next").bearer(bed.token()).over(&worker);
            bed.until_status(200, next).await;
        }
        bed.envoy.assert_no_trap();
    }

    /// One for each worker and some more, so that each has some; for HTTP/1.1, every request has its own.
    async fn connections(self, bed: &TestBed) -> Vec<Connection> {
        let many = match (self.http2, self.workers) {
            (false, _) => 0,
            (true, 1) => 1,
            (true, workers) => 4 * workers,
        };
        let mut connections = Vec::new();
        for _ in 0..many {
            connections.push(Connection::open(bed.envoy.address(), true).await);
        }
        connections
    }
}

type KeysHold = Arc<Mutex<Option<Hold>>>;

/// Other filters around ours, and an access log: each answer goes through all of them. `/next` needs no
/// backend.
fn long_chain(envoy: devkit::envoy::Builder) -> devkit::envoy::Builder {
    const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";
    let cors = json!({
        "name": "envoy.filters.http.cors",
        "typed_config": { "@type": format!("{FILTERS}.cors.v3.Cors") },
    });
    let compressor = json!({
        "name": "envoy.filters.http.compressor",
        "typed_config": {
            "@type": format!("{FILTERS}.compressor.v3.Compressor"),
            "compressor_library": {
                "name": "gzip",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip",
                },
            },
        },
    });
    let lua = json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": format!("{FILTERS}.lua.v3.Lua"),
            "default_source_code": { "inline_string": "function envoy_on_request(handle) handle:headers():add('x-lua', '1') end\n\
                function envoy_on_response(handle) handle:headers():add('x-lua', '1') end" },
        },
    });
    envoy
        .filter_before(cors)
        .filter_before(compressor)
        .filter_before(lua.clone())
        .filter_after(lua)
        .route(json!({ "match": { "path": "/next" }, "direct_response": { "status": 200 } }))
        .manager(|manager| {
            manager["http2_protocol_options"] = json!({ "max_concurrent_streams": 20_000 });
            manager["access_log"] = json!([{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": "/dev/null",
                },
            }]);
        })
}

/// Each with a thousand: under both policies, on one worker and on four, over HTTP/2 and HTTP/1.1.
async fn a_thousand(end: End) {
    for crowd in [
        crowd(end, 1_000, 1, CLOSED),
        crowd(end, 1_000, 4, RELOAD),
        crowd(end, 1_000, 1, RELOAD),
        crowd(end, 1_000, 4, CLOSED),
        crowd(end, 1_000, 1, CLOSED).over_http1(),
    ] {
        crowd.is_settled_without_a_trap().await;
    }
}

/// As many as may wait.
async fn ten_thousand(end: End) {
    for crowd in [crowd(end, 10_000, 1, CLOSED), crowd(end, 10_000, 4, RELOAD)] {
        crowd.is_settled_without_a_trap().await;
    }
}

#[tokio::test]
async fn a_thousand_whom_the_resolver_refuses_leave_the_worker_alive() {
    a_thousand(No).await;
}

#[tokio::test]
async fn a_thousand_for_whom_the_resolver_fails_leave_the_worker_alive() {
    a_thousand(Failure).await;
}

#[tokio::test]
async fn a_thousand_for_whom_the_first_keys_do_not_come_leave_the_worker_alive() {
    a_thousand(NoKeys).await;
}

#[tokio::test]
async fn a_thousand_with_an_unknown_key_leave_the_worker_alive() {
    a_thousand(UnknownKey).await;
}

#[tokio::test]
async fn a_thousand_who_have_waited_too_long_leave_the_worker_alive() {
    a_thousand(Overdue).await;
}

#[tokio::test]
async fn a_thousand_who_find_the_backend_full_leave_the_worker_alive() {
    a_thousand(FullBackend).await;
}

#[tokio::test]
async fn ten_thousand_whom_the_resolver_refuses_leave_the_worker_alive() {
    ten_thousand(No).await;
}

#[tokio::test]
async fn ten_thousand_for_whom_the_resolver_fails_leave_the_worker_alive() {
    ten_thousand(Failure).await;
}

#[tokio::test]
async fn ten_thousand_for_whom_the_first_keys_do_not_come_leave_the_worker_alive() {
    ten_thousand(NoKeys).await;
}

#[tokio::test]
async fn as_many_as_may_with_an_unknown_key_leave_the_worker_alive() {
    // Of ten thousand who may wait, as many as may do so for an unknown key.
    for crowd in [
        crowd(UnknownKey, 1_250, 1, CLOSED),
        crowd(UnknownKey, 1_250, 4, RELOAD),
    ] {
        crowd.is_settled_without_a_trap().await;
    }
}

#[tokio::test]
async fn ten_thousand_who_have_waited_too_long_leave_the_worker_alive() {
    ten_thousand(Overdue).await;
}

#[tokio::test]
async fn ten_thousand_who_find_the_backend_full_leave_the_worker_alive() {
    ten_thousand(FullBackend).await;
}

#[tokio::test]
async fn a_crowd_that_leaves_as_it_is_settled_holds_up_nobody() {
    let bed = TestBed::builder()
        .patient()
        .configure(|config| config["limits"] = json!({ "waiting_requests": 2_000 }))
        .envoy(long_chain)
        .start()
        .await;
    bed.keys_are_there().await;
    let hold = bed.authgear.hold(Resolver);
    let cookie = bed.cookie();
    let mut crowds = Vec::new();
    for _ in 0..2 {
        let connection = Connection::open(bed.envoy.address(), true).await;
        let crowd: Vec<InFlight> = (0..1_000)
            .map(|_| bed.get("/crowd").cookie(&cookie).over(&connection).start())
            .collect();
        crowds.push(crowd);
    }
    bed.wait_for_active(2_000).await;
    drop(hold);
    let staying = crowds.pop().unwrap();
    let leaving = crowds.pop().unwrap();
    for request in leaving {
        request.disconnect().await;
    }
    assert_answered(staying, 200).await;
    bed.wait_for_active(0).await;
    bed.wait_for_count("authgear_waiting_requests", |waiting| waiting == 0)
        .await;
    bed.finish().await;
}
