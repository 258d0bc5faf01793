//! What the filter is developed, tried and measured with.
//!
//! Without the feature `tests`, on by default, it is what `make run` and docker-compose.yml need: built in half the time.

pub mod authgear;
pub mod backend;
#[cfg(feature = "tests")]
pub mod bench;
pub mod client;
pub mod clock;
mod cookies;
pub mod demo;
pub mod endpoint;
pub mod envoy;
pub use testkit as keys;
mod log;
pub mod message;
pub mod process;
mod server;
#[cfg(feature = "tests")]
pub mod soak;
#[cfg(feature = "tests")]
pub mod testbed;
#[cfg(feature = "tests")]
pub mod tls;
#[cfg(feature = "tests")]
pub mod traffic;
pub mod wait;
mod web;
