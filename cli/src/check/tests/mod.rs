//! What is tested from within; the rest is in `cli/tests`.

mod mistakes;
mod scalars;
