//! Which answers of the resolver's may decide about a request: what its engine was answered, and, where workers share, what any
//! of them was.

use crate::authgear::Identity;
use crate::host::{Question, State, Stream};
use crate::judge::{Case, Judgement, require};
use crate::knowledge::{History, Word};
use crate::ledger::{Ledger, Verdict, is_token, subject};
use crate::world::World;

/// From the moment at which one worker publishes an answer until another that waits for it has seen it at the latest.
const LONGEST_LOOK: u64 = 100 + 2 * 120;

/// For so long a question about a session delays those about it in other words: a lock's time, and the pause before one
/// more try.
const OTHER_WORDS_MATTER: u64 = 500;

impl<'w> Case<'w> {
    fn ledger(&self) -> Option<&'w Ledger> {
        self.running.shares.then_some(&self.world.ledger)
    }

    /// The answers to other workers until the request's end.
    pub(crate) fn told_to_others(&self, question: &str) -> impl Iterator<Item = Verdict> {
        let verdicts = self.ledger().map(|ledger| ledger.verdicts(question));
        let (engine, to) = (self.stream.engine, self.to);
        let others = verdicts.into_iter().flatten();
        others.filter(move |verdict| verdict.engine != engine && verdict.at <= to)
    }

    /// The last answer to the engine itself before the request.
    pub(crate) fn last_own(&self, question: &str) -> Option<Verdict> {
        let said = self.knowledge.history(question)?.last_verdict(self.from)?;
        Some(Verdict {
            engine: self.stream.engine,
            asked_at: said.asked_at,
            at: said.at,
            word: said.word,
        })
    }

    /// Whether an answer of another worker's came while somebody here waited for it.
    fn was_awaited(&self, verdict: &Verdict) -> bool {
        let stalled = self.world.workers[self.worker].stalled_since(verdict.at);
        self.stream.waited && verdict.at + LONGEST_LOOK + stalled >= self.from
    }

    /// The answer to a later question that another worker had by the time an answer was heard, and that says
    /// otherwise. An answer that is taken from others is out of date as soon as there is such a one.
    fn superseded_by(&self, question: &str, verdict: &Verdict) -> Option<Verdict> {
        let ledger = self.ledger()?;
        let process = &self.world.host.process;
        let own = verdict.engine == self.stream.engine;
        // Whoever was asked for a moment before, for a request or in the background, may have waited for it.
        let patience = self.settings.session_patience();
        let looked = |until| {
            let presented = self.knowledge.presented.get(question);
            let mut times = presented.into_iter().flatten();
            times.any(|time| verdict.at <= *time + patience && *time <= until)
        };
        let is_sure = process.has_room() && !self.world.scenario.reloads;
        let mut later = ledger
            .verdicts(question)
            .filter(|later| later.asked_at > verdict.asked_at && later.word != verdict.word);
        later.find(|later| {
            // It may have been taken while it was the last.
            let may_be_taken = later.at >= verdict.at
                && (own || looked(later.at) || later.at + LONGEST_LOOK >= self.from);
            let heard = later.at <= self.to;
            let harmed = process.was_harmed(later.at.min(verdict.at), self.to);
            is_sure && heard && !may_be_taken && !harmed
        })
    }

    /// The last verdict that was heard while the request waited.
    fn heard_meanwhile(&self, question: &str) -> Option<Verdict> {
        let said = self.knowledge.history(question)?.last_verdict(self.to)?;
        (self.stream.waited && said.at >= self.from).then_some(Verdict {
            engine: self.stream.engine,
            asked_at: said.asked_at,
            at: said.at,
            word: said.word,
        })
    }

    /// Whether the resolver's answer, or a cached one, names this user for a credential.
    pub(crate) fn session(&self, question: &str, identity: Identity) -> Judgement {
        self.is_true(question, identity)?;
        let names = |word| matches!(word, Word::Yes(named, _) if named == identity);
        let history = self.knowledge.history(question);
        let none = History::default();
        let history = history.unwrap_or(&none);
        if let Some(heard) = self.heard_meanwhile(question) {
            let counts = self.superseded_by(question, &heard).unwrap_or(heard);
            // Whether another's later one was found is not sure in every world.
            let mut later = self.told_to_others(question);
            if names(counts.word)
                || later.any(|later| later.asked_at > heard.asked_at && names(later.word))
            {
                return Ok(());
            }
        }
        // A crowd is settled a few at a time, and the answer that it has waited for counts, whatever is heard meanwhile.
        let mut heard = history.between(self.from, self.to);
        if self.stream.waited && heard.any(|(_, word)| names(word)) {
            return Ok(());
        }
        let outage = history
            .between(self.from, self.to)
            .filter(|(_, word)| *word == Word::Outage)
            .map(|(failed_at, _)| failed_at)
            .min();
        let mut why = "Authgear has given no verdict on the session before".to_owned();
        let own = self.last_own(question);
        for verdict in own.into_iter().chain(self.told_to_others(question)) {
            let Word::Yes(_, limit) = verdict.word else {
                continue;
            };
            let at = verdict.asked_at;
            if !names(verdict.word) {
                "the session is another user's".clone_into(&mut why);
                continue;
            }
            let is_others = verdict.engine != self.stream.engine;
            let ttl_here = if self.settings.cached_sessions == 0 {
                0
            } else {
                self.settings.ttl
            };
            let fresh_for = ttl_here.min(limit.unwrap_or(u64::MAX));
            let superseded = self.superseded_by(question, &verdict).is_some();
            let good = self.from < at + fresh_for || (is_others && self.was_awaited(&verdict));
            if good && !superseded {
                return Ok(());
            }
            let stale = if limit == Some(0) {
                0
            } else {
                self.settings.stale_if_error
            };
            let until = at + fresh_for + stale;
            if (self.stream.waited && outage.is_some_and(|failed_at| failed_at < until))
                || (self.knowledge.breaker.may_be_open && self.from < until)
            {
                return Ok(());
            }
            why = if superseded {
                format!("a worker got another answer than to what was asked at {at}")
            } else {
                format!(
                    "the session was good by a question of {at}, for {fresh_for} ms, and {stale} ms in an outage"
                )
            };
        }
        Err(why)
    }

    /// Authgear's answer, or a cached one, is that there is no session.
    pub(crate) fn no_session(&self, question: &str) -> Judgement {
        let no = |word| matches!(word, Word::No { .. });
        let history = self.knowledge.history(question);
        let mut heard = history
            .into_iter()
            .flat_map(|history| history.between(self.from, self.to));
        if self.stream.waited && heard.any(|(_, word)| no(word)) {
            return Ok(());
        }
        let later = self
            .heard_meanwhile(question)
            .and_then(|heard| self.superseded_by(question, &heard));
        if later.is_some_and(|later| no(later.word)) {
            return Ok(());
        }
        let own = self.last_own(question);
        let holds = own
            .into_iter()
            .chain(self.told_to_others(question))
            .any(|verdict| {
                let is_others = verdict.engine != self.stream.engine;
                no(verdict.word)
                    && (self.from < verdict.asked_at + self.settings.negative_ttl
                        || (is_others && self.was_awaited(&verdict)))
            });
        require(
            holds,
            &format!("Authgear has not said no of the session: {own:?}"),
        )
    }

    /// Whether the session is asked about in other words, too, which Authgear locks it for each time.
    pub(crate) fn is_asked_about_otherwise(&self) -> bool {
        let since = self.from.saturating_sub(OTHER_WORDS_MATTER);
        let mut questions = self.stream.presented.questions();
        questions.any(|question| {
            let asked = self.world.ledger.asked_since(since);
            let mut others = asked.filter(|other| *other != question);
            others.any(|other| self.is_beside(question, other))
        })
    }

    /// Before a request waits: it must, if no cached verdict answers it.
    pub(crate) fn may_wait(&self, question: &str) -> bool {
        let Some(last) = self.last_own(question) else {
            return true;
        };
        let Word::Yes(identity, limit) = last.word else {
            return true;
        };
        let fresh = self.from < last.asked_at + self.settings.ttl.min(limit.unwrap_or(u64::MAX));
        let shares = self.ledger().is_some_and(|ledger| {
            let otherwise = ledger
                .verdicts(question)
                .any(|other| other.at >= last.at && other.engine != last.engine);
            otherwise || ledger.named(identity.user) > 8
        });
        !(fresh
            && !shares
            && self
                .knowledge
                .must_remember(question, self.settings.cached_sessions))
    }
}

