//! What a rule, or `default`, asks: `require`, `accept`, `audiences` and `allow`.

use std::rc::Rc;
use std::time::Duration;

use super::Project;
use super::error::Collector;
use super::field::{Field, Wanted, path_of};
use super::kind::{Absent, Array, Choice, Flag, List, Nested, OrNull, Own, Span, Text};
use super::section::Section;
use super::table::{Member, Object, object};
use super::text::string;
use crate::claim::{ClaimPath, Scalar};
use crate::json::Node;
use crate::policy::{Accept, Audiences, ClaimTest, Condition, Require, Requirement};

const ONE_WHO: &str = "\"none\", \"optional\", \"user\", \"machine\" or [\"user\", \"machine\"]";

const WHO: Choice<Require> = Choice::new(
    None,
    ONE_WHO,
    &[
        ("none", Require::None),
        ("optional", Require::Optional),
        ("user", Require::User),
        ("machine", Require::Machine),
    ],
    &[],
);

/// `require`, with this default.
pub(super) const fn require(absent: Absent) -> Own {
    Own::new(
        "string or array of strings",
        absent,
        "`\"none\"`, `\"optional\"`, `\"user\"`, `\"machine\"`, `[\"user\", \"machine\"]`",
        r#"{ "anyOf": [
            { "enum": ["none", "optional", "user", "machine"] },
            { "type": "array", "items": { "enum": ["user", "machine"] }, "minItems": 1, "uniqueItems": true }
        ] }"#,
    )
}

/// `accept`.
pub(super) const ACCEPT: List<&'static str> = List::new(
    "strings",
    Text::new("\"jwt\" or \"session\"", credential_kind)
        .or(Absent::Like(r#"["jwt", "session"]"#))
        .pattern("^(jwt|session)$"),
)
.at_least_one();

/// `audiences`.
pub(super) const AUDIENCES: List<String> =
    List::new("strings", Text::new("an audience", string).or(Absent::Any)).at_least_one();

pub(super) const ON_UNAUTHENTICATED: Choice<()> =
    Choice::new(Some(()), "\"401\" or \"login\"", &[("401", ())], &["login"]);

const ROLE: Text<String> = Text::new("a role key: visible ASCII without a comma", role)
    .or(Absent::Any)
    .pattern("^[!-+.-~-]+$");
const METHOD: Text<String> = Text::new(
    "an authentication method (RFC 8176), such as \"mfa\"",
    visible,
)
.or(Absent::Any)
.pattern("^[!-~]+$");
const SCOPE: Text<String> = Text::new("a scope (RFC 6749 §3.3)", scope)
    .or(Absent::Any)
    .pattern("^[!#-\\[\\]-~]+$");
const CLIENT: Text<String> = Text::new("a client ID: visible ASCII", visible)
    .or(Absent::Any)
    .pattern("^[!-~]+$");

/// The members of `allow`, and those of an alternative.
macro_rules! conditions {
    ($(#[$about:meta])* $module:ident at $path:literal { $($more:tt)* }) => {
        object! {
            $(#[$about])*
            $module at $path {
                ROLES_ANY: List<String> = "roles_any",
                    List::new("role keys", ROLE).at_least_one(),
                    "The user has one of these roles.";
                ROLES_ALL: List<String> = "roles_all",
                    List::new("role keys", ROLE).at_least_one(),
                    "The user has all of these roles.";
                VERIFIED: OrNull<Flag> = "verified",
                    OrNull(Flag(false)),
                    "The user is verified, or with `false` is not.";
                ANONYMOUS: OrNull<Flag> = "anonymous",
                    OrNull(Flag(false)),
                    "The user is anonymous, or with `false` is not.";
                CAN_REAUTHENTICATE: OrNull<Flag> = "can_reauthenticate",
                    OrNull(Flag(false)),
                    "The user can reauthenticate, or with `false` cannot.";
                CLIENT_IDS: List<String> = "client_ids",
                    List::new("client IDs", CLIENT).at_least_one(),
                    "The token was issued to one of these clients (`client_id`, which may be a URL). Only a token says so.";
                CLAIMS: Own = "claims",
                    Own::new(
                        "object",
                        Absent::Any,
                        "",
                        r#"{ "type": "object", "minProperties": 1, "additionalProperties": { "anyOf": [
                            { "type": ["string", "number", "boolean"] },
                            { "type": "array", "minItems": 1, "items": { "type": ["string", "number", "boolean"] } },
                            { "type": "object", "properties": { "present": { "type": "boolean" } }, "required": ["present"], "additionalProperties": false }
                        ] } }"#,
                    ),
                    "The token makes all of these claims. Only a token does. [How they are compared.](#claims)";
                $($more)*
                SCOPES_ANY: List<String> = "scopes_any",
                    List::new("scopes", SCOPE).at_least_one(),
                    "The token has one of these scopes (`scope` or `scp`). Only a token does.";
                SCOPES_ALL: List<String> = "scopes_all",
                    List::new("scopes", SCOPE).at_least_one(),
                    "The token has all of these scopes.";
                AMR_ANY: List<String> = "amr_any",
                    List::new("methods", METHOD).at_least_one(),
                    "The user authenticated by one of these methods. [Authgear says so only in a fresh token.](#amr)";
                AMR_ALL: List<String> = "amr_all",
                    List::new("methods", METHOD).at_least_one(),
                    "The user authenticated by all of these methods. [Authgear says so only in a fresh token.](#amr)";
                MAX_AUTH_AGE: OrNull<Span> = "max_auth_age",
                    OrNull(Span::within(Duration::from_secs(1), Duration::from_secs(31_536_000))),
                    "The user authenticated at most so long ago (`auth_time`, which a refresh does not change). A time that is not \
                     known is too long ago.";
            }
        }
    };
}

