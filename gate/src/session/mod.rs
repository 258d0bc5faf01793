//! What Authgear's Resolver Endpoint says of a session cookie or an opaque access token.
//!
//! One exchange: a [`SessionCredential`] becomes a [`Call`](crate::callout::Call) built from an allow-list, and the
//! answer a [`Verdict`], or a [`ResolverError`] that is never taken for a no. Verdicts are cached
//! ([`SessionCache`]), requests that ask the same at the same time share one call ([`InFlightCalls`]), and a resolver that
//! fails is not asked until its back-off is over ([`Breaker`]).

mod answer;
mod breaker;
mod cache;
mod counts;
mod health;
mod in_flight;
mod known;
mod request;
mod shared;
mod shares;
#[cfg(test)]
mod tests;

pub(crate) use crate::credential::SessionCredential;
pub(crate) use answer::{Heard, ResolverError, Verdict, is_explicit_no, set_cookies};
pub(crate) use breaker::{Asked, Breaker, Permit};
pub(crate) use cache::{CacheLookup, SessionCache};
pub(crate) use counts::SessionCounts;
pub(crate) use health::Health;
pub(crate) use in_flight::{
    DueCall, Ended, InFlightCalls, Joined, MAX_CALLS_PER_SESSION, OtherWorker, Scheduled,
};
pub(crate) use known::KnownUsers;
pub(crate) use request::ClientFacts;
pub(crate) use shared::{Question, SharedAnswer, SharedAnswers, Turn};
pub(crate) use shares::UserShares;
