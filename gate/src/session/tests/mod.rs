//! Fixtures for the tests of sessions: answers of the resolver, credentials, a policy.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::callout::Answer;
use crate::config::{Config, SessionPolicy};
use crate::endpoint::Endpoint;
use crate::time::Ticks;

mod answers;
mod calls;
mod in_flight;
mod memory;
mod shared;

const ALICE: &str = "e3079029-f123-4c56-80c1-c2cd63a5b6af";

fn policy(session: &Value) -> SessionPolicy {
    let project = json!({ "endpoint": "https://auth.example.com", "cluster": "authgear", "session": session });
    let json = json!({ "projects": [project] }).to_string();
    let config = Config::parse(json.as_bytes()).unwrap();
    config.projects[0].session.clone().unwrap()
}

fn cookies(line: &str) -> SessionCredential {
    SessionCredential::Cookies(line.into())
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
    let status = (":status".to_owned(), status.to_string().into_bytes());
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    Answer {
        headers: std::iter::once(status).chain(headers).collect(),
        body: Some(Vec::new()),
    }
}

/// What the resolver says of Alice.
const YES: [(&str, &str); 8] = [
    ("x-authgear-session-valid", "true"),
    ("x-authgear-user-id", ALICE),
    ("x-authgear-user-anonymous", "false"),
    ("x-authgear-user-verified", "true"),
    ("x-authgear-user-can-reauthenticate", "true"),
    ("x-authgear-user-roles", "stock_view,app:editor"),
    ("x-authgear-session-amr", "pwd mfa otp"),
    ("x-authgear-session-authenticated-at", "1136171045"),
];

fn yes() -> Answer {
    answer(200, &YES)
}

/// A yes with another value of one header; `None`: without it.
fn yes_but(name: &str, value: Option<&str>) -> Answer {
    let mut headers: Vec<(&str, &str)> = YES
        .into_iter()
        .filter(|(other, _)| *other != name)
        .collect();
    headers.extend(value.map(|value| (name, value)));
    answer(200, &headers)
}

fn no() -> Answer {
    answer(200, &[("x-authgear-session-valid", "false")])
}
