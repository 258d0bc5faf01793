//! The project's cookies (RFC 6265 §5.4), read as Authgear reads them, but strictly where it chooses.

use super::bearer::dots;
use super::{Conflict, Headers};
use crate::config::Project;
use crate::session::SessionCredential;

/// The project's cookies of one request: each name once.
#[derive(Debug, Default)]
pub struct CookieJar<'r> {
    cookies: Vec<Cookie<'r>>,
}

#[derive(Clone, Copy, Debug)]
struct Cookie<'r> {
    name: &'r str,
    /// `None`: not a value that Authgear could have set.
    value: Option<&'r str>,
}

impl<'r> CookieJar<'r> {
    /// Takes the project's cookies out of the request's, and leaves the others alone.
    pub(super) fn read(
        headers: &'r Headers,
        project: &Project,
        longest: usize,
    ) -> Result<Self, Conflict> {
        let mut found: Vec<(&[u8], &[u8])> = Vec::new();
        for (_, line) in headers.iter().filter(|(name, _)| name == "cookie") {
            for pair in line.split(|byte| *byte == b';') {
                let (name, value) = split_pair(pair);
                if !is_of(project, name) {
                    continue;
                }
                match found.iter().find(|(other, _)| *other == name) {
                    Some((_, other)) if *other != value => return Err(Conflict::SeveralCookies),
                    Some(_) => {}
                    None => found.push((name, value)),
                }
            }
        }
        let cookies = found.into_iter().filter_map(|(name, value)| {
            Some(Cookie {
                name: std::str::from_utf8(name).ok()?,
                value: usable(value, longest),
            })
        });
        Ok(Self {
            cookies: cookies.collect(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// The name and the value of the cookie that holds a JWT, unless one is there that Authgear reads before it.
    #[must_use]
    pub fn jwt(&self, project: &Project) -> Option<(&'r str, &'r [u8])> {
        const READ_BEFORE: &str = "app_session";
        if let Some(session) = &project.session {
            let first = |name: &String| name.ends_with(READ_BEFORE) && self.value(name).is_some();
            if session.cookies.iter().any(first) {
                return None;
            }
        }
        project.jwt.cookies.iter().find_map(|name| {
            let cookie = self.cookies.iter().find(|cookie| cookie.name == name)?;
            let value = cookie.value?.as_bytes();
            (dots(value) == 2).then_some((cookie.name, value))
        })
    }

    /// What the resolver is to be asked, if there is anything to ask: all of the session's cookies but `except`.
    #[must_use]
    pub fn session(&self, project: &Project, except: Option<&str>) -> Option<SessionCredential> {
        let session = project.session.as_ref()?;
        let mut line = String::new();
        for name in &session.cookies {
            if except == Some(name.as_str()) {
                continue;
            }
            let Some(value) = self.value(name) else {
                continue;
            };
            if !line.is_empty() {
                line.push_str("; ");
            }
            line.push_str(name);
            line.push('=');
            line.push_str(value);
        }
        (!line.is_empty()).then_some(SessionCredential::Cookies(line))
    }

    fn value(&self, name: &str) -> Option<&'r str> {
        self.cookies
            .iter()
            .find(|cookie| cookie.name == name)
            .and_then(|cookie| cookie.value)
    }
}

fn is_of(project: &Project, name: &[u8]) -> bool {
    let jwt = project.jwt.cookies.iter();
    let session = project.session.iter().flat_map(|session| &session.cookies);
    jwt.chain(session).any(|cookie| cookie.as_bytes() == name)
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let pair = pair.trim_ascii();
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let name = halves.next().unwrap_or_default();
    (name.trim_ascii_end(), halves.next().unwrap_or_default())
}

/// Printable ASCII, neither empty nor too long.
fn usable(value: &[u8], longest: usize) -> Option<&str> {
    let printable = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if value.is_empty() || value.len() > longest || !printable {
        return None;
    }
    std::str::from_utf8(value).ok()
}
