//! Requests that wait, and how many of them proceed at a time (threat E5).

use crate::crowd::Crowd;

use super::*;
use crate::session::ClientFacts;

const LATER: Ticks = Ticks::from_millis(9_000);

/// A request that waits for keys.
fn for_keys() -> WaitingRequest {
    Fixture::remote().wait("/", &[("authorization", &bearer(&alice()))])
}

/// A request that waits for the resolver.
fn for_session() -> WaitingRequest {
    Fixture::new().wait("/", &[("cookie", "session=a")])
}

/// As many as may proceed until the next tick.
fn until_the_next_tick(waiting: &mut WaitingRequests) -> Vec<u32> {
    let budget = Budget::default();
    let mut gone_on = Vec::new();
    while waiting.is_due(Ticks::default()) && budget.take_one() {
        gone_on.extend(waiting.next_settled().map(|settled| settled.request));
    }
    gone_on
}

#[test]
fn between_two_ticks_no_more_than_a_few_go_on_and_none_is_left_behind() {
    let mut waiting = WaitingRequests::default();
    for request in 0..100 {
        waiting.insert(request, for_keys(), ClientFacts::default(), LATER);
    }
    assert!(!waiting.is_due(Ticks::default()), "nothing has come yet");
    waiting.settle_keys(0, true);
    let ticks: Vec<usize> = (0..5)
        .map(|_| until_the_next_tick(&mut waiting).len())
        .collect();
    assert_eq!(ticks, [32, 32, 32, 4, 0]);
    assert_eq!(waiting.len(), 0);
    // Whoever is the last of a group leaves nothing behind that would be looked at again.
    waiting.insert(1, for_keys(), ClientFacts::default(), LATER);
    waiting.settle_keys(0, true);
    assert!(waiting.next_settled().is_some());
    assert!(!waiting.is_due(Ticks::default()));
}

#[test]
fn every_project_and_every_verdict_has_those_who_wait_for_it() {
    let mut waiting = WaitingRequests::default();
    waiting.insert(1, for_keys(), ClientFacts::default(), LATER);
    waiting.insert(2, for_session(), ClientFacts::default(), LATER);
    waiting.insert(3, for_session(), ClientFacts::default(), LATER);
    waiting.settle_keys(7, true);
    assert!(waiting.next_settled().is_none(), "another project's keys");
    waiting.settle_sessions(Crowd::of(3), Ok(Verdict::Invalid));
    let settled = waiting.next_settled().expect("who waited for it");
    assert_eq!(settled.request, 3);
    let Outcome::Session(verdict) = settled.outcome else {
        panic!("{:?}", settled.outcome);
    };
    assert_eq!(*verdict, Ok(Verdict::Invalid));
    waiting.settle_keys(0, false);
    let settled = waiting.next_settled().expect("who waited for it");
    assert_eq!(settled.request, 1);
    assert!(matches!(settled.outcome, Outcome::Keys { served: false }));
    assert_eq!(waiting.len(), 1);
    assert!(waiting.contains(2));
}

#[test]
fn who_leaves_a_crowd_that_may_proceed_delays_nobody() {
    let mut waiting = WaitingRequests::default();
    for request in 0..1_000 {
        waiting.insert(request, for_keys(), ClientFacts::default(), LATER);
    }
    waiting.settle_keys(0, true);
    for request in 0..999 {
        assert!(waiting.remove(request).is_some());
        assert!(waiting.remove(request).is_none(), "once");
    }
    assert_eq!(waiting.len(), 1);
    // They are passed over, some at a time.
    let mut looks = 0;
    let last = loop {
        assert!(waiting.is_due(Ticks::default()), "look {looks}");
        looks += 1;
        if let Some(settled) = waiting.next_settled() {
            break settled.request;
        }
    };
    assert_eq!(last, 999);
    assert!((2..100).contains(&looks), "{looks} looks");
    assert!(waiting.next_settled().is_none());
    assert!(!waiting.is_due(Ticks::default()));
}

#[test]
fn who_comes_after_an_answer_waits_for_the_next() {
    let mut waiting = WaitingRequests::default();
    waiting.insert(1, for_keys(), ClientFacts::default(), LATER);
    waiting.settle_keys(0, true);
    waiting.insert(2, for_keys(), ClientFacts::default(), LATER);
    assert_eq!(until_the_next_tick(&mut waiting), [1]);
    // The first waits again: it is not taken for who waited before.
    waiting.insert(1, for_keys(), ClientFacts::default(), LATER);
    assert!(waiting.next_settled().is_none());
    waiting.settle_keys(0, true);
    assert_eq!(until_the_next_tick(&mut waiting), [1, 2]);
}

#[test]
fn who_has_waited_long_enough_is_taken_out_in_the_order_of_time() {
    let mut waiting = WaitingRequests::default();
    for (request, until) in [(1, 300), (2, 100), (3, 200)] {
        waiting.insert(
            request,
            for_session(),
            ClientFacts::default(),
            Ticks::from_millis(until),
        );
    }
    let mut overdue = |millis| {
        let now = Ticks::from_millis(millis);
        assert_eq!(waiting.is_due(now), millis >= 100);
        waiting.next_overdue(now).map(|(request, _)| request)
    };
    assert_eq!(overdue(99), None);
    assert_eq!(overdue(100), Some(2));
    assert_eq!(overdue(300), Some(3));
    assert_eq!(overdue(300), Some(1));
    assert_eq!(waiting.len(), 0);
    assert!(!waiting.is_due(LATER));
}