impl World {
    /// Where workers share, before one of them asks: none of the others is asking, and none was answered a moment ago.
    pub(crate) fn check_shared(&mut self, running: u32, worker: usize, question: &Question) {
        let Question::Of(credential) = question else {
            return;
        };
        let now = self.host.ticks();
        let settings = &self.workers[worker].engines[&running].settings;
        let timeout = settings.timeout;
        // Who keeps no answers takes none that it has not waited for.
        let ttl = if settings.cached_sessions > 0 {
            settings.ttl
        } else {
            0
        };
        let asked = self.ledger.last_asked(credential);
        let sure = !self.scenario.reloads && self.host.process.has_room();
        if !sure || !self.workers[worker].engines[&running].shares {
            return;
        }
        // Somebody was late before, or failed: then it may be anybody's turn.
        let since = now.saturating_sub(3 * timeout);
        let recent = || asked.iter().filter(|asked| asked.at >= since);
        let late_after = timeout / 2;
        let is_pending = |at: u64| now < at + late_after;
        let trouble = recent().any(|asked| match asked.heard {
            Some((at, word)) => {
                at >= asked.at + late_after || !matches!(word, Word::Yes(..) | Word::No { .. })
            }
            None => asked.lost || !is_pending(asked.at) || asked.engine == running,
        });
        let failed = self.ledger.asked(credential).iter().any(|asked| {
            let verdict = |word| matches!(word, Word::Yes(..) | Word::No { .. });
            asked.at >= since && asked.heard.is_some_and(|(_, word)| !verdict(word))
        });
        // Who has waited for others for so long asks, whoever asks beside it.
        let is_patient = |stream: &Stream| {
            let mut questions = stream.presented.questions();
            stream.state == State::Waiting
                && stream.engine == running
                && questions.any(|other| subject(other) == subject(credential))
                && stream.arrived + timeout * 3 / 4 <= now
        };
        let waited = self.workers[worker].streams.values().any(is_patient);
        let harmed = self.host.process.was_harmed(since, now);
        if trouble || failed || harmed || waited {
            return;
        }
        let other = recent().find(|asked| asked.heard.is_none() && asked.engine != running);
        if let Some(other) = other.map(|other| other.token) {
            return self
                .violate(|| format!("{question} is asked while call {} asks the same", other));
        }
        if is_token(credential) {
            return;
        }
        let last = self
            .ledger
            .verdicts(credential)
            .max_by_key(|verdict| verdict.asked_at);
        if let Some(Verdict {
            asked_at,
            word: Word::Yes(_, limit),
            ..
        }) = last
        {
            let fresh_for = ttl.min(limit.unwrap_or(u64::MAX));
            let harmed = self.host.process.was_harmed(asked_at, now);
            if now < asked_at + fresh_for / 2 && !harmed {
                self.violate(|| {
                    format!(
                        "{question} is asked again, after an answer to a question of {asked_at}"
                    )
                });
            }
        }
    }

    /// Whether another worker asks, and may still be waited for.
    pub(crate) fn is_asked_by_another(&self, worker: usize, running: u32, question: &str) -> bool {
        let now = self.host.ticks();
        let this = &self.workers[worker].engines[&running];
        let late_after = this.settings.timeout / 2;
        this.shares
            && self.ledger.asked(question).iter().any(|asked| {
                let ended = asked
                    .heard
                    .is_some_and(|(_, word)| matches!(word, Word::Yes(..) | Word::No { .. }));
                asked.engine != running && !ended && now < asked.at + late_after
            })
    }
}
