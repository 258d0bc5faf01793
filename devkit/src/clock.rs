//! An Envoy whose wall clock can be set, forward and back, while it runs (Linux).
//!
//! ```no_run
//! # async fn test() {
//! use devkit::clock::WallClock;
//! use devkit::testbed::TestBed;
//!
//! let clock = WallClock::new();
//! let bed = TestBed::builder().envoy(|envoy| envoy.wall_clock(&clock)).start().await;
//! clock.set_wrong(-3_600);
//! # }
//! ```
//!
//! A library of a few lines is compiled with the `rustc` that the tests were compiled with, and preloaded into Envoy. It moves
//! the wall clock alone; Envoy, its timers and the filter do not change.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// How far the wall clock of an Envoy is wrong.
pub struct WallClock {
    directory: TempDir,
    offset: File,
}

impl WallClock {
    /// One that is right so far.
    ///
    /// # Panics
    /// Where the library cannot be compiled.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let source = directory.path().join("preload.rs");
        fs::write(&source, include_str!("clock/preload.rs")).expect("space for the source");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let compiled = Command::new(rustc)
            .args([
                "--edition",
                "2024",
                "--crate-type",
                "cdylib",
                "-C",
                "opt-level=1",
            ])
            .arg("-o")
            .arg(library(directory.path()))
            .arg(&source)
            .output()
            .expect("rustc");
        let reported = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "rustc: {reported}");
        let offset = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .open(file(directory.path()))
            .expect("a file");
        let clock = Self { directory, offset };
        clock.set_wrong(0);
        clock
    }

    /// Sets it: from now on it is so many seconds ahead of the time, or behind it.
    ///
    /// # Panics
    /// Where that cannot be written.
    pub fn set_wrong(&self, seconds: i64) {
        self.offset
            .write_all_at(&seconds.to_ne_bytes(), 0)
            .expect("space for a number");
    }

    /// The environment that makes a process use it.
    #[must_use]
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let directory = self.directory.path();
        [
            ("LD_PRELOAD", library(directory)),
            ("DEVKIT_WALL_CLOCK", file(directory)),
        ]
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

fn library(directory: &Path) -> PathBuf {
    directory.join("libpreload.so")
}

fn file(directory: &Path) -> PathBuf {
    directory.join("offset")
}
