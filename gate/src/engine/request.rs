//! A request as the gate sees it, and as the backend shall see it.

use std::borrow::Cow;

use super::Admission;
use crate::credential::Headers;
use crate::principal::{Subject, is_reserved};

/// A request's headers, and those of them that are read often.
#[derive(Debug)]
pub struct Request<'h> {
    headers: &'h Headers<'h>,
    method: &'h [u8],
    authority: &'h [u8],
    path: &'h [u8],
    id: &'h [u8],
    grpc: bool,
}

/// One change to a request's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<'h> {
    /// Every header of this name goes.
    Remove(&'h [u8]),
    /// This is the one header of its name.
    Set(&'h [u8], Cow<'h, [u8]>),
}

impl<'h> Request<'h> {
    /// A request with these headers: names in lower case, values in bytes, pseudo headers among them.
    #[must_use]
    pub fn new(headers: &'h Headers<'h>) -> Self {
        let mut request = Self {
            headers,
            method: b"",
            authority: b"",
            path: b"",
            id: b"",
            grpc: false,
        };
        for (name, value) in headers {
            match *name {
                b":method" => request.method = value,
                b":authority" => request.authority = value,
                b":path" => request.path = value,
                b"x-request-id" => request.id = value,
                b"content-type" => request.grpc = is_grpc(value),
                _ => {}
            }
        }
        request
    }

    /// All headers.
    #[must_use]
    pub fn headers(&self) -> &'h Headers<'h> {
        self.headers
    }

    /// `:method`, empty where there is none.
    #[must_use]
    pub fn method(&self) -> &'h [u8] {
        self.method
    }

    /// `:authority`, empty where there is none.
    #[must_use]
    pub fn authority(&self) -> &'h [u8] {
        self.authority
    }

    /// `:path`, empty where there is none.
    #[must_use]
    pub fn path(&self) -> &'h [u8] {
        self.path
    }

    /// `x-request-id`, which Envoy sets, if it can stand in a log line and in JSON as it is.
    #[must_use]
    pub fn id(&self) -> Option<&'h str> {
        const MAX_BYTES: usize = 128;
        let fits = !self.id.is_empty()
            && self.id.len() <= MAX_BYTES
            && self
                .id
                .iter()
                .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte));
        std::str::from_utf8(self.id).ok().filter(|_| fits)
    }

    /// Whether the client sends a header of the reserved family, or has `Connection` name one.
    #[must_use]
    pub(crate) fn has_reserved_headers(&self) -> bool {
        let reserved = |(name, _): &(&[u8], &[u8])| is_reserved(name);
        self.headers.iter().any(reserved) || nominated(self.headers).any(is_reserved)
    }

    /// Whether the client speaks gRPC, and wants its answers so.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }
}

/// What is to be changed in the headers before they are forwarded: none of the reserved family is forwarded but those
/// that describe the admission. Single edits cost the host less than a new map.
#[must_use]
pub fn edit_headers<'h>(headers: &'h Headers<'h>, admission: &'h Admission) -> Vec<Edit<'h>> {
    let reserved = headers.iter().filter(|(name, _)| is_reserved(name));
    let mut edits: Vec<Edit<'h>> = reserved.map(|(name, _)| Edit::Remove(name)).collect();
    edits.extend(edit_connection(headers));
    if let Admission::Principal(principal, roles) = admission {
        match principal.subject() {
            Subject::User(user) => {
                edits.extend(user.headers().map(|(name, value)| set(name, value)));
                edits.extend(roles.of(user).map(|(name, value)| set(name, value)));
            }
            Subject::Machine(Some(client)) => {
                let (name, value) = client.header();
                edits.push(set(name, value));
            }
            Subject::Machine(None) => {}
        }
    }
    edits
}

fn set<'h>(name: &'h str, value: &'h str) -> Edit<'h> {
    Edit::Set(name.as_bytes(), value.as_bytes().into())
}

/// `Connection`, if it nominates what no client may have removed.
fn edit_connection<'h>(headers: &'h Headers<'h>) -> Option<Edit<'h>> {
    let nominated = nominated(headers);
    if !nominated.clone().any(is_protected) {
        return None;
    }
    let kept: Vec<&[u8]> = nominated.filter(|name| !is_protected(name)).collect();
    Some(if kept.is_empty() {
        Edit::Remove(CONNECTION)
    } else {
        Edit::Set(CONNECTION, kept.join(&b", "[..]).into())
    })
}

/// The trailers of the reserved family: all are to be removed.
pub fn edit_trailers<'h>(trailers: &'h Headers<'h>) -> impl Iterator<Item = &'h [u8]> {
    let names = trailers.iter().map(|(name, _)| *name);
    names.filter(|name| is_reserved(name))
}

const CONNECTION: &[u8] = b"connection";

/// The names in all `Connection` headers.
fn nominated<'h>(headers: &'h Headers<'h>) -> impl Iterator<Item = &'h [u8]> + Clone {
    let lines = headers.iter().filter(|(name, _)| *name == CONNECTION);
    lines.flat_map(|(_, value)| nominates(value))
}

/// The names in a `Connection` header (RFC 9110 §7.6.1): whoever is next removes these headers.
fn nominates(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}

/// Headers that no client may have removed on the way to the backend.
fn is_protected(name: &(impl AsRef<[u8]> + ?Sized)) -> bool {
    let name = name.as_ref();
    is_reserved(name)
        || name.eq_ignore_ascii_case(b"authorization")
        || name.eq_ignore_ascii_case(b"cookie")
}

/// `application/grpc`, with a suffix or without: what Envoy takes for gRPC, to the letter, for it is Envoy that turns an
/// answer into one of gRPC's.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|suffix| matches!(suffix.first(), None | Some(b'+')))
}
