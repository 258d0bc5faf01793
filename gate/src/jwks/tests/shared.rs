//! Workers of one process: one fetches for all (threats J8, J12, Q8).

use super::*;
use crate::jwks::shared::{FetchState, SharedStore};
use crate::jwks::testing::Process;

const COOLDOWN: u64 = 30_000;

/// Workers with a key ring each, their process, and the clock that they share.
struct Workers {
    process: Process,
    rings: Vec<KeyRing>,
    now: u64,
}

impl Workers {
    fn new(count: usize, jwks: &Value) -> Self {
        Self {
            process: Process::default(),
            rings: (0..count).map(|_| Fixture::new(jwks).ring).collect(),
            now: 77_000,
        }
    }

    /// Workers that all have this document.
    fn with(count: usize, jwks: &Value, document: &[u8]) -> Self {
        let mut workers = Self::new(count, jwks);
        let (owner, fetch) = workers.only_fetch();
        workers.answered(owner, &fetch, Some(&answer(200, document)));
        workers.tick();
        workers
    }

    fn poll(&mut self, worker: usize) -> Polled {
        let shared = self.process.worker(worker as u64 + 1);
        self.rings[worker].poll(shared, Ticks::from_millis(self.now))
    }

    /// All workers poll in turn. Returns those that are to fetch.
    fn tick(&mut self) -> Vec<(usize, Fetch)> {
        let polled: Vec<_> = (0..self.rings.len())
            .map(|worker| (worker, self.poll(worker)))
            .collect();
        let fetches = polled.into_iter();
        fetches
            .filter_map(|(worker, polled)| Some((worker, polled.fetch?)))
            .collect()
    }

    fn only_fetch(&mut self) -> (usize, Fetch) {
        let mut fetches = self.tick();
        assert_eq!(fetches.len(), 1, "{fetches:?}");
        assert!(self.tick().is_empty(), "one at a time");
        fetches.remove(0)
    }

    fn answered(&mut self, worker: usize, fetch: &Fetch, answer: Option<&Answer>) -> Fetched {
        let shared = self.process.worker(worker as u64 + 1);
        self.rings[worker].answered(fetch.id, answer, shared, Ticks::from_millis(self.now), 0)
    }

    fn look(&mut self, worker: usize, kid: &str) -> Known {
        match self.rings[worker].lookup(kid, Algorithm::Es256, false, Ticks::from_millis(self.now))
        {
            Lookup::Found(_) => Known::Found,
            Lookup::Wait => Known::Wait,
            Lookup::Unknown(_) => Known::Unknown,
            Lookup::Unavailable(_) => Known::Unavailable,
        }
    }

    fn all_know(&mut self, kid: &str) -> bool {
        (0..self.rings.len()).all(|worker| self.look(worker, kid) == Known::Found)
    }
}

fn remote_keys() -> RemoteKeys {
    let json = json!({ "projects": [{ "endpoint": ENDPOINT, "cluster": "authgear" }] });
    let config = Config::parse(json.to_string().as_bytes()).unwrap();
    match &config.projects[0].keys {
        KeySource::Remote(remote) => remote.clone(),
        KeySource::Inline(_) => panic!("remote keys"),
    }
}

#[test]
fn one_worker_fetches_and_all_have_the_keys() {
    let mut workers = Workers::new(5, &json!({}));
    let (owner, fetch) = workers.only_fetch();
    assert_eq!(
        workers.look((owner + 1) % 5, "a"),
        Known::Wait,
        "on the other's fetch"
    );
    workers.now += 50;
    workers.answered(owner, &fetch, Some(&answer(200, &named(&["a"]))));
    for worker in 0..5 {
        let fetch_ended = workers.poll(worker).fetch_ended;
        assert_eq!(
            fetch_ended,
            worker != owner,
            "the requests that wait there proceed"
        );
    }
    assert!(workers.all_know("a"));
    assert!(workers.rings.iter().all(|ring| ring.generation() == 1));
}