conditions! {
    /// What must hold of a principal.
    of_allow at "rules[].allow" {
        ANY_OF: Array = "any_of",
            Array::new(&of_alternative::OBJECT, "an array of alternatives", Array::NOTHING),
            "All that one of these alternatives asks, see [`rules[].allow.any_of[]`](#rulesallowany_of).";
    }
}

conditions! {
    /// One of several alternatives: read by the members of `allow`, which are the same.
    #[cfg_attr(
        not(feature = "schema"),
        allow(dead_code, reason = "only the reference shows them")
    )]
    of_alternative at "rules[].allow.any_of[]" {}
}

/// The members of a rule, or of `default`, that say what it asks.
pub(super) struct Members {
    pub(super) require: &'static Member<Own>,
    pub(super) accept: &'static Member<List<&'static str>>,
    pub(super) audiences: &'static Member<List<String>>,
    pub(super) allow: &'static Member<Nested>,
    pub(super) on_unauthenticated: &'static Member<Choice<()>>,
}

/// How many claims the rules of one configuration may name: as many are kept of each token.
const MAX_CLAIMS: usize = 64;

impl Requirement {
    /// `otherwise`: who may pass where `require` is not given; `None`: it must be.
    pub(super) fn read(
        section: &Section<'_>,
        members: &Members,
        otherwise: Option<Require>,
        errors: &mut Collector,
    ) -> Option<Rc<Self>> {
        let require = match (section.get(members.require), otherwise) {
            (Some(field), _) => read_require(&field, errors),
            (None, Some(require)) => Some(require),
            (None, None) => {
                section.missing(members.require, ONE_WHO, errors);
                None
            }
        };
        let audiences = section.given(members.audiences, errors);
        let accept = section.given(members.accept, errors);
        let allow = section.section(members.allow, errors);
        let allow = allow.and_then(|section| read_allow(&section, errors));
        section.value(members.on_unauthenticated, errors);
        let requirement = Self {
            require: require?,
            accept: match accept {
                Some(kinds) => accept_of(&kinds?),
                None => Accept {
                    jwt: true,
                    // No session is a machine's, or for an audience.
                    session: audiences.is_none() && require? != Require::Machine,
                },
            },
            audiences: match audiences {
                Some(audiences) => vec![Audiences::Of(audiences?)],
                None => vec![Audiences::Project],
            },
            allow: allow?,
        };
        requirement.contradict(section, members, errors);
        Some(Rc::new(requirement))
    }

