//! The worker's root: configuration and time.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host::{self, Verifier};
use super::stream::Stream;
use super::worker::Worker;
use crate::config::{Config, ConfigErrors};
use crate::gate::Gate;

/// How often the worker looks after keys and waiting requests.
const TICK: Duration = Duration::from_millis(100);

/// The root context.
pub(super) struct Root {
    context_id: u32,
    /// The last is the one in use; those before it were configured earlier, and stay while requests of theirs wait.
    workers: Vec<Rc<Worker>>,
}

impl Root {
    #[cfg_attr(
        not(target_family = "wasm"),
        allow(dead_code, reason = "made by the host")
    )]
    pub(super) fn new(context_id: u32) -> Self {
        Self {
            context_id,
            workers: Vec::new(),
        }
    }

    fn configure(&self) -> Result<Worker, ConfigErrors> {
        let json = host::configuration().unwrap_or_default();
        let gate = Gate::new(Config::parse(&json)?)?;
        let verifier = Verifier::choose();
        Ok(Worker::new(self.context_id, gate, verifier))
    }
}

impl Drop for Root {
    /// The configuration is no more in use.
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.end();
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _: usize) {
        for worker in &self.workers {
            if worker.answered(token, headers, body_size, self.context_id) {
                break;
            }
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match self.configure() {
            Ok(worker) => {
                worker.announce();
                worker.start();
                self.workers.push(Rc::new(worker));
                host::tick_every(TICK)
            }
            Err(errors) => {
                for error in errors.iter() {
                    log::error!("configuration refused: {error}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        // Held once more, the one in use is never taken for one that nobody needs.
        let in_use = self.workers.last().cloned();
        self.workers.retain(|worker| {
            let needed = Rc::strong_count(worker) > 1;
            if !needed {
                worker.end();
            }
            needed
        });
        for worker in &self.workers {
            worker.tick(in_use.as_ref().is_some_and(|last| Rc::ptr_eq(last, worker)));
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(
            context_id,
            self.workers.last().cloned(),
        )))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
