//! Requests, tokens and what the resolver says, drawn at random.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::configurations::{
    AGES_IN_RULES, AUDIENCES, CLIENTS, METHODS_OF_LOGIN, ROLE_KEYS, SCOPES,
};
use crate::decision::{CAN_REAUTHENTICATE, IS_ANONYMOUS, IS_VERIFIED, ROLES};
use crate::paths;
use crate::random::Random;
use crate::rules::{self, ENDPOINTS};

/// What the stub takes for signatures with the projects' keys.
pub(crate) const SIGNATURES: [&[u8]; 3] = [
    b"a good signature",
    b"another good signature",
    b"a third good signature",
];

/// A request, and all that is true of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) now: u64,
    pub(crate) method: String,
    pub(crate) authority: String,
    pub(crate) path: Octets,
    /// Those that rules may ask for.
    pub(crate) headers: Vec<(&'static str, Octets)>,
    pub(crate) authorization: Vec<String>,
    pub(crate) cookies: Vec<(&'static str, String)>,
    /// Whether its client names a user itself.
    pub(crate) pretends: bool,
    /// The JWTs in it that were drawn, as their issuer knows them.
    pub(crate) tokens: Vec<Token>,
    /// What the resolver says, if it is asked.
    pub(crate) resolver: Says,
}

/// Octets, which are shown as text.
#[derive(Clone, Default)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl fmt::Debug for Octets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.0.escape_ascii())
    }
}

/// A JWT.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) claims: Value,
    /// Whether form, header and signature are in order.
    pub(crate) sound: bool,
    pub(crate) tenant_twice: bool,
    /// Whether another project's key has signed it.
    pub(crate) signed_elsewhere: bool,
}

/// What the resolver says.
#[derive(Clone, Debug, Default)]
pub(crate) enum Says {
    Yes(User),
    No,
    /// 200, and no verdict in a header.
    #[default]
    Nothing,
    /// What is no verdict.
    NoVerdict(Failure),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    NoAnswer,
    Status(u32),
    YesWithoutUser,
    YesTwice,
    Body,
}

/// What a token or the resolver says of a user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) anonymous: bool,
    pub(crate) verified: bool,
    pub(crate) can_reauthenticate: bool,
    pub(crate) roles: Vec<String>,
    pub(crate) amr: Vec<String>,
    pub(crate) authenticated_at: Option<u64>,
}

/// How long ago users have logged in, where it is not about as long as a rule asks.
const AGES: [u64; 6] = [0, 5, 30, 200, 800, 5_000];

/// What is drawn upon for all requests of a configuration.
pub(crate) struct Source<'c> {
    config: &'c Value,
    /// What rules ask as `max_auth_age`, in seconds.
    ages: Vec<u64>,
    /// Tokens that were presented before, and are presented again.
    pool: Vec<Token>,
}

