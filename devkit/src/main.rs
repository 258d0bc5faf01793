//! The command line of the devkit.

mod commands {
    #[cfg(feature = "tests")]
    pub(crate) mod bench;
    pub(crate) mod run;
    pub(crate) mod serve;
    #[cfg(feature = "tests")]
    pub(crate) mod soak;
}

use std::env;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

#[cfg(feature = "tests")]
use commands::{bench, soak};
use commands::{run, serve};

/// What the Authgear filter for Envoy is tried, tested and measured with
#[derive(Parser)]
#[command(name = "devkit", args_override_self = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[cfg_attr(
    not(feature = "tests"),
    command(after_help = "bench and soak are there with the feature `tests`.")
)]
enum Command {
    Run(run::Arguments),
    Authgear(serve::AuthgearArguments),
    Demo(serve::DemoArguments),
    Health(serve::HealthArguments),
    #[cfg(feature = "tests")]
    Bench(bench::Arguments),
    #[cfg(feature = "tests")]
    Soak(soak::Arguments),
}

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
    let mut command_line = CommandLine::command()
        .mut_subcommands(|command| command.mut_args(without_an_empty_variable));
    let mut given = command_line.get_matches_mut();
    let CommandLine { command } = CommandLine::from_arg_matches_mut(&mut given)
        .map_err(|error| error.format(&mut command_line))?;
    let command = match command {
        // It has a runtime of its own, on the core that it leaves to itself.
        #[cfg(feature = "tests")]
        Command::Bench(arguments) => return bench::command(arguments),
        other => other,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Run(arguments) => run::run(arguments).await,
            Command::Authgear(arguments) => serve::authgear(arguments).await,
            Command::Demo(arguments) => serve::demo(arguments).await,
            Command::Health(arguments) => serve::health(arguments).await,
            #[cfg(feature = "tests")]
            Command::Soak(arguments) => soak::command(arguments).await,
            #[cfg(feature = "tests")]
            Command::Bench(arguments) => bench::command(arguments),
        }
    })
}

/// A variable that is set to nothing counts as none: so a shell, or a compose file, unsets one.
fn without_an_empty_variable(argument: Arg) -> Arg {
    let value = argument.get_env().and_then(env::var_os);
    if value.is_some_and(|value| value.is_empty()) {
        argument.env(Resettable::Reset)
    } else {
        argument
    }
}
