//! What holds at every step, whatever becomes of single requests: bounds, calls that somebody makes, an end for everybody.

use gate::engine::Caller;

use crate::clients::Presented;
use crate::host::{Question, State};
use crate::ledger::is_token;
use crate::scenario::Weather;
use crate::world::World;

/// How many actions a worker may be given between two ticks.
const MAX_SETTLED_PER_TICK: usize = 32;
/// From the end of a call until it is made again at the latest: the pause before a retry.
const LONGEST_PAUSE: u64 = 200;
/// Between two ticks of a worker that does not stall.
const LONGEST_TICK: u64 = 100 + 20;

impl World {
    pub(crate) fn check_budget(&mut self, worker: usize) {
        let settled = self.workers[worker].settled;
        if settled > MAX_SETTLED_PER_TICK {
            self.violate(|| format!("{settled} actions between two ticks"));
        }
    }

    /// Before a call is made: nobody else is making it.
    pub(crate) fn check_call(
        &mut self,
        worker: usize,
        running: u32,
        question: &Question,
        caller: Caller,
    ) {
        let this = &self.workers[worker];
        let engine = &this.engines[&running];
        let limit = engine.settings.waiting_requests + 256 + MAX_SETTLED_PER_TICK;
        let project = question.project();
        let open = engine.calls_of(project);
        if open > limit + 64 {
            self.violate(|| format!("{open} calls are under way"));
            return;
        }
        let lives = |token: &u32| {
            let call = self.calls.get(token)?;
            let heard = match call.caller {
                Caller::Root => true,
                Caller::Request(id) => this.streams.contains_key(&id),
            };
            // One whose end is late counts as lost.
            let open = engine.open_calls.get(token);
            let is_open = open.is_some_and(|open| self.host.ticks() < open.until);
            (heard && is_open).then_some(*token)
        };
        let twice = match question {
            Question::Of(credential) => engine.asked.get(credential).and_then(lives),
            Question::Keys | Question::Discovery if caller != Caller::Root => Some(0),
            _ => None,
        };
        let first = if engine.settings.discover {
            Question::Discovery
        } else {
            Question::Keys
        };
        let (refresh, cooldown) = (engine.settings.refresh, engine.settings.cooldown);
        let documents = engine.documents;
        if *question == first
            && !self.documents[documents].may_fetch(self.host.ticks(), refresh, cooldown)
        {
            self.violate(|| "keys are fetched more often than may be".to_owned());
        }
        if let Some(other) = twice {
            self.violate(|| format!("asked twice at once: {question}, by call {other} already"));
        }
    }

    /// Before the resolver is asked: some request has presented this where it counts.
    pub(crate) fn check_asked_for(&mut self, running: u32, worker: usize, question: &Question) {
        let Question::Of(credential) = question else {
            return;
        };
        let this = &self.workers[worker];
        let running = &this.engines[&running];
        let knowledge = running.knowledge_of(credential);
        // The request may have waited for keys, and the call for its turn, for another worker and for a retry.
        let settings = &running.settings;
        let longest = 2 * settings.session_patience() + settings.key_patience() + settings.timeout;
        let recent = self.host.ticks().saturating_sub(longest + 1_000);
        let recent = recent.saturating_sub(this.stalled_since(recent));
        let parts = credential.split("; ");
        let texts = parts.filter_map(|part| part.split_once(['=', ' ']));
        let mut tokens = texts.filter(|(_, text)| text.contains('.'));
        let meant = tokens.all(|(_, text)| {
            let signed = text.rsplit_once('.').map(|(message, _)| message);
            let last = signed.and_then(|message| knowledge.meant.get(message));
            last.is_some_and(|last| !is_token(credential) || *last >= recent)
        });
        if !(meant && (is_token(credential) || knowledge.presented.contains_key(credential))) {
            self.violate(|| format!("{question} is asked, and nobody has presented it there"));
        }
    }

    pub(crate) fn check_levels(&mut self, worker: usize, running: u32) {
        let now = self.now();
        let engine = self.workers[worker].engines.get_mut(&running).unwrap();
        let levels = engine.engine.levels(now);
        let settings = &engine.settings;
        let waiting = settings.waiting_requests;
        let projects = settings.projects();
        let within = levels.cached_tokens <= projects * settings.cached_tokens
            && levels.cached_sessions <= projects * settings.cached_sessions
            && levels.waiting_requests <= projects * 2 * waiting
            && levels.resolver_calls <= projects * (2 * waiting + 256 + 65);
        if !within {
            let settings = settings.clone();
            self.violate(|| format!("beyond its bounds: {levels:?} under {settings:?}"));
            return;
        }
        let streams = self.workers[worker].streams.values();
        let theirs =
            streams.filter(|stream| stream.engine == running && stream.state == State::Waiting);
        let (mut wait, mut sessions) = (0, [0, 0]);
        for stream in theirs {
            wait += 1;
            sessions[stream.judged_by()] +=
                usize::from(!matches!(stream.presented, Presented::Token(_)));
        }
        if wait != levels.waiting_requests {
            self.violate(|| {
                format!(
                    "{wait} requests wait, and the engine says {}",
                    levels.waiting_requests
                )
            });
        } else if sessions.into_iter().any(|sessions| sessions > waiting) {
            self.violate(|| {
                format!("{sessions:?} requests wait for the resolver, and {waiting} may")
            });
        }
    }