#[test]
fn a_refresh_is_one_fetch_however_many_workers_there_are() {
    let mut workers = Workers::with(5, &json!({}), &named(&["a"]));
    let mut fetches = 0;
    // An hour, ten polls a second.
    for _ in 0..36_000 {
        workers.now += 100;
        for (worker, fetch) in workers.tick() {
            fetches += 1;
            workers.answered(worker, &fetch, Some(&answer(200, &named(&["a"]))));
        }
    }
    assert_eq!(fetches, 3_600 / 240);
    assert!(workers.all_know("a"));
    assert!(
        workers.rings.iter().all(|ring| ring.generation() == 1),
        "the same document"
    );
}

#[test]
fn a_worker_that_comes_later_needs_no_fetch() {
    let mut workers = Workers::with(2, &json!({}), &named(&["a"]));
    workers.now += 60_000;
    workers.rings.push(Fixture::new(&json!({})).ring);
    let shared = workers.process.worker(3);
    let polled = workers.rings[2].sync(shared, Ticks::from_millis(workers.now));
    assert!(polled.fetch_ended && polled.fetch.is_none());
    assert_eq!(workers.look(2, "a"), Known::Found);
    assert_eq!(
        workers.rings[2].age(Ticks::from_millis(workers.now)),
        Some(Duration::from_secs(60)),
        "the keys are as old as they are"
    );
    // With a shorter `refresh` it fetches sooner, and for all.
    workers
        .rings
        .push(Fixture::new(&json!({ "refresh": "61s" })).ring);
    assert!(workers.tick().is_empty());
    workers.now += 1_000;
    assert_eq!(workers.only_fetch().0, 3);
}

#[test]
fn other_keys_are_not_shared() {
    let mut workers = Workers::with(1, &json!({}), &named(&["a"]));
    for other in [json!({ "uri": "/other" }), json!({ "discover": true })] {
        workers.rings.push(Fixture::new(&other).ring);
    }
    let fetching: Vec<usize> = workers
        .tick()
        .into_iter()
        .map(|(worker, _)| worker)
        .collect();
    assert_eq!(fetching, [1, 2]);
}

#[test]
fn a_failure_is_everybodys_and_so_is_the_pause_after_it() {
    let mut workers = Workers::new(3, &json!({}));
    let mut fetched_at = Vec::new();
    for _ in 0..300 {
        for (worker, fetch) in workers.tick() {
            fetched_at.push(workers.now - 77_000);
            workers.answered(worker, &fetch, None);
        }
        workers.now += 100;
    }
    // 0.5, 1, 2, 4, 8 and 16 seconds.
    assert_eq!(fetched_at, [0, 500, 1_500, 3_500, 7_500, 15_500]);
}

#[test]
fn without_keys_that_all_workers_need_there_is_one_fetch_at_a_time_and_a_short_pause_for_all() {
    let mut workers = Workers::new(3, &json!({}));
    let mut fetched_at = Vec::new();
    for _ in 0..300 {
        for (worker, fetch) in workers.tick() {
            fetched_at.push(workers.now - 77_000);
            workers.answered(worker, &fetch, None);
            let other = (worker + 1) % 3;
            workers.poll(other);
            assert_eq!(workers.look(other, "a"), Known::Unavailable);
        }
        for worker in 0..3 {
            assert_ne!(workers.look(worker, "a"), Known::Found);
        }
        workers.now += 100;
    }
    let expected: Vec<u64> = (0..30).map(|nth| 500 + nth * 1_000).collect();
    assert_eq!(fetched_at[0], 0);
    assert_eq!(fetched_at[1..], expected);
}

