//! Credentials that only Authgear's resolver can judge.

use std::fmt;
use std::rc::Rc;

use crate::config::{CookieRole, SessionCookie};

/// A credential that only the resolver can judge, in the very bytes that it is sent: two credentials are the same for
/// the filter if and only if they are for the resolver.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SessionCredential {
    /// An opaque access token.
    Bearer(Rc<str>),
    /// The project's cookies, and no others, as one `cookie` header.
    Cookies(Rc<str>),
    /// An access token that was verified here, for the resolver to confirm.
    Jwt(Rc<str>),
    /// No credential: a check whether the resolver answers at all. It answers 200 then.
    Nothing,
}

impl SessionCredential {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.secret().len()
    }

    /// The credential itself: the token, or the cookies.
    pub(crate) fn secret(&self) -> &str {
        match self {
            Self::Bearer(text) | Self::Cookies(text) | Self::Jwt(text) => text,
            Self::Nothing => "",
        }
    }

    /// Whether the cookie of a login is among these that it presents.
    pub(crate) fn has_login(&self, cookies: &[SessionCookie]) -> bool {
        let Self::Cookies(line) = self else {
            return false;
        };
        let mut logins = cookies
            .iter()
            .filter(|cookie| cookie.role == CookieRole::Session);
        logins.any(|login| {
            let mut pairs = line.split("; ").filter_map(|pair| pair.split_once('='));
            pairs.any(|(name, _)| name == login.name)
        })
    }
}

impl fmt::Debug for SessionCredential {
    /// Without the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bearer(_) => "SessionCredential::Bearer",
            Self::Cookies(_) => "SessionCredential::Cookies",
            Self::Jwt(_) => "SessionCredential::Jwt",
            Self::Nothing => "SessionCredential::Nothing",
        })
    }
}
