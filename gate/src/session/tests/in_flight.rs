//! Requests that ask the same at the same time (threat R13).

use crate::crowd::Crowd;
use std::rc::Rc;

use super::*;

const PATIENCE: Duration = Duration::from_secs(1);
/// More than there are.
const MOST: usize = 1_000;
const START: Ticks = Ticks::from_millis(50_000);

#[derive(Default)]
struct Fixture {
    in_flight: InFlightCalls,
}

impl Fixture {
    fn join(&mut self, credential: &str, request: u32) -> Joined {
        let client = ClientFacts {
            user_agent: Some(format!("agent of {request}")),
            ..ClientFacts::default()
        };
        self.in_flight
            .join(0, &cookies(credential), request, client, PATIENCE, START)
    }

    fn cancel(&mut self, credential: &str, request: u32) {
        self.in_flight.cancel(0, &cookies(credential), request);
    }

    fn complete(&mut self, credential: &str) -> Vec<u32> {
        let completed = self.in_flight.complete(0, &cookies(credential));
        completed.iter().collect()
    }

    /// The credentials that are to be asked for again.
    fn take_due(&mut self, after: Duration) -> Vec<SessionCredential> {
        let again = self
            .in_flight
            .take_due(START.after(after), MOST, |_| PATIENCE);
        again.into_iter().map(|call| call.credential).collect()
    }
}

fn ended(user: Option<Rc<str>>, early: bool, entropy: u64) -> Ended {
    Ended {
        user,
        early,
        now: START,
        entropy,
    }
}

#[test]
fn the_first_makes_the_call_and_the_others_wait_for_it() {
    let mut fixture = Fixture::default();
    assert_eq!(fixture.join("a", 0), Joined::First);
    for request in 1..1_000 {
        assert_eq!(fixture.join("a", request), Joined::Existing);
    }
    assert_eq!(fixture.join("b", 1_000), Joined::First);
    assert_eq!(fixture.in_flight.len(), 2);
    assert_eq!(fixture.complete("a"), (0..1_000).collect::<Vec<_>>());
    assert!(fixture.complete("a").is_empty(), "completed");
    assert_eq!(fixture.complete("b"), [1_000]);
    assert_eq!(fixture.in_flight.len(), 0);
    assert_eq!(
        fixture.join("a", 7),
        Joined::First,
        "the next one asks again"
    );
}

#[test]
fn projects_share_no_call() {
    let mut in_flight = InFlightCalls::default();
    let client = ClientFacts::default();
    for (project, request) in (0..3).zip(0..) {
        let joined = in_flight.join(
            project,
            &cookies("a"),
            request,
            client.clone(),
            PATIENCE,
            START,
        );
        assert_eq!(joined, Joined::First, "{project}");
    }
    assert_eq!(in_flight.complete(1, &cookies("a")), Crowd::of(1));
    assert_eq!(in_flight.len(), 2);
}

#[test]
fn a_request_that_ends_is_not_settled_and_delays_nobody() {
    let mut fixture = Fixture::default();
    for request in 0..3 {
        fixture.join("a", request);
    }
    fixture.cancel("a", 1);
    fixture.cancel("a", 9);
    fixture.cancel("nobody's", 1);
    assert_eq!(
        fixture.take_due(Duration::ZERO),
        [],
        "the answer to the first will come"
    );
    assert_eq!(fixture.complete("a"), [0, 2]);
}

#[test]
fn when_the_first_request_ends_the_call_is_made_again_for_the_others() {
    let mut fixture = Fixture::default();
    for request in 0..3 {
        fixture.join("a", request);
    }
    fixture.cancel("a", 0);
    assert_eq!(fixture.join("a", 3), Joined::Existing);
    assert_eq!(fixture.take_due(Duration::ZERO), [cookies("a")]);
    assert_eq!(fixture.take_due(Duration::ZERO), [], "once");
    fixture.cancel("a", 1);
    assert_eq!(
        fixture.take_due(Duration::ZERO),
        [],
        "whoever leaves now did not make the call"
    );
    assert_eq!(fixture.complete("a"), [2, 3]);
}

