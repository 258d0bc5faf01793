//! `devkit soak`: whether Envoy's memory stays flat, however many strangers come.

use anyhow::ensure;
use devkit::soak::{Options, Sample, soak};

/// What the run may add behind its half, in bytes: allocators keep a little more than they are asked for.
const FLAT: u64 = 8 << 20;

/// Whether Envoy's memory stays flat, however many tokens and cookies come, no two the same
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many come
    #[arg(long, default_value_t = Options::default().requests)]
    requests: usize,
    /// Envoy's workers
    #[arg(long, default_value_t = Options::default().workers)]
    workers: usize,
    /// How many tokens and how many sessions the filter caches
    #[arg(long, default_value_t = Options::default().cached)]
    cached: usize,
}

pub(crate) async fn command(arguments: Arguments) -> anyhow::Result<()> {
    let options = Options {
        requests: arguments.requests,
        workers: arguments.workers,
        cached: arguments.cached,
    };
    println!(
        "{:>10} {:>12} {:>8} {:>8}",
        "requests", "memory, MiB", "tokens", "sessions"
    );
    let run = soak(&options, print).await?;
    let growth = run.growth_behind_half();
    println!("growth behind half: {:.1} MiB", mebibytes(growth));
    ensure!(growth < FLAT, "memory is not flat");
    Ok(())
}

fn print(sample: &Sample) {
    println!(
        "{:>10} {:>12.1} {:>8} {:>8}",
        sample.requests,
        mebibytes(sample.resident),
        sample.tokens,
        sample.sessions
    );
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a tenth of a mebibyte is enough"
)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
