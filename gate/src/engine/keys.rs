//! The gate's keys: the fetches it asks for, and what follows from the answers and from other workers' fetches.

use super::project::LogKind;
use super::{Counter, Gate};
use crate::callout::{Answer, DispatchError, explain};
use crate::config::KeySource;
use crate::jose::Dropped;
use crate::jwks::{Fetch, FetchError, FetchId, Fetched, Polled, Shared};
use crate::time::{Now, Seconds};

/// What an answer to a fetch brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyEvent {
    /// Another call has to be made first.
    Follow(Fetch),
    /// The fetch has ended, successfully or not: those who wait for keys can proceed.
    Settled,
    /// Nothing: the fetch had been given up.
    Late,
}

impl Gate {
    /// What is to be done for the keys, by the project's index. Fetches that are due are returned to a worker that
    /// `may_fetch`; any other only takes over what others have fetched.
    pub(super) fn poll_keys(
        &mut self,
        shared: Shared<'_>,
        may_fetch: bool,
        now: Now,
    ) -> Vec<(usize, Polled)> {
        let mut polled = Vec::new();
        for (index, state) in self.projects.iter_mut().enumerate() {
            let here = if may_fetch {
                state.keys.poll(shared, now.ticks)
            } else {
                state.keys.sync(shared, now.ticks)
            };
            if here.fetch_ended {
                self.counters.add(Counter::JwksSharedUpdate);
            }
            if here != Polled::default() {
                polled.push((index, here));
            }
        }
        polled
    }

    /// The worker ends: other workers may fetch at once what it was about to.
    pub(super) fn release_keys(&mut self, shared: Shared<'_>) {
        for state in &mut self.projects {
            state.keys.release(shared);
        }
    }

    /// Takes the answer to a fetch. Without one: why the call was not made, or `None` if it was. What an operator can act on
    /// is logged here.
    pub(super) fn fetched(
        &mut self,
        project: usize,
        id: FetchId,
        answer: Result<&Answer, Option<DispatchError>>,
        shared: Shared<'_>,
        now: Now,
        entropy: u64,
    ) -> KeyEvent {
        let Some(state) = self.projects.get_mut(project) else {
            return KeyEvent::Late;
        };
        let endpoint = &state.project.endpoint;
        self.counters.add(Counter::JwksFetch);
        match state
            .keys
            .answered(id, answer.ok(), shared, now.ticks, entropy)
        {
            Fetched::Discovered(fetch) => KeyEvent::Follow(fetch),
            Fetched::Replaced { keys, dropped, .. } => {
                if let Some(left_out) = state.log.allow(LogKind::KeysReplaced(keys), now.ticks) {
                    log::info!("{endpoint}: JWKS: {keys} keys in use{left_out}");
                }
                if !dropped.is_empty()
                    && let Some(left_out) = state.log.allow(LogKind::KeysDropped, now.ticks)
                {
                    let count = dropped.len();
                    log::warn!(
                        "{endpoint}: JWKS: {count} keys not used: {}{left_out}",
                        Dropped(&dropped)
                    );
                }
                KeyEvent::Settled
            }
            Fetched::Confirmed { recovered } => {
                if recovered
                    && let Some(left_out) = state.log.allow(LogKind::KeysConfirmed, now.ticks)
                {
                    log::info!("{endpoint}: JWKS: fetched again, the keys are the same{left_out}");
                }
                KeyEvent::Settled
            }
            Fetched::Failed {
                error,
                failures,
                retry_in,
                serves_for,
            } => {
                self.counters.add(Counter::JwksFetchFailure);
                let error = match answer {
                    Err(Some(not_sent)) => FetchError::from(not_sent),
                    _ => error,
                };
                let kind = LogKind::KeysFailed(std::mem::discriminant(&error), error.status());
                if let Some(left_out) = state.log.allow(kind, now.ticks) {
                    let cluster = match &state.project.keys {
                        KeySource::Remote(remote) => remote.cluster.as_str(),
                        KeySource::Inline(_) => "",
                    };
                    let retry_in = Seconds(retry_in);
                    let explained = explain(answer.ok(), "");
                    let line = format!(
                        "{endpoint}: JWKS: {error}{explained} (failure {failures} in a row, next try in {retry_in}); cluster {cluster:?}"
                    );
                    match serves_for {
                        Some(left) => log::warn!(
                            "{line}: the last keys serve for another {}, then tokens are refused{left_out}",
                            Seconds(left)
                        ),
                        None => {
                            log::warn!("{line}: there are no keys, tokens are refused{left_out}")
                        }
                    }
                }
                KeyEvent::Settled
            }
            Fetched::Late => KeyEvent::Late,
        }
    }
}