#[test]
fn when_all_leave_nothing_is_asked_and_nothing_is_kept() {
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    fixture.join("a", 1);
    fixture.cancel("a", 1);
    fixture.cancel("a", 0);
    assert_eq!(fixture.in_flight.len(), 0, "at once");
    assert!(!fixture.in_flight.is_due(START));
    assert_eq!(fixture.take_due(Duration::ZERO), []);
    // The same where the call is still to be made, for the first time or again.
    fixture.join("a", 0);
    fixture.in_flight.make_due(0, &cookies("a"));
    fixture.cancel("a", 0);
    assert_eq!(fixture.in_flight.len(), 0);
    fixture.join("a", 0);
    let locked = Some(ResolverError::Status(500));
    assert!(
        fixture
            .in_flight
            .retry(0, &cookies("a"), locked, ended(None, true, 0))
    );
    fixture.cancel("a", 0);
    assert_eq!(fixture.in_flight.len(), 0);
}

#[test]
fn when_all_leave_a_call_that_the_root_has_made_its_answer_is_waited_for() {
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    fixture.in_flight.make_due(0, &cookies("a"));
    assert_eq!(fixture.take_due(Duration::ZERO), [cookies("a")]);
    fixture.cancel("a", 0);
    assert_eq!(fixture.join("a", 1), Joined::Existing);
    fixture.cancel("a", 1);
    assert_eq!(fixture.take_due(PATIENCE), [], "its answer is lost, too");
    assert_eq!(fixture.in_flight.len(), 0);
    assert_eq!(fixture.in_flight.take_lost(), [], "nobody has scheduled it");
}

#[test]
fn a_call_that_is_scheduled_is_made_whoever_leaves() {
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    assert_eq!(
        fixture.in_flight.schedule(0, cookies("a")),
        Scheduled::Existing
    );
    fixture.cancel("a", 0);
    let made = fixture.in_flight.take_due(START, MOST, |_| PATIENCE);
    assert_eq!(made.len(), 1);
    assert!(made[0].client.is_empty(), "without what a client chose");
    // Somebody joins it, it is to be made again, and he leaves.
    assert_eq!(fixture.join("a", 1), Joined::Existing);
    let key = cookies("a");
    let locked = Some(ResolverError::Status(500));
    assert!(
        fixture
            .in_flight
            .retry(0, &key, locked, ended(None, true, 0))
    );
    fixture.cancel("a", 1);
    assert_eq!(fixture.take_due(PATIENCE), [cookies("a")]);
    fixture.complete("a");
    assert_eq!(fixture.in_flight.len(), 0);
    // One more may be scheduled again.
    let scheduled = (0..100).map(|nth| fixture.in_flight.schedule(0, cookies(&format!("{nth}"))));
    let scheduled = scheduled.filter(|outcome| *outcome == Scheduled::New);
    assert_eq!(scheduled.count(), 64);
}

#[test]
fn a_call_that_could_not_be_made_is_made_by_the_root() {
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    fixture.in_flight.make_due(0, &cookies("a"));
    fixture.in_flight.make_due(0, &cookies("unknown"));
    let again = fixture.in_flight.take_due(START, MOST, |_| PATIENCE);
    let [
        DueCall {
            project: 0,
            credential,
            client,
            ..
        },
    ] = again.as_slice()
    else {
        panic!("{again:?}");
    };
    assert_eq!(*credential, cookies("a"));
    assert_eq!(client.user_agent.as_deref(), Some("agent of 0"));
}

#[test]
fn a_lost_answer_is_asked_for_again_when_it_is_overdue() {
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    assert_eq!(fixture.take_due(Duration::from_millis(999)), []);
    assert_eq!(fixture.take_due(PATIENCE), [cookies("a")]);
    assert_eq!(fixture.take_due(Duration::from_millis(1_999)), []);
    assert_eq!(fixture.take_due(PATIENCE * 2), [cookies("a")]);
    assert_eq!(fixture.complete("a"), [0]);
}

