//! What comments cite is in the repository, and what the documents cite of the sources, too: sections of
//! `docs/authgear-contract.md`, rows of `docs/threat-model.md`, tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use devkit::envoy::checkout;

use super::markdown::codes;

/// Where comments cite.
const SOURCES: [&str; 5] = ["src", "gate", "devkit", "testkit", "tests"];
const CONTRACT: &str = "docs/authgear-contract.md";
const THREATS: &str = "docs/threat-model.md";

/// The numbers of a document's sections: `1`, `1.2`.
fn sections(document: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(checkout().join(document)).unwrap();
    let headings = text.lines().filter(|line| line.starts_with("##"));
    let numbers = headings.filter_map(|line| line.trim_start_matches('#').trim().strip_prefix('§'));
    let mut found = BTreeSet::new();
    for number in numbers {
        let number = number.split(' ').next().unwrap_or_default();
        assert!(
            found.insert(number.to_owned()),
            "{document}: §{number} twice"
        );
    }
    assert!(found.len() > 5, "{document}: {found:?}");
    found
}

/// The rows of the tables in the threat model, and the code in the last cell of each.
fn rows() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(checkout().join(THREATS)).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let mut cells = line.trim_matches(['|', ' ']).split(" | ");
        let (first, last) = (cells.next().unwrap_or_default(), cells.last());
        if row(first) == Some(first) {
            let tests = codes(last.unwrap_or_default());
            assert!(
                rows.insert(first.to_owned(), tests).is_none(),
                "{first} twice"
            );
        }
    }
    assert!(rows.len() > 100, "{} rows found", rows.len());
    rows
}

/// The row that a text begins with: a capital letter and a number.
fn row(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(|first: char| first.is_ascii_uppercase())?;
    let end = digits
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(digits.len());
    let name = text.get(..end + 1)?;
    (end > 0).then_some(name)
}

/// All files below the folders of the sources.
fn sources() -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in SOURCES {
        below(&checkout().join(folder), &mut found);
    }
    assert!(found.len() > 100, "{} files found", found.len());
    found
}

/// Comments, each with its first line's number; lines of comment that follow each other are one.
fn comments(source: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut last = 0;
    for (nth, line) in source.lines().enumerate() {
        // A `//` that is no comment is part of an address or in a string: what stands before it shows which it is.
        let at = line.match_indices("//").map(|(at, _)| at);
        let Some(at) = at
            .into_iter()
            .find(|&at| at == 0 || line[..at].ends_with(' '))
        else {
            continue;
        };
        let text = line[at..].trim_start_matches(['/', '!']).trim();
        match found.last_mut() {
            Some((_, whole)) if last == nth && nth > 0 && line[..at].trim().is_empty() => {
                whole.push(' ');
                whole.push_str(text);
            }
            _ => found.push((nth + 1, text.to_owned())),
        }
        last = nth + 1;
    }
    found
}

/// What a text cites.
#[derive(Debug, PartialEq, Eq)]
enum Citation {
    /// A section of the contract.
    Contract(String),
    /// A row of the threat model.
    Threat(String),
    /// A section of nothing that is named, or `threat` without a row.
    Nothing(String),
}

fn citations(text: &str, mut contract: Option<bool>) -> Vec<Citation> {
    let mut found = Vec::new();
    // Whether rows may follow: behind `threat`, and then behind each other.
    let mut threats = false;
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|character: char| {
            !character.is_alphanumeric() && !matches!(character, '§')
        });
        if let Some(number) = bare.strip_prefix('§') {
            found.extend(match contract {
                Some(true) => Some(Citation::Contract(number.to_owned())),
                Some(false) => None,
                None => Some(Citation::Nothing(format!("§{number}"))),
            });
        } else if word.contains("RFC") {
            contract = Some(false);
        } else if word.to_lowercase().contains("contract") {
            contract = Some(true);
        }
        let is_row = row(bare) == Some(bare);
        if threats && is_row {
            found.push(Citation::Threat(bare.to_owned()));
        } else {
            if threats && !matches!(bare, "to" | "and") {
                threats = false;
            }
            if matches!(bare, "threat" | "threats" | "Threat" | "Threats") {
                threats = true;
            }
        }
    }
    let words = text.to_lowercase();
    let cites = words
        .split(|character: char| !character.is_alphanumeric())
        .any(|word| matches!(word, "threat" | "threats"));
    if cites && !found.iter().any(|one| matches!(one, Citation::Threat(_))) {
        found.push(Citation::Nothing("a threat without a row".to_owned()));
    }
    found
}

