//! What is made from the tables and from the command line itself: the JSON Schema, completions, the manual page.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::CommandLine;

/// Prints the JSON Schema of the filter's configuration, for editors and other tools
#[derive(Args)]
pub(crate) struct SchemaArguments {}

/// Prints a completion script for a shell
#[derive(Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Prints the manual page, or writes those of all commands
#[derive(Args)]
pub(crate) struct ManArguments {
    /// A folder that is there: a page for each command is written into it
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(crate) fn schema(_: &SchemaArguments) -> ExitCode {
    let schema = gate::config::schema::json_schema();
    print(format!("{schema:#}\n").as_bytes())
}

pub(crate) fn completions(arguments: &CompletionsArguments) -> ExitCode {
    let mut script = Vec::new();
    let mut command = CommandLine::command();
    clap_complete::generate(
        arguments.shell,
        &mut command,
        "authgear-filter",
        &mut script,
    );
    print(&script)
}

pub(crate) fn man(arguments: &ManArguments) -> ExitCode {
    if let Some(folder) = &arguments.dir {
        return match clap_mangen::generate_to(CommandLine::command(), folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&format!("{}: {error}", folder.display())),
        };
    }
    let mut page = Vec::new();
    match clap_mangen::Man::new(CommandLine::command()).render(&mut page) {
        Ok(()) => print(&page),
        Err(error) => failed(&error),
    }
}

/// A reader that has gone, as `head` does, is no failure.
fn print(text: &[u8]) -> ExitCode {
    let mut output = io::stdout().lock();
    match output.write_all(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn failed(error: &dyn fmt::Display) -> ExitCode {
    eprintln!("authgear-filter: {error}");
    ExitCode::from(2)
}
