//! The names of Authgear's cookies, and what each contains.

use super::error::Collector;
use super::field::Field;

/// What a cookie of Authgear's contains. Its name is the project's cookie prefix and the name of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieRole {
    /// The session of a login.
    Session,
    /// The session of a page that an application has opened.
    AppSession,
    /// An access token, opaque or a JWT.
    AccessToken,
}

/// A cookie that the resolver reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    /// Its whole name.
    pub name: String,
    /// What it contains.
    pub role: CookieRole,
}

impl CookieRole {
    const ALL: [Self; 3] = [Self::Session, Self::AppSession, Self::AccessToken];

    /// The name without a prefix.
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::AppSession => "app_session",
            Self::AccessToken => "app_access_token",
        }
    }

    /// The whole name under a prefix.
    #[must_use]
    pub(crate) fn with_prefix(self, prefix: &str) -> String {
        format!("{prefix}{}", self.name())
    }
}

impl SessionCookie {
    /// All cookies that the resolver reads, under a prefix.
    pub(super) fn all(prefix: &str) -> Vec<Self> {
        let cookie = |role: CookieRole| Self {
            name: role.with_prefix(prefix),
            role,
        };
        CookieRole::ALL.map(cookie).to_vec()
    }

    /// Reads a list of cookie names. `None` for the prefix: it was refused already.
    pub(super) fn read(
        field: &Field<'_>,
        prefix: Option<&str>,
        errors: &mut Collector,
    ) -> Option<Vec<Self>> {
        let known = Self::all(prefix?);
        let names = known.iter().map(|cookie| format!("\"{}\"", cookie.name));
        let expected = format!(
            "a cookie name (no wildcards) that the resolver reads under this \"cookie_prefix\": {}",
            names.collect::<Vec<_>>().join(", ")
        );
        field.some_strings(&expected, errors, |name| {
            known.iter().find(|cookie| cookie.name == name).cloned()
        })
    }
}
