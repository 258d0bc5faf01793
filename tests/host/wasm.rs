//! The functions that the module imports, as a host answers them: correctly, unless a test meddles with a call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use devkit::envoy::filter_wasm;
use wasmi::{Caller, Config, Engine, Error, Extern, Instance, Linker, Memory, Module, Store, Val};

use super::meddle::{Answer, Reentry, Which};
use super::signatures;
use super::streams::{Headers, HttpCall, Reply, Stream, deserialize, serialize};

/// Statuses of Proxy-Wasm.
pub(super) const OK: u32 = 0;
pub(super) const NOT_FOUND: u32 = 1;
pub(super) const BAD_ARGUMENT: u32 = 2;
pub(super) const CAS_MISMATCH: u32 = 8;
pub(super) const INTERNAL_FAILURE: u32 = 10;
pub(super) const UNIMPLEMENTED: u32 = 12;

/// `LogLevel`
pub(super) const ERROR: u32 = 4;
const CRITICAL: u32 = 5;
/// `MapType`
const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const RESPONSE_HEADERS: u32 = 2;
const CALL_RESPONSE_HEADERS: u32 = 6;
/// `BufferType`
const CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;

const OVERSIZED_BYTES: usize = 1 << 20;

/// What the host knows.
#[derive(Clone, Default)]
pub(super) struct Host {
    pub(super) since_1970: Duration,
    pub(super) monotonic: Duration,
    pub(super) configuration: Vec<u8>,
    pub(super) vm_id: &'static str,
    /// Whether it counts the instructions that are executed.
    pub(super) counts: bool,
    /// Whether it knows `verify_signature`.
    pub(super) verifies: bool,
    pub(super) roots: BTreeSet<u32>,
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) effective: u32,
    pub(super) calls_made: Vec<HttpCall>,
    /// The answer to a call, while its callback runs.
    pub(super) answer: Option<(Headers, Vec<u8>)>,
    pub(super) shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    pub(super) metrics: BTreeMap<String, (u32, i64)>,
    pub(super) tick_period: Option<u64>,
    pub(super) log: Vec<(u32, String)>,
    /// What was logged by a panic.
    pub(super) panic: Option<String>,
    /// Every host call so far, by name.
    pub(super) calls: Vec<&'static str>,
    pub(super) meddle: Vec<(Which, Answer)>,
    pub(super) reentry: Option<Reentry>,
    /// The module's.
    pub(super) memory: Option<Memory>,
    /// How many random numbers were given.
    pub(super) drawn: u64,
}

/// The artefact, compiled once a process, and the functions that it imports.
struct Compiled {
    engine: Engine,
    module: Module,
    linker: Linker<Host>,
}

fn compiled(counts: bool) -> &'static Compiled {
    static COMPILED: [OnceLock<Compiled>; 2] = [OnceLock::new(), OnceLock::new()];
    COMPILED[usize::from(counts)].get_or_init(|| {
        let path = filter_wasm().expect("make build");
        let wasm = std::fs::read(path).expect("the artefact");
        let mut config = Config::default();
        config.consume_fuel(counts);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, &wasm[..]).expect("a module");
        let mut linker = Linker::new(&engine);
        for import in module.imports() {
            let ty = import.ty().func().expect("a function").clone();
            let name: &'static str = import.name().to_owned().leak();
            let returns = !ty.results().is_empty();
            let answer =
                move |caller: Caller<'_, Host>, parameters: &[Val], results: &mut [Val]| {
                    let status = Call::new(caller, name, parameters).answer()?;
                    if returns {
                        results[0] = Val::I32(status.cast_signed());
                    }
                    Ok(())
                };
            let defined = linker.func_new(import.module(), name, ty, answer);
            defined.expect("each import once");
        }
        Compiled {
            engine,
            module,
            linker,
        }
    })
}

/// A VM of its own, as a worker has it; `_initialize` is yet to be called.
pub(super) fn instantiate(host: Host) -> (Store<Host>, Instance) {
    let compiled = compiled(host.counts);
    let counts = host.counts;
    let mut store = Store::new(&compiled.engine, host);
    if counts {
        store.set_fuel(u64::MAX).expect("it counts");
    }
    let instance = compiled
        .linker
        .instantiate_and_start(&mut store, &compiled.module)
        .expect("every import is there");
    let memory = instance.get_memory(&store, "memory");
    store.data_mut().memory = memory;
    (store, instance)
}

/// One host call.
struct Call<'c> {
    caller: Caller<'c, Host>,
    name: &'static str,
    arguments: Vec<u64>,
    answer: Option<Answer>,
}

