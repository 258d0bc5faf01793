//! The filter in the real Envoy, end to end: one folder for each topic. What needs no Envoy is tested where it is written.
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests: their names say it, and a panic is how they fail"
)]

mod access;
mod config;
mod credential;
mod jwks;
mod jwt;
mod operation;
mod policy;
mod session;
mod waiting;
