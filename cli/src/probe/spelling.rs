//! Other spellings of a path: what a backend may read as the same path. The filter reads them so, too (docs/behaviour.md, "Paths").

/// A path, spelt otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spelling {
    /// What is odd about it.
    pub(crate) name: &'static str,
    /// The path.
    pub(crate) path: String,
}

/// The spellings of a path, and `name` for a segment that does not exist, in the path or beside it. Nothing but what any HTTP server
/// accepts: no backslash, no invalid escape, no control character.
pub(crate) fn spellings(path: &str, name: &str) -> Vec<Spelling> {
    let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut spellings = vec![
        ("// at the start", format!("/{path}")),
        ("/./ at the start", format!("/.{path}")),
        ("%2e%2e at the start", format!("/{name}/%2e%2e{path}")),
    ];
    if folder.is_empty() {
        spellings.push((";x behind a segment", format!("/{last};x")));
        spellings.push(("%2f for /", format!("/%2f{last}")));
    } else {
        spellings.extend([
            ("// inside", format!("{folder}//{last}")),
            ("/./ inside", format!("{folder}/./{last}")),
            ("%2e%2e inside", format!("{folder}/{name}/%2e%2e/{last}")),
            (";x behind a segment", format!("{folder};x/{last}")),
            ("%2f for /", format!("{folder}%2f{last}")),
        ]);
    }
    if let Some(path) = with_escaped_letter(path) {
        spellings.push(("an escaped letter", path));
    }
    // What does not exist does not in another case, nor as a folder.
    let (real, rest) = if last == name {
        (folder, format!("/{last}"))
    } else {
        (path, String::new())
    };
    let other = in_another_case(real);
    if other != real {
        spellings.push(("another case", format!("{other}{rest}")));
    }
    if rest.is_empty() && !last.is_empty() {
        spellings.push(("/ at the end", format!("{path}/")));
    }
    let spelling = |(name, path)| Spelling { name, path };
    spellings.into_iter().map(spelling).collect()
}

/// The first letter behind the first slash, escaped.
fn with_escaped_letter(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    let letter = rest.chars().next().filter(char::is_ascii_alphabetic)?;
    let tail = rest.get(1..)?;
    Some(format!("/%{:02x}{tail}", u32::from(letter)))
}

/// Capitals for small letters and small letters for capitals; escapes stay as they are.
fn in_another_case(path: &str) -> String {
    let mut escaped = 0_u8;
    path.chars()
        .map(|character| {
            if character == '%' {
                escaped = 2;
            } else if escaped > 0 {
                escaped = escaped.saturating_sub(1);
                return character;
            }
            if character.is_ascii_lowercase() {
                character.to_ascii_uppercase()
            } else {
                character.to_ascii_lowercase()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str) -> Vec<String> {
        let spellings = spellings(path, "n").into_iter();
        spellings.map(|spelling| spelling.path).collect()
    }

    #[test]
    fn a_path_is_spelt_in_every_way() {
        assert_eq!(
            paths("/a%2Fb/c/x"),
            [
                "//a%2Fb/c/x",
                "/./a%2Fb/c/x",
                "/n/%2e%2e/a%2Fb/c/x",
                "/a%2Fb/c//x",
                "/a%2Fb/c/./x",
                "/a%2Fb/c/n/%2e%2e/x",
                "/a%2Fb/c;x/x",
                "/a%2Fb/c%2fx",
                "/%61%2Fb/c/x",
                "/A%2FB/C/X",
                "/a%2Fb/c/x/",
            ]
        );
    }

    #[test]
    fn a_path_that_exists_is_spelt_as_a_whole() {
        let tail = |path: &str| paths(path).split_off(8);
        assert_eq!(tail("/a/n"), ["/%61/n", "/A/n"]);
        assert_eq!(tail("/a/x"), ["/%61/x", "/A/X", "/a/x/"]);
        assert_eq!(tail("/a/1/"), ["/%61/1/", "/A/1/"]);
        assert_eq!(tail("/1/n"), <[&str; 0]>::default());
    }

    #[test]
    fn a_path_of_one_segment_has_no_inside() {
        assert_eq!(
            paths("/x"),
            [
                "//x",
                "/./x",
                "/n/%2e%2e/x",
                "/x;x",
                "/%2fx",
                "/%78",
                "/X",
                "/x/"
            ]
        );
        assert_eq!(paths("/"), ["//", "/./", "/n/%2e%2e/", "/;x", "/%2f"]);
    }
}
