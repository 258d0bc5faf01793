//! Who was authenticated, by what, and which headers the backend gets: the same for both ways of authentication.
//!
//! The headers are written as Authgear's resolver writes them: roles joined by a comma, AMR by one space and present even if
//! empty, as it always is in the resolver's own answers, `authenticated-at` only if known.

use thiserror::Error;

use crate::claim::Claim;

/// Who was authenticated, and by what.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    subject: Subject,
    method: Method,
}

/// Whom a credential was issued to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user.
    User(User),
    /// A client that acts for itself (OAuth 2.0 client credentials), without a user. `None`: it is not said which.
    Machine(Option<ClientId>),
}

/// The ID of a client, safe to be written into a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId(Box<str>);

impl ClientId {
    const MAX_BYTES: usize = 1_024;

    /// `None`: it is empty, too long, or not visible ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() <= Self::MAX_BYTES && is_atom(text, None);
        fits.then(|| Self(text.into()))
    }

    /// The header that the backend gets.
    #[must_use]
    pub fn header(&self) -> (&'static str, &str) {
        (CLIENT_ID, &self.0)
    }
}

/// What a token says beyond whom it was issued to, as far as a rule asks for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenFacts {
    /// Its scopes.
    pub scopes: Vec<Box<str>>,
    /// Its claims.
    pub claims: Vec<Claim>,
}

/// By what a principal was authenticated.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// An access token that was verified here.
    Token {
        /// The client it was issued to (RFC 9068 §2.2), if it says so.
        client_id: Option<Box<str>>,
        /// What it says beyond that.
        facts: TokenFacts,
    },
    /// A session or an opaque token, by the resolver.
    Session,
}

impl Principal {
    /// A principal of this kind.
    #[must_use]
    pub fn new(subject: Subject, method: Method) -> Self {
        Self { subject, method }
    }

    /// Whom the credential was issued to.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// By what it was authenticated.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The user, if it is one.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        match &self.subject {
            Subject::User(user) => Some(user),
            Subject::Machine(_) => None,
        }
    }
}

/// A user: the facts that rules may ask for, and the texts that the backend gets, safe to be written into headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    user_id: String,
    anonymous: bool,
    verified: bool,
    can_reauthenticate: bool,
    roles: List,
    amr: List,
    authenticated_at: Option<(u64, String)>,
}

/// A list of texts, and how it is written into a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    items: Vec<Box<str>>,
    header: String,
}

impl List {
    fn new(items: &[&str], separator: &str) -> Self {
        Self {
            items: items.iter().map(|item| (*item).into()).collect(),
            header: items.join(separator),
        }
    }
}

/// What a token or the resolver asserts of a user, not yet checked.
#[derive(Clone, Copy, Debug)]
pub struct Assertion<'a> {
    /// The user ID.
    pub user_id: &'a str,
    /// Whether the user is anonymous.
    pub anonymous: bool,
    /// Whether the user is verified.
    pub verified: bool,
    /// Whether the user can reauthenticate.
    pub can_reauthenticate: bool,
    /// The role keys.
    pub roles: &'a [&'a str],
    /// The authentication methods (RFC 8176).
    pub amr: &'a [&'a str],
    /// When the user authenticated, in Unix seconds; `None` or 0: unknown.
    pub authenticated_at: Option<u64>,
}

/// Why an assertion cannot be put into headers.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// The user ID is empty, too long, or not visible ASCII.
    #[error("an \"x-authgear-user-id\" that is not 1 to 256 characters of visible ASCII")]
    UserId,
    /// A role contains the separator or anything but visible ASCII.
    #[error("a role in \"x-authgear-user-roles\" that is empty, or is not of visible ASCII")]
    Role,
    /// An AMR value contains anything but visible ASCII.
    #[error("a method in \"x-authgear-session-amr\" that is empty, or is not of visible ASCII")]
    Amr,
    /// The roles or AMR values are too long for a header.
    #[error("more than 16 KiB in \"x-authgear-user-roles\" or \"x-authgear-session-amr\"")]
    TooLong,
}