    /// What can never be met, or asks for nothing.
    fn contradict(&self, section: &Section<'_>, members: &Members, errors: &mut Collector) {
        let Self {
            require, accept, ..
        } = *self;
        if require == Require::None {
            for (name, given) in [
                (members.accept.name, section.get(members.accept).is_some()),
                (
                    members.audiences.name,
                    section.get(members.audiences).is_some(),
                ),
                (members.allow.name, !self.allow.is_empty()),
            ] {
                if given {
                    let reason = "\"require\": \"none\" looks at no credential: leave this out";
                    section.contradict(name, reason, errors);
                }
            }
            return;
        }
        if require == Require::Optional && !self.allow.is_empty() {
            let reason = "\"require\": \"optional\" lets everybody pass: nothing can be asked of them; use \"user\"";
            section.contradict(members.allow.name, reason, errors);
        }
        if require == Require::Machine && accept.session {
            let reason = "no session is a machine's: machines have access tokens, \"jwt\"";
            section.contradict(members.accept.name, reason, errors);
        }
        for condition in &self.allow {
            self.contradict_condition(condition, section, members, errors);
        }
    }

    fn contradict_condition(
        &self,
        condition: &Condition,
        section: &Section<'_>,
        members: &Members,
        errors: &mut Collector,
    ) {
        let place = format!("{}.{}", members.allow.name, condition.name().text());
        let mut never_met = None;
        condition.visit(&mut |condition| {
            let name = condition.name();
            if name.is_of_tokens() && !self.accept.jwt {
                never_met = Some((name, "a token, and \"accept\" takes sessions only"));
            }
            if name.is_of_users() && !self.require.takes_users() {
                never_met = Some((name, "a user, and \"require\" takes machines only"));
            }
        });
        if let Some((name, why)) = never_met {
            let reason = format!("is never met: \"{}\" is about {why}", name.text());
            section.contradict(&place, &reason, errors);
        } else if condition.name().is_of_users() && self.require.takes_machines() {
            let reason = "no machine meets this: write it into one alternative of \"any_of\", or give users a rule of their own";
            section.contradict(&place, reason, errors);
        }
    }

    /// What no credential of the projects can meet. `place`: the path of the rule.
    pub(super) fn contradict_projects(
        &self,
        place: &str,
        projects: &[Project],
        errors: &mut Collector,
    ) {
        if self.require == Require::None {
            return;
        }
        if !self.accept.jwt && projects.iter().all(|project| project.session.is_none()) {
            let reason = "is never met: sessions are off (\"session\": null)";
            errors.contradict(format!("{place}.accept"), reason);
        }
        let foreign = |project: &Project| {
            let mut audiences = project.jwt.audiences.iter();
            audiences.any(|audience| audience != project.endpoint.origin())
        };
        if self.require.takes_machines()
            && self.audiences == [Audiences::Project]
            && !projects.iter().any(foreign)
        {
            let reason = "machines need \"audiences\": their tokens are for a resource, never for \"endpoint\"";
            errors.contradict(place.to_owned(), reason);
        }
        let is_known = |clients: &Vec<String>| {
            projects.iter().any(|project| {
                let allowed = &project.jwt.client_ids;
                allowed.is_empty() || clients.iter().any(|client| allowed.contains(client))
            })
        };
        for condition in &self.allow {
            let mut is_met = true;
            condition.visit(&mut |inner| {
                if let Condition::ClientIds(clients) = inner {
                    is_met &= is_known(clients);
                }
            });
            if !is_met {
                let reason = "is never met: the project's \"jwt.client_ids\" has none of these";
                let name = condition.name().text();
                errors.contradict(format!("{place}.allow.{name}"), reason);
            }
        }
    }
}

