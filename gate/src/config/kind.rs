//! Kinds of members: how each is read, and what the reference and the JSON Schema say of it.

#[cfg(feature = "schema")]
mod describe;

use std::time::Duration;

use super::error::Collector;
use super::field::Field;
use super::table::Object;
use crate::json::Node;

/// What can be read from a field by itself.
pub(super) trait Kind {
    type Value;

    /// The value, or `None` after an error.
    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<Self::Value>;

    /// The value of a member that is not given.
    fn fallback(&self) -> Fallback<Self::Value>;
}

/// A kind of which an error can say that it is missing.
pub(super) trait Expect: Kind {
    /// What should be there.
    fn expected(&self) -> &'static str;
}

/// The value of a member that is not given.
pub(super) enum Fallback<T> {
    /// This value.
    Is(T),
    /// What is read from this JSON.
    Json(&'static str),
    /// Nothing here: who reads the object decides, or it is an error.
    None,
}

/// How the reference shows a default.
#[derive(Clone, Copy)]
pub(super) enum Absent {
    /// The member must be given.
    Required,
    /// The member must be given where it is used.
    Needed,
    /// Nothing is asked.
    Any,
    /// This JSON.
    Is(&'static str),
    /// Something like this JSON, which depends on other members.
    #[cfg_attr(
        not(feature = "schema"),
        allow(dead_code, reason = "only the reference shows it")
    )]
    Like(&'static str),
}

impl Absent {
    const fn json<T>(self) -> Fallback<T> {
        match self {
            Self::Is(json) => Fallback::Json(json),
            _ => Fallback::None,
        }
    }
}

/// `true` or `false`.
pub(super) struct Flag(pub(super) bool);

impl Kind for Flag {
    type Value = bool;

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<bool> {
        field.bool(errors)
    }

    fn fallback(&self) -> Fallback<bool> {
        Fallback::Is(self.0)
    }
}

/// A whole number.
pub(super) struct Whole {
    pub(super) default: usize,
    least: usize,
    most: usize,
}

impl Whole {
    pub(super) const fn new(default: usize, least: usize, most: usize) -> Self {
        Self {
            default,
            least,
            most,
        }
    }
}

impl Kind for Whole {
    type Value = usize;

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<usize> {
        field.integer(self.least, self.most, errors)
    }

    fn fallback(&self) -> Fallback<usize> {
        Fallback::Is(self.default)
    }
}

/// A duration.
pub(super) struct Span {
    default: Option<Duration>,
    shortest: Duration,
    longest: Duration,
}

impl Span {
    pub(super) const fn new(default: Duration, shortest: Duration, longest: Duration) -> Self {
        Self {
            default: Some(default),
            shortest,
            longest,
        }
    }

    /// Without a default.
    pub(super) const fn within(shortest: Duration, longest: Duration) -> Self {
        Self {
            default: None,
            shortest,
            longest,
        }
    }
}

impl Kind for Span {
    type Value = Duration;

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<Duration> {
        field.duration(self.shortest, self.longest, errors)
    }

    fn fallback(&self) -> Fallback<Duration> {
        self.default.map_or(Fallback::None, Fallback::Is)
    }
}

/// Text that is parsed.
pub(super) struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
    absent: Absent,
    may_be_empty: bool,
    #[cfg(feature = "schema")]
    pattern: &'static str,
}

impl<T> Text<T> {
    pub(super) const fn new(expected: &'static str, parse: fn(&str) -> Option<T>) -> Self {
        Self {
            expected,
            parse,
            absent: Absent::Required,
            may_be_empty: false,
            #[cfg(feature = "schema")]
            pattern: "",
        }
    }

    pub(super) const fn or(mut self, absent: Absent) -> Self {
        self.absent = absent;
        self
    }

    pub(super) const fn or_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }

    /// A regular expression of what is accepted, and perhaps of more.
    pub(super) const fn pattern(self, pattern: &'static str) -> Self {
        #[cfg(not(feature = "schema"))]
        let _ = pattern;
        Self {
            #[cfg(feature = "schema")]
            pattern,
            ..self
        }
    }
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<T> {
        let empty = matches!(field.node(), Node::String(text) if text.is_empty());
        if self.may_be_empty && empty {
            return (self.parse)("");
        }
        field.parsed(self.expected, errors, self.parse)
    }

    fn fallback(&self) -> Fallback<T> {
        self.absent.json()
    }
}

impl<T> Expect for Text<T> {
    fn expected(&self) -> &'static str {
        self.expected
    }
}

/// One of a few words. Some of them may be words of a later version.
pub(super) struct Choice<T: 'static> {
    default: Option<T>,
    expected: &'static str,
    values: &'static [(&'static str, T)],
    later: &'static [&'static str],
}

impl<T: Copy> Choice<T> {
    pub(super) const fn new(
        default: Option<T>,
        expected: &'static str,
        values: &'static [(&'static str, T)],
        later: &'static [&'static str],
    ) -> Self {
        Self {
            default,
            expected,
            values,
            later,
        }
    }

    pub(super) fn find(&self, text: &str) -> Option<T> {
        let named = self.values.iter().find(|(name, _)| *name == text)?;
        Some(named.1)
    }
}

impl<T: Copy> Kind for Choice<T> {
    type Value = T;

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<T> {
        let text = field.string(self.expected, errors)?;
        let value = self.find(text);
        match value {
            Some(_) => {}
            None if self.later.contains(&text) => field.not_supported_yet(errors),
            None => field.unexpected(self.expected, errors),
        }
        value
    }

