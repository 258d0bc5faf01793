//! What Envoy logs.

use std::fs;

use super::Envoy;
use crate::wait::{DEADLINE, until};

impl Envoy {
    /// What it logged so far.
    #[must_use]
    pub fn logs(&self) -> String {
        fs::read(self.directory.path().join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Waits until it has logged a line that contains this; answers the line.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait_for_log(&self, part: &str) -> String {
        self.wait_for_line(&[part]).await
    }

    /// The same of a line that contains all of these.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait_for_line(&self, parts: &[&str]) -> String {
        let find = async || {
            self.logs()
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .map(str::to_owned)
        };
        until(DEADLINE, &parts.join(" … "), find)
            .await
            .unwrap_or_else(|error| panic!("{error}; the log:\n{}", self.logs()))
    }

    /// The lines of the log that report a trapped VM.
    #[must_use]
    pub fn traps(&self) -> Vec<String> {
        const SIGNS: [&str; 4] = [
            "panicked",
            "Uncaught",
            "wasm log critical",
            "Function: proxy_",
        ];
        let log = self.logs();
        log.lines()
            .filter(|line| SIGNS.iter().any(|sign| line.contains(sign)))
            .map(str::to_owned)
            .collect()
    }

    /// No VM has trapped, and Envoy itself runs.
    ///
    /// # Panics
    /// Otherwise.
    pub fn assert_no_trap(&self) {
        let traps = self.traps();
        assert!(traps.is_empty(), "the VM trapped:\n{}", traps.join("\n"));
        assert_eq!(self.ended(), None, "Envoy has ended:\n{}", self.logs());
    }
}