#[test]
fn a_worker_that_never_answers_delays_the_others_only_until_its_lease_expires() {
    let mut workers = Workers::new(2, &json!({ "timeout": "2s" }));
    let (lost, fetch) = workers.only_fetch();
    workers.now += 2_999;
    assert!(workers.tick().is_empty());
    workers.now += 1;
    // The lost worker would find its fetch overdue too: it is not polled.
    let other = 1 - lost;
    let next = workers.poll(other).fetch.unwrap();
    workers.answered(other, &next, Some(&answer(200, &named(&["new"]))));
    // Its answer comes after all, and is older.
    let late = workers.answered(lost, &fetch, Some(&answer(200, &named(&["old"]))));
    assert_eq!(late, Fetched::Late);
    workers.tick();
    assert!(workers.all_know("new"));
    assert_eq!(workers.look(lost, "old"), Known::Wait);
}

#[test]
fn a_worker_that_ends_gives_up_its_lease() {
    let mut workers = Workers::new(2, &json!({}));
    let (ending, _) = workers.only_fetch();
    let other = 1 - ending;
    // A worker without the lease has nothing to give up.
    let shared = workers.process.worker(other as u64 + 1);
    workers.rings[other].release(shared);
    assert!(workers.tick().is_empty());
    let shared = workers.process.worker(ending as u64 + 1);
    workers.rings[ending].release(shared);
    assert!(workers.poll(other).fetch.is_some(), "at once");
}

#[test]
fn a_request_that_waits_for_a_fetch_that_ends_without_an_outcome_gets_another() {
    for release in [true, false] {
        let mut workers = Workers::with(
            2,
            &json!({ "refresh": "1h", "timeout": "2s" }),
            &named(&["a"]),
        );
        assert_eq!(workers.look(0, "new"), Known::Wait);
        assert!(workers.poll(0).fetch.is_some());
        workers.poll(1);
        assert_eq!(workers.look(1, "new"), Known::Wait, "on the other's fetch");
        if release {
            let shared = workers.process.worker(1);
            workers.rings[0].release(shared);
        } else {
            workers.now += 3_000;
        }
        let fetch = workers.poll(1).fetch.expect("a fetch");
        workers.answered(1, &fetch, Some(&answer(200, &named(&["a", "new"]))));
        assert_eq!(workers.look(1, "new"), Known::Found);
    }
}

#[test]
fn a_shorter_cooldown_counts_at_once() {
    let long = json!({ "refresh": "1d", "unknown_kid_cooldown": "1h" });
    let mut workers = Workers::with(1, &long, &named(&["a"]));
    assert_eq!(workers.look(0, "x"), Known::Wait);
    let fetch = workers.poll(0).fetch.unwrap();
    workers.answered(0, &fetch, Some(&answer(200, &named(&["a"]))));
    let short = json!({ "refresh": "1d", "unknown_kid_cooldown": "30s" });
    workers.rings[0] = Fixture::new(&short).ring;
    workers.tick();
    workers.now += 29_999;
    assert_eq!(workers.look(0, "new"), Known::Unknown);
    workers.now += 1;
    workers.tick();
    assert_eq!(workers.look(0, "new"), Known::Wait);
}

#[test]
fn an_empty_answer_is_no_key_set() {
    let mut workers = Workers::new(2, &json!({}));
    let (owner, fetch) = workers.only_fetch();
    let fetched = workers.answered(owner, &fetch, Some(&answer(200, b"")));
    assert!(matches!(fetched, Fetched::Failed { .. }), "{fetched:?}");
    workers.now += 500;
    assert_eq!(workers.tick().len(), 1);
}

#[test]
fn workers_that_start_together_fetch_once() {
    // Between one worker's read and its write, another worker writes.
    let process = Process::default();
    let mut rings = [Fixture::new(&json!({})).ring, Fixture::new(&json!({})).ring];
    let now = Ticks::from_millis(77_000);
    let fetches = rings
        .iter_mut()
        .zip(1..)
        .filter_map(|(ring, number)| ring.poll(process.worker(number), now).fetch);
    assert_eq!(fetches.count(), 1);
    let (fetch_state, _) = SharedStore::new(&endpoint(), &remote_keys()).read_state(&process);
    let store = SharedStore::new(&endpoint(), &remote_keys());
    let late = store.write_state(&process, &FetchState::default(), None);
    assert_eq!(
        late,
        Err(NotWritten::Conflict),
        "it saw none, but there is one"
    );
    assert!(fetch_state.is_some());
}

