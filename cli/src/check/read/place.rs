//! From the paths of the filter's errors to places of the text.

use std::ops::Range;

use gate::config::schema::path_of;
use gate::config::{ConfigError, Problem};

use super::node::{Kind, Node};

/// The place that an error is about.
pub(in crate::check) fn of_error(root: &Node, error: &ConfigError) -> Range<usize> {
    let found = find(root, &error.path);
    match &error.problem {
        Problem::Unknown { .. } | Problem::Duplicate => found.name_or_value(),
        _ => found.value_or_name(),
    }
}

/// The place of a path.
pub(in crate::check) fn of_path(root: &Node, path: &str) -> Range<usize> {
    find(root, path).value_or_name()
}

/// Whether there is a value at this path.
pub(in crate::check) fn exists(root: &Node, path: &str) -> bool {
    find(root, path).is_exact
}

/// What stands at a path, or at the nearest one above it that there is.
struct Found<'n> {
    node: &'n Node,
    /// The bytes of the name; items of arrays and the document have none.
    name: Option<Range<usize>>,
    is_exact: bool,
}

impl Found<'_> {
    fn name_or_value(self) -> Range<usize> {
        self.name.unwrap_or_else(|| self.node.span.clone())
    }

    /// The value; of one that may take many lines, its name.
    fn value_or_name(self) -> Range<usize> {
        match self.node.kind {
            Kind::Scalar(_) if self.is_exact && !self.node.span.is_empty() => {
                self.node.span.clone()
            }
            _ => self.name_or_value(),
        }
    }
}

/// Paths are made as the filter makes them, and compared: there is no second reading of what is quoted or cut.
fn find<'n>(root: &'n Node, path: &str) -> Found<'n> {
    let mut found = Found {
        node: root,
        name: None,
        is_exact: true,
    };
    let mut above = String::new();
    // The path of the document itself. A member of that name would be an unknown one.
    if path == "configuration" && root.get(path).is_none() {
        return found;
    }
    while above != path {
        let Some((below, next)) = step(found.node, &above, path) else {
            found.is_exact = false;
            break;
        };
        (above, found) = (below, next);
    }
    found
}

/// One step towards a path.
fn step<'n>(node: &'n Node, above: &str, path: &str) -> Option<(String, Found<'n>)> {
    let leads_there = |below: &str| {
        path.strip_prefix(below)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    // Most members need no path of their own to be told apart.
    let rest = path.strip_prefix(above).unwrap_or(path);
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let may_lead_there = |name: &str| rest.starts_with(name) || rest.starts_with('[');
    match &node.kind {
        Kind::Scalar(_) => None,
        Kind::Sequence(items) => {
            let below = (0..items.len()).map(|nth| format!("{above}[{nth}]"));
            let (below, item) = below.zip(items).find(|(below, _)| leads_there(below))?;
            let found = Found {
                node: item,
                name: None,
                is_exact: true,
            };
            Some((below, found))
        }
        // Where a name is given more than once, the last is one too many.
        Kind::Mapping(members) => members
            .iter()
            .rev()
            .filter(|member| may_lead_there(&member.name))
            .map(|member| (path_of(above, &member.name), member))
            .find(|(below, _)| leads_there(below))
            .map(|(below, member)| {
                let found = Found {
                    node: &member.value,
                    name: Some(member.span.clone()),
                    is_exact: true,
                };
                (below, found)
            })
            .or_else(|| node.merged().find_map(|merged| step(merged, above, path))),
    }
}
