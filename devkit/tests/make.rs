//! `make test`, `make run` and CI's engine, on machines that lack something: they say so before anything is built.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A machine on which these programs are what they are said to be; all others are as they are here.
struct Machine {
    programs: TempDir,
}

impl Machine {
    /// Nobody is root on it, nothing can be installed, and whatever cargo is asked for fails.
    fn new() -> Self {
        let machine = Self {
            programs: tempfile::tempdir().expect("a directory"),
        };
        machine
            .with("id", "echo 1000")
            .with("apt-get", "exit 1")
            .with("rustup", "exit 1")
            .with("cargo", "echo \"cargo $*\" >&2; exit 1")
            .with("cc", "exit 0")
            .with("docker-compose", "exit 0")
            .with("shellcheck", "exit 0")
            .with("skopeo", "exit 0")
            .with("docker-registry", "exit 0")
            .with("actionlint", "exit 0")
            .without_docker()
    }

    fn with(self, program: &str, script: &str) -> Self {
        let path = self.programs.path().join(program);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        self
    }

    fn without_docker(self) -> Self {
        self.with("docker", "exit 1")
    }

    /// An engine that answers; these subcommands of `docker` succeed, too.
    fn with_docker(self, subcommands: &str) -> Self {
        self.with(
            "docker",
            &format!("case $1 in version{subcommands}) exit 0 ;; *) exit 1 ;; esac"),
        )
    }

    fn run(&self, ci: bool, program: &str, arguments: &[&str]) -> Output {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a workspace");
        let path = std::env::var("PATH").expect("a PATH");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(root)
            .env("PATH", format!("{}:{path}", self.programs.path().display()))
            // What another machine has downloaded or built is not here.
            .env("AUTHGEAR_FILTER_CACHE", self.programs.path().join("cache"))
            .env("ENVOY", "true")
            .env_remove("DOCKER_HOST")
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .env_remove("CI");
        if ci {
            command.env("CI", "true");
        }
        command.output().expect("a program that can be run")
    }

    /// What the preflight says cannot be tested, and whether `make test` may proceed.
    fn preflight(&self, ci: bool) -> (String, bool) {
        let output = self.run(ci, "bash", &["scripts/preflight"]);
        let untested = String::from_utf8(output.stdout).expect("text");
        (untested, output.status.success())
    }
}

#[test]
fn where_no_image_can_be_had_the_compose_stack_is_named_as_not_tested() {
    let machine = Machine::new().with_docker("");
    let line = "compose stack: debian:bookworm-slim cannot be pulled, and only root can make a substitute: not tested\n";
    assert_eq!(machine.preflight(false), (line.to_owned(), true));
    assert_eq!(
        machine.preflight(true),
        (line.to_owned(), false),
        "CI tests everything"
    );
}

#[test]
fn where_no_registry_can_be_started_the_image_is_named_as_not_tested() {
    let machine = Machine::new()
        .with_docker(" | image")
        .with("docker-registry", "exit 127");
    let (untested, goes_on) = machine.preflight(false);
    let line = "image: docker-registry is not installed: not tested\n";
    assert!(untested.contains(line), "{untested}");
    assert!(goes_on);
    assert!(!machine.preflight(true).1, "CI tests everything");
}

#[test]
fn where_nothing_reads_workflows_they_are_named_as_not_tested() {
    let machine = Machine::new()
        .with_docker(" | image")
        .with("actionlint", "exit 127")
        .with("go", "exit 127");
    let line = "workflows: neither actionlint nor go is installed: not tested\n";
    assert_eq!(machine.preflight(false), (line.to_owned(), true));
    assert!(!machine.preflight(true).1, "CI tests everything");
    let machine = machine.with("go", "exit 0");
    assert_eq!(machine.preflight(true), (String::new(), true));
}

#[test]
fn root_learns_why_no_substitute_can_be_made() {
    let machine = Machine::new()
        .with_docker("")
        .with("id", "echo 0")
        .with("debootstrap", "echo 'no mirror' >&2; exit 1");
    let (untested, goes_on) = machine.preflight(false);
    assert_eq!(
        untested,
        "compose stack: debian:bookworm-slim cannot be pulled, and debootstrap, to make a substitute, has failed: not tested\n"
    );
    assert!(goes_on);
}

#[test]
fn where_images_are_present_or_can_be_pulled_all_is_tested() {
    for subcommands in ["|image", "|pull"] {
        let machine = Machine::new().with_docker(subcommands);
        assert_eq!(machine.preflight(true), (String::new(), true));
    }
}

