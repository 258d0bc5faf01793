//! The worker's root: configuration and time.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::closed::{Closed, ClosedStream};
use super::host::{self, Plugin, Verifier};
use super::last_good;
use super::metrics::Gauge;
use super::pace::Pace;
use super::powers::ThisHost;
use super::quiet::Quiet;
use super::stream::Stream;
use super::worker::Worker;
use gate::config::{Config, ConfigErrors, Consequence, Invalid, OnInvalid};
use gate::engine::Gate;

/// The root context.
pub(super) struct Root {
    context_id: u32,
    pace: Rc<Pace>,
    state: State,
    /// Workers of earlier configurations; they stay while requests of theirs wait.
    earlier: Vec<Rc<Worker>>,
    /// Defined with the first configuration.
    gauges: Option<Gauges>,
}

/// What root contexts add up to, each of which is one of Envoy's workers or its main thread: how many there are, how many of
/// them can verify tokens, how many have an invalid configuration, and how many are of this version.
struct Gauges([Gauge; 4]);

/// What handles new requests.
enum State {
    /// The host has not configured the root yet, or with nothing but what was refused.
    Unconfigured,
    /// A good configuration.
    Serving(Serving),
    /// A bad one was taken; the last good one stays in use.
    LastGood(Serving, Invalid),
    /// A bad one was taken, and there is none before it.
    Closed(Rc<Closed>, Invalid),
}

/// A good configuration, in use.
struct Serving {
    worker: Rc<Worker>,
    /// Kept alive, so that it can be found while it is in use.
    _text: Rc<[u8]>,
}

