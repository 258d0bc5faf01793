//! `scripts/release` where something is wrong: it says what, and does nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const CHANGELOG: &str =
    "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-27\n\n- It works.\n";

/// A checkout with as much as the script reads.
struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a workspace");
        let checkout = Self(tempfile::tempdir().expect("a directory"));
        let at = checkout.0.path();
        for folder in ["scripts", ".config"] {
            fs::create_dir(at.join(folder)).expect("a folder");
        }
        for file in ["scripts/release", ".config/release-toolchain"] {
            fs::copy(root.join(file), at.join(file)).expect("copied");
        }
        let cargo = "[workspace]\n\n[workspace.package]\nversion = \"1.2.3\"\n";
        checkout
            .with("Cargo.toml", cargo)
            .with("CHANGELOG.md", CHANGELOG)
            .with(".gitignore", "/dist/\n")
            .git(&["init", "--quiet"])
            .commit()
    }

    fn with(self, file: &str, text: &str) -> Self {
        fs::write(self.0.path().join(file), text).expect("written");
        self
    }

    fn git(self, arguments: &[&str]) -> Self {
        let done = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("git");
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        self
    }

    fn commit(self) -> Self {
        self.git(&["add", "."])
            .git(&["commit", "--quiet", "--allow-empty", "--message", "all"])
    }

    /// What it says, and its exit status.
    fn release(&self, arguments: &[&str]) -> (String, i32) {
        let done = Command::new("scripts/release")
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("the script");
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        (said, done.status.code().expect("an exit"))
    }
}

#[track_caller]
fn assert_refused(checkout: &Checkout, arguments: &[&str], reason: &str) {
    let (said, status) = checkout.release(arguments);
    assert!(
        status != 0 && said.contains(reason),
        "{arguments:?}: {status}: {said}"
    );
}

#[test]
fn a_tag_is_the_version_of_everything() {
    let checkout = Checkout::new();
    let (said, status) = checkout.release(&["check", "v1.2.3"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("version, changelog and tree agree"), "{said}");
    for tag in ["1.2.3", "v1.2.4", "latest", ""] {
        let reason = if tag.is_empty() {
            "needs an argument"
        } else {
            "expected v1.2.3"
        };
        assert_refused(&checkout, &["check", tag], reason);
    }
    let checkout = checkout.git(&["tag", "v1.2.3"]);
    assert_eq!(checkout.release(&["check", "v1.2.3"]).1, 0);
    let checkout = checkout.with("more", "").commit();
    assert_refused(
        &checkout,
        &["check", "v1.2.3"],
        "the tag v1.2.3 is of commit",
    );
}

#[test]
fn the_changelog_has_the_version_its_day_and_something_to_say() {
    for (changelog, reason) in [
        (CHANGELOG.replace("1.2.3", "1.2.2"), "has no heading"),
        (
            CHANGELOG.replace(" - 2026-11-27", ""),
            "is no \"## [1.2.3] - YYYY-MM-DD\"",
        ),
        (
            CHANGELOG.replace("2026-11-27", "2026-13-27"),
            "2026-13-27 is no date",
        ),
        (
            CHANGELOG.replace("- It works.\n", ""),
            "says nothing about 1.2.3",
        ),
    ] {
        let checkout = Checkout::new().with("CHANGELOG.md", &changelog).commit();
        assert_refused(&checkout, &["check", "v1.2.3"], reason);
    }
}

#[test]
fn nothing_is_released_that_is_not_committed() {
    let checkout = Checkout::new().with("new", "");
    for arguments in [&["check", "v1.2.3"][..], &["build"]] {
        assert_refused(&checkout, arguments, "the tree is not clean: ?? new");
    }
}

#[test]
fn what_was_not_built_is_neither_tested_nor_pushed() {
    let checkout = Checkout::new();
    for arguments in [&["test"][..], &["push", "ghcr.io"], &["verify", "a/b:1"]] {
        assert_refused(&checkout, arguments, "dist/release is not there");
    }
    let checkout = checkout.git(&["status"]);
    fs::create_dir_all(checkout.0.path().join("dist/release")).expect("a folder");
    let checkout = checkout.with("dist/release/SHA256SUMS", "0000  authgear_filter.wasm\n");
    assert_refused(&checkout, &["test"], "not the one that was built");
}

#[test]
fn a_step_that_is_not_known_is_no_reason_to_guess() {
    let checkout = Checkout::new();
    for arguments in [
        &[][..],
        &["publish"],
        &["check"],
        &["push"],
        &["verify", ""],
    ] {
        let (said, status) = checkout.release(arguments);
        assert_eq!(status, 2, "{arguments:?}: {said}");
        assert!(said.contains("scripts/release build"), "{said}");
    }
    let (said, status) = checkout.release(&["--help"]);
    assert_eq!(status, 0, "{said}");
}
