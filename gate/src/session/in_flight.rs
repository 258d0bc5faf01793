//! Calls to the resolver that are under way, and who waits for each.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use super::{ClientFacts, ResolverError, SessionCounts, SessionCredential};
use crate::crowd::Crowd;
use crate::hashing::{self, Hasher};
use crate::per_project::PerProject;
use crate::time::{Ticks, back_off, jitter};

/// One call per credential, however many requests ask.
///
/// A call may also be scheduled in the background, with no request waiting: the root makes it at its next look
/// ([`InFlightCalls::take_due`]), and whoever asks the same meanwhile joins it.
///
/// No method takes longer the more requests wait, or the more calls are under way (but for their logarithm).
#[derive(Debug)]
pub(crate) struct InFlightCalls {
    calls: HashMap<CallKey, InFlightCall, Hasher>,
    /// Each call once, by the moment at which it is due.
    due: BTreeSet<(Ticks, CallKey)>,
    /// How many background calls are scheduled or under way, by project.
    background: PerProject<usize>,
    /// The calls that were retried after a 500 or a broken connection, and for which user, where that is known.
    retries: Vec<(CallKey, Option<Rc<str>>)>,
    /// How many of the calls are for one session.
    sessions: SessionCounts,
    /// Background calls whose answers are lost, since the last [`InFlightCalls::take_lost`].
    lost: Vec<(usize, SessionCredential)>,
    /// Calls that will not be answered, and that nobody waits for: other workers may make them.
    abandoned: Vec<CallKey>,
}

/// The index of a project, and a credential: nothing else distinguishes two calls.
type CallKey = (usize, SessionCredential);

/// A call that is under way.
#[derive(Debug)]
pub(super) struct InFlightCall {
    waiting: Crowd,
    state: CallState,
    due_at: Ticks,
    client: ClientFacts,
    /// Whether it is a background call, which is made though nobody waits for it.
    background: bool,
    /// How often a failed call may still be retried: Authgear locks a session while it is asked for, and the call whose
    /// answer was lost may still keep that lock.
    retries_left: u8,
    /// How often this worker has looked for another worker's answer.
    looks: u32,
    /// Whether it was retried after a 500, as another worker's call may keep that lock, or after a broken connection.
    retried: bool,
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallState {
    /// The root is to make it.
    Due,
    /// It was made in this request's callback: when the request ends, the answer is lost.
    ByRequest(u32),
    /// The root has made it: its answer comes, whichever requests end.
    ByRoot,
    /// Another worker has made it: the root looks for its answer.
    ByOtherWorker(OtherWorker),
}

/// Another worker that asks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherWorker {
    /// When it began to ask.
    pub(crate) since: Ticks,
    /// When this worker stops waiting for it.
    pub(crate) until: Ticks,
}

/// A call that the root is to make: its answers are not lost when a request ends.
#[derive(Clone, Debug)]
pub(crate) struct DueCall {
    /// The index of the project.
    pub(crate) project: usize,
    /// What is asked for.
    pub(crate) credential: SessionCredential,
    /// What the resolver records of the client.
    pub(crate) client: ClientFacts,
    /// The other worker for whose answer this worker has waited.
    pub(crate) other: Option<OtherWorker>,
}

impl CallState {
    /// Whether the root has to act before there can be an answer.
    fn is_due(&self) -> bool {
        matches!(self, Self::Due | Self::ByOtherWorker(_))
    }
}

/// What has become of a background call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduled {
    /// The root makes it.
    New,
    /// The same call is in flight already.
    Existing,
    /// Too many background calls are in flight: it is dropped.
    Full,
}

