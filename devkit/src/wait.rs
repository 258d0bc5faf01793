//! Waiting for a condition, never for a time.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for a condition before it says what did not come.
pub const DEADLINE: Duration = Duration::from_secs(45);

/// Between two questions, a tenth of the time that has passed, within these: what takes seconds is not asked every moment, which
/// would keep a core from the other tests.
const PAUSE: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

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
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        let passed = start.elapsed();
        if passed >= deadline {
            return Err(TimedOut(deadline, what.to_owned()));
        }
        sleep((passed / 10).clamp(PAUSE[0], PAUSE[1])).await;
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
