//! Workers of one Envoy that share the resolver's answers, and which of them makes the calls.

use std::time::{Duration, Instant};

use devkit::authgear::Endpoint::Resolver;
use devkit::authgear::Fault;
use devkit::client::Connection;
use devkit::testbed::TestBed;
use serde_json::json;

/// Workers that share under this `vm_id`, and an Authgear that locks a session during a call, as the real one does.
async fn workers(count: usize, vm_id: &'static str) -> TestBed {
    let bed = TestBed::builder()
        .workers(count)
        // A loaded machine is late, too; here no call shall time out.
        .session(json!({ "timeout": "30s" }))
        .plugin(move |plugin| plugin["vm_config"]["vm_id"] = json!(vm_id))
        .start()
        .await;
    bed.keys_are_there().await;
    bed.authgear.configure(|settings| {
        settings.session_lock = true;
        settings.session_lock_tries = 5;
    });
    bed.authgear
        .fault(Resolver, Fault::Delay(Duration::from_millis(3)));
    bed
}

/// One page: a request over each connection at once, with one session; how long the last was under way.
async fn load_page(bed: &TestBed, connections: &[Connection], cookie: &str) -> Duration {
    let started = Instant::now();
    let page: Vec<_> = connections
        .iter()
        .map(|connection| bed.get("/").cookie(cookie).over(connection).start())
        .collect();
    for request in page {
        let reply = request.reply().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    started.elapsed()
}

/// So many connections, to every worker at least one.
async fn connections(bed: &TestBed, count: usize) -> Vec<Connection> {
    let mut connections = bed.every_worker().await;
    while connections.len() < count {
        connections.push(Connection::open(bed.envoy.address(), false).await);
    }
    connections
}

#[tokio::test]
async fn a_fresh_session_is_asked_for_once_by_four_workers_and_by_sixteen() {
    for count in [4, 16] {
        let bed = workers(count, "authgear").await;
        let connections = bed.every_worker().await;
        for _ in 0..20 {
            let cookie = bed.cookie();
            bed.authgear.clear_calls();
            load_page(&bed, &connections, &cookie).await;
            assert_eq!(bed.resolver_calls(), 1, "{count} workers");
            // Every worker has it now.
            load_page(&bed, &connections, &cookie).await;
            assert_eq!(bed.resolver_calls(), 1, "{count} workers");
        }
        let shared = |count| move |shared| shared >= count;
        bed.wait_for_count(
            "authgear_resolver_shared_answers_total",
            shared(20 * (count as u64 - 1)),
        )
        .await;
        bed.finish().await;
    }
}

#[tokio::test]
async fn no_page_of_thirty_two_connections_fails_at_sixteen_workers() {
    let bed = workers(16, "authgear").await;
    let connections = connections(&bed, 32).await;
    bed.authgear.clear_calls();
    for _ in 0..100 {
        load_page(&bed, &connections, &bed.cookie()).await;
    }
    assert_eq!(bed.resolver_calls(), 100);
    bed.finish().await;
}

#[tokio::test]
async fn without_a_vm_id_every_worker_asks_for_itself() {
    let bed = workers(3, "").await;
    let connections = bed.every_worker().await;
    bed.authgear
        .configure(|settings| settings.session_lock = false);
    bed.authgear.clear_calls();
    load_page(&bed, &connections, &bed.cookie()).await;
    assert_eq!(bed.resolver_calls(), 3);
    assert_eq!(bed.count("authgear_resolver_shared_answers_total").await, 0);
    bed.finish().await;
}

#[tokio::test]
async fn a_session_that_has_ended_is_refused_by_all_workers_with_one_question() {
    let bed = workers(4, "authgear").await;
    let connections = bed.every_worker().await;
    bed.authgear.clear_calls();
    let page = connections.iter().map(|connection| {
        bed.get("/")
            .cookie("session=made-up")
            .over(connection)
            .start()
    });
    let page: Vec<_> = page.collect();
    devkit::testbed::assert_answered(page, 401).await;
    assert_eq!(bed.resolver_calls(), 1);
    bed.finish().await;
}

/// How long a first page takes: `cargo test --test e2e shared_answers -- --nocapture` says it.
#[tokio::test]
async fn the_first_page_of_four_workers_is_as_complete_as_that_of_one() {
    for count in [1, 4] {
        let bed = workers(count, "authgear").await;
        let connections = connections(&bed, 8).await;
        let mut times = Vec::new();
        for _ in 0..40 {
            times.push(load_page(&bed, &connections, &bed.cookie()).await);
        }
        times.sort();
        println!(
            "{count} workers, first page over 8 connections: p50 {:?}, worst {:?}",
            times[20], times[39]
        );
        assert_eq!(bed.resolver_calls(), 40);
        bed.finish().await;
    }
}
