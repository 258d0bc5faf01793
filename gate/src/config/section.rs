//! Reading an object member by member: every error is collected with its path, none ends the reading.
//!
//! A configuration is read once. The functions that read it are not inlined into their callers, which would make the
//! artefact larger.

use super::error::{Collector, Problem};
use super::field::{Field, MAX_NAME_BYTES, path_of};
use super::kind::{Array, Expect, Fallback, Kind, Nested};
use super::table::{Member, Object};
use crate::json::Node;

/// An object and where it stands. Members are asked for by their row in its table; [`Section::finish`] refuses those
/// that the table does not have.
pub(super) struct Section<'n> {
    path: String,
    members: &'n [(String, Node)],
    object: &'static Object,
}

impl<'n> Section<'n> {
    /// The object that is this value.
    #[inline(never)]
    pub(super) fn read(
        field: &Field<'n>,
        object: &'static Object,
        errors: &mut Collector,
    ) -> Option<Self> {
        Some(Self {
            path: field.parent_path().to_owned(),
            members: field.members(errors)?,
            object,
        })
    }

    #[inline(never)]
    fn find(&self, name: &'static str) -> Option<Field<'n>> {
        // Two objects may be read by the members of the one that has more.
        if !self.knows(name) {
            return None;
        }
        let (_, node) = self.members.iter().find(|(member, _)| member == name)?;
        Some(Field::new(self.path_of(name), node))
    }

    /// The member, if it is given.
    pub(super) fn get<K>(&self, member: &'static Member<K>) -> Option<Field<'n>> {
        self.find(member.name)
    }

    /// The member's value, if it is given. The inner `None`: it is wrong.
    #[inline(never)]
    pub(super) fn given<K: Kind>(
        &self,
        member: &'static Member<K>,
        errors: &mut Collector,
    ) -> Option<Option<K::Value>> {
        let field = self.get(member)?;
        Some(member.kind.read(&field, errors))
    }

    /// The member's value, or its default. `None`: it is wrong.
    #[inline(never)]
    pub(super) fn value<K: Kind>(
        &self,
        member: &'static Member<K>,
        errors: &mut Collector,
    ) -> Option<K::Value> {
        if let Some(given) = self.given(member, errors) {
            return given;
        }
        match member.kind.fallback() {
            Fallback::Is(value) => Some(value),
            Fallback::Json(json) => {
                let node = default_node(json)?;
                let field = Field::new(self.path_of(member.name), &node);
                member.kind.read(&field, errors)
            }
            Fallback::None => None,
        }
    }

    /// The member's value, or an error that says what it should have been.
    #[inline(never)]
    pub(super) fn require<K: Expect>(
        &self,
        member: &'static Member<K>,
        errors: &mut Collector,
    ) -> Option<K::Value> {
        let given = self.given(member, errors);
        if given.is_none() {
            self.missing(member, member.kind.expected(), errors);
        }
        given.flatten()
    }

    #[inline(never)]
    fn add_missing(&self, name: &str, expected: &'static str, errors: &mut Collector) {
        errors.add(self.path_of(name), Problem::Missing { expected });
    }

    #[inline(never)]
    pub(super) fn missing<K>(
        &self,
        member: &'static Member<K>,
        expected: &'static str,
        errors: &mut Collector,
    ) {
        self.add_missing(member.name, expected, errors);
    }

    /// The object that is a member of this one; one without members where it is not given.
    #[inline(never)]
    pub(super) fn section(
        &self,
        member: &'static Member<Nested>,
        errors: &mut Collector,
    ) -> Option<Section<'n>> {
        match self.get(member) {
            Some(field) => Self::read(&field, member.kind.object, errors),
            None => Some(Section {
                path: self.path_of(member.name),
                members: &[],
                object: member.kind.object,
            }),
        }
    }

    /// What `read` makes of each object of a list that is a member of this one, or of its default.
    pub(super) fn list<T>(
        &self,
        member: &'static Member<Array>,
        errors: &mut Collector,
        read: impl FnOnce(&Field<'_>, &mut Collector) -> Option<T>,
    ) -> Option<T> {
        if let Some(field) = self.get(member) {
            return read(&field, errors);
        }
        let node = default_node(member.kind.default)?;
        let field = Field::new(self.path_of(member.name), &node);
        read(&field, errors)
    }

    /// Reports every member that the table does not have as unknown.
    #[inline(never)]
    pub(super) fn finish(&self, errors: &mut Collector) {
        for (name, _) in self.members {
            // Of any number of them, no more are looked at than are reported.
            if errors.is_full() {
                break;
            }
            if !self.knows(name) {
                let nearest = suggestion(name, self.object.names).map(str::to_owned);
                errors.add(self.path_of(name), Problem::Unknown { nearest });
            }
        }
    }

    #[inline(never)]
    pub(super) fn contradiction(&self, reason: &str, errors: &mut Collector) {
        errors.add(
            self.path.as_str(),
            Problem::Contradiction(reason.to_owned()),
        );
    }

    /// As [`Section::contradiction`], of a member.
    #[inline(never)]
    pub(super) fn contradict(&self, name: &str, reason: &str, errors: &mut Collector) {
        errors.contradict(format!("{}.{name}", self.path), reason);
    }

    /// Whether the table has a member.
    fn knows(&self, name: &str) -> bool {
        self.object.names.contains(&name)
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        path_of(&self.path, name)
    }
}

/// A default of a table. Every one is read as the smallest configuration is.
#[inline(never)]
fn default_node(json: &str) -> Option<Node> {
    serde_json::from_str(json).ok()
}

/// What may be meant by a name: a known one that differs by a slip, what is called so elsewhere, or the known one that is most
/// like it.
fn suggestion(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let elsewhere = || ELSEWHERE.iter().find(|(other, _)| *other == name);
    nearest(name, known, 1)
        .or_else(|| elsewhere().map(|(_, place)| *place))
        .or_else(|| nearest(name, known, MAX_DISTANCE))
}

/// How many letters an unknown member may differ by from the one that was meant.
const MAX_DISTANCE: usize = 4;

#[inline(never)]
pub(super) fn nearest<'k>(name: &str, known: &[&'k str], max_distance: usize) -> Option<&'k str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= max_distance && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names from Authgear, from standards and from other filters, and members that are looked for at other places: where they
/// belong.
pub(super) const ELSEWHERE: [(&str, &str); 26] = [
    ("issuer", "projects[].endpoint"),
    ("iss", "projects[].endpoint"),
    ("endpoint", "projects[].endpoint"),
    ("cluster", "projects[].cluster"),
    ("cookie_prefix", "projects[].cookie_prefix"),
    ("jwks", "projects[].jwks"),
    ("jwks_uri", "projects[].jwks.uri"),
    ("remote_jwks", "projects[].jwks.uri"),
    ("keys", "projects[].jwks.inline.keys"),
    ("refresh", "projects[].jwks.refresh"),
    ("jwt", "projects[].jwt"),
    ("aud", "projects[].jwt.audiences"),
    ("audience", "projects[].jwt.audiences"),
    ("audiences", "projects[].jwt.audiences"),
    ("client_id", "projects[].jwt.client_ids"),
    ("client_ids", "projects[].jwt.client_ids"),
    ("algorithms", "projects[].jwt.algorithms"),
    ("clock_skew", "projects[].jwt.clock_skew"),
    ("revalidate", "projects[].jwt.revalidate"),
    ("session", "projects[].session"),
    ("cookie", "projects[].session.cookies"),
    ("cookie_name", "projects[].session.cookies"),
    ("cookies", "projects[].session.cookies"),
    ("ttl", "projects[].session.ttl"),
    (
        "timeout",
        "projects[].session.timeout\" or \"projects[].jwks.timeout",
    ),
    ("prefix", "rules[].match.path_prefix"),
];
