//! Who a token or a session speaks for.

use rand::Rng;
use rand::distributions::Alphanumeric;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

/// A user of the project. The ID follows from the name, so that a test may name it before the user exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What tests and the login page call the user.
    pub name: String,
    /// The user ID, a UUID: `sub`, and `x-authgear-user-id`.
    pub id: String,
    /// Effective role keys.
    pub roles: Vec<String>,
    /// Anonymous user.
    pub anonymous: bool,
    /// Verified user.
    pub verified: bool,
    /// Can reauthenticate.
    pub can_reauthenticate: bool,
    /// How the user logs in, e.g. `pwd`; may be empty. The token of the first exchange names it, nothing later does.
    pub amr: Vec<String>,
    /// When the user logged in, Unix seconds; `None`: unknown.
    pub authenticated_at: Option<i64>,
    /// Disabled by the Admin API: all sessions and tokens ended with it.
    pub disabled: bool,
    /// Within a temporary disable window, or outside the account's validity: sessions and tokens live, and are good after it.
    pub suspended: bool,
    /// Deleted: sessions and tokens that remain resolve to nobody.
    pub deleted: bool,
}

impl User {
    /// A verified, known user without roles, of whom nobody says any more how the login went.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: uuid_of(name.as_bytes()),
            roles: Vec::new(),
            anonymous: false,
            verified: true,
            can_reauthenticate: true,
            amr: Vec::new(),
            authenticated_at: Some(super::now() - 10),
            disabled: false,
            suspended: false,
            deleted: false,
        }
    }

    /// With these roles.
    #[must_use]
    pub fn roles(mut self, roles: &[&str]) -> Self {
        self.roles = owned(roles);
        self
    }

    /// Has just logged in by these methods: the first access token names them.
    #[must_use]
    pub fn amr(mut self, amr: &[&str]) -> Self {
        self.amr = owned(amr);
        self
    }

    /// Anonymous: no authentication method, not verified, cannot reauthenticate.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self.verified = false;
        self.can_reauthenticate = false;
        self.amr.clear();
        self
    }

    /// Verified or not.
    #[must_use]
    pub fn verified(mut self, verified: bool) -> Self {
        self.verified = verified;
        self
    }

    /// Can reauthenticate or not.
    #[must_use]
    pub fn can_reauthenticate(mut self, can: bool) -> Self {
        self.can_reauthenticate = can;
        self
    }

    /// When the user logged in.
    #[must_use]
    pub fn authenticated_at(mut self, at: Option<i64>) -> Self {
        self.authenticated_at = at;
        self
    }

    /// The `x-authgear-*` headers that the resolver answers for this user, sorted: it never says how somebody logged in
    /// (measured on the real one).
    #[must_use]
    pub fn session_headers(&self) -> Vec<(String, String)> {
        self.clone().amr(&[]).headers()
    }

    /// The `x-authgear-*` headers that the user's first access token stands for, sorted: what a backend must see.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![
            ("x-authgear-session-amr", self.amr.join(" ")),
            ("x-authgear-session-valid", "true".to_owned()),
            ("x-authgear-user-anonymous", self.anonymous.to_string()),
            (
                "x-authgear-user-can-reauthenticate",
                self.can_reauthenticate.to_string(),
            ),
            ("x-authgear-user-id", self.id.clone()),
            ("x-authgear-user-verified", self.verified.to_string()),
        ];
        if !self.roles.is_empty() {
            headers.push(("x-authgear-user-roles", self.roles.join(",")));
        }
        if let Some(at) = self.authenticated_at {
            headers.push(("x-authgear-session-authenticated-at", at.to_string()));
        }
        headers.sort();
        headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn owned(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

/// A UUID that follows from these bytes.
pub(super) fn uuid_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut sixteen = [0; 16];
    sixteen.copy_from_slice(&digest[..16]);
    uuid(sixteen)
}

/// A new UUID.
pub fn random_uuid() -> String {
    uuid(OsRng.r#gen())
}

/// `n` new characters of `[a-zA-Z0-9]`: the shape of Authgear's opaque tokens.
pub fn random_alphanumeric(n: usize) -> String {
    OsRng
        .sample_iter(&Alphanumeric)
        .take(n)
        .map(char::from)
        .collect()
}

fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}
