//! The real Envoy, started for a test and gone with it.
//!
//! ```no_run
//! # async fn test() {
//! use devkit::envoy::Envoy;
//! use serde_json::json;
//!
//! let backend = devkit::backend::Backend::start().await;
//! let authgear = devkit::authgear::StandIn::start(Default::default()).await;
//! let mut envoy = Envoy::builder()
//!     .filter(&json!({ "projects": [{ "endpoint": authgear.origin(), "cluster": "authgear" }] }))
//!     .cluster("authgear", &[authgear.address()])
//!     .upstream(backend.address())
//!     .reloadable()
//!     .start()
//!     .await;
//! let reply = devkit::client::Request::new(envoy.address(), "GET", "/").send().await;
//! assert_eq!(reply.status, 401);
//! envoy.assert_no_trap();
//! # }
//! ```

mod config;
mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Request;
use crate::message::Reply;
use crate::wait::{DEADLINE, TimedOut, until};
use process::{Process, log_to};

pub use config::{Builder, cluster, upstream_tls};
pub use process::{Usage, binary, checkout, filter_wasm};

/// Why there is no Envoy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvoyError {
    /// Binary or filter is missing.
    #[error("{0}")]
    NotFound(String),
    /// It could not be started.
    #[error("Envoy: {0}")]
    Io(#[from] io::Error),
    /// It refused its configuration, or ended by itself.
    #[error("Envoy ended ({status}):\n{log}")]
    Ended {
        /// The exit status.
        status: String,
        /// What it logged.
        log: String,
    },
    /// It runs, but refused a new listener.
    #[error("Envoy refused the listener: {0}")]
    Refused(String),
    /// It did not come to serve in time.
    #[error("{timed_out}; Envoy logged:\n{log}")]
    TimedOut {
        /// What was waited for.
        timed_out: TimedOut,
        /// What it logged.
        log: String,
    },
}

/// How the process is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Workers.
    pub concurrency: usize,
    /// `--log-level`.
    pub log_level: String,
    /// Whether the log goes to our own standard error instead of a file.
    pub inherit_log: bool,
}

impl Default for Launch {
    fn default() -> Self {
        Self {
            concurrency: 1,
            log_level: "warning".to_owned(),
            inherit_log: false,
        }
    }
}

/// A running Envoy; it ends when this is dropped.
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    address: SocketAddr,
    directory: TempDir,
    /// What its listener is made from, and the version of it.
    reloadable: Option<(Builder, u64)>,
}

impl Envoy {
    /// The way to one for a test.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts Envoy on a whole configuration, e.g. `envoy.yaml` made to fit. It serves when this returns.
    ///
    /// # Errors
    /// Where it does not come to serve.
    pub async fn run(bootstrap: Value, launch: Launch) -> Result<Self, EnvoyError> {
        Self::launch(bootstrap, launch, None).await
    }

