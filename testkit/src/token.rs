//! Tokens, claim by claim.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::user::{random_uuid, uuid_of};
use super::{Alg, SigningKey, User, b64};

/// What Authgear's own claims begin with.
pub const CLAIMS: &str = "https://authgear.com/claims/user/";

/// Now, in Unix seconds.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A token that is not signed yet: every header parameter and claim can be changed or left out.
#[derive(Clone, Debug)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token {
    /// A user's access token (RFC 9068), as Authgear issues it.
    #[must_use]
    pub fn user(issuer: &str, user: &User) -> Self {
        let mut token = Self::empty("at+jwt")
            .claim("iss", issuer)
            .claim("aud", json!([issuer]))
            .claim("sub", user.id.as_str())
            .claim("client_id", "3f2a9c0d11e2b7aa")
            .claim("scope", "openid offline_access")
            .claim("jti", jti())
            .expires_in(1800)
            .user_flags(user);
        if let Some(at) = user.authenticated_at {
            token = token.claim("auth_time", at);
        }
        if !user.amr.is_empty() {
            token = token.claim("amr", json!(user.amr));
        }
        token
    }

    /// A user's ID token: same key, `typ` `JWT`, `aud` the client. It is no access token.
    #[must_use]
    pub fn id(issuer: &str, client_id: &str, user: &User) -> Self {
        Self::empty("JWT")
            .claim("iss", issuer)
            .claim("aud", json!([client_id]))
            .claim("sub", user.id.as_str())
            .claim("sid", uuid_of(user.name.as_bytes()))
            .claim("auth_time", user.authenticated_at.unwrap_or_else(now))
            .expires_in(300)
            .user_flags(user)
    }

    /// A machine's access token (client credentials): no user, no claims about one.
    #[must_use]
    pub fn machine(issuer: &str, resource: &str, client_id: &str) -> Self {
        Self::empty("at+jwt")
            .claim("iss", issuer)
            .claim("aud", json!([resource]))
            .claim("sub", format!("client_id_{client_id}"))
            .claim("client_id", client_id)
            .claim("scope", "jobs:write")
            .claim("jti", jti())
            .expires_in(1800)
    }

    fn empty(typ: &str) -> Self {
        Self {
            header: Map::new(),
            claims: Map::new(),
        }
        .header("typ", typ)
    }

    fn user_flags(self, user: &User) -> Self {
        self.claim(&format!("{CLAIMS}is_anonymous"), user.anonymous)
            .claim(&format!("{CLAIMS}is_verified"), user.verified)
            .claim(
                &format!("{CLAIMS}can_reauthenticate"),
                user.can_reauthenticate,
            )
            .claim(&format!("{CLAIMS}roles"), json!(user.roles))
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a header parameter; `alg` and `kid` otherwise follow from the key.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a header parameter out, `alg` and `kid` included.
    #[must_use]
    pub fn without_header(self, name: &str) -> Self {
        // Null stands for "not even the key's own" until the header is written.
        self.header(name, Value::Null)
    }

    /// Sets `iat` to now and `exp` to so many seconds later; a negative number makes an expired token.
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        let now = now();
        self.claim("iat", now.min(now + seconds - 1))
            .claim("exp", now + seconds)
    }

    /// Another subject.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Another audience: a string, or a list.
    #[must_use]
    pub fn audience(self, audience: impl Into<Value>) -> Self {
        self.claim("aud", audience)
    }

    /// Another scope.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Another set of roles.
    #[must_use]
    pub fn roles(self, roles: &[&str]) -> Self {
        self.claim(&format!("{CLAIMS}roles"), json!(roles))
    }

    /// The value of a claim.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> Value {
        Value::Object(self.claims.clone())
    }

    /// The header that `key` signs.
    #[must_use]
    pub fn header_for(&self, key: &SigningKey) -> Value {
        self.header_with(key.alg.name(), Some(&key.kid))
    }

    fn header_with(&self, alg: &str, kid: Option<&str>) -> Value {
        let mut header = self.header.clone();
        header.entry("alg").or_insert_with(|| json!(alg));
        if let Some(kid) = kid {
            header.entry("kid").or_insert_with(|| json!(kid));
        }
        header.retain(|_, value| !value.is_null());
        Value::Object(header)
    }

    /// The compact form.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        key.sign(&self.header_for(key), &self.payload())
    }

    /// With `alg` as given (`none`, `None`, …) and an empty signature.
    #[must_use]
    pub fn unsigned(&self, alg: &str) -> String {
        let header = self.header_with(alg, None);
        format!(
            "{}.{}.",
            b64(header.to_string().as_bytes()),
            b64(self.payload().to_string().as_bytes())
        )
    }

    /// With HS256 under `secret`, and `kid` naming another key: the confusion attack.
    #[must_use]
    pub fn hs256(&self, secret: &[u8], kid: &str) -> String {
        let key = SigningKey::hs256(secret).with_kid(kid);
        key.sign(
            &self.header_with(Alg::Hs256.name(), Some(kid)),
            &self.payload(),
        )
    }
}

fn jti() -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(random_uuid())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
