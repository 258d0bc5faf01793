//! Requests that ask the same at the same time (threat R13).

use std::collections::BTreeSet;
use std::rc::Rc;

use super::*;

const PATIENCE: Duration = Duration::from_secs(1);
/// More than there are.
const MOST: usize = 1_000;
const START: Ticks = Ticks::from_millis(50_000);

#[derive(Default)]
struct Scene {
    flights: Flights<u32>,
}

impl Scene {
    fn board(&mut self, credential: &str, request: u32) -> Boarding {
        let client = ClientFacts {
            user_agent: Some(format!("agent of {request}")),
            address: None,
        };
        self.flights
            .board(0, &cookies(credential), request, client, PATIENCE, START)
    }

    fn leave(&mut self, credential: &str, request: u32) {
        self.flights.leave(0, &cookies(credential), request);
    }

    fn land(&mut self, credential: &str) -> Vec<u32> {
        let landed = self.flights.land(0, &cookies(credential));
        landed.into_iter().collect()
    }

    /// The credentials that are to be asked for again.
    fn sweep(&mut self, after: Duration) -> Vec<SessionCredential> {
        let again = self.flights.sweep(START.after(after), MOST, |_| PATIENCE);
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
    let mut scene = Scene::default();
    assert_eq!(scene.board("a", 0), Boarding::Lead);
    for request in 1..1_000 {
        assert_eq!(scene.board("a", request), Boarding::Join);
    }
    assert_eq!(scene.board("b", 1_000), Boarding::Lead);
    assert_eq!(scene.flights.len(), 2);
    assert_eq!(scene.land("a"), (0..1_000).collect::<Vec<_>>());
    assert!(scene.land("a").is_empty(), "landed");
    assert_eq!(scene.land("b"), [1_000]);
    assert_eq!(scene.flights.len(), 0);
    assert_eq!(
        scene.board("a", 7),
        Boarding::Lead,
        "the next one asks again"
    );
}

#[test]
fn projects_share_no_flight() {
    let mut flights = Flights::default();
    let client = ClientFacts::default();
    for project in 0..3 {
        let boarded = flights.board(
            project,
            &cookies("a"),
            project,
            client.clone(),
            PATIENCE,
            START,
        );
        assert_eq!(boarded, Boarding::Lead, "{project}");
    }
    assert_eq!(flights.land(1, &cookies("a")), BTreeSet::from([1]));
    assert_eq!(flights.len(), 2);
}

#[test]
fn who_leaves_is_not_called_and_holds_nobody_up() {
    let mut scene = Scene::default();
    for request in 0..3 {
        scene.board("a", request);
    }
    scene.leave("a", 1);
    scene.leave("a", 9);
    scene.leave("nobody's", 1);
    assert_eq!(
        scene.sweep(Duration::ZERO),
        [],
        "the leader's answer will come"
    );
    assert_eq!(scene.land("a"), [0, 2]);
}

#[test]
fn when_the_leader_leaves_the_call_is_made_again_for_the_others() {
    let mut scene = Scene::default();
    for request in 0..3 {
        scene.board("a", request);
    }
    scene.leave("a", 0);
    assert_eq!(scene.board("a", 3), Boarding::Join);
    assert_eq!(scene.sweep(Duration::ZERO), [cookies("a")]);
    assert_eq!(scene.sweep(Duration::ZERO), [], "once");
    scene.leave("a", 1);
    assert_eq!(
        scene.sweep(Duration::ZERO),
        [],
        "whoever leaves now did not make the call"
    );
    assert_eq!(scene.land("a"), [2, 3]);
}

#[test]
fn when_all_leave_nothing_is_asked_and_nothing_is_kept() {
    let mut scene = Scene::default();
    scene.board("a", 0);
    scene.board("a", 1);
    scene.leave("a", 1);
    scene.leave("a", 0);
    assert_eq!(scene.flights.len(), 0, "at once");
    assert!(!scene.flights.is_due(START));
    assert_eq!(scene.sweep(Duration::ZERO), []);
    // The same where the call is still to be made, for the first time or again.
    scene.board("a", 0);
    scene.flights.leave_to_sweep(0, &cookies("a"));
    scene.leave("a", 0);
    assert_eq!(scene.flights.len(), 0);
    scene.board("a", 0);
    let locked = || Some(ResolverError::Status(500));
    assert!(
        scene
            .flights
            .try_again(0, &cookies("a"), locked, ended(None, true, 0))
    );
    scene.leave("a", 0);
    assert_eq!(scene.flights.len(), 0);
}

#[test]
fn when_all_leave_a_call_that_a_sweep_has_made_its_answer_is_waited_for() {
    let mut scene = Scene::default();
    scene.board("a", 0);
    scene.flights.leave_to_sweep(0, &cookies("a"));
    assert_eq!(scene.sweep(Duration::ZERO), [cookies("a")]);
    scene.leave("a", 0);
    assert_eq!(scene.board("a", 1), Boarding::Join);
    scene.leave("a", 1);
    assert_eq!(scene.sweep(PATIENCE), [], "its answer is lost, too");
    assert_eq!(scene.flights.len(), 0);
    assert_eq!(scene.flights.take_lost(), [], "nobody has booked it");
}

#[test]
fn a_call_that_is_booked_is_made_whoever_leaves() {
    let mut scene = Scene::default();
    scene.board("a", 0);
    assert_eq!(scene.flights.book(0, cookies("a")), Booking::Joined);
    scene.leave("a", 0);
    let made = scene.flights.sweep(START, MOST, |_| PATIENCE);
    assert_eq!(made.len(), 1);
    assert!(made[0].client.is_empty(), "without what a client chose");
    // Somebody joins it, it is to be made again, and he leaves.
    assert_eq!(scene.board("a", 1), Boarding::Join);
    let key = cookies("a");
    let locked = || Some(ResolverError::Status(500));
    assert!(
        scene
            .flights
            .try_again(0, &key, locked, ended(None, true, 0))
    );
    scene.leave("a", 1);
    assert_eq!(scene.sweep(PATIENCE), [cookies("a")]);
    scene.land("a");
    assert_eq!(scene.flights.len(), 0);
    // Its place is free again.
    let booked = (0..100).map(|nth| scene.flights.book(0, cookies(&format!("{nth}"))));
    let booked = booked.filter(|booking| *booking == Booking::New);
    assert_eq!(booked.count(), 64);
}

#[test]
fn a_call_that_could_not_be_made_is_made_by_the_sweep() {
    let mut scene = Scene::default();
    scene.board("a", 0);
    scene.flights.leave_to_sweep(0, &cookies("a"));
    scene.flights.leave_to_sweep(0, &cookies("unknown"));
    let again = scene.flights.sweep(START, MOST, |_| PATIENCE);
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
    let mut scene = Scene::default();
    scene.board("a", 0);
    assert_eq!(scene.sweep(Duration::from_millis(999)), []);
    assert_eq!(scene.sweep(PATIENCE), [cookies("a")]);
    assert_eq!(scene.sweep(Duration::from_millis(1_999)), []);
    assert_eq!(scene.sweep(PATIENCE * 2), [cookies("a")]);
    assert_eq!(scene.land("a"), [0]);
}

#[test]
fn a_booked_call_is_made_by_the_next_sweep_and_once() {
    let mut flights: Flights<u32> = Flights::default();
    let session = cookies("session=a");
    assert_eq!(flights.book(0, session.clone()), Booking::New);
    assert_eq!(flights.book(0, session.clone()), Booking::Joined);
    let sweep = |flights: &mut Flights<u32>, millis| {
        let made = flights.sweep(Ticks::from_millis(millis), MOST, |_| Duration::from_secs(1));
        made.len()
    };
    assert_eq!(sweep(&mut flights, 100), 1);
    assert_eq!(sweep(&mut flights, 200), 0);
    // Who asks the same meanwhile joins it.
    let boarding = flights.board(
        0,
        &session,
        7,
        ClientFacts::default(),
        Duration::from_secs(1),
        Ticks::from_millis(200),
    );
    assert_eq!(boarding, Boarding::Join);
    assert_eq!(flights.land(0, &session), BTreeSet::from([7]));
    assert_eq!(flights.len(), 0);
}

#[test]
fn calls_that_nobody_waits_for_are_bounded_and_given_up_when_they_are_lost() {
    let mut flights: Flights<u32> = Flights::default();
    let book = |flights: &mut Flights<u32>, nth: u32| {
        flights.book(0, cookies(&format!("session={nth}"))) == Booking::New
    };
    let booked = (0..100).filter(|nth| book(&mut flights, *nth)).count();
    assert_eq!((booked, flights.len()), (64, 64));
    let patience = |_| Duration::from_secs(1);
    assert_eq!(
        flights.sweep(Ticks::from_millis(100), MOST, patience).len(),
        64
    );
    assert!(!book(&mut flights, 100), "those under way count");
    assert!(flights.land(0, &cookies("session=0")).is_empty());
    assert!(book(&mut flights, 100));
    assert_eq!(
        flights
            .sweep(Ticks::from_millis(1_100), MOST, patience)
            .len(),
        1
    );
    assert_eq!(flights.len(), 1, "the lost ones are not made again");
    assert_eq!(flights.take_lost().len(), 63, "and it is said which");
    assert_eq!(flights.take_lost(), []);
    let booked = (200..300).filter(|nth| book(&mut flights, *nth)).count();
    assert_eq!(booked, 63);
}

#[test]
fn a_sweep_makes_no_more_calls_than_it_may_and_passes_over_so_many_lost_ones() {
    let mut scene = Scene::default();
    for request in 0..1_000 {
        scene.board(&request.to_string(), request);
        scene
            .flights
            .leave_to_sweep(0, &cookies(&request.to_string()));
    }
    assert_eq!(scene.sweep(Duration::ZERO).len(), 1_000);
    // Most of them are left by all who waited, and the answers are lost.
    for request in 0..950 {
        scene.leave(&request.to_string(), request);
    }
    let (mut made, mut sweeps) = (0, 0);
    let late = START.after(PATIENCE);
    while scene.flights.is_due(late) {
        let before = scene.flights.len();
        let again = scene.flights.sweep(late, 5, |_| PATIENCE);
        assert!(again.len() <= 5);
        assert!(before - scene.flights.len() <= 64 + 5, "bounded");
        made += again.len();
        sweeps += 1;
    }
    assert_eq!((made, scene.flights.len()), (50, 50));
    assert!((950 / 69..30).contains(&sweeps), "{sweeps} sweeps");
    assert!(!scene.flights.is_due(START));
    assert!(scene.flights.is_due(late.after(PATIENCE)));
}

#[test]
fn what_a_client_may_have_caused_is_asked_once_more_without_what_it_chose() {
    let refused = || Some(ResolverError::Status(403));
    let mut scene = Scene::default();
    scene.board("a", 0);
    scene.board("a", 1);
    let key = cookies("a");
    assert!(
        scene
            .flights
            .try_again(0, &key, refused, ended(None, true, 0))
    );
    let again = scene.flights.sweep(START, MOST, |_| PATIENCE);
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
        !scene
            .flights
            .try_again(0, &key, refused, ended(None, true, 0))
    );
    assert_eq!(scene.land("a"), [0, 1]);
}

