//! Runs requests through the engine, and plays the resolver.

use std::collections::{BTreeMap, BTreeSet};

use gate::callout::Answer;
use gate::config::Config;
use gate::engine::Edit;
use gate::engine::{
    Action, Admission, Budget, Caller, Decision, Engine, Env, Gate, OutgoingCall, Reply,
    Request as Seen, edit_headers,
};
use gate::jose::{Algorithm, SignatureVerifier, VerifyingKey};
use gate::jwks::{NoSharedData, Shared};
use gate::time::{Now, Ticks};

use crate::configurations::KEYS;
use crate::decision::{Question, Verdict, sorted_scopes};
use crate::requests::{Failure, Request, SIGNATURES, Says, User};

/// A signature is good if it is the one that is its key's.
struct Stub;

impl SignatureVerifier for Stub {
    fn verify(&self, _: Algorithm, key: &VerifyingKey, _: &[u8], signature: &[u8]) -> bool {
        let mut keys = KEYS.iter().zip(SIGNATURES);
        keys.any(|(other, good)| other.spki_der() == key.spki() && signature == good)
    }
}

/// An engine, and its host.
pub(crate) struct Driver {
    config: String,
    engine: Engine,
    budget: Budget,
    ticks: u64,
    request: u32,
    call: u32,
    asked: BTreeSet<Question>,
}

/// A request that has come.
struct InFlight<'l> {
    id: u32,
    lines: &'l [(&'l [u8], &'l [u8])],
    verdict: Option<Verdict>,
}

impl Driver {
    /// `None`: the configuration is refused, and why.
    pub(crate) fn new(config: &str) -> Result<Self, String> {
        let budget = Budget::default();
        Ok(Self {
            engine: engine(config, budget.clone())?,
            config: config.to_owned(),
            budget,
            ticks: 5_000,
            request: 0,
            call: 0,
            asked: BTreeSet::new(),
        })
    }

    /// What becomes of requests that come at once, and what the resolver was asked.
    pub(crate) fn run(&mut self, requests: &[Request]) -> (Vec<Verdict>, BTreeSet<Question>) {
        self.ticks += 1_000;
        self.asked.clear();
        let first = &requests[0];
        let lines: Vec<_> = requests.iter().map(headers).collect();
        let lines: Vec<Vec<(&[u8], &[u8])>> = lines.iter().map(|lines| borrowed(lines)).collect();
        let mut all = Vec::new();
        let mut calls = Vec::new();
        for lines in &lines {
            self.request += 1;
            let id = self.request;
            let seen = Seen::new(lines);
            let decision = self.with(first.now, |engine, env| {
                engine.handle_request(id, &seen, &|| None, env)
            });
            let verdict = match decision {
                Decision::Forward(admission) => Some(forwarded(lines, &admission)),
                Decision::Respond(reply) => Some(answered(&reply)),
                Decision::Wait(call) => {
                    calls.extend(call.map(|call| (call, Caller::Request(id))));
                    None
                }
            };
            all.push(InFlight { id, lines, verdict });
        }
        for (call, caller) in calls {
            self.answer(first, call, caller);
            self.perform(first, caller, &mut all);
        }
        for _ in 0..200 {
            if all.iter().all(|request| request.verdict.is_some()) {
                break;
            }
            self.perform(first, Caller::Root, &mut all);
            self.ticks += 50;
            self.with(first.now, |engine, env| engine.handle_timeout(true, env));
        }
        let mut verdicts = Vec::new();
        for request in all {
            self.with(first.now, |engine, _| engine.handle_close(request.id));
            verdicts.push(request.verdict.expect("a request does not wait for ever"));
        }
        if matches!(first.resolver, Says::NoVerdict(_)) && !self.asked.is_empty() {
            // Failures have consequences for later requests, which are not the matter here.
            self.engine = engine(&self.config, self.budget.clone()).unwrap();
        }
        (verdicts, std::mem::take(&mut self.asked))
    }

