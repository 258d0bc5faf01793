//! The world: a queue of events, one clock, and all that it holds. Everything follows from the seed.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use gate::callout::Answer;
use gate::engine::{Reason, Reply};

use crate::authgear::Authgear;
use crate::clients::{self, Presented};
use crate::host::{Call, Host, State, Stream, Worker};
use crate::judge::End;
use crate::knowledge::{Documents, Word};
use crate::ledger::Ledger;
use crate::projects::{asked_of, to_resolver};
use crate::random::Random;
use crate::rules::Route;
use crate::scenario::{Scenario, Settings, Weather};
use crate::trace::Trace;
use crate::upstream::Storm;

pub(crate) enum Event {
    /// Somebody comes.
    Arrive,
    /// A client goes, answered or not.
    Leave {
        worker: usize,
        stream: u32,
    },
    Backend {
        worker: usize,
        stream: u32,
    },
    /// A call reaches Authgear.
    Serve {
        token: u32,
    },
    /// Its answer, or its end, reaches the worker.
    Deliver {
        token: u32,
        answer: Option<Answer>,
        heard: Heard,
    },
    Tick {
        worker: usize,
        timer: u64,
    },
    /// Something changes at Authgear.
    Change,
    /// Something changes at the gateway.
    Upset,
}

/// What an answer amounts to, as the world knows.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Word(Word),
    Keys(Vec<usize>),
    Discovered,
}

struct Scheduled {
    at: u64,
    nth: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.nth == other.nth
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.nth).cmp(&(other.at, other.nth))
    }
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) random: Random,
    pub(crate) host: Host,
    pub(crate) trace: Trace,
    pub(crate) authgear: Authgear,
    /// The moments at which something changed at Authgear.
    pub(crate) changes: Vec<u64>,
    pub(crate) storm: Option<Storm>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) documents: Vec<Documents>,
    pub(crate) calls: BTreeMap<u32, Call>,
    pub(crate) ledger: Ledger,
    pub(crate) configured: u32,
    pub(crate) streams: u32,
    pub(crate) tokens: u32,
    /// What is wrong, first of all.
    pub(crate) violation: Option<String>,
    pub(crate) ends: Ends,
    /// The conditions that were judged, and how.
    pub(crate) met: RefCell<Met>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    pushed: u64,
    /// Whether nobody comes any more.
    pub(crate) ending: bool,
}

