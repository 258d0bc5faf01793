//! The command line of the devkit.

mod commands {
    pub mod run;
    pub mod serve;
    #[cfg(feature = "tests")]
    pub mod soak;
}

use std::process::ExitCode;

use anyhow::{Context, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt};

#[cfg(feature = "tests")]
use commands::soak;
use commands::{run, serve};

const USAGE: &str = "\
devkit: what the Authgear filter for Envoy is tried, tested and measured with

  devkit run [--endpoint https://PROJECT.authgear.cloud]
      Envoy with the filter, a demo application, and a stand-in Authgear unless an endpoint is given.
      --endpoint      or AUTHGEAR_ENDPOINT: a real Authgear project instead of the stand-in
      --ca-file       or AUTHGEAR_CA_FILE: the CAs to verify that project's certificate with
      --gateway-port  or GATEWAY_PORT: 10000 unless said otherwise; 0 is any free port
      --authgear-port or AUTHGEAR_PORT: 10001
      --app-port      or APP_PORT: 10002
  devkit authgear --listen ADDRESS:PORT [--origin URL] [--return-origin URL]…
      The stand-in Authgear. --origin is its public origin (http://localhost:10001);
      --return-origin is where its login page may send a browser back to (http://localhost:10000).
  devkit demo --listen ADDRESS:PORT [--login URL]
      The demo application. --login is the origin of the login page (http://localhost:10001).
  devkit health URL
      Succeeds if the URL answers 200.
  devkit bench [--rounds N] [--requests N] [--quick] [--no-growth] [--svg FILE] [--summary FILE]
      What the filter costs, beside Envoy's own filters (docs/benchmark.md).
  devkit soak [--requests N] [--workers N] [--cached N]
      Whether Envoy's memory stays flat: as many tokens and cookies, no two the same (a million).
      --cached is how many of each the filter remembers (100).
";

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("devkit: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next()? {
        Some(Value(command)) => command.string()?,
        Some(Long("help") | Short('h')) => {
            print!("{USAGE}");
            return Ok(());
        }
        Some(other) => return Err(other.unexpected().into()),
        None => bail!("which command?\n\n{USAGE}"),
    };
    // It has a runtime of its own, on the core that it leaves to itself.
    #[cfg(feature = "tests")]
    if command == "bench" {
        return devkit::bench::command(&mut parser);
    }
    let arguments = Arguments::read(&mut parser)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime")?;
    runtime.block_on(async {
        match command.as_str() {
            "run" => run::run(&arguments).await,
            "authgear" => serve::authgear(&arguments).await,
            "demo" => serve::demo(&arguments).await,
            "health" => serve::health(&arguments).await,
            #[cfg(feature = "tests")]
            "soak" => soak::command(&arguments).await,
            #[cfg(not(feature = "tests"))]
            "bench" | "soak" => {
                bail!("{command}: this devkit was built without the feature `tests`")
            }
            "help" => {
                print!("{USAGE}");
                Ok(())
            }
            other => bail!("{other}: no such command\n\n{USAGE}"),
        }
    })
}

/// The options of a command, each `--name value`, and what stands by itself.
pub struct Arguments {
    options: Vec<(String, String)>,
    plain: Vec<String>,
}

impl Arguments {
    fn read(parser: &mut lexopt::Parser) -> anyhow::Result<Self> {
        let mut arguments = Self {
            options: Vec::new(),
            plain: Vec::new(),
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long(name) => {
                    let name = name.to_owned();
                    arguments.options.push((name, parser.value()?.string()?));
                }
                Value(value) => arguments.plain.push(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(arguments)
    }

    /// Refuses what the command does not know.
    pub fn only(&self, options: &[&str], plain: usize) -> anyhow::Result<()> {
        if let Some((name, _)) = self
            .options
            .iter()
            .find(|(name, _)| !options.contains(&name.as_str()))
        {
            bail!("--{name}: no such option here\n\n{USAGE}");
        }
        if let Some(extra) = self.plain.get(plain) {
            bail!("{extra}: one argument too many\n\n{USAGE}");
        }
        Ok(())
    }

    /// An option's value.
    pub fn get(&self, name: &str) -> Option<String> {
        self.all(name).pop()
    }

    /// Every value of an option that may be repeated.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.options
            .iter()
            .filter(|(option, _)| option == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// An option's value, else the environment's; an empty one is none.
    pub fn or_env(&self, name: &str, variable: &str) -> Option<String> {
        self.get(name)
            .or_else(|| std::env::var(variable).ok())
            .filter(|value| !value.is_empty())
    }

    /// An argument without a name.
    pub fn plain(&self, index: usize) -> Option<&str> {
        self.plain.get(index).map(String::as_str)
    }
}
