//! `devkit soak`: whether Envoy's memory stays flat, however many strangers come.

use anyhow::{Context, ensure};
use devkit::soak::{Options, Sample, soak};

use crate::Arguments;

/// What the run may add behind its half, in bytes: allocators keep a little more than they are asked for.
const FLAT: u64 = 8 << 20;

pub async fn command(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.only(&["requests", "workers", "cached"], 0)?;
    let number = |name: &str, otherwise: usize| match arguments.get(name) {
        Some(text) => text.parse().with_context(|| format!("--{name} {text}")),
        None => Ok(otherwise),
    };
    let usual = Options::default();
    let options = Options {
        requests: number("requests", usual.requests)?,
        workers: number("workers", usual.workers)?,
        cached: number("cached", usual.cached)?,
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
