//! What Authgear has answered an engine, and when: on it rests what the engine may say of a credential. Kept by the world, out
//! of the answers that it hands over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::authgear::Identity;
use crate::jwt::kind_of;
use crate::ledger::{is_token, subject};

/// What an answer of the resolver's amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A yes, and how long its own `Cache-Control` lets it be cached.
    Yes(Identity, Option<u64>),
    /// A no; whether it says so in so many words.
    No { explicit: bool },
    /// No answer, or a status of 500 and above.
    Outage,
    /// Nobody was asked: this Envoy's own limits stopped the call.
    Stopped,
    /// Any other answer without a verdict.
    Odd,
}

/// What was said of a credential, when it was heard, and when the question was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) asked_at: u64,
    pub(crate) at: u64,
    pub(crate) word: Word,
}

/// All that was said of one credential.
#[derive(Debug, Default)]
pub(crate) struct History(pub(crate) Vec<Said>);

impl History {
    /// The last verdict until then.
    pub(crate) fn last_verdict(&self, until: u64) -> Option<Said> {
        let verdict =
            |said: &&Said| said.at <= until && matches!(said.word, Word::Yes(..) | Word::No { .. });
        self.0.iter().rev().find(verdict).copied()
    }

    pub(crate) fn between(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, Word)> {
        let within = move |said: &&Said| from <= said.at && said.at <= to;
        self.0
            .iter()
            .filter(within)
            .map(|said| (said.at, said.word))
    }
}

/// Whether the breaker may be open, by what counts (docs/behaviour.md, "Circuit breaker").
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failed_checks: u32,
    /// Of tokens whose users are not known, the tokens.
    failed_users: BTreeSet<String>,
    pub(crate) may_be_open: bool,
    /// All may ask again since a check was answered: less opens it anew.
    is_half_closed: bool,
    /// The last failure that counted.
    failed_at: u64,
}

impl Breaker {
    /// A check has ended without an outage: if it was that of an open one, all may ask.
    fn half_close(&mut self, asked_at: u64) {
        if self.may_be_open && asked_at > self.failed_at {
            self.may_be_open = false;
            self.is_half_closed = true;
            self.failed_users.clear();
        }
    }
}

/// What one engine was answered.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    histories: HashMap<String, History>,
    pub(crate) breaker: Breaker,
    /// The good sessions of each user that it knows of, the last of them at the end.
    pub(crate) sessions: BTreeMap<usize, Vec<String>>,
    /// When it had calls made for each credential.
    pub(crate) asked: HashMap<String, Vec<u64>>,
    /// When requests came for whose sake each credential may have been looked up.
    pub(crate) presented: HashMap<String, Vec<u64>>,
    /// Tokens of banned users that were let in though there was time enough to ask: how often, and when last.
    pub(crate) let_in: HashMap<String, (u32, u64)>,
    /// Tokens that were refused though Authgear had said yes to them again, and there was time enough to ask.
    pub(crate) shut_out: HashMap<String, (u32, u64)>,
    /// How many tokens it knows to be revoked.
    pub(crate) revoked: usize,
    /// The kinds of tokens of which it ever got a yes to one that it asked about.
    pub(crate) confirmed_kinds: BTreeSet<String>,
    /// The tokens that were presented where they count, as what is signed, and when last.
    pub(crate) meant: BTreeMap<String, u64>,
}

/// Whose credential it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Whose {
    /// If the engine may know that.
    pub(crate) user: Option<usize>,
    /// Whether another worker got a yes to it.
    pub(crate) was_good: bool,
}

/// Of a check, there is no credential.
pub(crate) const CHECK: &str = "";

impl Knowledge {
    pub(crate) fn history(&self, credential: &str) -> Option<&History> {
        self.histories.get(credential)
    }

    pub(crate) fn record(&mut self, credential: &str, said: Said, whose: Whose) {
        let is_token = is_token(credential);
        let credential = subject(credential).to_owned();
        let history = self.histories.entry(credential.clone()).or_default();
        history.0.push(said);
        let Said { word, .. } = said;
        let mut all = history.0.iter();
        let was_good = all.any(|said| matches!(said.word, Word::Yes(..))) || whose.was_good;
        if matches!(word, Word::Outage | Word::Stopped) {
            // The next question comes only after the same time again.
            self.let_in.remove(credential.trim_start_matches("Bearer "));
            self.shut_out
                .remove(credential.trim_start_matches("Bearer "));
        }
        let breaker = &mut self.breaker;
        match word {
            Word::Yes(identity, _) => {
                if is_token {
                    self.confirmed_kinds.insert(kind_of(&credential));
                } else {
                    *breaker = Breaker::default();
                    self.remove(&credential);
                    let sessions = self.sessions.entry(identity.user).or_default();
                    sessions.push(credential);
                    if sessions.len() > SESSIONS_PER_USER {
                        sessions.remove(0);
                    }
                }
            }
            Word::No { .. } => {
                if credential == CHECK {
                    breaker.failed_checks = 0;
                    breaker.half_close(said.asked_at);
                }
                self.remove(&credential);
                if is_token {
                    self.shut_out
                        .remove(credential.trim_start_matches("Bearer "));
                    self.revoked += 1;
                }
            }
            Word::Odd | Word::Stopped => {
                if credential == CHECK {
                    breaker.half_close(said.asked_at);
                }
            }
            Word::Outage if credential == CHECK => {
                breaker.failed_at = said.at;
                breaker.failed_checks += 1;
            }
            Word::Outage => {
                if was_good || is_token {
                    breaker.failed_at = said.at;
                    let named = whose.user.map(|user| user.to_string());
                    breaker.failed_users.insert(named.unwrap_or(credential));
                }
            }
        }
        let breaker = &mut self.breaker;
        let (checks, users) = if breaker.is_half_closed {
            (1, 1)
        } else {
            (2, 5)
        };
        breaker.may_be_open |=
            breaker.failed_checks >= checks || breaker.failed_users.len() >= users;
    }

