//! Authgear authentication for Envoy: a Proxy-Wasm HTTP filter.
//!
//! # A map for newcomers
//!
//! Follow one request, room by room; each is visited once:
//!
//! | room | question it answers |
//! | --- | --- |
//! | [`filter`] | what Envoy says, and what it is told: the only room that makes host calls |
//! | [`gate`] | one request in, one verdict out: a state machine without I/O and without a clock |
//! | [`policy`] | which rule applies to this path, and what it asks for |
//! | [`credential`] | what the client presented: `Authorization`, cookies |
//! | [`jwt`] | is this token what it claims to be; which tokens were seen before |
//! | [`jwks`] | with which keys, and how fresh they are |
//! | [`session`] | what Authgear's Resolver Endpoint says of a cookie or an opaque token |
//! | [`identity`] | who it is, in the one `x-authgear-*` header schema |
//!
//! [`config`] lies beneath them all: the operator's JSON, parsed once into types that cannot be wrong.
//! [`path`] knows every way in which a path can be read; [`hashing`] is how caches hash what strangers send; [`time`]
//! is how every room is told the time.
//!
//! Everything but [`filter`] compiles and is tested natively; time, entropy and signature verification are handed in.
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
pub mod filter;
pub mod gate;
pub mod hashing;
pub mod identity;
pub mod jwks;
pub mod jwt;
pub mod path;
pub mod policy;
pub mod session;
pub mod time;
