//! What the fake Authgear knows: users, their credentials, keys.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use crate::keys::{SigningKey, Token, User, now, random_alphanumeric, random_uuid, unb64};

/// How the fake Authgear behaves where Authgear installations differ.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http.public_origin`: the issuer, and what the JWKS call must be addressed to.
    pub origin: String,
    /// `TRUST_PROXY`: whether `X-Forwarded-*` counts (contract §1.2).
    pub trust_proxy: bool,
    /// Whether the tenant is looked up by host (`database`), or the host is ignored (`local_fs`).
    pub tenant_by_host: bool,
    /// `http.cookie_prefix`.
    pub cookie_prefix: String,
    /// `http.cookie_domain`.
    pub cookie_domain: Option<String>,
    /// Whether the resolver wants a token's `aud` to be the origin of its own call (contract §9.2: older ones do).
    pub check_audience: bool,
    /// Whether two resolver calls at once for one session fail with 500 (contract §4.2).
    pub session_lock: bool,
    /// How often a call tries for the lock of its session before it fails, 50 to 250 ms apart: Authgear does so five times.
    pub session_lock_tries: u32,
    /// Whether the resolver says how somebody logged in: Authgear's never does (measured), its specification says it would.
    pub resolver_names_amr: bool,
    /// Whether the IP filter denies the gateway (403 on the main server).
    pub deny_gateway: bool,
    /// Origins that the login page may send a browser back to.
    pub return_origins: Vec<String>,
    /// `redirect_uris` of the demo's OAuth client.
    pub redirect_uris: Vec<String>,
}

impl Settings {
    /// A project with this public origin, served as Authgear serves it behind a trusted proxy.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            trust_proxy: true,
            tenant_by_host: true,
            cookie_prefix: String::new(),
            cookie_domain: None,
            check_audience: true,
            session_lock: false,
            session_lock_tries: 1,
            resolver_names_amr: false,
            deny_gateway: false,
            return_origins: Vec::new(),
            redirect_uris: Vec::new(),
        }
    }

    /// A cookie's full name.
    #[must_use]
    pub fn cookie(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.cookie_prefix)
    }
}

/// What a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Session,
    AppSession,
    AccessToken,
}

/// A credential that was given out.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) user: String,
    pub(super) expires: i64,
    pub(super) full_access: bool,
}

pub(super) struct State {
    pub(super) settings: Settings,
    /// Index 0 signs.
    pub(super) keys: Vec<SigningKey>,
    /// How many keys of the pool were used.
    pub(super) keys_made: usize,
    /// A document to publish instead of the keys.
    pub(super) published: Option<Value>,
    pub(super) users: BTreeMap<String, User>,
    /// By kind and text; a JWT's text is its `jti`.
    pub(super) grants: HashMap<(Kind, String), Grant>,
    /// Sessions that a resolver call has locked.
    pub(super) locked: HashSet<(Kind, String)>,
}

const YEAR: i64 = 31_449_600;

impl State {
    pub(super) fn new(settings: Settings, keys: usize) -> Self {
        Self {
            settings,
            keys: (0..keys).map(SigningKey::rsa).collect(),
            keys_made: keys,
            published: None,
            users: BTreeMap::new(),
            grants: HashMap::new(),
            locked: HashSet::new(),
        }
    }

    /// A key that was not used before.
    fn next_key(&mut self) -> SigningKey {
        self.keys_made += 1;
        SigningKey::rsa(self.keys_made - 1)
    }

    /// The careful operator's first step.
    pub(super) fn publish_next(&mut self) {
        let key = self.next_key();
        self.keys.push(key);
    }

    /// The careful operator's second step.
    pub(super) fn promote_last(&mut self) {
        if let Some(key) = self.keys.pop() {
            self.keys.insert(0, key);
        }
    }

    /// The careless operator.
    pub(super) fn swap(&mut self) {
        self.keys = vec![self.next_key()];
    }

    /// The document at `/oauth2/jwks`.
    pub(super) fn jwks(&self) -> Value {
        self.published.clone().unwrap_or_else(
            || json!({ "keys": self.keys.iter().map(SigningKey::jwk).collect::<Vec<_>>() }),
        )
    }

