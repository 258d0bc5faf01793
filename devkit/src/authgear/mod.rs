//! A fake Authgear: discovery, JWKS and the Resolver Endpoint as the real one answers them, and its faults on demand.
//!
//! ```no_run
//! # async fn test() {
//! use devkit::authgear::{Endpoint, Fault, Options, FakeAuthgear};
//! use devkit::keys::User;
//!
//! let authgear = FakeAuthgear::start(Options::default()).await;
//! let alice = authgear.add_user(User::new("alice").roles(&["admin"]));
//! let token = authgear.access_token(&alice);
//! let cookie = format!("session={}", authgear.session(&alice));
//!
//! authgear.fault_next(2, Endpoint::Jwks, Fault::Status(500));
//! let hold = authgear.hold(Endpoint::Resolver);
//! // … requests through the filter …
//! hold.wait_for(1).await;
//! hold.release();
//! assert_eq!(authgear.wait_for_calls("/oauth2/jwks", 3).await.len(), 3);
//! # }
//! ```

mod control;
mod fault;
mod login;
mod origin;
mod public;
mod resolver;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use hyper::body::Incoming;
use serde_json::Value;

use crate::keys::{SigningKey, Token, User};
use crate::log::Log;
use crate::message::{CannedResponse, Recorded};
use crate::server::{Handler, Outcome, Server, ServerTls, response};
use origin::Call;
use state::State;

pub use fault::{Endpoint, Fault, Hold};
pub use state::Settings;

/// How to start a fake Authgear.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on; port 0 is any free one.
    pub listen: String,
    /// The public origin; `None`: the listener's own.
    pub origin: Option<String>,
    /// How many keys the set begins with.
    pub keys: usize,
    /// Serve TLS with this certificate.
    pub tls: Option<ServerTls>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            origin: None,
            keys: 1,
            tls: None,
        }
    }
}

/// A running fake Authgear; it ends when this is dropped.
pub struct FakeAuthgear {
    service: Arc<Service>,
    server: Server,
}

impl FakeAuthgear {
    /// Starts one.
    ///
    /// # Panics
    /// Where the address cannot be had; [`FakeAuthgear::try_start`] says so instead.
    pub async fn start(options: Options) -> Self {
        Self::try_start(options)
            .await
            .expect("an address to listen on")
    }

    /// Starts one.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub async fn try_start(options: Options) -> std::io::Result<Self> {
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let service = Arc::new(Service {
            state: Arc::new(Mutex::new(State::new(Settings::new(""), options.keys))),
            faults: fault::Faults::default(),
            log: Log::default(),
        });
        let server = Server::start(&options.listen, options.tls, service.clone()).await?;
        let origin = options
            .origin
            .unwrap_or_else(|| format!("{scheme}://{}", server.address));
        service.state().settings = Settings::new(&origin);
        Ok(Self { service, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Its public origin: the issuer of its tokens.
    #[must_use]
    pub fn origin(&self) -> String {
        self.service.state().settings.origin.clone()
    }

    /// Changes how it behaves.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.service.state().settings);
    }

    /// Adds the users of the demo: alice (an admin), bob, and a guest without an account.
    pub fn add_demo_users(&self) {
        let by_password = |name| User::new(name).amr(&["pwd", "x_primary_password"]);
        self.add_user(by_password("alice").roles(&["admin", "editor"]));
        self.add_user(by_password("bob").verified(false));
        self.add_user(User::new("guest").anonymous());
    }

    // === Users and their credentials ===

    /// Adds a user, or replaces the one of this name.
    pub fn add_user(&self, user: User) -> User {
        self.service
            .state()
            .users
            .insert(user.name.clone(), user.clone());
        user
    }

    /// The user of this name as the fake Authgear knows it now.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<User> {
        self.service.state().users.get(name).cloned()
    }

    /// Disables a user by the Admin API, for good: its sessions and tokens end, and resolve to nobody.
    pub fn disable(&self, user: &User) {
        self.change(user, |user| user.disabled = true);
        self.service.state().revoke_all(&user.id);
    }

    /// Disables a user for a time, or ends that time: the resolver says `false` meanwhile, and what was good is good again.
    pub fn suspend(&self, user: &User, suspended: bool) {
        self.change(user, |user| user.suspended = suspended);
    }

    /// Deletes a user; its sessions and tokens end, and resolve to nobody.
    pub fn delete(&self, user: &User) {
        self.change(user, |user| user.deleted = true);
        self.service.state().revoke_all(&user.id);
    }

    /// Changes a user: roles, flags.
    pub fn change(&self, user: &User, change: impl FnOnce(&mut User)) {
        if let Some(user) = self.service.state().users.get_mut(&user.name) {
            change(user);
        }
    }

    /// Logs a user in: the value of a new `session` cookie.
    #[must_use]
    pub fn session(&self, user: &User) -> String {
        self.service.state().session(user)
    }

    /// The value of a new `app_session` cookie.
    #[must_use]
    pub fn app_session(&self, user: &User) -> String {
        self.service.state().app_session(user, true)
    }

    /// The value of an `app_session` cookie without the full-access scope: it does not resolve.
    #[must_use]
    pub fn app_session_without_full_access(&self, user: &User) -> String {
        self.service.state().app_session(user, false)
    }

    /// A new opaque access token.
    #[must_use]
    pub fn opaque_token(&self, user: &User) -> String {
        self.service.state().opaque_token(user)
    }

    /// A new access token in JWT form, signed with key 0 and known to the resolver.
    #[must_use]
    pub fn access_token(&self, user: &User) -> String {
        let token = self.token(user);
        self.issue(user, &token)
    }

