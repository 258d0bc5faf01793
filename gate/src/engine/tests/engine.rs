//! The whole engine, driven as a host drives it: no Envoy, no time that passes by itself.

use super::super::waiting::MAX_SETTLED_PER_TICK;
use super::*;
use crate::callout::DispatchError;
use crate::jwks::testing::{ALONE, Process};

mod background;
mod retries;

/// A host with one root, whose clock is moved by hand.
pub(super) struct Host {
    pub(super) engine: Engine,
    budget: Budget,
    /// What it shares with other workers, and which one it is.
    shared: Option<(Rc<Process>, u64)>,
    pub(super) now: Now,
    tokens: u32,
    /// Calls that were made, by their tokens.
    pub(super) calls: Vec<(u32, crate::callout::Call)>,
    /// What became of requests that had waited.
    pub(super) ended: Vec<(u32, String)>,
}

impl Host {
    pub(super) fn new(change: impl FnOnce(&mut Value)) -> Self {
        let mut config = json!({
            "projects": [{
                "endpoint": ISSUER,
                "cluster": "authgear",
                "jwt": { "algorithms": ["ES256"] },
            }],
            "limits": { "waiting_requests": 80 },
        });
        change(&mut config);
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        let budget = Budget::default();
        Self {
            engine: Engine::new(Gate::new(config), budget.clone()),
            budget,
            shared: None,
            now: Now {
                unix: UNIX,
                ticks: Ticks::from_millis(5_000),
            },
            tokens: 0,
            calls: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// One worker of a process whose workers share.
    pub(super) fn sharing(
        process: &Rc<Process>,
        number: u64,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let mut host = Self::new(change);
        host.shared = Some((Rc::clone(process), number));
        host
    }

    /// What its workers share.
    pub(super) fn process(&self) -> &Process {
        &self.shared.as_ref().expect("a worker that shares").0
    }

    /// With keys.
    fn serving(change: impl FnOnce(&mut Value)) -> Self {
        let mut host = Self::new(change);
        host.tick();
        let (token, _) = host.calls.pop().expect("a fetch of keys");
        host.answer(token, Some(&jwks(&[&KEY])), Caller::Root);
        assert_eq!(host.calls, []);
        host
    }

    pub(super) fn with<T>(&mut self, run: impl FnOnce(&mut Engine, &Env<'_>) -> T) -> T {
        let env = Env {
            now: self.now,
            entropy: &|| 7,
            verifier: &RustCrypto,
            shared: match &self.shared {
                Some((process, number)) => process.worker(*number),
                None => ALONE,
            },
        };
        run(&mut self.engine, &env)
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now.ticks = self.now.ticks.after(Duration::from_millis(millis));
        self.now.unix += millis / 1_000;
    }

    /// What is decided on a request at once.
    pub(super) fn request(&mut self, id: u32, headers: &[(&str, &str)]) -> String {
        let headers = request("/", headers);
        let request = Request::new(&headers);
        let decision = self.with(|engine, env| engine.handle_request(id, &request, &|| None, env));
        match decision {
            Decision::Forward(admission) => shown(&Step::Forward(admission)),
            Decision::Respond(reply) => format!("{} {}", reply.status(), reply.reason().name()),
            Decision::Wait(None) => "wait".to_owned(),
            Decision::Wait(Some(call)) => {
                self.call(call);
                "call and wait".to_owned()
            }
        }
    }

    /// How often each of these was counted since that was last asked.
    fn count<const N: usize>(&self, events: [Counter; N]) -> [u32; N] {
        let counted = self.counted();
        events.map(|event| {
            let of_event = counted.iter().find(|(other, _)| *other == event);
            of_event.map_or(0, |(_, count)| *count)
        })
    }

    pub(super) fn session(&mut self, id: u32, session: &str) -> String {
        self.request(id, &[("cookie", &format!("session={session}"))])
    }

    fn call(&mut self, call: OutgoingCall) {
        self.tokens += 1;
        let token = self.tokens;
        self.calls.push((token, call.call.clone()));
        self.with(|engine, env| engine.handle_dispatched(call, Ok(token), env));
    }

    pub(super) fn answer(&mut self, token: u32, answer: Option<&Answer>, caller: Caller) {
        self.with(|engine, env| engine.handle_response(token, answer, caller, env));
        self.perform(caller);
    }

    /// Answers the only call that is under way.
    pub(super) fn answer_all(&mut self, answer: Option<&Answer>, caller: Caller) {
        for (token, _) in std::mem::take(&mut self.calls) {
            self.answer(token, answer, caller);
        }
    }

    /// How many actions there were.
    fn perform(&mut self, caller: Caller) -> usize {
        let mut actions = 0;
        while let Some(action) = self.with(|engine, env| engine.poll_action(caller, env)) {
            actions += 1;
            match action {
                Action::Resume(id, admission) => {
                    self.ended.push((id, shown(&Step::Forward(admission))));
                }
                Action::Respond(id, reply) => {
                    let shown = format!("{} {}", reply.status(), reply.reason().name());
                    self.ended.push((id, shown));
                }
                Action::Call(call) => {
                    assert_eq!(caller, Caller::Root, "its answer would be lost");
                    self.call(call);
                }
            }
        }
        actions
    }

    pub(super) fn tick(&mut self) -> usize {
        self.budget.renew();
        self.with(|engine, env| engine.handle_timeout(true, env));
        self.perform(Caller::Root)
    }

    pub(super) fn is_due(&self) -> bool {
        self.engine.is_due(self.now)
    }

    pub(super) fn counted(&self) -> Vec<(Counter, u32)> {
        self.engine.counters().take().collect()
    }

    /// Nothing is left of any request.
    pub(super) fn assert_idle(&mut self) {
        let levels = self.engine.levels(self.now);
        assert_eq!((levels.waiting_requests, levels.resolver_calls), (0, 0));
        assert!(!self.is_due());
    }
}

const NO: Caller = Caller::Request(999);

#[test]
fn a_cold_session_waits_for_one_call_and_goes_on_with_its_answer() {
    let mut host = Host::serving(|_| {});
    assert_eq!(host.session(1, "a"), "call and wait");
    assert_eq!(host.session(2, "a"), "wait");
    assert!(host.engine.is_paused(1) && host.engine.waits(2));
    host.answer_all(Some(&yes()), Caller::Request(1));
    assert_eq!(
        host.ended,
        [(1, "alice".to_owned()), (2, "alice".to_owned())]
    );
    assert!(
        !host.engine.is_paused(1),
        "what follows its headers may be forwarded"
    );
    assert_eq!(host.session(3, "a"), "alice");
    host.assert_idle();
}

#[test]
fn a_crowd_proceeds_a_few_at_a_time_and_nobody_is_left_behind() {
    let mut host = Host::serving(|config| config["limits"]["waiting_requests"] = json!(1_000));
    for id in 0..1_000 {
        host.session(id, "a");
    }
    host.tick();
    host.answer_all(Some(&no()), Caller::Request(0));
    assert_eq!(host.ended.len(), MAX_SETTLED_PER_TICK);
    // Whatever else is called back before the next tick, no more proceed.
    assert_eq!(host.perform(NO), 0);
    assert_eq!(host.perform(Caller::Root), 0);
    let mut ticks = 0;
    while host.is_due() {
        assert!(host.tick() <= MAX_SETTLED_PER_TICK);
        ticks += 1;
    }
    assert_eq!(ticks, 1_000_usize.div_ceil(MAX_SETTLED_PER_TICK) - 1);
    assert_eq!(host.ended.len(), 1_000);
    assert!(
        host.ended
            .iter()
            .all(|(_, end)| end == "401 invalid_session")
    );
    host.assert_idle();
}

#[test]
fn calls_that_nobody_has_made_are_made_by_the_root_alone() {
    let mut host = Host::serving(|_| {});
    assert_eq!(host.session(1, "a"), "call and wait");
    assert_eq!(host.session(2, "a"), "wait");
    // The answer is lost with who made the call.
    host.engine.handle_close(1);
    host.calls.clear();
    assert_eq!(host.perform(NO), 0);
    assert!(
        host.is_due(),
        "but it is said that there is something to do"
    );
    assert_eq!(host.tick(), 1);
    host.answer_all(Some(&yes()), Caller::Root);
    assert_eq!(host.ended, [(2, "alice".to_owned())]);
    host.assert_idle();
}

#[test]
fn a_request_that_nobody_answers_ends_within_its_time() {
    let mut host = Host::serving(|_| {});
    host.session(1, "a");
    host.session(2, "a");
    host.engine.handle_close(1);
    host.tick();
    host.pass(1_499);
    assert_eq!(host.tick(), 0);
    host.pass(1);
    host.tick();
    assert_eq!(host.ended, [(2, "503 timed_out".to_owned())]);
}

#[test]
fn a_call_that_cannot_be_made_is_no_verdict() {
    let mut host = Host::serving(|_| {});
    let headers = request("/", &[("cookie", "session=a")]);
    let asked = Request::new(&headers);
    let decision = host.with(|engine, env| engine.handle_request(1, &asked, &|| None, env));
    let Decision::Wait(Some(call)) = decision else {
        panic!("{decision:?}");
    };
    host.with(|engine, env| engine.handle_dispatched(call, Err(DispatchError::NotStarted), env));
    assert!(host.is_due());
    host.tick();
    assert_eq!(host.ended, [(1, "503 resolver_unavailable".to_owned())]);
    let levels = host.engine.levels(host.now);
    assert_eq!(levels.waiting_requests, 0);
}

#[test]
fn whose_call_was_lost_is_answered_at_once_where_the_resolver_is_left_alone() {
    let mut host = Host::serving(|config| {
        config["projects"][0]["session"] = json!({ "timeout": "5s" });
    });
    host.session(1, "a");
    host.session(2, "a");
    host.calls.clear();
    // Strangers' failures, and two of the checks that they cause.
    for id in 3..6 {
        host.session(id, "made-up");
        host.tick();
        host.answer_all(Some(&answer(502, &[], b"")), Caller::Root);
        host.pass(500);
    }
    assert_eq!(host.engine.levels(host.now).open_breakers, 1);
    host.ended.clear();
    host.engine.handle_close(1);
    host.tick();
    host.tick();
    assert_eq!(host.calls, [], "nobody is asked");
    assert_eq!(host.ended, [(2, "503 resolver_unavailable".to_owned())]);
    host.assert_idle();
}

#[test]
fn who_waits_for_keys_as_the_configuration_is_replaced_gets_them() {
    for new in [true, false] {
        let mut host = if new {
            Host::new(|_| {})
        } else {
            Host::serving(|_| {})
        };
        let other = SigningKey::es256().with_kid("another");
        let token = format!("Bearer {}", alice().sign(&other));
        assert_eq!(host.request(1, &[("authorization", &token)]), "wait");
        host.with(|engine, env| engine.handle_timeout(false, env));
        host.perform(Caller::Root);
        assert_eq!(host.calls.len(), 1, "new: {new}");
        host.answer_all(Some(&jwks(&[&KEY, &other])), Caller::Root);
        assert_eq!(host.ended, [(1, "alice".to_owned())]);
        // And nothing more.
        host.pass(86_400_000);
        host.with(|engine, env| engine.handle_timeout(false, env));
        assert_eq!(host.perform(Caller::Root), 0);
    }
}

#[test]
fn tokens_of_an_unknown_key_do_not_use_up_the_limits_of_others() {
    let mut host = Host::serving(|_| {});
    let other = SigningKey::es256().with_kid("another");
    let unknown = format!("Bearer {}", alice().sign(&other));
    let outcomes: Vec<String> = (0..210)
        .map(|id| host.request(id, &[("authorization", &unknown)]))
        .collect();
    let waiting = outcomes.iter().filter(|outcome| *outcome == "wait").count();
    assert_eq!(waiting, 10, "an eighth of 80");
    assert!(
        outcomes[10..]
            .iter()
            .all(|outcome| outcome == "503 overloaded")
    );
    for id in 1_000..1_080 {
        assert_eq!(host.session(id, &id.to_string()), "call and wait");
    }
    assert_eq!(host.session(2_000, "one-more"), "503 overloaded");
    // Good tokens need no place at all.
    assert_eq!(
        host.request(3_000, &[("authorization", &bearer(&alice()))]),
        "alice"
    );
}

#[test]
fn before_there_are_keys_as_many_wait_for_them_as_may_and_sessions_beside_them() {
    let mut host = Host::new(|_| {});
    let good = bearer(&alice());
    for id in 0..80 {
        assert_eq!(host.request(id, &[("authorization", &good)]), "wait");
    }
    let one_more = host.request(80, &[("authorization", &good)]);
    assert_eq!(one_more, "503 overloaded");
    assert_eq!(host.session(100, "a"), "call and wait");
}

#[test]
fn requests_that_end_at_once_make_so_many_calls_and_keep_nobody_out() {
    let mut host = Host::serving(|_| {});
    let made: usize = (0..10_000)
        .filter(|id| {
            let outcome = host.session(*id, &id.to_string());
            host.engine.handle_close(*id);
            outcome == "call and wait"
        })
        .count();
    assert_eq!(made, (80 + 256) / 2, "the rest is for the root");
    // It makes no call that nobody waits for, and looks for none.
    host.assert_idle();
    host.calls.clear();
    assert_eq!(host.session(20_000, "a-victims"), "wait");
    assert_eq!(host.tick(), 1);
    assert_eq!(host.calls.len(), 1);
    host.answer_all(Some(&yes()), Caller::Root);
    host.tick();
    assert_eq!(host.ended, [(20_000, "alice".to_owned())]);
    // The answers to those calls are lost, and they are given up with time.
    host.pass(2_000);
    host.tick();
    assert_eq!(host.session(30_000, "next"), "call and wait");
}

const LONG: &str = "0123456789abcdef";

#[test]
fn one_session_beside_ever_other_cookies_has_eight_calls_and_keeps_nobody_out() {
    let mut host = Host::serving(|_| {});
    let beside = |host: &mut Host, id: u32| {
        let cookie = format!("session={LONG}; app_session=x{id}");
        host.request(id, &[("cookie", &cookie)])
    };
    let outcomes: Vec<String> = (0..100).map(|id| beside(&mut host, id)).collect();
    let count = |outcome: &str| outcomes.iter().filter(|other| *other == outcome).count();
    assert_eq!(
        (
            count("call and wait"),
            count("wait"),
            count("503 overloaded")
        ),
        (4, 4, 92)
    );
    assert_eq!(
        host.session(200, "another-session-of-others"),
        "call and wait"
    );
    assert_eq!(
        beside(&mut host, 0),
        "wait",
        "a call that is under way is joined"
    );
    host.tick();
    assert_eq!(host.calls.len(), 8 + 1);
    for ((token, _), id) in std::mem::take(&mut host.calls).into_iter().zip(0..) {
        host.answer(token, Some(&no()), Caller::Request(id));
    }
    host.tick();
    assert_eq!(
        beside(&mut host, 300),
        "call and wait",
        "there is a place again"
    );
}

#[test]
fn one_session_whose_requests_end_at_once_has_a_few_calls() {
    let mut host = Host::serving(|_| {});
    let made: usize = (0..1_000)
        .filter(|id| {
            let cookie = format!("session={LONG}; app_session=x{}", id % 3);
            let outcome = host.request(*id, &[("cookie", &cookie)]);
            host.engine.handle_close(*id);
            outcome == "call and wait"
        })
        .count();
    assert_eq!(made, 4);
    host.calls.clear();
    assert_eq!(host.session(2_000, LONG), "wait");
    host.tick();
    host.answer_all(Some(&yes()), Caller::Root);
    assert_eq!(host.ended, [(2_000, "alice".to_owned())]);
}

#[test]
fn who_joins_a_call_does_not_count_as_another() {
    let mut host = Host::serving(|config| config["limits"]["waiting_requests"] = json!(1));
    for id in 0..10_000 {
        host.session(id, &id.to_string());
        host.engine.handle_close(id);
    }
    assert_eq!(host.session(20_000, "a"), "wait");
    assert_eq!(host.session(20_001, "a"), "503 overloaded", "one may wait");
}

#[test]
fn what_follows_the_headers_of_a_request_that_could_not_be_resumed_is_paused() {
    let mut host = Host::serving(|_| {});
    host.session(1, "a");
    host.answer_all(Some(&yes()), Caller::Request(1));
    assert!(!host.engine.is_paused(1));
    let _ = host.engine.handle_fault(1, None);
    assert!(host.engine.is_paused(1) && !host.engine.waits(1));
    host.engine.handle_close(1);
    assert!(!host.engine.is_paused(1));
}

#[test]
fn what_the_host_could_not_do_is_answered_and_counted_once() {
    let mut host = Host::serving(|_| {});
    let token = bearer(&alice());
    let presented = [("authorization", token.as_str())];
    let headers = request("/", &presented);
    let asked = Request::new(&headers);
    host.counted();
    let decision = host.with(|engine, env| engine.handle_request(1, &asked, &|| None, env));
    let Decision::Forward(admission) = decision else {
        panic!("{decision:?}");
    };
    let reply = host.engine.handle_fault(1, Some(&admission));
    assert_eq!((reply.status(), reply.reason()), (503, Reason::Internal));
    let ends = |(event, _): &(Counter, u32)| event.metric().starts_with("authgear_requests");
    let counted: Vec<_> = host.counted().into_iter().filter(ends).collect();
    assert_eq!(counted, [(Counter::RefusedInternal, 1)]);
}

#[test]
fn nothing_is_kept_of_requests_that_have_gone() {
    let mut host = Host::serving(|config| {
        config["projects"][0]["session"] = json!({ "relay_set_cookie": true });
    });
    let other = SigningKey::es256().with_kid("another");
    let unknown = format!("Bearer {}", alice().sign(&other));
    host.session(1, "a");
    host.session(2, "a");
    host.request(3, &[("authorization", &unknown)]);
    for id in 1..=3 {
        host.engine.handle_close(id);
        host.engine.handle_close(id);
        assert!(!host.engine.is_paused(id) && !host.engine.waits(id));
    }
    host.answer_all(Some(&no()), Caller::Root);
    assert_eq!(host.ended, []);
    assert_eq!(host.engine.take_cookies(1), Vec::<String>::new());
}