    /// Everybody who waits waits for something that comes, and not for longer than may be.
    pub(crate) fn check_waiting(&mut self, worker: usize) {
        let now = self.host.ticks();
        let due = self.now();
        let mut problem = None;
        let mut waiting = 0;
        let stalled = |from| self.workers[worker].stalled_since(from);
        let mut attended = Vec::new();
        for (id, stream) in &self.workers[worker].streams {
            if stream.state != State::Waiting {
                continue;
            }
            waiting += 1;
            let running = &self.workers[worker].engines[&stream.engine];
            let settings = &running.settings;
            let token = matches!(stream.presented, Presented::Token(_));
            let keys = if token {
                2 * settings.key_patience()
            } else {
                0
            };
            // For another worker it waits for the time of a call longer.
            let other = if running.shares { settings.timeout } else { 0 };
            let backlog = 40 * (waiting / MAX_SETTLED_PER_TICK as u64 + 1);
            let slack = 4 * LONGEST_TICK + backlog + 2 * stalled(stream.arrived);
            if now - stream.arrived > keys + settings.session_patience() + other + slack {
                problem = Some(format!("#{id} has waited since {}", stream.arrived));
            }
            if !running.engine.waits(*id) || !running.engine.is_paused(*id) {
                problem = Some(format!("#{id} waits, and the engine does not know"));
            }
            // Others may fetch keys; where they do not, the deadline decides.
            let by_keys = token && (running.shares || self.is_fetching(worker, stream.engine));
            let asked = stream.presented.questions().any(|question| {
                let call = running
                    .asked
                    .get(question)
                    .filter(|call| running.open_calls.contains_key(call));
                call.and_then(|call| self.calls.get(call))
                    .is_some_and(|call| match call.caller {
                        Caller::Root => true,
                        Caller::Request(id) => self.workers[worker].streams.contains_key(&id),
                    })
                    || self.is_asked_by_another(worker, stream.engine, question)
            });
            if by_keys || asked || running.engine.is_due(due) {
                attended.push(*id);
            } else if let Some(since) = stream.unattended_since {
                // Calls that came and went between two looks count as well.
                let asked = stream.presented.questions();
                let asked = asked.filter_map(|question| {
                    running.knowledge_of(question).asked.get(question)?.last()
                });
                let since = asked.copied().fold(since, u64::max);
                let since = self.last_of_others(stream.engine, &stream.presented, since);
                let longest = LONGEST_PAUSE + 2 * LONGEST_TICK + stalled(since);
                if now - since > longest {
                    problem = Some(format!(
                        "#{id} has waited since {since} for a call that nobody makes"
                    ));
                }
            }
        }
        for (id, stream) in &mut self.workers[worker].streams {
            if attended.binary_search(id).is_ok() {
                stream.unattended_since = None;
            } else if stream.state == State::Waiting {
                stream.unattended_since.get_or_insert(now);
            }
        }
        if let Some(problem) = problem {
            self.violate(|| problem);
        }
    }

    /// Who is the first to wait has the call made at once, unless many calls are under way.
    pub(crate) fn check_lead(&mut self, worker: usize, id: u32) {
        let (now, this) = (self.host.ticks(), &self.workers[worker]);
        let stream = &this.streams[&id];
        let (Presented::Opaque(question) | Presented::Cookies(question)) = &stream.presented else {
            return;
        };
        let running = &this.engines[&stream.engine];
        let others = this.streams.iter().any(|(other, stream)| {
            *other != id && stream.presented.questions().any(|asked| asked == question)
        });
        let patience = running.settings.session_patience() + 4 * LONGEST_TICK;
        let times = running.knowledge_of(question).asked.get(question);
        let asked = times
            .and_then(|times| times.last())
            .is_some_and(|at| now < at + patience);
        let other = this.engines[&stream.engine].shares
            && (self.is_asked_by_another(worker, stream.engine, question)
                || self
                    .host
                    .process
                    .was_harmed(now.saturating_sub(patience + 1_000), now));
        // Who came a moment ago may have had it scheduled: the next tick makes the call.
        let scheduled = running
            .knowledge_of(question)
            .presented
            .get(question)
            .is_some_and(|times| {
                let mut times = times.iter();
                times.any(|at| *at < now && now <= *at + 2 * LONGEST_TICK)
            });
        let asked =
            asked || scheduled || other || self.calls_beside(worker, stream.engine, question) >= 4;
        let stalls = self.scenario.stalls;
        let crowded =
            2 * running.calls_of(stream.judged_by()) + 2 >= running.settings.waiting_requests + 256;
        if !(others || asked || stalls || crowded) {
            self.violate(|| format!("#{id} is the first to wait, and no call is made for it"));
        }
    }

