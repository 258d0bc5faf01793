//! Several workers of one process: one of them asks the resolver, for all.

use super::engine::Host;
use super::*;
use crate::jwks::testing::Process;
use crate::session::{Question, Turn};

/// Workers that share, on one clock.
struct Workers(Vec<Host>);

impl Workers {
    fn new(session: &Value) -> Self {
        Self::with(|config| config["projects"][0]["session"] = session.clone())
    }

    fn with(change: impl Fn(&mut Value)) -> Self {
        let process = Rc::new(Process::default());
        let worker = |number| {
            Host::sharing(&process, number, |config| {
                config["projects"][0]["jwks"] = json!({ "inline": { "keys": [KEY.jwk()] } });
                change(config);
            })
        };
        Self((1..=3).map(worker).collect())
    }

    fn pass(&mut self, millis: u64) {
        for worker in &mut self.0 {
            worker.pass(millis);
        }
    }

    /// How many calls have been made that are not answered yet.
    fn calls(&self) -> usize {
        self.0.iter().map(|worker| worker.calls.len()).sum()
    }

    fn ticks(&mut self) {
        for worker in &mut self.0 {
            worker.tick();
        }
    }
}

impl std::ops::Index<usize> for Workers {
    type Output = Host;

    fn index(&self, nth: usize) -> &Host {
        &self.0[nth]
    }
}

impl std::ops::IndexMut<usize> for Workers {
    fn index_mut(&mut self, nth: usize) -> &mut Host {
        &mut self.0[nth]
    }
}

fn alice_once() -> Vec<(u32, String)> {
    vec![(1, "alice".to_owned())]
}

#[test]
fn a_fresh_session_is_asked_for_once_however_many_workers_want_it() {
    let mut workers = Workers::new(&json!({ "ttl": "10s" }));
    assert_eq!(workers[0].session(1, "a"), "call and wait");
    assert_eq!(workers[1].session(1, "a"), "wait");
    assert_eq!(workers[2].session(1, "a"), "wait");
    assert!(workers[1].is_due(), "a short tick is needed");
    workers.pass(4);
    workers.ticks();
    assert_eq!(workers.calls(), 1);
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    workers.pass(4);
    workers.ticks();
    for nth in 0..3 {
        assert_eq!(workers[nth].ended, alice_once());
        assert_eq!(workers[nth].session(2, "a"), "alice");
        workers[nth].assert_idle();
    }
    assert_eq!(workers.calls(), 0);
    let counted = workers[1].counted();
    assert!(
        counted.contains(&(Counter::ResolverSharedAnswer, 1)),
        "{counted:?}"
    );
    assert!(
        !counted
            .iter()
            .any(|(event, _)| *event == Counter::ResolverCall)
    );
}

#[test]
fn a_worker_that_comes_later_needs_not_even_wait_and_time_runs_from_the_question() {
    let mut workers = Workers::new(&json!({ "ttl": "900ms" }));
    workers[0].session(1, "a");
    workers.pass(300);
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    workers.pass(599);
    assert_eq!(workers[1].session(1, "a"), "alice");
    assert_eq!(workers[0].session(2, "a"), "alice");
    workers.pass(1);
    for nth in 0..2 {
        assert_ne!(workers[nth].session(3, "a"), "alice", "worker {nth}");
    }
}

#[test]
fn a_worker_that_is_late_is_replaced_by_one_other() {
    let mut workers = Workers::new(&json!({ "timeout": "1s" }));
    for nth in 0..3 {
        workers[nth].session(1, "a");
    }
    for _ in 0..49 {
        workers.pass(10);
        workers.ticks();
        assert_eq!(workers.calls(), 1);
    }
    for _ in 0..4 {
        workers.pass(10);
        workers.ticks();
    }
    assert_eq!(workers.calls(), 2);
    workers[1].answer_all(Some(&yes()), Caller::Root);
    workers.pass(32);
    workers.ticks();
    assert_eq!(workers[1].ended, alice_once());
    assert_eq!(workers[2].ended, alice_once());
    // The answer that the first gets in the end is older.
    workers[0].answer_all(Some(&no()), Caller::Request(1));
    assert_eq!(workers[0].ended, alice_once());
}

