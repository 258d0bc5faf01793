//! What the command line makes of itself: the schema, completions, manual pages.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_authgear-filter"))
        .args(arguments)
        .output()
        .expect("the command")
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_schema_is_the_one_of_the_documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    let documented = fs::read_to_string(root.join("docs/schema.json")).expect("the schema");
    assert_eq!(printed(&["schema"]), documented);
}

#[test]
fn every_shell_is_offered_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for command in ["check", "probe", "schema", "completions", "man"] {
            assert!(script.contains(command), "{shell}, {command}");
        }
    }
    let output = run(&["completions", "cmd"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn each_command_has_a_manual_page() {
    assert!(printed(&["man"]).contains(".SH SUBCOMMANDS"));
    let folder = tempfile::tempdir().expect("a directory");
    let text = folder.path().to_str().expect("text");
    printed(&["man", "--dir", text]);
    for (page, option) in [("check", "\\-\\-strict"), ("probe", "\\-\\-token\\-file")] {
        let page = folder.path().join(format!("authgear-filter-{page}.1"));
        let page = fs::read_to_string(page).expect("a page");
        assert!(page.contains(option), "{page}");
    }
    let output = run(&["man", "--dir", "/nowhere/at/all"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/nowhere/at/all: "), "{said}");
}

/// As `authgear-filter schema | head -1` does.
#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_authgear-filter"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
