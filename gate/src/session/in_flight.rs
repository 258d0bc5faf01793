//! Calls to the resolver that are under way, and who waits for each.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use super::{ClientFacts, ResolverError, SessionCounts, SessionCredential};
use crate::time::{Ticks, back_off, jitter};

/// One call per credential, however many requests ask. `W` names a waiting request.
///
/// A call may also be booked in the background, with nobody waiting: the next sweep makes its call, and whoever asks
/// the same meanwhile joins it.
///
/// No method takes longer the more requests wait, or the more calls are under way (but for their logarithm).
#[derive(Debug)]
pub(crate) struct InFlightCalls<W> {
    calls: HashMap<CallKey, InFlightCall<W>>,
    /// Each call once, by the moment at which the sweep looks at it.
    due: BTreeSet<(Ticks, CallKey)>,
    /// How many calls are under way, or booked, that were booked in the background.
    background: usize,
    /// The calls that were made again after a 500, or as their connections broke, and for which user, where that is known.
    retries: Vec<(CallKey, Option<Rc<str>>)>,
    /// How many of the calls are for one session.
    sessions: SessionCounts,
    /// Calls that were booked and whose answers are lost, since somebody asked.
    lost: Vec<(usize, SessionCredential)>,
    /// Calls of which nothing will be heard, and that nobody waits for: other workers may make them.
    abandoned: Vec<CallKey>,
}

/// A project, by its place, and a credential: nothing else tells two calls apart.
type CallKey = (usize, SessionCredential);

/// A call that is under way.
#[derive(Debug)]
pub(super) struct InFlightCall<W> {
    waiting: BTreeSet<W>,
    state: CallState<W>,
    due_at: Ticks,
    client: ClientFacts,
    /// Whether it was booked, so that its call is made though nobody waits for it.
    background: bool,
    /// How often a failed call is made again: Authgear locks a session while it is asked for, and the call whose answer
    /// was lost may still hold the lock.
    retries_left: u8,
    /// How often it was looked whether another worker has been answered.
    looks: u32,
    /// Whether it was made again: after a 500, as another worker may hold that lock, or as its connection broke.
    retried: bool,
}

/// Where the call of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallState<W> {
    /// A sweep is to make it.
    Due,
    /// It was made in this request's callback: with it, the answer is lost.
    ByRequest(W),
    /// A sweep has made it: its answer comes, whoever leaves.
    ByRoot,
    /// Another worker has made it: a sweep looks whether it has been answered.
    ByOtherWorker(OtherWorker),
}

/// A worker that asks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherWorker {
    /// Since when it asks.
    pub(crate) since: Ticks,
    /// It is waited for until then.
    pub(crate) until: Ticks,
}

/// A call that is to be made by somebody whose answers are not lost.
#[derive(Clone, Debug)]
pub(crate) struct DueCall {
    /// The project, by its place.
    pub(crate) project: usize,
    /// What is asked for.
    pub(crate) credential: SessionCredential,
    /// What the resolver is told of the client.
    pub(crate) client: ClientFacts,
    /// Another worker that was waited for so far.
    pub(crate) other: Option<OtherWorker>,
}

impl<W> CallState<W> {
    /// Whether a sweep has to do something, lest nobody ever answers.
    fn is_due(&self) -> bool {
        matches!(self, Self::Due | Self::ByOtherWorker(_))
    }
}

/// What has become of a call that was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduled {
    /// The next sweep makes it.
    New,
    /// The same is asked already, and that will do.
    Existing,
    /// Too many such calls are under way.
    Full,
}

const RETRIES_AFTER_LOST_ANSWER: u8 = 3;
/// Before a failed call is made again, so that whoever holds the session's lock can let go of it (contract §4.2: 50 to
/// 250 ms between Authgear's own tries); half of it random, so that workers do not try together.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How many calls may be made again after a 500, or as their connections broke, at once: in an outage, all of them fail.
const MAX_RETRIES: usize = 64;
/// How many of them may be for one user, whoever locks all of his sessions.
const MAX_RETRIES_PER_USER: usize = 8;
/// How many of them may be for nobody who is known: so many are for the others in any case.
const MAX_RETRIES_FOR_STRANGERS: usize = 32;
/// Before it is looked whether another worker has been answered; longer each time.
const FIRST_LOOK_PAUSE: Duration = Duration::from_millis(4);
const MAX_LOOK_PAUSE: Duration = Duration::from_millis(32);
/// The same where nobody waits.
const BACKGROUND_LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How many calls may be under way at once that nobody waits for.
const MAX_BACKGROUND_CALLS: usize = 64;
/// How many calls may be asked for at once for one session, whatever is presented beside it: Authgear locks the session
/// for each, and those that wait for the lock hold connections that the others need.
pub(crate) const MAX_CALLS_PER_SESSION: usize = 8;
/// How many calls that nobody waits for any more, and whose answers are lost, one sweep may pass over.
const MAX_SKIPPED: usize = 64;
/// How many of them other workers are told of at a tick; of the rest they hear when those are late.
const MAX_ABANDONED: usize = 64;

