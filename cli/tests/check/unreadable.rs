//! What cannot be read is an error of its own, at once, and no panic.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Run, check, check_text, command};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn check_file(path: &Path) -> Run {
    check(&[path.to_str().expect("UTF-8")])
}

/// Exit status 2, and this reason.
#[track_caller]
fn assert_unreadable(run: &Run, reason: &str) {
    assert_eq!(run.code, 2, "{}{}", run.stdout, run.stderr);
    let line = run
        .stdout
        .lines()
        .find(|line| line.starts_with("could not be read: "));
    assert!(
        line.is_some_and(|line| line.contains(reason)),
        "{reason}\n{}",
        run.stdout
    );
}

#[test]
fn what_is_no_text_is_not_read() {
    let folder = folder();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("it is written");
        check_file(&path)
    };
    assert_unreadable(
        &file("a.yaml", b"a: \xff\n"),
        "is not UTF-8: byte 3, in line 1",
    );
    assert_unreadable(
        &file("b.json", b"{}\n\xc3"),
        "is not UTF-8: byte 3, in line 2",
    );
    assert_unreadable(&file("c.yaml", b"a: \0\n"), "is binary");
    assert_unreadable(&file("d.wasm", b"\0asm\x01\0\0\0"), "is a Wasm module");
    assert_unreadable(&file("e.json", b"\xff\xfe{\0}\0"), "is UTF-16");
}

#[test]
fn what_is_no_file_is_not_read() {
    let folder = folder();
    assert_unreadable(&check_file(&folder.path().join("none")), "No such file");
    assert_unreadable(&check_file(folder.path()), "is a directory");
    assert_unreadable(&check_file(Path::new("/dev/zero")), "is no regular file");
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    // Nobody ever writes into it.
    assert_unreadable(&check_file(&pipe), "is no regular file");
}

#[test]
fn what_is_too_long_is_not_read() {
    let folder = folder();
    let path = folder.path().join("a.yaml");
    let file = File::create(&path).expect("a file");
    // Without a byte on the disk.
    file.set_len(100 << 20).expect("it grows");
    assert_unreadable(&check_file(&path), "is longer than 10 MiB");
    // Of a pipe nobody knows how long it is.
    let run = check_text(&["-"], &" ".repeat((10 << 20) + 1));
    assert_unreadable(&run, "<stdin>: is longer than 10 MiB");
    let run = check_text(&[], "x".repeat(1 << 24).as_str());
    assert_unreadable(&run, "<stdin>: is longer than 10 MiB");
}

#[test]
fn what_is_empty_is_an_error() {
    assert_eq!(check_text(&[], "").code, 2);
    assert_eq!(check_text(&[], " \n# nothing\n").code, 2);
    assert_eq!(check_text(&[], "---\n---\n").code, 2);
    let folder = folder();
    for (name, code) in [("a.yaml", 2), ("a.json", 1)] {
        let path = folder.path().join(name);
        fs::write(&path, "").expect("it is written");
        let run = check_file(&path);
        assert_eq!(run.code, code, "{name}: {}", run.stdout);
    }
}

#[test]
fn the_other_files_are_checked_all_the_same() {
    let run = check(&["none.yml", "warnings.json", "wrong-json.json"]);
    assert_unreadable(&run, "none.yml: No such file");
    assert_eq!(run.codes(), ["config-warning", "config-warning", "config"]);
}

#[test]
fn what_is_nested_too_deep_is_an_error() {
    let deep = 100_000;
    for (text, code) in [
        ("[".repeat(deep), "config"),
        (r#"{"a":"#.repeat(deep), "config"),
        ("- ".repeat(deep), "syntax"),
        ("? ".repeat(deep), "syntax"),
        (format!("a: {}", "[".repeat(deep)), "syntax"),
        (format!("a: {}", "{a: ".repeat(deep)), "syntax"),
        (
            format!("a: {}{}", "[".repeat(200), "]".repeat(200)),
            "syntax",
        ),
        (
            format!("configuration: {}", "&a [*a".repeat(deep)),
            "syntax",
        ),
    ] {
        let run = check_text(&[], &text);
        let start: String = text.chars().take(20).collect();
        assert_eq!(
            (run.code, run.codes()),
            (1, vec![code]),
            "{start}\n{}",
            run.stdout
        );
    }
    // And within what is delivered.
    let text = r#"{"projects":"#.repeat(deep);
    let yaml = format!(
        "name: authgear\nvm_config: {{ vm_id: a }}\nconfiguration:\n  \"@type\": \
         type.googleapis.com/google.protobuf.StringValue\n  value: '{text}'\n"
    );
    let run = check_text(&[], &yaml);
    assert_eq!(
        (run.code, run.codes()),
        (1, vec!["config"]),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("recursion limit exceeded"),
        "{}",
        run.stdout
    );
}

#[test]
fn what_is_large_and_odd_ends_all_the_same() {
    let many = 300_000;
    for text in [
        format!("a: [{}]", "[],".repeat(many)),
        format!("a: [{}]", "a: b, ".repeat(many)),
        format!("a:\n{}", "  - b: c\n".repeat(many)),
        format!(
            "a: &a x\n{}",
            (0..many)
                .map(|nth| format!("k{nth}: *a\n"))
                .collect::<String>()
        ),
        "a: b\n".repeat(many),
        "---\n".repeat(many),
        format!("\"{}", "\\\"".repeat(many)),
        format!("a: |\n{}", "  x\n".repeat(many)),
        "\n".repeat(many),
        "a: *b".to_owned(),
        "a: &a { b: *a }".to_owned(),
        "<<: *a".to_owned(),
        "%YAML 9.9\n---\na".to_owned(),
        "a:\n\t- b".to_owned(),
        "? [a]\n: b".to_owned(),
        "\u{feff}a: b".to_owned(),
        "a: !!binary x".to_owned(),
    ] {
        let run = check_text(&[], &text);
        let start: String = text.chars().take(20).collect();
        assert!(matches!(run.code, 1 | 2), "{start}: {}", run.stdout);
    }
}

/// Each file is cut at each of its bytes.
#[test]
fn a_file_that_is_cut_anywhere_is_read_without_a_panic() {
    let folder = folder();
    let path = folder.path().join("a.yaml");
    for case in [
        "quoted.yaml",
        "aliases.yaml",
        "istio.yaml",
        "string-value.yaml",
    ] {
        let text = fs::read(crate::cases().join(case)).expect("a case");
        // A prime, so that every kind of place has its turn.
        for length in (0..text.len()).step_by(97) {
            fs::write(&path, &text[..length]).expect("it is written");
            let run = check_file(&path);
            assert!((0..=2).contains(&run.code), "{case}, {length}");
        }
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let mut child = command(&["string-value.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let run = Run::of(child.wait_with_output().expect("it ends"));
    assert!(!run.stderr.contains("Broken pipe"), "{}", run.stderr);
}

#[test]
fn a_name_that_is_no_text_is_a_name_all_the_same() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = command(&[]);
    let output = command
        .arg(OsStr::from_bytes(b"\xff\x1b[31m.yaml"))
        .output()
        .expect("it runs");
    let run = Run::of(output);
    assert_unreadable(&run, "No such file");
    assert!(
        run.stdout.contains(r"\u{1b}[31m.yaml: "),
        "{:?}",
        run.stdout
    );
}
