//! Traffic under which a test does something: requests one after the other until it is stopped, and what became of all of them.
//!
//! ```no_run
//! # async fn test() {
//! use devkit::traffic::Traffic;
//! use devkit::testbed::TestBed;
//!
//! let bed = TestBed::start().await;
//! let known = bed.get("/").bearer(bed.token());
//! let traffic = Traffic::start(move || known.clone());
//! // … something happens …
//! traffic.ended().await.assert_only(&[200]);
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::client::Request;
use crate::wait::{DEADLINE, until};

/// One client that sends a request after the other, each on a connection of its own unless the requests say otherwise.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    task: JoinHandle<Run>,
}

impl Traffic {
    /// Begins, as fast as answers come; each request is made anew.
    #[must_use = "it sends until it is ended"]
    pub fn start(request: impl FnMut() -> Request + Send + 'static) -> Self {
        Self::every(Duration::ZERO, request)
    }

    /// Begins, with a pause behind each answer; each request is made anew.
    #[must_use = "it sends until it is ended"]
    pub fn every(pause: Duration, mut request: impl FnMut() -> Request + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (stop.clone(), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            let mut run = Run::default();
            while !stopped.load(Ordering::SeqCst) {
                let request = request();
                let start = Instant::now();
                let answer = request.try_send().await;
                run.slowest = run.slowest.max(start.elapsed());
                let (status, shown) = match answer {
                    Ok(reply) => (reply.status, format!("{reply:?}")),
                    Err(error) => (0, error.to_string()),
                };
                let seen = run.answers.entry(status).or_insert((0, shown));
                seen.0 += 1;
                counted.fetch_add(1, Ordering::SeqCst);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            run
        });
        Self { stop, sent, task }
    }

    /// Waits until it has been answered so many times more.
    ///
    /// # Panics
    /// When it is not.
    pub async fn goes_on(&self, more: usize) {
        let goal = self.sent.load(Ordering::SeqCst) + more;
        let there = async || (self.sent.load(Ordering::SeqCst) >= goal).then_some(());
        until(DEADLINE, &format!("{more} more answers"), there)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Ends it, and says what became of its requests.
    ///
    /// # Panics
    /// Where it sent none.
    pub async fn ended(self) -> Run {
        self.stop.store(true, Ordering::SeqCst);
        let run = self.task.await.expect("the client has panicked");
        assert!(run.sent() > 0, "nothing was sent");
        run
    }
}

/// What became of the requests of a [`Traffic`].
#[derive(Debug, Default)]
pub struct Run {
    /// By status (0: none came): how many, and the first of them in words.
    answers: BTreeMap<u16, (usize, String)>,
    /// The longest that one took.
    pub slowest: Duration,
}

impl Run {
    /// How many were sent.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.answers.values().map(|(count, _)| count).sum()
    }

    /// How many were answered with this status.
    #[must_use]
    pub fn with(&self, status: u16) -> usize {
        self.answers.get(&status).map_or(0, |(count, _)| *count)
    }

    /// Every request was answered, and with one of these.
    ///
    /// # Panics
    /// Otherwise.
    pub fn assert_only(&self, expected: &[u16]) {
        let wrong = self
            .answers
            .keys()
            .find(|status| !expected.contains(status));
        assert!(wrong.is_none(), "not only {expected:?}: {self:#?}");
    }
}