/// How a call has ended, beside its answer.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// Whose credential it was for, where that is known.
    pub(crate) user: Option<Rc<str>>,
    /// Whether it was made, and has ended before its time was over: without an answer, its connection broke.
    pub(crate) early: bool,
    /// When.
    pub(crate) now: Ticks,
    /// A number that nobody can foresee.
    pub(crate) entropy: u64,
}

/// How a request boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// It is the first: it must make the call.
    First,
    /// The call is under way: it only waits.
    Existing,
}

impl<W> Default for InFlightCalls<W> {
    fn default() -> Self {
        Self {
            calls: HashMap::new(),
            due: BTreeSet::new(),
            background: 0,
            retries: Vec::new(),
            sessions: SessionCounts::default(),
            lost: Vec::new(),
            abandoned: Vec::new(),
        }
    }
}

impl<W: Copy + Ord> InFlightCalls<W> {
    /// Lets a request wait for the verdict on a credential. `patience`: how long the call may take.
    pub(crate) fn join(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        request: W,
        client: ClientFacts,
        patience: Duration,
        now: Ticks,
    ) -> Joined {
        let key = (project, credential.clone());
        if let Some(call) = self.calls.get_mut(&key) {
            let looks_seldom =
                call.waiting.is_empty() && matches!(call.state, CallState::ByOtherWorker(_));
            call.waiting.insert(request);
            if looks_seldom {
                self.put_off(&key, now);
            }
            return Joined::Existing;
        }
        let call = InFlightCall {
            waiting: BTreeSet::from([request]),
            state: CallState::ByRequest(request),
            due_at: now.after(patience),
            client,
            background: false,
            retries_left: 0,
            looks: 0,
            retried: false,
        };
        self.due.insert((call.due_at, key.clone()));
        self.sessions.add(project, credential);
        self.calls.insert(key, call);
        Joined::First
    }

    /// Books a call that nobody waits for; the next sweep makes it.
    ///
    /// It carries nothing that a client chose: none of them has asked for it, and its answer may decide about all.
    pub(crate) fn schedule(&mut self, project: usize, credential: SessionCredential) -> Scheduled {
        // A check is one more, so that no crowd of others keeps an open breaker open.
        if self.background >= MAX_BACKGROUND_CALLS && credential != SessionCredential::Nothing {
            return Scheduled::Full;
        }
        match self.calls.entry((project, credential)) {
            Entry::Occupied(mut occupied) => {
                // Should those leave who wait for it, it is made all the same.
                let before = std::mem::replace(&mut occupied.get_mut().background, true);
                self.background = self.background.saturating_add(usize::from(!before));
                Scheduled::Existing
            }
            Entry::Vacant(vacant) => {
                self.sessions.add(project, &vacant.key().1);
                self.due.insert((Ticks::default(), vacant.key().clone()));
                vacant.insert(InFlightCall {
                    waiting: BTreeSet::new(),
                    state: CallState::Due,
                    due_at: Ticks::default(),
                    client: ClientFacts::default(),
                    background: true,
                    retries_left: 0,
                    looks: 0,
                    retried: false,
                });
                self.background = self.background.saturating_add(1);
                Scheduled::New
            }
        }
    }

    /// Whether a call for this credential is under way, or about to be made.
    #[must_use]
    pub(crate) fn contains(&self, project: usize, credential: &SessionCredential) -> bool {
        self.calls.contains_key(&(project, credential.clone()))
    }

    /// Whether as many calls for a session of this credential's are under way, or about to be made, as may be.
    #[must_use]
    pub(crate) fn is_crowded(&self, project: usize, credential: &SessionCredential) -> bool {
        self.sessions.most(project, credential) >= MAX_CALLS_PER_SESSION
    }