#[test]
fn a_scheduled_call_is_made_once_and_by_the_root() {
    let mut in_flight: InFlightCalls = InFlightCalls::default();
    let session = cookies("session=a");
    assert_eq!(in_flight.schedule(0, session.clone()), Scheduled::New);
    assert_eq!(in_flight.schedule(0, session.clone()), Scheduled::Existing);
    let take_due = |in_flight: &mut InFlightCalls, millis| {
        let made = in_flight.take_due(Ticks::from_millis(millis), MOST, |_| Duration::from_secs(1));
        made.len()
    };
    assert_eq!(take_due(&mut in_flight, 100), 1);
    assert_eq!(take_due(&mut in_flight, 200), 0);
    // Who asks the same meanwhile joins it.
    let joined = in_flight.join(
        0,
        &session,
        7,
        ClientFacts::default(),
        Duration::from_secs(1),
        Ticks::from_millis(200),
    );
    assert_eq!(joined, Joined::Existing);
    assert_eq!(in_flight.complete(0, &session), Crowd::of(7));
    assert_eq!(in_flight.len(), 0);
}

#[test]
fn calls_that_nobody_waits_for_are_bounded_and_given_up_when_they_are_lost() {
    let mut in_flight: InFlightCalls = InFlightCalls::default();
    let schedule = |in_flight: &mut InFlightCalls, nth: u32| {
        in_flight.schedule(0, cookies(&format!("session={nth}"))) == Scheduled::New
    };
    let scheduled = (0..100)
        .filter(|nth| schedule(&mut in_flight, *nth))
        .count();
    assert_eq!((scheduled, in_flight.len()), (64, 64));
    let patience = |_| Duration::from_secs(1);
    assert_eq!(
        in_flight
            .take_due(Ticks::from_millis(100), MOST, patience)
            .len(),
        64
    );
    assert!(!schedule(&mut in_flight, 100), "those under way count");
    assert!(in_flight.complete(0, &cookies("session=0")).is_empty());
    assert!(schedule(&mut in_flight, 100));
    assert_eq!(
        in_flight
            .take_due(Ticks::from_millis(1_100), MOST, patience)
            .len(),
        1
    );
    assert_eq!(in_flight.len(), 1, "the lost ones are not made again");
    assert_eq!(in_flight.take_lost().len(), 63, "and it is said which");
    assert_eq!(in_flight.take_lost(), []);
    let scheduled = (200..300)
        .filter(|nth| schedule(&mut in_flight, *nth))
        .count();
    assert_eq!(scheduled, 63);
}

#[test]
fn one_look_makes_no_more_calls_than_it_may_and_passes_over_so_many_lost_ones() {
    let mut fixture = Fixture::default();
    for request in 0..1_000 {
        fixture.join(&request.to_string(), request);
        fixture
            .in_flight
            .make_due(0, &cookies(&request.to_string()));
    }
    assert_eq!(fixture.take_due(Duration::ZERO).len(), 1_000);
    // Most of them are left by all who waited, and the answers are lost.
    for request in 0..950 {
        fixture.cancel(&request.to_string(), request);
    }
    let (mut made, mut looks) = (0, 0);
    let late = START.after(PATIENCE);
    while fixture.in_flight.is_due(late) {
        let before = fixture.in_flight.len();
        let again = fixture.in_flight.take_due(late, 5, |_| PATIENCE);
        assert!(again.len() <= 5);
        assert!(before - fixture.in_flight.len() <= 64 + 5, "bounded");
        made += again.len();
        looks += 1;
    }
    assert_eq!((made, fixture.in_flight.len()), (50, 50));
    assert!((950 / 69..30).contains(&looks), "{looks} looks");
    assert!(!fixture.in_flight.is_due(START));
    assert!(fixture.in_flight.is_due(late.after(PATIENCE)));
}