    pub(super) fn user_by_id(&self, id: &str) -> Option<&User> {
        self.users.values().find(|user| user.id == id)
    }

    /// Who is logged in by this `session` cookie.
    pub(super) fn user_of_session(&self, text: &str) -> Option<&User> {
        let key = self.lookup(Kind::Session, text, "")?;
        let grant = self.grants.get(&key)?;
        self.user_by_id(&grant.user)
    }

    fn grant(&mut self, kind: Kind, text: String, user: &User, lifetime: i64) -> String {
        self.users
            .entry(user.name.clone())
            .or_insert_with(|| user.clone());
        let grant = Grant {
            user: user.id.clone(),
            expires: now() + lifetime,
            full_access: true,
        };
        self.grants.insert((kind, text.clone()), grant);
        text
    }

    pub(super) fn session(&mut self, user: &User) -> String {
        let text = format!("{}.{}", random_uuid(), random_alphanumeric(32));
        self.grant(Kind::Session, text, user, YEAR)
    }

    pub(super) fn app_session(&mut self, user: &User, full_access: bool) -> String {
        let text = self.grant(Kind::AppSession, random_alphanumeric(32), user, YEAR);
        if let Some(grant) = self.grants.get_mut(&(Kind::AppSession, text.clone())) {
            grant.full_access = full_access;
        }
        text
    }

    pub(super) fn opaque_token(&mut self, user: &User) -> String {
        self.grant(Kind::AccessToken, random_alphanumeric(32), user, 1800)
    }

    /// Signs with key 0, and stores the access grant that the resolver looks for.
    pub(super) fn issue(&mut self, user: &User, token: &Token) -> String {
        if let Some(jti) = token.get("jti").and_then(Value::as_str) {
            self.grant(Kind::AccessToken, jti.to_owned(), user, YEAR);
        }
        self.keys
            .first()
            .map_or_else(|| token.unsigned("RS256"), |key| token.sign(key))
    }

    /// Ends what this text stands for: a session cookie, an app session, an access token of either form.
    pub(super) fn revoke(&mut self, text: &str) -> bool {
        let jti = payload(text).and_then(|payload| payload["jti"].as_str().map(str::to_owned));
        let before = self.grants.len();
        self.grants
            .retain(|(_, grant), _| grant != text && Some(grant) != jti.as_ref());
        self.grants.len() < before
    }

    /// Ends all that this user was given, as Authgear does when a user is disabled or deleted.
    pub(super) fn revoke_all(&mut self, user_id: &str) {
        self.grants.retain(|_, grant| grant.user != user_id);
    }

    /// Whom this credential stands for, live; `origin` is the scheme and host of the resolver's call.
    pub(super) fn lookup(&self, kind: Kind, text: &str, origin: &str) -> Option<(Kind, String)> {
        let key = match kind {
            Kind::AccessToken if text.starts_with("eyJ") => self.verify(text, origin)?,
            _ => text.to_owned(),
        };
        let grant = self.grants.get(&(kind, key.clone()))?;
        (grant.expires > now() && grant.full_access).then_some((kind, key))
    }

    /// The `jti` of a token that one of our keys signed (contract §6.3: `typ` and `iss` do not matter).
    fn verify(&self, token: &str, origin: &str) -> Option<String> {
        let (input, signature) = token.rsplit_once('.')?;
        let header: Value = serde_json::from_slice(&unb64(input.split('.').next()?)?).ok()?;
        let key = self
            .keys
            .iter()
            .find(|key| header["kid"] == json!(key.kid))?;
        if !key.verify(input.as_bytes(), &unb64(signature)?) {
            return None;
        }
        let payload = payload(token)?;
        let audience = payload["aud"].as_str() == Some(origin)
            || payload["aud"]
                .as_array()
                .is_some_and(|all| all.contains(&json!(origin)));
        let live = payload["exp"].as_i64().is_some_and(|exp| exp > now());
        (live && (audience || !self.settings.check_audience))
            .then(|| payload["jti"].as_str().map(str::to_owned))?
    }
}

/// The payload of a compact token, unverified.
fn payload(token: &str) -> Option<Value> {
    let mut segments = token.split('.');
    let payload = segments.nth(1)?;
    (segments.count() == 1).then(|| serde_json::from_slice(&unb64(payload)?).ok())?
}
