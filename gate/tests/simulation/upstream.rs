//! How calls fare: what Authgear answers, and what comes in between.

use gate::callout::Answer;
use serde_json::{Value, json};

use crate::authgear::Said;
use crate::host::Question;
use crate::jwt::KEYS;
use crate::knowledge::Word;
use crate::random::Random;
use crate::scenario::{ISSUER, Weather};
use crate::world::{Event, Heard, World};

/// A time in which calls fail.
#[derive(Clone, Debug)]
pub(crate) struct Storm {
    /// Of a hundred calls, so many fail.
    pub(crate) chance: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) keys: bool,
    pub(crate) resolver: bool,
    /// How much longer answers take, at most.
    pub(crate) slow: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Status(u16),
    /// The connection breaks.
    NoAnswer,
    /// Nothing comes until the host ends the call.
    Never,
    /// 200, and nothing that makes sense.
    Garbage,
}

pub(crate) const FAULTS: [Fault; 10] = [
    Fault::Status(500),
    Fault::Status(503),
    Fault::Status(504),
    Fault::Status(429),
    Fault::Status(403),
    Fault::Status(302),
    Fault::NoAnswer,
    Fault::Never,
    Fault::Garbage,
    Fault::Status(204),
];

impl Storm {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let faults = (0..random.between(1, 3))
            .map(|_| *random.of(&FAULTS))
            .collect();
        let which = random.below(4);
        Self {
            chance: *random.of(&[20, 60, 100]),
            faults,
            keys: which != 0,
            resolver: which != 1,
            slow: *random.of(&[0, 0, 200, 900, 4_000, 8_000]),
        }
    }
}

impl World {
    /// A call reaches Authgear.
    pub(crate) fn serve(&mut self, token: u32) {
        let Some(call) = self.calls.get(&token) else {
            return;
        };
        let (question, deadline) = (call.question.clone(), call.made_at + call.timeout);
        let fault = self.strikes(&question);
        let now = self.host.ticks();
        let slow = self.storm.as_ref().map_or(0, |storm| storm.slow);
        let mut at = now + self.random.below(20) + self.random.below(slow + 1);
        let (mut answer, mut heard) = match fault {
            Some(fault) => self.failure(fault, &question),
            None => match &question {
                Question::Keys => self.keys(),
                Question::Discovery => discovery(),
                Question::Check(_) => (
                    Some(answer(200, &[])),
                    Heard::Word(Word::No { explicit: false }),
                ),
                Question::Of(credential) => self.resolve(credential, token),
            },
        };
        if at >= deadline || fault == Some(Fault::Never) {
            at = deadline.max(now);
            answer = self.random.percent(50).then(|| self::answer(504, &[]));
            heard = Heard::Word(Word::Outage);
        }
        self.push(
            at,
            Event::Deliver {
                token,
                answer,
                heard,
            },
        );
    }

    fn strikes(&mut self, question: &Question) -> Option<Fault> {
        match (self.scenario.weather, question) {
            (Weather::Hostile, Question::Of(credential)) => {
                let known = self.authgear.knows_all(credential);
                (!known && self.random.percent(60)).then(|| *self.random.of(&FAULTS))
            }
            (Weather::Stormy, question) => {
                let storm = self.storm.as_ref()?;
                let struck = match question {
                    Question::Keys | Question::Discovery => storm.keys,
                    Question::Check(_) | Question::Of(_) => storm.resolver,
                };
                let chance = storm.chance;
                (struck && self.random.percent(chance)).then(|| *self.random.of(&storm.faults))
            }
            _ => None,
        }
    }

