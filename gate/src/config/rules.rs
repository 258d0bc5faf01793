//! `rules[]` and `default`: what is required of which requests.

use std::rc::Rc;

use super::Project;
use super::error::{Collector, Problem};
use super::field::Field;
use super::kind::{Absent, Array, Choice, List, Nested, Own};
use super::matching::of_match;
use super::requirement::{self, Members, of_allow};
use super::section::Section;
use super::table::{Member, Object, object};
use crate::policy::{MAX_RULES_IN_TURN, Policy, Require, Requirement, Rule, RuleMatch, covered};

object! {
    /// A rule: the requests it is for, and what is asked of them.
    of_rule at "rules[]" {
        MATCH: Nested = "match",
            Nested::or(&of_match::OBJECT, Absent::Required),
            "Which requests it is for, see [`rules[].match`](#rulesmatch). `{}` matches every request.";
        REQUIRE: Own = "require",
            requirement::require(Absent::Required),
            "`none`: anybody; credentials are not looked at. `optional`: anybody; who presents a valid credential is named to the \
             backend. `user`: users only. `machine`: clients that act for themselves (client credentials) only. \
             [What each answers.](behaviour.md#the-decision)";
        ALLOW: Nested = "allow",
            Nested::new(&of_allow::OBJECT),
            "What must hold of who passes, all of it, see [`rules[].allow`](#rulesallow). Not with `none` and `optional`.";
        ACCEPT: List<&'static str> = "accept",
            requirement::ACCEPT,
            "Which credentials count. `jwt`: access tokens in JWT form. `session`: what the resolver judges, session cookies and opaque \
             access tokens. Cookies of another kind are not looked at, a token of another kind in a header is `invalid_token`. With \
             `audiences`, and for `machine`, the default is `[\"jwt\"]`.";
        AUDIENCES: List<String> = "audiences",
            requirement::AUDIENCES,
            "A token must be meant for one of these (`aud`), in place of the project's [`jwt.audiences`](#projectsjwt). Compared byte by \
             byte. The resolver is not asked about a token that is not.";
        ON_UNAUTHENTICATED: Choice<()> = "on_unauthenticated",
            requirement::ON_UNAUTHENTICATED,
            "[Not yet:](#not-yet) `\"login\"`.";
    }
}

object! {
    /// What is asked where no rule matches.
    of_default at "default" {
        REQUIRE: Own = "require",
            requirement::require(Absent::Is("\"user\"")),
            "As in a rule.";
        ALLOW: Nested = "allow",
            Nested::new(&of_allow::OBJECT),
            "As in a rule.";
        ACCEPT: List<&'static str> = "accept",
            requirement::ACCEPT,
            "As in a rule.";
        AUDIENCES: List<String> = "audiences",
            requirement::AUDIENCES,
            "As in a rule.";
        ON_UNAUTHENTICATED: Choice<()> = "on_unauthenticated",
            requirement::ON_UNAUTHENTICATED,
            "[Not yet:](#not-yet) `\"login\"`.";
    }
}

pub(super) fn read_rules(
    member: &'static Member<Array>,
    field: &Field<'_>,
    errors: &mut Collector,
) -> Option<Vec<Rule>> {
    let items = field.items(member.kind.expected, errors)?;
    let rules: Vec<Option<Rule>> = items.iter().map(|item| Rule::read(item, errors)).collect();
    let rules: Vec<Rule> = rules.into_iter().collect::<Option<_>>()?;
    let Some(covered) = covered(&rules) else {
        let reason = format!("more than {MAX_RULES_IN_TURN} are for one path and one host");
        field.contradiction(reason, errors);
        return None;
    };
    for (position, first) in covered {
        let asked = |position: usize| rules.get(position).map(|rule| &rule.requirement);
        let same = asked(position) == asked(first);
        let advice = if same {
            ", and asks for the same"
        } else {
            "; move it up"
        };
        let path = |position: usize| format!("{}[{position}]", field.path());
        let reason = format!(
            "is never reached: {} matches everything it would{advice}",
            path(first)
        );
        if same {
            errors.warn(path(position), reason);
        } else {
            errors.add(path(position), Problem::Contradiction(reason));
        }
    }
    Some(rules)
}

/// Warns of rules for hosts that no project guards.
pub(super) fn warn_of_foreign_hosts(rules: &[Rule], projects: &[Project], errors: &mut Collector) {
    if projects.iter().any(|project| project.hosts.is_empty()) {
        return;
    }
    let guarded = || projects.iter().flat_map(|project| &project.hosts);
    for (nth, rule) in rules.iter().enumerate() {
        if rule.requirement.require == Require::None {
            continue;
        }
        for (at, host) in rule.matches.hosts.iter().enumerate() {
            // A domain of the rule's may lie above a host of the project's.
            if !guarded().any(|other| other.contains(host) || host.contains(other)) {
                let text = "no project guards this host: requests for it are answered 421";
                errors.warn(format!("rules[{nth}].match.hosts[{at}]"), text.to_owned());
            }
        }
    }
}

impl Rule {
    fn read(field: &Field<'_>, errors: &mut Collector) -> Option<Self> {
        let section = Section::read(field, &of_rule::OBJECT, errors)?;
        let matches = match section.get(&of_rule::MATCH) {
            Some(_) => section
                .section(&of_rule::MATCH, errors)
                .and_then(|section| RuleMatch::read(&section, errors)),
            None => {
                let expected = "an object; {} matches every request";
                section.missing(&of_rule::MATCH, expected, errors);
                None
            }
        };
        let requirement = Requirement::read(&section, &OF_RULE, None, errors);
        section.finish(errors);
        Some(Self {
            matches: matches?,
            requirement: requirement?,
        })
    }
}

/// What `default` asks.
pub(super) fn read_default(
    section: &Section<'_>,
    errors: &mut Collector,
) -> Option<Rc<Requirement>> {
    let requirement = Requirement::read(section, &OF_DEFAULT, Some(Require::User), errors);
    section.finish(errors);
    requirement
}

static OF_RULE: Members = Members {
    require: &of_rule::REQUIRE,
    accept: &of_rule::ACCEPT,
    audiences: &of_rule::AUDIENCES,
    allow: &of_rule::ALLOW,
    on_unauthenticated: &of_rule::ON_UNAUTHENTICATED,
};

static OF_DEFAULT: Members = Members {
    require: &of_default::REQUIRE,
    accept: &of_default::ACCEPT,
    audiences: &of_default::AUDIENCES,
    allow: &of_default::ALLOW,
    on_unauthenticated: &of_default::ON_UNAUTHENTICATED,
};

/// Warns of rules that ask for less where a client chooses so.
pub(super) fn warn_of_what_clients_write(
    rules: &[Rule],
    default: &Rc<Requirement>,
    errors: &mut Collector,
) {
    if !rules.iter().any(|rule| rule.matches.asks_the_client()) {
        return;
    }
    let policy = Policy::new(rules.to_vec(), Rc::clone(default));
    for position in policy.loosened_by_clients() {
        let text = "asks for less where a header or the query is as the client chooses: whoever knows of it sends that";
        errors.warn(format!("rules[{position}].match"), text.to_owned());
    }
}