const RETRIES_AFTER_LOST_ANSWER: u8 = 3;
/// The pause before a retry, in which the session's lock can be released (contract §4.2: 50 to 250 ms between Authgear's
/// own tries); half of it is random, so that workers do not retry together.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How many calls of one project may be in a retry after a 500 or a broken connection at once: in an outage, all calls fail.
const MAX_RETRIES: usize = 64;
/// How many of them may be for one user, who may lock all of his sessions.
const MAX_RETRIES_PER_USER: usize = 8;
/// How many of them may be for unknown users: the rest is left to known ones.
const MAX_RETRIES_FOR_STRANGERS: usize = 32;
/// The first pause between two looks for another worker's answer; it doubles up to the longest.
const FIRST_LOOK_PAUSE: Duration = Duration::from_millis(4);
const MAX_LOOK_PAUSE: Duration = Duration::from_millis(32);
/// The pause where no request waits.
const BACKGROUND_LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How many background calls of one project may be in flight at once.
const MAX_BACKGROUND_CALLS: usize = 64;
/// How many calls may be in flight for one session, whatever is presented beside it: Authgear locks the session for each,
/// and those that wait for the lock keep connections that the others need.
pub(crate) const MAX_CALLS_PER_SESSION: usize = 8;
/// How many lost calls that nobody waits for any more one look may skip.
const MAX_SKIPPED: usize = 64;
/// How many abandoned calls are released to other workers at a tick; the leases of the rest expire.
const MAX_ABANDONED: usize = 64;

/// How a call has ended, apart from its answer.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// Whose credential it was for, where that is known.
    pub(crate) user: Option<Rc<str>>,
    /// Whether it was made and has ended before its timeout: if it has no answer, its connection broke.
    pub(crate) early: bool,
    /// When.
    pub(crate) now: Ticks,
    /// An unpredictable number.
    pub(crate) entropy: u64,
}

/// How a request has joined a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// It is the first for this credential: it must make the call.
    First,
    /// The call is in flight already: the request only waits.
    Existing,
}

impl Default for InFlightCalls {
    fn default() -> Self {
        Self {
            calls: HashMap::with_hasher(hashing::seeded()),
            due: BTreeSet::new(),
            background: PerProject::default(),
            retries: Vec::new(),
            sessions: SessionCounts::default(),
            lost: Vec::new(),
            abandoned: Vec::new(),
        }
    }
}

