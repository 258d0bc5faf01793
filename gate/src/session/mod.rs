//! What Authgear's Resolver Endpoint says of a session cookie or an opaque access token.
//!
//! One exchange: a [`SessionCredential`] becomes a [`Call`](crate::callout::Call) built from an allow-list, and the
//! answer a [`Verdict`], or a [`ResolverError`] that is never taken for a no. Verdicts are remembered for a while
//! ([`SessionCache`]), requests that ask the same at the same time share one call ([`Flights`]), and a resolver that
//! fails is left alone for a while ([`Breaker`]).

mod answer;
mod breaker;
mod cache;
mod counts;
mod flights;
mod health;
mod known;
mod request;
mod shared;
mod shares;
#[cfg(test)]
mod tests;

pub use crate::credential::SessionCredential;
pub use answer::{Heard, ResolverError, Verdict, is_explicit_no, set_cookies};
pub use breaker::{Asked, Breaker, Permit};
pub use cache::{MAX_SESSIONS_PER_USER, Recalled, SessionCache};
pub use counts::SessionCounts;
pub use flights::{
    Boarding, Booking, DueCall, Ended, Flight, Flights, MAX_CALLS_PER_SESSION, OtherWorker,
};
pub use health::Health;
pub use known::{KnownUsers, MAX_CREDENTIALS_PER_KNOWN_USER, MAX_KNOWN_USERS};
pub use request::ClientFacts;
pub use shared::{MAX_RECORDS, Question, SharedAnswer, SharedAnswers, Turn};
pub use shares::{MAX_BACKGROUND_CALLS_PER_USER, Shares};