/// `x-authgear-session-valid`.
pub(crate) const SESSION_VALID: &str = "x-authgear-session-valid";
/// `x-authgear-user-id`.
pub(crate) const USER_ID: &str = "x-authgear-user-id";
/// `x-authgear-user-anonymous`.
pub(crate) const USER_ANONYMOUS: &str = "x-authgear-user-anonymous";
/// `x-authgear-user-verified`.
pub(crate) const USER_VERIFIED: &str = "x-authgear-user-verified";
/// `x-authgear-user-can-reauthenticate`.
pub(crate) const USER_CAN_REAUTHENTICATE: &str = "x-authgear-user-can-reauthenticate";
/// `x-authgear-user-roles`.
pub(crate) const USER_ROLES: &str = "x-authgear-user-roles";
/// `x-authgear-session-amr`.
pub(crate) const SESSION_AMR: &str = "x-authgear-session-amr";
/// `x-authgear-session-authenticated-at`.
pub(crate) const SESSION_AUTHENTICATED_AT: &str = "x-authgear-session-authenticated-at";

/// `x-authgear-client-id`, of machines alone.
pub(crate) const CLIENT_ID: &str = "x-authgear-client-id";

const MAX_USER_ID_BYTES: usize = 256;
const MAX_LIST_BYTES: usize = 16_384;

impl User {
    /// The user of this assertion, which the caller trusts.
    ///
    /// # Errors
    /// [`UserError`]: it cannot be written into headers without ambiguity.
    pub fn new(assertion: &Assertion<'_>) -> Result<Self, UserError> {
        let user_id = assertion.user_id;
        if user_id.is_empty() || user_id.len() > MAX_USER_ID_BYTES || !is_atom(user_id, None) {
            return Err(UserError::UserId);
        }
        if !assertion.roles.iter().all(|role| is_atom(role, Some(b','))) {
            return Err(UserError::Role);
        }
        if !assertion.amr.iter().all(|method| is_atom(method, None)) {
            return Err(UserError::Amr);
        }
        let roles = List::new(assertion.roles, ",");
        let amr = List::new(assertion.amr, " ");
        if roles.header.len() > MAX_LIST_BYTES || amr.header.len() > MAX_LIST_BYTES {
            return Err(UserError::TooLong);
        }
        let known = assertion.authenticated_at.filter(|seconds| *seconds > 0);
        Ok(Self {
            user_id: user_id.to_owned(),
            anonymous: assertion.anonymous,
            verified: assertion.verified,
            can_reauthenticate: assertion.can_reauthenticate,
            roles,
            amr,
            authenticated_at: known.map(|seconds| (seconds, seconds.to_string())),
        })
    }

    /// The user ID.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Whether the user is anonymous.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// Whether the user is verified.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Whether the user can reauthenticate.
    #[must_use]
    pub fn can_reauthenticate(&self) -> bool {
        self.can_reauthenticate
    }

    /// The role keys.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.items.iter().map(AsRef::as_ref)
    }

    /// The authentication methods (RFC 8176).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.amr.items.iter().map(AsRef::as_ref)
    }

    /// When the user authenticated, in Unix seconds, if that is known.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<u64> {
        self.authenticated_at.as_ref().map(|(seconds, _)| *seconds)
    }

    /// The headers, in the order in which the resolver writes them.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let always = [
            (SESSION_VALID, "true"),
            (USER_ID, self.user_id.as_str()),
            (USER_ANONYMOUS, boolean(self.anonymous)),
            (USER_VERIFIED, boolean(self.verified)),
            (USER_CAN_REAUTHENTICATE, boolean(self.can_reauthenticate)),
            (SESSION_AMR, self.amr.header.as_str()),
        ];
        let roles = self.roles.header.as_str();
        let roles = (!roles.is_empty()).then_some((USER_ROLES, roles));
        let time = self.authenticated_at.as_ref();
        let time = time.map(|(_, seconds)| (SESSION_AUTHENTICATED_AT, seconds.as_str()));
        always.into_iter().chain(roles).chain(time)
    }
}

/// The headers that name one role each, so that what compares whole values can ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleHeaders(Vec<(Box<str>, Box<str>)>);