    /// Another worker asks the same: the sweep looks again after a moment, and after longer ones each time. Whether this is the
    /// first time.
    pub(crate) fn wait_for(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        other: OtherWorker,
        now: Ticks,
    ) -> bool {
        let key = (project, credential.clone());
        let Some(call) = self.calls.get_mut(&key) else {
            return false;
        };
        call.state = CallState::ByOtherWorker(other);
        let pause = if call.waiting.is_empty() {
            BACKGROUND_LOOK_PAUSE
        } else {
            let looks = call.looks / 2;
            back_off(FIRST_LOOK_PAUSE, MAX_LOOK_PAUSE, looks, u64::MAX)
        };
        let is_first = call.looks == 0;
        call.looks = call.looks.saturating_add(1);
        self.put_off(&key, now.after(pause));
        is_first
    }

    /// Nobody makes the call now: the next sweep does.
    pub(crate) fn make_due(&mut self, project: usize, credential: &SessionCredential) {
        self.make_key_due(&(project, credential.clone()));
    }

    /// A call has ended: whether it is made again, by the next sweep. That depends on how it has `failed`, if it has, which
    /// is asked only where it matters.
    ///
    /// What the client may have caused is asked once more without what the client chose; that answer counts.
    pub(crate) fn retry(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        failed: impl FnOnce() -> Option<ResolverError>,
        ended: Ended,
    ) -> bool {
        let Ended {
            user,
            early,
            now,
            entropy,
        } = ended;
        let key = (project, credential.clone());
        let may_retry = self.may_retry(project, user.as_deref());
        let call = self.calls.get_mut(&key);
        let Some(call) = call.filter(|call| !call.waiting.is_empty()) else {
            return false;
        };
        let half = RETRY_PAUSE.mul_f64(0.5);
        let later = now.after(half.saturating_add(jitter(half, entropy)));
        let due_at = match failed() {
            None => return false,
            Some(error) if error.is_outage() => {
                match (call.retries_left.checked_sub(1), error) {
                    (Some(left), _) => call.retries_left = left,
                    (None, error)
                        if !call.retried
                            && may_retry
                            && (error == ResolverError::Status(500)
                                || early && error.may_be_broken_connection()) =>
                    {
                        call.retried = true;
                        self.retries.push((key.clone(), user));
                    }
                    (None, _) => return false,
                }
                later
            }
            // It would only add to what is too much.
            Some(ResolverError::Overloaded) => return false,
            Some(_) if call.client.is_empty() => return false,
            Some(_) => {
                call.client = ClientFacts::default();
                Ticks::default()
            }
        };
        call.state = CallState::Due;
        self.put_off(&key, due_at);
        true
    }

    /// Whether one more call may be made again for this user of the project's.
    fn may_retry(&self, project: usize, user: Option<&str>) -> bool {
        let most = match user {
            Some(_) => MAX_RETRIES_PER_USER,
            None => MAX_RETRIES_FOR_STRANGERS,
        };
        let of_user = self.retries.iter().filter(|((other_project, _), other)| {
            other.as_deref() == user && (user.is_none() || *other_project == project)
        });
        self.retries.len() < MAX_RETRIES && of_user.count() < most
    }

    /// The answer is there: those who waited for it.
    pub(crate) fn complete(
        &mut self,
        project: usize,
        credential: &SessionCredential,
    ) -> BTreeSet<W> {
        let key = (project, credential.clone());
        let call = self.calls.remove(&key);
        call.map_or_else(BTreeSet::new, |call| {
            self.unindex(key, &call);
            call.waiting
        })
    }

    /// A request has gone. If it made the call, the answer is lost with it, and the next sweep makes it again. If nobody
    /// waits any more and no answer will come, nothing is left of it at once.
    pub(crate) fn cancel(&mut self, project: usize, credential: &SessionCredential, request: W) {
        let key = (project, credential.clone());
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        call.waiting.remove(&request);
        let is_unawaited = call.waiting.is_empty();
        if is_unawaited && call.background {
            call.client = ClientFacts::default();
        }
        if call.state == CallState::ByRequest(request) {
            call.retries_left = RETRIES_AFTER_LOST_ANSWER;
            self.make_key_due(&key);
        }
        if is_unawaited {
            self.drop_if_unneeded(key);
        }
    }

    /// Drops a call that nobody waits for and whose call is not to be made.
    fn drop_if_unneeded(&mut self, key: CallKey) {
        let call = self.calls.get(&key);
        let is_unneeded = call
            .is_some_and(|call| call.waiting.is_empty() && !call.background && call.state.is_due());
        if is_unneeded && let Some(call) = self.calls.remove(&key) {
            self.abandon(key.clone());
            self.unindex(key, &call);
        }
    }

