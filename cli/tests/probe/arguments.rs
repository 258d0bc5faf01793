//! Arguments that are wrong, and how the outcome is printed.

use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;

use devkit::message::CannedResponse;
use devkit::testbed::TestBed;
use rustix::pty::{self, OpenptFlags};
use serde_json::json;

use crate::{at, command, file, path, probe, probe_with};

#[tokio::test]
async fn arguments_that_are_wrong_are_said_and_nothing_is_sent() {
    // Nobody may connect.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let gate = format!("http://{}/account", listener.local_addr().unwrap());
    let gate = gate.as_str();
    let token = file("good.token.s3cret");
    let token = path(&token);
    let (empty, two) = (file(" \n"), file("s3cret token"));
    let (empty, two) = (path(&empty), path(&two));
    let no_ca = file("no certificate s3cret");
    let no_ca = path(&no_ca);
    for (arguments, reason) in [
        (&[][..], "<URL>"),
        (&["app.example.com"], "URL 1: is not an absolute URL"),
        (
            &[gate, "https://me:s3cret@app.example.com/"],
            "URL 2: has credentials",
        ),
        (
            &["https://app.example.com/#s3cret"],
            "URL 1: has a fragment",
        ),
        (
            &["ftp://app.example.com/"],
            "URL 1: is neither http nor https",
        ),
        (&["https://app.example.com:99999/"], "URL 1: "),
        (
            &[gate, "--header", "s3cret"],
            "--header 1: is not \"name: value\"",
        ),
        (&[gate, "--header", "cookie: s3cret"], "--header 1: cookie"),
        (
            &[gate, "--header", "x-authgear-user-id: s3cret"],
            "--header 1: x-authgear-user-id",
        ),
        (&[gate, "--cookie-name", "a=b"], "--cookie-name"),
        (&[gate, "--timeout", "0"], "--timeout"),
        (&[gate, "--timeout", "x"], "--timeout"),
        (&[gate, "--format", "xml"], "--format"),
        (&[gate, "--echo"], "--token-file"),
        (&[gate, "--insecure-http"], "--token-file"),
        (&[gate, "--insecure"], "--insecure"),
        (
            &[gate, "--token-file", "/nowhere/s3"],
            "--token-file /nowhere/s3: ",
        ),
        (&[gate, "--token-file", "/"], "--token-file /: "),
        (&[gate, "--token-file", &empty], "is empty"),
        (&[gate, "--token-file", &two], "more in it than one token"),
        (
            &["http://192.0.2.1/", "--token-file", &token],
            "--insecure-http",
        ),
        (&[gate, "--ca-file", "/nowhere/ca"], "/nowhere/ca: "),
        (&[gate, "--ca-file", &no_ca], "has no certificate in it"),
    ] {
        let run = probe(arguments).await;
        assert_eq!(run.status, 2, "{arguments:?}: {run:#?}");
        assert!(run.stderr.contains(reason), "{arguments:?}: {run:#?}");
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert!(!run.stderr.contains("s3cret"), "{arguments:?}: {run:#?}");
        assert!(listener.accept().is_err(), "{arguments:?}");
    }
    // Where it is said, and nothing is sent.
    let insecure = [
        "http://192.0.2.1/",
        "--token-file",
        &token,
        "--insecure-http",
        "--dry-run",
    ];
    assert_eq!(probe(insecure).await.status, 0);
}

/// Neither in what is said before, nor in any outcome, though the backend sends all of it back.
#[tokio::test]
async fn no_secret_is_printed() {
    let bed = TestBed::builder()
        .configure(|config| config["default"] = json!({ "require": "optional" }))
        .start()
        .await;
    let gate = at(&bed.envoy, "/account");
    let token = bed.token();
    let token_file = file(&token);
    let token_file = path(&token_file);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for answer in [
        None,
        Some(
            CannedResponse::json(&json!({ "code": "invalid_token", "message": token }))
                .with_status(401)
                .header("www-authenticate", format!("Bearer realm=\"{signature}\""))
                .header("location", format!("/{token}")),
        ),
    ] {
        bed.backend.answer(answer);
        for others in [
            &["--format", "human"][..],
            &["--format", "json"],
            &["--dry-run"],
        ] {
            let arguments = [
                &*gate,
                "--echo",
                "--token-file",
                &token_file,
                "--header",
                "x-key: s3cret",
            ];
            let run = probe(arguments.iter().chain(others)).await;
            for printed in [&run.stdout, &run.stderr] {
                for secret in [signature, signed, "s3cret"] {
                    assert!(!printed.contains(secret), "{run:#?}");
                }
            }
        }
    }
    let forwarded = bed.forwarded();
    assert!(!forwarded.is_empty());
    for request in forwarded {
        assert_eq!(request.header("x-key"), Some("s3cret".to_owned()));
    }
}

