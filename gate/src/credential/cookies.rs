//! The project's cookies (RFC 6265 §5.4), read as Authgear reads them, which is as Go's `net/http` does.

use super::bearer::dots;
use super::{Headers, SessionCredential};
use crate::config::{CookieRole, Project, SessionCookie};

/// The project's cookies of one request: of each name the first that Authgear can read.
#[derive(Debug, Default)]
pub(crate) struct CookieJar<'r> {
    cookies: Vec<Cookie<'r>>,
}

#[derive(Clone, Copy, Debug)]
struct Cookie<'r> {
    name: &'r str,
    /// Without quotes. `None`: not a value that Authgear could have set, or too long.
    value: Option<&'r str>,
}

impl<'r> CookieJar<'r> {
    /// Reads the project's cookies among the request's, and ignores the others.
    pub(super) fn read(headers: &'r Headers<'r>, project: &Project, longest: usize) -> Self {
        let mut jar = Self::default();
        for (_, line) in headers.iter().filter(|(name, _)| *name == b"cookie") {
            for pair in line.split(|byte| *byte == b';') {
                jar.extend(pair, project, longest);
            }
        }
        jar
    }

    /// Adds a cookie of the project's that Authgear can read, unless there is one of its name.
    fn extend(&mut self, pair: &'r [u8], project: &Project, longest: usize) {
        let (name, value) = split_pair(pair);
        let known = |cookie: &Cookie<'_>| cookie.name.as_bytes() == name;
        if !is_of(project, name) || self.cookies.iter().any(known) {
            return;
        }
        if let (Ok(name), Some(value)) = (std::str::from_utf8(name), readable(value)) {
            // The spaces around a header's value are not part of it: this one would be sent without those at its end.
            let usable = !value.is_empty() && value.len() <= longest && !value.ends_with(' ');
            self.cookies.push(Cookie {
                name,
                value: usable.then_some(value),
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// The name and the value of the first cookie that contains a JWT.
    #[must_use]
    pub(crate) fn jwt(&self, project: &Project) -> Option<(&'r str, &'r [u8])> {
        project.jwt.cookies.iter().find_map(|name| {
            let cookie = self.cookies.iter().find(|cookie| cookie.name == name)?;
            let value = cookie.value?;
            is_jwt(value).then_some((cookie.name, value.as_bytes()))
        })
    }

    /// The cookies to send to the resolver, if there are any: those of the session. A JWT is not among them, nor any access
    /// token if the policy restricts the clients, for the resolver would accept tokens that this project's policy refuses.
    #[must_use]
    pub(crate) fn session(&self, project: &Project) -> Option<SessionCredential> {
        as_credential(
            self.for_resolver(project)
                .map(|(cookie, value)| (&*cookie.name, value)),
        )
    }

    /// The cookies to send to the resolver where the JWT in the cookie of this name was `verified`; `None`: there are no
    /// others.
    ///
    /// Of several credentials Authgear uses one that is not revoked, and a signature does not show that: a browser keeps the
    /// token of a user who has logged out beside the session of the next. So all of them are sent. The token gets the name
    /// of the cookie in which Authgear reads one, and replaces any other value there.
    #[must_use]
    pub(crate) fn session_beside(
        &self,
        project: &Project,
        verified: &str,
    ) -> Option<SessionCredential> {
        let session = project.session.as_ref()?;
        let token = self.value(verified)?;
        let mut jwt_cookies = project.jwt.cookies.iter();
        let another_jwt =
            jwt_cookies.any(|name| name != verified && self.value(name).is_some_and(is_jwt));
        if !another_jwt && self.for_resolver(project).next().is_none() {
            return None;
        }
        let others = self
            .for_resolver(project)
            .filter(|(cookie, _)| cookie.role != CookieRole::AccessToken);
        as_credential(
            others
                .map(|(cookie, value)| (&*cookie.name, value))
                .chain([(&*session.access_token_cookie, token)]),
        )
    }

    /// The cookies, with their values, that are sent to the resolver in every case.
    fn for_resolver<'j>(
        &'j self,
        project: &'j Project,
    ) -> impl Iterator<Item = (&'j SessionCookie, &'r str)> {
        let any_client = project.jwt.client_ids.is_empty();
        let cookies = project.session.iter().flat_map(|session| &session.cookies);
        cookies.filter_map(move |cookie| {
            let value = self.value(&cookie.name)?;
            let is_token = cookie.role == CookieRole::AccessToken;
            let is_jwt = is_jwt(value) && (is_token || project.jwt.cookies.contains(&cookie.name));
            let judged_here = is_jwt || (is_token && !any_client);
            (!judged_here).then_some((cookie, value))
        })
    }

    fn value(&self, name: &str) -> Option<&'r str> {
        self.cookies
            .iter()
            .find(|cookie| cookie.name == name)
            .and_then(|cookie| cookie.value)
    }
}

/// The cookies as one line, always in the same order: the same cache key whatever order the browser sends.
fn as_credential<'c>(
    cookies: impl Iterator<Item = (&'c str, &'c str)>,
) -> Option<SessionCredential> {
    let mut line = String::new();
    for (name, value) in cookies {
        if !line.is_empty() {
            line.push_str("; ");
        }
        line.push_str(name);
        line.push('=');
        line.push_str(value);
    }
    (!line.is_empty()).then(|| SessionCredential::Cookies(line.into()))
}

fn is_jwt(value: &str) -> bool {
    dots(value.as_bytes()) == 2
}

fn is_of(project: &Project, name: &[u8]) -> bool {
    let jwt = project.jwt.cookies.iter();
    let session = project.session.iter().flat_map(|session| &session.cookies);
    let session = session.map(|cookie| &cookie.name);
    jwt.chain(session).any(|cookie| cookie.as_bytes() == name)
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = trim(pair).splitn(2, |byte| *byte == b'=');
    let name = halves.next().unwrap_or_default();
    (trim(name), halves.next().unwrap_or_default())
}

/// Without what Go takes for a space, which is less than Rust does, at its ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..]
    | [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = text
    {
        text = rest;
    }
    text
}

/// The value without a pair of quotes around it. `None`: Go drops the cookie, and the next of its name counts.
fn readable(value: &[u8]) -> Option<&str> {
    let value = match value {
        [b'"', quoted @ .., b'"'] => quoted,
        plain => plain,
    };
    let fits = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    std::str::from_utf8(value)
        .ok()
        .filter(|_| value.iter().all(fits))
}