impl RoleHeaders {
    /// A header for this role. `None`: no role has it yet that can: its name must be one of the reserved family, in lower case, and
    /// none that the filter writes for anything else.
    #[must_use]
    pub(crate) fn add(&mut self, role: &str, header: &str) -> Option<()> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let suffix = header.strip_prefix("x-authgear-")?;
        let named = !suffix.is_empty() && suffix.bytes().all(fits) && !suffix.ends_with('-');
        let taken = self.0.iter().any(|(_, other)| **other == *header);
        if !named || taken || OTHERS.contains(&header) {
            return None;
        }
        self.0.push((role.into(), header.into()));
        Some(())
    }

    /// The headers of this user's roles.
    pub fn of<'h>(&'h self, user: &'h User) -> impl Iterator<Item = (&'h str, &'static str)> {
        let in_role = |(role, _): &&(Box<str>, Box<str>)| user.roles().any(|item| *item == **role);
        self.0
            .iter()
            .filter(in_role)
            .map(|(_, header)| (&**header, "true"))
    }
}

/// What the filter writes for something else.
const OTHERS: [&str; 9] = [
    SESSION_VALID,
    USER_ID,
    USER_ANONYMOUS,
    USER_VERIFIED,
    USER_CAN_REAUTHENTICATE,
    USER_ROLES,
    SESSION_AMR,
    SESSION_AUTHENTICATED_AT,
    CLIENT_ID,
];

/// Whether a header is one of those that only the gateway may write: `x-authgear-*`, in any case, and in any
/// spelling that a backend could fold into it (`x_authgear_user_id` reaches a CGI-style backend as the same variable).
#[must_use]
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    const FAMILY: &[u8] = b"x-authgear";
    let Some((head, tail)) = name.split_at_checked(FAMILY.len()) else {
        return false;
    };
    let folds = |(byte, expected): (&u8, &u8)| {
        if *expected == b'-' {
            !byte.is_ascii_alphanumeric()
        } else {
            byte.eq_ignore_ascii_case(expected)
        }
    };
    head.iter().zip(FAMILY).all(folds)
        && tail
            .first()
            .is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Visible ASCII, not empty, without the separator of its list.
