//! Strangers without end: what the filter caches of them stays within its bounds, and so does Envoy's memory.

use devkit::soak::{Options, soak};

/// `devkit soak` is the same with a million.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_flat_however_many_tokens_and_cookies_come() {
    let options = Options {
        requests: 24_000,
        cached: 100,
        ..Options::default()
    };
    let run = soak(&options, |sample| println!("{sample:?}"))
        .await
        .expect("answers as they must be");
    let growth = run.growth_behind_half();
    // Were all of the last 12 000 cached, they would take more than twice as much.
    assert!(growth < 2 << 20, "{growth} bytes: {:#?}", run.samples);
}
