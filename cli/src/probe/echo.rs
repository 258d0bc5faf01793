//! What a backend that echoes its request says it got.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

/// What is wrong with the headers that arrived. Their values are not repeated.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Fault {
    #[error("let through, but the answer echoes no headers")]
    NoEcho,
    #[error("a forged header arrived at the backend")]
    Forged,
    #[error("{0} arrived at the backend in another spelling than the gateway's")]
    Spelling(&'static str),
    #[error("{0} arrived more than once")]
    Repeated(&'static str),
    #[error("the token's identity arrived without {0}")]
    Missing(&'static str),
    #[error("no identity header arrived")]
    NoIdentity,
}

/// What the backend gets of every user.
const ALWAYS: [&str; 6] = [
    "x-authgear-session-valid",
    "x-authgear-user-id",
    "x-authgear-user-anonymous",
    "x-authgear-user-verified",
    "x-authgear-user-can-reauthenticate",
    "x-authgear-session-amr",
];
/// What it gets of some.
const SOMETIMES: [&str; 2] = [
    "x-authgear-user-roles",
    "x-authgear-session-authenticated-at",
];
/// What it gets of a machine, and nothing else.
const MACHINE: &str = "x-authgear-client-id";

/// Whether the identity arrived as the gateway writes it: each header once, and nothing with the marker of what was forged.
pub(crate) fn check(body: &[u8], complete: bool, marker: &str) -> Result<(), Fault> {
    if !complete {
        return Err(Fault::NoEcho);
    }
    let echo: Value = serde_json::from_slice(body).map_err(|_| Fault::NoEcho)?;
    let headers = headers(&echo).ok_or(Fault::NoEcho)?;
    let mut identity: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if gate::engine::is_identity_header(name.as_bytes()) {
            if value.contains(marker) {
                return Err(Fault::Forged);
            }
            let values = identity.entry(name.to_ascii_lowercase()).or_default();
            values.push(value);
        }
    }
    let known = || ALWAYS.iter().chain(&SOMETIMES).chain([&MACHINE]);
    for name in identity.keys() {
        let dashed: String = name.chars().map(dash).collect();
        if let Some(known) = known().find(|known| ***known == dashed && *known != name) {
            return Err(Fault::Spelling(known));
        }
    }
    if identity.is_empty() {
        return Err(Fault::NoIdentity);
    }
    for name in known() {
        if identity.get(*name).is_some_and(|values| values.len() > 1) {
            return Err(Fault::Repeated(name));
        }
    }
    let of_user = ALWAYS.iter().chain(&SOMETIMES);
    if identity.contains_key(MACHINE) {
        // Of a user who is beside a machine, one of the two is forged.
        return match of_user.copied().find(|name| identity.contains_key(*name)) {
            Some(_) => Err(Fault::Forged),
            None => Ok(()),
        };
    }
    for name in ALWAYS {
        let Some(values) = identity.get(name) else {
            return Err(Fault::Missing(name));
        };
        // Joined by who echoes it.
        if name == "x-authgear-session-valid" && values.iter().any(|value| value != "true") {
            return Err(Fault::Repeated(name));
        }
    }
    Ok(())
}

fn dash(character: char) -> char {
    if character.is_ascii_alphanumeric() {
        character
    } else {
        '-'
    }
}

/// The member `headers`: an object of values, or of arrays of values, or an array of pairs.
fn headers(echo: &Value) -> Option<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match echo.get("headers")? {
        Value::Object(members) => {
            let mut headers = Vec::new();
            for (name, value) in members {
                match value {
                    Value::Array(values) => {
                        for value in values {
                            headers.push((name.clone(), text(value)?));
                        }
                    }
                    value => headers.push((name.clone(), text(value)?)),
                }
            }
            Some(headers)
        }
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array()?.as_slice() {
                [name, value] => Some((text(name)?, text(value)?)),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An echo of alice's identity and of these headers.
    fn with(others: &[(&str, &str)]) -> Result<(), Fault> {
        let identity = ALWAYS.map(|name| match name {
            "x-authgear-session-valid" => (name, "true"),
            _ => (name, "alice"),
        });
        let headers: Vec<_> = identity.iter().chain(others).collect();
        check(
            json!({ "headers": headers }).to_string().as_bytes(),
            true,
            "probe-1",
        )
    }

    #[test]
    fn an_identity_that_arrives_once_is_good() {
        assert_eq!(
            with(&[("user-agent", "probe-1"), ("x-authgear-user-roles", "a,b")]),
            Ok(())
        );
        assert_eq!(with(&[("x-authgear-role-admin", "true")]), Ok(()));
    }

    #[test]
    fn what_arrives_beside_it_is_found() {
        for (header, fault) in [
            (("x-authgear-user-id", "probe-1"), Fault::Forged),
            (("x_authgear_user_id", "probe-1"), Fault::Forged),
            (("X-Authgear-User-Id", "alice,probe-1"), Fault::Forged),
            (("x-authgear-role-admin", "probe-1"), Fault::Forged),
            (
                ("x_authgear_user_roles", "admin"),
                Fault::Spelling("x-authgear-user-roles"),
            ),
            (
                ("x-authgear-user-id", "alice"),
                Fault::Repeated("x-authgear-user-id"),
            ),
            (
                ("X-Authgear-Session-Amr", ""),
                Fault::Repeated("x-authgear-session-amr"),
            ),
            (("x-authgear-client-id", "authgear-probe"), Fault::Forged),
        ] {
            assert_eq!(with(&[header]), Err(fault), "{header:?}");
        }
    }

    #[test]
    fn each_of_a_users_headers_is_missed() {
        for missing in ALWAYS {
            let others = ALWAYS.iter().filter(|name| **name != missing);
            let headers: serde_json::Map<_, _> = others
                .map(|name| ((*name).to_owned(), json!("true")))
                .collect();
            let echo = json!({ "headers": headers }).to_string();
            assert_eq!(
                check(echo.as_bytes(), true, "probe-1"),
                Err(Fault::Missing(missing))
            );
        }
    }

    #[test]
    fn a_machine_has_one_header() {
        let check = |echo: Value| check(echo.to_string().as_bytes(), true, "probe-1");
        assert_eq!(
            check(json!({ "headers": { "X-Authgear-Client-Id": "batch" } })),
            Ok(())
        );
        assert_eq!(
            check(json!({ "headers": { "x-authgear-client-id": ["batch", "batch"] } })),
            Err(Fault::Repeated(MACHINE))
        );
    }

    #[test]
    fn what_echoes_nothing_is_no_echo() {
        for echo in [
            "",
            "x",
            "{}",
            "[]",
            r#"{"headers":null}"#,
            r#"{"headers":{"x":1}}"#,
            r#"{"headers":[["x"]]}"#,
            r#"{"headers":{"x":[1]}}"#,
        ] {
            assert_eq!(
                check(echo.as_bytes(), true, "probe-1"),
                Err(Fault::NoEcho),
                "{echo}"
            );
        }
        assert_eq!(
            check(br#"{"headers":{}}"#, false, "probe-1"),
            Err(Fault::NoEcho)
        );
        assert_eq!(
            check(br#"{"headers":{}}"#, true, "probe-1"),
            Err(Fault::NoIdentity)
        );
    }
}
