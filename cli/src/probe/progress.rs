//! How far it is, for who waits at a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Route;
use super::plan::Probe;

/// A line at the terminal of standard error. Where that is none, nothing.
pub(crate) struct Progress {
    bar: ProgressBar,
    sent: usize,
    all: usize,
}

impl Progress {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::default_spinner().tick_chars("|/-\\ "));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            bar,
            sent: 0,
            all: routes.iter().map(|route| route.probes.len()).sum(),
        }
    }

    /// This one is sent now.
    pub(crate) fn next(&mut self, probe: &Probe) {
        self.sent = self.sent.saturating_add(1);
        let (sent, all, name) = (self.sent, self.all, probe.kind.name());
        self.bar.set_message(format!("{sent} of {all}: {name}"));
    }

    /// The line goes away.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}
