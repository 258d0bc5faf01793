//! What workers share of the resolver's answers, and what becomes of records that are wrong.

use super::super::shared::{FORM, MAX_RECORD_BYTES, Question, Record};
use super::*;
use crate::jwks::testing::{ALONE, Process};
use crate::jwks::{Shared, SharedData as _};

const WORKERS: [u64; 3] = [11, 22, 33];

struct Fixture {
    process: Process,
    answers: SharedAnswers,
    question: Question,
}

impl Fixture {
    fn new(session: &Value) -> Self {
        let answers = SharedAnswers::new(
            &endpoint("https://auth.example.com"),
            &policy(session),
            4_096,
        );
        Self {
            process: Process::default(),
            question: Question::about(&cookies("session=a")).unwrap(),
            answers,
        }
    }

    fn worker(&self, nth: usize) -> Shared<'_> {
        self.process.worker(WORKERS[nth])
    }

    /// What a worker is to do that takes any fresh answer, and waits for as long as it takes.
    fn turn(&self, nth: usize, now: u64) -> Turn {
        self.turn_for(nth, &self.question, now)
    }

    /// It is to ask the question of this fixture.
    fn ask(&self) -> Turn {
        Turn::Ask(Some(self.question))
    }

    fn turn_for(&self, nth: usize, question: &Question, now: u64) -> Turn {
        let (now, until) = (at(now), at(u64::MAX));
        let will_do = |answer: &SharedAnswer| self.answers.is_fresh(answer, now);
        self.answers
            .turn(self.worker(nth), *question, will_do, until, now)
    }

    fn publish(&self, nth: usize, asked_at: u64, answer: &Answer) -> Option<SharedAnswer> {
        let worker = self.worker(nth);
        self.answers.publish(
            worker,
            &self.question,
            at(asked_at),
            answer,
            at(asked_at + 20),
        )
    }

    /// Fills all slots of the question with others, as long as their answers are fresh.
    fn fill_all_slots(&self, asked_at: u64) {
        for name in self.answers.names_of(&self.question) {
            let other = Question::about(&cookies(&name)).unwrap();
            let record = Record {
                lease: None,
                answer: Some(SharedAnswer {
                    asked_at: at(asked_at),
                    answer: yes(),
                }),
            };
            self.process
                .write(&name, &record.write(&other), None)
                .unwrap();
        }
    }
}

fn endpoint(origin: &str) -> Endpoint {
    Endpoint::parse(origin).unwrap()
}

fn at(millis: u64) -> Ticks {
    Ticks::from_millis(millis)
}

