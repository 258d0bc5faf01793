//! What is printed: the plan before anything is sent, and the outcome.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::judge::{Outcome, Verdict};
use super::plan::{Kind, Probe, Wishes};
use super::{Format, Route};

/// Prints what will be sent, where it does not mix with the outcome.
pub(crate) fn announce(routes: &[Route], wishes: &Wishes) {
    // Who does not listen can read the outcome all the same.
    let _ = io::stderr()
        .lock()
        .write_all(plan(routes, wishes).as_bytes());
}

/// Prints what would be sent.
pub(crate) fn dry_run(routes: &[Route], wishes: &Wishes, format: Format) -> ExitCode {
    print(
        &match format {
            Format::Human => plan(routes, wishes),
            Format::Json => {
                let routes = routes.iter().map(|route| {
                    let requests = route.probes.iter().map(probe_json);
                    json!({ "url": route.target.url(), "requests": requests.collect::<Value>() })
                });
                format!("{:#}\n", json!({ "routes": routes.collect::<Value>() }))
            }
        },
        ExitCode::SUCCESS,
    )
}

/// Prints the outcome, and says it by the exit status.
pub(crate) fn report(routes: &[Route], wishes: &Wishes, format: Format) -> ExitCode {
    let verdict = routes.iter().map(Route::verdict).max();
    let verdict = verdict.unwrap_or(Verdict::NotAsked);
    let text = match format {
        Format::Human => human(routes, wishes, verdict),
        Format::Json => format!("{:#}\n", to_json(routes, wishes, verdict)),
    };
    print(&text, ExitCode::from(exit_status(verdict)))
}

fn exit_status(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Good => 0,
        Verdict::Open => 1,
        Verdict::NotAsked => 2,
        Verdict::Inconclusive => 3,
    }
}

/// In colour where that is wanted. A reader that has gone, as `head` does, is no failure.
fn print(text: &str, code: ExitCode) -> ExitCode {
    let mut output = anstream::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("authgear-filter: {error}");
            ExitCode::from(2)
        }
        _ => code,
    }
}

fn plan(routes: &[Route], wishes: &Wishes) -> String {
    let mut text = String::new();
    for route in routes {
        let count = route.probes.len();
        let _ = writeln!(
            text,
            "To {}, {count} requests, one after the other:",
            route.target.url()
        );
        for probe in &route.probes {
            let _ = writeln!(
                text,
                "  {:<32}{} {}",
                probe.kind.name(),
                probe.method,
                probe.target
            );
        }
    }
    if !wishes.headers.is_empty() {
        let names: Vec<&str> = wishes.headers.keys().map(|name| name.as_str()).collect();
        let _ = writeln!(text, "Each with {} as given.", names.join(", "));
    }
    text.push('\n');
    text
}

/// The signs at the beginning of a line.
struct Signs([&'static str; 4]);

impl Signs {
    fn new() -> Self {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
        let locale = set.filter_map(|name| std::env::var(name).ok());
        let locale = locale.into_iter().find(|locale| !locale.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self(["✓", "?", "!", "✗"])
        } else {
            Self(["+", "?", "!", "x"])
        }
    }

    fn of(&self, verdict: Verdict) -> &'static str {
        let Self([good, inconclusive, not_asked, open]) = self;
        match verdict {
            Verdict::Good => good,
            Verdict::Inconclusive => inconclusive,
            Verdict::NotAsked => not_asked,
            Verdict::Open => open,
        }
    }
}

fn style(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Good => AnsiColor::Green,
        Verdict::Inconclusive => AnsiColor::Yellow,
        Verdict::NotAsked | Verdict::Open => AnsiColor::Red,
    };
    colour.on_default()
}

fn title(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "shut",
        Verdict::Inconclusive => "inconclusive",
        Verdict::NotAsked => "could not be asked",
        Verdict::Open => "OPEN",
    }
}

fn human(routes: &[Route], wishes: &Wishes, verdict: Verdict) -> String {
    let signs = Signs::new();
    let mut text = String::new();
    for route in routes {
        let verdict = route.verdict();
        let (style, title) = (style(verdict), title(verdict));
        let _ = writeln!(text, "{}: {style}{title}{style:#}", route.target.url());
        for (probe, outcome) in route.probes.iter().zip(&route.outcomes) {
            line(&mut text, &signs, probe, outcome);
        }
        let not_sent = route.probes.len().saturating_sub(route.outcomes.len());
        if not_sent > 0 {
            let _ = writeln!(text, "    {not_sent} more were not sent");
        }
        text.push('\n');
        for (names, advice) in advice(route) {
            let _ = writeln!(text, "  {}:", names.join("; "));
            for line in advice.lines() {
                let _ = writeln!(text, "    {line}");
            }
            text.push('\n');
        }
    }
    let style = style(verdict);
    let _ = writeln!(text, "{style}{}{style:#}", summary(routes, wishes, verdict));
    text
}