    fn with<T>(&mut self, unix: u64, act: impl FnOnce(&mut Engine, &Env<'_>) -> T) -> T {
        self.budget.renew();
        let env = Env {
            now: Now {
                unix,
                ticks: Ticks::from_millis(self.ticks),
            },
            entropy: &|| 4,
            verifier: &Stub,
            shared: Shared {
                data: &NoSharedData,
                worker: 1,
            },
        };
        act(&mut self.engine, &env)
    }

    /// Performs what the engine wants done.
    fn perform(&mut self, request: &Request, caller: Caller, all: &mut [InFlight<'_>]) {
        while let Some(action) =
            self.with(request.now, |engine, env| engine.poll_action(caller, env))
        {
            let id = match &action {
                Action::Resume(id, _) | Action::Respond(id, _) => *id,
                Action::Call(_) => 0,
            };
            let ended = all.iter_mut().find(|request| request.id == id);
            let verdict = match (action, &ended) {
                (Action::Call(call), _) => {
                    self.answer(request, call, Caller::Root);
                    continue;
                }
                (Action::Resume(_, admission), Some(ended)) => forwarded(ended.lines, &admission),
                (Action::Respond(_, reply), _) => answered(&reply),
                (other, None) => panic!("an action for another request: {other:?}"),
            };
            let ended = ended.expect("it waits");
            assert_eq!(ended.verdict, None, "it ends once");
            ended.verdict = Some(verdict);
        }
    }

    fn answer(&mut self, request: &Request, outgoing: OutgoingCall, caller: Caller) {
        let mut presents = false;
        let pseudo = outgoing.call.headers.iter();
        let whose = pseudo.filter(|(name, _)| *name == ":authority");
        let whose: String = whose.map(|(_, value)| format!("https://{value}")).collect();
        for (name, value) in &outgoing.call.headers {
            if matches!(*name, "authorization" | "cookie") {
                let values = value.split("; ").map(str::to_owned).collect();
                self.asked.insert((format!("{whose} by {name}"), values));
                presents = true;
            }
        }
        // A call without a credential is the engine's own check, which is answered.
        let answer = if presents {
            said(&request.resolver)
        } else {
            said(&Says::Nothing)
        };
        self.call += 1;
        let call = self.call;
        self.with(request.now, |engine, env| {
            engine.handle_dispatched(outgoing, Ok(call), env);
            engine.handle_response(call, answer.as_ref(), caller, env);
        });
    }
}

fn engine(config: &str, budget: Budget) -> Result<Engine, String> {
    let config = Config::parse(config.as_bytes()).map_err(|errors| errors.to_string())?;
    Ok(Engine::new(Gate::new(config), budget))
}

fn headers(request: &Request) -> Vec<(&'static str, Vec<u8>)> {
    let mut lines = vec![
        (":method", request.method.clone().into_bytes()),
        (":authority", request.authority.clone().into_bytes()),
        (":path", request.path.0.clone()),
    ];
    for (name, value) in &request.headers {
        lines.push((name, value.0.clone()));
    }
    for value in &request.authorization {
        lines.push(("authorization", value.clone().into_bytes()));
    }
    let cookies: Vec<String> = request
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !cookies.is_empty() {
        lines.push(("cookie", cookies.join("; ").into_bytes()));
    }
    if request.pretends {
        lines.push(("x-authgear-user-id", b"mallory".to_vec()));
        lines.push(("x-authgear-role-admin", b"true".to_vec()));
        lines.push(("x-authgear-client-id", b"mallory".to_vec()));
    }
    lines
}

fn borrowed<'l>(lines: &'l [(&'static str, Vec<u8>)]) -> Vec<(&'l [u8], &'l [u8])> {
    let lines = lines.iter();
    lines
        .map(|(name, value)| (name.as_bytes(), &value[..]))
        .collect()
}

/// With the headers of the family that the backend gets.
fn forwarded(lines: &[(&[u8], &[u8])], admission: &Admission) -> Verdict {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines {
        if name.starts_with(b"x-authgear") {
            headers.insert(text(name), text(value));
        }
    }
    for edit in edit_headers(lines, admission) {
        match edit {
            Edit::Remove(name) => headers.remove(&text(name)),
            Edit::Set(name, value) => headers.insert(text(name), text(&value)),
        };
    }
    let as_whom = match admission {
        Admission::Unchecked => "unchecked",
        Admission::Anonymous => "anonymous",
        Admission::Principal(..) if headers.contains_key("x-authgear-client-id") => "machine",
        Admission::Principal(..) => "user",
    };
    Verdict::Forwarded(as_whom, headers)
}

fn answered(reply: &Reply) -> Verdict {
    let headers = reply.headers();
    let mut challenges = headers
        .iter()
        .filter(|(name, _)| *name == "www-authenticate");
    let challenge = challenges.next().map(|(_, value)| sorted_scopes(value));
    assert!(challenges.next().is_none(), "two challenges");
    Verdict::Answered(reply.status(), reply.code().to_owned(), challenge)
}

/// The answer in which the resolver says this.
fn said(says: &Says) -> Option<Answer> {
    let mut headers = Vec::new();
    let mut status = 200;
    let mut body = Vec::new();
    let valid = |text: &str| ("x-authgear-session-valid", text.to_owned());
    match says {
        Says::Yes(user) => headers.extend(yes(user)),
        Says::No => headers.push(valid("false")),
        Says::Nothing => {}
        Says::NoVerdict(Failure::NoAnswer) => return None,
        Says::NoVerdict(Failure::Status(other)) => status = *other,
        Says::NoVerdict(Failure::YesWithoutUser) => headers.push(valid("true")),
        Says::NoVerdict(Failure::YesTwice) => headers.extend([
            valid("true"),
            valid("true"),
            ("x-authgear-user-id", "u".to_owned()),
        ]),
        Says::NoVerdict(Failure::Body) => body = b"<html>".to_vec(),
    }
    headers.push((":status", status.to_string()));
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()));
    Some(Answer {
        headers: headers.collect(),
        body: Some(body),
    })
}

/// The headers of the resolver (contract §3.2).
fn yes(user: &User) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("x-authgear-session-valid", "true".to_owned()),
        ("x-authgear-user-id", user.id.clone()),
        ("x-authgear-user-anonymous", user.anonymous.to_string()),
        ("x-authgear-user-verified", user.verified.to_string()),
        (
            "x-authgear-user-can-reauthenticate",
            user.can_reauthenticate.to_string(),
        ),
        ("x-authgear-session-amr", user.amr.join(" ")),
        ("x-authgear-user-roles", user.roles.join(",")),
    ];
    if let Some(at) = user.authenticated_at {
        headers.push(("x-authgear-session-authenticated-at", at.to_string()));
    }
    headers
}