impl<'c> Call<'c> {
    fn new(mut caller: Caller<'c, Host>, name: &'static str, parameters: &[Val]) -> Self {
        let number = |value: &Val| match value {
            Val::I32(number) => u64::from(number.cast_unsigned()),
            Val::I64(number) => number.cast_unsigned(),
            other => panic!("{name}: {other:?}"),
        };
        let host = caller.data_mut();
        let nth = host.calls.len();
        host.calls.push(name);
        let meant = |which: &Which| match which {
            Which::Nth(place) => *place == nth,
            Which::Every(names) => names.contains(&name),
        };
        let mut meddle = host.meddle.iter();
        let answer = meddle.find(|(which, _)| meant(which));
        let answer = answer.map(|(_, answer)| *answer);
        Self {
            caller,
            name,
            arguments: parameters.iter().map(number).collect(),
            answer,
        }
    }

    fn answer(mut self) -> Result<u32, Error> {
        if self.name == "proxy_log" && self.number(0) == CRITICAL {
            // The test's own knowledge, whatever the host says to it.
            let line = String::from_utf8_lossy(&self.bytes(1)).into_owned();
            self.caller.data_mut().panic = Some(line);
        }
        match self.answer {
            Some(Answer::Status(status)) => Ok(status),
            Some(Answer::DoneBut(status)) => self.perform().map(|_| status),
            _ => self.perform(),
        }
    }

    fn number(&self, place: usize) -> u32 {
        u32::try_from(self.arguments[place]).expect("32 bits")
    }

    fn memory(&self) -> Memory {
        self.caller.data().memory.expect("a memory")
    }

    /// The bytes to which the argument of this place points, and whose length the next one is.
    fn bytes(&self, place: usize) -> Vec<u8> {
        let (start, length) = (self.number(place) as usize, self.number(place + 1) as usize);
        self.memory().data(&self.caller)[start..start + length].to_vec()
    }

    fn text(&self, place: usize) -> String {
        String::from_utf8(self.bytes(place)).expect("UTF-8")
    }

    fn write(&mut self, place: usize, bytes: &[u8]) {
        let start = self.number(place) as usize;
        self.memory()
            .write(&mut self.caller, start, bytes)
            .expect("memory");
    }

    /// Gives back a number of so many bytes.
    fn give_number(&mut self, place: usize, number: u64, bytes: usize) {
        let number = match self.answer {
            Some(Answer::Number(other)) => other,
            Some(Answer::Empty) => 0,
            _ => number,
        };
        self.write(place, &number.to_le_bytes()[..bytes]);
    }

    /// Gives back bytes, in memory of the module's.
    fn give(&mut self, place: usize, bytes: &[u8]) -> Result<u32, Error> {
        let bytes = match self.answer {
            Some(Answer::Empty) => Vec::new(),
            Some(Answer::Garbage) => vec![0xff; 33],
            Some(Answer::Oversized) => vec![b'A'; OVERSIZED_BYTES],
            _ => bytes.to_vec(),
        };
        let (mut start, size) = (0, u32::try_from(bytes.len()).expect("a size"));
        if size > 0 {
            let size = Val::I32(size.cast_signed());
            let Val::I32(memory) = self.call_back("proxy_on_memory_allocate", &[size])? else {
                panic!("no pointer");
            };
            start = memory.cast_unsigned();
            self.memory()
                .write(&mut self.caller, start as usize, &bytes)
                .expect("memory");
        }
        self.write(place, &start.to_le_bytes());
        self.write(place + 1, &size.to_le_bytes());
        Ok(OK)
    }

    /// Calls the module from within its own call.
    fn call_back(&mut self, name: &str, parameters: &[Val]) -> Result<Val, Error> {
        let function = self.caller.get_export(name).and_then(Extern::into_func);
        let function = function.expect("an export");
        let mut results = vec![Val::I32(0); function.ty(&self.caller).results().len()];
        function.call(&mut self.caller, parameters, &mut results)?;
        Ok(results.pop().unwrap_or(Val::I32(0)))
    }

    fn host(&mut self) -> &mut Host {
        self.caller.data_mut()
    }

    /// The stream of the effective context.
    fn stream(&mut self) -> Option<&mut Stream> {
        let host = self.caller.data_mut();
        host.streams.get_mut(&host.effective)
    }

