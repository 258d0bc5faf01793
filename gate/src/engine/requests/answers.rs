//! The calls that the root makes, and the answers to all calls.

use super::super::calls::{OutgoingCall, Purpose};
use super::super::{Counter, KeyEvent};
use super::{Engine, Env};
use crate::callout::{Answer, DispatchError};
use crate::session::{
    ClientFacts, DueCall, Ended, Heard, Question, ResolverError, Scheduled, SessionCredential,
    SharedAnswer, Turn, Verdict,
};

impl Engine {
    /// A call could not be made.
    pub(super) fn not_sent(&mut self, purpose: Purpose, error: DispatchError, env: &Env<'_>) {
        let heard = Heard {
            answer: None,
            asked_at: env.now.ticks,
        };
        self.answered(purpose, heard, Err(error), env);
    }

    /// A call has ended. `sent`: why it was not made, or whether it has ended before its time was over.
    pub(super) fn answered(
        &mut self,
        purpose: Purpose,
        heard: Heard<'_>,
        sent: Result<bool, DispatchError>,
        env: &Env<'_>,
    ) {
        let entropy = (env.entropy)();
        match purpose {
            Purpose::Keys { project, fetch } => {
                let gate = &mut self.gate;
                let answer = heard.answer.ok_or(sent.err());
                match gate.fetched(project, fetch, answer, env.shared, env.now, entropy) {
                    KeyEvent::Follow(fetch) => self.fetches.push_back((project, fetch)),
                    KeyEvent::Settled => self.waiting.settle_keys(project, true),
                    KeyEvent::Late => {}
                }
            }
            Purpose::Session {
                project,
                credential,
                question,
            } => {
                let of_token = matches!(credential, SessionCredential::Jwt(_));
                if of_token && !self.in_flight.contains(project, &credential) {
                    // It was given up before, and that was its outcome.
                    return;
                }
                let ended = Ended {
                    user: self.gate.known_user(project, &credential),
                    early: sent.unwrap_or(false),
                    now: env.now.ticks,
                    entropy,
                };
                let said = match sent {
                    Ok(_) => self.gate.read_verdict(project, &credential, heard.answer),
                    Err(error) => Err(error.into()),
                };
                let failed = said.as_ref().err().copied();
                if self.in_flight.retry(project, &credential, failed, ended) {
                    self.counters.add(Counter::ResolverFailure);
                    return;
                }
                let asked = (&credential, question.as_ref());
                let gate = &mut self.gate;
                let verdict = gate.resolved(project, asked, said, heard, env, entropy);
                let waited = self.in_flight.complete(project, &credential);
                self.waiting.settle_sessions(waited, verdict);
            }
        }
    }

    /// Schedules the background calls: the root makes them.
    pub(super) fn schedule_background_calls(&mut self, env: &Env<'_>) {
        for (project, credential) in self.gate.take_background_calls() {
            let scheduled = self.in_flight.schedule(project, credential.clone());
            if scheduled == Scheduled::Full {
                self.counters.add(Counter::BackgroundCallDropped);
            }
            // The call in flight for a token has its own outcome; this one is given up.
            let of_token = matches!(credential, SessionCredential::Jwt(_));
            if scheduled == Scheduled::Full || (scheduled == Scheduled::Existing && of_token) {
                self.gate.give_up_call(project, &credential, env.now);
            }
        }
    }

    /// The next call that the root is to make: a scheduled one, or one again whose answer is lost since its request has ended.
    pub(super) fn next_call(&mut self, env: &Env<'_>) -> Option<OutgoingCall> {
        let gate = &self.gate;
        let patience = |project| gate.resolver_patience(project);
        let now = env.now.ticks;
        let due = self.in_flight.take_due(now, 1, patience).pop();
        for (project, credential) in self.in_flight.take_lost() {
            self.gate.give_up_call(project, &credential, env.now);
        }
        let DueCall {
            project,
            credential,
            client,
            other,
        } = due?;
        if !self.gate.is_circuit_open(project, env.now) {
            match self.gate.turn(project, &credential, other, env) {
                Turn::Answered(shared) => {
                    let _ = self.settle_by(project, &credential, &shared, env);
                    return None;
                }
                Turn::Wait(since) => {
                    self.wait_for_other(project, &credential, since, other, env);
                    return None;
                }
                Turn::Ask(question) => {
                    let call = self.resolver_call(project, &credential, question, &client);
                    if call.is_some() {
                        return call;
                    }
                }
            }
        }
        // The resolver is not asked now, but another worker may have its answer from before.
        if let Some(other) = other
            && let Some(shared) = self.gate.find(project, &credential, other, env)
        {
            let _ = self.settle_by(project, &credential, &shared, env);
            return None;
        }
        let waited = self.in_flight.complete(project, &credential);
        let awaited = !waited.is_empty();
        let gate = &mut self.gate;
        let verdict = gate.not_asked(project, &credential, awaited, env.now);
        self.waiting.settle_sessions(waited, verdict);
        self.schedule_background_calls(env);
        None
    }

    /// Settles all requests that wait with the answer to another worker's question.
    pub(super) fn settle_by(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        shared: &SharedAnswer,
        env: &Env<'_>,
    ) -> Result<Verdict, ResolverError> {
        let verdict = self.take_shared(project, credential, shared, env);
        let waited = self.in_flight.complete(project, credential);
        self.waiting.settle_sessions(waited, verdict.clone());
        verdict
    }

    pub(super) fn resolver_call(
        &self,
        project: usize,
        credential: &SessionCredential,
        question: Option<Question>,
        client: &ClientFacts,
    ) -> Option<OutgoingCall> {
        let settings = self.gate.project(project)?;
        let policy = settings.session.as_ref()?;
        Some(OutgoingCall {
            call: credential.call(&settings.endpoint, policy, client),
            purpose: Purpose::Session {
                project,
                credential: credential.clone(),
                question,
            },
        })
    }

    /// Keeps the resolver's cookies for the client whose request made the call, if it still waits.
    pub(super) fn keep_cookies(
        &mut self,
        id: u32,
        project: usize,
        credential: &SessionCredential,
        answer: Option<&Answer>,
    ) {
        if self.waiting.contains(id) {
            let cookies = self.gate.cookies_to_relay(project, credential, answer);
            if !cookies.is_empty() {
                self.cookies.insert(id, cookies);
            }
        }
    }
}