fn answered(turn: Turn) -> SharedAnswer {
    match turn {
        Turn::Answered(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_worker_asks_the_others_wait_and_take_its_answer() {
    let fixture = Fixture::new(&json!({ "ttl": "10s" }));
    assert_eq!(fixture.turn(0, 1_000), fixture.ask());
    assert_eq!(fixture.turn(1, 1_001), Turn::Wait(at(1_000)));
    assert_eq!(fixture.turn(2, 1_002), Turn::Wait(at(1_000)));
    assert_eq!(fixture.publish(0, 1_000, &yes()), None);
    for nth in 0..3 {
        let answer = answered(fixture.turn(nth, 1_030));
        assert_eq!(answer.asked_at, at(1_000));
        assert_eq!(
            Verdict::read(Some(&answer.answer)),
            Verdict::read(Some(&yes()))
        );
    }
    // Its time runs from when the question was sent.
    answered(fixture.turn(1, 10_999));
    assert_eq!(fixture.turn(1, 11_000), fixture.ask());
    assert_eq!(fixture.turn(2, 11_000), Turn::Wait(at(11_000)));
}

#[test]
fn an_answer_that_is_there_before_is_not_the_one_that_is_waited_for() {
    let fixture = Fixture::new(&json!({ "negative_ttl": "0s" }));
    let no = answer(200, &[("x-authgear-session-valid", "false")]);
    assert_eq!(fixture.turn(0, 1_000), fixture.ask());
    assert_eq!(fixture.publish(0, 1_000, &no), None);
    // Within the same millisecond.
    assert_eq!(fixture.turn(1, 1_000), fixture.ask());
    assert_eq!(fixture.turn(2, 1_010), Turn::Wait(at(1_001)));
    assert_eq!(fixture.publish(1, 1_000, &no), None);
    assert_eq!(fixture.turn(1, 1_020), fixture.ask());
    assert_eq!(fixture.turn(2, 1_020), Turn::Wait(at(1_020)));
}

#[test]
fn a_worker_that_is_late_is_waited_for_no_longer() {
    let fixture = Fixture::new(&json!({ "timeout": "1s" }));
    assert_eq!(fixture.turn(0, 1_000), fixture.ask());
    assert_eq!(fixture.turn(1, 1_499), Turn::Wait(at(1_000)));
    assert_eq!(fixture.turn(1, 1_500), fixture.ask());
    // It asks now.
    assert_eq!(fixture.turn(2, 1_500), Turn::Wait(at(1_500)));
    // The answer to the later question stands, whichever comes first.
    let no = answer(200, &[("x-authgear-session-valid", "false")]);
    assert_eq!(fixture.publish(1, 1_500, &no), None);
    let later = fixture.publish(0, 1_000, &yes()).unwrap();
    assert_eq!(Verdict::read(Some(&later.answer)), Ok(Verdict::Invalid));
    assert_eq!(later.asked_at, at(1_500));
    assert_eq!(answered(fixture.turn(2, 1_510)), later);
}

#[test]
fn whoever_has_waited_long_enough_asks_although_another_does() {
    let fixture = Fixture::new(&json!({}));
    assert_eq!(fixture.turn(0, 1_000), fixture.ask());
    let turn = |until| {
        let worker = fixture.worker(1);
        let answers = &fixture.answers;
        answers.turn(worker, fixture.question, |_| false, at(until), at(1_100))
    };
    assert_eq!(turn(1_101), Turn::Wait(at(1_000)));
    assert_eq!(turn(1_100), fixture.ask());
}

#[test]
fn a_worker_without_an_answer_lets_the_next_ask_at_once() {
    let fixture = Fixture::new(&json!({}));
    assert_eq!(fixture.turn(0, 1_000), fixture.ask());
    // Not its own lease.
    let release = |nth| {
        fixture
            .answers
            .release(fixture.worker(nth), &fixture.question, at(1_010))
    };
    release(1);
    assert_eq!(fixture.turn(1, 1_010), Turn::Wait(at(1_000)));
    release(0);
    assert_eq!(fixture.turn(1, 1_010), fixture.ask());
    assert_eq!(fixture.turn(2, 1_010), Turn::Wait(at(1_010)));
}

#[test]
fn a_refusal_is_shared_for_its_own_shorter_time() {
    let fixture = Fixture::new(&json!({ "ttl": "10s", "negative_ttl": "2s" }));
    for no in [
        answer(200, &[]),
        answer(200, &[("x-authgear-session-valid", "false")]),
    ] {
        fixture.publish(0, 1_000, &no);
        let taken = answered(fixture.turn(1, 2_999));
        assert_eq!(is_explicit_no(&taken.answer), is_explicit_no(&no));
        assert_eq!(fixture.turn(1, 3_000), fixture.ask());
        fixture.publish(1, 3_000, &no);
    }
}

#[test]
fn an_answer_that_is_not_to_be_kept_is_not_fresh_for_longer() {
    let fixture = Fixture::new(&json!({ "ttl": "10s" }));
    let mut short = yes();
    short
        .headers
        .push(("cache-control".to_owned(), b"max-age=3".to_vec()));
    fixture.publish(0, 1_000, &short);
    answered(fixture.turn(1, 3_999));
    assert_eq!(fixture.turn(1, 4_000), fixture.ask());
}

#[test]
fn a_record_has_neither_the_credential_nor_what_is_for_one_client() {
    let fixture = Fixture::new(&json!({}));
    let secret = cookies("session=5ecret");
    let question = Question::about(&secret).unwrap();
    fixture.turn_for(0, &question, 1_000);
    let mut answer = yes();
    answer
        .headers
        .push(("set-cookie".to_owned(), b"session=5ecret".to_vec()));
    answer
        .headers
        .push(("x-envoy-upstream-service-time".to_owned(), b"1".to_vec()));
    let worker = fixture.worker(0);
    fixture
        .answers
        .publish(worker, &question, at(1_000), &answer, at(1_001));
    let (bytes, _) = fixture
        .process
        .read(&fixture.answers.names_of(&question).next().unwrap())
        .unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(ALICE), "{text}");
    assert!(
        !text.contains("5ecret") && !text.contains("set-cookie"),
        "{text}"
    );
    assert!(!text.contains("x-envoy"), "{text}");
}

#[test]
fn questions_of_other_kinds_and_to_other_resolvers_have_other_records() {
    let session = policy(&json!({}));
    let ours = SharedAnswers::new(&endpoint("https://auth.example.com"), &session, 4_096);
    let text = || "session=a".into();
    let of = |answers: &SharedAnswers, credential| {
        Question::about(&credential)
            .map(|question| (answers.names_of(&question).next(), question.0))
    };
    let mut seen = vec![
        of(&ours, SessionCredential::Cookies(text())),
        of(&ours, SessionCredential::Bearer(text())),
        of(&ours, SessionCredential::Jwt(text())),
        of(&ours, SessionCredential::Cookies("session=b".into())),
    ];
    for (origin, session) in [
        ("https://other.example.com", json!({})),
        ("https://auth.example.com", json!({ "cluster": "other" })),
        ("https://auth.example.com", json!({ "path": "/other" })),
    ] {
        let others = SharedAnswers::new(&endpoint(origin), &policy(&session), 4_096);
        assert_ne!(others.name, ours.name);
        seen.push(of(&others, SessionCredential::Cookies(text())));
    }
    assert!(seen.iter().all(Option::is_some));
    for (nth, one) in seen.iter().enumerate() {
        assert!(!seen[..nth].contains(one));
    }
    // Whether the resolver answers at all is asked by each worker.
    assert_eq!(Question::about(&SessionCredential::Nothing), None);
}

#[test]
fn where_all_slots_are_taken_the_oldest_answer_is_evicted_and_never_a_lease() {
    let fixture = Fixture::new(&json!({ "ttl": "10s", "timeout": "1s" }));
    let names: Vec<String> = fixture.answers.names_of(&fixture.question).collect();
    let other = Question::about(&cookies("session=b")).unwrap();
    let answered_at = |asked_at| Record {
        lease: None,
        answer: Some(SharedAnswer {
            asked_at: at(asked_at),
            answer: yes(),
        }),
    };
    let leased = || Record {
        lease: Some((33, at(1_000))),
        answer: None,
    };
    let write = |slot: usize, record: &Record| {
        fixture
            .process
            .write(&names[slot], &record.write(&other), None)
            .unwrap();
    };
    let is_of_question = |slot: usize| {
        let (bytes, _) = fixture.process.read(&names[slot]).unwrap();
        Record::read(&bytes, at(2_000)).unwrap().0 == fixture.question
    };
    for (slot, record) in [
        answered_at(900),
        leased(),
        answered_at(800),
        answered_at(850),
    ]
    .iter()
    .enumerate()
    {
        write(slot, record);
    }
    assert_eq!(fixture.turn(0, 1_100), fixture.ask());
    assert_eq!(
        [0, 1, 2, 3].map(is_of_question),
        [false, false, true, false]
    );
    assert_eq!(fixture.turn(1, 1_100), Turn::Wait(at(1_100)));
    // Where others are asked in all of them, there is no room.
    for slot in 0..4 {
        write(slot, &leased());
    }
    for nth in 0..2 {
        assert_eq!(fixture.turn(nth, 1_200), fixture.ask());
        assert_eq!(fixture.publish(nth, 1_200, &yes()), None);
        fixture
            .answers
            .release(fixture.worker(nth), &fixture.question, at(1_200));
    }
    assert_eq!([0, 1, 2, 3].map(is_of_question), [false; 4]);
}

#[test]
fn a_slot_that_is_taken_is_skipped() {
    let fixture = Fixture::new(&json!({ "ttl": "10s" }));
    fixture.fill_all_slots(1_000);
    // The third is free.
    let name = fixture.answers.names_of(&fixture.question).nth(2).unwrap();
    fixture.process.write(&name, b"", None).unwrap();
    assert_eq!(fixture.turn(0, 1_100), fixture.ask());
    assert_eq!(fixture.turn(1, 1_100), Turn::Wait(at(1_100)));
    fixture.publish(0, 1_100, &yes());
    // It is found there when the first two are free again, too.
    answered(fixture.turn(1, 11_050));
}

#[test]
fn what_is_asked_now_keeps_its_slot_and_a_refusal_does_not() {
    let is_kept = |lease, answer, now| {
        let fixture = Fixture::new(&json!({ "timeout": "1s", "negative_ttl": "60s" }));
        let name = fixture.answers.names_of(&fixture.question).next().unwrap();
        let other = Question::about(&cookies("session=b")).unwrap();
        let record = Record { lease, answer }.write(&other);
        fixture.process.write(&name, &record, None).unwrap();
        fixture.turn(0, now);
        let (bytes, _) = fixture.process.read(&name).unwrap();
        Record::read(&bytes, at(now)).unwrap().0 == other
    };
    let lease = Some((33, at(1_000)));
    assert!(is_kept(lease, None, 1_499));
    assert!(!is_kept(lease, None, 1_500));
    let refused = SharedAnswer {
        asked_at: at(1_000),
        answer: answer(200, &[]),
    };
    assert!(!is_kept(None, Some(refused), 1_001));
}

#[test]
fn a_record_of_another_form_or_of_the_future_is_as_good_as_none() {
    let record = |lease, answer| Record { lease, answer };
    let fixture = Fixture::new(&json!({}));
    let answer = |asked_at| SharedAnswer {
        asked_at: at(asked_at),
        answer: yes(),
    };
    let good = record(Some((22, at(1_000))), Some(answer(900))).write(&fixture.question);
    let read = |bytes: &[u8]| Record::read(bytes, at(1_000));
    let whole = Some((
        fixture.question,
        record(Some((22, at(1_000))), Some(answer(900))),
    ));
    assert_eq!(
        read(&good).map(|(_, record)| record.lease),
        whole.as_ref().map(|(_, record)| record.lease)
    );
    let (name, value) = yes().headers.pop().unwrap();
    let last_header = 2 + name.len() + 2 + value.len();
    for wrong in [
        b"".to_vec(),
        vec![0; 57],
        vec![FORM; 56],
        good[..good.len() - 1].to_vec(),
        // Whole headers are missing, or come from elsewhere.
        good[..good.len() - last_header].to_vec(),
        [&good[..], &good[good.len() - last_header..]].concat(),
        [&good[..], b"\x01"].concat(),
        [&good[..], b"\xff\xff"].concat(),
        [&good[..], b"\x01\x00\xff\x00\x00"].concat(),
        [&[FORM + 1], &good[1..]].concat(),
        [&good[..], &[0; MAX_RECORD_BYTES]].concat(),
    ] {
        assert_eq!(read(&wrong), None, "{wrong:?}");
        fixture.turn(0, 900);
        fixture.process.overwrite(&wrong);
        assert_eq!(fixture.turn(1, 1_000), fixture.ask());
    }
    // Neither a lease nor an answer of a time that is yet to come.
    let early = record(Some((22, at(2_001))), Some(answer(2_001))).write(&fixture.question);
    assert_eq!(read(&early), Some((fixture.question, Record::default())));
    let just = record(Some((22, at(2_000))), None).write(&fixture.question);
    assert_eq!(read(&just).unwrap().1.lease, Some((22, at(2_000))));
}

#[test]
fn only_the_answer_to_a_later_question_is_taken_instead_of_ones_own() {
    for (asked_at, takes_the_others) in [(999, true), (1_000, false), (1_001, false)] {
        let fixture = Fixture::new(&json!({}));
        assert_eq!(fixture.publish(0, 1_000, &yes()), None);
        let others = fixture.publish(1, asked_at, &no());
        assert_eq!(others.is_some(), takes_the_others, "{asked_at}");
    }
}

#[test]
fn an_answer_that_is_too_long_is_not_shared_and_the_next_worker_asks_at_once() {
    for bytes in [MAX_RECORD_BYTES, usize::from(u16::MAX) + 1] {
        let fixture = Fixture::new(&json!({}));
        assert_eq!(fixture.turn(0, 1_000), fixture.ask());
        let long = yes_but("x-authgear-user-roles", Some(&"r".repeat(bytes)));
        fixture.publish(0, 1_000, &long);
        assert_eq!(fixture.turn(1, 1_020), fixture.ask());
    }
}

/// Of one ECDSA signature anybody can make another: an answer under the one must not outlive a later one under the other.
#[test]
fn a_token_is_one_question_whatever_its_signature() {
    let about = |text: &str| Question::about(&SessionCredential::Jwt(text.into())).unwrap();
    assert_eq!(about("header.payload.one"), about("header.payload.two"));
    assert_ne!(about("header.payload.one"), about("header.another.one"));
    let opaque = |text: &str| Question::about(&SessionCredential::Bearer(text.into())).unwrap();
    assert_ne!(opaque("header.payload.one"), opaque("header.payload.two"));
}

#[test]
fn a_credential_that_no_worker_caches_is_not_shared() {
    let question = |bytes: usize| Question::about(&cookies(&"c".repeat(bytes)));
    assert!(question(4_096).is_some());
    assert!(question(4_097).is_none());
}

#[test]
fn an_answer_whose_record_is_just_not_too_long_is_shared() {
    let answer = |bytes| yes_but("x-authgear-user-roles", Some(&"r".repeat(bytes)));
    let shared = SharedAnswer {
        asked_at: at(1_000),
        answer: answer(0),
    };
    let record = Record {
        lease: None,
        answer: Some(shared),
    };
    let rest = record.write(&Fixture::new(&json!({})).question).len();
    for (bytes, is_shared) in [(MAX_RECORD_BYTES, true), (MAX_RECORD_BYTES + 1, false)] {
        let fixture = Fixture::new(&json!({}));
        fixture.publish(0, 1_000, &answer(bytes - rest));
        let turn = fixture.turn(1, 1_100);
        assert_eq!(matches!(turn, Turn::Answered(_)), is_shared, "{bytes}");
    }
}

#[test]
fn without_shared_data_every_worker_asks() {
    let fixture = Fixture::new(&json!({}));
    let turn = || {
        fixture
            .answers
            .turn(ALONE, fixture.question, |_| true, at(9_000), at(1_000))
    };
    assert_eq!([turn(), turn()], [fixture.ask(), fixture.ask()]);
    assert_eq!(
        fixture
            .answers
            .publish(ALONE, &fixture.question, at(1_000), &yes(), at(1_000)),
        None
    );
    fixture.answers.release(ALONE, &fixture.question, at(1_000));
}
