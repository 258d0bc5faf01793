//! Access tokens: which pass, and that all others are refused with one and the same answer.

mod algorithms;
mod claims;
mod dates;
mod form;
mod header;
mod json;
mod keys;
mod options;
mod signatures;
mod table;
mod users;
