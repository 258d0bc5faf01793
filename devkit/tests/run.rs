//! `devkit run`, as a newcomer meets it: the real binary, the reference configuration, the real Envoy.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use devkit::authgear::{FakeAuthgear, Options};
use devkit::client::Request;
use devkit::envoy::{Envoy, Launch, Reference, filter_wasm};
use devkit::keys::User;
use devkit::process::{Process, children, log_to};
use devkit::tls::TestCa;
use devkit::wait::{DEADLINE, until};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A `devkit` on ports of its own.
struct Devkit {
    process: Process,
    directory: TempDir,
}

const VARIABLES: [&str; 5] = [
    "AUTHGEAR_ENDPOINT",
    "AUTHGEAR_CA_FILE",
    "GATEWAY_PORT",
    "AUTHGEAR_PORT",
    "APP_PORT",
];

impl Devkit {
    fn run(arguments: &[&str]) -> Self {
        Self::run_with(&[], arguments)
    }

    /// With these variables, and none of the others that it knows.
    fn run_with(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_devkit"));
        command
            .arg("run")
            .args([
                "--gateway-port",
                "0",
                "--authgear-port",
                "0",
                "--app-port",
                "0",
            ])
            .args(arguments);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.envs(variables.iter().copied());
        // A devkit that is killed does not clear up after itself.
        command.env("TMPDIR", directory.path());
        log_to(&mut command, &directory.path().join("log")).expect("a log");
        Self {
            process: Process::start(command).expect("a process"),
            directory,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The gateway's address, once it says that it is ready.
    async fn ready(&self) -> SocketAddr {
        let address = until(DEADLINE, "devkit to be ready", async || {
            assert_eq!(self.process.ended(), None, "{}", self.log());
            let log = self.log();
            let line = log
                .lines()
                .find_map(|line| line.strip_prefix("The gateway is ready: http://localhost:"))?;
            Some(SocketAddr::from((
                [127, 0, 0, 1],
                line.trim().parse().ok()?,
            )))
        });
        address
            .await
            .unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }

    async fn ended(&self) -> String {
        let ended = until(DEADLINE, "devkit's end", async || self.process.ended());
        ended
            .await
            .unwrap_or_else(|error| panic!("{error}: {}", self.log()))
    }

    /// What stands between these two in one of the lines that it printed.
    fn printed(&self, before: &str, after: &str) -> String {
        let log = self.log();
        let (_, rest) = log
            .split_once(before)
            .unwrap_or_else(|| panic!("no {before:?} in {log}"));
        rest.split_once(after).expect("an end").0.to_owned()
    }

    fn envoy(&self) -> Pid {
        let child = children(self.process.id()).pop_first().expect("a child");
        Pid::from_raw(child.cast_signed()).expect("an ID")
    }
}

async fn is_gone(address: SocketAddr) {
    let refused = async || {
        tokio::net::TcpStream::connect(address)
            .await
            .is_err()
            .then_some(())
    };
    until(DEADLINE, "the gateway's end", refused)
        .await
        .expect("nobody listens any more");
}

#[tokio::test]
async fn run_serves_what_it_prints_and_ends_when_asked() {
    let devkit = Devkit::run(&[]);
    let gateway = devkit.ready().await;
    assert_eq!(
        Request::new(gateway, "GET", "/public/").send().await.status,
        200
    );
    assert_eq!(Request::new(gateway, "GET", "/").send().await.status, 200);
    assert_eq!(
        Request::new(gateway, "GET", "/api/me").send().await.status,
        401
    );

    let token = devkit.printed("Authorization: Bearer ", "'");
    let me = Request::new(gateway, "GET", "/api/me")
        .bearer(token)
        .send()
        .await
        .json();
    assert_eq!(me["user_id"], User::new("alice").id);
    let session = devkit.printed("Cookie: ", "'");
    let me = Request::new(gateway, "GET", "/api/me")
        .cookie(&session)
        .send()
        .await
        .json();
    assert_eq!(me["user_id"], User::new("bob").id);
    let secret = session.rsplit('.').next().expect("a secret");
    assert!(
        !me.to_string().contains(secret),
        "a credential is shown cut short"
    );
    for path in ["/public/headers", "/api/me"] {
        let forged = Request::new(gateway, "GET", path).header("x-authgear-user-id", "mallory");
        assert!(!forged.send().await.text().contains("mallory"));
    }

    let admin = devkit.printed("curl 'http://localhost:", "/stats?filter=authgear");
    let admin = SocketAddr::from(([127, 0, 0, 1], admin.parse().expect("a port")));
    let statistics = Request::new(admin, "GET", "/stats?filter=authgear");
    assert!(
        statistics
            .send()
            .await
            .text()
            .contains("authgear_workers_ready")
    );

    devkit.process.terminate();
    assert_eq!(devkit.ended().await, "exit status: 0", "{}", devkit.log());
    assert!(devkit.log().contains("GET /api/me 401"), "{}", devkit.log());
    assert!(!devkit.log().contains("user=mallory"), "{}", devkit.log());
    is_gone(gateway).await;
}

#[tokio::test]
async fn an_empty_variable_counts_as_none() {
    let devkit = Devkit::run_with(&VARIABLES.map(|variable| (variable, "")), &[]);
    devkit.ready().await;
}

#[tokio::test]
async fn run_ends_with_envoy_and_says_so() {
    let devkit = Devkit::run(&[]);
    let gateway = devkit.ready().await;
    kill_process(devkit.envoy(), Signal::KILL).expect("killed");
    assert_eq!(devkit.ended().await, "exit status: 1");
    assert!(
        devkit
            .log()
            .contains("Envoy has ended by itself: signal: 9"),
        "{}",
        devkit.log()
    );
    is_gone(gateway).await;
}

#[tokio::test]
async fn envoy_does_not_outlive_a_devkit_that_is_killed() {
    let devkit = Devkit::run(&[]);
    let gateway = devkit.ready().await;
    drop(devkit);
    is_gone(gateway).await;
}

#[tokio::test]
async fn run_guards_for_a_real_authgear_over_verified_tls() {
    let (ca, stranger) = (TestCa::new(), TestCa::new());
    let options = Options {
        tls: Some(ca.issue(&["localhost"])),
        ..Options::default()
    };
    let authgear = FakeAuthgear::start(options).await;
    let endpoint = format!("https://localhost:{}", authgear.address().port());
    authgear.configure(|settings| settings.origin.clone_from(&endpoint));
    let alice = authgear.add_user(User::new("alice"));
    let directory = tempfile::tempdir().expect("a directory");
    let bundle = |name: &str, ca: &TestCa| -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, ca.pem()).expect("written");
        path
    };

