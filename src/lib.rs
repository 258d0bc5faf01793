//! Authgear authentication for Envoy.