/// What the evaluator of policies has met, and how often.
pub(crate) type Met = BTreeMap<String, u64>;

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) users: u64,
    pub(crate) machines: u64,
    pub(crate) nobody: u64,
    pub(crate) unauthenticated: u64,
    pub(crate) unavailable: u64,
    pub(crate) other: u64,
    pub(crate) left: u64,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::draw(&mut random);
        let settings = Settings::draw(scenario.tenants, &mut random);
        let authgear = Authgear::new(scenario.users, &mut random);
        let mut world = Self {
            host: Host::new(seed),
            trace: Trace::new(traced),
            authgear,
            changes: Vec::new(),
            storm: None,
            workers: (0..scenario.workers).map(|_| Worker::new()).collect(),
            documents: vec![Documents::default(), Documents::default()],
            calls: BTreeMap::new(),
            ledger: Ledger::default(),
            configured: 0,
            streams: 0,
            tokens: 0,
            violation: None,
            ends: Ends::default(),
            met: RefCell::default(),
            queue: BinaryHeap::new(),
            pushed: 0,
            ending: false,
            scenario,
            random,
        };
        world
            .trace
            .line(5_000, None, || format!("{:?}", world.scenario));
        world.trace.line(5_000, None, || format!("{settings:?}"));
        for worker in 0..world.workers.len() {
            world.configure(worker, settings.clone());
            world.set_timer(worker);
        }
        let now = world.host.ticks();
        world.push(now + 150, Event::Arrive);
        world.push(now + 1_000, Event::Change);
        world.push(now + 3_000, Event::Upset);
        world
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.pushed += 1;
        self.queue.push(Reverse(Scheduled {
            at,
            nth: self.pushed,
            event,
        }));
    }

    pub(crate) fn violate(&mut self, text: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let text = text();
            self.trace
                .line(self.host.ticks(), None, || format!("VIOLATION {text}"));
            self.trace.end();
            self.violation = Some(text);
        }
    }

    /// The next event.
    pub(crate) fn step(&mut self) {
        let Some(Reverse(Scheduled { at, event, .. })) = self.queue.pop() else {
            return;
        };
        self.host.pass_to(at);
        let worker = match &event {
            Event::Leave { worker, .. }
            | Event::Backend { worker, .. }
            | Event::Tick { worker, .. } => Some(*worker),
            Event::Deliver { token, .. } => self.calls.get(token).map(|call| call.worker),
            _ => None,
        };
        if let Some(worker) = worker
            && at < self.workers[worker].busy_until
        {
            // It stalls: what is for it comes later, in the same order.
            let later = self.workers[worker].busy_until;
            return self.push(later, event);
        }
        match event {
            Event::Arrive => self.arrive(),
            Event::Leave { worker, stream } => self.leave(worker, stream),
            Event::Backend { worker, stream } => self.backend(worker, stream),
            Event::Serve { token } => self.serve(token),
            Event::Deliver {
                token,
                answer,
                heard,
            } => self.response(token, answer.as_ref(), heard),
            Event::Tick { worker, timer } => {
                if self.workers[worker].timer == timer {
                    self.tick(worker);
                }
            }
            Event::Change => self.change(),
            Event::Upset => self.upset(),
        }
    }

    fn arrive(&mut self) {
        if self.ending {
            return;
        }
        let worker = self.random.index(self.workers.len());
        let many = if self.random.percent(3) {
            self.random.between(1, self.scenario.crowd)
        } else {
            1
        };
        let now = self.host.ticks();
        // Some crowds come to all workers at once.
        let spread = many > 1 && self.random.percent(50);
        if self.workers[worker].busy_until <= now {
            let unix = self.host.true_unix(now);
            let seed = self.random.next();
            for _ in 0..many {
                // All of a crowd present the same.
                let mut random = Random::new(seed);
                let ask = clients::draw(&mut self.authgear, &self.scenario, unix, &mut random);
                let other = if spread {
                    self.random.index(self.workers.len())
                } else {
                    worker
                };
                let worker = if self.workers[other].busy_until <= now {
                    other
                } else {
                    worker
                };
                self.request(worker, ask);
                let stream = self.streams;
                if self.random.percent(self.scenario.leave) {
                    let most = *self.random.of(&[10, 100, 2_000]);
                    let at = now + self.random.below(most);
                    self.push(at, Event::Leave { worker, stream });
                }
            }
        }
        let pause = if self.random.below(300) == 0 {
            20_000
        } else {
            0
        };
        let gap = self.random.below(2 * self.scenario.gap) + self.random.below(pause + 1);
        self.push(now + gap, Event::Arrive);
    }

    fn leave(&mut self, worker: usize, stream: u32) {
        if self.workers[worker].streams.contains_key(&stream) {
            self.trace.line(self.host.ticks(), Some(worker), || {
                format!("#{stream} leaves")
            });
            self.ends.left += 1;
            self.close(worker, stream);
        }
    }

    /// Counts an end, and what of the policy it has met.
    pub(crate) fn count(&mut self, worker: usize, id: u32, end: &End) {
        let stream = &self.workers[worker].streams[&id];
        let mut met = self.met.borrow_mut();
        let mut all = met_by(end, stream);
        let of_another = stream.presented.questions().any(|question| {
            let (project, text) = asked_of(question);
            let elsewhere = to_resolver(1 - project, text);
            self.authgear.owner(question).is_none() && self.authgear.owner(&elsewhere).is_some()
        });
        if of_another {
            all.push("a project's session at another".to_owned());
        }
        for what in all {
            *met.entry(what).or_default() += 1;
        }
        drop(met);
        let ends = &mut self.ends;
        *match end {
            End::User(_) => &mut ends.users,
            End::Machine(_) => &mut ends.machines,
            End::Unchecked | End::Anonymous => &mut ends.nobody,
            End::Refused(reason) => match Reply::new(*reason, false).status() {
                401 => &mut ends.unauthenticated,
                503 => &mut ends.unavailable,
                _ => &mut ends.other,
            },
        } += 1;
    }

    /// Whether Authgear answers soon, and no worker stalls, as long as this world lives.
    pub(crate) fn is_calm(&self) -> bool {
        self.scenario.weather == Weather::Fair && !self.scenario.stalls
    }

    /// Whether one worker asks for all, of an Authgear that answers, for clients that are users, and not too many.
    pub(crate) fn is_healthy(&self) -> bool {
        let scenario = &self.scenario;
        let harmed = scenario.harm || scenario.deaths || scenario.reloads;
        // Who leaves in the midst of a call leaves the session locked at Authgear.
        let floods = scenario.strangers > 0 || scenario.gap < 10 || scenario.leave > 0;
        scenario.shared && self.is_calm() && !harmed && !floods
    }

    /// Nobody comes any more, and the weather is fair: whoever waits must be answered, and then there must be peace.
    pub(crate) fn end(&mut self) {
        self.ending = true;
        self.storm = None;
        let settings = self
            .workers
            .iter()
            .flat_map(|worker| worker.engines.values());
        let longest = settings.map(|running| {
            2 * running.settings.key_patience() + 3 * running.settings.session_patience()
        });
        let until = self.host.ticks() + longest.max().unwrap_or(0) + 10_000;
        while self.host.ticks() < until && self.violation.is_none() {
            self.step();
        }
        self.check_peace();
    }

    /// How many requests wait: those that may wait for keys, and those that may wait for the resolver.
    /// At the same engine and project as this one.
    pub(crate) fn waiting(&self, worker: usize, beside: &Stream) -> (usize, usize) {
        let streams = self.workers[worker].streams.values();
        let waiting = streams.filter(|stream| {
            (stream.engine, stream.project) == (beside.engine, beside.project)
                && stream.state == State::Waiting
        });
        let (mut keys, mut sessions) = (0, 0);
        for stream in waiting {
            keys += usize::from(matches!(stream.presented, Presented::Token(_)));
            sessions += usize::from(stream.presented.questions().next().is_some());
        }
        (keys, sessions)
    }
}

