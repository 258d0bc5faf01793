//! `rules[].match`: which requests a rule is for.

use super::error::{Collector, suggestion};
use super::field::{Field, Wanted, path_of};
use super::kind::{Absent, Kind, List, Nested, Own, Text};
use super::section::{Section, nearest};
use super::table::{Member, Object, object};
use super::text::token;
use crate::json::{Node, quoted};
use crate::path::Readings;
use crate::policy::{ClientCondition, HostPattern, PathPattern, RuleMatch, ValueTest};
use crate::principal::is_reserved;

pub(super) const HOST: Text<HostPattern> = Text::new(
    "a host in lower case, without a scheme, a port or a dot at its end, or \"*.\" and a domain",
    HostPattern::parse,
)
.pattern("^(\\*\\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$");

const PATH: Text<String> = Text::new(NORMAL_PATH, normal_path)
    .or(Absent::Any)
    .pattern(concat!("^(/|/\\*\\*|(/", segment!(), ")+(/|/\\*\\*)?)$"));

const PREFIX: Text<String> = Text::new(NORMAL_PATH, normal_path)
    .or(Absent::Any)
    .pattern(concat!("^(/|(/", segment!(), ")+/?)$"));

const NORMAL_PATH: &str = "a path in normal form: it begins with \"/\" and has no query, no dot segments, no \"//\", \
     no \";\", \"\\\" or escaped slash, no space or dot at a segment's end";

/// A segment, or what stands for one.
macro_rules! segment {
    () => {
        "(\\*|[^/?#;\\\\*\"<>\\[\\]^`{|}\u{fffd}]*[^/?#;\\\\*\"<>\\[\\]^`{|}\u{fffd}. ])"
    };
}
use segment;

/// The members of `match`, and of its `not`.
macro_rules! match_members {
    ($(#[$about:meta])* $module:ident at $path:literal { $($more:tt)* }) => {
        object! {
            $(#[$about])*
            $module at $path with r#"{ "not": { "required": ["path", "path_prefix"] } }"# {
                PATH: Text<String> = "path",
                    super::PATH,
                    "This path, in normal form; the query does not count. Where the rule asks for more than what would apply without it, it \
                     is also for the path with or without a slash at its end, and in any case: `/a` guards `/a/` and `/A`. Where it asks for \
                     less, it is for exactly this path: `/a` opens neither. [More.](behaviour.md#paths-that-may-mean-the-same) A segment \
                     may be `*`, which is any one: `/users/*/keys`. The last may be `**`, which is all below: `/static/**` is the same as \
                     `path_prefix` with `/static/`.";
                PATH_PREFIX: Text<String> = "path_prefix",
                    super::PREFIX,
                    "This path and what is below it, by whole segments: `/a` matches `/a` and `/a/b`, not `/ab`; `/a/` matches `/a/b`, not \
                     `/a`. In any case where the rule asks for more, as with `path`. A segment may be `*`, as in `path`. No regular \
                     expressions, no templates.";
                METHODS: List<String> = "methods",
                    List::new("strings", Text::new("a method in capitals, such as \"GET\"", method).or(Absent::Any).pattern("^[A-Z_-]+$"))
                        .at_least_one(),
                    "Methods in capitals. `GET` covers `HEAD`. A request with small letters in its method is refused. One that is not \
                     [registered](https://www.iana.org/assignments/http-methods/http-methods.xhtml) is warned of.";
                HOSTS: List<HostPattern> = "hosts",
                    List::new("hosts", HOST.or(Absent::Any)).at_least_one(),
                    "Hosts in lower case without a port, or `*.example.org` for every host below `example.org` (not itself). Compared with \
                     `:authority`, in any case; its port and one dot at its end do not count. A request that names no host is one for every \
                     host where the rule asks for more than what would apply without it. [What is refused as no \
                     host.](behaviour.md#methods-and-hosts)";

                HEADERS: Own = "headers",
                    CLIENT_WRITES,
                    "What is asked of headers, by name in lower case. [How they are compared.](#what-the-client-writes)";
                QUERY: Own = "query",
                    CLIENT_WRITES,
                    "The same of the query's parameters.";
                $($more)*
            }
        }
    };
}

const CLIENT_WRITES: Own = Own::new(
    "object",
    Absent::Any,
    "",
    r#"{ "type": "object", "minProperties": 1, "additionalProperties": { "anyOf": [
        { "type": "string" },
        { "type": "array", "minItems": 1, "items": { "type": "string" } },
        { "type": "object", "properties": { "present": { "type": "boolean" } }, "required": ["present"], "additionalProperties": false }
    ] } }"#,
);