    fn fallback(&self) -> Fallback<T> {
        self.default.map_or(Fallback::None, Fallback::Is)
    }
}

impl<T: Copy> Expect for Choice<T> {
    fn expected(&self) -> &'static str {
        self.expected
    }
}

/// A list of texts, none of them twice.
pub(super) struct List<T> {
    item: Text<T>,
    may_be_empty: bool,
    #[cfg(feature = "schema")]
    noun: &'static str,
}

impl<T> List<T> {
    /// A list that may be empty. The noun is what the reference calls its items.
    pub(super) const fn new(noun: &'static str, item: Text<T>) -> Self {
        #[cfg(not(feature = "schema"))]
        let _ = noun;
        Self {
            item,
            may_be_empty: true,
            #[cfg(feature = "schema")]
            noun,
        }
    }

    pub(super) const fn at_least_one(mut self) -> Self {
        self.may_be_empty = false;
        self
    }
}

impl<T> Kind for List<T> {
    type Value = Vec<T>;

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<Vec<T>> {
        let Text {
            expected, parse, ..
        } = self.item;
        if self.may_be_empty {
            field.strings(expected, errors, parse)
        } else {
            field.some_strings(expected, errors, parse)
        }
    }

    fn fallback(&self) -> Fallback<Vec<T>> {
        self.item.absent.json()
    }
}

/// A value, or `null`, which is the default.
pub(super) struct OrNull<K>(pub(super) K);

impl<K: Kind> Kind for OrNull<K> {
    type Value = Option<K::Value>;

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<Self::Value> {
        if field.is_null() {
            return Some(None);
        }
        self.0.read(field, errors).map(Some)
    }

    fn fallback(&self) -> Fallback<Self::Value> {
        Fallback::Is(None)
    }
}

/// An object; all its members have defaults, unless it is required.
pub(super) struct Nested {
    pub(super) object: &'static Object,
    #[cfg(feature = "schema")]
    absent: Absent,
    #[cfg(feature = "schema")]
    nullable: bool,
}

impl Nested {
    pub(super) const fn new(object: &'static Object) -> Self {
        Self::or(object, Absent::Is("{}"))
    }

    pub(super) const fn or(object: &'static Object, absent: Absent) -> Self {
        #[cfg(not(feature = "schema"))]
        let _ = absent;
        Self {
            object,
            #[cfg(feature = "schema")]
            absent,
            #[cfg(feature = "schema")]
            nullable: false,
        }
    }

    /// `null` means something of its own.
    pub(super) const fn or_null(object: &'static Object) -> Self {
        Self {
            #[cfg(feature = "schema")]
            nullable: true,
            ..Self::new(object)
        }
    }
}

/// A list of objects.
pub(super) struct Array {
    pub(super) expected: &'static str,
    /// The default, in JSON; empty: the member must be given; [`Self::NOTHING`]: nothing is asked.
    pub(super) default: &'static str,
    #[cfg(feature = "schema")]
    object: &'static Object,
}

impl Array {
    /// The default where nothing is asked. An array that is given has at least one object.
    pub(super) const NOTHING: &'static str = "any";

    pub(super) const fn new(
        object: &'static Object,
        expected: &'static str,
        default: &'static str,
    ) -> Self {
        #[cfg(not(feature = "schema"))]
        let _ = object;
        Self {
            expected,
            default,
            #[cfg(feature = "schema")]
            object,
        }
    }
}

/// A feature of a later version: this version accepts only its default, which is off. A flag.
pub(super) struct LaterFlag;

impl Kind for LaterFlag {
    type Value = ();

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<()> {
        if field.bool(errors)? {
            field.not_supported_yet(errors);
        }
        Some(())
    }

    fn fallback(&self) -> Fallback<()> {
        Fallback::Is(())
    }
}

/// The same: an object.
pub(super) struct LaterObject;

impl Kind for LaterObject {
    type Value = ();

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<()> {
        match field.node() {
            Node::Object(members) if members.is_empty() => {}
            Node::Object(_) => field.not_supported_yet(errors),
            _ => field.unexpected("an object", errors),
        }
        Some(())
    }

    fn fallback(&self) -> Fallback<()> {
        Fallback::Is(())
    }
}

/// The same: anything but `null`.
pub(super) struct LaterOrNull;

impl Kind for LaterOrNull {
    type Value = ();

    fn read(&self, field: &Field<'_>, errors: &mut Collector) -> Option<()> {
        if !field.is_null() {
            field.not_supported_yet(errors);
        }
        Some(())
    }

    fn fallback(&self) -> Fallback<()> {
        Fallback::Is(())
    }
}

/// What its reader knows: which texts of a list are accepted depends on other members, or it is a document of its own.
pub(super) struct Own {
    #[cfg(feature = "schema")]
    facts: OwnFacts,
}

#[cfg(feature = "schema")]
struct OwnFacts {
    kind: &'static str,
    absent: Absent,
    range: &'static str,
    schema: &'static str,
}

impl Own {
    /// What reference and schema say of it: its type, default and range, and its schema in JSON.
    pub(super) const fn new(
        kind: &'static str,
        absent: Absent,
        range: &'static str,
        schema: &'static str,
    ) -> Self {
        #[cfg(not(feature = "schema"))]
        let _ = (kind, absent, range, schema);
        Self {
            #[cfg(feature = "schema")]
            facts: OwnFacts {
                kind,
                absent,
                range,
                schema,
            },
        }
    }
}