impl InFlightCalls {
    /// Lets a request wait for the verdict on a credential. `patience`: how long the call may take.
    pub(crate) fn join(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        request: u32,
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
            waiting: Crowd::of(request),
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

    /// Schedules a background call; the root makes it.
    ///
    /// It carries nothing that a client chose: no client has asked for it, and its answer may decide about all.
    pub(crate) fn schedule(&mut self, project: usize, credential: SessionCredential) -> Scheduled {
        // A check may exceed the limit, so that no crowd of other calls keeps an open breaker open.
        let background = self.background.get(project);
        if background >= MAX_BACKGROUND_CALLS && credential != SessionCredential::Nothing {
            return Scheduled::Full;
        }
        match self.calls.entry((project, credential)) {
            Entry::Occupied(mut occupied) => {
                // It is made even if all requests that wait for it end.
                let before = std::mem::replace(&mut occupied.get_mut().background, true);
                let more = usize::from(!before);
                self.background
                    .change(project, |calls| *calls = calls.saturating_add(more));
                Scheduled::Existing
            }
            Entry::Vacant(vacant) => {
                self.sessions.add(project, &vacant.key().1);
                self.due.insert((Ticks::default(), vacant.key().clone()));
                vacant.insert(InFlightCall {
                    waiting: Crowd::default(),
                    state: CallState::Due,
                    due_at: Ticks::default(),
                    client: ClientFacts::default(),
                    background: true,
                    retries_left: 0,
                    looks: 0,
                    retried: false,
                });
                self.background
                    .change(project, |calls| *calls = calls.saturating_add(1));
                Scheduled::New
            }
        }
    }

    /// Whether a call for this credential is under way, or about to be made.
    #[must_use]
    pub(crate) fn contains(&self, project: usize, credential: &SessionCredential) -> bool {
        self.calls.contains_key(&(project, credential.clone()))
    }

    /// Whether the limit of calls for a session of this credential is reached.
    #[must_use]
    pub(crate) fn is_crowded(&self, project: usize, credential: &SessionCredential) -> bool {
        self.sessions.most(project, credential) >= MAX_CALLS_PER_SESSION
    }

    /// Another worker asks the same: the root looks for its answer after a pause, which grows each time. Whether this is the
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

    /// The request does not make the call itself: the root does.
    pub(crate) fn make_due(&mut self, project: usize, credential: &SessionCredential) {
        self.make_key_due(&(project, credential.clone()));
    }

    /// A call has ended: whether the root retries it. That depends on how it has `failed`, if it has.
    ///
    /// A failure that the client may have caused is retried once without what the client chose; that answer counts.
    pub(crate) fn retry(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        failed: Option<ResolverError>,
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
        let due_at = match failed {
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
            // A retry would only add to the load.
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

    /// Whether one more call may be retried for this user of the project.
    fn may_retry(&self, project: usize, user: Option<&str>) -> bool {
        let most = match user {
            Some(_) => MAX_RETRIES_PER_USER,
            None => MAX_RETRIES_FOR_STRANGERS,
        };
        let (mut of_project, mut of_user) = (0_usize, 0_usize);
        for (_, other) in self
            .retries
            .iter()
            .filter(|((other, _), _)| *other == project)
        {
            of_project = of_project.saturating_add(1);
            of_user = of_user.saturating_add(usize::from(other.as_deref() == user));
        }
        of_project < MAX_RETRIES && of_user < most
    }

    /// A call is answered, and is no longer in flight: returns the requests that waited for it.
    pub(crate) fn complete(&mut self, project: usize, credential: &SessionCredential) -> Crowd {
        let key = (project, credential.clone());
        let call = self.calls.remove(&key);
        call.map_or_else(Crowd::default, |call| {
            self.unindex(key, &call);
            call.waiting
        })
    }

    /// A request has ended. If it made the call, the answer is lost with it, and the root makes the call again. A call that
    /// nobody waits for, and that will not be answered, is removed at once.
    pub(crate) fn cancel(&mut self, project: usize, credential: &SessionCredential, request: u32) {
        let key = (project, credential.clone());
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        call.waiting.remove(request);
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

    /// Removes a call that nobody waits for and that need not be made.
    fn drop_if_unneeded(&mut self, key: CallKey) {
        let call = self.calls.get(&key);
        let is_unneeded = call
            .is_some_and(|call| call.waiting.is_empty() && !call.background && call.state.is_due());
        if is_unneeded && let Some(call) = self.calls.remove(&key) {
            self.abandon(key.clone());
            self.unindex(key, &call);
        }
    }

    /// The calls that the root is to make now: scheduled ones, and those whose answers are lost, but for the ones that nobody
    /// waits for; [`InFlightCalls::take_lost`] returns the background calls among these. At most `most` calls, and
    /// [`MAX_SKIPPED`] lost ones are skipped: [`InFlightCalls::is_due`] says whether there are more.
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

    /// The calls that will not be answered, and that nobody waits for any more, since this was last called.
    pub(crate) fn take_abandoned(&mut self) -> Vec<(usize, SessionCredential)> {
        std::mem::take(&mut self.abandoned)
    }

    /// The keys of all calls in flight.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &(usize, SessionCredential)> {
        self.calls.keys()
    }

    /// The requests that wait for an answer.
    pub(crate) fn waiting(
        &self,
        project: usize,
        credential: &SessionCredential,
    ) -> impl Iterator<Item = u32> {
        let call = self.calls.get(&(project, credential.clone()));
        call.into_iter().flat_map(|call| call.waiting.iter())
    }

    /// The other worker for whose answer this worker waits.
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

    /// The background calls that will not be answered, since this was last called.
    pub(crate) fn take_lost(&mut self) -> Vec<(usize, SessionCredential)> {
        std::mem::take(&mut self.lost)
    }

    /// Whether a call is due.
    #[must_use]
    pub(crate) fn is_due(&self, now: Ticks) -> bool {
        self.due.first().is_some_and(|(due_at, _)| *due_at <= now)
    }

    /// Whether a call is due so soon that it must not wait for the next regular tick.
    #[must_use]
    pub(crate) fn is_due_soon(&self, now: Ticks) -> bool {
        self.is_due(now.after(MAX_LOOK_PAUSE))
    }

    /// How many calls are in flight.
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

    fn unindex(&mut self, key: CallKey, call: &InFlightCall) {
        self.sessions.remove(key.0, &key.1);
        if call.retried {
            self.retries.retain(|(other, _)| *other != key);
        }
        if call.background {
            self.background
                .change(key.0, |calls| *calls = calls.saturating_sub(1));
        }
        self.due.remove(&(call.due_at, key));
    }
}
