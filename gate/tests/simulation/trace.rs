//! What happened, one line an event: written only when a seed that failed is run once more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// So many of the last lines are kept, unless `LINES` says otherwise.
const LINES: usize = 60;

thread_local! {
    // Outside the world, so that it outlives a panic in the middle of it.
    static LAST: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

pub(crate) struct Trace {
    on: Cell<bool>,
    lines: usize,
}

impl Trace {
    pub(crate) fn new(on: bool) -> Self {
        LAST.take();
        let lines = std::env::var("LINES").ok();
        Self {
            on: Cell::new(on),
            lines: lines.and_then(|lines| lines.parse().ok()).unwrap_or(LINES),
        }
    }

    /// The story ends here.
    pub(crate) fn end(&self) {
        self.on.set(false);
    }

    pub(crate) fn line(&self, ticks: u64, worker: Option<usize>, text: impl FnOnce() -> String) {
        if self.on.get() {
            let worker = worker.map_or("  ".to_owned(), |worker| format!("w{worker}"));
            let (seconds, millis) = (ticks / 1_000, ticks % 1_000);
            let line = format!("{seconds:>6}.{millis:03}  {worker}  {}", text());
            LAST.with_borrow_mut(|last| {
                if last.len() >= self.lines {
                    last.pop_front();
                }
                last.push_back(line);
            });
        }
    }
}

/// The last lines.
pub(crate) fn last() -> String {
    LAST.with_borrow(|last| {
        last.iter()
            .fold(String::new(), |all, line| all + line + "\n")
    })
}
