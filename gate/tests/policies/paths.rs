//! Paths of requests, drawn at random: those of rules, and other spellings of them.

use serde_json::Value;

use crate::configurations::PATHS;
use crate::random::Random;

pub(crate) fn draw(random: &mut Random, config: &Value) -> Vec<u8> {
    let mut known: Vec<String> = PATHS.map(str::to_owned).to_vec();
    for rule in config["rules"].as_array().into_iter().flatten() {
        for name in ["path", "path_prefix"] {
            if let Some(path) = rule["match"][name].as_str() {
                // A segment that stands for any one is one of these, or itself.
                let any = *random.of(&["x", "b", "*", "deep"]);
                let path = path.replace("**", "b/c").replace('*', any);
                known.extend([path.clone(), path]);
            }
        }
    }
    let mut path = random.of(&known).clone().into_bytes();
    if random.percent(25) {
        let below = *random.of(&["/x", "/b", "/deep/er", "/"]);
        path.extend(below.as_bytes());
        if path.starts_with(b"//") {
            path.remove(0);
        }
    }
    if random.below(1_000) < 15 {
        return odd(random, path);
    }
    let spellings = match random.below(100) {
        0..50 => 0,
        50..80 => 1,
        80..93 => 2,
        93..97 => 3,
        _ => 5,
    };
    for _ in 0..spellings {
        path = spelt_otherwise(random, path);
    }
    if random.percent(45) {
        path.extend(query(random));
    }
    path
}

/// A query, also of what rules ask for, and of what some readers take for it.
fn query(random: &mut Random) -> Vec<u8> {
    if random.percent(20) {
        return (*random.of(&[&b"?"[..], b"?x=/../admin", b"?%2f..%zz"])).to_vec();
    }
    const PAIRS: [&str; 38] = [
        "mode=beta",
        "mode=beta",
        "mode=beta",
        "mode=next",
        "mode=next",
        "bulk=yes",
        "bulk=yes",
        "bulk=no",
        "a=b",
        "mode=old",
        "mode=Beta",
        "Mode=beta",
        "mode=%62eta",
        "mode=%2562eta",
        "m%6fde=next",
        "mode[]=beta",
        "bulk%5B%5D=yes",
        "mode=beta+",
        "+bulk=yes",
        "mode",
        "mode=",
        "bulk=",
        "mode=beta=",
        "x=mode=beta",
        "modes=beta",
        "bulk=y%65s",
        "mode=+",
        "mode=%20",
        "mode=%",
        "mode=be%zzta",
        "MODE=BETA",
        "%6Dode%5b%5d=next",
        "mode%3Dbeta",
        "mode=beta%26bulk=yes",
        "mode=beta,next",
        "",
        "=beta",
        "bulk=%79es+",
    ];
    let mut query = if random.percent(5) {
        b"%3F".to_vec()
    } else {
        b"?".to_vec()
    };
    for nth in 0..random.between(1, 3) {
        if nth > 0 {
            query.extend(
                random
                    .of(&["&", "&", "&", "&", "&", "&", ";", "?", "#"])
                    .as_bytes(),
            );
        }
        query.extend(random.of(&PAIRS).as_bytes());
    }
    query
}

/// What is no path, or a very long one.
fn odd(random: &mut Random, path: Vec<u8>) -> Vec<u8> {
    let long = |text: &str| [&path[..], text.repeat(1_650).as_bytes()].concat();
    match random.below(8) {
        0 => b"*".to_vec(),
        1 => b"".to_vec(),
        2 => b"http://app.example.com/public".to_vec(),
        3 => [&path[..], b"#x"].concat(),
        4 => long("/long"),
        5 => long("/lo%6Eg"),
        6 => [&path[..], b"/a;1/b%2fc%255c..//e./%ff/%3Fx"].concat(),
        _ => b"admin".to_vec(),
    }
}

