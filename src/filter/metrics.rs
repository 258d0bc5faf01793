//! The worker's metrics, reported to the host now and then: no request costs a host call for them.
//!
//! A metric that the host cannot define is left out.

use std::cell::Cell;
use std::time::Duration;

use super::host;
use gate::engine::{Counter, Counters, Levels};

/// The metrics of a worker. Counters and gauges add up over workers; the age and the generation are the last reported.
#[derive(Debug)]
pub(super) struct Metrics {
    counters: HostCounters,
    levels: [Gauge; 5],
    jwks_age_seconds: Option<u32>,
    jwks_generation: Option<u32>,
    resolver_milliseconds: Option<u32>,
}

/// The metrics of the counters, in the order of [`Counter::ALL`].
#[derive(Debug)]
pub(super) struct HostCounters(Vec<Option<u32>>);

/// A gauge that adds up over workers, and what this worker has added to it.
#[derive(Debug)]
pub(super) struct Gauge {
    id: Option<u32>,
    reported: Cell<i64>,
}

impl Metrics {
    pub(super) fn define() -> Self {
        Self {
            counters: HostCounters::define(),
            levels: [
                Gauge::define("authgear_waiting_requests"),
                Gauge::define("authgear_cached_tokens"),
                Gauge::define("authgear_cached_sessions"),
                Gauge::define("authgear_resolver_calls_under_way"),
                Gauge::define("authgear_resolver_breakers_open"),
            ],
            jwks_age_seconds: host::define_gauge("authgear_jwks_age_seconds"),
            jwks_generation: host::define_gauge("authgear_jwks_generation"),
            resolver_milliseconds: host::define_histogram(
                "authgear_resolver_duration_milliseconds",
            ),
        }
    }

    /// Reports the counts since the last report, and the values of the gauges.
    pub(super) fn report(&self, counted: &Counters, levels: &Levels) {
        self.counters.report(counted);
        let now = [
            levels.waiting_requests,
            levels.cached_tokens,
            levels.cached_sessions,
            levels.resolver_calls,
            levels.open_breakers,
        ];
        for (level, now) in self.levels.iter().zip(now) {
            level.report(i64::try_from(now).unwrap_or(i64::MAX));
        }
        if let Some(age) = levels.jwks_age {
            host::record(self.jwks_age_seconds, age.as_secs());
        }
        host::record(self.jwks_generation, levels.jwks_generation);
    }

    /// Takes this worker's part out of the gauges: it ends.
    pub(super) fn withdraw(&self) {
        for level in &self.levels {
            level.report(0);
        }
    }

    pub(super) fn resolver_answered(&self, after: Duration) {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        host::record(self.resolver_milliseconds, millis);
    }
}

impl HostCounters {
    pub(super) fn define() -> Self {
        let ids = Counter::ALL.iter().map(|counter| counter.metric());
        Self(ids.map(host::define_counter).collect())
    }

    /// Reports the counts since the last report.
    pub(super) fn report(&self, counted: &Counters) {
        for (counter, count) in counted.take() {
            let id = self.0.get(counter as usize).copied().flatten();
            host::increment(id, i64::from(count));
        }
    }
}

impl Gauge {
    pub(super) fn define(name: &str) -> Self {
        Self {
            id: host::define_gauge(name),
            reported: Cell::new(0),
        }
    }

    pub(super) fn report(&self, now: i64) {
        let change = now.saturating_sub(self.reported.get());
        if change != 0 {
            host::increment(self.id, change);
            self.reported.set(now);
        }
    }
}