#[test]
fn good_keys_do_not_grow_old_by_what_is_written_over_the_fetch_state() {
    let mut workers = Workers::with(2, &json!({ "max_stale": "1h" }), &named(&["a"]));
    workers.now += 10_000;
    workers.process.overwrite(&[0; 64]);
    workers.tick();
    assert!(workers.all_know("a"));
    for _ in 0..600 {
        workers.now += 100;
        for (worker, fetch) in workers.tick() {
            workers.answered(worker, &fetch, None);
        }
        assert!(
            workers.all_know("a"),
            "Authgear is down, and the keys are young"
        );
    }
}

#[test]
fn an_answer_that_comes_while_another_worker_fetches_is_older_than_what_that_will_bring() {
    let mut workers = Workers::new(2, &json!({ "timeout": "2s" }));
    let (slow, fetch) = workers.only_fetch();
    workers.now += 3_000;
    let other = 1 - slow;
    let next = workers.poll(other).fetch.unwrap();
    let late = workers.answered(slow, &fetch, Some(&answer(200, &named(&["old"]))));
    assert_eq!(late, Fetched::Late);
    workers.answered(other, &next, Some(&answer(200, &named(&["new"]))));
    workers.tick();
    assert!(workers.all_know("new"));
}

#[test]
fn unknown_keys_in_all_workers_are_one_fetch_a_cooldown() {
    let mut workers = Workers::with(4, &json!({ "refresh": "1h" }), &named(&["a"]));
    let (mut fetches, mut rotated_at, mut known_after) = (0, None, None);
    // Three minutes, a flood of other keys in every worker.
    for look in 0..1_800 {
        for worker in 0..4 {
            let _ = workers.look(worker, &format!("flood-{worker}-{look}"));
        }
        if look == 700 {
            rotated_at = Some(workers.now);
        }
        if let (Some(at), None) = (rotated_at, known_after) {
            let _ = workers.look(2, "rotated");
            if workers.all_know("rotated") {
                known_after = Some(workers.now - at);
            }
        }
        for (worker, fetch) in workers.tick() {
            fetches += 1;
            let kids: &[&str] = if rotated_at.is_some() {
                &["a", "rotated"]
            } else {
                &["a"]
            };
            workers.answered(worker, &fetch, Some(&answer(200, &named(kids))));
        }
        workers.now += 100;
    }
    assert_eq!(fetches, 180_000 / COOLDOWN);
    assert!(
        known_after.expect("never known") <= COOLDOWN + 100,
        "{known_after:?}"
    );
}

#[test]
fn who_waits_for_a_key_that_another_worker_has_sought_just_now_is_let_go() {
    let mut workers = Workers::with(2, &json!({ "refresh": "1h" }), &named(&["a"]));
    assert_eq!(
        (workers.look(0, "x"), workers.look(1, "y")),
        (Known::Wait, Known::Wait)
    );
    let fetch = workers.poll(0).fetch.unwrap();
    workers.answered(0, &fetch, Some(&answer(200, &named(&["a"]))));
    let polled = workers.poll(1);
    assert!(polled.fetch_ended && polled.fetch.is_none());
    assert!(workers.tick().is_empty());
}

#[test]
fn what_others_have_written_over_is_fetched_again_and_never_believed() {
    for junk in [&b""[..], b"junk", &[0; 64], &[0xff; 64]] {
        let mut workers = Workers::with(2, &json!({}), &named(&["a"]));
        workers.process.overwrite(junk);
        let mut fetches = 0;
        for _ in 0..3_000 {
            workers.now += 100;
            for (worker, fetch) in workers.tick() {
                fetches += 1;
                workers.answered(worker, &fetch, Some(&answer(200, &named(&["a"]))));
            }
        }
        assert!(workers.all_know("a"), "{junk:?}");
        assert!(
            (1..=3).contains(&fetches),
            "{junk:?}: {fetches} in five minutes"
        );
    }
}

