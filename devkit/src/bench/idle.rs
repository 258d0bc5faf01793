//! What the filter takes before any request comes: memory, and time to start.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::machine::Cores;
use super::measure::Spread;
use super::origin::Origin;
use super::{Bench, gateways};
use crate::envoy::{Envoy, filter_wasm};

/// Workers of the Envoy that shows what each of them needs.
const WORKERS: usize = 5;

/// Milliseconds until Envoy serves, and of its CPU time until then: on a busy machine the latter is the better measure.
#[derive(Default)]
struct Starts {
    times: Vec<f64>,
    cpu: Vec<f64>,
}

/// Memory, size and start, as members of the summary.
pub(super) fn measure(bench: &Bench<'_>, origin: &Origin) -> anyhow::Result<Value> {
    let address = origin.address();
    let builder = |ours: bool, workers| {
        let builder = if ours {
            gateways::ours(address, &gateways::configuration())
        } else {
            gateways::plain(address)
        };
        builder.concurrency(workers)
    };
    let (mut with, mut without) = (Starts::default(), Starts::default());
    for _ in 0..bench.options.starts {
        for (ours, starts) in [(false, &mut without), (true, &mut with)] {
            let start = Instant::now();
            // As in production: V8 compiles on every core that it may use.
            let gateway = bench.start_on(Cores::for_a_start, builder(ours, 1))?;
            starts.times.push(start.elapsed().as_secs_f64() * 1e3);
            starts.cpu.push(gateway.cpu().as_secs_f64() * 1e3);
        }
    }
    let memory = |ours, workers| -> anyhow::Result<f64> {
        let gateway = bench.start(builder(ours, workers))?;
        Ok(bench.runtime.block_on(settled_memory(&gateway.envoy)))
    };
    let one = memory(true, 1)? - memory(false, 1)?;
    let many = memory(true, WORKERS)? - memory(false, WORKERS)?;
    Ok(json!({
        "artefact_bytes": filter_wasm()?.metadata()?.len(),
        "start_ms": {
            "without_filter": rounded(Spread::of(without.times).median),
            "with_filter": rounded(Spread::of(with.times).median),
        },
        "start_cpu_ms": {
            "without_filter": rounded(Spread::of(without.cpu).median),
            "with_filter": rounded(Spread::of(with.cpu).median),
        },
        "idle_memory_mib": {
            "one_worker": rounded(one),
            "five_workers": rounded(many),
            "each_further_worker": rounded((many - one) / (WORKERS - 1) as f64),
        },
    }))
}

/// Envoy's resident memory in MiB, once it has stopped growing.
pub(super) async fn settled_memory(envoy: &Envoy) -> f64 {
    const STEP: Duration = Duration::from_millis(100);
    const SAME: usize = 5;
    const MOST: usize = 100;
    let mut last = envoy.usage().resident;
    let mut same = 0;
    for _ in 0..MOST {
        tokio::time::sleep(STEP).await;
        let now = envoy.usage().resident;
        same = if now.abs_diff(last) < 64 * 1024 {
            same + 1
        } else {
            0
        };
        last = now;
        if same == SAME {
            break;
        }
    }
    last as f64 / f64::from(1 << 20)
}

/// Two decimals are more than can be relied on.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
