//! The life of the keys: fetched, shared, rotated, missing.

mod key_faults;
mod key_sets;
mod keys;
mod rotation;
mod shared_data;
mod shared_keys;
