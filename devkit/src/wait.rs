//! Waiting for a condition, never for a time.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long a test waits for a condition before it says what did not come.
pub const DEADLINE: Duration = Duration::from_secs(45);

const POLL: Duration = Duration::from_millis(10);

/// The condition did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {0:?} for {1}: it did not come")]
pub struct TimedOut(pub Duration, pub String);

/// Asks `condition` again and again until it answers `Some`.
///
/// For conditions that nothing announces, such as a file or another process's counter.
///
/// # Errors
/// [`TimedOut`] once `deadline` has passed.
pub async fn until<T, F>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Result<T, TimedOut>
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    let mut tick = interval(POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() >= end {
            return Err(TimedOut(deadline, what.to_owned()));
        }
    }
}

/// Bounds a future that announces itself.
///
/// # Errors
/// [`TimedOut`] once `deadline` has passed.
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> Result<T, TimedOut> {
    tokio::time::timeout(deadline, future)
        .await
        .map_err(|_| TimedOut(deadline, what.to_owned()))
}
