//! The worker's metrics, told to the host now and then: nothing of it costs a request a host call.
//!
//! A metric that the host cannot define is left out, and that is all.

use std::cell::Cell;
use std::time::Duration;

use super::host;
use gate::engine::{Event, Levels, Tally};

/// The metrics of a worker. Counters and levels add up over workers; the age and the generation are the last told.
#[derive(Debug)]
pub(super) struct Metrics {
    counters: Counters,
    levels: [Level; 5],
    jwks_age_seconds: Option<u32>,
    jwks_generation: Option<u32>,
    resolver_milliseconds: Option<u32>,
}

/// What is counted, by events.
#[derive(Debug)]
pub(super) struct Counters(Vec<Option<u32>>);

/// A level that goes up and down, and the share of this worker in it.
#[derive(Debug)]
pub(super) struct Level {
    id: Option<u32>,
    told: Cell<i64>,
}

impl Metrics {
    pub(super) fn define() -> Self {
        Self {
            counters: Counters::define(),
            levels: [
                Level::define("authgear_waiting_requests"),
                Level::define("authgear_cached_tokens"),
                Level::define("authgear_cached_sessions"),
                Level::define("authgear_resolver_calls_under_way"),
                Level::define("authgear_resolver_breakers_open"),
            ],
            jwks_age_seconds: host::define_gauge("authgear_jwks_age_seconds"),
            jwks_generation: host::define_gauge("authgear_jwks_generation"),
            resolver_milliseconds: host::define_histogram(
                "authgear_resolver_duration_milliseconds",
            ),
        }
    }

    /// Tells what has been counted since the last time, and how things stand.
    pub(super) fn tell(&self, tally: &Tally, levels: &Levels) {
        self.counters.tell(tally);
        let now = [
            levels.waiting_requests,
            levels.cached_tokens,
            levels.cached_sessions,
            levels.resolver_calls,
            levels.open_breakers,
        ];
        for (level, now) in self.levels.iter().zip(now) {
            level.tell(i64::try_from(now).unwrap_or(i64::MAX));
        }
        if let Some(age) = levels.jwks_age {
            host::record(self.jwks_age_seconds, age.as_secs());
        }
        host::record(self.jwks_generation, levels.jwks_generation);
    }

    /// Takes this worker's share out of the levels: it ends.
    pub(super) fn leave(&self) {
        for level in &self.levels {
            level.tell(0);
        }
    }

    pub(super) fn resolver_answered(&self, after: Duration) {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        host::record(self.resolver_milliseconds, millis);
    }
}

impl Counters {
    pub(super) fn define() -> Self {
        let ids = Event::ALL.iter().map(|event| event.metric());
        Self(ids.map(host::define_counter).collect())
    }

    /// Tells what has been counted since the last time.
    pub(super) fn tell(&self, tally: &Tally) {
        for (event, count) in tally.take() {
            let id = self.0.get(event as usize).copied().flatten();
            host::increment(id, i64::from(count));
        }
    }
}

impl Level {
    pub(super) fn define(name: &str) -> Self {
        Self {
            id: host::define_gauge(name),
            told: Cell::new(0),
        }
    }

    pub(super) fn tell(&self, now: i64) {
        let change = now.saturating_sub(self.told.get());
        if change != 0 {
            host::increment(self.id, change);
            self.told.set(now);
        }
    }
}
