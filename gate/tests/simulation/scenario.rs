//! What is drawn once for a world: how many workers, what the operator has configured, what the weather is like.

use serde_json::{Value, json};

use crate::jwt::KEYS;
use crate::policies;
use crate::projects::OTHER_KEY;
use crate::random::Random;

pub(crate) const ISSUER: &str = "https://auth.example.com";

/// How Authgear is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It answers everybody, and soon.
    Fair,
    /// It answers those it knows, and soon; something before it fails the calls for others in every way.
    Hostile,
    /// It fails and recovers, for all of them.
    Stormy,
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) workers: usize,
    /// Whether there is a `vm_id`, so that workers share.
    pub(crate) shared: bool,
    pub(crate) weather: Weather,
    /// Whether what they share is harmed, by accident or by whoever has the same `vm_id`.
    pub(crate) harm: bool,
    /// Whether workers die now and then, and are replaced.
    pub(crate) deaths: bool,
    /// Whether workers stall now and then, and ticks are late.
    pub(crate) stalls: bool,
    /// Whether the wall clock is set back and forth.
    pub(crate) clock_steps: bool,
    /// Whether keys are replaced without being published beside the old ones before.
    pub(crate) hard_rotations: bool,
    /// Whether configurations are replaced.
    pub(crate) reloads: bool,
    /// Whether what Authgear knows of its users changes all the time.
    pub(crate) restless: bool,
    /// Whether the gateway guards another project, too.
    pub(crate) tenants: bool,
    pub(crate) users: usize,
    /// How many milliseconds pass between two arrivals, about.
    pub(crate) gap: u64,
    /// Of a hundred clients, so many are strangers and attackers.
    pub(crate) strangers: u64,
    /// Of a hundred clients, so many leave before they are answered.
    pub(crate) leave: u64,
    /// The largest crowd.
    pub(crate) crowd: u64,
}

/// The operator's settings that matter, in milliseconds where they are times.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) ttl: u64,
    pub(crate) negative_ttl: u64,
    pub(crate) stale_if_error: u64,
    pub(crate) timeout: u64,
    pub(crate) revalidate: Option<u64>,
    /// In seconds.
    pub(crate) skew: u64,
    pub(crate) refresh: u64,
    pub(crate) max_stale: u64,
    pub(crate) jwks_timeout: u64,
    pub(crate) cooldown: u64,
    pub(crate) discover: bool,
    pub(crate) relay: bool,
    pub(crate) refuse_forged: bool,
    pub(crate) waiting_requests: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) cached_sessions: usize,
    /// What is asked of whom.
    pub(crate) policy: Value,
}

impl Scenario {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let weather = *random.of(&[
            Weather::Fair,
            Weather::Hostile,
            Weather::Hostile,
            Weather::Stormy,
            Weather::Stormy,
        ]);
        let drawn = Self {
            workers: random.index(4) + 1,
            shared: random.percent(60),
            weather,
            harm: random.percent(30),
            deaths: random.percent(20),
            stalls: random.percent(30),
            clock_steps: random.percent(30),
            hard_rotations: random.percent(40),
            reloads: random.percent(40),
            restless: random.percent(30),
            tenants: random.percent(40),
            users: random.index(8) + 1,
            gap: *random.of(&[1, 3, 10, 40, 200]),
            strangers: *random.of(&[0, 20, 50, 90]),
            leave: *random.of(&[0, 10, 40, 80]),
            crowd: *random.of(&[2, 40, 200]),
        };
        if random.percent(15) {
            drawn.at_peace()
        } else {
            drawn
        }
    }

    /// The same where all is well: what workers share must then keep everybody from being refused.
    fn at_peace(self) -> Self {
        Self {
            workers: self.workers.max(2),
            shared: true,
            weather: Weather::Fair,
            harm: false,
            deaths: false,
            stalls: false,
            reloads: false,
            strangers: 0,
            gap: self.gap.max(10),
            ..self
        }
    }
}

impl Settings {
    pub(crate) fn draw(tenants: bool, random: &mut Random) -> Self {
        let cached_sessions = *random.of(&[0, 1, 8, 64, 64, 4_096]);
        let cached_tokens = *random.of(&[0, 1, 64, 4_096]);
        let stale_if_error = *random.of(&[0, 0, 1_000, 60_000]);
        let revalidate = random.of(&[None, None, Some(1_000), Some(5_000)]);
        Self {
            ttl: *random.of(&[0, 300, 1_000, 10_000, 60_000]),
            negative_ttl: *random.of(&[0, 500, 2_000, 30_000]),
            stale_if_error: if cached_sessions == 0 {
                0
            } else {
                stale_if_error
            },
            timeout: *random.of(&[200, 1_000, 5_000]),
            revalidate: revalidate.filter(|_| cached_tokens > 0),
            skew: *random.of(&[0, 30]),
            refresh: *random.of(&[2_000, 30_000, 300_000]),
            max_stale: *random.of(&[0, 10_000, 3_600_000]),
            jwks_timeout: *random.of(&[500, 5_000]),
            cooldown: *random.of(&[1_000, 30_000]),
            discover: random.percent(20),
            relay: random.percent(50),
            refuse_forged: random.percent(15),
            waiting_requests: *random.of(&[1, 16, 80, 1_024, 1_024]),
            cached_tokens,
            cached_sessions,
            policy: policies::draw(tenants, random),
        }
    }

    /// How long a request may wait for the resolver, once.
    pub(crate) fn session_patience(&self) -> u64 {
        self.timeout + GRACE
    }

    /// How long a request may wait for keys, once.
    pub(crate) fn key_patience(&self) -> u64 {
        self.jwks_timeout * self.key_calls() + GRACE
    }

    /// How many calls a fetch of keys is.
    pub(crate) fn key_calls(&self) -> u64 {
        if self.discover { 2 } else { 1 }
    }

    /// How many projects the gateway guards.
    pub(crate) fn projects(&self) -> usize {
        self.policy["projects"].as_array().unwrap().len()
    }

    pub(crate) fn document(&self) -> Value {
        let millis = |millis: u64| format!("{millis}ms");
        let jwks = json!({
            "discover": self.discover,
            "refresh": millis(self.refresh),
            "max_stale": millis(self.max_stale),
            "timeout": millis(self.jwks_timeout),
            "unknown_kid_cooldown": millis(self.cooldown),
        });
        let mut projects = self.policy["projects"].clone();
        for project in projects.as_array_mut().unwrap() {
            project["cluster"] = json!("authgear");
            project["jwt"] = json!({
                "algorithms": ["ES256"],
                "clock_skew": format!("{}s", self.skew),
            });
            project["session"] = json!({
                "timeout": millis(self.timeout),
                "ttl": millis(self.ttl),
                "negative_ttl": millis(self.negative_ttl),
                "stale_if_error": millis(self.stale_if_error),
                "relay_set_cookie": self.relay,
            });
            project["jwks"] = json!({ "inline": { "keys": [KEYS[OTHER_KEY].jwk()] } });
        }
        projects[0]["jwks"] = jwks;
        projects[0]["jwt"]["revalidate"] = json!(self.revalidate.map(millis));
        json!({
            "projects": projects,
            "rules": self.policy["rules"],
            "default": self.policy["default"],
            "client_identity_headers": if self.refuse_forged { "refuse" } else { "strip" },
            "limits": {
                "waiting_requests": self.waiting_requests,
                "cached_tokens": self.cached_tokens,
                "cached_sessions": self.cached_sessions,
            },
        })
    }
}

/// What the documentation grants beyond the timeout of a call.
pub(crate) const GRACE: u64 = 500;
