//! A host that drives the module: it configures roots, opens streams, answers calls, ticks, and watches what happens to each.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;
use wasmi::{Instance, Store, Val};

use super::facts::{EPOCH, authgear};
use super::streams::{Fate, Headers, HttpCall, May, Stream};
use super::wasm::{self, Host};

/// Proxy-Wasm's actions, and Envoy's own word for a pause (`StopAllIterationAndWatermark`).
const CONTINUE: i32 = 0;
const PAUSE: i32 = 1;
const PAUSE_ALL: i32 = 4;

const PAGE_BYTES: u64 = 65_536;

/// One VM, and its host. After a trap nothing is called any more, as in Envoy.
pub(super) struct World {
    store: Store<Host>,
    instance: Instance,
    /// What a panic said, or the engine, where there was none.
    trap: Option<String>,
    next_context: u32,
    /// Those that have ended.
    ended: Vec<(u32, Stream)>,
    /// Streams that were called back with their own answer's headers.
    called_back: BTreeSet<u32>,
    callbacks: Vec<String>,
    /// How many host calls there were when the first root was configured.
    first_configured: Option<usize>,
    /// Whether the first plugin is restored from a copy of the memory.
    recalls: bool,
}

/// A VM whose first plugin has just been configured: it need not be, as often as there are cases.
#[derive(Clone)]
struct Configured {
    memory: Arc<[u8]>,
    host: Host,
    taken: bool,
}

impl World {
    /// A VM that has just been made.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// One whose host is changed before the module is started.
    pub(super) fn with(change: impl FnOnce(&mut Host)) -> Self {
        let mut host = Host {
            since_1970: EPOCH,
            monotonic: Duration::from_secs(1_000),
            vm_id: "authgear",
            verifies: true,
            ..Host::default()
        };
        change(&mut host);
        let mut world = Self::of(host);
        world.call("_initialize", &[]);
        world
    }

    /// One that is the same as others until its first plugin is configured, and there is found in memory, and then changed.
    pub(super) fn recalled(change: impl FnOnce(&mut Host)) -> Self {
        let mut host = Host::default();
        change(&mut host);
        let mut world = Self::of(host);
        world.recalls = true;
        world
    }

    fn of(host: Host) -> Self {
        let (store, instance) = wasm::instantiate(host);
        Self {
            store,
            instance,
            trap: None,
            next_context: 1,
            ended: Vec::new(),
            called_back: BTreeSet::new(),
            callbacks: Vec::new(),
            first_configured: None,
            recalls: false,
        }
    }

    /// How many instructions were executed so far, where the host counts them.
    pub(super) fn executed(&self) -> u64 {
        u64::MAX - self.store.get_fuel().expect("it counts")
    }

    pub(super) fn host(&self) -> &Host {
        self.store.data()
    }

