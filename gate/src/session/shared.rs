//! The resolver's answers as the workers of one process share them, so that one of them asks for all.
//!
//! Authgear locks a session while it is asked for: workers that ask at the same time make each other wait, and some
//! fail. So a worker takes a *lease* before it asks, and publishes the answer; the others look again after a pause, and
//! ask for themselves when the lease has expired.
//!
//! The records are in the data that workers share, in one of a few slots that a digest of the question chooses among
//! [`MAX_RECORDS`]. A record never contains a credential. Where all slots of a question are taken, the oldest answer is
//! evicted.
//!
//! Records are bytes that were written by whoever shares the host's `vm_id`: their form, size and age are checked, and
//! the answer in them is read like one of the resolver's own.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::answer::freshness;
use super::{Heard, SessionCredential};
use crate::callout::Answer;
use crate::config::SessionPolicy;
use crate::endpoint::Endpoint;
use crate::jwks::{ABSENT, NotWritten, Shared, SharedData};
use crate::principal::{self, is_reserved};
use crate::time::Ticks;

/// How many records there are at most for one resolver.
pub(crate) const MAX_RECORDS: u32 = 4_096;
/// In how many slots the record of a question may be.
const MAX_PROBES: usize = 4;
/// The longest record, in bytes; Authgear's answers are far shorter.
pub(super) const MAX_RECORD_BYTES: usize = 4_096;
/// Records are seldom longer.
const USUAL_RECORD_BYTES: usize = 512;
/// The longest credential whose answers are shared, in bytes: as long as those that a worker caches.
const MAX_CREDENTIAL_BYTES: usize = 4_096;
/// How often a write is tried that conflicts with another worker's.
const MAX_WRITES: usize = 3;
/// How far ahead of this worker's another's clock may be: they read the same one, but not at the same time.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(1_000);
/// Moments that are closer to each other are the same.
const TICK: Duration = Duration::from_millis(1);
/// The first byte of a record: another form has another.
pub(super) const FORM: u8 = 2;

/// The shared answers of one resolver.
#[derive(Debug)]
pub(crate) struct SharedAnswers {
    /// The beginning of every record's name.
    pub(super) name: String,
    /// How long a lease lasts: until then another worker may be answered.
    late_after: Duration,
    ttl: Duration,
    negative_ttl: Duration,
}

/// What a resolver is asked, as a digest that all workers compute. The names of the records say which resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question(pub(super) [u8; 32]);

/// An answer of the resolver, whichever worker asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedAnswer {
    /// When the question was sent.
    pub(crate) asked_at: Ticks,
    /// The answer: the headers that matter.
    pub(crate) answer: Answer,
}

/// What a worker is to do with a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Ask. This worker has the lease on the question, if it is one that workers share.
    Ask(Option<Question>),
    /// Use this answer to another worker's question.
    Answered(SharedAnswer),
    /// Look again after a pause: another worker has been asking since then.
    Wait(Ticks),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Who asks, and since when.
    pub(super) lease: Option<(u64, Ticks)>,
    pub(super) answer: Option<SharedAnswer>,
}

/// How useful a record is, the least useful first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    None,
    /// It has a fresh answer to a question that was asked then: the oldest is evicted first.
    Answer(Ticks),
    /// Somebody asks.
    Lease,
}

/// Where the record of a question is, or may be written.
struct Slot {
    name: String,
    version: Option<u32>,
    record: Record,
}

impl Slot {
    fn write(
        &self,
        data: &dyn SharedData,
        question: &Question,
        record: &Record,
    ) -> Result<(), NotWritten> {
        let bytes = record.write(question);
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(NotWritten::Unsupported);
        }
        data.write(&self.name, &bytes, self.version.or(Some(ABSENT)))
    }
}

impl Question {
    /// The question about a credential. `None`: that is not shared.
    #[must_use]
    pub(crate) fn about(credential: &SessionCredential) -> Option<Self> {
        // No worker caches its verdict.
        if credential.len() > MAX_CREDENTIAL_BYTES {
            return None;
        }
        let (kind, text) = match credential {
            SessionCredential::Bearer(text) => (b'b', &**text),
            SessionCredential::Cookies(text) => (b'c', &**text),
            // Whatever its signature: only tokens that were verified are asked about.
            SessionCredential::Jwt(text) => {
                let signed = text.rsplit_once('.').map(|(signed, _)| signed);
                (b'j', signed.unwrap_or(text))
            }
            SessionCredential::Nothing => return None,
        };
        let digest = Sha256::new().chain_update([kind]).chain_update(text);
        Some(Self(digest.finalize().into()))
    }
}

impl SharedAnswer {
    /// The same in the form of this worker's own answers.
    #[must_use]
    pub(crate) fn heard(&self) -> Heard<'_> {
        Heard {
            answer: Some(&self.answer),
            asked_at: self.asked_at,
        }
    }
}

