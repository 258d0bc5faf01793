//! `devkit bench`: what the filter costs.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use devkit::bench::{Options, command as measure};

/// What the filter costs, beside Envoy's own filters (docs/benchmark.md)
#[derive(clap::Args)]
pub struct Arguments {
    /// How many rounds each variant runs
    #[arg(long)]
    rounds: Option<NonZeroUsize>,
    /// How many requests a turn is
    #[arg(long)]
    requests: Option<NonZeroUsize>,
    /// Seconds: whether everything works, and no figure to rely on
    #[arg(long)]
    quick: bool,
    /// Leave out how the cost grows with what is cached and configured
    #[arg(long)]
    no_growth: bool,
    /// Where to write a chart
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Where to write the summary
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

impl From<Arguments> for Options {
    fn from(arguments: Arguments) -> Self {
        let usual = if arguments.quick {
            Self::quick()
        } else {
            Self::default()
        };
        Self {
            rounds: arguments.rounds.map_or(usual.rounds, NonZeroUsize::get),
            requests: arguments.requests.map_or(usual.requests, NonZeroUsize::get),
            growth: usual.growth.filter(|_| !arguments.no_growth),
            svg: arguments.svg,
            summary: arguments.summary.or(usual.summary),
            ..usual
        }
    }
}

pub(crate) fn command(arguments: Arguments) -> anyhow::Result<()> {
    measure(&arguments.into())
}
