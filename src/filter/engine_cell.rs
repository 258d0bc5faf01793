//! The engine, behind the one borrow that a callback takes: it is never borrowed while a decision is performed, since the host
//! could call back.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};

use super::host::Verifier;
use gate::engine::{Budget, Engine, Env, Gate};
use gate::jwks::{Shared, SharedData};
use gate::time::Now;

/// The engine of a worker, and what the host passes to it.
#[derive(Debug)]
pub(super) struct EngineCell {
    engine: RefCell<Engine>,
    verifier: Verifier,
    shared_data: &'static dyn SharedData,
    /// What distinguishes the worker from the others of the process.
    number: u64,
    entropy: RandomState,
    drawn: Cell<u64>,
}

impl EngineCell {
    pub(super) fn new(
        gate: Gate,
        budget: Budget,
        verifier: Verifier,
        shared_data: &'static dyn SharedData,
    ) -> Self {
        let entropy = RandomState::new();
        Self {
            engine: RefCell::new(Engine::new(gate, budget)),
            verifier,
            shared_data,
            // 0 stands for no worker.
            number: entropy.hash_one(0_u64) | 1,
            entropy,
            drawn: Cell::new(0),
        }
    }

    /// What the engine says. `None`: it is in use further up the stack.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        Some(ask(&mut *self.engine.try_borrow_mut().ok()?))
    }

    /// As [`EngineCell::ask`]; `otherwise` where it is in use.
    pub(super) fn ask_or<T>(&self, otherwise: T, ask: impl FnOnce(&mut Engine) -> T) -> T {
        self.ask(ask).unwrap_or(otherwise)
    }

    /// As [`EngineCell::ask`], for what happens at a time.
    pub(super) fn report<T>(
        &self,
        now: Now,
        report: impl FnOnce(&mut Engine, &Env<'_>) -> T,
    ) -> Option<T> {
        let env = Env {
            now,
            entropy: &|| self.draw(),
            verifier: &self.verifier,
            shared: Shared {
                data: self.shared_data,
                worker: self.number,
            },
        };
        self.ask(|engine| report(engine, &env))
    }

    /// A number that other workers do not draw at the same time.
    fn draw(&self) -> u64 {
        let drawn = self.drawn.get().wrapping_add(1);
        self.drawn.set(drawn);
        self.entropy.hash_one(drawn)
    }
}
