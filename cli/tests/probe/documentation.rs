//! The outcomes in docs/probe.md are real.

use std::fs;

use devkit::envoy::checkout;
use devkit::testbed::TestBed;

use crate::gates::route_that_a_role_chooses;
use crate::{Run, at, file, path, probe};

const DOCUMENTED: &str = "https://www.example.com/account";

/// The block of the page that begins so, as it is written.
fn documented(title: &str) -> String {
    let page = fs::read_to_string(checkout().join("docs/probe.md")).unwrap();
    let start = format!("```text\n{DOCUMENTED}: {title}\n");
    let from = page.find(&start).expect("the block") + "```text\n".len();
    let length = page[from..].find("\n```\n").expect("its end") + 1;
    page[from..from + length].to_owned()
}

fn printed(run: &Run, gate: &str) -> String {
    run.stdout.replace(gate, DOCUMENTED)
}

#[tokio::test]
async fn the_outcome_of_a_gate_that_is_shut_is_as_it_is_documented() {
    let bed = TestBed::start().await;
    let gate = at(&bed.envoy, "/account");
    let token = file(&bed.token());
    let run = probe([&*gate, "--echo", "--token-file", &path(&token)]).await;
    assert_eq!(printed(&run, &gate), documented("shut"));
}

#[tokio::test]
async fn the_outcome_of_a_gate_that_is_open_is_as_it_is_documented() {
    let bed = TestBed::builder()
        .envoy(|envoy| envoy.route(route_that_a_role_chooses()))
        .start()
        .await;
    let gate = at(&bed.envoy, "/account");
    let run = probe([&gate]).await;
    assert_eq!(printed(&run, &gate), documented("OPEN"));
}
