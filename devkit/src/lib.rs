//! What the filter is developed, tried and measured with.

pub mod authgear;
pub mod backend;
pub mod bench;
pub mod client;
pub mod clock;
mod cookies;
pub mod demo;
pub mod endpoint;
pub mod envoy;
pub mod keys;
mod log;
pub mod message;
pub mod process;
mod server;
pub mod soak;
pub mod steady;
pub mod testbed;
pub mod tls;
pub mod wait;
mod web;