    fn remove(&mut self, credential: &str) {
        for sessions in self.sessions.values_mut() {
            sessions.retain(|other| other != credential);
        }
    }

    /// Whether a session is certainly cached, in a cache of so many.
    pub(crate) fn must_remember(&self, credential: &str, capacity: usize) -> bool {
        let room = self.sessions.len() * SESSIONS_PER_USER <= capacity;
        room && self
            .sessions
            .values()
            .flatten()
            .any(|other| other == credential)
    }
}

/// Of one user, so many sessions are cached.
const SESSIONS_PER_USER: usize = 8;

/// What is signed of a token, as the resolver is asked about it.
pub(crate) fn message(bearer: &str) -> &str {
    bearer
        .rsplit_once('.')
        .map_or(bearer, |(message, _)| message)
}

/// The documents of keys that workers that share have got.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    seen: Vec<Document>,
    /// The last fetch that failed.
    failed_at: Option<u64>,
    /// The last fetch that was made ahead of time, for the sake of a key.
    ahead_at: Option<u64>,
    /// The last fetch that was begun.
    begun_at: Option<u64>,
}

#[derive(Debug)]
struct Document {
    at: u64,
    keys: Vec<usize>,
    /// How old it may grow, by whoever fetched it.
    refresh: u64,
    /// Whether it is sure that it was taken: it came in time, and nobody else was fetching.
    sure: bool,
}

impl Documents {
    pub(crate) fn record(&mut self, keys: Vec<usize>, refresh: u64, sure: bool, at: u64) {
        self.seen.push(Document {
            at,
            keys,
            refresh,
            sure,
        });
    }

    pub(crate) fn failed(&mut self, at: u64) {
        self.failed_at = Some(at);
    }

    /// The documents that an engine may judge by between two moments, if it has looked last at what others fetched at
    /// `looked`.
    fn possible(&self, looked: u64, to: u64) -> impl Iterator<Item = &Document> {
        let seen = self
            .seen
            .iter()
            .rev()
            .skip_while(move |document| document.at > to);
        let mut done = false;
        seen.take_while(move |document| {
            let before = done;
            done |= document.sure && document.at <= looked;
            !before
        })
    }

    /// Whether a key may be known, and still be believed, at `at`: documents serve for so long.
    pub(crate) fn may_know(&self, key: usize, looked: u64, at: u64, to: u64, serves: u64) -> bool {
        let fresh = self.may_be_current(looked, at, to, serves);
        fresh
            && self
                .possible(looked, to)
                .any(|document| document.keys.contains(&key))
    }

    /// Whether a key may be unknown.
    pub(crate) fn may_not_know(&self, key: usize, looked: u64, to: u64) -> bool {
        let mut possible = self.possible(looked, to).peekable();
        let sure = self
            .seen
            .iter()
            .any(|document| document.sure && document.at <= looked);
        !sure || possible.peek().is_none() || possible.any(|document| !document.keys.contains(&key))
    }

    fn may_be_current(&self, looked: u64, at: u64, to: u64, serves: u64) -> bool {
        let mut possible = self.possible(looked, to);
        possible.any(|document| at.saturating_sub(document.at) <= serves)
    }

    /// Whether there may be no keys that are believed.
    pub(crate) fn may_be_none(&self, looked: u64, to: u64, serves: u64) -> bool {
        let last = self
            .seen
            .iter()
            .rev()
            .find(|document| document.sure && document.at <= looked);
        last.is_none_or(|document| to - document.at > serves)
    }

    /// Whether the last fetch may have failed.
    pub(crate) fn may_have_failed(&self, looked: u64, to: u64) -> bool {
        let last = self
            .seen
            .iter()
            .rev()
            .find(|document| document.sure && document.at <= looked);
        let failed = self.failed_at.filter(|at| *at <= to);
        failed.is_some_and(|failed| last.is_none_or(|document| document.at <= failed))
    }

    /// Whether a fetch may begin: it is due, or in the place of one that has brought nothing, or the last that was neither is
    /// long enough ago.
    pub(crate) fn may_fetch(&mut self, now: u64, refresh: u64, cooldown: u64) -> bool {
        let unanswered = self.begun_at > self.last().max(self.failed_at);
        self.begun_at = Some(now);
        let last = self.seen.last().filter(|_| !unanswered);
        let good = last.filter(|last| last.sure && self.failed_at.is_none_or(|at| at < last.at));
        if good.is_none_or(|last| now >= last.at + refresh.min(last.refresh) * 4 / 5) {
            return true;
        }
        let before = self.ahead_at.replace(now);
        before.is_none_or(|before| now >= before + cooldown)
    }

    /// Whether no fetch has ended since.
    pub(crate) fn is_quiet_since(&self, started: u64) -> bool {
        self.last()
            .max(self.failed_at)
            .is_none_or(|at| at < started)
    }

    /// When the last document came.
    pub(crate) fn last(&self) -> Option<u64> {
        self.seen.last().map(|document| document.at)
    }
}
