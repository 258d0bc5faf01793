//! The project's keys, and when they are fetched.
//!
//! A [`KeySet`](crate::jose::KeySet) has the usable keys of one JWKS document, by `kid`. A [`KeyRing`] has the current
//! set of a project. It decides, without I/O and without a clock, when to fetch a new set, how long an old set may be
//! used, and what to answer while there is none. The workers of a process share what one of them fetches
//! ([`SharedData`]).

mod fetch;
mod keyring;
mod outcome;
mod refresher;
mod shared;
#[cfg(test)]
mod tests;
mod unknown;

pub(crate) use fetch::{Fetch, FetchError, FetchId, MAX_BODY_BYTES};
pub(crate) use keyring::KeyRing;
pub(crate) use outcome::{Fetched, Lookup, Polled};
pub(crate) use shared::ABSENT;
#[cfg(test)]
pub(crate) use shared::testing;
pub use shared::{NoSharedData, NotWritten, Shared, SharedData};
