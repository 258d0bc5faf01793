//! Authgear authentication for Envoy: a Proxy-Wasm HTTP filter.
//!
//! # A map for newcomers
//!
//! | part | what it does |
//! | --- | --- |
//! | [`filter`] | what Envoy says, and what it is told: the only code that makes host calls |
//! | [`gate`] | everything else: the engine, which has never heard of Envoy. Its own map goes on from here |
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
