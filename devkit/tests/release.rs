//! `scripts/release` where something is wrong: it says what, and does nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const CHANGELOG: &str =
    "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-27\n\n- It works.\n";

const LOCK: &str = "version = 4\n\n[[package]]\nname = \"authgear-filter\"\nversion = \"1.2.3\"\n";

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
            .with("Cargo.lock", LOCK)
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

    fn with_program(self, file: &str, script: &str) -> Self {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let checkout = self.with(file, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
        checkout
    }

    /// As if it had been built: an image of two manifests, and a `skopeo` for registries that are folders.
    fn with_release(self) -> Self {
        let image = self.0.path().join("dist/release/image");
        fs::create_dir_all(&image).expect("a folder");
        let manifests = ["1.2.3", "1.2.3-volume"].map(|tag| {
            fs::write(image.join(tag), tag).expect("written");
            let digest = format!("sha256:{:x}", Sha256::digest(tag));
            json!({ "digest": digest, "annotations": { "org.opencontainers.image.ref.name": tag } })
        });
        let index = json!({ "manifests": manifests }).to_string();
        self.with("dist/release/SHA256SUMS", "")
            .with("dist/release/image/index.json", &index)
            .with_program("bin/skopeo", SKOPEO)
    }

    /// What it says, and its exit status.
    fn release(&self, arguments: &[&str]) -> (String, i32) {
        let path = std::env::var("PATH").expect("a PATH");
        let programs = self.0.path().join("bin");
        let done = Command::new("scripts/release")
            .args(arguments)
            .env("PATH", format!("{}:{path}", programs.display()))
            .current_dir(self.0.path())
            .output()
            .expect("the script");
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        (said, done.status.code().expect("an exit"))
    }
}

