//! The compiled module under a host of our own: it does what no Envoy does on demand.
//!
//! The host is in [`wasm`], what it does wrong in [`meddle`], how it drives the module in [`world`], what happens to streams in
//! [`streams`], and who there is in [`facts`]. Its clock stands still until a test moves it.
#![allow(missing_docs, reason = "the tests' names say it")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod facts;
mod meddle;
mod signatures;
mod streams;
mod wasm;
mod world;

mod cost;
mod fewer_powers;
mod host_calls_fail;
mod invalid;
mod main_ways;
mod order;
mod scenarios;