/// Refuses more claims than are kept of a token.
pub(super) fn limit_claims<'r>(
    requirements: impl Iterator<Item = &'r Rc<Requirement>>,
    errors: &mut Collector,
) {
    let mut paths: Vec<&ClaimPath> = Vec::new();
    for condition in requirements.flat_map(|requirement| &requirement.allow) {
        condition.visit(&mut |condition| {
            if let Condition::Claim(path, _) = condition
                && !paths.contains(&path)
            {
                paths.push(path);
            }
        });
        if paths.len() > MAX_CLAIMS {
            let reason =
                format!("name more than {MAX_CLAIMS} claims: as many would be kept of each token");
            return errors.contradict("rules".to_owned(), &reason);
        }
    }
}

fn read_require(field: &Field<'_>, errors: &mut Collector) -> Option<Require> {
    if matches!(field.node(), Node::String(_)) {
        return super::kind::Kind::read(&WHO, field, errors);
    }
    if !matches!(field.node(), Node::Array(_)) {
        field.unexpected(ONE_WHO, errors);
        return None;
    }
    let both = "\"user\" or \"machine\"";
    let kind = |text: &str| {
        WHO.find(text)
            .filter(|who| who.takes_users() || who.takes_machines())
    };
    let given = field.some_strings(both, errors, kind)?;
    match given.as_slice() {
        [one] => Some(*one),
        [_, _] => Some(Require::UserOrMachine),
        // Reported already.
        _ => None,
    }
}

fn credential_kind(text: &str) -> Option<&'static str> {
    ["jwt", "session"].into_iter().find(|kind| *kind == text)
}

fn accept_of(kinds: &[&str]) -> Accept {
    Accept {
        jwt: kinds.contains(&"jwt"),
        session: kinds.contains(&"session"),
    }
}

const AMR: &str = "Authgear names the methods only in the first token after a login, not in a refreshed one, and never for a \
                   session: everybody else is denied";

