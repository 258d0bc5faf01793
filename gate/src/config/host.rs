//! What a configuration needs of the host that runs the filter.

use std::fmt;

/// A host, as far as a configuration cares.
pub trait Host {
    /// Whether the host has this power. It is asked only for what is needed.
    fn has(&self, power: Power) -> bool;
}

/// What a host may be able to do, and not all can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Power {
    /// It tells the time.
    Clock,
    /// It makes calls to upstreams, and hands the answers on.
    Callouts,
    /// It tells now and again that time has passed.
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