#[test]
fn each_thing_that_is_missing_is_one_line() {
    let machine = Machine::new();
    assert_eq!(
        machine.preflight(false),
        (
            "compose stack: no Docker engine answers: not tested\n".to_owned(),
            true
        )
    );
    let machine = Machine::new()
        .with_docker("|pull")
        .with("docker-compose", "exit 1");
    assert_eq!(
        machine.preflight(false).0,
        "compose stack: neither docker compose nor docker-compose is installed: not tested\n"
    );
    let machine = Machine::new().with_docker("|pull").with("cc", "exit 1");
    assert_eq!(
        machine.preflight(false).0,
        "compose stack: no static binary can be linked: a C compiler or glibc's static library is missing: not tested\n"
    );
}

#[test]
fn make_test_says_at_its_start_what_it_will_not_test() {
    let machine = Machine::new().with_docker("");
    let reason = "compose stack: debian:bookworm-slim cannot be pulled";

    let output = machine.run(true, "make", &["test"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(reason), "{said}");
    assert!(!said.contains("cargo "), "nothing is built: {said}");

    let output = machine.run(false, "make", &["test"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let (before, _) = said
        .split_once("== Setup")
        .unwrap_or_else(|| panic!("{said}"));
    assert!(before.contains(reason), "{said}");
}

#[test]
fn make_run_shows_what_cargo_does_and_builds_nothing_for_tests() {
    let machine = Machine::new();
    let output = machine.run(false, "make", &["--dry-run", "run"]);
    let commands = String::from_utf8_lossy(&output.stdout);
    let build = commands
        .lines()
        .find(|line| line.contains("cargo build --package authgear-devkit"))
        .unwrap_or_else(|| panic!("{commands}"));
    assert!(build.contains("--no-default-features"), "{build}");
    assert!(!build.contains("--quiet"), "{build}");
}

/// A test runner given a name that fits no test runs none, and passes.
#[test]
fn each_module_that_make_tests_runs_again_exists() {
    let machine = Machine::new();
    // CI runs more of them.
    let output = machine.run(true, "make", &["--dry-run", "tests"]);
    let commands = String::from_utf8_lossy(&output.stdout);
    let (_, filters) = commands
        .split_once("--test e2e -- ")
        .unwrap_or_else(|| panic!("{commands}"));
    let filters = filters.lines().next().unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e");
    assert!(filters.contains("operation::outages::"), "{commands}");
    for filter in filters.split_whitespace() {
        let module = filter.strip_suffix("::").expect(filter);
        let file = root.join(format!("{}.rs", module.replace("::", "/")));
        assert!(file.is_file(), "{module}: no {}", file.display());
    }
}

/// A `dockerd` that can be asked for by its socket, and says when it ends.
const DOCKERD: &str = "
    touch \"${2#unix://}\"
    trap 'echo dockerd ends >>\"$0.log\"; exit 0' TERM
    while :; do sleep 0.05; done";

#[test]
fn an_engine_that_was_started_for_a_command_ends_with_it() {
    let machine = Machine::new()
        .with("id", "echo 0")
        .with(
            "docker",
            "[ -n \"$DOCKER_HOST\" ] && [ -e \"${DOCKER_HOST#unix://}\" ] && echo 1.0",
        )
        .with("dockerd", DOCKERD);
    let seen = "docker version; dirname \"${DOCKER_HOST#unix://}\"; exit 7";
    let output = machine.run(true, "bash", &["scripts/with-docker", "sh", "-c", seen]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    let (version, folder) = said.trim().split_once('\n').expect("two lines");
    assert_eq!(version, "1.0");
    assert!(!Path::new(folder).exists(), "{folder} is left");
    let log = fs::read_to_string(machine.programs.path().join("dockerd.log"));
    assert_eq!(log.expect("it was started"), "dockerd ends\n");
}

#[test]
fn an_engine_that_answers_is_left_alone() {
    let machine = Machine::new()
        .with_docker("")
        .with("dockerd", "touch \"$0.log\"");
    let output = machine.run(true, "bash", &["scripts/with-docker", "sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(!machine.programs.path().join("dockerd.log").exists());
}

#[test]
fn an_engine_that_does_not_start_shows_its_log() {
    let machine = Machine::new()
        .with("id", "echo 0")
        .with("dockerd", "echo no netfilter; exit 1");
    let output = machine.run(true, "bash", &["scripts/with-docker", "true"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no netfilter"), "{said}");
}