impl SharedAnswers {
    /// The answers of this resolver. A worker without a cache (`cached_sessions` is 0) takes only answers that it has waited
    /// for.
    #[must_use]
    pub(crate) fn new(endpoint: &Endpoint, policy: &SessionPolicy, cached_sessions: usize) -> Self {
        let ttl_of = |ttl| {
            if cached_sessions > 0 {
                ttl
            } else {
                Duration::ZERO
            }
        };
        // No part contains a line break.
        let resolver = format!(
            "{}\n{}\n{}\n",
            endpoint.origin(),
            policy.cluster,
            policy.path
        );
        let digest = Sha256::digest(resolver);
        let name: String = digest
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            name: format!("authgear-filter\nsession 1\n{name}\n"),
            late_after: policy.timeout.mul_f64(0.5),
            ttl: ttl_of(policy.ttl),
            negative_ttl: ttl_of(policy.negative_ttl),
        }
    }

    /// Whether an answer is fresh now: as the caches of workers have it, counted from when the question was sent.
    #[must_use]
    pub(crate) fn is_fresh(&self, shared: &SharedAnswer, now: Ticks) -> bool {
        let ttl = if is_yes(&shared.answer) {
            self.ttl
        } else {
            self.negative_ttl
        };
        let ttl = freshness(&shared.answer).map_or(ttl, |limit| ttl.min(limit));
        now.since(shared.asked_at) < ttl
    }

    /// What to do with a question. A worker that is to ask has taken the lease, unless no record can be written.
    ///
    /// `will_do`: whether another worker's answer may be used. `until`: how long this worker may wait for another.
    pub(crate) fn turn(
        &self,
        shared: Shared<'_>,
        question: Question,
        will_do: impl Fn(&SharedAnswer) -> bool,
        until: Ticks,
        now: Ticks,
    ) -> Turn {
        // Again where another worker has written meanwhile.
        for _ in 0..MAX_WRITES {
            let Some(slot) = self.look(shared.data, &question, now) else {
                break;
            };
            let record = &slot.record;
            if let Some(answer) = record.answer.as_ref().filter(|answer| will_do(answer)) {
                return Turn::Answered(answer.clone());
            }
            if let Some((worker, since)) = record.lease
                && worker != shared.worker
                && self.is_leased(since, now)
                && now < until
            {
                // An answer that is there already is not the one to wait for, not even within the same millisecond.
                let before = record.answer.as_ref();
                let later = before.map(|answer| answer.asked_at.after(TICK));
                return Turn::Wait(later.map_or(since, |later| later.max(since)));
            }
            let leased = Record {
                lease: Some((shared.worker, now)),
                answer: record.answer.clone(),
            };
            match slot.write(shared.data, &question, &leased) {
                Err(NotWritten::Conflict) => {}
                Ok(()) | Err(NotWritten::Unsupported) => break,
            }
        }
        Turn::Ask(Some(question))
    }

    /// The last answer to a question, whichever worker asked.
    pub(crate) fn find(
        &self,
        shared: Shared<'_>,
        question: &Question,
        now: Ticks,
    ) -> Option<SharedAnswer> {
        self.look(shared.data, question, now)?.record.answer
    }

    /// Publishes the answer to a question that this worker has asked, and releases its lease. Returns the answer to a later
    /// question, if another worker has one.
    pub(crate) fn publish(
        &self,
        shared: Shared<'_>,
        question: &Question,
        asked_at: Ticks,
        answer: &Answer,
        now: Ticks,
    ) -> Option<SharedAnswer> {
        for _ in 0..MAX_WRITES {
            let slot = self.look(shared.data, question, now)?;
            let before = &slot.record;
            if let Some(later) = &before.answer
                && asked_at < later.asked_at
            {
                return Some(later.clone());
            }
            let lease = before.lease.filter(|(worker, _)| *worker != shared.worker);
            let record = Record {
                lease,
                answer: Some(SharedAnswer {
                    asked_at,
                    answer: what_matters(answer),
                }),
            };
            match slot.write(shared.data, question, &record) {
                Ok(()) => break,
                Err(NotWritten::Conflict) => {}
                // It may be too long: then others ask for themselves at once.
                Err(NotWritten::Unsupported) => {
                    self.release(shared, question, now);
                    break;
                }
            }
        }
        None
    }

    /// Releases the lease on a question that was not answered: others may ask at once.
    pub(crate) fn release(&self, shared: Shared<'_>, question: &Question, now: Ticks) {
        for _ in 0..MAX_WRITES {
            let Some(slot) = self.look(shared.data, question, now) else {
                break;
            };
            let lease = slot.record.lease;
            if lease.is_none_or(|(worker, _)| worker != shared.worker) {
                break;
            }
            let record = Record {
                lease: None,
                answer: slot.record.answer.clone(),
            };
            match slot.write(shared.data, question, &record) {
                Err(NotWritten::Conflict) => {}
                Ok(()) | Err(NotWritten::Unsupported) => break,
            }
        }
    }

    /// The slot of a question's record, or the one to write it to: a free slot, one whose record is of no use any more, or
    /// else that of the oldest answer. `None`: all of its slots have leases on other questions.
    fn look(&self, data: &dyn SharedData, question: &Question, now: Ticks) -> Option<Slot> {
        let mut candidate: Option<(Use, Slot)> = None;
        for name in self.names_of(question) {
            let Some((bytes, version)) = data.read(&name) else {
                let free = Slot {
                    name,
                    version: None,
                    record: Record::default(),
                };
                return match candidate {
                    Some((Use::None, slot)) => Some(slot),
                    _ => Some(free),
                };
            };
            let (of_use, record) = match Record::read(&bytes, now) {
                Some((of, record)) if of == *question => {
                    return Some(Slot {
                        name,
                        version: Some(version),
                        record,
                    });
                }
                Some((_, other)) => (self.use_of(&other, now), Record::default()),
                None => (Use::None, Record::default()),
            };
            if candidate.as_ref().is_none_or(|(least, _)| of_use < *least) {
                let slot = Slot {
                    name,
                    version: Some(version),
                    record,
                };
                candidate = Some((of_use, slot));
            }
        }
        match candidate {
            None | Some((Use::Lease, _)) => None,
            Some((_, slot)) => Some(slot),
        }
    }

    /// The slots in which the record of a question may be, in the order in which they are tried.
    pub(super) fn names_of(&self, question: &Question) -> impl Iterator<Item = String> {
        let (numbers, _) = question.0.as_chunks::<4>();
        let slots = numbers.iter().take(MAX_PROBES);
        slots.map(|number| {
            let slot = u32::from_le_bytes(*number) % MAX_RECORDS;
            format!("{}{slot}", self.name)
        })
    }

    /// Whether a lease has not expired.
    fn is_leased(&self, since: Ticks, now: Ticks) -> bool {
        now < since.after(self.late_after)
    }

    /// How useful a record is to others. Refusals are of no use: strangers can cause any number of them.
    fn use_of(&self, record: &Record, now: Ticks) -> Use {
        if record
            .lease
            .is_some_and(|(_, since)| self.is_leased(since, now))
        {
            return Use::Lease;
        }
        match &record.answer {
            Some(answer) if is_yes(&answer.answer) && self.is_fresh(answer, now) => {
                Use::Answer(answer.asked_at)
            }
            _ => Use::None,
        }
    }
}