#[tokio::test]
async fn what_will_be_sent_is_said_first_and_apart_from_the_outcome() {
    let bed = TestBed::start().await;
    let gate = at(&bed.envoy, "/account");
    let run = probe([&*gate, "--format", "json", "--header", "x-key: value"]).await;
    assert_eq!(run.status, 0, "{run:#?}");
    assert!(
        run.stderr.starts_with(&format!("To {gate}, 16 requests")),
        "{run:#?}"
    );
    assert!(run.stderr.contains("x-key"), "{run:#?}");
    let outcome = run.json();
    assert_eq!(outcome["verdict"], "shut");
    assert_eq!(outcome["token_tried"], false);
    assert_eq!(
        outcome["routes"][0]["requests"][0]["code"],
        "unauthenticated"
    );
    assert_eq!(outcome["routes"][0]["requests"][0]["status"], 401);

    let run = probe([&*gate, "--format", "json", "--dry-run"]).await;
    assert_eq!(run.stderr, "");
    let requests = run.json()["routes"][0]["requests"].clone();
    assert_eq!(requests.as_array().map(Vec::len), Some(16));
}

#[tokio::test]
async fn colours_and_signs_are_for_those_who_see_them() {
    let bed = TestBed::start().await;
    let gate = at(&bed.envoy, "/account");
    let good_sign = "  ✓ no credential";

    let run = probe_with(&[("LC_ALL", "C.UTF-8")], [&gate]).await;
    assert!(run.stdout.contains(good_sign), "{run:#?}");
    assert!(
        !run.stdout.contains('\x1b'),
        "a pipe is no terminal: {run:#?}"
    );
    assert!(!run.stderr.contains('\x1b'), "{run:#?}");
    assert!(!run.stderr.contains("1 of 16"), "{run:#?}");

    let run = probe_with(&[("LANG", "en_GB.utf8"), ("CLICOLOR_FORCE", "1")], [&gate]).await;
    assert!(
        run.stdout.contains("\x1b[32m✓\x1b[0m no credential"),
        "{run:#?}"
    );

    for locale in ["C", "POSIX", "de_DE.ISO-8859-1"] {
        let run = probe_with(&[("LC_ALL", locale), ("LANG", "C.UTF-8")], [&gate]).await;
        assert!(run.stdout.contains("  + no credential"), "{run:#?}");
        assert!(run.stdout.is_ascii() && run.stderr.is_ascii(), "{run:#?}");
    }
}

#[tokio::test]
async fn a_terminal_shows_progress_and_colours_unless_they_are_unwanted() {
    let bed = TestBed::start().await;
    let gate = at(&bed.envoy, "/account");
    let colour = "\x1b[32m";
    for (environment, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let shown = probe_at_terminal(environment, &gate).await;
        assert!(shown.contains("1 of 16: no credential"), "{shown:?}");
        assert!(shown.contains("Shut: "), "{shown:?}");
        assert_eq!(shown.contains(colour), coloured, "{shown:?}");
    }
}

/// What a terminal shows of `authgear-filter probe`.
async fn probe_at_terminal(environment: &[(&str, &str)], gate: &str) -> String {
    let main = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    pty::grantpt(&main).unwrap();
    pty::unlockpt(&main).unwrap();
    let name = pty::ptsname(&main, Vec::new()).unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut command = command(&[("LC_ALL", "C.UTF-8"), ("TERM", "xterm")], [gate]);
    command.envs(environment.iter().copied());
    command
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal);
    let read = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // Holds the terminal open.
        drop(command);
        let mut shown = Vec::new();
        // Ends with an error when the last who has the terminal open is gone.
        let _ = File::from(main).read_to_end(&mut shown);
        assert!(child.wait().unwrap().success());
        String::from_utf8(shown).unwrap()
    });
    read.await.unwrap()
}