/// What of a policy a request has met by its end.
fn met_by(end: &End, stream: &Stream) -> Vec<String> {
    let mut met = vec![match end {
        End::Unchecked => "forwarded unchecked".to_owned(),
        End::Anonymous => "forwarded anonymous".to_owned(),
        End::User(_) => "forwarded user".to_owned(),
        End::Machine(_) => "forwarded machine".to_owned(),
        End::Refused(reason) => {
            let reply = Reply::new(*reason, false);
            format!("answered {} {}", reply.status(), reply.code())
        }
    }];
    let denied = matches!(
        end,
        End::Refused(Reason::Unmet(_) | Reason::NotAUser | Reason::NotAMachine)
    );
    if let Route::Ambiguous(_) = *stream.route {
        return met;
    }
    if let (End::User(_), Some(1)) = (end, stream.project) {
        met.push("forwarded user of another project".to_owned());
    }
    if stream.project.is_none() && !matches!(end, End::Unchecked) {
        met.push("a host without a project".to_owned());
        return met;
    }
    let project = stream.judged_by();
    let more = match (end, &stream.presented, &stream.ask.presented) {
        (End::User(_), _, _) if stream.waited => "forwarded user who has waited",
        _ if denied && stream.waited => "denied after a wait",
        (_, Presented::Token(presentation), _) if presentation.token.project != project => {
            "a project's token at another"
        }
        (_, Presented::Token(presentation), _) if !presentation.meant => {
            "a token for another audience"
        }
        (_, Presented::NotAccepted, _) => "a token that is not accepted",
        (End::Unchecked, ..) => return met,
        (_, Presented::Nothing, Presented::Cookies(_)) => "a session that is not accepted",
        (End::User(_), Presented::Token(presentation), _) if presentation.beside.is_none() => {
            "a user by a token"
        }
        (End::User(_), Presented::Cookies(_) | Presented::Opaque(_), _) => "a user by a session",
        _ => return met,
    };
    met.push(more.to_owned());
    met
}