#[test]
fn a_worker_without_an_answer_is_followed_at_once() {
    let mut workers = Workers::new(&json!({}));
    workers[0].session(1, "a");
    workers[1].session(1, "a");
    workers[0].answer_all(Some(&answer(404, &[], b"")), Caller::Request(1));
    assert_eq!(
        workers[0].ended,
        [(1, "503 resolver_unavailable".to_owned())]
    );
    workers.pass(4);
    workers[1].tick();
    assert_eq!(workers[1].calls.len(), 1);
    workers[1].answer_all(Some(&yes()), Caller::Root);
    assert_eq!(workers[1].ended, alice_once());
}

#[test]
fn whoever_waits_for_others_ends_in_time_whatever_they_pretend() {
    let mut workers = Workers::new(&json!({ "timeout": "1s" }));
    let config = json!({ "projects": [{ "endpoint": ISSUER, "cluster": "authgear" }] });
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    let policy = config.projects[0].session.clone().unwrap();
    let answers = SharedAnswers::new(&config.projects[0].endpoint, &policy, 4_096);
    let credential = SessionCredential::Cookies("session=a".into());
    let question = Question::about(&credential).unwrap();
    // A worker that asks anew all the time, as it says.
    let pretend = |worker: &Host| {
        let liar = worker.process().worker(9);
        answers.turn(
            liar,
            question,
            |_| false,
            Ticks::default(),
            worker.now.ticks,
        )
    };
    assert_eq!(pretend(&workers[0]), Turn::Ask(Some(question)));
    assert_eq!(workers[0].session(1, "a"), "wait");
    for _ in 0..99 {
        workers.pass(10);
        pretend(&workers[0]);
        workers[0].tick();
        assert_eq!(workers[0].calls.len(), 0);
    }
    workers.pass(42);
    pretend(&workers[0]);
    workers[0].tick();
    assert_eq!(workers[0].calls.len(), 1, "it asks for itself now");
    workers.pass(1_499);
    workers[0].tick();
    assert_eq!(workers[0].ended, [(1, "503 timed_out".to_owned())]);
}

#[test]
fn a_refusal_is_taken_over_and_ends_with_its_own_time() {
    let mut workers = Workers::new(&json!({ "negative_ttl": "2s" }));
    workers[0].session(1, "a");
    workers[0].answer_all(Some(&no()), Caller::Request(1));
    assert_eq!(workers[1].session(1, "a"), "401 invalid_session");
    workers.pass(1_999);
    assert_eq!(workers[1].session(2, "a"), "401 invalid_session");
    workers.pass(1);
    assert_eq!(workers[1].session(3, "a"), "call and wait");
}

#[test]
fn a_session_in_use_is_refreshed_by_one_worker_for_all() {
    let mut workers = Workers::new(&json!({ "ttl": "10s" }));
    workers[0].session(1, "a");
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    workers[1].session(1, "a");
    let mut calls = 0;
    for _ in 0..120 {
        workers.pass(500);
        for nth in 0..2 {
            assert_eq!(workers[nth].session(2, "a"), "alice");
            workers[nth].tick();
            calls += workers[nth].calls.len();
        }
        for nth in 0..2 {
            workers[nth].answer_all(Some(&yes()), Caller::Root);
        }
    }
    // A minute, and a refresh at 50 to 75 per cent of ten seconds.
    assert!((8..=12).contains(&calls), "{calls}");
}

#[test]
fn who_has_logged_out_is_out_everywhere_within_the_time_of_the_last_yes() {
    let mut workers = Workers::new(&json!({ "ttl": "10s" }));
    workers[0].session(1, "a");
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    workers[1].session(1, "a");
    // The one gets the answer at its refresh, the other takes it over at its own.
    workers.pass(7_600);
    assert_eq!(workers[0].session(2, "a"), "alice");
    workers[0].tick();
    workers[0].answer_all(Some(&no()), Caller::Root);
    assert_eq!(workers[0].session(3, "a"), "401 invalid_session");
    assert_eq!(workers[1].session(2, "a"), "alice");
    workers[1].tick();
    assert_eq!(workers[1].session(3, "a"), "401 invalid_session");
    assert_eq!(workers[2].session(1, "a"), "401 invalid_session");
    assert_eq!(workers.calls(), 0);
}

