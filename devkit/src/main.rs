//! The command line of the devkit.
fn main() {}
