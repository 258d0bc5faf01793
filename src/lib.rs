//! Authgear authentication for Envoy: a Proxy-Wasm HTTP filter.
//!
//! # A map for newcomers
//!
//! | part | what it does |
//! | --- | --- |
//! | [`filter`] | the callbacks from Envoy and the calls to it: the only code that makes host calls, and it decides nothing |
//! | [`gate`] | the decisions and the state: the engine, which knows nothing of Envoy. Its map continues this one |
//!
//! The filter reports each callback of the host to the engine, and performs the engine's actions until there are no more
//! (`filter::worker`).
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

pub mod filter;