#[test]
fn a_token_is_confirmed_by_one_worker_for_all() {
    let mut workers = Workers::with(|config| {
        config["projects"][0]["jwt"]["revalidate"] = json!("10s");
    });
    let token = bearer(&alice());
    let mut calls = 0;
    for _ in 0..60 {
        workers.pass(1_000);
        for nth in 0..3 {
            assert_eq!(
                workers[nth].request(1, &[("authorization", &token)]),
                "alice"
            );
            workers[nth].tick();
        }
        calls += workers.calls();
        for nth in 0..3 {
            workers[nth].answer_all(Some(&yes()), Caller::Root);
        }
    }
    assert!((5..=8).contains(&calls), "{calls}");
    // Its owner is banned: refused everywhere, with one question and the next.
    let banned = no();
    for _ in 0..21 {
        workers.pass(1_000);
        for nth in 0..3 {
            workers[nth].request(1, &[("authorization", &token)]);
            workers[nth].tick();
        }
        for nth in 0..3 {
            workers[nth].answer_all(Some(&banned), Caller::Root);
        }
    }
    for nth in 0..3 {
        let outcome = workers[nth].request(2, &[("authorization", &token)]);
        assert_eq!(outcome, "401 invalid_token", "worker {nth}");
    }
}

#[test]
fn a_confirmation_is_taken_over_until_the_next_is_due_however_long_sessions_are_kept() {
    for ttl in ["1s", "5m"] {
        let mut workers = Workers::with(|config| {
            config["projects"][0]["jwt"]["revalidate"] = json!("10s");
            config["projects"][0]["session"] = json!({ "ttl": ttl });
        });
        let token = bearer(&alice());
        for (nth, pause, calls) in [(0, 0, 1), (1, 9_999, 0), (2, 1, 1)] {
            workers.pass(pause);
            assert_eq!(
                workers[nth].request(1, &[("authorization", &token)]),
                "alice"
            );
            workers[nth].tick();
            assert_eq!(workers.calls(), calls, "{ttl}, worker {nth}");
            workers[nth].answer_all(Some(&yes()), Caller::Root);
        }
    }
}

#[test]
fn whoever_leaves_while_another_worker_asks_leaves_nothing_behind() {
    let mut workers = Workers::new(&json!({}));
    workers[0].session(1, "a");
    workers[1].session(1, "a");
    workers[1].engine.handle_close(1);
    for _ in 0..60 {
        workers.pass(100);
        workers[1].tick();
    }
    workers[1].assert_idle();
    assert_eq!(workers[1].calls.len(), 0);
}

#[test]
fn without_a_time_to_keep_it_an_answer_is_for_those_who_waited_for_it() {
    let mut workers = Workers::new(&json!({ "ttl": "0s", "negative_ttl": "0s" }));
    workers[0].session(1, "a");
    workers[1].session(1, "a");
    workers.pass(10);
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    workers[1].tick();
    assert_eq!(workers[1].ended, alice_once());
    assert_eq!(workers[1].session(2, "a"), "call and wait");
}

#[test]
fn where_no_answers_are_cached_none_are_taken_over_but_those_that_were_waited_for() {
    let mut workers = Workers::with(|config| config["limits"]["cached_sessions"] = json!(0));
    workers[0].session(1, "a");
    assert_eq!(workers[1].session(1, "a"), "wait");
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    workers.pass(4);
    workers[1].tick();
    assert_eq!(workers[1].ended, alice_once());
    assert_eq!(workers[2].session(1, "a"), "call and wait");
}

#[test]
fn what_the_resolver_has_for_one_client_is_not_for_those_of_other_workers() {
    let mut workers = Workers::new(&json!({ "relay_set_cookie": true }));
    workers[0].session(1, "a");
    workers[1].session(1, "a");
    let mut cleared = no();
    cleared
        .headers
        .push(("set-cookie".to_owned(), b"session=; Path=/".to_vec()));
    workers[0].answer_all(Some(&cleared), Caller::Request(1));
    workers.pass(4);
    workers[1].tick();
    assert_eq!(workers[1].ended, [(1, "401 invalid_session".to_owned())]);
    assert_eq!(workers[1].engine.take_cookies(1), Vec::<String>::new());
}

