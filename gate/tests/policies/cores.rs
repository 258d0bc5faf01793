//! Seeds on all cores.

use std::iter::StepBy;
use std::ops::Range;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

/// What becomes of the seeds below this one: each core has its share, and is asked once.
pub(crate) fn on_all_cores<T: Send>(
    seeds: u64,
    share: impl Fn(StepBy<Range<u64>>) -> T + Sync,
) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let share = &share;
        let begin = |first| scope.spawn(move || share((first..seeds).step_by(cores)));
        let threads: Vec<ScopedJoinHandle<'_, T>> = (0..cores as u64).map(begin).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}
