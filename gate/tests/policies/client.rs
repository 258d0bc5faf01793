//! What a header or a parameter of the query is, to all readers and to some, by docs/configuration.md, "What the client writes".

use serde_json::Value;

use crate::requests::Request;

/// Whether what is asked holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HoldsFor {
    Nobody,
    Some,
    All,
}

/// A place where a reader finds the name that is asked for.
struct Place {
    /// The name stands there letter by letter.
    by_letters: bool,
    written: Vec<u8>,
    /// The values that readers find there.
    read: Vec<Vec<u8>>,
}

pub(crate) fn header_holds(name: &str, asked: &Value, request: &Request) -> HoldsFor {
    let mut places = Vec::new();
    let mut named = request.headers.clone();
    named.retain(|(header, _)| may_be(header, name));
    let values: Vec<Vec<u8>> = named.iter().map(|(_, value)| value.0.clone()).collect();
    for (header, value) in &named {
        let mut read = vec![value.0.clone(), trimmed(&value.0)];
        for part in value.0.split(|sign| *sign == b',') {
            let part = trimmed(part);
            read.push(part.clone());
            if part.len() > 1 && part.starts_with(b"\"") && part.ends_with(b"\"") {
                read.push(part[1..part.len() - 1].to_vec());
            }
        }
        // All of them may be one list to somebody.
        read.push(values.join(&b","[..]));
        read.push(values.join(&b", "[..]));
        places.push(Place {
            by_letters: *header == name,
            written: value.0.clone(),
            read,
        });
    }
    judge(&places, asked)
}

/// Whether some reader takes a header for one of this name.
fn may_be(header: &str, name: &str) -> bool {
    // A backend that speaks CGI has no hyphens; but `x-mode` is never `x_mode`.
    header == name || (header.contains('_') && header.replace('_', "-") == name.replace('_', "-"))
}

/// `hidden`: some reader finds another query within the path.
pub(crate) fn parameter_holds(
    name: &str,
    asked: &Value,
    request: &Request,
    hidden: bool,
) -> HoldsFor {
    if hidden {
        return HoldsFor::Some;
    }
    let mut query = Vec::new();
    if let Some(at) = request.path.0.iter().position(|sign| *sign == b'?') {
        query = request.path.0[at + 1..].to_vec();
    }
    let plain = !query.iter().any(|sign| b";#?".contains(sign));
    let mut places = Vec::new();
    for pair in query.split(|sign| b"&;#?".contains(sign)) {
        let at = pair.iter().position(|sign| *sign == b'=');
        let (key, value) = match at {
            Some(at) => (pair[..at].to_vec(), pair[at + 1..].to_vec()),
            None => (pair.to_vec(), Vec::new()),
        };
        let is_it = |key: &Vec<u8>| {
            let mut key = String::from_utf8_lossy(key).to_lowercase();
            if let Some(start) = key.strip_suffix("[]") {
                key = start.to_owned();
            }
            key.trim_matches(|sign: char| sign.is_ascii_whitespace()) == name.to_lowercase()
        };
        if decoded_ways(&key).iter().any(is_it) {
            places.push(Place {
                by_letters: plain && key == name.as_bytes(),
                read: decoded_ways(&value),
                written: value,
            });
        }
    }
    judge(&places, asked)
}

fn judge(places: &[Place], asked: &Value) -> HoldsFor {
    // What is empty to some is not there to them.
    let is_full = |place: &Place| !place.read.iter().any(Vec::is_empty);
    let for_all = places
        .iter()
        .any(|place| place.by_letters && is_full(place));
    let (there, not_there) = match (places.is_empty(), for_all) {
        (true, _) => (HoldsFor::Nobody, HoldsFor::All),
        (false, false) => (HoldsFor::Some, HoldsFor::Some),
        (false, true) => (HoldsFor::All, HoldsFor::Nobody),
    };
    match &asked["present"] {
        Value::Bool(true) => return there,
        Value::Bool(false) => return not_there,
        _ => {}
    }
    let wanted: Vec<String> = match asked {
        Value::Array(values) => values
            .iter()
            .map(|value| value.as_str().unwrap().to_owned())
            .collect(),
        value => vec![value.as_str().unwrap().to_owned()],
    };
    let in_small_letters: Vec<Vec<u8>> = wanted
        .iter()
        .map(|value| value.to_ascii_lowercase().into_bytes())
        .collect();
    let mut all = !places.is_empty();
    let mut some = false;
    for place in places {
        all &= place.by_letters && wanted.iter().any(|value| value.as_bytes() == place.written);
        for value in &place.read {
            some |= in_small_letters.contains(&value.to_ascii_lowercase());
        }
    }
    if all {
        HoldsFor::All
    } else if some {
        HoldsFor::Some
    } else {
        HoldsFor::Nobody
    }
}

fn trimmed(text: &[u8]) -> Vec<u8> {
    text.trim_ascii().to_vec()
}

/// Decoded once, decoded twice, and as a form is: `+` for a space.
fn decoded_ways(text: &[u8]) -> Vec<Vec<u8>> {
    let once = decoded(text);
    let form: Vec<u8> = text
        .iter()
        .map(|sign| if *sign == b'+' { b' ' } else { *sign })
        .collect();
    let form = trimmed(&decoded(&form));
    vec![decoded(&once), once, form]
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut new = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digits = tail
            .get(..2)
            .filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        match digits {
            Some(digits) => {
                let digits = std::str::from_utf8(digits).unwrap();
                new.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &tail[2..];
            }
            None => {
                new.push(*first);
                rest = tail;
            }
        }
    }
    new
}