impl<'c> Source<'c> {
    pub(crate) fn new(config: &'c Value) -> Self {
        let text = config.to_string();
        let known = AGES_IN_RULES.iter();
        let asked = known.filter(|(age, _)| text.contains(&format!(r#""max_auth_age":"{age}""#)));
        Self {
            config,
            ages: asked.map(|(_, seconds)| *seconds).collect(),
            pool: Vec::new(),
        }
    }
}

pub(crate) fn draw(random: &mut Random, source: &mut Source<'_>, now: u64) -> Request {
    let mut request = Request {
        now,
        pretends: random.percent(10),
        resolver: draw_answer(random, &source.ages, now),
        ..Request::default()
    };
    request.draw_target(random, source);
    present(random, source, &mut request);
    request
}

impl Request {
    /// The same client, at the same moment, for something else.
    pub(crate) fn elsewhere(&self, random: &mut Random, source: &Source<'_>) -> Self {
        let mut other = self.clone();
        other.draw_target(random, source);
        other
    }

    /// The same client, later, for something else.
    pub(crate) fn later(&self, random: &mut Random, source: &Source<'_>, now: u64) -> Self {
        Self {
            now,
            resolver: draw_answer(random, &source.ages, now),
            ..self.elsewhere(random, source)
        }
    }

    fn draw_target(&mut self, random: &mut Random, source: &Source<'_>) {
        self.method = (*random.of(&METHODS)).to_owned();
        self.authority = (*random.of(&HOSTS)).to_owned();
        self.path = Octets(paths::draw(random, source.config));
        self.headers = draw_headers(random);
        if random.percent(94) {
            self.method = (*random.of(&["GET", "GET", "POST", "HEAD"])).to_owned();
        }
        if random.percent(75) {
            self.authority =
                (*random.of(&["app.example.com", "www.example.com", "other.test"])).to_owned();
            if random.percent(10) {
                self.authority = (*random.of(&["a.b.example.com", "c.b.example.com"])).to_owned();
            }
        }
    }
}

/// Of what rules ask, and what some readers take for it.
fn draw_headers(random: &mut Random) -> Vec<(&'static str, Octets)> {
    const NAMES: [&str; 8] = [
        "x-mode", "x-mode", "x-mode", "x_mode", "x-bulk", "x-bulk", "x_bulk", "x-modes",
    ];
    const VALUES: [&[u8]; 22] = [
        b"beta",
        b"beta",
        b"beta",
        b"next",
        b"next",
        b"yes",
        b"yes",
        b"Beta",
        b"old",
        b"old, beta",
        b"old,beta",
        b"beta, next",
        b"beta,next",
        b"beta,",
        b"\"\"",
        b" yes",
        b"no",
        b"NEXT",
        b"\"next\"",
        b"",
        b"yes\xff",
        b"betas",
    ];
    let count = *random.of(&[0, 0, 1, 1, 1, 2, 3]);
    let one = |random: &mut Random| {
        let value = *random.of(&VALUES);
        (*random.of(&NAMES), Octets(value.to_vec()))
    };
    (0..count).map(|_| one(random)).collect()
}

const METHODS: [&str; 10] = [
    "DELETE", "OPTIONS", "PATCH", "get", "Post", "POSt", "", "POST,GET", "GET ", "M-SEARCH",
];

const HOSTS: [&str; 26] = [
    "",
    "",
    "",
    "",
    "app.example.com:8443",
    "APP.example.com",
    "app.example.com.",
    "app.example.com.:80",
    "a.b.example.com",
    "example.com",
    ".example.com",
    "www.example.com",
    "admin.example.org",
    "example.org",
    "[::1]:80",
    "10.0.0.1",
    "my_service",
    "app.example.com:",
    "app.example.com:+80",
    "app.example.com:80:80",
    "app.example.com..",
    "app.example.com,x",
    "user@app.example.com",
    "%61pp.example.com",
    "::1",
    "app.example.com:65536",
];

fn present(random: &mut Random, source: &mut Source<'_>, request: &mut Request) {
    let Source { config, ages, pool } = source;
    let mut token = |random: &mut Random, request: &mut Request| {
        let token = if !pool.is_empty() && random.percent(40) {
            random.of(pool).clone()
        } else {
            let issuer = issuer(random, config, request);
            let token = draw_token(random, ages, request.now, &issuer);
            if pool.len() < 6 {
                pool.push(token.clone());
            }
            token
        };
        let text = token.text.clone();
        request.tokens.push(token);
        text
    };
    let kind = random.below(100);
    if kind < 8 {
        return;
    }
    if kind < 60 {
        let text = token(random, request);
        let scheme = *random.of(&["Bearer", "Bearer", "bearer", "BEARER"]);
        request.authorization.push(format!("{scheme} {text}"));
    } else if kind < 67 {
        let opaque = format!("Bearer opaque{}", random.next());
        request
            .authorization
            .push(opaque.chars().take(30).collect());
    } else if kind < 71 {
        let other = *random.of(&[
            "Basic YTpi",
            "Bearer",
            "Bearer a.b.c",
            "Bearer a.b.c.d",
            "Bearer short",
            "DPoP x",
        ]);
        request.authorization.push(other.to_owned());
        if random.percent(20) {
            let text = token(random, request);
            request.authorization.push(format!("Bearer {text}"));
        }
    }
    let beside = !request.authorization.is_empty();
    if (beside && random.percent(85)) || (!beside && random.percent(5)) {
        return;
    }
    if random.percent(50) {
        let text = token(random, request);
        request.cookies.push(("app_access_token", text));
    } else if random.percent(10) {
        request
            .cookies
            .push(("app_access_token", format!("opaque{}", random.next())));
    }
    for name in ["session", "app_session"] {
        if random.percent(40) {
            request
                .cookies
                .push((name, format!("s{}", random.below(4))));
        }
    }
    if random.percent(20) {
        request.cookies.push(("theme", "dark".to_owned()));
    }
}

/// Mostly the project of the host, now and then any.
fn issuer(random: &mut Random, config: &Value, request: &Request) -> Value {
    let projects = config["projects"].as_array().unwrap();
    let own = rules::project_of(config, &request.authority, &mut Vec::new());
    match own {
        Some(own) if random.percent(85) => own["endpoint"].clone(),
        _ => random.of(projects)["endpoint"].clone(),
    }
}

fn some(random: &mut Random, of: &[&str], chance: u64) -> Vec<String> {
    let chosen = of.iter().filter(|_| random.percent(chance));
    chosen.map(|text| (*text).to_owned()).collect()
}

fn draw_user(random: &mut Random, ages: &[u64], now: u64) -> User {
    let known = random.percent(92);
    let age = if ages.is_empty() || random.percent(25) {
        *random.of(&AGES)
    } else {
        random.of(ages) - 1 + random.below(3)
    };
    User {
        id: format!("user-{}", random.below(1_000)),
        anonymous: random.percent(30),
        verified: random.percent(60),
        can_reauthenticate: random.percent(60),
        roles: some(random, &ROLE_KEYS, 55),
        amr: some(random, &METHODS_OF_LOGIN, 60),
        authenticated_at: known.then(|| now - age),
    }
}

fn draw_answer(random: &mut Random, ages: &[u64], now: u64) -> Says {
    match random.below(100) {
        0..66 => Says::Yes(draw_user(random, ages, now)),
        66..80 => Says::No,
        80..90 => Says::Nothing,
        _ => Says::NoVerdict(*random.of(&[
            Failure::NoAnswer,
            Failure::Status(500),
            Failure::Status(503),
            Failure::Status(403),
            Failure::Status(429),
            Failure::Status(302),
            Failure::YesWithoutUser,
            Failure::YesTwice,
            Failure::Body,
        ])),
    }
}

fn draw_token(random: &mut Random, ages: &[u64], now: u64, issuer: &Value) -> Token {
    let mut claims = json!({ "iss": issuer, "iat": now - 5 });
    claims["exp"] = json!(now + 300 + random.below(600));
    claims["jti"] = json!(random.next().to_string());
    let mut audiences = some(random, &AUDIENCES, 80);
    if audiences.is_empty() {
        audiences.push("https://elsewhere.example.com".to_owned());
    }
    let one = audiences.len() == 1 && random.percent(50);
    claims["aud"] = if one {
        json!(audiences[0])
    } else {
        json!(audiences)
    };
    let client = *random.of(&CLIENTS);
    if random.percent(95) {
        claims["client_id"] = json!(client);
    }
    match random.below(100) {
        0..58 => {
            let user = draw_user(random, ages, now);
            claims["sub"] = json!(user.id);
            claims[IS_ANONYMOUS] = json!(user.anonymous);
            claims[IS_VERIFIED] = json!(user.verified);
            claims[CAN_REAUTHENTICATE] = json!(user.can_reauthenticate);
            if !user.roles.is_empty() || random.percent(50) {
                claims[ROLES] = json!(user.roles);
            }
            if !user.amr.is_empty() || random.percent(50) {
                claims["amr"] = json!(user.amr);
            }
            match user.authenticated_at {
                Some(at) => claims["auth_time"] = json!(at),
                None if random.percent(50) => claims["auth_time"] = json!(0),
                None => {}
            }
        }
        58..93 => claims["sub"] = json!(format!("client_id_{client}")),
        _ => claims["sub"] = json!(*random.of(&["service", "client_id_another", "client_id_"])),
    }
    let scopes = some(random, &SCOPES, 55);
    match random.below(4) {
        0 => claims["scope"] = json!(scopes.join(" ")),
        1 => claims["scp"] = json!(scopes),
        2 => claims["scp"] = json!(scopes.join(" ")),
        _ => {
            claims["scope"] = json!(scopes.first().cloned().unwrap_or_default());
            claims["scp"] = json!(scopes.iter().skip(1).collect::<Vec<_>>());
        }
    }
    draw_own_claims(random, &mut claims);
    spoil(random, claims, now)
}

fn draw_own_claims(random: &mut Random, claims: &mut Value) {
    let values = [
        json!("acme"),
        json!("acme"),
        json!("acme"),
        json!("acme"),
        json!("acme"),
        json!("acme"),
        json!("beta"),
        json!("Acme"),
        json!(3),
        json!(3.0),
        json!("3"),
        json!(4),
        json!(true),
        json!("true"),
        json!(["acme", "beta"]),
        json!([3, "x"]),
        json!([]),
        json!([["acme"]]),
        json!(null),
        json!({}),
        json!(-1.5),
        json!(9_007_199_254_740_991_u64),
        json!(9_007_199_254_740_992_u64),
        json!(9_007_199_254_740_993_u64),
    ];
    for name in ["tenant", "https://example.com/claims/tenant"] {
        if random.percent(75) {
            claims[name] = random.of(&values).clone();
        }
    }
    if random.percent(80) {
        let mut org = json!({ "id": random.of(&values), "a/b": random.of(&values) });
        if random.percent(20) {
            org = random.of(&values).clone();
        }
        claims["org"] = org;
    }
}

/// Makes a token of these claims, and now and then a bad one.
fn spoil(random: &mut Random, mut claims: Value, now: u64) -> Token {
    let mut header = json!({ "alg": "ES256", "kid": "key", "typ": "at+jwt" });
    let issuer = ENDPOINTS.iter().position(|origin| claims["iss"] == *origin);
    let issuer = issuer.unwrap();
    let mut signature = SIGNATURES[issuer];
    let mut signed_elsewhere = false;
    let mut sound = true;
    let mut tenant_twice = false;
    match random.below(100) {
        0 => claims["iss"] = json!("https://auth.example.com/"),
        1 => claims["exp"] = json!(now - 31),
        2 => claims["exp"] = json!(now - 30),
        3 => claims["exp"] = json!(now - 29),
        4 => claims["nbf"] = json!(now + 30),
        5 => claims["nbf"] = json!(now + 31),
        6 => claims["iat"] = json!(now + 31),
        7 => claims["cnf"] = json!({ "jkt": "x" }),
        8 => {
            claims.as_object_mut().unwrap().remove(IS_VERIFIED);
        }
        9 => {
            claims.as_object_mut().unwrap().remove("exp");
        }
        10..13 => (signature, sound) = (b"a broken signature", false),
        21..24 => {
            signature = SIGNATURES[(issuer + 1) % SIGNATURES.len()];
            (signed_elsewhere, sound) = (true, false);
        }
        13 => (header["alg"], sound) = (json!("RS256"), false),
        14 => (header["alg"], sound) = (json!("none"), false),
        15 => (header["kid"], sound) = (json!("another"), false),
        16 => (header["typ"], sound) = (json!("JWT"), false),
        17 => (header["crit"], sound) = (json!(["exp"]), false),
        18..20 => tenant_twice = true,
        20 => claims["exp"] = json!(now - 20),
        _ => {}
    }
    let mut payload = claims.to_string();
    if tenant_twice {
        claims["tenant"] = json!("acme");
        payload = claims.to_string();
        payload = payload.replacen('{', r#"{"tenant":"acme","#, 1);
    }
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let [header, payload, signature] =
        [header.to_string().as_bytes(), payload.as_bytes(), signature].map(encode);
    Token {
        text: format!("{header}.{payload}.{signature}"),
        claims,
        sound,
        tenant_twice,
        signed_elsewhere,
    }
}
