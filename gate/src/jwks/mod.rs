//! The project's keys, and their life.
//!
//! A [`KeySet`](crate::jose::KeySet) is what one JWKS document gave: the keys that can be used, by `kid`. A [`KeyRing`] holds the current
//! set of a project and decides, without I/O and told the time, when a new one is to be fetched, how long an old one
//! will do, and what is answered while there is none. The workers of a process share what one of them fetches
//! ([`SharedData`]).

mod fetch;
mod notice;
mod outcome;
mod remote;
mod ring;
#[cfg(test)]
mod tests;
mod unknown;

pub(crate) use fetch::{Fetch, FetchError, FetchId, LONGEST_BODY};
#[cfg(test)]
pub(crate) use notice::testing;
pub use notice::{NoSharedData, NotWritten, Shared, SharedData};
pub(crate) use outcome::{Fetched, Lookup, Polled};
pub(crate) use ring::KeyRing;
