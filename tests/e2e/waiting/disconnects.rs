//! Clients that leave: nobody else is stranded, nothing traps, and no capacity stays in use.

use devkit::authgear::Endpoint::{Jwks, Resolver};
use devkit::authgear::Fault;
use devkit::client::{InFlight, Request};
use devkit::testbed::{RESOLVER, TestBed};
use serde_json::json;

async fn leave(bed: &TestBed, request: InFlight, remaining: usize) {
    request.disconnect().await;
    bed.wait_for_active(remaining).await;
}

fn websocket(request: Request) -> Request {
    request
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test]
async fn clients_that_wait_for_keys_and_leave_strand_nobody() {
    let bed = TestBed::builder()
        .patient()
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .start()
        .await;
    let first = bed.get("/first").bearer(bed.token()).start();
    bed.wait_for_active(1).await;
    let second = bed.get("/second").bearer(bed.token()).start();
    let third = bed.get("/third").bearer(bed.token()).http2().start();
    bed.wait_for_active(3).await;

    leave(&bed, first, 2).await;
    leave(&bed, third, 1).await;
    bed.authgear.clear_fault(Jwks);

    let reply = second.reply().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().target, "/second");
    bed.finish().await;
}

#[tokio::test]
async fn keys_that_come_after_all_have_left_are_there_for_the_next() {
    let bed = TestBed::builder()
        .patient()
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .start()
        .await;
    let crowd: Vec<_> = (0..10)
        .map(|_| bed.get("/left").bearer(bed.token()).start())
        .collect();
    bed.wait_for_active(10).await;
    for (left, request) in crowd.into_iter().enumerate() {
        leave(&bed, request, 9 - left).await;
    }
    bed.authgear.clear_fault(Jwks);
    bed.envoy.wait_for_log("keys in use").await;

    let reply = bed.get("/next").bearer(bed.token()).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().target, "/next");
    bed.finish().await;
}

#[tokio::test]
async fn who_leaves_while_waiting_for_the_resolver_leaves_the_answer_to_the_next() {
    let bed = TestBed::builder().patient().start().await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let only = bed.get("/left").cookie(&cookie).start();
    hold.wait_for(1).await;
    leave(&bed, only, 0).await;
    hold.release();

    let reply = bed.get("/next").cookie(&cookie).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().target, "/next");
    let other = bed.cookie();
    assert_eq!(bed.get("/").cookie(other).send().await.status, 200);
    bed.finish().await;
}

