//! The configuration language: objects, and tables of their members.
//!
//! Each object is one table, beside the type that is read from it. The reader takes names, kinds, defaults and ranges
//! from there. So do the reference in `docs/configuration.md` and the JSON Schema (`schema.rs`), with the
//! meanings; these are compiled only where they are asked for (feature `schema`), so that the filter does not carry them.

#[cfg(feature = "schema")]
use serde_json::{Map, Value};

/// An object and its members.
pub(super) struct Object {
    /// The names, for [`Section::finish`](super::section::Section::finish).
    pub(super) names: &'static [&'static str],
    /// Where it stands: `projects[].jwks`.
    #[cfg(feature = "schema")]
    pub(super) path: &'static str,
    /// The members, in the order of the reference.
    #[cfg(feature = "schema")]
    pub(super) members: &'static [&'static (dyn Row + Sync)],
    /// What a JSON Schema can say of members that depend on each other.
    #[cfg(feature = "schema")]
    pub(super) more: &'static str,
}

/// A member: its name, its kind (with default and range), and what it means (in Markdown, for the reference).
pub(super) struct Member<K> {
    pub(super) name: &'static str,
    pub(super) kind: K,
    #[cfg(feature = "schema")]
    pub(super) meaning: &'static str,
}

impl<K> Member<K> {
    pub(super) const fn new(name: &'static str, kind: K, meaning: &'static str) -> Self {
        #[cfg(not(feature = "schema"))]
        let _ = meaning;
        Self {
            name,
            kind,
            #[cfg(feature = "schema")]
            meaning,
        }
    }
}

/// A member of any kind, as reference and schema see it.
#[cfg(feature = "schema")]
pub(super) trait Row {
    fn name(&self) -> &'static str;
    fn meaning(&self) -> &'static str;
    fn facts(&self) -> Facts;
    fn object(&self) -> Option<&'static Object>;
}

/// What there is to say of a member's kind, but for its name and meaning.
#[cfg(feature = "schema")]
pub(super) struct Facts {
    /// Its type, in words and Markdown.
    pub(super) kind: String,
    /// Its default.
    pub(super) absent: Shown,
    /// Which values it takes, in Markdown.
    pub(super) range: String,
    /// The keywords of its schema.
    pub(super) schema: Map<String, Value>,
}

/// As [`Absent`](super::kind::Absent), with a text of its own.
#[cfg(feature = "schema")]
pub(super) enum Shown {
    Required,
    Needed,
    Any,
    Is(String),
    Like(String),
}

/// An object as a module: `OBJECT`, and a `Member` for each row of its table.
macro_rules! object {
    (
        $(#[$about:meta])*
        $module:ident at $path:literal $(with $more:literal)? {
            $($member:ident: $kind:ty = $name:expr, $value:expr, $meaning:literal;)*
        }
    ) => {
        $(#[$about])*
        pub(super) mod $module {
            use super::*;
            $(pub(in crate::config) static $member: Member<$kind> = Member::new($name, $value, $meaning);)*
            pub(in crate::config) static OBJECT: Object = Object {
                names: &[$($name),*],
                #[cfg(feature = "schema")]
                path: $path,
                #[cfg(feature = "schema")]
                members: &[$(&$member),*],
                #[cfg(feature = "schema")]
                more: concat!($($more)?),
            };
        }
    };
}

pub(super) use object;
