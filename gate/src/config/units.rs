//! Spans of time, by their units.

use std::time::Duration;

pub(super) const fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

pub(super) const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(super) const fn minutes(number: u64) -> Duration {
    Duration::from_secs(number.saturating_mul(60))
}

pub(super) const fn hours(number: u64) -> Duration {
    minutes(number.saturating_mul(60))
}

pub(super) const fn days(number: u64) -> Duration {
    hours(number.saturating_mul(24))
}

/// The units of durations, from the longest, in milliseconds.
pub(super) const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `250ms`, `30s`, `5m`, `1h`, `7d`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let number: u64 = number.parse().ok()?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.checked_mul(*millis)?))
}

/// A duration as an operator would write it.
pub(super) fn show_duration(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, millis): &&(&str, u64)| total > 0 && total.is_multiple_of(*millis);
    match UNITS.iter().find(fits) {
        Some((unit, millis)) => format!("{}{unit}", total.checked_div(*millis).unwrap_or(0)),
        None => "0s".to_owned(),
    }
}