    pub(super) fn host_mut(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    /// A root context with this configuration. `false`: it was refused, or the VM has trapped.
    pub(super) fn plugin(&mut self, configuration: &Value) -> (u32, bool) {
        if std::mem::take(&mut self.recalls) {
            return self.recall(configuration);
        }
        let root = self.bare_root();
        (root, self.configure(root, configuration))
    }

    /// A root context that is not configured.
    pub(super) fn bare_root(&mut self) -> u32 {
        let root = self.new_context();
        self.host_mut().roots.insert(root);
        self.call("proxy_on_context_create", &[root, 0]);
        self.call("proxy_on_vm_start", &[root, 0]);
        root
    }

    fn recall(&mut self, configuration: &Value) -> (u32, bool) {
        type All = Mutex<HashMap<String, Configured>>;
        static ALL: OnceLock<All> = OnceLock::new();
        let mut all = ALL
            .get_or_init(All::default)
            .lock()
            .expect("no panic within");
        let configured = all.entry(configuration.to_string()).or_insert_with(|| {
            let mut world = Self::new();
            let (_, taken) = world.plugin(configuration);
            let memory = world.host().memory.expect("a memory");
            Configured {
                memory: memory.data(&world.store).into(),
                host: world.host().clone(),
                taken,
            }
        });
        let Configured {
            memory: bytes,
            mut host,
            taken,
        } = configured.clone();
        drop(all);
        // Between callbacks all that the module knows is in its memory: its one global, the stack's end, is where it was.
        let memory = self.host().memory.expect("a memory");
        let missing = (bytes.len() - memory.data_size(&self.store)) as u64;
        memory
            .grow(&mut self.store, missing / PAGE_BYTES)
            .expect("memory");
        memory.data_mut(&mut self.store).copy_from_slice(&bytes);
        host.memory = Some(memory);
        host.meddle = std::mem::take(&mut self.host_mut().meddle);
        self.first_configured = Some(host.calls.len());
        *self.host_mut() = host;
        (self.new_context(), taken)
    }

    pub(super) fn configure(&mut self, root: u32, configuration: &Value) -> bool {
        self.configure_with(root, &configuration.to_string())
    }

    /// With any text.
    pub(super) fn configure_with(&mut self, root: u32, configuration: &str) -> bool {
        self.host_mut().configuration = configuration.as_bytes().to_vec();
        let size = self.host().configuration.len();
        let size = u32::try_from(size).expect("small");
        let taken = self.call("proxy_on_configure", &[root, size]) == Some(1);
        let calls = self.host().calls.len();
        self.first_configured.get_or_insert(calls);
        taken
    }

    /// How many host calls there were when the first root was configured.
    pub(super) fn first_configured(&self) -> usize {
        self.first_configured.expect("a root")
    }

    /// A context for a stream, with no callback yet.
    pub(super) fn create_stream(&mut self, root: u32, headers: Headers, may: May) -> u32 {
        let id = self.new_context();
        let streams = &mut self.host_mut().streams;
        streams.insert(id, Stream::new(headers, may));
        self.call("proxy_on_context_create", &[id, root]);
        id
    }

    /// A request without a body.
    pub(super) fn open(&mut self, root: u32, headers: Headers, may: May) -> u32 {
        let id = self.create_stream(root, headers, may);
        self.headers(id);
        id
    }

    /// Calls back with a request's headers.
    pub(super) fn headers(&mut self, id: u32) {
        let action = self.call("proxy_on_request_headers", &[id, 5, 1]);
        self.follow(id, action, |stream| {
            if !stream.was_forwarded() {
                stream.forward();
            }
        });
    }

    /// Calls back with a request's trailers, as a host does that forwards a paused stream's by itself.
    pub(super) fn trailers(&mut self, id: u32, trailers: Headers) {
        let count = u32::try_from(trailers.len()).expect("few");
        if let Some(stream) = self.host_mut().streams.get_mut(&id) {
            stream.trailers = Some(trailers);
        }
        let action = self.call("proxy_on_request_trailers", &[id, count]);
        self.follow(id, action, Stream::forward_trailers);
    }

    /// The backend answers. The cookies that the client gets.
    pub(super) fn respond(&mut self, id: u32) -> Vec<String> {
        if let Some(stream) = self.host_mut().streams.get_mut(&id) {
            stream.response = Some(vec![(b":status".to_vec(), b"200".to_vec())]);
        }
        self.call("proxy_on_response_headers", &[id, 1, 1]);
        let stream = self.host().streams.get(&id);
        let headers = stream.and_then(|stream| stream.response.clone());
        let headers = headers.unwrap_or_default().into_iter();
        let cookies = headers.filter(|(name, _)| name == b"set-cookie");
        cookies
            .map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
            .collect()
    }

    /// The client leaves, or everything is over.
    pub(super) fn close(&mut self, id: u32) {
        self.call("proxy_on_delete", &[id]);
        self.remove(id);
    }

    /// The host ends a root context, without a callback for its streams.
    pub(super) fn delete_root(&mut self, root: u32) {
        self.call("proxy_on_delete", &[root]);
        self.host_mut().roots.remove(&root);
    }

    pub(super) fn tick(&mut self, root: u32) {
        self.call("proxy_on_tick", &[root]);
    }

    /// Time passes.
    pub(super) fn advance(&mut self, time: Duration) {
        let host = self.host_mut();
        host.since_1970 += time;
        host.monotonic += time;
    }

    /// Calls that are under way.
    pub(super) fn under_way(&self) -> Vec<HttpCall> {
        let calls = self.host().calls_made.iter();
        calls.filter(|call| !call.answered).cloned().collect()
    }

    /// Answers every call that is under way as Authgear would. How many there were.
    pub(super) fn answer_calls(&mut self, root: u32) -> usize {
        let calls = self.under_way();
        for call in &calls {
            self.answer(root, call.token, authgear(call));
        }
        calls.len()
    }

    /// Answers a call; with nothing, where it has failed.
    pub(super) fn answer(&mut self, root: u32, token: u32, answer: Option<(Headers, Vec<u8>)>) {
        let mut calls = self.host_mut().calls_made.iter_mut();
        if let Some(call) = calls.find(|call| call.token == token) {
            call.answered = true;
        }
        let size = |length: usize| u32::try_from(length).expect("small");
        let (headers, body) = answer.as_ref().map_or((0, 0), |(headers, body)| {
            (size(headers.len()), size(body.len()))
        });
        self.host_mut().answer = answer;
        self.call(
            "proxy_on_http_call_response",
            &[root, token, headers, body, 0],
        );
        self.host_mut().answer = None;
    }

    /// How a stream ended, or that it has not.
    pub(super) fn fate(&self, id: u32) -> Fate {
        let ended = self.ended.iter().find(|(known, _)| *known == id);
        let stream = self.host().streams.get(&id);
        stream
            .or(ended.map(|(_, stream)| stream))
            .expect("a stream")
            .fate()
    }

    pub(super) fn trap(&self) -> Option<&str> {
        self.trap.as_deref()
    }

    /// Lines of this level in the log.
    pub(super) fn lines(&self, level: u32) -> Vec<&str> {
        let lines = self.host().log.iter();
        lines
            .filter(|(known, _)| *known == level)
            .map(|(_, line)| line.as_str())
            .collect()
    }

    /// What must not happen, and did; of all streams.
    pub(super) fn violations(&self) -> Vec<String> {
        let ended = self.ended.iter().map(|(id, stream)| (id, stream));
        let streams = self.host().streams.iter().chain(ended);
        streams
            .flat_map(|(id, stream)| {
                let violations = stream.violations.iter();
                violations.map(move |violation| format!("stream {id} was {violation}"))
            })
            .collect()
    }

    /// Panics where anything happened that must not, or the VM trapped.
    #[track_caller]
    pub(super) fn assert_sound(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{violations:#?}\n{}", self.story());
        assert_eq!(self.trap(), None, "{}", self.story());
    }

    /// All that has happened, for the reader of a failure.
    pub(super) fn story(&self) -> String {
        let mut story = String::new();
        let _ = writeln!(story, "callbacks: {}", self.callbacks.join(", "));
        let ended = self.ended.iter().map(|(id, stream)| (id, stream));
        for (id, stream) in self.host().streams.iter().chain(ended) {
            let _ = writeln!(story, "stream {id}: {:?}", stream.fate());
        }
        for (level, line) in &self.host().log {
            let _ = writeln!(story, "log {level}: {line}");
        }
        let _ = writeln!(story, "trap: {:?}", self.trap);
        story
    }

    /// Calls the module back, as a host does: the context that is called is the effective one. `None`: the VM has trapped.
    pub(super) fn call(&mut self, name: &str, numbers: &[u32]) -> Option<i32> {
        if self.trap.is_some() {
            return None;
        }
        self.callbacks.push(format!("{name}{numbers:?}"));
        self.host_mut().effective = numbers.first().copied().unwrap_or(0);
        let function = self.instance.get_func(&self.store, name);
        let function = function.unwrap_or_else(|| panic!("the module has no {name}"));
        let parameters: Vec<Val> = numbers
            .iter()
            .map(|number| Val::I32(number.cast_signed()))
            .collect();
        let ty = function.ty(&self.store);
        let mut results = vec![Val::I32(0); ty.results().len()];
        let called = function.call(&mut self.store, &parameters, &mut results);
        if let Err(error) = called {
            let panic = self.host().panic.clone();
            self.trap = Some(panic.unwrap_or_else(|| error.to_string()));
            return None;
        }
        if name != "proxy_on_response_headers" {
            self.tell_of_replies();
        }
        match results.first() {
            Some(Val::I32(result)) => Some(*result),
            _ => Some(CONTINUE),
        }
    }

    /// A host calls a stream back with its own answer's headers, too.
    fn tell_of_replies(&mut self) {
        if self.host().reentry.is_some() {
            // It was called back at once, or has ended.
            return;
        }
        let streams = self.host().streams.iter();
        let answered = streams.filter(|(_, stream)| matches!(stream.fate(), Fate::Answered(_)));
        let answered: Vec<u32> = answered.map(|(id, _)| *id).collect();
        for id in answered {
            if self.called_back.insert(id) {
                self.call("proxy_on_response_headers", &[id, 1, 1]);
            }
        }
    }

    fn new_context(&mut self) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        id
    }

    fn remove(&mut self, id: u32) {
        if let Some(stream) = self.host_mut().streams.remove(&id) {
            self.ended.push((id, stream));
        }
    }

    /// Does as the module says.
    fn follow(&mut self, id: u32, action: Option<i32>, go_on: impl FnOnce(&mut Stream)) {
        let Some(stream) = self.host_mut().streams.get_mut(&id) else {
            return;
        };
        match action {
            Some(CONTINUE) => go_on(stream),
            Some(PAUSE | PAUSE_ALL) | None => {}
            Some(other) => stream.violate(&format!("unknown action {other}")),
        }
    }
}
