//! The callbacks from Envoy, and the calls to it.
//!
//! The only code that makes host calls. [`host`] makes them, [`powers`] finds out which of them this host
//! answers, [`sdk`] lists what the SDK still does. [`root`] gets the callbacks for configuration and
//! time, [`stream`] those for one request, and [`worker`] is what they share: it reports to the engine, which [`engine_cell`] has, and
//! performs its actions ([`perform`]).
//! [`pace`] sets how often it ticks. Where the configuration is invalid, [`last_good`] may have the one before; else
//! [`closed`] answers.

mod abi;
mod closed;
mod engine_cell;
mod host;
mod last_good;
mod logger;
mod metrics;
mod pace;
mod perform;
mod powers;
mod quiet;
mod root;
mod sdk;
mod stream;
mod wire;
mod worker;

/// Called by the host when it loads the module.
#[cfg(target_family = "wasm")]
mod entry {
    use super::logger;
    use super::root::Root;

    proxy_wasm::main! {{
        logger::install();
        proxy_wasm::set_root_context(|context_id| Box::new(Root::new(context_id)));
    }}
}
