//! Retries: after a 500, as another call may have locked the session, and after a connection that broke.

use super::*;

fn user_of(nth: u32) -> Answer {
    answer(200, &User::new(&format!("user{nth}")).headers(), b"")
}

/// All calls that are under way are answered, each to the request that made it: in their order.
fn answer_each(host: &mut Host, answer: Option<&Answer>, first: u32) {
    let calls = std::mem::take(&mut host.calls);
    for ((token, _), id) in calls.into_iter().zip(first..) {
        host.answer(token, answer, Caller::Request(id));
    }
}

#[test]
fn users_have_retries_that_strangers_do_not_use_up() {
    let mut host = Host::serving(|config| {
        config["projects"][0]["session"] = json!({ "ttl": "0s" });
    });
    for nth in 0..40 {
        host.session(nth, &format!("s{nth}"));
        host.answer_all(Some(&user_of(nth)), Caller::Request(nth));
        host.tick();
    }
    host.ended.clear();
    let locked = answer(500, &[], b"");
    for nth in 0..40 {
        host.session(100 + nth, &format!("stranger{nth}"));
    }
    answer_each(&mut host, Some(&locked), 100);
    host.tick();
    assert_eq!(host.ended.len(), 40 - 32, "{:?}", host.ended);
    for nth in 0..32 {
        host.session(200 + nth, &format!("s{nth}"));
    }
    answer_each(&mut host, Some(&locked), 200);
    host.tick();
    assert_eq!(host.ended.len(), 40 - 32, "all are made again");
}

/// Envoy's own answers: for a connection that broke, and for a call that its cluster's limits drop.
fn unavailable(overloaded: bool) -> Answer {
    let header = ("x-envoy-overloaded".to_owned(), "true".to_owned());
    answer(
        503,
        if overloaded {
            std::slice::from_ref(&header)
        } else {
            &[]
        },
        b"",
    )
}

#[test]
fn a_connection_that_broke_costs_a_request_a_moment_and_one_that_breaks_again_503() {
    for broke in [None, Some(unavailable(false))] {
        for (then, end) in [
            (Some(yes()), "alice"),
            (broke.clone(), "503 resolver_unavailable"),
        ] {
            let mut host = Host::serving(|_| {});
            host.session(1, "a");
            host.answer_all(broke.as_ref(), Caller::Request(1));
            host.tick();
            assert_eq!((host.calls.len(), host.ended.len()), (0, 0));
            host.pass(200);
            host.tick();
            assert_eq!(host.calls.len(), 1);
            host.answer_all(then.as_ref(), Caller::Root);
            assert_eq!(host.ended, [(1, end.to_owned())]);
            assert_eq!(host.engine.levels(host.now).waiting_requests, 0);
        }
    }
}

#[test]
fn a_call_that_ended_with_its_time_is_not_made_again() {
    for end in [None, Some(unavailable(false))] {
        let mut host = Host::serving(|_| {});
        host.session(1, "a");
        host.pass(1_000);
        host.answer_all(end.as_ref(), Caller::Request(1));
        assert_eq!(host.ended, [(1, "503 resolver_unavailable".to_owned())]);
    }
}

/// The cluster's limits are filled by whoever floods the gateway.
#[test]
fn what_the_gateways_own_limits_drop_blames_no_resolver_and_keeps_nobody_in() {
    let mut host = Host::serving(|config| {
        config["projects"][0]["session"] = json!({ "ttl": "1s", "stale_if_error": "1h" });
        config["projects"][0]["jwt"]["revalidate"] = json!("10m");
    });
    for nth in 0..20 {
        host.session(nth, &format!("s{nth}"));
        host.answer_all(Some(&user_of(nth)), Caller::Request(nth));
    }
    let token = bearer(&alice());
    assert_eq!(host.request(50, &[("authorization", &token)]), "alice");
    host.tick();
    host.pass(1_000);
    host.answer_all(Some(&unavailable(true)), Caller::Root);
    host.ended.clear();
    for nth in 0..20 {
        host.session(100 + nth, &format!("s{nth}"));
    }
    answer_each(&mut host, Some(&unavailable(true)), 100);
    host.tick();
    let refused = host
        .ended
        .iter()
        .filter(|(_, end)| end == "503 resolver_unavailable");
    assert_eq!(refused.count(), 20, "{:?}", host.ended);
    assert_eq!(host.engine.levels(host.now).open_breakers, 0);
    // The token is as it was, and asked about again soon.
    host.pass(1_000);
    assert_eq!(host.request(51, &[("authorization", &token)]), "alice");
    host.tick();
    assert_eq!(host.calls.len(), 1, "no check");
    assert!(host.calls[0].1.headers.contains(&("authorization", token)));
}
