//! `authgear-filter check`, as operators and their CI run it.
#![allow(missing_docs, reason = "the tests' names say it")]

mod accepted;
mod envoy;
mod formats;
mod shown;
mod unreadable;
mod warnings;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

/// What one run gave.
struct Run {
    /// The exit status.
    code: i32,
    stdout: String,
    stderr: String,
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check/cases")
}

/// `authgear-filter check`, in the folder of the cases, with nothing on standard input.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authgear-filter"));
    command
        .arg("check")
        .args(arguments)
        .current_dir(cases())
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE");
    command
}

fn check(arguments: &[&str]) -> Run {
    Run::of(command(arguments).output().expect("it runs"))
}

/// With this text on standard input.
fn check_text(arguments: &[&str], text: &str) -> Run {
    let mut command = command(arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("piped above");
    let text = text.to_owned();
    // It may end before it has read everything.
    let writer = thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it does not panic");
    Run::of(output)
}

impl Run {
    fn of(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self {
            code: output.status.code().expect("no signal"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr,
        }
    }

    /// The codes of what was found.
    fn codes(&self) -> Vec<&str> {
        let heads = self.stdout.lines().filter_map(|line| {
            line.strip_prefix("error[")
                .or_else(|| line.strip_prefix("warning["))
        });
        heads.filter_map(|head| head.split(']').next()).collect()
    }
}