    fn failure(&mut self, fault: Fault, question: &Question) -> (Option<Answer>, Heard) {
        let is_resolver = matches!(question, Question::Of(_) | Question::Check(_));
        match fault {
            Fault::NoAnswer | Fault::Never => (None, Heard::Word(Word::Outage)),
            Fault::Status(status) => {
                let pause = self.random.between(1, 8).to_string();
                let mut headers = Vec::new();
                let mut stopped = false;
                if self.random.percent(30) {
                    headers.push(("retry-after", pause.as_str()));
                }
                if status == 503 && self.random.percent(50) {
                    headers.push(("x-envoy-overloaded", "true"));
                    stopped = true;
                }
                let word = if stopped && is_resolver {
                    Word::Stopped
                } else if status >= 500 {
                    Word::Outage
                } else {
                    Word::Odd
                };
                (Some(answer(status, &headers)), Heard::Word(word))
            }
            Fault::Garbage if is_resolver => {
                let valid = ("x-authgear-session-valid", "true");
                let user = ("x-authgear-user-id", "user-0");
                let headers: &[(&str, &str)] = match self.random.below(7) {
                    5 => &[user],
                    6 => {
                        let mut page = answer(200, &[valid, user]);
                        page.body = Some(b"<html>".to_vec());
                        return (Some(page), Heard::Word(Word::Odd));
                    }
                    0 => &[valid],
                    1 => &[valid, valid, user],
                    2 => &[valid, user, user],
                    3 => &[("x-authgear-session-valid", "maybe"), user],
                    _ => &[valid, ("x-authgear-user-id", "")],
                };
                (Some(answer(200, headers)), Heard::Word(Word::Odd))
            }
            Fault::Garbage => {
                let mut garbage = answer(200, &[]);
                let bodies = [
                    "",
                    "{",
                    "{\"keys\":[]}",
                    "<html>",
                    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\",\"kid\":\"key-0\"}]}",
                ];
                garbage.body = Some(self.random.of(&bodies).as_bytes().to_vec());
                (Some(garbage), Heard::Word(Word::Odd))
            }
        }
    }

    fn keys(&mut self) -> (Option<Answer>, Heard) {
        let published = self.authgear.published();
        let keys: Vec<Value> = published.iter().map(|key| KEYS[*key].jwk()).collect();
        let mut document = answer(200, &[]);
        document.body = Some(json!({ "keys": keys }).to_string().into_bytes());
        (Some(document), Heard::Keys(published))
    }

    fn resolve(&mut self, credential: &str, token: u32) -> (Option<Answer>, Heard) {
        let now = self.host.ticks();
        let service = self.random.below(60);
        if !self.authgear.lock(credential, now, now + service) {
            return (Some(answer(500, &[])), Heard::Word(Word::Outage));
        }
        let said = self
            .authgear
            .truth(credential, now, self.host.true_unix(now));
        let age = *self.random.of(&[0, 1, 30]);
        let limit = self.random.percent(10).then_some(age * 1_000);
        let control = format!("private, max-age={age}");
        let cookie = format!("session=; tag={token}");
        let mut headers = vec![("set-cookie", cookie.as_str())];
        if limit.is_some() {
            headers.push(("cache-control", &control));
        }
        match said {
            Said::Yes(identity) => {
                let theirs = self.authgear.headers(identity);
                headers.extend(theirs.iter().map(|(name, value)| (&**name, &**value)));
                (
                    Some(answer(200, &headers)),
                    Heard::Word(Word::Yes(identity, limit)),
                )
            }
            Said::No => {
                headers.push(("x-authgear-session-valid", "false"));
                (
                    Some(answer(200, &headers)),
                    Heard::Word(Word::No { explicit: true }),
                )
            }
            Said::Silence => (
                Some(answer(200, &headers)),
                Heard::Word(Word::No { explicit: false }),
            ),
        }
    }
}

fn discovery() -> (Option<Answer>, Heard) {
    let mut document = answer(200, &[]);
    let body = json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/oauth2/jwks") });
    document.body = Some(body.to_string().into_bytes());
    (Some(document), Heard::Discovered)
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
    let status = status.to_string();
    let all = std::iter::once((":status", status.as_str())).chain(headers.iter().copied());
    Answer {
        headers: all
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body: Some(Vec::new()),
    }
}