#[test]
fn a_record_that_names_nobody_is_asked_for_anew() {
    let mut workers = Workers::new(&json!({}));
    let broken = answer(
        200,
        &[("x-authgear-session-valid".to_owned(), "true".to_owned())],
        b"",
    );
    workers[0].session(1, "a");
    workers[0].answer_all(Some(&broken), Caller::Request(1));
    assert_eq!(workers[1].session(1, "a"), "call and wait");
}

#[test]
fn a_request_waits_no_longer_for_keys_that_other_workers_fetch_again_and_again() {
    let process = Rc::new(Process::default());
    let worker = |number| {
        Host::sharing(&process, number, |config| {
            config["projects"][0]["jwks"] =
                json!({ "timeout": "5s", "unknown_kid_cooldown": "1s" });
        })
    };
    let (mut host, mut others) = (worker(1), worker(2));
    others.tick();
    others.answer_all(Some(&jwks(&[&KEY])), Caller::Root);
    host.tick();
    let unknown = |nth: u32| {
        let key = SigningKey::es256().with_kid(&format!("unknown-{nth}"));
        format!("Bearer {}", alice().sign(&key))
    };
    // The other worker fetches for the sake of one key after another, and this one's request waits for its own.
    others.pass(2_000);
    host.pass(2_000);
    others.request(100, &[("authorization", &unknown(100))]);
    others.tick();
    host.tick();
    assert_eq!(host.request(1, &[("authorization", &unknown(1))]), "wait");
    for nth in 101..120 {
        for _ in 0..4 {
            others.pass(300);
            host.pass(300);
            host.tick();
            let waited = host.now.ticks.since(Ticks::from_millis(7_000));
            let may_wait = waited < Duration::from_millis(5_500);
            assert_eq!(host.ended.is_empty(), may_wait, "{waited:?}");
            if !may_wait {
                return;
            }
        }
        others.answer_all(Some(&jwks(&[&KEY])), Caller::Root);
        others.request(nth, &[("authorization", &unknown(nth))]);
        others.tick();
        host.tick();
    }
}

#[test]
fn whoever_leaves_in_the_midst_of_a_call_keeps_no_other_worker_waiting() {
    let mut workers = Workers::new(&json!({ "timeout": "10s" }));
    assert_eq!(workers[0].session(1, "a"), "call and wait");
    assert_eq!(workers[1].session(1, "a"), "wait");
    // The answer is lost with the request.
    workers[0].engine.handle_close(1);
    workers[0].tick();
    workers.pass(4);
    workers[1].tick();
    assert_eq!(workers[1].calls.len(), 1);
}

#[test]
fn a_worker_that_ends_keeps_no_other_waiting() {
    let mut workers = Workers::new(&json!({ "timeout": "10s" }));
    workers[0].session(1, "a");
    workers[1].session(1, "a");
    workers[0].with(|engine, env| engine.end(env));
    workers.pass(4);
    workers[1].tick();
    assert_eq!(workers[1].calls.len(), 1);
}

#[test]
fn the_answer_about_a_token_counts_for_every_worker_in_each_direction() {
    let mut workers = Workers::with(|config| {
        config["projects"][0]["jwt"]["revalidate"] = json!("10s");
    });
    let token = bearer(&alice());
    let presented = [("authorization", token.as_str())];
    // Both know that such tokens are confirmed.
    let known = bearer(&alice().claim("jti", "another"));
    for nth in 0..2 {
        workers[nth].request(1, &[("authorization", &known)]);
        workers[nth].tick();
        workers[nth].answer_all(Some(&yes()), Caller::Root);
    }
    for nth in 0..2 {
        assert_eq!(workers[nth].request(2, &presented), "alice");
    }
    workers.pass(90);
    workers.ticks();
    for (said, expected) in [
        (silence(), "401 invalid_token"),
        (silence(), "401 invalid_token"),
        (yes(), "alice"),
        (no(), "401 invalid_token"),
    ] {
        assert_eq!(workers.calls(), 1, "one worker asks for both");
        for nth in 0..2 {
            workers[nth].answer_all(Some(&said), Caller::Root);
        }
        workers.pass(150);
        workers.ticks();
        for nth in 0..2 {
            assert_eq!(workers[nth].request(3, &presented), expected, "{said:?}");
        }
        workers.pass(9_851);
        for nth in 0..2 {
            workers[nth].request(4, &presented);
        }
        workers.ticks();
    }
}

