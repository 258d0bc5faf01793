//! The summary, and how a person reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Options;
use super::idle::rounded;
use super::measure::{Spread, Variant};

/// What each variant's requests cost, and what was added to its base's.
pub(super) struct Figures {
    total: BTreeMap<String, Spread>,
    added: BTreeMap<String, Spread>,
}

impl Figures {
    /// Of microseconds per request, for each variant in each round.
    pub(super) fn new(variants: &[Variant], figures: Vec<Vec<f64>>) -> Self {
        let rounds: BTreeMap<&str, Vec<f64>> = variants
            .iter()
            .map(|variant| variant.name.as_str())
            .zip(figures)
            .collect();
        let total = rounds
            .iter()
            .map(|(name, rounds)| ((*name).to_owned(), Spread::of(rounds.iter().copied())));
        let added = variants.iter().filter_map(|variant| {
            let (own, base) = (&rounds[variant.name.as_str()], rounds.get(variant.base?)?);
            // Round by round: what slowed one down slowed the other down, too.
            let differences = own.iter().zip(base).map(|(own, base)| own - base);
            Some((variant.name.clone(), Spread::of(differences)))
        });
        Self {
            total: total.collect(),
            added: added.collect(),
        }
    }

    /// What a variant adds to a request.
    pub(super) fn added(&self, name: &str) -> Option<Spread> {
        self.added.get(name).copied()
    }
}

/// The variants that the summary must name, and what they are.
const VARIANTS: [(&str, &str); 11] = [
    ("noop_wasm", "Wasm filter that does nothing"),
    ("jwt_authn", "jwt_authn, new token"),
    (
        "jwt_authn_cached",
        "jwt_authn with its cache, token seen before",
    ),
    ("ext_authz", "ext_authz, asks the resolver"),
    ("jwt_new", "Authgear filter, new token"),
    ("jwt_seen", "Authgear filter, token seen before"),
    (
        "session_new",
        "Authgear filter, new session: asks the resolver",
    ),
    ("session_seen", "Authgear filter, session seen before"),
    ("refused", "Authgear filter, no credential: 401"),
    (
        "refused_garbage",
        "Authgear filter, garbage for a token: 401",
    ),
    ("refused_expired", "Authgear filter, expired token: 401"),
];

/// Ratios of what two variants add, and the most that they should be.
const BUDGETS: [(&str, &str, f64); 4] = [
    ("jwt_seen", "jwt_authn", 0.25),
    ("jwt_seen", "noop_wasm", 2.0),
    ("jwt_new", "jwt_authn", 1.0),
    ("session_seen", "ext_authz", 0.2),
];

/// What a person calls a variant.
pub(super) fn title(name: &str) -> &str {
    let known = VARIANTS.iter().find(|(variant, _)| *variant == name);
    known.map_or(name, |(_, title)| title)
}

/// The names of the variants, in order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    VARIANTS.iter().map(|(name, _)| *name)
}

/// The whole summary.
pub(super) fn summary(
    options: &Options,
    figures: &Figures,
    idle: &Value,
    growth: Option<&Value>,
    machine: &Value,
) -> Value {
    let median = |spread: &Spread| json!(rounded(spread.median));
    let half = |spread: &Spread| json!([rounded(spread.low), rounded(spread.high)]);
    let of = |spreads: &BTreeMap<String, Spread>, show: &dyn Fn(&Spread) -> Value| -> Value {
        let members = spreads
            .iter()
            .map(|(name, spread)| (name.clone(), show(spread)));
        Value::Object(members.collect())
    };
    let named: Map<String, Value> = figures
        .added
        .iter()
        .filter(|(name, _)| !name.starts_with("refused_"))
        .map(|(name, spread)| (name.clone(), median(spread)))
        .collect();
    let base = figures.total.get("base").map_or(0.0, |base| base.median);
    let mut summary = json!({
        "added_us_per_request": named,
        "base_us": rounded(base),
        "rounds": options.rounds,
        "requests_per_round": options.requests,
        "added_us_middle_half": of(&figures.added, &half),
        "added_us_refused": {
            "nobody": figures.added.get("refused").map(median),
            "garbage": figures.added.get("refused_garbage").map(median),
            "expired": figures.added.get("refused_expired").map(median),
        },
        "total_us_per_request": of(&figures.total, &median),
        "ratios": ratios(figures),
        "machine": machine,
        "idle": idle,
    });
    if let Some(growth) = growth {
        summary["growth"] = growth.clone();
    }
    summary
}

