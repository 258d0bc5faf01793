//! Which rules are never reached.

use super::index::{Fit, Hosts, Index, path_fit};
use super::rule::{HostPattern, PathPattern, Rule, RuleMatch};
use super::{MAX_RULES_IN_TURN, covers};

/// How many hosts and methods are compared with each other, of all rules together. Rules of different paths are not.
const MAX_COMPARISONS: usize = 1_000_000;

/// The rules that one rule in front of them covers: each wholly matches nothing that the other does not wholly match. Both by
/// position; of several that cover a rule, the first. `None`: more than [`MAX_RULES_IN_TURN`] share a path and a host.
pub(crate) fn covered(rules: &[Rule]) -> Option<Vec<(usize, usize)>> {
    let index = Index::new(rules);
    if index.most() > MAX_RULES_IN_TURN {
        return None;
    }
    let mut comparisons_left = MAX_COMPARISONS;
    let mut covered = Vec::new();
    for (position, rule) in rules.iter().enumerate() {
        let mut first = position;
        index.visit(
            path(&rule.matches).as_bytes(),
            Hosts::All,
            &mut |positions, _| {
                for &earlier in positions {
                    let Some(other) = rules.get(earlier).filter(|_| earlier < first) else {
                        return;
                    };
                    let cost = comparisons(&other.matches, &rule.matches);
                    comparisons_left = comparisons_left.saturating_sub(cost);
                    if comparisons_left == 0 {
                        return;
                    }
                    if matches_all_of(&other.matches, &rule.matches) {
                        first = earlier;
                    }
                }
            },
        );
        if first < position {
            covered.push((position, first));
        }
    }
    Some(covered)
}

/// The shortest path, where there are several.
pub(super) fn path(matches: &RuleMatch) -> &str {
    match &matches.path {
        None => "/",
        Some(PathPattern::Exact(path) | PathPattern::Prefix(path)) => path,
    }
}

fn comparisons(other: &RuleMatch, rule: &RuleMatch) -> usize {
    let hosts = other.hosts.len().saturating_mul(rule.hosts.len());
    let methods = other.methods.len().saturating_mul(rule.methods.len());
    hosts.saturating_add(methods).saturating_add(1)
}

/// Whether `other` matches whatever `rule` does. By its path in some case, it does: the index found it there.
fn matches_all_of(other: &RuleMatch, rule: &RuleMatch) -> bool {
    let paths = match &other.path {
        None => true,
        Some(pattern) => {
            let goes_on = matches!(rule.path, None | Some(PathPattern::Prefix(_)));
            (!goes_on || matches!(pattern, PathPattern::Prefix(_)))
                && path_fit(pattern, path(rule).as_bytes()) == Some(Fit::Wholly)
        }
    };
    let methods = all_are_in(&other.methods, &rule.methods, |other, rule| {
        covers(other, rule)
    });
    // What else it asks, the rule must ask as well.
    let headers = other.headers.iter().all(|one| rule.headers.contains(one));
    let query = other.query.iter().all(|one| rule.query.contains(one));
    let not = other.not.is_none() || other.not == rule.not;
    headers
        && query
        && not
        && paths
        && methods
        && all_are_in(&other.hosts, &rule.hosts, HostPattern::contains)
}

/// Whether a list has a place for all of another one; an empty list stands for everything.
fn all_are_in<T>(others: &[T], items: &[T], contains: fn(&T, &T) -> bool) -> bool {
    let is_in = |item: &T| others.iter().any(|other| contains(other, item));
    others.is_empty() || (!items.is_empty() && items.iter().all(is_in))
}
