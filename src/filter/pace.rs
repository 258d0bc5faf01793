//! How often the root ticks, and how many waiting requests are settled in between.

use std::cell::Cell;
use std::time::Duration;

use super::host;
use gate::engine::Budget;

/// How often the worker looks at keys and waiting requests.
const TICK: Duration = Duration::from_millis(100);
/// How soon it proceeds with requests that were too many for one callback.
const BACKLOG_TICK: Duration = Duration::from_millis(1);

/// The pace of a root and its workers.
///
/// A tick is the one callback that no host nests within another: only there may more requests be settled. A
/// backlog shortens the time until the next tick.
#[derive(Debug)]
pub(super) struct Pace {
    root_id: u32,
    budget: Budget,
    hurried: Cell<bool>,
}

impl Pace {
    pub(super) fn new(root_id: u32) -> Self {
        Self {
            root_id,
            budget: Budget::default(),
            hurried: Cell::new(false),
        }
    }

    /// The first tick comes. `false`: the host has none.
    pub(super) fn start(&self) -> bool {
        self.hurried.set(false);
        host::tick_every(TICK)
    }

    /// A tick has come.
    pub(super) fn ticked(&self) {
        self.budget.renew();
    }

    /// The budget that the engines of the root share.
    pub(super) fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// There is more to settle than may be now.
    pub(super) fn hurry(&self) {
        if !self.hurried.replace(true) && host::act_for(self.root_id) {
            // Where that fails, the next tick comes all the same.
            host::tick_every(BACKLOG_TICK);
        }
    }

    /// There is no more to settle.
    pub(super) fn relax(&self) {
        if self.hurried.replace(false) && host::act_for(self.root_id) {
            host::tick_every(TICK);
        }
    }
}
