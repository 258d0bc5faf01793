//! Configurations: refused, validated before a roll-out, and replaced while Envoy runs.

mod hosts;
mod invalid_configurations;
mod reload;
mod validate;