    /// The calls that are to be made by somebody whose answers are not lost: those that were booked, and those whose
    /// answers are lost, but for the ones that nobody waits for; [`InFlightCalls::take_lost`] says which of those were booked. At
    /// most `most` calls, and so many more calls looked at: see [`InFlightCalls::is_due`] for whether there are more.
    pub(crate) fn take_due(
        &mut self,
        now: Ticks,
        most: usize,
        patience: impl Fn(usize) -> Duration,
    ) -> Vec<DueCall> {
        let mut again = Vec::new();
        for _ in 0..most.saturating_add(MAX_SKIPPED) {
            if again.len() >= most {
                break;
            }
            let Some((_, key)) = self
                .due
                .first()
                .filter(|(due_at, _)| *due_at <= now)
                .cloned()
            else {
                break;
            };
            let Some(call) = self.calls.get_mut(&key) else {
                self.due.pop_first();
                continue;
            };
            if call.waiting.is_empty() && !call.state.is_due() {
                if call.background {
                    self.lost.push(key.clone());
                }
                if let Some(call) = self.calls.remove(&key) {
                    self.abandon(key.clone());
                    self.unindex(key, &call);
                }
                continue;
            }
            let before = std::mem::replace(&mut call.state, CallState::ByRoot);
            again.push(DueCall {
                project: key.0,
                credential: key.1.clone(),
                client: call.client.clone(),
                other: match before {
                    CallState::ByOtherWorker(other) => Some(other),
                    _ => None,
                },
            });
            let due_at = now.after(patience(key.0));
            self.put_off(&key, due_at);
        }
        again
    }

    fn abandon(&mut self, key: CallKey) {
        if self.abandoned.len() < MAX_ABANDONED {
            self.abandoned.push(key);
        }
    }

    /// The calls of which nothing will be heard, and that nobody waits for any more, since this was last asked.
    pub(crate) fn take_abandoned(&mut self) -> Vec<(usize, SessionCredential)> {
        std::mem::take(&mut self.abandoned)
    }

    /// Everything that is asked, or about to be.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &(usize, SessionCredential)> {
        self.calls.keys()
    }

    /// The requests that wait for an answer.
    pub(crate) fn waiting(
        &self,
        project: usize,
        credential: &SessionCredential,
    ) -> impl Iterator<Item = W> {
        let call = self.calls.get(&(project, credential.clone()));
        call.into_iter()
            .flat_map(|call| call.waiting.iter().copied())
    }

    /// The other worker whose answer is waited for.
    #[must_use]
    pub(crate) fn other(
        &self,
        project: usize,
        credential: &SessionCredential,
    ) -> Option<OtherWorker> {
        match self.calls.get(&(project, credential.clone()))?.state {
            CallState::ByOtherWorker(other) => Some(other),
            _ => None,
        }
    }

    /// The calls that were booked, and of which nothing will be heard any more, since this was last asked.
    pub(crate) fn take_lost(&mut self) -> Vec<(usize, SessionCredential)> {
        std::mem::take(&mut self.lost)
    }

    /// Whether a sweep would find something to do.
    #[must_use]
    pub(crate) fn is_due(&self, now: Ticks) -> bool {
        self.due.first().is_some_and(|(due_at, _)| *due_at <= now)
    }

    /// Whether a sweep would find something to do so soon that the next tick must not be waited for.
    #[must_use]
    pub(crate) fn is_due_soon(&self, now: Ticks) -> bool {
        self.is_due(now.after(MAX_LOOK_PAUSE))
    }

    /// How many calls are under way.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    fn make_key_due(&mut self, key: &CallKey) {
        if let Some(call) = self.calls.get_mut(key) {
            call.state = CallState::Due;
            self.put_off(key, Ticks::default());
        }
    }

    fn put_off(&mut self, key: &CallKey, due_at: Ticks) {
        if let Some(call) = self.calls.get_mut(key) {
            self.due.remove(&(call.due_at, key.clone()));
            call.due_at = due_at;
            self.due.insert((due_at, key.clone()));
        }
    }

    fn unindex(&mut self, key: CallKey, call: &InFlightCall<W>) {
        self.sessions.remove(key.0, &key.1);
        if call.retried {
            self.retries.retain(|(other, _)| *other != key);
        }
        self.due.remove(&(call.due_at, key));
        if call.background {
            self.background = self.background.saturating_sub(1);
        }
    }
}
