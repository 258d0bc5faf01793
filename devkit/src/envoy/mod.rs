//! The real Envoy, started for a test and stopped with it.
//!
//! ```no_run
//! # async fn test() {
//! use devkit::envoy::Envoy;
//! use serde_json::json;
//!
//! let backend = devkit::backend::Backend::start().await;
//! let authgear = devkit::authgear::FakeAuthgear::start(Default::default()).await;
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

mod admin;
mod config;
mod find;
mod log;
mod reference;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use serde_json::{Value, json};
use tempfile::TempDir;

#[cfg(feature = "tests")]
use crate::process::Usage;
use crate::process::{Process, log_to};
use crate::wait::{DEADLINE, TimedOut, until};

pub use config::{Builder, CAPABILITIES, capabilities_without, cluster, upstream_tls};
pub use find::{binary, checkout, filter_wasm, version};
pub use reference::Reference;

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
    /// What its environment has beside ours.
    pub environment: Vec<(String, PathBuf)>,
}

impl Default for Launch {
    fn default() -> Self {
        Self {
            concurrency: 1,
            log_level: "warning".to_owned(),
            inherit_log: false,
            environment: Vec::new(),
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
    /// A builder of one for a test.
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
            .envs(launch.environment.clone())
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
        if launch.inherit_log {
            // So that who reads the log live need not wait for the access log.
            command.args(["--file-flush-interval-msec", "200"]);
        } else {
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
        let serving = async || {
            let listening = self.listening().await.map(Ok);
            if listening.is_none() && self.listener_refused().await {
                return Some(Err(EnvoyError::Refused(self.logs())));
            }
            listening
        };
        self.address = self.condition("Envoy to be ready", serving).await??;
        Ok(())
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
        let count = async |name: &str| {
            self.stat(&format!("listener_manager.{name}"))
                .await
                .unwrap_or(0)
        };
        let created = count("listener_create_success").await;
        let rejected = count("lds.update_rejected").await;
        write_listener(self.directory.path(), &listener, version)?;
        let accepted = async || {
            if count("lds.update_rejected").await > rejected {
                return Some(false);
            }
            (count("listener_create_success").await >= created + workers).then_some(true)
        };
        if self
            .condition("every worker to have the new listener", accepted)
            .await?
        {
            return Ok(());
        }
        let dump = self
            .admin("/config_dump?resource=dynamic_listeners")
            .await
            .map(|reply| reply.json());
        let error = dump
            .ok()
            .map(|dump| dump["configs"][0]["error_state"]["details"].to_string());
        Err(EnvoyError::Refused(error.unwrap_or_default()))
    }

    /// How the process ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        self.process.ended()
    }

    /// Waits until it ends by itself, and says how.
    pub async fn wait_until_ended(&self) -> String {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            if let Some(status) = self.process.ended() {
                return status;
            }
        }
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
    #[cfg(feature = "tests")]
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
    // No hot restart: no shared memory and no sockets that another Envoy could meet, or that stay behind.
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
    let mut listener = listener.clone();
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    let answer = json!({ "version_info": version.to_string(), "resources": [listener] });
    fs::write(&new, answer.to_string())?;
    fs::rename(new, directory.join("lds.json"))
}
