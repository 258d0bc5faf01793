//! What the gate counts.

use std::cell::Cell;

use super::{Admission, Reason};
use crate::policy::{ConditionName, Unmet};

/// A counter. Each has a metric of its own: hosts know no labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "`Counter::metric` says it")]
#[repr(usize)]
pub enum Counter {
    ForwardedUser,
    ForwardedMachine,
    ForwardedAnonymous,
    ForwardedUnchecked,
    RefusedNoCredential,
    RefusedNoProject,
    RefusedClientIdentityHeaders,
    RefusedConflictingCredentials,
    RefusedAmbiguousPath,
    RefusedInvalidToken,
    RefusedInvalidSession,
    RefusedNotAUser,
    RefusedNotAMachine,
    RefusedRolesAny,
    RefusedRolesAll,
    RefusedVerified,
    RefusedAnonymous,
    RefusedCanReauthenticate,
    RefusedAmrAny,
    RefusedAmrAll,
    RefusedMaxAuthAge,
    RefusedClientIds,
    RefusedScopesAny,
    RefusedScopesAll,
    RefusedClaims,
    RefusedAnyOf,
    RefusedTokenNeeded,
    RefusedKeysUnavailable,
    RefusedResolverUnavailable,
    RefusedTimedOut,
    RefusedOverloaded,
    RefusedInvalidConfiguration,
    RefusedInternal,
    TokenCacheHit,
    TokenCacheMiss,
    SessionCacheHit,
    SessionCacheMiss,
    ResolverCall,
    ResolverFailure,
    ResolverCallShared,
    JwksFetch,
    JwksFetchFailure,
    TokenCacheEviction,
    SessionCacheEviction,
    SessionServedStale,
    SessionRefresh,
    Revalidation,
    RevalidationConfirmed,
    RevalidationRefused,
    RevalidationUnknown,
    RevalidationFailed,
    BackgroundCallDropped,
    ResolverCallRejected,
    BreakerOpened,
    JwksSharedUpdate,
    ResolverSharedAnswer,
}

impl Counter {
    /// All of them, in their order.
    pub const ALL: [Self; 56] = [
        Self::ForwardedUser,
        Self::ForwardedMachine,
        Self::ForwardedAnonymous,
        Self::ForwardedUnchecked,
        Self::RefusedNoCredential,
        Self::RefusedNoProject,
        Self::RefusedClientIdentityHeaders,
        Self::RefusedConflictingCredentials,
        Self::RefusedAmbiguousPath,
        Self::RefusedInvalidToken,
        Self::RefusedInvalidSession,
        Self::RefusedNotAUser,
        Self::RefusedNotAMachine,
        Self::RefusedRolesAny,
        Self::RefusedRolesAll,
        Self::RefusedVerified,
        Self::RefusedAnonymous,
        Self::RefusedCanReauthenticate,
        Self::RefusedAmrAny,
        Self::RefusedAmrAll,
        Self::RefusedMaxAuthAge,
        Self::RefusedClientIds,
        Self::RefusedScopesAny,
        Self::RefusedScopesAll,
        Self::RefusedClaims,
        Self::RefusedAnyOf,
        Self::RefusedTokenNeeded,
        Self::RefusedKeysUnavailable,
        Self::RefusedResolverUnavailable,
        Self::RefusedTimedOut,
        Self::RefusedOverloaded,
        Self::RefusedInvalidConfiguration,
        Self::RefusedInternal,
        Self::TokenCacheHit,
        Self::TokenCacheMiss,
        Self::SessionCacheHit,
        Self::SessionCacheMiss,
        Self::ResolverCall,
        Self::ResolverFailure,
        Self::ResolverCallShared,
        Self::JwksFetch,
        Self::JwksFetchFailure,
        Self::TokenCacheEviction,
        Self::SessionCacheEviction,
        Self::SessionServedStale,
        Self::SessionRefresh,
        Self::Revalidation,
        Self::RevalidationConfirmed,
        Self::RevalidationRefused,
        Self::RevalidationUnknown,
        Self::RevalidationFailed,
        Self::BackgroundCallDropped,
        Self::ResolverCallRejected,
        Self::BreakerOpened,
        Self::JwksSharedUpdate,
        Self::ResolverSharedAnswer,
    ];