    async fn launch(
        mut bootstrap: Value,
        launch: Launch,
        reloadable: Option<Builder>,
    ) -> Result<Self, EnvoyError> {
        let directory = tempfile::Builder::new().prefix("devkit-envoy-").tempdir()?;
        if let Some(builder) = &reloadable {
            write_listener(directory.path(), &builder.listener(1)?, 1)?;
            let source = json!({ "path": directory.path().join("lds.json") });
            bootstrap["dynamic_resources"] = json!({
                "lds_config": { "path_config_source": source, "resource_api_version": "V3" },
            });
        }
        let mut command = command(directory.path(), &bootstrap)?;
        command
            .args(["--concurrency", &launch.concurrency.to_string()])
            .args([
                "--log-level",
                &launch.log_level,
                "--component-log-level",
                wasm_level(&launch.log_level),
            ])
            .args(["--drain-time-s", "1", "--drain-strategy", "immediate"])
            .arg("--admin-address-path")
            .arg(directory.path().join("admin"));
        if !launch.inherit_log {
            log_to(&mut command, &directory.path().join("log"))?;
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let reloadable = reloadable.map(|builder| (builder, 1));
        let process = Process::start(command)?;
        let mut envoy = Self {
            process,
            admin: nowhere,
            address: nowhere,
            directory,
            reloadable,
        };
        envoy.come_up().await?;
        Ok(envoy)
    }

    async fn come_up(&mut self) -> Result<(), EnvoyError> {
        let file = self.directory.path().join("admin");
        self.admin = self
            .condition("Envoy's admin address", async || {
                fs::read_to_string(&file).ok()?.trim().parse().ok()
            })
            .await?;
        self.condition("Envoy to be ready", async || {
            let live = self
                .admin("/ready")
                .await
                .ok()
                .filter(|reply| reply.status == 200);
            live.and(self.listening().await)
        })
        .await
        .map(|address| self.address = address)
    }

    /// The listener's address, once every worker serves it.
    async fn listening(&self) -> Option<SocketAddr> {
        if self.stat("listener_manager.workers_started").await != Some(1) {
            return None;
        }
        let listeners = self.admin("/listeners?format=json").await.ok()?.json();
        let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
        Some(SocketAddr::new(
            address["address"].as_str()?.parse().ok()?,
            port,
        ))
    }

    async fn condition<T>(
        &self,
        what: &str,
        condition: impl AsyncFn() -> Option<T>,
    ) -> Result<T, EnvoyError> {
        let ended = || EnvoyError::Ended {
            status: self.process.ended().unwrap_or_default(),
            log: self.logs(),
        };
        let outcome = until(DEADLINE, what, async || match condition().await {
            Some(value) => Some(Ok(value)),
            None => self.process.ended().map(|_| Err(ended())),
        })
        .await;
        outcome.unwrap_or_else(|timed_out| {
            Err(EnvoyError::TimedOut {
                timed_out,
                log: self.logs(),
            })
        })
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its admin interface listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Asks the admin interface.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn admin(&self, path: &str) -> Result<Reply, crate::client::ClientError> {
        Request::new(self.admin, "GET", path).try_send().await
    }

    /// The value of a counter or gauge; `None` where there is none of this name.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let stats = self
            .admin(&format!("/stats?filter=%5E{name}%24"))
            .await
            .ok()?
            .text();
        stats.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(": ")?
                .trim()
                .parse()
                .ok()
        })
    }

    /// All counters and gauges whose names contain this, as text.
    pub async fn stats(&self, part: &str) -> Vec<(String, u64)> {
        let stats = self
            .admin("/stats")
            .await
            .map(|reply| reply.text())
            .unwrap_or_default();
        let parsed = stats.lines().filter_map(|line| line.split_once(": "));
        parsed
            .filter(|(name, _)| name.contains(part))
            .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
            .collect()
    }

    /// Waits until a counter or gauge is as it should be.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn wait_for_stat(&self, name: &str, fits: impl Fn(u64) -> bool) -> u64 {
        let wait = until(DEADLINE, name, async || {
            self.stat(name).await.filter(|value| fits(*value))
        })
        .await;
        match wait {
            Ok(value) => value,
            Err(error) => panic!("{error}: it is {:?}", self.stat(name).await),
        }
    }

    /// Configures the filter otherwise while Envoy runs, and waits until every worker has the new one.
    ///
    /// # Errors
    /// Where Envoy refuses it (the old one then stays), or was not built [`Builder::reloadable`].
    pub async fn reload(&mut self, filter: &Value) -> Result<(), EnvoyError> {
        let Some((builder, version)) = &mut self.reloadable else {
            return Err(EnvoyError::Refused(
                "it was not built `reloadable`".to_owned(),
            ));
        };
        builder.reconfigured(filter);
        *version += 1;
        let (version, workers) = (*version, builder.launch.concurrency as u64);
        let listener = builder.listener(version)?;
        let created = self
            .stat("listener_manager.listener_create_success")
            .await
            .unwrap_or(0);
        write_listener(self.directory.path(), &listener, version)?;
        self.condition("the new listener", async || {
            let dump = self
                .admin("/config_dump?resource=dynamic_listeners")
                .await
                .ok()?
                .json();
            let state = &dump["configs"][0];
            if state["active_state"]["version_info"] == json!(version.to_string()) {
                let now = self
                    .stat("listener_manager.listener_create_success")
                    .await?;
                return (now >= created + workers).then_some(Ok(()));
            }
            let error = state["error_state"]["failed_configuration"]["filter_chains"].is_array()
                && state["error_state"]
                    .to_string()
                    .contains(&format!("\"version {version}\""));
            error.then(|| {
                Err(EnvoyError::Refused(
                    state["error_state"]["details"].to_string(),
                ))
            })
        })
        .await?
    }

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
        let find = async || {
            self.logs()
                .lines()
                .find(|line| line.contains(part))
                .map(str::to_owned)
        };
        until(DEADLINE, part, find)
            .await
            .unwrap_or_else(|error| panic!("{error}; the log:\n{}", self.logs()))
    }

    /// The lines of the log that tell of a trapped VM.
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

    /// How the process ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        self.process.ended()
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub async fn end(self) {
        self.process.terminate();
        let _ = until(Duration::from_secs(5), "Envoy's end", async || {
            self.process.ended()
        })
        .await;
    }

    /// CPU time and memory so far (Linux).
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.process.usage().unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.logs();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- Envoy's log, its end:\n{}",
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
        }
    }
}

/// Has Envoy check a whole configuration.
///
/// # Errors
/// Where it is refused: with what Envoy logged.
pub async fn validate(bootstrap: Value) -> Result<(), EnvoyError> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let mut command = command(directory.path(), &bootstrap)?;
    command.args([
        "--mode",
        "validate",
        "--log-level",
        "warning",
        "--component-log-level",
        "wasm:info",
    ]);
    log_to(&mut command, &log)?;
    let process = Process::start(command)?;
    let status = until(DEADLINE, "Envoy's verdict", async || process.ended()).await;
    let log = fs::read(&log)
        .map(|log| String::from_utf8_lossy(&log).into_owned())
        .unwrap_or_default();
    match status {
        Ok(status) if status == "exit status: 0" => Ok(()),
        Ok(status) => Err(EnvoyError::Ended { status, log }),
        Err(timed_out) => Err(EnvoyError::TimedOut { timed_out, log }),
    }
}

fn command(directory: &Path, bootstrap: &Value) -> Result<Command, EnvoyError> {
    let path: PathBuf = directory.join("envoy.json");
    fs::write(&path, bootstrap.to_string())?;
    let mut command = Command::new(binary()?);
    // No hot restart: neither shared memory nor sockets to trip over, or to leave behind.
    command
        .arg("--disable-hot-restart")
        .arg("--config-path")
        .arg(path);
    Ok(command)
}

fn wasm_level(level: &str) -> &'static str {
    match level {
        "trace" => "wasm:trace",
        "debug" => "wasm:debug",
        _ => "wasm:info",
    }
}

/// Moved into place: Envoy watches for moves, and never sees half a file.
fn write_listener(directory: &Path, listener: &Value, version: u64) -> io::Result<()> {
    let new = directory.join("lds.json.new");
    fs::write(
        &new,
        json!({ "version_info": version.to_string(), "resources": [listener] }).to_string(),
    )?;
    fs::rename(new, directory.join("lds.json"))
}