impl Root {
    #[cfg_attr(
        not(target_family = "wasm"),
        allow(dead_code, reason = "made by the host")
    )]
    pub(super) fn new(context_id: u32) -> Self {
        Self {
            context_id,
            pace: Rc::new(Pace::new(context_id)),
            state: State::Unconfigured,
            earlier: Vec::new(),
            gauges: None,
        }
    }

    fn configure(
        &self,
        text: &[u8],
        plugin: &Plugin,
        verifier: Verifier,
        host: &ThisHost,
    ) -> Result<Serving, ConfigErrors> {
        let config = Config::parse(text)?;
        config.check_host(host)?;
        let fetches_keys = config.fetches_keys();
        for warning in &config.warnings {
            log::warn!("{warning}");
        }
        let gate = Gate::new(config);
        if fetches_keys && plugin.vm_id.is_empty() {
            log::info!(
                "the plugin has no \"vm_id\": every worker fetches the keys for itself; under a \"vm_id\" of its own they share them"
            );
        }
        let pace = Rc::clone(&self.pace);
        let shared_data = host::shared_data(plugin);
        let worker = Worker::new(self.context_id, pace, gate, verifier, shared_data);
        announce(verifier);
        worker.start();
        let text = Rc::from(text);
        last_good::insert(plugin, &text);
        Ok(Serving {
            worker: Rc::new(worker),
            _text: text,
        })
    }

    /// The state after a configuration that was refused, and that the filter must nevertheless accept.
    fn close(
        &self,
        errors: ConfigErrors,
        plugin: &Plugin,
        verifier: Verifier,
        host: &ThisHost,
    ) -> State {
        // It was good once, and by the same code.
        let last_good = last_good::find(plugin)
            .and_then(|text| self.configure(&text, plugin, verifier, host).ok());
        match last_good {
            Some(serving) => State::LastGood(serving, Invalid::new(errors, Consequence::LastGood)),
            None => {
                let invalid = Invalid::new(errors, Consequence::Closed);
                State::Closed(Rc::new(Closed::new()), invalid)
            }
        }
    }

    fn enter(&mut self, state: State) {
        match std::mem::replace(&mut self.state, state) {
            State::Serving(before) | State::LastGood(before, _) => {
                self.earlier.push(before.worker);
            }
            State::Closed(closed, _) => closed.report(),
            State::Unconfigured => {}
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Rc<Worker>> {
        self.earlier.iter().chain(self.state.worker())
    }
}

/// Logs which filter this is, and how it is set up.
fn announce(verifier: Verifier) {
    let version = env!("CARGO_PKG_VERSION");
    let verifier = match verifier {
        Verifier::Host => "the host's cryptography",
        Verifier::Rust => "pure Rust",
    };
    log::info!("authgear-filter {version}: configured; signatures are verified by {verifier}");
}

impl Gauges {
    fn define() -> Self {
        Self(
            [
                "authgear_workers",
                "authgear_workers_ready",
                "authgear_invalid_configurations",
                concat!("authgear_build_info.version.", env!("CARGO_PKG_VERSION")),
            ]
            .map(Gauge::define),
        )
    }

    #[inline(never)]
    fn report(&self, now: [bool; 4]) {
        for (gauge, now) in self.0.iter().zip(now) {
            gauge.report(i64::from(now));
        }
    }
}

impl State {
    fn worker(&self) -> Option<&Rc<Worker>> {
        match self {
            Self::Serving(serving) | Self::LastGood(serving, _) => Some(&serving.worker),
            Self::Unconfigured | Self::Closed(..) => None,
        }
    }

    fn invalid(&mut self) -> Option<&mut Invalid> {
        match self {
            Self::LastGood(_, invalid) | Self::Closed(_, invalid) => Some(invalid),
            Self::Unconfigured | Self::Serving(_) => None,
        }
    }
}

impl Drop for Root {
    /// The configuration is no more in use.
    fn drop(&mut self) {
        for worker in self.workers() {
            worker.end();
        }
        if let State::Closed(closed, _) = &self.state {
            closed.report();
        }
        if let Some(gauges) = &self.gauges {
            gauges.report([false; 4]);
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _: usize) {
        for worker in self.workers() {
            if worker.response(token, headers, body_size, self.context_id) {
                break;
            }
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = host::configuration().unwrap_or_default();
        let plugin = host::plugin();
        let verifier = Verifier::choose();
        // Whatever comes of the configuration, requests will be paused.
        host::choose_pause(verifier);
        // Not every configuration needs ticks, but all get them.
        let host = ThisHost {
            root_id: self.context_id,
            ticks: self.pace.start(),
        };
        self.gauges.get_or_insert_with(Gauges::define);
        let configured = if text.is_empty() && host::has_vm_configuration() {
            Err(Config::in_vm_config())
        } else {
            self.configure(&text, &plugin, verifier, &host)
        };
        match configured {
            Ok(serving) => {
                self.enter(State::Serving(serving));
                true
            }
            Err(errors) => {
                for error in errors.iter() {
                    log::error!("configuration refused: {error}");
                }
                match OnInvalid::choose(&text, &plugin.vm_id) {
                    OnInvalid::Refuse => false,
                    OnInvalid::Close => {
                        // Without ticks nothing more is reported, but no request gets through either.
                        let state = self.close(errors, &plugin, verifier, &host);
                        self.enter(state);
                        true
                    }
                }
            }
        }
    }

    fn on_tick(&mut self) {
        self.pace.ticked();
        self.earlier.retain(|worker| {
            let needed = Rc::strong_count(worker) > 1;
            if !needed {
                worker.end();
            }
            needed
        });
        match &self.state {
            State::Serving(serving) | State::LastGood(serving, _) => serving.worker.tick(true),
            State::Closed(closed, _) => closed.report(),
            State::Unconfigured => {}
        }
        for worker in &self.earlier {
            worker.tick(false);
        }
        let now = host::now();
        if self.workers().any(|worker| worker.is_due(now)) {
            self.pace.hurry();
        } else {
            self.pace.relax();
        }
        let is_configured = !matches!(self.state, State::Unconfigured);
        let worker = self.state.worker();
        let ready = worker.is_some_and(|worker| worker.is_ready(now));
        let invalid = self.state.invalid();
        if let Some(gauges) = &self.gauges {
            gauges.report([is_configured, ready, invalid.is_some(), is_configured]);
        }
        // On a tick: the VM in which Envoy only validates a configuration has none, and does not know the last good one.
        if let Some(invalid) = invalid {
            for line in invalid.lines(host::ticks()) {
                log::error!("{line}");
            }
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.state {
            State::Closed(closed, _) => Box::new(Quiet(ClosedStream::new(Rc::clone(closed)))),
            state => Box::new(Quiet(Stream::new(context_id, state.worker().cloned()))),
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
