//! Fixtures for the gate: a configuration, a request, a verdict; no Envoy.

use std::cell::Cell;
use std::sync::LazyLock;

use serde_json::{Value, json};
use testkit::{SigningKey, Token, User, es256_twin};

use super::*;
use crate::callout::Answer;
use crate::jose::{Algorithm, RustCrypto, VerifyingKey};
use crate::jwks::testing::ALONE;
use crate::session::{Heard, SessionCredential, Verdict};
use crate::time::Ticks;

mod access;
mod decisions;
mod engine;
mod headers;
mod keys;
mod lines;
mod memory;
mod outage;
mod projects;
mod replies;
mod resolver;
mod sessions;
mod sharing;
mod waiting;

const ISSUER: &str = "https://auth.example.com";
const UNIX: u64 = 1_767_225_700;
const OPAQUE: &str = "kWlxrvZl4b0nT2lSyqMxw6kcHjaYSl3d";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::es256().with_kid("a-key"));
static ALICE: LazyLock<User> =
    LazyLock::new(|| User::new("alice").authenticated_at(Some(1_767_225_590)));

/// Counts what it is asked.
#[derive(Default)]
struct Counting(Cell<usize>);

impl SignatureVerifier for Counting {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &VerifyingKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.0.set(self.0.get() + 1);
        RustCrypto.verify(algorithm, key, message, signature)
    }
}

/// A gate, its clocks and its verifier.
struct Fixture {
    gate: Gate,
    verifier: Counting,
    now: Now,
}

impl Fixture {
    /// Keys in the configuration; `/none`, `/optional`, and a user for all the rest.
    fn new() -> Self {
        Self::with(json!({ "inline": { "keys": [KEY.jwk()] } }), json!({}))
    }

    /// Keys that are fetched.
    fn remote() -> Self {
        Self::with(json!({}), json!({}))
    }

    fn with(jwks: Value, session: Value) -> Self {
        let rules = json!([
            { "match": { "path_prefix": "/none" }, "require": "none" },
            { "match": { "path_prefix": "/optional" }, "require": "optional" },
        ]);
        Self::ruled(jwks, session, rules)
    }

    fn ruled(jwks: Value, session: Value, rules: Value) -> Self {
        let config = json!({
            "projects": [{
                "endpoint": ISSUER,
                "cluster": "authgear",
                "jwks": jwks,
                "jwt": { "algorithms": ["ES256"] },
                "session": session,
            }],
            "rules": rules,
            "limits": { "token_bytes": 4096 },
        });
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        Self {
            gate: Gate::new(config),
            verifier: Counting::default(),
            now: Now {
                unix: UNIX,
                ticks: Ticks::from_millis(5_000),
            },
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now.unix += seconds;
        self.now.ticks = self.now.ticks.after(Duration::from_secs(seconds));
    }

    fn enter(&mut self, path: &str, headers: &[(&str, &str)]) -> Step {
        let headers = request(path, headers);
        self.gate
            .enter(&Request::new(&headers), self.now, &self.verifier)
    }

    /// What becomes of a `GET`, in a few words.
    fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> String {
        shown(&self.enter(path, headers))
    }

    fn wait(&mut self, path: &str, headers: &[(&str, &str)]) -> WaitingRequest {
        match self.enter(path, headers) {
            Step::Wait(pending) => pending,
            other => panic!("{other:?}"),
        }
    }

    /// The resolver answers at once.
    fn resolved(
        &mut self,
        project: usize,
        credential: &SessionCredential,
        answer: Option<&Answer>,
    ) -> Result<Verdict, ResolverError> {
        let env = Env {
            now: self.now,
            entropy: &|| 0,
            verifier: &self.verifier,
            shared: ALONE,
        };
        let heard = Heard {
            answer,
            asked_at: self.now.ticks,
        };
        let said = self.gate.read_verdict(project, credential, answer);
        let asked = (credential, None);
        self.gate.resolved(project, asked, said, heard, &env, 0)
    }

    /// The resolver answers on the credential that a request waits for, and the request proceeds.
    fn resolve(&mut self, pending: WaitingRequest, answer: Option<&Answer>) -> String {
        let WaitFor::Session(credential) = pending.wait_for() else {
            panic!("{pending:?}");
        };
        let verdict = self.resolved(pending.project(), credential, answer);
        shown(&self.gate.session_settled(pending, &verdict, self.now))
    }
}

fn request<'h>(path: &'h str, headers: &'h [(&str, &str)]) -> Vec<(&'h [u8], &'h [u8])> {
    let pseudo = [
        (":method", "GET"),
        (":authority", "app.example.com"),
        (":path", path),
    ];
    let all = pseudo.iter().chain(headers);
    all.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect()
}

fn shown(step: &Step) -> String {
    match step {
        Step::Forward(Admission::Unchecked) => "unchecked".to_owned(),
        Step::Forward(Admission::Anonymous) => "anonymous".to_owned(),
        Step::Forward(Admission::Principal(principal, _)) => match principal.user() {
            Some(user) if user.user_id() == ALICE.id => "alice".to_owned(),
            Some(user) => user.user_id().to_owned(),
            None => "a machine".to_owned(),
        },
        Step::Reply(reply) => format!("{} {}", reply.status(), reply.code()),
        Step::Wait(pending) => format!("wait for {:?}", pending.wait_for()),
    }
}

fn alice() -> Token {
    Token::user(ISSUER, &ALICE)
        .claim("iat", UNIX - 100)
        .claim("exp", UNIX + 1_700)
}

fn machine() -> Token {
    Token::machine(ISSUER, ISSUER, "m1")
        .claim("iat", UNIX - 100)
        .claim("exp", UNIX + 1_700)
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.sign(&KEY))
}

fn cookie(token: &Token) -> String {
    format!("app_access_token={}", token.sign(&KEY))
}

fn answer(status: u16, headers: &[(String, String)], body: &[u8]) -> Answer {
    let status = (":status".to_owned(), status.to_string().into_bytes());
    let headers = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into_bytes()));
    Answer {
        headers: std::iter::once(status).chain(headers).collect(),
        body: Some(body.to_vec()),
    }
}

/// The resolver's word on Alice.
fn yes() -> Answer {
    answer(200, &ALICE.headers(), b"")
}

fn no() -> Answer {
    let valid = ("x-authgear-session-valid".to_owned(), "false".to_owned());
    answer(200, &[valid], b"")
}

/// What the resolver says of a token that is none to it, and where it is asked of nothing.
fn silence() -> Answer {
    answer(200, &[], b"")
}

fn jwks(keys: &[&SigningKey]) -> Answer {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    answer(200, &[], json!({ "keys": keys }).to_string().as_bytes())
}
