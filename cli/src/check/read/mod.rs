//! Text to values that know where they stand: YAML, JSON, and JSON that stands as text inside YAML.

pub(super) mod embedded;
pub(super) mod file;
pub(super) mod json;
pub(super) mod node;
pub(super) mod place;
pub(super) mod scalar;
pub(super) mod yaml;
