//! What Envoy says, and what it is told.
//!
//! The only room that makes host calls. [`host`] is the door to them, [`root`] hears of configuration and time,
//! [`stream`] of one request, and [`worker`] is what they share: the gate, the requests that wait, and the calls that are
//! under way. Where there is no configuration to be understood, [`last_good`] may know the one before; else [`closed`]
//! answers.

mod abi;
mod closed;
mod host;
mod last_good;
mod metrics;
mod pace;
mod root;
mod stream;
mod wire;
mod worker;

/// Called by the host when it loads the module.
#[cfg(target_family = "wasm")]
mod entry {
    use super::root::Root;

    proxy_wasm::main! {{
        // The host filters again: `--component-log-level wasm:debug` shows why each request was refused.
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Debug);
        proxy_wasm::set_root_context(|context_id| Box::new(Root::new(context_id)));
    }}
}