fn is_atom(text: &str, separator: Option<u8>) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && Some(byte) != separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Assertion<'_> = Assertion {
        user_id: "e3079029-f123-4c56-80c1-c2cd63a5b6af",
        anonymous: false,
        verified: true,
        can_reauthenticate: true,
        roles: &["stock_view", "app:editor"],
        amr: &["pwd", "mfa", "otp"],
        authenticated_at: Some(1_136_171_045),
    };

    fn headers(assertion: &Assertion<'_>) -> Vec<(&'static str, String)> {
        let user = User::new(assertion).unwrap();
        user.headers()
            .map(|(name, value)| (name, value.to_owned()))
            .collect()
    }

    #[test]
    fn the_headers_are_the_resolvers() {
        let mut headers = headers(&ALICE);
        headers.sort();
        let expected = [
            ("x-authgear-session-amr", "pwd mfa otp"),
            ("x-authgear-session-authenticated-at", "1136171045"),
            ("x-authgear-session-valid", "true"),
            ("x-authgear-user-anonymous", "false"),
            ("x-authgear-user-can-reauthenticate", "true"),
            ("x-authgear-user-id", "e3079029-f123-4c56-80c1-c2cd63a5b6af"),
            ("x-authgear-user-roles", "stock_view,app:editor"),
            ("x-authgear-user-verified", "true"),
        ];
        assert_eq!(
            headers,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn the_facts_are_those_that_were_asserted() {
        let user = User::new(&ALICE).unwrap();
        assert_eq!(user.roles().collect::<Vec<_>>(), ALICE.roles);
        assert_eq!(user.amr().collect::<Vec<_>>(), ALICE.amr);
        assert_eq!(user.authenticated_at(), ALICE.authenticated_at);
    }

    #[test]
    fn a_role_has_a_header_of_the_family_and_of_its_own() {
        let mut headers = RoleHeaders::default();
        let long = "x-authgear-role-2";
        for (role, header) in [
            ("stock_view", "x-authgear-role-stock"),
            ("app:editor", long),
            ("other", "x-authgear-o"),
        ] {
            assert_eq!(headers.add(role, header), Some(()), "{header}");
        }
        for header in OTHERS.into_iter().chain([
            "x-role",
            "x-authgear",
            "x-authgear-",
            "x-authgear-Role",
            "x-authgear-role-",
            "x-authgear_role",
            "x-authgear-a b",
            "x-authgear-o",
        ]) {
            assert_eq!(headers.add("role", header), None, "{header}");
        }
        let user = User::new(&ALICE).unwrap();
        let shown: Vec<_> = headers.of(&user).collect();
        assert_eq!(shown, [("x-authgear-role-stock", "true"), (long, "true")]);
    }

    #[test]
    fn no_roles_no_header_but_no_amr_an_empty_one() {
        let headers = headers(&Assertion {
            roles: &[],
            amr: &[],
            authenticated_at: Some(0),
            ..ALICE
        });
        assert!(headers.contains(&(SESSION_AMR, String::new())));
        assert!(!headers.iter().any(|(name, _)| *name == USER_ROLES));
        assert!(
            !headers
                .iter()
                .any(|(name, _)| *name == SESSION_AUTHENTICATED_AT)
        );
    }

    #[test]
    fn what_could_be_read_as_something_else_is_refused() {
        let long = "x".repeat(MAX_USER_ID_BYTES + 1);
        for user_id in [
            "",
            "a b",
            "a\r\nx-authgear-user-roles: admin",
            "a\0",
            "ü",
            &long,
        ] {
            let assertion = Assertion { user_id, ..ALICE };
            assert_eq!(User::new(&assertion), Err(UserError::UserId), "{user_id:?}");
        }
        for role in ["a,admin", "", "a b", "a\r\nb", "ä"] {
            let assertion = Assertion {
                roles: &[role],
                ..ALICE
            };
            assert_eq!(User::new(&assertion), Err(UserError::Role), "{role:?}");
        }
        for method in ["pwd mfa", "", "\n"] {
            let assertion = Assertion {
                amr: &[method],
                ..ALICE
            };
            assert_eq!(User::new(&assertion), Err(UserError::Amr), "{method:?}");
        }
        let many = vec!["role"; MAX_LIST_BYTES];
        let assertion = Assertion {
            roles: &many,
            ..ALICE
        };
        assert_eq!(User::new(&assertion), Err(UserError::TooLong));
    }

    #[test]
    fn a_user_id_and_lists_may_be_so_long_and_no_longer() {
        let judge = |user_id_bytes, roles_bytes, amr_bytes| {
            // Lists of two: their headers contain a separator as well.
            let [role, method] = [roles_bytes, amr_bytes].map(|bytes: usize| "x".repeat(bytes - 2));
            let assertion = Assertion {
                user_id: &"x".repeat(user_id_bytes),
                roles: &[&role, "x"],
                amr: &[&method, "x"],
                ..ALICE
            };
            User::new(&assertion).map(|_| ())
        };
        let (user_id, list) = (MAX_USER_ID_BYTES, MAX_LIST_BYTES);
        assert_eq!(judge(user_id, list, list), Ok(()));
        for (lengths, error) in [
            ((user_id + 1, list, list), UserError::UserId),
            ((user_id, list + 1, list), UserError::TooLong),
            ((user_id, list, list + 1), UserError::TooLong),
        ] {
            assert_eq!(judge(lengths.0, lengths.1, lengths.2), Err(error));
        }
    }

    #[test]
    fn the_whole_family_is_reserved_in_every_spelling() {
        for name in [
            "x-authgear-user-id",
            "X-Authgear-User-Id",
            "x_authgear_user_id",
            "x-authgear_user-id",
            "x.authgear.user.id",
            "x-authgear-session-acr",
            "x-authgear-anything",
            "x-authgear",
            "x-authgear-",
        ] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in [
            "x-authgea",
            "x-authgearing",
            "authgear-user-id",
            "y-authgear-user-id",
            "x",
        ] {
            assert!(!is_reserved(name.as_bytes()), "{name}");
        }
    }
}
