//! How a report is written.

pub(super) mod human;
pub(super) mod json;
pub(super) mod sarif;