#[test]
fn a_verdict_an_outage_and_a_call_without_a_client_are_not_asked_about_again() {
    let refused = || Some(ResolverError::Unclear);
    let mut scene = Scene::default();
    scene.board("a", 0);
    let key = cookies("a");
    assert!(
        !scene
            .flights
            .try_again(0, &key, || None, ended(None, true, 0))
    );
    let pause = Duration::from_secs(1);
    let outages = [
        ResolverError::Status(502),
        ResolverError::Status(504),
        ResolverError::Busy(500, pause),
        ResolverError::Busy(503, pause),
    ];
    for outage in outages {
        assert!(
            !scene
                .flights
                .try_again(0, &key, || Some(outage), ended(None, true, 0))
        );
    }
    assert!(
        !scene
            .flights
            .try_again(0, &cookies("unknown"), refused, ended(None, true, 0))
    );

    // In the background, with somebody who has joined: there is nothing to leave out.
    let booked = cookies("booked");
    assert_eq!(scene.flights.book(0, booked.clone()), Booking::New);
    let made = scene.flights.sweep(START, MOST, |_| PATIENCE);
    assert!(made.iter().all(|call| call.client.is_empty()));
    assert_eq!(scene.board("booked", 1), Boarding::Join);
    assert!(
        !scene
            .flights
            .try_again(0, &booked, refused, ended(None, true, 0))
    );
    assert_eq!(scene.land("booked"), [1]);

    // Nobody waits any more.
    scene.leave("a", 0);
    assert!(
        !scene
            .flights
            .try_again(0, &key, refused, ended(None, true, 0))
    );
}

