//! Conditions on what a client writes and nobody checks: headers and the query.
//!
//! Readers differ about both. So a condition holds wholly only where every reader would agree, and nearly where one of them
//! might: a rule that matches nearly counts only where it asks for more.

use super::index::Fit;

/// What is asked of a header or of a parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueTest {
    /// It is one of these values.
    Is(Vec<String>),
    /// It is there, or not.
    Present(bool),
}

/// A header, or a parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCondition {
    /// Its name; of a header, in lower case.
    pub name: String,
    /// What is asked of it.
    pub test: ValueTest,
}

/// The query of a request.
pub(super) struct Query<'r> {
    pub(super) text: &'r [u8],
    /// No reader finds another one within the path.
    pub(super) is_certain: bool,
}

/// A place where a reader may find the name.
struct Occurrence<'r> {
    /// Every reader finds it here, by this very name.
    certain: bool,
    /// The value as it is written.
    value: &'r [u8],
    /// What readers may make of it.
    readings: Vec<Vec<u8>>,
}

impl Occurrence<'_> {
    /// Whether it is there for every reader: some take an empty value for none.
    fn is_there(&self) -> bool {
        self.certain && !self.readings.iter().any(Vec::is_empty)
    }
}

impl ClientCondition {
    /// How well a request's headers meet it; their names are in lower case.
    pub(super) fn fit_headers(&self, headers: &[(&[u8], &[u8])]) -> Option<Fit> {
        let name = self.name.as_bytes();
        let named = || headers.iter().filter(|(other, _)| folds_into(other, name));
        let values: Vec<&[u8]> = named().map(|(_, value)| *value).collect();
        // Some readers join them (RFC 9110 §5.3).
        let lists = [&b","[..], b", "].map(|comma| values.join(comma));
        self.fit(named().map(|(other, value)| {
            let parts = value.split(|byte| *byte == b',');
            let readings = parts.map(|part| unquoted(part.trim_ascii()).to_vec());
            let whole = [value.trim_ascii().to_vec()];
            Occurrence {
                certain: *other == name,
                value,
                readings: readings.chain(whole).chain(lists.clone()).collect(),
            }
        }))
    }

    /// How well the query of a request meets it.
    pub(super) fn fit_query(&self, query: &Query<'_>) -> Option<Fit> {
        if !query.is_certain {
            return Some(Fit::Nearly);
        }
        let query = query.text;
        // Some readers end a parameter at a semicolon, a query at a number sign.
        let certain = !query.iter().any(|byte| b";#?".contains(byte));
        let pairs = query.split(|byte| matches!(byte, b'&' | b';' | b'#' | b'?'));
        self.fit(pairs.filter_map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let (name, value) = (halves.next()?, halves.next().unwrap_or_default());
            let by_name = || readings(name).iter().any(|name| self.is_named(name));
            by_name().then(|| Occurrence {
                certain: certain && name == self.name.as_bytes(),
                value,
                readings: readings(value),
            })
        }))
    }

    /// Some readers take `name[]` for `name`, and any case.
    fn is_named(&self, name: &[u8]) -> bool {
        let name = name.strip_suffix(b"[]").unwrap_or(name);
        name.trim_ascii().eq_ignore_ascii_case(self.name.as_bytes())
    }

    fn fit<'r>(&self, occurrences: impl Iterator<Item = Occurrence<'r>>) -> Option<Fit> {
        let all: Vec<Occurrence<'r>> = occurrences.collect();
        let (wholly, nearly) = match &self.test {
            ValueTest::Present(expected) => {
                let there = all.iter().any(Occurrence::is_there);
                if *expected {
                    (there, !all.is_empty())
                } else {
                    (all.is_empty(), !there)
                }
            }
            ValueTest::Is(values) => {
                let is = |one: &Occurrence<'_>| {
                    let mut values = values.iter();
                    one.certain && values.any(|value| value.as_bytes() == one.value)
                };
                let may_be = |one: &Occurrence<'_>| {
                    let mut readings = one.readings.iter();
                    readings.any(|reading| {
                        let mut values = values.iter();
                        values.any(|value| value.as_bytes().eq_ignore_ascii_case(reading))
                    })
                };
                (
                    !all.is_empty() && all.iter().all(is),
                    all.iter().any(may_be),
                )
            }
        };
        if wholly {
            return Some(Fit::Wholly);
        }
        nearly.then_some(Fit::Nearly)
    }
}

/// Whether a backend may take one name for the other: CGI has no `-`.
fn folds_into(one: &[u8], other: &[u8]) -> bool {
    let same = |(one, other): (&u8, &u8)| one == other || (*one == b'_' && *other == b'-');
    one.len() == other.len() && one.iter().zip(other).all(same)
}

fn unquoted(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    }
}

/// A name or value of a query as it is, decoded, and decoded twice.
fn readings(text: &[u8]) -> Vec<Vec<u8>> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let once = crate::path::decode_leniently(text);
    let twice = crate::path::decode_leniently(&once);
    let spaced = crate::path::decode_leniently(&spaced).trim_ascii().to_vec();
    vec![once, twice, spaced]
}
