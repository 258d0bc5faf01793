//! Calls that are made once more: after a 500, as another may hold the session's lock, and after a connection that broke.

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
fn users_have_places_for_their_retries_that_strangers_do_not_take() {
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