#[test]
fn a_call_that_is_made_again_for_others_still_leaves_out_what_a_client_chose() {
    let mut scene = Scene::default();
    scene.board("a", 0);
    scene.board("a", 1);
    scene.leave("a", 0);
    let key = cookies("a");
    let made = scene.flights.sweep(START, MOST, |_| PATIENCE);
    assert_eq!(made[0].client.user_agent.as_deref(), Some("agent of 0"));
    let refused = || Some(ResolverError::TooManyRequests(None));
    assert!(
        scene
            .flights
            .try_again(0, &key, refused, ended(None, true, 0))
    );
    assert!(
        scene.flights.sweep(START, MOST, |_| PATIENCE)[0]
            .client
            .is_empty()
    );
    assert!(
        !scene
            .flights
            .try_again(0, &key, refused, ended(None, true, 0)),
        "no third time"
    );
    // The lock of the lost call may still be there.
    let locked = || Some(ResolverError::Status(500));
    assert!(
        scene
            .flights
            .try_again(0, &key, locked, ended(None, true, 0))
    );
    let later = START.after(Duration::from_millis(200));
    assert!(
        scene.flights.sweep(later, MOST, |_| PATIENCE)[0]
            .client
            .is_empty()
    );
}

#[test]
fn a_call_that_met_the_sessions_lock_is_made_once_more_after_a_pause() {
    let locked = || Some(ResolverError::Status(500));
    for (entropy, pause) in [(0, 100), (u64::MAX, 200)] {
        let mut scene = Scene::default();
        scene.board("a", 0);
        let key = cookies("a");
        assert!(
            scene
                .flights
                .try_again(0, &key, locked, ended(None, true, entropy))
        );
        let pause = Duration::from_millis(pause);
        assert_eq!(scene.sweep(pause - Duration::from_millis(1)), []);
        assert_eq!(scene.sweep(pause), [cookies("a")]);
        assert!(
            !scene
                .flights
                .try_again(0, &key, locked, ended(None, true, entropy))
        );
        assert_eq!(scene.land("a"), [0]);
    }
}