#[test]
fn old_keys_are_too_old_for_all_workers_at_once() {
    let mut workers = Workers::with(
        2,
        &json!({ "refresh": "1m", "max_stale": "1m" }),
        &named(&["a"]),
    );
    for _ in 0..1_210 {
        for (worker, fetch) in workers.tick() {
            workers.answered(worker, &fetch, None);
        }
        let known = (workers.look(0, "a"), workers.look(1, "a"));
        let serve = workers.now - 77_000 <= 120_000;
        for known in [known.0, known.1] {
            assert_eq!(known == Known::Found, serve, "{}: {known:?}", workers.now);
        }
        workers.now += 100;
    }
}

/// Changes the fetch state, and writes a document where one is given, as anybody can who shares the `vm_id`.
fn overwrite(
    workers: &Workers,
    change: impl FnOnce(&mut FetchState),
    document: Option<(u64, &[u8])>,
) {
    let store = SharedStore::new(&endpoint(), &remote_keys());
    let (fetch_state, version) = store.read_state(&workers.process);
    let mut fetch_state = fetch_state.expect("a fetch state");
    change(&mut fetch_state);
    if let Some((document_version, document)) = document {
        store.write_document(&workers.process, document_version, document);
    }
    store
        .write_state(&workers.process, &fetch_state, version)
        .expect("written");
}

/// Lets time pass tick by tick, and answers every fetch with the document. Returns how long after the start each was made.
fn live(workers: &mut Workers, millis: u64, document: Option<&[u8]>) -> Vec<u64> {
    let start = workers.now;
    let mut fetched_after = Vec::new();
    while workers.now < start + millis {
        for (worker, fetch) in workers.tick() {
            fetched_after.push(workers.now - start);
            let answer = document.map(|document| answer(200, document));
            workers.answered(worker, &fetch, answer.as_ref());
        }
        workers.now += 100;
    }
    fetched_after
}

#[test]
fn a_document_that_is_longer_than_any_that_is_fetched_is_not_taken() {
    let mut workers = Workers::with(2, &json!({}), &named(&["a"]));
    let mut long = named(&["b"]);
    long.resize(MAX_BODY_BYTES + 1, b' ');
    overwrite(
        &workers,
        |fetch_state| {
            fetch_state.attempts += 1;
            fetch_state.document_version += 1;
        },
        Some((2, &long)),
    );
    let fetches = live(&mut workers, 1_000, Some(&named(&["a"])));
    assert_eq!(fetches, [0], "another, for all");
    assert!(workers.all_know("a"));
    assert_ne!(workers.look(0, "b"), Known::Found);
}

#[test]
fn a_document_of_just_the_longest_length_is_taken() {
    let mut workers = Workers::with(2, &json!({}), &named(&["a"]));
    let mut longest = named(&["b"]);
    longest.resize(MAX_BODY_BYTES, b' ');
    overwrite(
        &workers,
        |fetch_state| {
            fetch_state.attempts += 1;
            fetch_state.document_version += 1;
        },
        Some((2, &longest)),
    );
    assert!(live(&mut workers, 1_000, None).is_empty());
    assert!(workers.all_know("b"));
}

#[test]
fn no_record_makes_keys_younger_than_now() {
    let jwks = json!({ "refresh": "1m", "max_stale": "1m" });
    let mut workers = Workers::with(2, &jwks, &named(&["a"]));
    let start = workers.now;
    overwrite(
        &workers,
        |fetch_state| {
            fetch_state.attempts += 1;
            fetch_state.fetched_at = Ticks::from_millis(start + 3_600_000);
        },
        None,
    );
    live(&mut workers, 120_200, None);
    assert_ne!(workers.look(0, "a"), Known::Found);
    assert_ne!(workers.look(1, "a"), Known::Found);
}

