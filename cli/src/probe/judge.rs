//! Who answered, and what that says about the gate.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::Value;

use super::advice::{self, Advice};
use super::client::{Answer, ClientError};
use super::echo;
use super::plan::{Kind, Probe};
use super::target::Target;

/// What a request, a route or all of them showed. From good to bad, in the order of what matters more to who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The filter refused, or let the good token through.
    Good,
    /// Somebody else answered, and it cannot be told whether the request had passed the filter; or the good token was refused.
    Inconclusive,
    /// There was no answer.
    NotAsked,
    /// The request went through.
    Open,
}

/// What came of one request.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The status, if there was an answer.
    pub(crate) status: Option<u16>,
    /// The code, if it was the filter's.
    pub(crate) code: Option<&'static str>,
    /// In a few words, none of them the server's.
    pub(crate) reason: String,
    /// What to do.
    pub(crate) advice: Option<Advice>,
}

/// What came of a request that should be refused, or let through with the good token.
pub(crate) fn judge(
    target: &Target,
    probe: &Probe,
    marker: &str,
    echoes: bool,
    result: &Result<Answer, ClientError>,
) -> Outcome {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => {
            return Outcome {
                verdict: Verdict::NotAsked,
                status: None,
                code: None,
                reason: error.to_string(),
                advice: Some(advice::not_asked(error)),
            };
        }
    };
    let code = code_of_filter(answer);
    let (verdict, reason, advice) = match (&probe.kind, code) {
        (Kind::TokenAndForged, Some("invalid_request")) => (
            Verdict::Good,
            "refused by the filter: client_identity_headers is \"refuse\"".to_owned(),
            None,
        ),
        (Kind::Token | Kind::TokenAndForged, Some(code)) => (
            Verdict::Inconclusive,
            "the filter refused the good token".to_owned(),
            Some(advice::token_refused(code)),
        ),
        (Kind::Token | Kind::TokenAndForged, None) => admitted(answer, &probe.kind, marker, echoes),
        (_, Some(code)) => (
            Verdict::Good,
            refused(code).to_owned(),
            advice::of_refusal(&probe.kind, code),
        ),
        (kind, None) => not_refused(target, probe, answer, kind),
    };
    Outcome {
        verdict,
        status: Some(answer.status),
        code,
        reason,
        advice,
    }
}

type Finding = (Verdict, String, Option<Advice>);

fn refused(code: &str) -> &'static str {
    match code {
        "unavailable" => "refused by the filter: it has no keys, no resolver or no configuration",
        "misdirected_request" => "refused by the filter: no project has this host",
        _ => "refused by the filter",
    }
}

/// A request that should have been refused by the filter, and was answered by somebody else.
fn not_refused(target: &Target, probe: &Probe, answer: &Answer, kind: &Kind) -> Finding {
    match answer.status {
        300..=399 if leads_to_itself(target, &probe.target, &answer.headers) => (
            Verdict::Inconclusive,
            "redirected to another spelling of itself, not by the filter".to_owned(),
            Some(advice::redirected()),
        ),
        401 if challenge(&answer.headers).is_some() => (
            Verdict::Inconclusive,
            "a challenge like the filter's, but not its body".to_owned(),
            Some(advice::body_is_not_the_filters()),
        ),
        400 | 401 | 403 | 407 | 408 | 413 | 414 | 421 | 425 | 426 | 429 | 431 | 451 | 494..=499 => {
            (
                Verdict::Inconclusive,
                "refused, but not by the filter".to_owned(),
                Some(advice::refused_by_somebody_else(kind)),
            )
        }
        200..=499 => (
            Verdict::Open,
            "went through: not the filter's answer".to_owned(),
            Some(advice::open(kind)),
        ),
        _ => (
            Verdict::Inconclusive,
            "failed, and not by the filter".to_owned(),
            Some(advice::failed()),
        ),
    }
}

