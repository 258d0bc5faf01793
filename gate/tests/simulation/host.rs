//! The workers, as Envoy and the filter around the engine behave: whose answers are dropped, what is nested, when it ticks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use gate::engine::{Budget, Caller, Engine, Env};
use gate::jwks::{NoSharedData, Shared, SharedData};
use gate::time::{Now, Ticks};

use crate::clients::{Ask, Presented, short};
use crate::jwt::ModelVerifier;
use crate::knowledge::Knowledge;
use crate::projects::asked_of;
use crate::random::Random;
use crate::rules::Route;
use crate::scenario::Settings;
use crate::shared::Process;
use crate::world::World;

/// What every callback is handed: time, entropy, signatures, shared data.
pub(crate) struct Host {
    ticks: Cell<u64>,
    /// How far the wall clock is off, in seconds.
    offset: Cell<i64>,
    entropy: RefCell<Random>,
    verifier: ModelVerifier,
    pub(crate) process: Process,
    pub(crate) longest_stall: u64,
    /// When workers died in the midst of a fetch: the others wait until its lease expires.
    pub(crate) died_fetching: Vec<u64>,
}

pub(crate) const EPOCH: u64 = 1_767_225_600;

impl Host {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            ticks: Cell::new(5_000),
            offset: Cell::new(0),
            entropy: RefCell::new(Random::new(!seed)),
            verifier: ModelVerifier::new(),
            process: Process::default(),
            longest_stall: 0,
            died_fetching: Vec::new(),
        }
    }

    pub(crate) fn ticks(&self) -> u64 {
        self.ticks.get()
    }

    pub(crate) fn pass_to(&self, ticks: u64) {
        self.ticks.set(ticks.max(self.ticks.get()));
    }

    pub(crate) fn set_clock(&self, offset: i64) {
        self.offset.set(offset);
    }

    pub(crate) fn offset(&self) -> i64 {
        self.offset.get()
    }

    /// The wall clock of this machine.
    pub(crate) fn unix(&self) -> u64 {
        self.true_unix(self.ticks())
            .saturating_add_signed(self.offset.get())
    }

    /// Authgear's wall clock, which is right.
    pub(crate) fn true_unix(&self, ticks: u64) -> u64 {
        EPOCH + ticks / 1_000
    }
}

/// A worker: a root context, its engines and its streams.
pub(crate) struct Worker {
    pub(crate) budget: Budget,
    pub(crate) engines: BTreeMap<u32, Running>,
    pub(crate) current: u32,
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// Whether the next tick comes soon.
    pub(crate) hurried: bool,
    /// Distinguishes the timer that is set from those that were.
    pub(crate) timer: u64,
    pub(crate) busy_until: u64,
    stalls: Vec<(u64, u64)>,
    /// How many requests were settled, and calls made, since the last tick.
    pub(crate) settled: usize,
    pub(crate) ticked_at: u64,
}

/// An engine and its configuration: the current one, or one that ends what it has begun.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    /// What it was answered by each project.
    pub(crate) knowledge: [Knowledge; 2],
    pub(crate) number: u64,
    pub(crate) shares: bool,
    /// Which documents of keys it may know.
    pub(crate) documents: usize,
    pub(crate) started: u64,
    /// Calls that the engine waits for, by their tokens.
    pub(crate) open_calls: BTreeMap<u32, OpenCall>,
    /// The last call for each credential.
    pub(crate) asked: BTreeMap<String, u32>,
    pub(crate) fetch_started: u64,
    /// What its policy asks of targets that were asked for before.
    pub(crate) routes: HashMap<String, Rc<Route>>,
}

/// A call that an engine waits for.
pub(crate) struct OpenCall {
    pub(crate) question: Question,
    /// So long it is waited for.
    pub(crate) until: u64,
}