#[test]
fn what_a_client_may_have_caused_is_asked_once_more_without_what_it_chose() {
    let refused = Some(ResolverError::Status(403));
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    fixture.join("a", 1);
    let key = cookies("a");
    assert!(
        fixture
            .in_flight
            .retry(0, &key, refused, ended(None, true, 0))
    );
    let again = fixture.in_flight.take_due(START, MOST, |_| PATIENCE);
    let [
        DueCall {
            project: 0,
            credential,
            client,
            ..
        },
    ] = again.as_slice()
    else {
        panic!("{again:?}");
    };
    assert_eq!(*credential, key);
    assert!(client.is_empty(), "{client:?}");
    // Whatever is said now counts.
    assert!(
        !fixture
            .in_flight
            .retry(0, &key, refused, ended(None, true, 0))
    );
    assert_eq!(fixture.complete("a"), [0, 1]);
}

#[test]
fn a_verdict_an_outage_and_a_call_without_a_client_are_not_asked_about_again() {
    let refused = Some(ResolverError::Unclear);
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    let key = cookies("a");
    assert!(!fixture.in_flight.retry(0, &key, None, ended(None, true, 0)));
    let pause = Duration::from_secs(1);
    let outages = [
        ResolverError::Status(502),
        ResolverError::Status(504),
        ResolverError::Busy(500, pause),
        ResolverError::Busy(503, pause),
    ];
    for outage in outages {
        assert!(
            !fixture
                .in_flight
                .retry(0, &key, Some(outage), ended(None, true, 0))
        );
    }
    assert!(
        !fixture
            .in_flight
            .retry(0, &cookies("unknown"), refused, ended(None, true, 0))
    );

    // In the background, with somebody who has joined: there is nothing to leave out.
    let scheduled = cookies("scheduled");
    assert_eq!(
        fixture.in_flight.schedule(0, scheduled.clone()),
        Scheduled::New
    );
    let made = fixture.in_flight.take_due(START, MOST, |_| PATIENCE);
    assert!(made.iter().all(|call| call.client.is_empty()));
    assert_eq!(fixture.join("scheduled", 1), Joined::Existing);
    assert!(
        !fixture
            .in_flight
            .retry(0, &scheduled, refused, ended(None, true, 0))
    );
    assert_eq!(fixture.complete("scheduled"), [1]);

    // Nobody waits any more.
    fixture.cancel("a", 0);
    assert!(
        !fixture
            .in_flight
            .retry(0, &key, refused, ended(None, true, 0))
    );
}

#[test]
fn a_call_that_is_made_again_for_others_still_leaves_out_what_a_client_chose() {
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    fixture.join("a", 1);
    fixture.cancel("a", 0);
    let key = cookies("a");
    let made = fixture.in_flight.take_due(START, MOST, |_| PATIENCE);
    assert_eq!(made[0].client.user_agent.as_deref(), Some("agent of 0"));
    let refused = Some(ResolverError::TooManyRequests(None));
    assert!(
        fixture
            .in_flight
            .retry(0, &key, refused, ended(None, true, 0))
    );
    assert!(
        fixture.in_flight.take_due(START, MOST, |_| PATIENCE)[0]
            .client
            .is_empty()
    );
    assert!(
        !fixture
            .in_flight
            .retry(0, &key, refused, ended(None, true, 0)),
        "no third time"
    );
    // The lock of the lost call may still be there.
    let locked = Some(ResolverError::Status(500));
    assert!(
        fixture
            .in_flight
            .retry(0, &key, locked, ended(None, true, 0))
    );
    let later = START.after(Duration::from_millis(200));
    assert!(
        fixture.in_flight.take_due(later, MOST, |_| PATIENCE)[0]
            .client
            .is_empty()
    );
}

