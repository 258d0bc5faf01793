//! How requests end, and what the backend and the client get.

use gate::engine::{Admission, Caller, Edit, Reason, Reply};

use crate::clients::{Ask, Presented};
use crate::decision::sorted_scopes;
use crate::host::Call;
use crate::host::State;
use crate::judge::{Case, End};
use crate::policies;
use crate::world::{Event, World};

impl World {
    /// The host cannot do what was decided.
    pub(crate) fn fault(&mut self, worker: usize, id: u32, admission: Option<&Admission>) {
        let stream = self.workers[worker].streams.get_mut(&id).unwrap();
        stream.faulted = true;
        let running = stream.engine;
        let reply = self.with_engine(worker, running, |engine, _env| {
            engine.handle_fault(id, admission)
        });
        self.answered(worker, id, &reply);
        if !self.workers[worker].engines[&running].engine.is_paused(id) {
            self.violate(|| format!("what follows #{id} is not held back after a fault"));
        }
    }

    pub(crate) fn answered(&mut self, worker: usize, id: u32, reply: &Reply) {
        let headers = reply.headers();
        let cookies = headers
            .into_iter()
            .filter(|(name, _)| *name == "set-cookie");
        self.check_cookies(worker, id, cookies.map(|(_, value)| value).collect());
        self.check_challenge(worker, id, reply);
        let stream = self.workers[worker].streams.get_mut(&id).unwrap();
        stream.challenge = challenge(reply);
        self.ended(worker, id, End::Refused(reply.reason()));
    }

    /// That a token is not valid is for those alone who presented one by intent.
    fn check_challenge(&mut self, worker: usize, id: u32, reply: &Reply) {
        let ask = &self.workers[worker].streams[&id].ask;
        let deliberate = match &ask.presented {
            Presented::Opaque(_) | Presented::Malformed => true,
            Presented::Token(presentation) => presentation.in_header,
            _ => false,
        };
        let named = challenge(reply).is_some_and(|text| text.contains("error=\"invalid_token\""));
        // A good one may not do, where a rule asks for more.
        let is_good = matches!(reply.reason(), Reason::Unmet(_));
        let expected = deliberate && reply.status() == 401 && !is_good;
        if named != expected || (reply.code() == "invalid_token") != expected {
            self.violate(|| format!("#{id} is answered {reply:?}"));
        }
    }

    /// What the backend gets.
    pub(crate) fn forwarded(
        &mut self,
        ask: &Ask,
        admission: &Admission,
        edits: Vec<Edit<'_>>,
    ) -> End {
        let headers = apply(&ask.headers, edits);
        let shown = identity(&headers);
        let nominates = |(name, value): &(String, Vec<u8>)| {
            let value = String::from_utf8_lossy(value).to_lowercase();
            name == "connection"
                && ["authgear", "cookie", "authorization"]
                    .iter()
                    .any(|taken| value.contains(taken))
        };
        if headers.iter().any(nominates) {
            self.violate(|| "`Connection` takes away what the gateway has set".to_owned());
        }
        let claimed = self.authgear.identify(&shown);
        let end = match (admission, claimed) {
            (Admission::Principal(..), Some(identity)) => End::User(identity),
            (Admission::Principal(principal, _), None) if principal.user().is_some() => {
                self.violate(|| {
                    format!("the backend is given a user who does not exist: {shown:?}")
                });
                End::Anonymous
            }
            (Admission::Principal(..), None) => match policies::client_in(&shown) {
                Some(user) => return End::Machine(user),
                None => {
                    self.violate(|| format!("the backend is given no machine: {shown:?}"));
                    End::Anonymous
                }
            },
            (Admission::Unchecked, _) => End::Unchecked,
            _ => End::Anonymous,
        };
        if !matches!(end, End::User(_)) && !shown.is_empty() {
            self.violate(|| format!("headers of the family reach the backend: {shown:?}"));
        }
        end
    }

