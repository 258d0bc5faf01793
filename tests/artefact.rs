//! The file that operators load: its size, and what a host is offered.
#![allow(missing_docs, reason = "the tests' names say it")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;

use devkit::envoy::filter_wasm;

fn artefact() -> Vec<u8> {
    let path = filter_wasm().expect("make build");
    fs::read(path).expect("the artefact")
}

#[test]
fn it_is_no_larger_than_it_may_be() {
    // V8 compiles all of it as Envoy starts, and every worker holds it.
    let size = artefact().len();
    assert!(size <= 600_000, "{size} bytes");
}

#[test]
fn a_host_is_offered_only_the_callbacks_that_there_are() {
    let artefact = artefact();
    let offers = |name: &str| {
        let mut places = artefact.windows(name.len());
        places.any(|place| place == name.as_bytes())
    };
    for name in [
        "proxy_on_request_headers",
        "proxy_on_tick",
        "proxy_on_delete",
    ] {
        assert!(offers(name), "{name}");
    }
    for name in [
        "proxy_on_log",
        "proxy_on_done",
        "proxy_on_request_body",
        "proxy_on_response_body",
    ] {
        assert!(!offers(name), "{name}");
    }
}