/// A member that is a list of texts, or a flag, and its condition.
type OfList = (&'static Member<List<String>>, fn(Vec<String>) -> Condition);
type OfFlag = (&'static Member<OrNull<Flag>>, fn(bool) -> Condition);

/// The conditions of `allow` or of an alternative: they have the same members. Those come last whose denial tells the client
/// what would be enough.
#[inline(never)]
fn read_allow(section: &Section<'_>, errors: &mut Collector) -> Option<Vec<Condition>> {
    use of_allow as of;
    let lists: [OfList; 3] = [
        (&of::ROLES_ANY, Condition::RolesAny),
        (&of::ROLES_ALL, Condition::RolesAll),
        (&of::CLIENT_IDS, Condition::ClientIds),
    ];
    let flags: [OfFlag; 3] = [
        (&of::VERIFIED, Condition::Verified),
        (&of::ANONYMOUS, Condition::Anonymous),
        (&of::CAN_REAUTHENTICATE, Condition::CanReauthenticate),
    ];
    let later: [OfList; 4] = [
        (&of::SCOPES_ANY, Condition::ScopesAny),
        (&of::SCOPES_ALL, Condition::ScopesAll),
        (&of::AMR_ANY, Condition::AmrAny),
        (&of::AMR_ALL, Condition::AmrAll),
    ];
    let mut all = Some(Vec::new());
    read_lists(section, &lists, &mut all, errors);
    for (member, condition) in flags {
        let flag = section.value(member, errors);
        extend(&mut all, flag.map(|flag| flag.into_iter().map(condition)));
    }
    if let Some(field) = section.get(&of::CLAIMS) {
        extend(&mut all, read_claims(&field, errors));
    }
    if let Some(field) = section.get(&of::ANY_OF) {
        extend(&mut all, read_any_of(&field, errors).map(Some));
    }
    read_lists(section, &later, &mut all, errors);
    let age = section.value(&of::MAX_AUTH_AGE, errors);
    extend(&mut all, age.map(|age| age.map(Condition::MaxAuthAge)));
    for member in [&of::AMR_ANY, &of::AMR_ALL] {
        if section.get(member).is_some() {
            errors.warn(section.path_of(member.name), AMR.to_owned());
        }
    }
    section.finish(errors);
    all
}

#[inline(never)]
fn read_lists(
    section: &Section<'_>,
    members: &[OfList],
    all: &mut Option<Vec<Condition>>,
    errors: &mut Collector,
) {
    for (member, condition) in members {
        if let Some(list) = section.given(member, errors) {
            extend(all, list.map(|list| Some(condition(list))));
        }
    }
}

/// `None`: something was wrong.
fn extend(all: &mut Option<Vec<Condition>>, more: Option<impl IntoIterator<Item = Condition>>) {
    match (all.as_mut(), more) {
        (Some(all), Some(more)) => all.extend(more),
        _ => *all = None,
    }
}

#[inline(never)]
fn read_any_of(field: &Field<'_>, errors: &mut Collector) -> Option<Condition> {
    let items = field.items(of_allow::ANY_OF.kind.expected, errors)?;
    if items.is_empty() {
        field.unexpected("at least one alternative", errors);
        return None;
    }
    let mut alternatives = Vec::new();
    for item in &items {
        alternatives.extend(read_alternative(item, errors));
    }
    (alternatives.len() == items.len()).then_some(Condition::AnyOf(alternatives))
}

fn read_alternative(field: &Field<'_>, errors: &mut Collector) -> Option<Vec<Condition>> {
    let section = Section::read(field, &of_alternative::OBJECT, errors)?;
    let conditions = read_allow(&section, errors)?;
    if conditions.is_empty() {
        let reason = "asks for nothing, so that everybody meets it: leave \"any_of\" out";
        field.contradiction(reason, errors);
        return None;
    }
    Some(conditions)
}

#[inline(never)]
fn read_claims(field: &Field<'_>, errors: &mut Collector) -> Option<Vec<Condition>> {
    let members = field.members(errors)?;
    if members.is_empty() {
        field.unexpected("at least one claim", errors);
        return None;
    }
    let mut conditions = Vec::new();
    for (name, node) in members {
        let value = Field::new(path_of(field.parent_path(), name), node);
        let path = ClaimPath::parse(name);
        if path.is_none() {
            let reason =
                "names no claim: expected a claim's name, or \"/name/name\" for one inside another";
            value.contradiction(reason, errors);
        }
        let test = claim_test(node);
        if test.is_none() {
            let expected =
                "a string, a number, true or false, an array of these, or { \"present\": true }";
            value.unexpected(expected, errors);
        }
        if let (Some(path), Some(test)) = (path, test) {
            conditions.push(Condition::Claim(path, test));
        }
    }
    (conditions.len() == members.len()).then_some(conditions)
}

fn claim_test(node: &Node) -> Option<ClaimTest> {
    Some(match Wanted::read(node, Scalar::from_node)? {
        Wanted::Present(present) => ClaimTest::Present(present),
        Wanted::AnyOf(values) => ClaimTest::AnyOf(values),
    })
}

fn visible(text: &str) -> Option<String> {
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

pub(super) fn role(text: &str) -> Option<String> {
    visible(text).filter(|role| !role.is_empty() && !role.contains(','))
}

/// RFC 6749 §3.3.
fn scope(text: &str) -> Option<String> {
    visible(text).filter(|scope| !scope.contains(['"', '\\']))
}