/// What stands in the place of a slash.
const SLASHES: [&[u8]; 14] = [
    b"//",
    b"///",
    b"%2f",
    b"%2F",
    b"\\",
    b"%5c",
    b"%252f",
    b"%255C",
    b"%c0%af",
    b"%e0%80%af",
    b"%c0%af%ff",
    b"%ff%e0%80%af",
    b"/./",
    b"/\\",
];

/// What is put behind a segment, before the next slash or at the end.
const BEHIND: [&[u8]; 26] = [
    b";v=1",
    b";",
    b".",
    b"..",
    b"%20",
    b"%20.",
    b" ",
    b"%3Fx",
    b"%23x",
    b"%3Bx",
    b"%253Fx",
    b"%ff",
    b"\xe9",
    b"%E9",
    b"%c0%ae",
    b"/.",
    b"/..",
    b"/x/..",
    b"/x/..;/.",
    b"/%2e%2e",
    b"/%252e%252e",
    b"/..%20",
    b"%2f..",
    b"\\..",
    b"%c0%a0",
    b"/...",
];

/// What is put before a path.
const BEFORE: [&[u8]; 12] = [
    b"/",
    b"//x",
    b"/\\x",
    b"/.",
    b"/x/..",
    b"/public/..",
    b"/admin/..",
    b"/%2e",
    b"/%2Fx",
    b"/;",
    b"/..",
    b"/public/%2e%2e",
];

/// What no reader is sure of.
const WRONG: [&[u8]; 8] = [
    b"%zz",
    b"%",
    b"%00",
    b"%1f",
    b"%7F",
    b"%c0%80",
    b"%e0%80%8d",
    b"\x01",
];

fn one(random: &mut Random, of: &[&'static [u8]]) -> &'static [u8] {
    of[random.index(of.len())]
}

fn spelt_otherwise(random: &mut Random, path: Vec<u8>) -> Vec<u8> {
    let places_of = |sign: fn(&u8) -> bool| -> Vec<usize> {
        (0..path.len()).filter(|at| sign(&path[*at])).collect()
    };
    let put =
        |at: usize, drop: usize, text: &[u8]| [&path[..at], text, &path[at + drop..]].concat();
    let slashes = places_of(|byte| *byte == b'/');
    let letters = places_of(u8::is_ascii_alphabetic);
    match random.below(100) {
        // In another case.
        0..22 if !letters.is_empty() => {
            let mut path = path.clone();
            for at in letters {
                if random.percent(50) {
                    path[at] ^= 0x20;
                }
            }
            path
        }
        // With or without a slash at the end.
        22..42 => match path.strip_suffix(b"/") {
            Some(without) if !without.is_empty() => without.to_vec(),
            _ => put(path.len(), 0, b"/"),
        },
        42..58 if !slashes.is_empty() => put(*random.of(&slashes), 1, one(random, &SLASHES)),
        58..75 => {
            let mut ends = slashes;
            ends.retain(|at| *at > 0);
            ends.extend([path.len(), path.len()]);
            put(*random.of(&ends), 0, one(random, &BEHIND))
        }
        75..86 => [one(random, &BEFORE), &path[..]].concat(),
        // An escape for a letter, once or twice.
        86..94 if !letters.is_empty() => {
            let at = *random.of(&letters);
            if path[at.saturating_sub(4)..at].contains(&b'%') {
                // Perhaps a part of an escape: nobody decodes three times.
                return path;
            }
            let byte = path[at];
            let escapes = [
                format!("%{byte:02x}"),
                format!("%{byte:02X}"),
                format!("%25{byte:02x}"),
            ];
            put(at, 1, random.of(&escapes).as_bytes())
        }
        94..97 => put(random.index(path.len() + 1), 0, b"%ff"),
        97..99 => put(random.index(path.len() + 1), 0, one(random, &WRONG)),
        _ => put(random.index(path.len() + 1), 0, b"\xc3"),
    }
}
