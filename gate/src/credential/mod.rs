//! What the client presented.
//!
//! A request presents either a token in a header or the project's cookies. Several tokens in headers are a [`Conflict`], and
//! the request is refused: the filter does not choose between them. Of cookies it takes those that Authgear takes.

mod bearer;
mod cookies;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use bearer::BearerToken;
pub(crate) use cookies::CookieJar;
pub(crate) use session::SessionCredential;

use thiserror::Error;

use crate::config::Project;

/// A request's headers, as the host gives them: names in lower case, values in bytes.
pub type Headers<'h> = [(&'h [u8], &'h [u8])];

/// What a request presents.
#[derive(Debug)]
pub(crate) enum Presented<'r> {
    /// No credential that the project knows.
    Nothing,
    /// A token in a header: cookies are ignored then.
    Bearer(BearerToken<'r>),
    /// One or more of the project's cookies.
    Cookies(CookieJar<'r>),
}

/// Credentials that contradict each other.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conflict {
    /// More than one `Authorization` header, or tokens in more than one header.
    #[error("several_tokens")]
    SeveralTokens,
}

/// Reads what a request presents to a project. A token or cookie longer than `longest` bytes is invalid.
///
/// # Errors
/// The credentials contradict each other.
pub(crate) fn read<'r>(
    headers: &'r Headers<'r>,
    project: &Project,
    longest: usize,
) -> Result<Presented<'r>, Conflict> {
    if let Some(token) = bearer::read(headers, &project.jwt.headers, longest)? {
        return Ok(Presented::Bearer(token));
    }
    let jar = CookieJar::read(headers, project, longest);
    if jar.is_empty() {
        Ok(Presented::Nothing)
    } else {
        Ok(Presented::Cookies(jar))
    }
}