    #[allow(clippy::too_many_lines, reason = "a table")]
    fn perform(&mut self) -> Result<u32, Error> {
        Ok(match self.name {
            "proxy_log" => {
                let line = (self.number(0), self.text(1));
                self.host().log.push(line);
                OK
            }
            "proxy_get_current_time_nanoseconds" => {
                let nanos = self.host().since_1970.as_nanos();
                self.give_number(0, u64::try_from(nanos).expect("this age"), 8);
                OK
            }
            "proxy_set_effective_context" => {
                let (id, host) = (self.number(0), self.host());
                if host.roots.contains(&id) || host.streams.contains_key(&id) {
                    host.effective = id;
                    OK
                } else {
                    BAD_ARGUMENT
                }
            }
            "proxy_continue_stream" => match self.stream() {
                Some(stream) if stream.is_undecided() => {
                    stream.forward();
                    OK
                }
                Some(stream) => {
                    stream.violate("resumed, though it was forwarded or answered");
                    BAD_ARGUMENT
                }
                None => BAD_ARGUMENT,
            },
            "proxy_get_buffer_bytes" => {
                let (buffer, most) = (self.number(0), self.number(2) as usize);
                let host = self.host();
                let bytes = match buffer {
                    CALL_RESPONSE_BODY => host.answer.as_ref().map(|(_, body)| body.clone()),
                    PLUGIN_CONFIGURATION => Some(host.configuration.clone()),
                    _ => None,
                };
                match bytes {
                    Some(bytes) => self.give(3, &bytes[..bytes.len().min(most)])?,
                    None => NOT_FOUND,
                }
            }
            "proxy_call_foreign_function" => {
                let verifies = self.host().verifies;
                if !verifies || self.bytes(0) != b"verify_signature" {
                    return Ok(NOT_FOUND);
                }
                let valid = signatures::verify(&self.bytes(2));
                self.give(4, if valid { &[0x08, 0x01] } else { b"" })?
            }
            "proxy_http_call" => self.http_call()?,
            "proxy_send_local_response" => {
                let reply = Reply {
                    status: self.number(0),
                    details: self.text(1),
                    headers: deserialize(&self.bytes(5)),
                };
                let Some(stream) = self.stream() else {
                    return Ok(BAD_ARGUMENT);
                };
                stream.answer(reply);
                self.reenter_after_reply()?;
                OK
            }
            "proxy_get_header_map_pairs" => {
                let map = self.number(0);
                let pairs = self.map(map).map_or_else(Vec::new, |map| serialize(map));
                self.give(1, &pairs)?
            }
            "proxy_add_header_map_value"
            | "proxy_replace_header_map_value"
            | "proxy_remove_header_map_value" => self.edit(),
            "proxy_define_metric" => {
                let name = self.text(1);
                let metrics = &mut self.host().metrics;
                let next = u32::try_from(metrics.len()).expect("few") + 1;
                let id = metrics.entry(name).or_insert((next, 0)).0;
                self.give_number(3, id.into(), 4);
                OK
            }
            "proxy_increment_metric" | "proxy_record_metric" => {
                let (id, value) = (self.number(0), self.arguments[1].cast_signed());
                let adds = self.name == "proxy_increment_metric";
                let mut metrics = self.host().metrics.values_mut();
                match metrics.find(|(known, _)| *known == id) {
                    Some((_, total)) if adds => *total += value,
                    Some((_, last)) => *last = value,
                    None => return Ok(NOT_FOUND),
                }
                OK
            }
            "proxy_set_tick_period_milliseconds" => {
                self.host().tick_period = Some(self.arguments[0]);
                OK
            }
            "proxy_get_property" => {
                let vm_id = self.host().vm_id;
                match &self.bytes(0)[..] {
                    b"plugin_vm_id" => self.give(2, vm_id.as_bytes())?,
                    b"plugin_root_id" | b"plugin_name" => self.give(2, b"authgear")?,
                    b"source\0address" => self.give(2, b"192.0.2.7:4242")?,
                    b"xds\0node" => self.give(2, b"\x0a\x01n")?,
                    _ => NOT_FOUND,
                }
            }
            "proxy_get_shared_data" => {
                let key = self.bytes(0);
                let Some((value, version)) = self.host().shared.get(&key).cloned() else {
                    return Ok(NOT_FOUND);
                };
                self.give_number(4, version.into(), 4);
                self.give(2, &value)?
            }
            "proxy_set_shared_data" => {
                let (key, value, version) = (self.bytes(0), self.bytes(2), self.number(4));
                let shared = &mut self.host().shared;
                let current = shared.get(&key).map_or(0, |(_, version)| *version);
                if version != 0 && current != 0 && version != current {
                    return Ok(CAS_MISMATCH);
                }
                shared.insert(key, (value, current + 1));
                OK
            }
            "clock_time_get" => {
                let realtime = self.number(0) == 0;
                let host = self.host();
                let time = if realtime {
                    host.since_1970
                } else {
                    host.monotonic
                };
                let nanos = u64::try_from(time.as_nanos()).expect("this age");
                self.give_number(2, nanos, 8);
                OK
            }
            "random_get" => {
                let (start, size) = (self.number(0) as usize, self.number(1) as usize);
                let host = self.host();
                let draw = |_| {
                    // Of a distribution that is good enough, and the same in every run.
                    host.drawn = host.drawn.wrapping_mul(6_364_136_223_846_793_005) + 1;
                    host.drawn.to_be_bytes()[0]
                };
                let bytes: Vec<u8> = (0..size).map(draw).collect();
                self.memory()
                    .write(&mut self.caller, start, &bytes)
                    .expect("memory");
                OK
            }
            "environ_sizes_get" => {
                self.write(0, &[0; 4]);
                self.write(1, &[0; 4]);
                OK
            }
            "environ_get" | "fd_write" => OK,
            "proc_exit" => {
                return Err(Error::i32_exit(self.number(0).cast_signed()));
            }
            // Functions that the SDK imports and nothing calls.
            _ => UNIMPLEMENTED,
        })
    }