    pub(crate) fn ended(&mut self, worker: usize, id: u32, end: End) {
        self.trace.line(self.host.ticks(), Some(worker), || {
            format!("#{id} ends: {end:?}")
        });
        self.count(worker, id, &end);
        let this = &self.workers[worker];
        let stream = &this.streams[&id];
        let running = &this.engines[&stream.engine];
        let judgement = Case::new(self, worker, stream, running).judge(end);
        let case = Case::new(self, worker, stream, running);
        let late = match end {
            End::User(_) => case.let_in_late(),
            End::Refused(Reason::Token(error, ..)) if error.to_string() == "revoked" => {
                case.shut_out_late()
            }
            _ => None,
        };
        let late = late.map(str::to_owned);
        let engine = stream.engine;
        if let Err(error) = judgement {
            self.violate(|| format!("#{id} ended by {end:?}: {error}"));
        }
        if let Some(token) = late {
            self.late(worker, engine, id, token, matches!(end, End::User(_)));
        }
        let stream = self.workers[worker].streams.get_mut(&id).unwrap();
        stream.state = match end {
            End::Refused(_) => State::Answered,
            _ => State::Going,
        };
        if let State::Going = stream.state {
            let at = self.host.ticks() + self.random.below(50);
            self.push(at, Event::Backend { worker, stream: id });
        }
    }

    /// The backend has answered: the request ends.
    pub(crate) fn backend(&mut self, worker: usize, id: u32) {
        let Some(stream) = self.workers[worker].streams.get(&id) else {
            return;
        };
        if stream.waited {
            let running = stream.engine;
            let cookies = self.with_engine(worker, running, |engine, _env| engine.take_cookies(id));
            self.check_cookies(worker, id, cookies);
        }
        self.close(worker, id);
    }

    /// A stream ends. The filter does not report the end of one that was forwarded at once.
    pub(crate) fn close(&mut self, worker: usize, id: u32) {
        let Some(stream) = self.workers[worker].streams.remove(&id) else {
            return;
        };
        let running = stream.engine;
        if stream.waited || stream.state != State::Going || stream.faulted {
            self.with_engine(worker, running, |engine, _env| engine.handle_close(id));
        }
        let of_it = |call: &Call| call.worker == worker && call.caller == Caller::Request(id);
        let calls = self.calls.iter().filter(|(_, call)| of_it(call));
        let lost: Vec<u32> = calls.map(|(token, _)| *token).collect();
        if !lost.is_empty() {
            self.ledger
                .lose(|asked| asked.engine == running && lost.contains(&asked.token));
        }
        let engine = &self.workers[worker].engines[&running].engine;
        if engine.waits(id) || engine.is_paused(id) {
            self.violate(|| format!("#{id} has gone, and the engine does not know"));
        }
    }

    pub(crate) fn close_answered(&mut self, worker: usize) {
        let streams = self.workers[worker].streams.iter();
        let answered = streams.filter(|(_, stream)| stream.state == State::Answered);
        let answered: Vec<u32> = answered.map(|(id, _)| *id).collect();
        for id in answered {
            self.close(worker, id);
        }
    }
}

/// The order of the scopes in it says nothing.
fn challenge(reply: &Reply) -> Option<String> {
    let mut headers = reply.headers().into_iter();
    let challenge = headers.find(|(name, _)| *name == "www-authenticate");
    challenge.map(|(_, value)| sorted_scopes(&value))
}

pub(crate) fn borrowed(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect()
}

/// The headers after the edits, as a host makes them.
pub(crate) fn apply(
    headers: &[(Vec<u8>, Vec<u8>)],
    edits: Vec<Edit<'_>>,
) -> Vec<(String, Vec<u8>)> {
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
    let mut after: Vec<(String, Vec<u8>)> = headers
        .iter()
        .map(|(name, value)| (text(name), value.clone()))
        .collect();
    for edit in edits {
        match edit {
            Edit::Remove(name) => after.retain(|(other, _)| other.as_bytes() != name),
            Edit::Set(name, value) => {
                after.retain(|(other, _)| other.as_bytes() != name);
                after.push((text(name), value.into_owned()));
            }
        }
    }
    after
}

/// The headers that a backend may take for the gateway's, however they are spelt, sorted.
pub(crate) fn identity(headers: &[(String, Vec<u8>)]) -> Vec<(String, String)> {
    let fold = |name: &str| {
        name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
            .to_lowercase()
    };
    let family = headers
        .iter()
        .filter(|(name, _)| fold(name).starts_with("x-authgear"));
    let value = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let mut family: Vec<(String, String)> = family
        .map(|(name, text)| (name.clone(), value(text)))
        .collect();
    family.sort();
    family
}