    /// The name of its metric.
    #[must_use]
    pub const fn metric(self) -> &'static str {
        match self {
            Self::ForwardedUser => "authgear_requests_forwarded_user_total",
            Self::ForwardedMachine => "authgear_requests_forwarded_machine_total",
            Self::ForwardedAnonymous => "authgear_requests_forwarded_anonymous_total",
            Self::ForwardedUnchecked => "authgear_requests_forwarded_unchecked_total",
            Self::RefusedNoCredential => "authgear_requests_refused_no_credential_total",
            Self::RefusedNoProject => "authgear_requests_refused_no_project_total",
            Self::RefusedClientIdentityHeaders => {
                "authgear_requests_refused_client_identity_headers_total"
            }
            Self::RefusedConflictingCredentials => {
                "authgear_requests_refused_conflicting_credentials_total"
            }
            Self::RefusedAmbiguousPath => "authgear_requests_refused_ambiguous_path_total",
            Self::RefusedInvalidToken => "authgear_requests_refused_invalid_token_total",
            Self::RefusedInvalidSession => "authgear_requests_refused_invalid_session_total",
            Self::RefusedNotAUser => "authgear_requests_refused_not_a_user_total",
            Self::RefusedNotAMachine => "authgear_requests_refused_not_a_machine_total",
            Self::RefusedRolesAny => "authgear_requests_refused_roles_any_total",
            Self::RefusedRolesAll => "authgear_requests_refused_roles_all_total",
            Self::RefusedVerified => "authgear_requests_refused_verified_total",
            Self::RefusedAnonymous => "authgear_requests_refused_anonymous_total",
            Self::RefusedCanReauthenticate => "authgear_requests_refused_can_reauthenticate_total",
            Self::RefusedAmrAny => "authgear_requests_refused_amr_any_total",
            Self::RefusedAmrAll => "authgear_requests_refused_amr_all_total",
            Self::RefusedMaxAuthAge => "authgear_requests_refused_max_auth_age_total",
            Self::RefusedClientIds => "authgear_requests_refused_client_ids_total",
            Self::RefusedScopesAny => "authgear_requests_refused_scopes_any_total",
            Self::RefusedScopesAll => "authgear_requests_refused_scopes_all_total",
            Self::RefusedClaims => "authgear_requests_refused_claims_total",
            Self::RefusedAnyOf => "authgear_requests_refused_any_of_total",
            Self::RefusedTokenNeeded => "authgear_requests_refused_token_needed_total",
            Self::RefusedKeysUnavailable => "authgear_requests_refused_keys_unavailable_total",
            Self::RefusedResolverUnavailable => {
                "authgear_requests_refused_resolver_unavailable_total"
            }
            Self::RefusedTimedOut => "authgear_requests_refused_timed_out_total",
            Self::RefusedOverloaded => "authgear_requests_refused_overloaded_total",
            Self::RefusedInvalidConfiguration => {
                "authgear_requests_refused_invalid_configuration_total"
            }
            Self::RefusedInternal => "authgear_requests_refused_internal_total",
            Self::TokenCacheHit => "authgear_token_cache_hits_total",
            Self::TokenCacheMiss => "authgear_token_cache_misses_total",
            Self::SessionCacheHit => "authgear_session_cache_hits_total",
            Self::SessionCacheMiss => "authgear_session_cache_misses_total",
            Self::ResolverCall => "authgear_resolver_calls_total",
            Self::ResolverFailure => "authgear_resolver_failures_total",
            Self::ResolverCallShared => "authgear_resolver_calls_shared_total",
            Self::JwksFetch => "authgear_jwks_fetches_total",
            Self::JwksFetchFailure => "authgear_jwks_fetch_failures_total",
            Self::TokenCacheEviction => "authgear_token_cache_evictions_total",
            Self::SessionCacheEviction => "authgear_session_cache_evictions_total",
            Self::SessionServedStale => "authgear_sessions_served_stale_total",
            Self::SessionRefresh => "authgear_session_refreshes_total",
            Self::Revalidation => "authgear_token_revalidations_total",
            Self::RevalidationConfirmed => "authgear_token_revalidations_confirmed_total",
            Self::RevalidationRefused => "authgear_token_revalidations_refused_total",
            Self::RevalidationUnknown => "authgear_token_revalidations_unknown_total",
            Self::RevalidationFailed => "authgear_token_revalidations_failed_total",
            Self::BackgroundCallDropped => "authgear_background_calls_dropped_total",
            Self::ResolverCallRejected => "authgear_resolver_calls_rejected_total",
            Self::BreakerOpened => "authgear_resolver_breaker_opened_total",
            Self::JwksSharedUpdate => "authgear_jwks_shared_updates_total",
            Self::ResolverSharedAnswer => "authgear_resolver_shared_answers_total",
        }
    }
}