/// A request.
pub(crate) struct Stream {
    pub(crate) engine: u32,
    pub(crate) ask: Rc<Ask>,
    /// What its engine's policy asks of it.
    pub(crate) route: Rc<Route>,
    /// The project that judges it, if there is one.
    pub(crate) project: Option<usize>,
    /// What of its credentials counts there.
    pub(crate) presented: Presented,
    /// The challenge with which it was answered.
    pub(crate) challenge: Option<String>,
    pub(crate) state: State,
    pub(crate) arrived: u64,
    pub(crate) unix: u64,
    pub(crate) offset: i64,
    /// When the worker had looked last at what others share.
    pub(crate) looked: u64,
    pub(crate) waited: bool,
    pub(crate) faulted: bool,
    /// Since when nobody seems to make the call that it waits for.
    pub(crate) unattended_since: Option<u64>,
    /// The call that was made on its behalf.
    pub(crate) call: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Going,
    Answered,
}

/// A call under way.
pub(crate) struct Call {
    pub(crate) worker: usize,
    pub(crate) engine: u32,
    pub(crate) caller: Caller,
    pub(crate) question: Question,
    pub(crate) made_at: u64,
    pub(crate) timeout: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Keys,
    Discovery,
    Check(usize),
    Of(String),
}

impl Question {
    /// Whose Authgear is asked.
    pub(crate) fn project(&self) -> usize {
        match self {
            Self::Check(project) => *project,
            Self::Of(question) => asked_of(question).0,
            Self::Keys | Self::Discovery => 0,
        }
    }
}

impl Running {
    /// How many calls to a project it waits for.
    pub(crate) fn calls_of(&self, project: usize) -> usize {
        let calls = self.open_calls.values();
        calls
            .filter(|call| call.question.project() == project)
            .count()
    }

    /// What it was answered to such questions.
    pub(crate) fn knowledge_of(&self, question: &str) -> &Knowledge {
        &self.knowledge[asked_of(question).0]
    }
}

impl Stream {
    /// The project that judges it, or would.
    pub(crate) fn judged_by(&self) -> usize {
        self.project.unwrap_or(0)
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Of(credential) => write!(formatter, "resolver, {}", short(credential)),
            Self::Check(_) => formatter.write_str("resolver, without a credential"),
            other => write!(formatter, "{other:?}"),
        }
    }
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self {
            budget: Budget::default(),
            engines: BTreeMap::new(),
            current: 0,
            streams: BTreeMap::new(),
            hurried: false,
            timer: 0,
            busy_until: 0,
            stalls: Vec::new(),
            settled: 0,
            ticked_at: 0,
        }
    }

    pub(crate) fn stall(&mut self, now: u64, pause: u64) {
        self.busy_until = now + pause;
        self.stalls.push((now, pause));
    }

    /// How long it has stalled since.
    pub(crate) fn stalled_since(&self, from: u64) -> u64 {
        let since = self
            .stalls
            .iter()
            .rev()
            .take_while(|(at, pause)| at + pause >= from);
        since.map(|(_, pause)| pause).sum()
    }
}

impl World {
    pub(crate) fn now(&self) -> Now {
        Now {
            unix: self.host.unix(),
            ticks: Ticks::from_millis(self.host.ticks()),
        }
    }

    /// Calls an engine.
    pub(crate) fn with_engine<T>(
        &mut self,
        worker: usize,
        running: u32,
        run: impl FnOnce(&mut Engine, &Env<'_>) -> T,
    ) -> T {
        let now = self.now();
        let host = &self.host;
        let running = self.workers[worker].engines.get_mut(&running).unwrap();
        let data: &dyn SharedData = if running.shares {
            &host.process
        } else {
            &NoSharedData
        };
        let env = Env {
            now,
            entropy: &|| host.entropy.borrow_mut().next(),
            verifier: &host.verifier,
            shared: Shared {
                data,
                worker: running.number,
            },
        };
        run(&mut running.engine, &env)
    }
}
