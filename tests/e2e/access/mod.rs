//! Who gets through, what everybody else is answered, and what the backend is told.

mod admission;
mod answers;
mod client_identity_headers;
mod spoofing;
