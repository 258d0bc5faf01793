//! Variants in turn, round after round: whatever else the machine does, it does to all of them.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::load::Load;
use super::machine::time_at_work;
use super::origin::Origin;
use super::requests::Requests;
use crate::envoy::Envoy;

/// Requests under way at once.
const CONNECTIONS: usize = 16;

/// A running Envoy.
pub(super) struct Gateway {
    pub(super) envoy: Envoy,
    /// Its process, where that could be found.
    pub(super) pid: Option<u32>,
}

impl Gateway {
    /// User and system CPU time so far.
    pub(super) fn cpu(&self) -> Duration {
        let exact = self.pid.and_then(time_at_work);
        exact.unwrap_or_else(|| self.envoy.usage().cpu)
    }
}

/// Whether the resolver is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// Never.
    Silent,
    /// Once for every request.
    Asked,
}

/// One thing to measure.
pub(super) struct Variant {
    /// What it is called.
    pub(super) name: String,
    /// The variant whose cost is not its own: the same requests through an Envoy without a filter.
    pub(super) base: Option<&'static str>,
    /// The Envoy it runs in.
    pub(super) gateway: Rc<Gateway>,
    load: Load,
    requests: Requests,
    next: usize,
    status: u16,
    resolver: Resolver,
}

impl Variant {
    /// These requests, over and over, to this Envoy, are all answered with 200, and the resolver is not asked.
    pub(super) fn new(
        name: impl Into<String>,
        gateway: &Rc<Gateway>,
        requests: &Requests,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.into(),
            base: None,
            gateway: gateway.clone(),
            load: Load::connect(gateway.envoy.address(), CONNECTIONS)?,
            requests: requests.clone(),
            next: 0,
            status: 200,
            resolver: Resolver::Silent,
        })
    }

    /// What it is compared with.
    pub(super) fn beside(mut self, base: &'static str) -> Self {
        self.base = Some(base);
        self
    }

    /// The status of every answer.
    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The resolver is asked for every request.
    pub(super) fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    fn send(&mut self, count: usize) -> anyhow::Result<()> {
        let requests = self.requests.iter().cycle().skip(self.next).take(count);
        self.load
            .run(requests.map(Vec::as_slice), self.status)
            .with_context(|| self.name.clone())?;
        self.next = (self.next + count) % self.requests.len();
        Ok(())
    }

    /// The CPU time that Envoy takes for each of so many requests, in microseconds.
    fn measure(&mut self, count: usize, origin: &Origin) -> anyhow::Result<f64> {
        let (cpu, resolved) = (self.gateway.cpu(), origin.resolved());
        self.send(count)?;
        let cpu = self.gateway.cpu().saturating_sub(cpu);
        let asked = origin.resolved() - resolved;
        let expected = match self.resolver {
            Resolver::Silent => 0,
            Resolver::Asked => count as u64,
        };
        ensure!(
            asked == expected,
            "{}: the resolver was asked {asked} times, not {expected}",
            self.name
        );
        Ok(cpu.as_secs_f64() * 1e6 / count as f64)
    }
}

/// How long it all takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// How many rounds each variant runs.
    pub(super) rounds: usize,
    /// How many requests a turn is.
    pub(super) requests: usize,
}

/// Microseconds of CPU time a request, for each variant in each round.
pub(super) fn measure(
    variants: &mut [Variant],
    origin: &Origin,
    effort: Effort,
    progress: impl Fn(&str),
) -> anyhow::Result<Vec<Vec<f64>>> {
    progress("warming up");
    for variant in variants.iter_mut() {
        // All that can be cached is cached before anything is measured.
        let whole = variant.requests.len();
        variant.send(whole.max(effort.requests / 4))?;
    }
    let mut figures = vec![Vec::with_capacity(effort.rounds); variants.len()];
    for round in 1..=effort.rounds {
        progress(&format!("round {round} of {}", effort.rounds));
        // There and back, so that a machine that gets slower or faster favours neither the first nor the last.
        let mut turns: Vec<usize> = (0..variants.len()).collect();
        if round % 2 == 0 {
            turns.reverse();
        }
        for turn in turns {
            figures[turn].push(variants[turn].measure(effort.requests, origin)?);
        }
    }
    for variant in variants.iter() {
        variant.gateway.envoy.assert_no_trap();
    }
    Ok(figures)
}

/// The middle one of some figures, and the bounds of the middle half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(super) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let index = part * (sorted.len() - 1) as f64;
            let (below, above) = (
                sorted[index.floor() as usize],
                sorted[index.ceil() as usize],
            );
            below + (above - below) * index.fract()
        };
        Self {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_middle_half_of_figures_lies_about_their_median() {
        let spread = Spread::of([5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
        let spread = Spread::of([2.0, 1.0]);
        assert_eq!((spread.low, spread.median, spread.high), (1.25, 1.5, 1.75));
    }
}
