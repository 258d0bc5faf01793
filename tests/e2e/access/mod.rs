//! Who gets through, what everybody else is answered, and what the backend receives.

mod admission;
mod answers;
mod client_identity_headers;
mod protocol;
mod spoofing;
