//! Authgear authentication for Envoy: a Proxy-Wasm HTTP filter.
//!
//! # A map for newcomers
//!
//! | part | what it does |
//! | --- | --- |
//! | [`filter`] | what Envoy says, and what it is told: the only code that makes host calls, and it decides nothing |
//! | [`gate`] | what is decided and remembered: the engine, which has never heard of Envoy. Its map goes on from here |
//!
//! A callback of the host's is told to the engine, which is then asked what to do, until it says nothing (`filter::worker`).
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
