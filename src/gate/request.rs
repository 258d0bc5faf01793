//! A request as the gate sees it, and as the backend shall see it.

use std::borrow::Cow;

use super::Admission;
use crate::credential::Headers;
use crate::identity::is_reserved;

/// A request's headers, and what is asked of them again and again.
#[derive(Debug)]
pub struct Request<'h> {
    headers: &'h Headers,
    method: &'h str,
    authority: &'h str,
    path: &'h [u8],
    grpc: bool,
}

/// Stands for an `:authority` that is not UTF-8: refused, as one with userinfo is.
const NO_HOST: &str = "@";

/// Headers as they go on to the backend.
pub type EditedHeaders<'h> = Vec<(&'h str, Cow<'h, [u8]>)>;

impl<'h> Request<'h> {
    /// Looks at headers: names in lower case, values in bytes, pseudo headers among them.
    #[must_use]
    pub fn of(headers: &'h Headers) -> Self {
        let mut request = Self {
            headers,
            method: "",
            authority: "",
            path: b"",
            grpc: false,
        };
        for (name, value) in headers {
            match name.as_str() {
                ":method" => request.method = text(value),
                ":authority" => request.authority = std::str::from_utf8(value).unwrap_or(NO_HOST),
                ":path" => request.path = value,
                "content-type" => request.grpc = is_grpc(value),
                _ => {}
            }
        }
        request
    }

    /// All headers.
    #[must_use]
    pub fn headers(&self) -> &'h Headers {
        self.headers
    }

    /// `:method`, empty where there is none.
    #[must_use]
    pub fn method(&self) -> &'h str {
        self.method
    }

    /// `:authority`, empty where there is none.
    #[must_use]
    pub fn authority(&self) -> &'h str {
        self.authority
    }

    /// `:path`, empty where there is none.
    #[must_use]
    pub fn path(&self) -> &'h [u8] {
        self.path
    }

    /// Whether the client speaks gRPC, and wants its answers so.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.grpc
    }
}

/// The headers that go on to the backend: none of the reserved family but those that tell of the admission. `None`:
/// they go on as they are.
#[must_use]
pub fn edit_headers<'h>(
    headers: &'h Headers,
    admission: &'h Admission,
) -> Option<EditedHeaders<'h>> {
    let mut edited: EditedHeaders<'h> = Vec::with_capacity(headers.len().saturating_add(8));
    let mut changed = false;
    for (name, value) in headers {
        if is_reserved(name.as_bytes()) {
            changed = true;
        } else if name == "connection" && nominates(value).any(is_protected) {
            changed = true;
            let kept: Vec<&[u8]> = nominates(value)
                .filter(|name| !is_protected(name))
                .collect();
            if !kept.is_empty() {
                edited.push((name, Cow::Owned(kept.join(&b", "[..]))));
            }
        } else {
            edited.push((name, Cow::Borrowed(value)));
        }
    }
    if let Admission::User(user) = admission {
        changed = true;
        let identity = user.headers();
        edited.extend(identity.map(|(name, value)| (name, Cow::Borrowed(value.as_bytes()))));
    }
    changed.then_some(edited)
}

/// The trailers of the reserved family: all are to be removed.
pub fn edit_trailers(trailers: &Headers) -> impl Iterator<Item = &str> {
    let names = trailers.iter().map(|(name, _)| name.as_str());
    names.filter(|name| is_reserved(name.as_bytes()))
}

/// The names in a `Connection` header (RFC 9110 §7.6.1): whoever is next removes these headers.
fn nominates(value: &[u8]) -> impl Iterator<Item = &[u8]> {
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

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}
