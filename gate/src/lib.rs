//! The engine of the Authgear filter: everything that is decided or remembered, and nothing that a host does.
//!
//! It knows no SDK, no I/O and no clock: time, entropy, signature verification and the data that workers share are
//! handed in, so that all of it is tested natively.
//!
//! # A map for newcomers
//!
//! | module | question |
//! | --- | --- |
//! | [`engine`] | what becomes of a request, and of calls: told what happened, asked what to do |
//! | [`policy`] | which rule applies to this path, what it asks for, and whether this principal may pass |
//! | [`credential`] | what the client presented: `Authorization`, cookies |
//! | [`jwt`] | is this token what it claims to be; which tokens were seen before |
//! | [`jwks`] | with which keys, and how fresh they are |
//! | [`session`] | what Authgear's Resolver Endpoint says of a cookie or an opaque token |
//! | [`principal`] | who was authenticated, by what, and as which headers the backend is told |
//!
//! [`config`] lies beneath them all: the operator's JSON, parsed once into types that cannot be wrong. Below it is what has no
//! opinion: [`jose`] is algorithms, keys and signatures; [`endpoint`] is Authgear's public origin, and [`callout`] a call to it;
//! [`path`] knows every way in which a path can be read; [`hashing`] is how caches hash what strangers send; [`time`] is how
//! every module is told the time; [`log_limit`] is how often the log is told of the same.
//!
//! # One cold session, from its first byte to its last
//!
//! 1. [`Engine::handle_request`](engine::Engine::handle_request) is told of the request's headers. It finds the rule
//!    (`route`: [`policy`]), reads what is presented ([`credential`]) and asks who it is (`authenticate`): the session is not
//!    cached, so the answer is [`Decision::Wait`](engine::Decision) with the call to the resolver that is to be made.
//! 2. The host makes the call, and [`Engine::handle_dispatched`](engine::Engine::handle_dispatched) is told its token.
//!    Whoever presents the same session meanwhile waits for the same call.
//! 3. [`Engine::handle_response`](engine::Engine::handle_response) is told of the answer. The verdict is read ([`session`]),
//!    cached, and all who wait for it are marked as settled: that takes as long for one as for a thousand.
//! 4. [`Engine::poll_action`](engine::Engine::poll_action) is asked what to do until it says nothing: for each of them, whether
//!    this principal may pass (`authorize`: [`policy::authorize`]), and then [`Action::Resume`](engine::Action) with the headers
//!    that the backend gets ([`principal`]), or [`Action::Respond`](engine::Action). What is too much for one callback is left to
//!    the next tick ([`engine::Budget`]).
//! 5. [`Engine::handle_close`](engine::Engine::handle_close) is told of the request's end, at whatever moment it comes.
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
pub mod endpoint;
pub mod engine;
mod hashing;
pub mod jose;
pub mod jwks;
mod jwt;
mod log_limit;
mod path;
mod policy;
mod principal;
mod session;
pub mod time;
