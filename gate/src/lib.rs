//! The engine of the Authgear filter: everything that is decided or remembered, and nothing that a host does.
//!
//! It knows no SDK, no I/O and no clock: time, entropy, signature verification and the data that workers share are
//! handed in, so that all of it is tested natively.
//!
//! # A map for newcomers
//!
//! Follow one request; each module answers one question:
//!
//! | module | question |
//! | --- | --- |
//! | [`engine`] | one request in, one verdict out: a state machine without I/O and without a clock |
//! | [`policy`] | which rule applies to this path, and what it asks for |
//! | [`credential`] | what the client presented: `Authorization`, cookies |
//! | [`jwt`] | is this token what it claims to be; which tokens were seen before |
//! | [`jwks`] | with which keys, and how fresh they are |
//! | [`session`] | what Authgear's Resolver Endpoint says of a cookie or an opaque token |
//! | [`principal`] | who was authenticated, by what, and as which headers the backend is told |
//!
//! [`config`] lies beneath them all: the operator's JSON, parsed once into types that cannot be wrong.
//! [`path`] knows every way in which a path can be read; [`hashing`] is how caches hash what strangers send; [`time`]
//! is how every module is told the time; [`log_limit`] is how often the log is told of the same.
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

pub mod callout;
pub mod config;
pub mod credential;
pub mod engine;
pub mod hashing;
pub mod jwks;
pub mod jwt;
pub mod log_limit;
pub mod path;
pub mod policy;
pub mod principal;
pub mod session;
pub mod time;
