//! `authgear-filter probe` against the real Envoy with the filter, and against what is none.
#![allow(missing_docs, reason = "the tests' names say it")]

mod arguments;
mod documentation;
mod gates;
mod servers;

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use devkit::envoy::Envoy;
use serde_json::Value;
use tempfile::NamedTempFile;

/// What the command printed, and how it ended.
#[derive(Debug)]
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// The outcome that it printed, of `--format json`.
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The requests with this verdict, of all routes.
    fn requests(&self, verdict: &str) -> Vec<String> {
        let json = self.json();
        let routes = json["routes"].as_array().expect("routes").iter();
        let requests = routes.flat_map(|route| route["requests"].as_array().expect("requests"));
        requests
            .filter(|request| request["verdict"] == verdict)
            .map(|request| request["request"].as_str().expect("a name").to_owned())
            .collect()
    }
}

/// Runs `authgear-filter probe` with these arguments.
async fn probe(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
    probe_with(&[("LC_ALL", "C.UTF-8")], arguments).await
}

async fn probe_with(
    environment: &[(&str, &str)],
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Run {
    let mut command = command(environment, arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("no panic").expect("a process");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Run {
        status: output.status.code().expect("no signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn command(
    environment: &[(&str, &str)],
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authgear-filter"));
    command.arg("probe").args(arguments);
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "LC_ALL", "LC_CTYPE", "LANG"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    command
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

fn at(envoy: &Envoy, path: &str) -> String {
    url(envoy.address(), path)
}

/// A file with this in it.
fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(content.as_bytes()).expect("room");
    file
}

fn path(file: &NamedTempFile) -> String {
    file.path().to_str().expect("UTF-8").to_owned()
}
