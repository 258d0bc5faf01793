//! The engine of the Authgear filter: it makes every decision and keeps every cache, and does nothing that a host does.
//!
//! It has no SDK, no I/O and no clock: the caller passes in time, entropy, signature verification and the data that workers
//! share, so that all of it can be tested natively.
//!
//! # A map for newcomers
//!
//! | module | question |
//! | --- | --- |
//! | [`engine`] | what to do with a request, and with calls to Authgear: it takes events and returns actions |
//! | [`policy`] | which rule applies to this path, what it asks for, and whether this principal may pass |
//! | [`credential`] | what the client presented: `Authorization`, cookies |
//! | [`jwt`] | whether a token is valid; the cache of tokens |
//! | [`jwks`] | the keys that verify tokens, and when they are fetched |
//! | [`session`] | what Authgear's Resolver Endpoint answers for a cookie or an opaque token; the cache of its answers |
//! | [`principal`] | who was authenticated, by what, and which headers the backend gets |
//!
//! All of them use [`config`]: the operator's JSON, parsed once into types that cannot be wrong; what a rule is, [`policy`]
//! itself says. Below them are modules without policy: [`jose`] has algorithms, keys and signatures; [`endpoint`] is
//! Authgear's public origin, and [`callout`] a call to it; [`path`] finds every way in which a path can be read; [`claim`] finds and
//! compares the claims that rules ask for, in [`json`] as it was written; [`hashing`] hashes what strangers send, for caches;
//! [`crowd`] is a set of requests, [`per_project`] something of each project; [`time`] has the types of time; [`log_limit`] bounds how often similar lines are logged.
//!
//! # A request with a session that is not cached, from start to end
//!
//! 1. [`Engine::handle_request`](engine::Engine::handle_request) gets the request's headers. It finds the rule (`route`:
//!    [`policy`]), reads the credentials ([`credential`]) and authenticates them (`authenticate`): the session is not
//!    cached, so the answer is [`Decision::Wait`](engine::Decision) with the call to the resolver to make.
//! 2. The host makes the call, and [`Engine::handle_dispatched`](engine::Engine::handle_dispatched) gets its token.
//!    Requests that present the same session meanwhile join the same call.
//! 3. [`Engine::handle_response`](engine::Engine::handle_response) gets the answer. It reads the verdict ([`session`]),
//!    caches it, and marks all requests that wait for it as settled: that takes as long for one as for a thousand.
//! 4. [`Engine::poll_action`](engine::Engine::poll_action) is called until it returns no action. For each of these
//!    requests it decides whether the principal may pass (`authorize`: [`policy::authorize`]), and returns
//!    [`Action::Resume`](engine::Action) with the headers that the backend gets ([`principal`]), or
//!    [`Action::Respond`](engine::Action). What is too much for one callback is done at the next tick
//!    ([`engine::Budget`]).
//! 5. [`Engine::handle_close`](engine::Engine::handle_close) is called when the request ends, at whatever time.
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
mod claim;
pub mod config;
pub mod credential;
mod crowd;
pub mod endpoint;
pub mod engine;
mod hashing;
pub mod jose;
mod json;
pub mod jwks;
mod jwt;
mod log_limit;
mod path;
mod per_project;
mod policy;
mod principal;
mod session;
pub mod time;