#[test]
fn a_ban_is_seen_a_time_and_a_call_after_it_whichever_worker_asks() {
    let mut workers = Workers::with(|config| {
        config["projects"][0]["jwt"]["revalidate"] = json!("10s");
    });
    let token = bearer(&alice());
    let presented = [("authorization", token.as_str())];
    let banned = answer(
        200,
        &[("x-authgear-session-valid".to_owned(), "false".to_owned())],
        b"",
    );
    // The second asks five seconds after the first, and is answered with a yes just before the ban.
    assert_eq!(workers[0].request(1, &presented), "alice");
    workers[0].tick();
    workers[0].answer_all(Some(&yes()), Caller::Root);
    workers.pass(9_990);
    assert_eq!(workers[1].request(1, &presented), "alice");
    workers[1].tick();
    workers[1].answer_all(Some(&yes()), Caller::Root);
    let mut waited = 0;
    while waited <= 11_000 {
        workers.pass(100);
        waited += 100;
        for nth in 0..2 {
            workers[nth].request(2, &presented);
            workers[nth].tick();
            workers[nth].answer_all(Some(&banned), Caller::Root);
        }
    }
    for nth in 0..2 {
        assert_eq!(
            workers[nth].request(3, &presented),
            "401 invalid_token",
            "worker {nth}"
        );
    }
}

#[test]
fn who_comes_after_an_answer_that_is_not_to_be_kept_has_it_asked_for_anew() {
    let mut workers = Workers::new(&json!({ "ttl": "0s", "negative_ttl": "0s" }));
    workers[0].session(1, "a");
    assert_eq!(workers[1].session(1, "a"), "wait");
    workers.pass(2);
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    // It has logged out meanwhile, and the other worker has not looked yet.
    workers.pass(1);
    assert_eq!(workers[1].session(2, "a"), "call and wait");
    workers[1].answer_all(Some(&no()), Caller::Request(2));
    workers[1].tick();
    assert_eq!(
        workers[1].ended,
        [
            (1, "alice".to_owned()),
            (2, "401 invalid_session".to_owned())
        ]
    );
}

#[test]
fn a_refusal_is_not_undone_by_an_older_yes() {
    let mut workers = Workers::new(&json!({ "ttl": "10s", "negative_ttl": "5s" }));
    workers[0].session(1, "a");
    workers.pass(10);
    // It cannot be shared: its slots have leases on other questions.
    workers[1].session(1, "a");
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    workers.pass(4);
    workers[1].tick();
    assert_eq!(workers[1].ended, alice_once());
    workers.pass(7_000);
    workers[1].session(2, "a");
    workers[1].tick();
    workers[1].answer_all(Some(&no()), Caller::Root);
    assert_eq!(workers[1].session(3, "a"), "401 invalid_session");
    assert_eq!(workers[2].session(1, "a"), "401 invalid_session");
}

#[test]
fn whoever_asks_again_keeps_the_lease_of_whom_has_gone() {
    let mut workers = Workers::new(&json!({ "timeout": "10s" }));
    workers[0].session(1, "a");
    workers[0].engine.handle_close(1);
    assert_eq!(workers[0].session(2, "a"), "call and wait");
    workers[0].tick();
    assert_eq!(workers[1].session(1, "a"), "wait");
}

#[test]
fn who_comes_after_a_fresh_answer_has_it_at_once_with_those_who_waited() {
    let mut workers = Workers::new(&json!({ "ttl": "10s" }));
    workers[0].session(1, "a");
    assert_eq!(workers[1].session(1, "a"), "wait");
    workers.pass(2);
    workers[0].answer_all(Some(&yes()), Caller::Request(1));
    assert_eq!(workers[1].session(2, "a"), "alice");
    workers[1].tick();
    assert_eq!(workers[1].ended, alice_once());
    assert_eq!(workers.calls(), 0);
}

#[test]
fn when_a_worker_ends_another_fetches_at_once_what_it_was_about_to() {
    let process = Rc::new(Process::default());
    let worker = |number| Host::sharing(&process, number, |_| {});
    let (mut first, mut second) = (worker(1), worker(2));
    first.tick();
    second.tick();
    assert_eq!((first.calls.len(), second.calls.len()), (1, 0));
    first.with(|engine, env| engine.end(env));
    second.tick();
    assert_eq!(second.calls.len(), 1);
}