match_members! {
    /// The requests a rule is for.
    of_match at "rules[].match" {
        NOT: Nested = "not",
            Nested::or(&of_not::OBJECT, Absent::Any),
            "The requests that it is not for, see [`rules[].match.not`](#rulesmatchnot).";
    }
}

match_members! {
    /// The requests a rule is not for: read by the members of `match`, which are the same.
    #[cfg_attr(
        not(feature = "schema"),
        allow(dead_code, reason = "only the reference shows them")
    )]
    of_not at "rules[].match.not" {}
}

impl RuleMatch {
    pub(super) fn read(section: &Section<'_>, errors: &mut Collector) -> Option<Self> {
        let path = section.get(&of_match::PATH);
        let prefix = section.get(&of_match::PATH_PREFIX);
        if path.is_some() && prefix.is_some() {
            section.contradiction(
                "\"path\" and \"path_prefix\" exclude each other: keep one",
                errors,
            );
        }
        let path = match (path, prefix) {
            (Some(field), _) => Some(read_path(&field, true, errors)),
            (_, Some(field)) => Some(read_path(&field, false, errors)),
            (None, None) => None,
        };
        let methods = section.given(&of_match::METHODS, errors);
        if let Some(Some(methods)) = &methods {
            warn_of_methods(methods, section, errors);
        }
        let hosts = section.given(&of_match::HOSTS, errors);
        let headers = read_client(
            section.get(&of_match::HEADERS),
            header_name,
            header_value,
            errors,
        );
        let query = read_client(section.get(&of_match::QUERY), parameter, parameter, errors);
        let not = section.get(&of_match::NOT);
        let not = not.map(|field| read_not(&field, errors));
        section.finish(errors);
        Some(Self {
            path: match path {
                Some(path) => Some(path?),
                None => None,
            },
            methods: methods.unwrap_or_else(|| Some(Vec::new()))?,
            hosts: hosts.unwrap_or_else(|| Some(Vec::new()))?,
            headers: headers?,
            query: query?,
            not: match not {
                Some(not) => Some(Box::new(not?)),
                None => None,
            },
        })
    }
}

#[inline(never)]
fn read_not(field: &Field<'_>, errors: &mut Collector) -> Option<RuleMatch> {
    let section = Section::read(field, &of_not::OBJECT, errors)?;
    let not = RuleMatch::read(&section, errors)?;
    if not == RuleMatch::default() {
        let reason = "is for every request, so that the rule is for none: leave it out";
        field.contradiction(reason, errors);
        return None;
    }
    Some(not)
}

/// What is asked of headers, or of the query.
#[inline(never)]
fn read_client(
    field: Option<Field<'_>>,
    name_of: fn(&str) -> Result<(), &'static str>,
    value_of: fn(&str) -> Result<(), &'static str>,
    errors: &mut Collector,
) -> Option<Vec<ClientCondition>> {
    let Some(field) = field else {
        return Some(Vec::new());
    };
    let members = field.members(errors)?;
    if members.is_empty() {
        field.unexpected("at least one name", errors);
        return None;
    }
    let mut conditions = Vec::new();
    for (name, node) in members {
        let value = Field::new(path_of(field.parent_path(), name), node);
        if let Err(reason) = name_of(name) {
            value.contradiction(reason, errors);
            continue;
        }
        let test = client_test(node);
        if test.is_none() {
            value.unexpected(
                "a string, an array of strings, or { \"present\": true }",
                errors,
            );
        }
        if let Some(ValueTest::Is(values)) = &test {
            for reason in values.iter().filter_map(|text| value_of(text).err()) {
                value.contradiction(reason, errors);
            }
        }
        conditions.extend(test.map(|test| ClientCondition {
            name: name.clone(),
            test,
        }));
    }
    (conditions.len() == members.len()).then_some(conditions)
}

fn client_test(node: &Node) -> Option<ValueTest> {
    let text = |node: &Node| match node {
        Node::String(text) => Some(text.clone()),
        _ => None,
    };
    Some(match Wanted::read(node, text)? {
        Wanted::Present(present) => ValueTest::Present(present),
        Wanted::AnyOf(values) => ValueTest::Is(values),
    })
}