    /// The header map of the effective context, where it has one now.
    fn map(&mut self, map: u32) -> Option<&mut Headers> {
        let host = self.caller.data_mut();
        if map == CALL_RESPONSE_HEADERS {
            return host.answer.as_mut().map(|(headers, _)| headers);
        }
        let stream = host.streams.get_mut(&host.effective)?;
        match map {
            REQUEST_HEADERS => stream.request_headers(),
            REQUEST_TRAILERS => stream.trailers.as_mut(),
            RESPONSE_HEADERS => stream.response.as_mut(),
            _ => None,
        }
    }

    fn edit(&mut self) -> u32 {
        let (map, name) = (self.number(0), self.bytes(1));
        let keeps = self.name == "proxy_add_header_map_value";
        let value = (self.name != "proxy_remove_header_map_value").then(|| self.bytes(3));
        let Some(headers) = self.map(map) else {
            return BAD_ARGUMENT;
        };
        if !keeps {
            headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        }
        headers.extend(value.map(|value| (name, value)));
        OK
    }

    fn http_call(&mut self) -> Result<u32, Error> {
        const REQUIRED: [&[u8]; 3] = [b":authority", b":method", b":path"];
        let (cluster, headers) = (self.text(0), deserialize(&self.bytes(2)));
        let timeout = Duration::from_millis(self.number(8).into());
        let has = |name: &&[u8]| headers.iter().any(|(known, _)| known == name);
        let lies = matches!(
            self.answer,
            Some(Answer::Number(_) | Answer::TokenUnderWay | Answer::Empty)
        );
        if !(lies || REQUIRED.iter().all(has)) {
            return Ok(BAD_ARGUMENT);
        }
        let under_way = self.answer == Some(Answer::TokenUnderWay);
        let host = self.host();
        let next = u32::try_from(host.calls_made.len()).expect("few") + 1;
        let mut token = next;
        if under_way && let Some(call) = host.calls_made.iter().find(|call| !call.answered) {
            token = call.token;
        }
        host.calls_made.push(HttpCall {
            token,
            cluster,
            headers,
            timeout,
            // A call that is reported under another token is never answered.
            answered: lies,
        });
        self.give_number(9, token.into(), 4);
        if self.host().reentry == Some(Reentry::AnswerAtOnce) {
            let root = *self.host().roots.first().expect("a root");
            let numbers = [root, token, 0, 0, 0];
            let parameters = numbers.map(|number| Val::I32(number.cast_signed()));
            self.call_back("proxy_on_http_call_response", &parameters)?;
        }
        Ok(OK)
    }

    fn reenter_after_reply(&mut self) -> Result<(), Error> {
        let host = self.host();
        let (id, root) = (
            Val::I32(host.effective.cast_signed()),
            Val::I32(host.roots.first().map_or(0, |root| root.cast_signed())),
        );
        match host.reentry {
            Some(Reentry::ResponseHeaders) => {
                let parameters = [id, Val::I32(1), Val::I32(1)];
                self.call_back("proxy_on_response_headers", &parameters)?;
            }
            Some(Reentry::Delete) => {
                self.call_back("proxy_on_delete", &[id])?;
            }
            Some(Reentry::Tick) => {
                self.call_back("proxy_on_tick", &[root])?;
            }
            Some(Reentry::AnswerAtOnce) | None => {}
        }
        Ok(())
    }
}