#[test]
fn every_section_and_row_that_is_cited_exists() {
    let (sections, rows) = (sections(CONTRACT), rows());
    let wrong_of = |citation: &Citation| match citation {
        Citation::Contract(number) if sections.contains(number) => None,
        Citation::Threat(name) if rows.contains_key(name) => None,
        Citation::Contract(number) => Some(format!("§{number} is not in {CONTRACT}")),
        Citation::Threat(name) => Some(format!("{name} is not in {THREATS}")),
        Citation::Nothing(what) => Some(format!("{what}: of which document?")),
    };
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in sources() {
        let source = fs::read_to_string(&path).unwrap();
        // What is cited here are examples.
        if path.ends_with("tests/docs/citations.rs") {
            continue;
        }
        let relative = path.strip_prefix(checkout()).unwrap().display().to_string();
        let has_tests = !tests_of(&source).is_empty();
        for (line, comment) in comments(&source) {
            let cited = citations(&comment, None);
            seen += cited.len();
            let wrongs = cited.iter().filter_map(wrong_of);
            wrong.extend(wrongs.map(|wrong| format!("{relative}:{line}: {wrong}")));
            // A row that the tests of a file cite names one of them, so that no number means another row by and by.
            for citation in &cited {
                if let Citation::Threat(name) = citation
                    && let Some(tests) = rows.get(name)
                    && has_tests
                    && !tests
                        .iter()
                        .any(|test| test.starts_with(&format!("{relative}::")))
                {
                    wrong.push(format!("{relative}:{line}: {name} names none of its tests"));
                }
            }
        }
    }
    let contract = fs::read_to_string(checkout().join(CONTRACT)).unwrap();
    for (nth, line) in contract.lines().enumerate() {
        let cited = citations(line, Some(true));
        seen += cited.len();
        let wrongs = cited.iter().filter_map(wrong_of);
        wrong.extend(wrongs.map(|wrong| format!("{CONTRACT}:{}: {wrong}", nth + 1)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "{seen} citations found");
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let mut sources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut seen, mut wrong) = (0, Vec::new());
    for (row, tests) in rows() {
        assert!(!tests.is_empty(), "{row} names no test");
        for test in tests {
            let (path, name) = test
                .split_once("::")
                .unwrap_or_else(|| panic!("{row}: {test} is no path::name"));
            let known = sources.entry(path.to_owned()).or_insert_with(|| {
                let source = fs::read_to_string(checkout().join(path));
                tests_of(&source.unwrap_or_else(|error| panic!("{row}: {path}: {error}")))
            });
            if !known.contains(name) {
                wrong.push(format!("{row}: {test}: no such test"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 200, "{seen} tests found");
}

/// The names of the tests in a source file: functions right behind `#[test]` or `#[tokio::test…]`, and other attributes.
fn tests_of(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && let Some((_, name)) = line.split_once("fn ") {
            let (name, _) = name.split_once('(').unwrap_or((name, ""));
            found.insert(name.to_owned());
            is_test = false;
        }
    }
    found
}

#[test]
fn every_row_of_a_group_follows_the_one_before_it() {
    let text = fs::read_to_string(checkout().join(THREATS)).unwrap();
    let mut last: BTreeMap<char, usize> = BTreeMap::new();
    for line in text.lines() {
        let name = line
            .trim_start_matches(['|', ' '])
            .split(' ')
            .next()
            .unwrap();
        if row(name) != Some(name) {
            continue;
        }
        let (group, number) = (name.chars().next().unwrap(), name[1..].parse().unwrap());
        let before = last.insert(group, number).unwrap_or(0);
        assert_eq!(number, before + 1, "{name} follows {group}{before}");
    }
    assert!(last.len() > 8, "{last:?}");
}

#[test]
fn citations_are_found_in_prose() {
    let contract = |number: &str| Citation::Contract(number.to_owned());
    let threat = |name: &str| Citation::Threat(name.to_owned());
    for (text, expected) in [
        ("(contract §1.2)", vec![contract("1.2")]),
        ("`docs/authgear-contract.md` §4: what", vec![contract("4")]),
        (
            "contract §1, §2.3, RFC 9110 §5.2",
            vec![contract("1"), contract("2.3")],
        ),
        ("RFC 3986 §4.2; §3.3 leads to the rest", vec![]),
        ("as §3 says", vec![Citation::Nothing("§3".to_owned())]),
        (
            "(threats T1 to T3, X12, and E5).",
            ["T1", "T3", "X12", "E5"].map(threat).into(),
        ),
        ("a threat T1, as I32 is a type, and X2", vec![threat("T1")]),
        (
            "a threat",
            vec![Citation::Nothing("a threat without a row".to_owned())],
        ),
        ("the headers of the contract; P-256, I32", vec![]),
    ] {
        assert_eq!(citations(text, None), expected, "{text}");
    }
    let source = "//! One (threats T1,\n//! T2).\nlet a = \"https://x\"; // Two.\n// Three.\n";
    let expected = [(1, "One (threats T1, T2)."), (3, "Two. Three.")];
    let expected = expected.map(|(line, text)| (line, text.to_owned()));
    assert_eq!(comments(source), expected);
}