#[tokio::test]
async fn when_the_first_of_a_session_leaves_the_others_are_answered() {
    let bed = TestBed::builder().patient().start().await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let leader = bed.get("/leader").cookie(&cookie).start();
    hold.wait_for(1).await;
    let others: Vec<_> = (0..5)
        .map(|_| bed.get("/other").cookie(&cookie).start())
        .collect();
    bed.wait_for_active(6).await;

    leave(&bed, leader, 5).await;
    hold.release();

    for request in others {
        let reply = request.reply().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    for request in bed.forwarded() {
        assert_eq!(request.target, "/other");
        assert_eq!(request.identity(), bed.alice.headers());
    }
    // The answer to the first request's call is lost with it: another call is made, for all that are left.
    let calls = bed.authgear.calls_to(RESOLVER);
    assert!(calls.len() <= 2, "{calls:#?}");
    bed.finish().await;
}

#[tokio::test]
async fn when_the_first_of_a_session_leaves_its_lock_does_not_fail_the_others() {
    let bed = TestBed::builder().patient().start().await;
    bed.authgear
        .configure(|settings| settings.session_lock = true);
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let leader = bed.get("/leader").cookie(&cookie).start();
    hold.wait_for(1).await;
    let other = bed.get("/other").cookie(&cookie).start();
    bed.wait_for_active(2).await;
    leave(&bed, leader, 1).await;
    // The retry meets the lock that the first call still has: Authgear answers it with 500.
    hold.wait_for(2).await;
    hold.release();

    let reply = other.reply().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
    let calls = bed.authgear.calls_to(RESOLVER);
    assert!(calls.len() <= 5, "{calls:#?}");
    bed.finish().await;
}

#[tokio::test]
async fn when_all_of_a_session_leave_the_next_is_answered() {
    let bed = TestBed::builder().patient().start().await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let crowd: Vec<_> = (0..5)
        .map(|_| bed.get("/left").cookie(&cookie).start())
        .collect();
    hold.wait_for(1).await;
    bed.wait_for_active(5).await;
    for (left, request) in crowd.into_iter().enumerate() {
        leave(&bed, request, 4 - left).await;
    }
    let next = bed.get("/next").cookie(&cookie).start();
    bed.wait_for_active(1).await;
    hold.release();
    let reply = next.reply().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(bed.only_forwarded().target, "/next");
    bed.finish().await;
}

#[tokio::test]
async fn an_answer_that_comes_after_everybody_has_given_up_harms_nobody() {
    let bed = TestBed::builder()
        .project(|project| project["session"] = json!({ "timeout": "100ms" }))
        .start()
        .await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    for _ in 0..5 {
        let reply = bed.get("/").cookie(&cookie).send().await;
        assert_eq!(reply.status, 503, "{reply:?}");
    }
    hold.release();
    bed.until_status(200, || bed.get("/").cookie(&cookie)).await;
    bed.finish().await;
}

#[tokio::test]
async fn those_who_leave_free_capacity_for_those_who_wait() {
    let bed = TestBed::builder()
        .patient()
        .configure(|config| config["limits"] = json!({ "waiting_requests": 2 }))
        .start()
        .await;
    let hold = bed.authgear.hold(Resolver);
    for _ in 0..5 {
        let two = [(); 2].map(|()| bed.get("/left").cookie(bed.cookie()).start());
        bed.wait_for_active(2).await;
        let reply = bed.get("/").cookie(bed.cookie()).send().await;
        assert_eq!(reply.status, 503, "{reply:?}");
        for (left, request) in two.into_iter().enumerate() {
            leave(&bed, request, 1 - left).await;
        }
    }
    hold.release();
    assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    bed.finish().await;
}

#[tokio::test]
async fn upgrades_wait_for_keys_leave_and_pass_like_any_request() {
    let bed = TestBed::builder()
        .patient()
        .prepare(|authgear| authgear.fault(Jwks, Fault::Hang))
        .start()
        .await;
    let nobody = websocket(bed.get("/chat")).send().await;
    assert_eq!(nobody.status, 401, "{nobody:?}");
    let waiting = websocket(bed.get("/chat")).bearer(bed.token()).start();
    bed.wait_for_active(1).await;
    leave(&bed, waiting, 0).await;
    bed.assert_nothing_forwarded();

    let head = format!(
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nauthorization: Bearer {}\r\n\r\n",
        bed.token()
    );
    let upgrade = bed.raw(head);
    let (upgraded, ()) = tokio::join!(upgrade, async {
        bed.wait_for_active(1).await;
        bed.authgear.clear_fault(Jwks);
    });
    assert_eq!(upgraded.status, 101, "{upgraded:?}");
    let forwarded = bed.only_forwarded();
    assert_eq!(forwarded.identity(), bed.alice.headers());
    bed.finish().await;
}

#[tokio::test]
async fn an_upgrade_that_waits_for_the_resolver_may_leave() {
    let bed = TestBed::builder().patient().start().await;
    let hold = bed.authgear.hold(Resolver);
    let waiting = websocket(bed.get("/chat")).cookie(bed.cookie()).start();
    hold.wait_for(1).await;
    leave(&bed, waiting, 0).await;
    hold.release();
    assert_eq!(bed.get("/").cookie(bed.cookie()).send().await.status, 200);
    assert_eq!(bed.only_forwarded().target, "/");
    bed.finish().await;
}

#[tokio::test]
async fn one_stream_of_a_connection_may_leave_without_the_others() {
    let bed = TestBed::builder().patient().start().await;
    let (hold, cookie) = (bed.authgear.hold(Resolver), bed.cookie());
    let connection = devkit::client::Connection::open(bed.envoy.address(), true).await;
    let on = |path: &str| bed.get(path).cookie(&cookie).http2().over(&connection);
    let leader = on("/leader").start();
    hold.wait_for(1).await;
    let other = on("/other").start();
    bed.wait_for_active(2).await;
    leave(&bed, leader, 1).await;
    hold.release();
    assert_eq!(other.reply().await.status, 200);
    assert_eq!(bed.only_forwarded().target, "/other");
    bed.finish().await;
}
