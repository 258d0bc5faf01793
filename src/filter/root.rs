//! The worker's root: configuration and time.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host::{self, Verifier};
use super::pace::Pace;
use super::stream::Stream;
use super::worker::Worker;
use crate::config::{Config, ConfigErrors};
use crate::gate::Gate;

/// The root context.
pub(super) struct Root {
    context_id: u32,
    /// The last is the one in use; those before it were configured earlier, and stay while requests of theirs wait.
    workers: Vec<Rc<Worker>>,
    pace: Rc<Pace>,
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
            pace: Rc::new(Pace::new(context_id)),
        }
    }

    fn configure(&self) -> Result<Worker, ConfigErrors> {
        let json = host::configuration().unwrap_or_default();
        let config = Config::parse(&json)?;
        let fetches_keys = config.fetches_keys();
        let gate = Gate::new(config)?;
        let verifier = Verifier::choose();
        host::choose_pause(verifier);
        let pace = Rc::clone(&self.pace);
        let plugin = host::plugin();
        if fetches_keys && plugin.vm_id.is_empty() {
            log::info!(
                "the plugin has no \"vm_id\": every worker fetches the keys for itself; under a \"vm_id\" of its own they share them"
            );
        }
        let shared_data = host::shared_data(&plugin);
        Ok(Worker::new(
            self.context_id,
            pace,
            gate,
            verifier,
            shared_data,
        ))
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
                self.pace.start()
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
        self.pace.ticked();
        // Held once more, the one in use is never taken for one that nobody needs.
        let in_use = self.workers.last().cloned();
        self.workers.retain(|worker| {
            let needed = Rc::strong_count(worker) > 1;
            if !needed {
                worker.end();
            }
            needed
        });
        let mut more = false;
        for worker in &self.workers {
            more |= worker.tick(in_use.as_ref().is_some_and(|last| Rc::ptr_eq(last, worker)));
        }
        if !more {
            self.pace.relax();
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
