//! The resolver: what it is asked, what its answers mean, and for how long.

mod background_refresh;
mod circuit_breaker;
mod client_causes;
mod relayed_cookies;
mod resolver_calls;
mod revalidation;
mod session_answers;
mod session_cache;
mod session_faults;
mod sessions;
mod shared_answers;
