//! What a client presents, and which of several credentials counts.

mod cookies;
mod credentials;
mod last_users_token;
mod several_authorizations;