    /// A new access token as a refresh issues it: it does not say how the user logged in.
    #[must_use]
    pub fn refreshed_token(&self, user: &User) -> String {
        let token = self.token(user).without("amr");
        self.issue(user, &token)
    }

    /// The claims of an access token, to be changed before [`FakeAuthgear::issue`] or [`Token::sign`].
    #[must_use]
    pub fn token(&self, user: &User) -> Token {
        Token::user(&self.origin(), user)
    }

    /// Signs with key 0, and makes the token known to the resolver.
    #[must_use]
    pub fn issue(&self, user: &User, token: &Token) -> String {
        self.service.state().issue(user, token)
    }

    /// A machine's token, signed with key 0; no resolver knows it.
    #[must_use]
    pub fn machine_token(&self, resource: &str, client_id: &str) -> String {
        Token::machine(&self.origin(), resource, client_id).sign(&self.key())
    }

    /// An ID token, signed with key 0.
    #[must_use]
    pub fn id_token(&self, user: &User) -> String {
        Token::id(&self.origin(), "3f2a9c0d11e2b7aa", user).sign(&self.key())
    }

    /// Logs out or revokes: the text of any cookie or token. Answers whether it was a credential.
    pub fn revoke(&self, text: &str) -> bool {
        self.service.state().revoke(text)
    }

    // === Keys ===

    /// The key that signs.
    ///
    /// # Panics
    /// When all keys were removed.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        self.service.state().keys.first().expect("a key").clone()
    }

    /// All keys, the signing one first.
    #[must_use]
    pub fn keys(&self) -> Vec<SigningKey> {
        self.service.state().keys.clone()
    }

    /// Replaces all keys.
    pub fn set_keys(&self, keys: Vec<SigningKey>) {
        self.service.state().keys = keys;
    }

    /// The careful operator's first step: publishes a new key behind the signing one.
    pub fn publish_next_key(&self) -> SigningKey {
        self.service.state().publish_next();
        self.keys().pop().expect("the key just published")
    }

    /// The careful operator's second step: the last key published signs from now on.
    pub fn sign_with_next_key(&self) {
        self.service.state().promote_last();
    }

    /// The careless operator: all keys go, one new one signs at once.
    pub fn swap_key(&self) -> SigningKey {
        self.service.state().swap();
        self.key()
    }

    /// Removes a key.
    pub fn remove_key(&self, kid: &str) {
        self.service.state().keys.retain(|key| key.kid != kid);
    }

    /// The document at `/oauth2/jwks`.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.service.state().jwks()
    }

    /// Publishes this document instead of the keys, until `None` is set.
    pub fn publish(&self, document: Option<Value>) {
        self.service.state().published = document;
    }

    // === Faults ===

    /// From now on, until cleared.
    pub fn fault(&self, endpoint: Endpoint, fault: Fault) {
        self.service.faults.set(endpoint, fault, None);
    }

    /// For the next `n` calls.
    pub fn fault_next(&self, n: u64, endpoint: Endpoint, fault: Fault) {
        self.service.faults.set(endpoint, fault, Some(n));
    }

    /// Ends the faults of one endpoint; calls that hang are answered.
    pub fn clear_fault(&self, endpoint: Endpoint) {
        self.service.faults.clear(Some(endpoint));
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.service.faults.clear(None);
    }

    /// Keeps every answer of an endpoint back until the hold is released or dropped.
    pub fn hold(&self, endpoint: Endpoint) -> Hold {
        self.service.faults.hold(endpoint)
    }

    // === What came in ===

    /// Every call so far, in order; the control interface and the login page are not recorded.
    #[must_use]
    pub fn calls(&self) -> Vec<Recorded> {
        self.service.log.all()
    }

    /// The calls to one path.
    #[must_use]
    pub fn calls_to(&self, path: &str) -> Vec<Recorded> {
        self.service.log.to(path)
    }

    /// Waits until at least `n` calls to a path have come; answers all of them.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for_calls(&self, path: &str, n: usize) -> Vec<Recorded> {
        self.service.log.wait_for(path, n).await
    }

    /// Clears the record of calls.
    pub fn clear_calls(&self) {
        self.service.log.clear();
    }
}

struct Service {
    state: Arc<Mutex<State>>,
    faults: fault::Faults,
    log: Log,
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Service {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, tls: bool) -> Outcome {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        if path.starts_with("/_control/") {
            return Outcome::Answer(response(&control::answer(&self, &parts, body).await));
        }
        if login::is_page(&path) {
            return Outcome::Answer(response(&login::answer(&self, &parts, body).await));
        }
        self.log.push(Recorded::head(&parts));
        let call = Call::of(&parts, tls, &self.state().settings);
        match path.as_str() {
            "/resolve" | "/_resolver/resolve" => {
                let (answer, _lock) = resolver::answer(&self.state, &parts, &call).await;
                self.faults
                    .pass(Endpoint::Resolver, &parts.headers, answer)
                    .await
            }
            "/oauth2/jwks" => {
                let answer = public::jwks(&self.state(), &parts, &call);
                self.faults
                    .pass(Endpoint::Jwks, &parts.headers, answer)
                    .await
            }
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => {
                let answer = public::discovery(&self.state(), &parts, &call);
                self.faults
                    .pass(Endpoint::Discovery, &parts.headers, answer)
                    .await
            }
            "/resolve/" | "/_resolver/resolve/" => {
                let location = path.trim_end_matches('/');
                Outcome::Answer(response(
                    &CannedResponse::status(301).header("location", location),
                ))
            }
            "/healthz" => Outcome::Answer(response(&resolver::text(200, "OK\n"))),
            _ => Outcome::Answer(response(&resolver::text(404, "404 page not found\n"))),
        }
    }
}