fn line(text: &mut String, signs: &Signs, probe: &Probe, outcome: &Outcome) {
    let (sign, style) = (signs.of(outcome.verdict), style(outcome.verdict));
    let answer = match (outcome.status, outcome.code) {
        (Some(status), Some(code)) => format!("{status} {code}"),
        (Some(status), None) => status.to_string(),
        (None, _) => "-".to_owned(),
    };
    let name = name(probe);
    let _ = writeln!(
        text,
        "  {style}{sign}{style:#} {name:<32} {answer:<24} {}",
        outcome.reason
    );
}

fn name(probe: &Probe) -> String {
    let name = probe.kind.name();
    if probe.method == http::Method::POST {
        format!("POST, {name}")
    } else {
        name
    }
}

/// What to do, and what for. Where anybody gets through, that is all there is to look at among what got through.
fn advice(route: &Route) -> Vec<(Vec<String>, &'static str)> {
    let outcomes = || route.probes.iter().zip(&route.outcomes);
    let anybody = outcomes().any(|(probe, outcome)| {
        probe.kind == Kind::NoCredential && outcome.verdict == Verdict::Open
    });
    let mut all: Vec<(Vec<String>, &'static str)> = Vec::new();
    for (probe, outcome) in outcomes() {
        let Some(advice) = outcome.advice else {
            continue;
        };
        let follows = outcome.verdict == Verdict::Open && probe.kind != Kind::NoCredential;
        if anybody && follows && !probe.kind.has_token() {
            continue;
        }
        match all.iter_mut().find(|(_, known)| *known == advice) {
            Some((names, _)) => names.push(name(probe)),
            None => all.push((vec![name(probe)], advice)),
        }
    }
    for (names, _) in &mut all {
        if names.len() > MAX_NAMES {
            let more = names.len().saturating_sub(MAX_NAMES);
            names.truncate(MAX_NAMES);
            names.push(format!("{more} more"));
        }
    }
    all
}

const MAX_NAMES: usize = 3;

fn summary(routes: &[Route], wishes: &Wishes, verdict: Verdict) -> String {
    let count = |wanted: Verdict| {
        let outcomes = routes.iter().flat_map(|route| &route.outcomes);
        outcomes.filter(|outcome| outcome.verdict == wanted).count()
    };
    let all: usize = routes.iter().map(|route| route.probes.len()).sum();
    match verdict {
        Verdict::Good if wishes.token.is_some() => format!(
            "Shut: all {all} requests were answered as they should be. The good token gets in."
        ),
        Verdict::Good => format!(
            "Shut: the filter refused all {all} requests. That somebody gets in was not tried: --token-file."
        ),
        Verdict::Open => format!(
            "OPEN: {} of {all} requests went through.",
            count(Verdict::Open)
        ),
        Verdict::NotAsked => {
            let outcomes = routes.iter().flat_map(|route| &route.outcomes);
            let answered = outcomes.filter(|outcome| outcome.status.is_some()).count();
            let unanswered = all.saturating_sub(answered);
            format!("Not shown to be shut: {unanswered} of {all} requests have no answer.")
        }
        Verdict::Inconclusive if only_the_token(routes) => {
            "Shut, but not shown to work: the good token does not get in as it should.".to_owned()
        }
        Verdict::Inconclusive => format!(
            "Not shown to be shut: {} of {all} requests are inconclusive. None is known to have gone through.",
            count(Verdict::Inconclusive)
        ),
    }
}

/// Whether all but the requests with the good token were refused by the filter.
fn only_the_token(routes: &[Route]) -> bool {
    let mut all = routes
        .iter()
        .flat_map(|route| route.probes.iter().zip(&route.outcomes));
    all.all(|(probe, outcome)| outcome.verdict == Verdict::Good || probe.kind.has_token())
}

fn to_json(routes: &[Route], wishes: &Wishes, verdict: Verdict) -> Value {
    let routes = routes.iter().map(|route| {
        let outcomes = route.probes.iter().zip(&route.outcomes);
        let requests = outcomes.map(|(probe, outcome)| {
            let mut request = probe_json(probe);
            request["verdict"] = json!(word(outcome.verdict));
            request["status"] = json!(outcome.status);
            request["code"] = json!(outcome.code);
            request["reason"] = json!(outcome.reason);
            request["advice"] = json!(outcome.advice.map(|advice| advice.replace('\n', " ")));
            request
        });
        json!({
            "url": route.target.url(),
            "verdict": route_word(route.verdict()),
            "requests": requests.collect::<Value>(),
            "not_sent": route.probes.len().saturating_sub(route.outcomes.len()),
        })
    });
    json!({
        "verdict": route_word(verdict),
        "exit_status": exit_status(verdict),
        "token_tried": wishes.token.is_some(),
        "routes": routes.collect::<Value>(),
    })
}

fn probe_json(probe: &Probe) -> Value {
    json!({ "request": probe.kind.name(), "method": probe.method.as_str(), "target": probe.target })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Inconclusive => "inconclusive",
        Verdict::NotAsked => "not_asked",
        Verdict::Open => "open",
    }
}

fn route_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "shut",
        other => word(other),
    }
}