impl From<&Admission> for Counter {
    fn from(admission: &Admission) -> Self {
        match admission {
            Admission::Principal(principal, _) if principal.user().is_some() => Self::ForwardedUser,
            Admission::Principal(..) => Self::ForwardedMachine,
            Admission::Anonymous => Self::ForwardedAnonymous,
            Admission::Unchecked => Self::ForwardedUnchecked,
        }
    }
}

impl From<Reason> for Counter {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NoCredential => Self::RefusedNoCredential,
            Reason::NoProject => Self::RefusedNoProject,
            Reason::ClientIdentityHeaders => Self::RefusedClientIdentityHeaders,
            Reason::Conflict(_) => Self::RefusedConflictingCredentials,
            Reason::Path(_) => Self::RefusedAmbiguousPath,
            Reason::Token(..) | Reason::InvalidOpaqueToken => Self::RefusedInvalidToken,
            Reason::InvalidSession => Self::RefusedInvalidSession,
            Reason::NotAUser => Self::RefusedNotAUser,
            Reason::NotAMachine => Self::RefusedNotAMachine,
            Reason::Unmet(unmet) => Self::from(unmet),
            Reason::KeysUnavailable(_) => Self::RefusedKeysUnavailable,
            Reason::ResolverUnavailable(_) | Reason::TokenUnconfirmed | Reason::CircuitOpen(_) => {
                Self::RefusedResolverUnavailable
            }
            Reason::TimedOut => Self::RefusedTimedOut,
            Reason::Overloaded => Self::RefusedOverloaded,
            Reason::InvalidConfiguration => Self::RefusedInvalidConfiguration,
            Reason::Internal => Self::RefusedInternal,
        }
    }
}

impl From<Unmet> for Counter {
    fn from(unmet: Unmet) -> Self {
        if unmet.needs_token {
            return Self::RefusedTokenNeeded;
        }
        match unmet.condition {
            ConditionName::RolesAny => Self::RefusedRolesAny,
            ConditionName::RolesAll => Self::RefusedRolesAll,
            ConditionName::Verified => Self::RefusedVerified,
            ConditionName::Anonymous => Self::RefusedAnonymous,
            ConditionName::CanReauthenticate => Self::RefusedCanReauthenticate,
            ConditionName::AmrAny => Self::RefusedAmrAny,
            ConditionName::AmrAll => Self::RefusedAmrAll,
            ConditionName::MaxAuthAge => Self::RefusedMaxAuthAge,
            ConditionName::ClientIds => Self::RefusedClientIds,
            ConditionName::ScopesAny => Self::RefusedScopesAny,
            ConditionName::ScopesAll => Self::RefusedScopesAll,
            ConditionName::Claims => Self::RefusedClaims,
            ConditionName::AnyOf => Self::RefusedAnyOf,
        }
    }
}

/// The counts since they were last taken.
#[derive(Debug)]
pub struct Counters {
    counts: [Cell<u32>; Counter::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: [const { Cell::new(0) }; Counter::ALL.len()],
        }
    }
}

impl Counters {
    /// Adds one.
    pub fn add(&self, counter: Counter) {
        self.add_many(counter, 1);
    }

    /// Adds so many.
    pub(crate) fn add_many(&self, counter: Counter, more: u32) {
        if let Some(count) = self.counts.get(counter as usize) {
            count.set(count.get().saturating_add(more));
        }
    }

    /// Takes back one that was added since the counts were last taken.
    pub(crate) fn take_back(&self, counter: Counter) {
        if let Some(count) = self.counts.get(counter as usize) {
            count.set(count.get().saturating_sub(1));
        }
    }

    /// Takes the counts that are not zero.
    pub fn take(&self) -> impl Iterator<Item = (Counter, u32)> {
        let counts = Counter::ALL.into_iter().zip(&self.counts);
        counts
            .map(|(counter, count)| (counter, count.take()))
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_index_and_a_name_of_its_own() {
        let counters = Counters::default();
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, index);
            let same_name = |other: &Counter| other.metric() == counter.metric();
            assert_eq!(
                Counter::ALL.iter().filter(|other| same_name(other)).count(),
                1
            );
            counters.add(counter);
            counters.add(counter);
        }
        let taken: Vec<(Counter, u32)> = counters.take().collect();
        assert_eq!(taken, Counter::ALL.map(|counter| (counter, 2)));
        assert_eq!(counters.take().count(), 0);
    }
}