/// A request with the good token that the filter did not answer.
fn admitted(answer: &Answer, kind: &Kind, marker: &str, echoes: bool) -> Finding {
    match answer.status {
        200..=299 if echoes => match echo::check(&answer.body, answer.complete, marker) {
            Ok(()) if *kind == Kind::TokenAndForged => (
                Verdict::Good,
                "let through; none of the forged headers arrived".to_owned(),
                None,
            ),
            Ok(()) => (
                Verdict::Good,
                "let through; each identity header arrived once".to_owned(),
                None,
            ),
            Err(fault @ echo::Fault::NoEcho) => (
                Verdict::Inconclusive,
                fault.to_string(),
                Some(advice::no_echo()),
            ),
            Err(fault @ (echo::Fault::Missing(_) | echo::Fault::NoIdentity)) => (
                Verdict::Inconclusive,
                fault.to_string(),
                Some(advice::headers_missing()),
            ),
            Err(fault) => (
                Verdict::Open,
                fault.to_string(),
                Some(advice::headers_arrived()),
            ),
        },
        200..=399 | 404 | 405 | 410 if !echoes => (Verdict::Good, "let through".to_owned(), None),
        401 | 403 => (
            Verdict::Inconclusive,
            "the good token was refused, but not by the filter".to_owned(),
            Some(advice::token_refused_by_somebody_else()),
        ),
        300..=499 if echoes => (
            Verdict::Inconclusive,
            "not the filter's answer, and it echoes nothing".to_owned(),
            Some(advice::no_echo()),
        ),
        _ => (
            Verdict::Inconclusive,
            "not the filter's answer, nor a sign that the request got to the backend".to_owned(),
            Some(advice::failed()),
        ),
    }
}

/// The code of an answer of the filter's: all that docs/behaviour.md ("Answers") says of it, but for the texts that may change.
fn code_of_filter(answer: &Answer) -> Option<&'static str> {
    let only = |name| {
        let mut values = answer.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    };
    let is_json = only(CONTENT_TYPE) == Some("application/json");
    let is_fresh = only(CACHE_CONTROL) == Some("no-store");
    if !(answer.complete && is_json && is_fresh) {
        return None;
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let body = body.as_object()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let known = ["code", "message", "request_id"];
    let in_body = text("code")?;
    text("message")?;
    if body
        .iter()
        .any(|(name, value)| !known.contains(&name.as_str()) || !value.is_string())
    {
        return None;
    }
    let (status, code) = gate::engine::answers()
        .into_iter()
        .find(|(status, code)| *status == u32::from(answer.status) && *code == in_body)?;
    let challenge = challenge(&answer.headers);
    let fits = match status {
        401 => challenge.is_some_and(|(_, error)| match code {
            "unauthenticated" => error.is_none(),
            _ => error == Some(code),
        }),
        503 => only(RETRY_AFTER)?.parse::<u32>().is_ok() && challenge.is_none(),
        _ => true,
    };
    fits.then_some(code)
}

/// The realm and the error of a `Bearer` challenge as the filter writes it.
fn challenge(headers: &HeaderMap) -> Option<(&str, Option<&str>)> {
    let mut values = headers.get_all(WWW_AUTHENTICATE).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (realm, rest) = value.strip_prefix("Bearer realm=\"")?.split_once('"')?;
    let error = rest
        .strip_prefix(", error=\"")
        .and_then(|rest| rest.split_once('"'));
    match error {
        Some((error, _)) => Some((realm, Some(error))),
        None if rest.is_empty() => Some((realm, None)),
        None => None,
    }
}

/// The authority of the project's `endpoint`, as the filter's challenge names it.
pub(crate) fn issuer(answer: &Answer) -> Option<String> {
    code_of_filter(answer)?;
    let (realm, _) = challenge(&answer.headers)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let is_authority = !realm.is_empty() && realm.len() <= 300 && realm.bytes().all(fits);
    is_authority.then(|| realm.to_owned())
}

/// Whether a redirect leads to the same place over TLS, or to another spelling of the path.
fn leads_to_itself(target: &Target, asked: &str, headers: &HeaderMap) -> bool {
    let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let path = if location.starts_with('/') && !location.starts_with("//") {
        location
    } else {
        let Ok(location) = Target::parse(location) else {
            return false;
        };
        if !location.host.eq_ignore_ascii_case(&target.host) {
            return false;
        }
        if !target.tls && location.tls {
            return true;
        }
        return is_other_spelling(&format!("{}{}", location.path, location.query), asked);
    };
    is_other_spelling(path, asked)
}

/// Whether a path is the one that was asked for, with what is odd about it cleaned away.
fn is_other_spelling(location: &str, asked: &str) -> bool {
    fn segments(path: &str) -> Vec<String> {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.to_ascii_lowercase();
        let path = path.replace("%2f", "/").replace("%2e", ".");
        let mut segments: Vec<String> = Vec::new();
        for segment in path.split('/') {
            match segment.split(';').next().unwrap_or_default() {
                "" | "." => {}
                ".." => drop(segments.pop()),
                other => segments.push(other.to_owned()),
            }
        }
        segments
    }
    location.split('?').next() != asked.split('?').next() && segments(location) == segments(asked)
}

#[cfg(test)]
mod tests;