fn header_name(name: &str) -> Result<(), &'static str> {
    if is_reserved(name.as_bytes()) {
        return Err(
            "no client's header of this family is ever seen by a rule: ask with \"require\" and \"allow\"",
        );
    }
    match name {
        "authorization" | "cookie" => {
            Err("credentials are for \"require\", \"accept\" and \"allow\"")
        }
        "host" => Err("is compared by \"hosts\""),
        _ if token(name).is_none() || name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Err("is no name of a header in lower case")
        }
        _ => Ok(()),
    }
}

fn header_value(value: &str) -> Result<(), &'static str> {
    let visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if visible && !value.is_empty() && value.trim() == value {
        return Ok(());
    }
    Err("a header's value is visible ASCII, not empty and without spaces at its ends")
}

/// What every reader of a query takes for the same.
fn parameter(text: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(());
    }
    Err(
        "readers of a query agree only about letters, digits, \"-\", \".\", \"_\" and \"~\": nothing else can be compared",
    )
}

/// Characters that no path has (RFC 3986 §3.3) and the normal form leaves, and what stands for text that was no UTF-8.
const NOT_IN_A_PATH: [char; 11] = ['"', '<', '>', '[', ']', '^', '`', '{', '|', '}', '\u{fffd}'];

const LITERALLY: &str = "paths are compared literally, not as regular expressions or templates";

/// `exact`: the path itself, not a prefix.
fn read_path(field: &Field<'_>, exact: bool, errors: &mut Collector) -> Option<PathPattern> {
    if let Node::String(text) = field.node()
        && let Some(sign) = text.chars().find(|sign| NOT_IN_A_PATH.contains(sign))
    {
        let reason = format!(
            "{sign:?} is not allowed in a path (RFC 3986 §3.3): {LITERALLY}; use \"path_prefix\", or percent-encode the \
             character if it is meant itself"
        );
        field.contradiction(reason, errors);
        return None;
    }
    let path = PATH.read(field, errors)?;
    let (front, all_below) = match path.strip_suffix("**") {
        Some(front) if front.ends_with('/') => (front, true),
        _ => (path.as_str(), false),
    };
    let whole = |segment: &str| segment == "*" || !segment.contains('*');
    let reason = if !front.split('/').all(whole) {
        "\"*\" stands for a whole segment, \"**\" for all that lies below: \"/users/*/keys\", \"/static/**\""
    } else if all_below && !exact {
        "\"**\" is for \"path\": a prefix is for all that lies below it already"
    } else {
        if looks_like_a_pattern(&path) {
            let text = format!("matches {} as it is written: {LITERALLY}", quoted(&path));
            errors.warn(field.path().to_owned(), text);
        }
        return Some(match (exact, all_below) {
            (true, false) => PathPattern::Exact(path),
            (true, true) => PathPattern::Prefix(front.to_owned()),
            (false, _) => PathPattern::Prefix(path),
        });
    };
    field.contradiction(reason, errors);
    None
}

/// As routers and proxies write it: `/users/:id`, `/api/(v1)`, `/admin$`, `/static/.+`.
fn looks_like_a_pattern(path: &str) -> bool {
    let like = |segment: &str| segment.starts_with([':', '(']) || segment.contains(".+");
    path.ends_with('$') || path.split('/').any(like)
}

fn warn_of_methods(methods: &[String], section: &Section<'_>, errors: &mut Collector) {
    let registered: Vec<&str> = REGISTERED_METHODS.split(' ').collect();
    for (nth, method) in methods.iter().enumerate() {
        if !registered.contains(&method.as_str()) {
            let nearest = suggestion(nearest(method, &registered, 1));
            let path = section.path_of(of_match::METHODS.name);
            errors.warn(
                format!("{path}[{nth}]"),
                format!("not a registered HTTP method{nearest}"),
            );
        }
    }
}

/// The HTTP method registry of IANA (RFC 9110 §16.1).
const REGISTERED_METHODS: &str = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK \
    MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT \
    QUERY REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL";

fn normal_path(text: &str) -> Option<String> {
    let readings = Readings::parse(text.as_bytes()).ok()?;
    let whole = !text.contains(['?', '#']) && readings.is_unambiguous();
    let normal = std::str::from_utf8(readings.normal()).ok()?;
    whole.then(|| normal.to_owned())
}

fn method(text: &str) -> Option<String> {
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'));
    fits.then(|| text.to_owned())
}
