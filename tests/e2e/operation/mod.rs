//! What the operator sees: outages, statistics, clocks, memory.

#[cfg(target_os = "linux")]
mod clock;
mod memory;
mod outages;
mod statistics;
