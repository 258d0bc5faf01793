//! The filter's lines in the host's log.
//!
//! The SDK's logger traps where the host refuses a line.

use std::panic;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::abi;

/// Hands each line to the host, which filters by level again.
struct HostLog;

/// Sends the lines of the crate `log` to the host, and the message of a panic before it traps.
#[cfg_attr(
    not(target_family = "wasm"),
    allow(dead_code, reason = "called where the host loads the module")
)]
pub(super) fn install() {
    // The host filters again: `--component-log-level wasm:debug` shows why each request was refused.
    if log::set_logger(&HostLog).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
    panic::set_hook(Box::new(|panic| {
        abi::log(abi::CRITICAL, &panic.to_string());
    }));
}

impl Log for HostLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => abi::ERROR,
            Level::Warn => abi::WARN,
            Level::Info => abi::INFO,
            Level::Debug | Level::Trace => abi::DEBUG,
        };
        abi::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}