fn ratios(figures: &Figures) -> Vec<Value> {
    let ratio = |name: String, value: f64, goal: f64| json!({ "name": name, "value": rounded(value), "goal": goal });
    let added = BUDGETS.iter().filter_map(|(ours, theirs, goal)| {
        let (one, other) = (figures.added.get(*ours)?, figures.added.get(*theirs)?);
        Some(ratio(
            format!("{ours} / {theirs}"),
            one.median / other.median,
            *goal,
        ))
    });
    // An answer that is given in the filter saves what a forwarded request costs: whole requests are compared.
    let whole = ["refused", "refused_garbage", "refused_expired"]
        .into_iter()
        .filter_map(|name| {
            let (one, other) = (figures.total.get(name)?, figures.total.get("forwarded")?);
            let name = format!("{name} / forwarded, whole requests");
            Some(ratio(name, one.median / other.median, 1.0))
        });
    added.chain(whole).collect()
}

/// The summary as Markdown tables.
pub(super) fn table(summary: &Value) -> String {
    let mut text = String::new();
    write_table(&mut text, summary).expect("a string takes everything");
    text
}

fn write_table(text: &mut String, summary: &Value) -> std::fmt::Result {
    let number = |value: &Value| {
        value
            .as_f64()
            .map_or_else(|| "–".to_owned(), |n| format!("{n:.1}"))
    };
    writeln!(
        text,
        "| CPU time of Envoy | added per request, µs | middle half |"
    )?;
    writeln!(text, "| --- | ---: | ---: |")?;
    for (name, title) in VARIANTS {
        let refused = &summary["added_us_refused"];
        let added = match name {
            "refused_garbage" => &refused["garbage"],
            "refused_expired" => &refused["expired"],
            _ => &summary["added_us_per_request"][name],
        };
        let half = &summary["added_us_middle_half"][name];
        let (low, high) = (number(&half[0]), number(&half[1]));
        writeln!(text, "| {title} | {} | {low} to {high} |", number(added))?;
    }
    let total = &summary["total_us_per_request"];
    writeln!(
        text,
        "\nWithout a filter a request takes {} µs (token), {} µs (cookie), {} µs (neither) where Envoy answers itself, \
         and {} µs where it is forwarded. Medians of {} rounds of {} requests.\n",
        number(&total["base"]),
        number(&total["base_session"]),
        number(&total["base_nobody"]),
        number(&total["forwarded"]),
        summary["rounds"],
        summary["requests_per_round"],
    )?;
    writeln!(text, "| ratio | here | goal |")?;
    writeln!(text, "| --- | ---: | ---: |")?;
    for ratio in summary["ratios"].as_array().into_iter().flatten() {
        let value = ratio["value"].as_f64();
        let value = value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
        let name = ratio["name"].as_str().unwrap_or_default();
        writeln!(text, "| {name} | {value} | ≤ {} |", ratio["goal"])?;
    }
    let idle = &summary["idle"];
    let memory = &idle["idle_memory_mib"];
    writeln!(text, "\n| at rest | |")?;
    writeln!(text, "| --- | ---: |")?;
    writeln!(text, "| artefact | {} bytes |", idle["artefact_bytes"])?;
    writeln!(
        text,
        "| memory that the filter adds to Envoy | {} MiB with one worker, {} MiB with five: {} MiB for each further one |",
        number(&memory["one_worker"]),
        number(&memory["five_workers"]),
        number(&memory["each_further_worker"]),
    )?;
    writeln!(
        text,
        "| Envoy's start until it serves | {} ms ({} ms of CPU time), without the filter {} ms ({} ms) |",
        number(&idle["start_ms"]["with_filter"]),
        number(&idle["start_cpu_ms"]["with_filter"]),
        number(&idle["start_ms"]["without_filter"]),
        number(&idle["start_cpu_ms"]["without_filter"]),
    )?;
    if let Some(growth) = summary["growth"].as_array() {
        writeln!(
            text,
            "\n| growth | count | added per request, µs | Envoy's memory, MiB |"
        )?;
        writeln!(text, "| --- | ---: | ---: | ---: |")?;
        for row in growth {
            writeln!(
                text,
                "| {} | {} | {} | {} |",
                row["of"].as_str().unwrap_or_default(),
                row["count"],
                number(&row["added_us_per_request"]),
                number(&row["memory_mib"]),
            )?;
        }
    }
    Ok(())
}
