//! What the operator sees: outages, statistics, clocks, memory.

#[cfg(target_os = "linux")]
mod clock;
mod memory;
mod messages;
mod outages;
mod ready;
mod statistics;