/// A registry's image is the file `registry/NAME`; a manifest is its tag.
const SKOPEO: &str = r#"
command=$1
for argument; do from=$to to=$argument; done
mkdir -p registry
file() { echo "registry/$(echo "${1#docker://}" | tr /@: ___)"; }
case $command:$from:$to in
  inspect:*:docker://*) cat "$(file "$to")" ;;
  copy:oci:dist/release/image:*:docker://*) cp "dist/release/image/${from##*:}" "$(file "$to")" ;;
  copy:docker://*:dir:*) mkdir -p "${to#dir:}" && cp "$(file "$from")" "${to#dir:}/manifest.json" ;;
  *) exit 2 ;;
esac
"#;

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
fn what_cargo_has_locked_is_the_version_too() {
    let checkout = Checkout::new()
        .with("Cargo.lock", &LOCK.replace("1.2.3", "1.2.2"))
        .commit();
    let reason = "Cargo.lock has 1.2.2, and Cargo.toml 1.2.3";
    assert_refused(&checkout, &["check", "v1.2.3"], reason);
}

/// What `scripts/wasm-cargo` and `scripts/wasm-opt` say of themselves.
const RUST: &str = "wasm-cargo: wasm32-wasip1 of rustc 1.95.0 (59807616e 2026-04-14), standard library: prebuilt (installed)";
const BINARYEN: &str = "wasm-opt: Binaryen 108 (debian)";

#[test]
fn a_release_has_one_toolchain() {
    let with = |rust: &str, binaryen: &str| {
        Checkout::new()
            .with(
                ".config/release-toolchain",
                "rust=1.95.0\nrust_commit=59807616e\nstd=prebuilt\nbinaryen=108\n",
            )
            .with_program("scripts/wasm-cargo", &format!("echo '{rust}' >&2"))
            .with_program("scripts/wasm-opt", &format!("echo '{binaryen}' >&2"))
            .with("Makefile", "build:\n\t@echo built; exit 1\n")
            .commit()
    };
    let wanted = with(RUST, BINARYEN);
    for step in ["build", "reproduce"] {
        let (said, _) = wanted.release(&[step]);
        assert!(said.starts_with("built"), "{step}: {said}");
    }
    let none = "wasm-opt: warning: no Binaryen 108 or newer here, and none to be had: the module stays larger and slower than it may be";
    for (rust, binaryen, reason) in [
        (
            RUST.replace("1.95.0", "1.95.1"),
            BINARYEN,
            "built with rustc 1.95.0 (59807616e)",
        ),
        (
            RUST.replace(" (59807616e 2026-04-14)", " (Debian)"),
            BINARYEN,
            "built with rustc 1.95.0 (59807616e)",
        ),
        (
            RUST.replace("prebuilt", "sources"),
            BINARYEN,
            "standard library: prebuilt",
        ),
        (
            RUST.to_owned(),
            "wasm-opt: Binaryen 116 (crate)",
            "built with Binaryen 108",
        ),
        (RUST.to_owned(), none, "built with Binaryen 108"),
    ] {
        let checkout = with(&rust, binaryen);
        for step in ["build", "reproduce"] {
            assert_refused(&checkout, &[step], reason);
            let (said, _) = checkout.release(&[step]);
            assert!(!said.contains("\nbuilt\n"), "{step}: {said}");
        }
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
fn a_version_is_pushed_once() {
    let checkout = Checkout::new().with_release();
    let (said, status) = checkout.release(&["push", "localhost:1"]);
    assert_eq!(status, 0, "{said}");
    for tag in ["1.2.3", "1.2.3-volume"] {
        let line = format!("pushed localhost:1/authgear/envoy-filter:{tag}@sha256:");
        assert!(said.contains(&line), "{said}");
    }
    // Such as after a push that broke off.
    let (said, status) = checkout.release(&["push", "localhost:1"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(said.matches("is there already").count(), 2, "{said}");
    assert!(!said.contains("pushed"), "{said}");
    let there = "registry/localhost_1_authgear_envoy-filter_1.2.3-volume";
    let checkout = checkout.with(there, "another");
    assert_refused(
        &checkout,
        &["push", "localhost:1"],
        "1.2.3-volume is there already, and is sha256:",
    );
    let kept = fs::read_to_string(checkout.0.path().join(there)).expect("a manifest");
    assert_eq!(kept, "another");
}

#[test]
fn a_registry_is_a_host_and_no_image() {
    let checkout = Checkout::new().with_release();
    for registry in [
        "docker://ghcr.io",
        "https://ghcr.io",
        "ghcr.io/",
        "ghcr.io/a:latest",
        "a@sha256:0",
        "--help",
    ] {
        assert_refused(&checkout, &["push", registry], "is no registry");
    }
    assert!(!checkout.0.path().join("registry").exists());
}

#[test]
fn what_was_pulled_is_compared_with_what_was_built() {
    let checkout = Checkout::new().with_release();
    assert_eq!(checkout.release(&["push", "localhost:1"]).1, 0);
    let digest = format!("sha256:{:x}", Sha256::digest("1.2.3"));
    let by_digest = format!("localhost:1/authgear/envoy-filter@{digest}");
    let checkout = checkout.with(
        &format!("registry/{}", by_digest.replace(['/', '@', ':'], "_")),
        "1.2.3",
    );
    let both = format!("localhost:1/authgear/envoy-filter:1.2.3@{digest}");
    let by_tag = "localhost:1/authgear/envoy-filter:1.2.3";
    for image in [by_tag, &by_digest, &both] {
        let (said, status) = checkout.release(&["verify", image]);
        assert_eq!(status, 0, "{image}: {said}");
        let line = format!("is authgear/envoy-filter:1.2.3 of dist/release: {digest}");
        assert!(said.contains(&line), "{said}");
    }
    let checkout = checkout.with("registry/localhost_1_a_1", "another");
    for (image, reason) in [
        ("localhost:1/a:1", "and none of dist/release"),
        ("localhost:1/a:2", "cannot be pulled"),
        ("localhost:1/a:latest", "no tag latest"),
        ("localhost:1/a:latest@sha256:0", "no tag latest"),
        // Who names nothing means `latest`.
        ("localhost:1/a", "neither tag nor digest"),
        ("docker://localhost:1/a:1", "is no image"),
        ("--help", "is no image"),
    ] {
        assert_refused(&checkout, &["verify", image], reason);
    }
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
