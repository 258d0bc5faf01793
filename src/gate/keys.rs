//! The gate's keys: which fetches it asks for, and what it makes of the answers.

use super::{Event, Gate};
use crate::callout::Answer;
use crate::jwks::{Dropped, Fetch, FetchId, Fetched};
use crate::time::Now;

/// What an answer to a fetch brought.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyEvent {
    /// Another call has to be made first.
    Follow(Fetch),
    /// The fetch has ended, well or not: those who wait for keys can go on.
    Settled,
    /// Nothing: the fetch had been given up.
    Late,
}

impl Gate {
    /// The fetches that are to be made now: the project's place, and the fetch.
    pub fn due_fetches(&mut self, now: Now) -> Vec<(usize, Fetch)> {
        let polled = self.projects.iter_mut().enumerate();
        polled
            .filter_map(|(place, state)| Some((place, state.keys.poll(now.ticks)?)))
            .collect()
    }

    /// Takes the answer to a fetch; `None`: there was none. What an operator can act on is logged here.
    pub fn fetched(
        &mut self,
        project: usize,
        id: FetchId,
        answer: Option<&Answer>,
        now: Now,
        entropy: u64,
    ) -> KeyEvent {
        let Some(state) = self.projects.get_mut(project) else {
            return KeyEvent::Late;
        };
        let endpoint = &state.project.endpoint;
        self.tally.add(Event::JwksFetch);
        match state.keys.answered(id, answer, now.ticks, entropy) {
            Fetched::Discovered(fetch) => KeyEvent::Follow(fetch),
            Fetched::Replaced { keys, dropped, .. } => {
                log::info!("{endpoint}: JWKS: {keys} keys in use");
                if !dropped.is_empty() {
                    let count = dropped.len();
                    log::warn!(
                        "{endpoint}: JWKS: {count} keys not used: {}",
                        Dropped(&dropped)
                    );
                }
                KeyEvent::Settled
            }
            Fetched::Confirmed { recovered } => {
                if recovered {
                    log::info!("{endpoint}: JWKS: fetched again, the keys are the same");
                }
                KeyEvent::Settled
            }
            Fetched::Failed {
                error,
                failures,
                retry_in,
            } => {
                self.tally.add(Event::JwksFetchFailure);
                log::warn!(
                    "{endpoint}: JWKS: {error} (failure {failures} in a row, next try in {retry_in:.1?})"
                );
                KeyEvent::Settled
            }
            Fetched::Late => KeyEvent::Late,
        }
    }
}