    /// The engine did not know yet what Authgear says of a token, with time enough to ask: that may be, but not again and
    /// again. `let_in`: Authgear has disowned it; else it is good again.
    pub(crate) fn late(
        &mut self,
        worker: usize,
        running: u32,
        id: u32,
        token: String,
        let_in: bool,
    ) {
        let now = self.host.ticks();
        let this = self.workers[worker].engines.get_mut(&running).unwrap();
        let pause = this.settings.session_patience() + 1_000;
        let late = if let_in {
            &mut this.knowledge[0].let_in
        } else {
            &mut this.knowledge[0].shut_out
        };
        let (times, at) = late.entry(token).or_insert((0, 0));
        if *times == 0 || now > *at + pause {
            (*times, *at) = (*times + 1, now);
        }
        if *times > 2 {
            self.violate(|| {
                if let_in {
                    format!("#{id} is let in again by a token that Authgear has disowned")
                } else {
                    format!("#{id} is refused again with a token that Authgear confirms")
                }
            });
        }
    }

    /// When something changed last that another worker may have been waited for.
    fn last_of_others(&self, running: u32, presented: &Presented, since: u64) -> u64 {
        let questions = presented.questions();
        let asked = questions.flat_map(|question| self.ledger.asked(question));
        let others = asked.filter(|asked| asked.engine != running);
        others
            .map(|asked| asked.heard.map_or(asked.at, |(at, _)| at))
            .fold(since, u64::max)
    }

    /// How many calls an engine waits for that are for a session of this question's.
    pub(crate) fn calls_beside(&self, worker: usize, running: u32, question: &str) -> usize {
        let sessions = || {
            let parts = question.split("; ");
            parts.filter_map(|part| part.split_once('='))
        };
        let open = self.workers[worker].engines[&running].open_calls.values();
        open.filter(|call| match &call.question {
            Question::Of(other) => sessions().any(|(_, session)| other.contains(session)),
            _ => false,
        })
        .count()
    }

    pub(crate) fn is_fetching(&self, worker: usize, running: u32) -> bool {
        let open = self.workers[worker].engines[&running].open_calls.keys();
        let mut calls = open.filter_map(|token| self.calls.get(token));
        calls.any(|call| matches!(call.question, Question::Keys | Question::Discovery))
    }

    /// Cookies of the resolver's go to the client whose own request made the call.
    pub(crate) fn check_cookies(&mut self, worker: usize, id: u32, cookies: Vec<String>) {
        let stream = &self.workers[worker].streams[&id];
        let tag = |cookie: &String| {
            cookie
                .rsplit_once("tag=")
                .and_then(|(_, tag)| tag.parse().ok())
        };
        let relay = self.workers[worker].engines[&stream.engine].settings.relay;
        let theirs = |cookie: &String| relay && tag(cookie).is_some() && tag(cookie) == stream.call;
        if !cookies.iter().all(theirs) {
            self.violate(|| format!("#{id} gets cookies of another's: {cookies:?}"));
        }
    }

    /// After the last client and with fair weather: nobody waits, and nothing is left to do.
    pub(crate) fn check_peace(&mut self) {
        let now = self.now();
        for worker in 0..self.workers.len() {
            let waiting = self.workers[worker].streams.len();
            if waiting > 0 {
                self.violate(|| format!("{waiting} requests have not ended on worker {worker}"));
            }
            for running in self.workers[worker].engines.values_mut() {
                let levels = running.engine.levels(now);
                let quiet = levels.waiting_requests == 0 && levels.resolver_calls == 0;
                if !quiet && !running.engine.is_due(now) {
                    return self.violate(|| format!("no peace on worker {worker}: {levels:?}"));
                }
            }
        }
        let asks = self
            .calls
            .values()
            .filter(|call| matches!(call.question, Question::Of(_)))
            .count();
        if asks > 0 && self.scenario.weather != Weather::Stormy {
            self.violate(|| {
                format!("{asks} calls to the resolver are under way with nobody there")
            });
        }
    }
}