    let good = bundle("good.pem", &ca);
    let devkit = Devkit::run(&[
        "--endpoint",
        &endpoint,
        "--ca-file",
        &good.to_string_lossy(),
    ]);
    let gateway = devkit.ready().await;
    let me = Request::new(gateway, "GET", "/api/me")
        .bearer(authgear.access_token(&alice))
        .send()
        .await;
    assert_eq!(me.status, 200, "{me:?}\n{}", devkit.log());
    assert!(
        !authgear
            .calls_to("/.well-known/openid-configuration")
            .is_empty()
    );
    let cookie = format!("session={}", authgear.session(&alice));
    assert_eq!(
        Request::new(gateway, "GET", "/api/me")
            .cookie(cookie)
            .send()
            .await
            .status,
        200
    );
    drop(devkit);

    authgear.clear_calls();
    let bad = bundle("bad.pem", &stranger);
    let devkit = Devkit::run(&["--endpoint", &endpoint, "--ca-file", &bad.to_string_lossy()]);
    let gateway = devkit.ready().await;
    let me = Request::new(gateway, "GET", "/api/me")
        .bearer(authgear.access_token(&alice))
        .send()
        .await;
    assert_eq!(me.status, 503, "{me:?}");
    assert!(
        authgear.calls().is_empty(),
        "nothing is sent to a server that nobody vouches for"
    );
}

#[tokio::test]
async fn run_refuses_what_is_no_endpoint_or_no_file() {
    for (arguments, reason) in [
        (
            ["--endpoint", "https://a.example.com/path"],
            "it has a path",
        ),
        (["--endpoint", "a.example.com"], "it has no scheme"),
        (
            ["--authgear-port", "many"],
            "invalid value 'many' for '--authgear-port <PORT>'",
        ),
        (
            ["--no-such-option", "x"],
            "unexpected argument '--no-such-option'",
        ),
    ] {
        let devkit = Devkit::run(&arguments);
        assert_eq!(devkit.ended().await, "exit status: 2");
        assert!(devkit.log().contains(reason), "{}", devkit.log());
    }
    let devkit = Devkit::run(&[
        "--endpoint",
        "https://a.example.com",
        "--ca-file",
        "/no/such/file",
    ]);
    assert_eq!(devkit.ended().await, "exit status: 1");
    assert!(
        devkit.log().contains("/no/such/file: no such file"),
        "{}",
        devkit.log()
    );
}

#[tokio::test]
async fn run_names_the_variable_of_a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for (option, variable) in [
        ("--authgear-port", "AUTHGEAR_PORT"),
        ("--app-port", "APP_PORT"),
        ("--gateway-port", "GATEWAY_PORT"),
    ] {
        let devkit = Devkit::run(&[option, &port]);
        assert_eq!(devkit.ended().await, "exit status: 1", "{}", devkit.log());
        let hint = format!("on 127.0.0.1:{port}: is the port free? {variable} names another");
        assert!(devkit.log().contains(&hint), "{}", devkit.log());
    }
}

#[tokio::test]
async fn the_reference_configuration_is_one_that_envoy_starts_on() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let reference = Reference::read()
        .expect("envoy.yaml")
        .wasm(&filter_wasm().expect("the filter"))
        .listen(any);
    let reference = reference.cluster("authgear", any).cluster("app", any);
    let envoy = Envoy::run(reference.into_bootstrap(), Launch::default())
        .await
        .expect("it serves");
    assert_eq!(
        Request::new(envoy.address(), "GET", "/api/me")
            .send()
            .await
            .status,
        401
    );
    assert_eq!(
        Request::new(envoy.address(), "GET", "/a%2fb")
            .send()
            .await
            .status,
        401,
        "it is not sent to another path"
    );
    let dropped = Request::new(envoy.address(), "GET", "/")
        .header("x_authgear_user_id", "x")
        .send()
        .await;
    assert_eq!(dropped.status, 503, "no application is there to answer");
    envoy.assert_no_trap();
}