#[test]
fn no_record_puts_a_refresh_off() {
    // By a lease without end, by a due time without end, and by failures without end.
    type Change = fn(&mut FetchState);
    let changes: [(Change, u64); 4] = [
        (
            |fetch_state| {
                fetch_state.lease_owner = 99;
                fetch_state.lease_expires_at = Ticks::from_millis(u64::MAX);
            },
            60_000,
        ),
        (
            |fetch_state| {
                fetch_state.attempts += 1;
                fetch_state.due_at = Ticks::from_millis(u64::MAX);
            },
            60_000,
        ),
        (
            |fetch_state| {
                fetch_state.attempts = u64::MAX;
                fetch_state.due_at = Ticks::from_millis(u64::MAX);
            },
            60_000,
        ),
        (
            |fetch_state| {
                fetch_state.attempts += 1;
                fetch_state.failures = u64::MAX;
                fetch_state.due_at = Ticks::from_millis(u64::MAX);
            },
            600_000,
        ),
    ];
    for (nth, (change, most)) in changes.into_iter().enumerate() {
        let mut workers = Workers::with(2, &json!({ "refresh": "1m" }), &named(&["a"]));
        overwrite(&workers, change, None);
        let fetches = live(&mut workers, 700_000, Some(&named(&["a", "new"])));
        assert!(fetches[0] <= most, "{nth}: {fetches:?}");
        assert!(workers.all_know("new"), "{nth}");
        // From then on as usual.
        assert!(fetches[1] - fetches[0] <= 60_000, "{nth}: {fetches:?}");
    }
}

#[test]
fn no_record_keeps_keys_from_being_looked_for() {
    let jwks = json!({ "refresh": "1d" });
    let mut workers = Workers::with(2, &jwks, &named(&["a"]));
    overwrite(
        &workers,
        |fetch_state| fetch_state.unknown_at = Ticks::from_millis(u64::MAX),
        None,
    );
    workers.now += COOLDOWN;
    workers.tick();
    assert_eq!(workers.look(0, "new"), Known::Wait);
    let fetch = workers.poll(0).fetch.expect("a fetch");
    workers.answered(0, &fetch, Some(&answer(200, &named(&["a", "new"]))));
    workers.tick();
    assert!(workers.all_know("new"));
}

#[test]
fn document_versions_differ_however_many_there_have_been() {
    for document_version in [u64::MAX - 1, u64::MAX] {
        let mut workers = Workers::with(2, &json!({ "refresh": "1m" }), &named(&["a"]));
        overwrite(
            &workers,
            |fetch_state| {
                fetch_state.attempts += 1;
                fetch_state.document_version = document_version;
            },
            Some((document_version, &named(&["a"]))),
        );
        workers.tick();
        for kid in ["b", "c", "d"] {
            live(&mut workers, 60_000, Some(&named(&[kid])));
            assert!(workers.all_know(kid), "{document_version}: {kid}");
        }
        // A worker that starts now has them too.
        workers.rings.push(Fixture::new(&json!({})).ring);
        workers.tick();
        assert_eq!(workers.look(2, "d"), Known::Found, "{document_version}");
    }
}

#[test]
fn who_shares_nothing_neither_reads_nor_writes() {
    assert_eq!(NoSharedData.read("anything"), None);
    let written = NoSharedData.write("anything", b"", None);
    assert_eq!(written, Err(NotWritten::Unsupported));

    // Two workers of one process that share no data.
    let process = Process::default();
    let mut other = Fixture::new(&json!({})).ring;
    let fetch = other.poll(process.worker(1), Ticks::from_millis(77_000));
    let fetch = fetch.fetch.expect("a fetch");
    let brought = answer(200, &named(&["theirs"]));
    let now = Ticks::from_millis(77_000);
    other.answered(fetch.id, Some(&brought), process.worker(1), now, 0);
    let mut alone = Fixture::fetched(&json!({}), &named(&["own"]));
    assert_eq!(alone.lookup("own"), Known::Found);
    assert_eq!(alone.lookup("theirs"), Known::Wait);
}
