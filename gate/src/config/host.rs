//! What a configuration needs of the host that runs the filter.

use std::fmt;

/// A host, as far as a configuration depends on it.
pub trait Host {
    /// Whether the host has this power. It is called only for powers that the configuration needs.
    fn has(&self, power: Power) -> bool;
}

/// What some hosts can do and others cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Power {
    /// It has a clock.
    Clock,
    /// It makes calls to upstreams, and passes on the answers.
    Callouts,
    /// It calls the filter at intervals.
    Ticks,
    /// It lets the callback of one context act for another, and only for those that there are.
    EffectiveContext,
}

impl Power {
    /// Every power.
    pub const ALL: [Self; 4] = [
        Self::Clock,
        Self::Callouts,
        Self::Ticks,
        Self::EffectiveContext,
    ];
}

impl fmt::Display for Power {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Clock => "a clock (proxy_get_current_time_nanoseconds)",
            Self::Callouts => "calls (proxy_http_call)",
            Self::Ticks => "ticks (proxy_set_tick_period_milliseconds)",
            Self::EffectiveContext => {
                "acting for a request that waits (proxy_set_effective_context)"
            }
        })
    }
}