#[test]
fn a_call_that_met_the_sessions_lock_is_made_once_more_after_a_pause() {
    let locked = Some(ResolverError::Status(500));
    for (entropy, pause) in [(0, 100), (u64::MAX, 200)] {
        let mut fixture = Fixture::default();
        fixture.join("a", 0);
        let key = cookies("a");
        assert!(
            fixture
                .in_flight
                .retry(0, &key, locked, ended(None, true, entropy))
        );
        let pause = Duration::from_millis(pause);
        assert_eq!(fixture.take_due(pause - Duration::from_millis(1)), []);
        assert_eq!(fixture.take_due(pause), [cookies("a")]);
        assert!(
            !fixture
                .in_flight
                .retry(0, &key, locked, ended(None, true, entropy))
        );
        assert_eq!(fixture.complete("a"), [0]);
    }
}

#[test]
fn a_call_whose_connection_broke_is_made_once_more_after_a_pause_and_one_that_took_its_time_is_not()
{
    for broke in [ResolverError::NoAnswer, ResolverError::Status(503)] {
        let mut fixture = Fixture::default();
        fixture.join("a", 0);
        let key = cookies("a");
        let again = |fixture: &mut Fixture, ended_early| {
            let failed = Some(broke);
            fixture
                .in_flight
                .retry(0, &key, failed, ended(None, ended_early, 0))
        };
        assert!(!again(&mut fixture, false), "{broke}");
        assert!(again(&mut fixture, true), "{broke}");
        let pause = Duration::from_millis(100);
        assert_eq!(fixture.take_due(pause - Duration::from_millis(1)), []);
        assert_eq!(fixture.take_due(pause), [cookies("a")]);
        assert!(!again(&mut fixture, true), "{broke}");
        assert_eq!(fixture.complete("a"), [0]);
    }
}

#[test]
fn a_call_that_the_gateways_own_limits_drop_is_not_made_again() {
    let mut fixture = Fixture::default();
    fixture.join("a", 0);
    let dropped = Some(ResolverError::Overloaded);
    let key = cookies("a");
    assert!(
        !fixture
            .in_flight
            .retry(0, &key, dropped, ended(None, true, 0))
    );
}

#[test]
fn so_many_calls_and_no_more_are_made_again_at_once() {
    let locked = Some(ResolverError::Status(500));
    let mut fixture = Fixture::default();
    let again = |fixture: &mut Fixture, nth: u32| {
        let name = nth.to_string();
        fixture.join(&name, nth);
        let user = Some(name.as_str().into());
        fixture
            .in_flight
            .retry(0, &cookies(&name), locked, ended(user, true, 0))
    };
    let made = (0..100).filter(|nth| again(&mut fixture, *nth)).count();
    assert_eq!(made, 64);
    fixture.complete("0");
    assert!(again(&mut fixture, 100));
    assert!(!again(&mut fixture, 101));
}

#[test]
fn neither_one_user_nor_all_strangers_use_up_the_retries() {
    let locked = Some(ResolverError::Status(500));
    let mut fixture = Fixture::default();
    let again = |fixture: &mut Fixture, nth: u32, user: Option<&str>| {
        let name = nth.to_string();
        fixture.join(&name, nth);
        let user = user.map(Into::into);
        fixture
            .in_flight
            .retry(0, &cookies(&name), locked, ended(user, true, 0))
    };
    let made = (0..100).filter(|nth| again(&mut fixture, *nth, Some("a")));
    assert_eq!(made.count(), 8);
    let made = (100..200).filter(|nth| again(&mut fixture, *nth, None));
    assert_eq!(made.count(), 32);
    assert!(again(&mut fixture, 200, Some("b")));
    fixture.complete("0");
    assert!(again(&mut fixture, 300, Some("a")));
    assert!(!again(&mut fixture, 301, Some("a")));
    fixture.complete("100");
    assert!(again(&mut fixture, 302, None));
    assert!(!again(&mut fixture, 303, None));
}
