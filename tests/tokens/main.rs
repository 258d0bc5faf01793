//! Access tokens: which pass, and that all others are refused with one and the same answer.
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

mod algorithms;
mod claims;
mod dates;
mod form;
mod header;
mod json;
mod keys;
mod options;
mod signatures;
mod table;
mod users;