impl Record {
    /// Reads a record and its question. `None`: it has another form. A lease or an answer from the future is dropped.
    pub(super) fn read(bytes: &[u8], now: Ticks) -> Option<(Question, Self)> {
        if bytes.len() > MAX_RECORD_BYTES {
            return None;
        }
        let mut bytes = Bytes(bytes);
        if bytes.take::<1>()? != [FORM] {
            return None;
        }
        let question = Question(bytes.take()?);
        let (worker, since) = (bytes.number()?, bytes.moment()?);
        let asked_at = bytes.moment()?;
        // A record that was cut off could end where a header does.
        let count = u16::from_le_bytes(bytes.take()?);
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = String::from_utf8(bytes.text()?.to_vec()).ok()?;
            headers.push((name, bytes.text()?.to_vec()));
        }
        if !bytes.0.is_empty() {
            return None;
        }
        let is_past = |moment: Ticks| moment <= now.after(CLOCK_TOLERANCE);
        let answer = Answer {
            headers,
            body: Some(Vec::new()),
        };
        let record = Self {
            lease: (worker != 0 && is_past(since)).then_some((worker, since)),
            answer: (!answer.headers.is_empty() && is_past(asked_at))
                .then_some(SharedAnswer { asked_at, answer }),
        };
        Some((question, record))
    }

    pub(super) fn write(&self, question: &Question) -> Vec<u8> {
        let (worker, since) = self.lease.unwrap_or_default();
        let asked_at = self.answer.as_ref().map(|answer| answer.asked_at);
        let mut bytes = Vec::with_capacity(USUAL_RECORD_BYTES);
        bytes.push(FORM);
        bytes.extend_from_slice(&question.0);
        for number in [
            worker,
            since.as_millis(),
            asked_at.unwrap_or_default().as_millis(),
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let headers = self.answer.as_ref().map(|shared| &*shared.answer.headers);
        let headers = headers.unwrap_or_default();
        // As many as do not fit make the record too long.
        let count = u16::try_from(headers.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        for text in headers
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value])
        {
            // A longer text makes the record too long.
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(text);
        }
        bytes
    }
}

/// Bytes that are read from the front.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn moment(&mut self) -> Option<Ticks> {
        self.number().map(Ticks::from_millis)
    }

    fn text(&mut self) -> Option<&'b [u8]> {
        let length = self.take().map(u16::from_le_bytes)?;
        let (text, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(text)
    }
}

fn is_yes(answer: &Answer) -> bool {
    answer.single(principal::SESSION_VALID) == Some(b"true")
}

/// An answer reduced to the headers that concern the session, without those for one client alone.
fn what_matters(answer: &Answer) -> Answer {
    let matters =
        |name: &str| matches!(name, ":status" | "cache-control") || is_reserved(name.as_bytes());
    let headers = answer.headers.iter();
    Answer {
        headers: headers.filter(|(name, _)| matters(name)).cloned().collect(),
        body: Some(Vec::new()),
    }
}
