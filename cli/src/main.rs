//! The command line of the Authgear filter for Envoy: `authgear-filter check` reads a configuration before it is live,
//! `authgear-filter probe` asks a gateway whether it is shut.

mod check;
mod generate;
mod probe;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tells whether the Authgear filter for Envoy works
#[derive(Parser)]
#[command(name = "authgear-filter", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::CheckArguments),
    Probe(probe::ProbeArguments),
    Schema(generate::SchemaArguments),
    Completions(generate::CompletionsArguments),
    Man(generate::ManArguments),
}

fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Check(arguments) => check::check(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Schema(arguments) => generate::schema(&arguments),
        Command::Completions(arguments) => generate::completions(&arguments),
        Command::Man(arguments) => generate::man(&arguments),
    }
}