#[test]
fn a_call_whose_connection_broke_is_made_once_more_after_a_pause_and_one_that_took_its_time_is_not()
{
    for broke in [ResolverError::NoAnswer, ResolverError::Status(503)] {
        let mut scene = Scene::default();
        scene.board("a", 0);
        let key = cookies("a");
        let again = |scene: &mut Scene, ended_early| {
            let failed = || Some(broke);
            scene
                .flights
                .try_again(0, &key, failed, ended(None, ended_early, 0))
        };
        assert!(!again(&mut scene, false), "{broke}");
        assert!(again(&mut scene, true), "{broke}");
        let pause = Duration::from_millis(100);
        assert_eq!(scene.sweep(pause - Duration::from_millis(1)), []);
        assert_eq!(scene.sweep(pause), [cookies("a")]);
        assert!(!again(&mut scene, true), "{broke}");
        assert_eq!(scene.land("a"), [0]);
    }
}

#[test]
fn a_call_that_the_gateways_own_limits_drop_is_not_made_again() {
    let mut scene = Scene::default();
    scene.board("a", 0);
    let dropped = || Some(ResolverError::Overloaded);
    let key = cookies("a");
    assert!(
        !scene
            .flights
            .try_again(0, &key, dropped, ended(None, true, 0))
    );
}

#[test]
fn so_many_calls_and_no_more_are_made_again_at_once() {
    let locked = || Some(ResolverError::Status(500));
    let mut scene = Scene::default();
    let again = |scene: &mut Scene, nth: u32| {
        let name = nth.to_string();
        scene.board(&name, nth);
        let user = Some(name.as_str().into());
        scene
            .flights
            .try_again(0, &cookies(&name), locked, ended(user, true, 0))
    };
    let made = (0..100).filter(|nth| again(&mut scene, *nth)).count();
    assert_eq!(made, 64);
    scene.land("0");
    assert!(again(&mut scene, 100));
    assert!(!again(&mut scene, 101));
}

#[test]
fn neither_one_user_nor_all_strangers_take_the_places_of_calls_that_are_made_again() {
    let locked = || Some(ResolverError::Status(500));
    let mut scene = Scene::default();
    let again = |scene: &mut Scene, nth: u32, user: Option<&str>| {
        let name = nth.to_string();
        scene.board(&name, nth);
        let user = user.map(Into::into);
        scene
            .flights
            .try_again(0, &cookies(&name), locked, ended(user, true, 0))
    };
    let made = (0..100).filter(|nth| again(&mut scene, *nth, Some("a")));
    assert_eq!(made.count(), 8);
    let made = (100..200).filter(|nth| again(&mut scene, *nth, None));
    assert_eq!(made.count(), 32);
    assert!(again(&mut scene, 200, Some("b")));
    scene.land("0");
    assert!(again(&mut scene, 300, Some("a")));
    assert!(!again(&mut scene, 301, Some("a")));
    scene.land("100");
    assert!(again(&mut scene, 302, None));
    assert!(!again(&mut scene, 303, None));
}
