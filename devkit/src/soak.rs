//! Long load of strangers: tokens and cookies of which no two are the same, half of them good, and Envoy's memory meanwhile.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use devkit::soak::{Options, soak};
//!
//! let run = soak(&Options { requests: 10_000, ..Options::default() }, |_| ()).await?;
//! assert!(run.growth_behind_half() < 4 << 20);
//! # Ok(()) }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Connection, Request};
use crate::keys::{SigningKey, Token, User, b64, now, random_alphanumeric, random_uuid};
use crate::testbed::{ORIGIN, TestBed};
use crate::wait::{DEADLINE, until};

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many requests, a multiple of [`SAMPLES`]: a quarter each of good tokens, forged tokens, valid sessions and invalid ones.
    pub requests: usize,
    /// Envoy's workers.
    pub workers: usize,
    /// How many tokens and how many sessions the filter caches.
    pub cached: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            requests: 1_000_000,
            workers: 1,
            cached: 100,
        }
    }
}

/// How often memory is measured.
pub const SAMPLES: usize = 20;
/// Requests that are under way at once.
const CONNECTIONS: usize = 8;

/// The state at one moment of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Requests so far.
    pub requests: usize,
    /// Envoy's memory, in bytes, as the system counts it.
    pub resident: u64,
    /// Tokens that the workers have cached.
    pub tokens: u64,
    /// Valid sessions that the workers have cached.
    pub sessions: u64,
}

/// What became of the run.
#[derive(Clone, Debug)]
pub struct Run {
    /// In order, at equal distances.
    pub samples: Vec<Sample>,
}

impl Run {
    /// By how much Envoy's memory has grown at most since half of the requests were sent, in bytes.
    #[must_use]
    pub fn growth_behind_half(&self) -> u64 {
        let (_, behind) = self.samples.split_at(self.samples.len() / 2 - 1);
        let half = behind.first().map_or(0, |sample| sample.resident);
        let most = behind.iter().map(|sample| sample.resident).max();
        most.unwrap_or(0).saturating_sub(half)
    }
}

/// Runs it, and reports each sample as it is taken.
///
/// # Errors
/// An answer was not as it must be, or the filter caches more than it may.
pub async fn soak(options: &Options, report: impl Fn(&Sample)) -> anyhow::Result<Run> {
    let Options {
        requests,
        workers,
        cached,
    } = *options;
    ensure!(
        requests > 0 && requests.is_multiple_of(SAMPLES),
        "{requests} requests: a multiple of {SAMPLES} is wanted"
    );
    let key = SigningKey::es256().with_kid("soak");
    let published = json!({ "keys": [key.jwk()] });
    let bed = TestBed::builder()
        .workers(workers)
        .project(|project| {
            project["jwt"] = json!({ "algorithms": ["ES256"] });
            // Entries are evicted only because the cache is full.
            project["session"] = json!({ "ttl": "1h", "negative_ttl": "5m", "timeout": "30s" });
        })
        .configure(|config| {
            config["limits"] = json!({ "cached_tokens": cached, "cached_sessions": cached })
        })
        // Envoy answers itself: no upstream is in the figures.
        .envoy(|envoy| {
            envoy.route(json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }))
        })
        .prepare(move |authgear| authgear.publish(Some(published)))
        .start()
        .await;
    bed.keys_are_there().await;
    let bed = Arc::new(bed);
    let strangers = Arc::new(Strangers {
        key,
        user: bed.alice.clone(),
    });
    let mut run = Run {
        samples: Vec::with_capacity(SAMPLES),
    };
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(bed.envoy.address(), false).await);
    }
    for nth in 1..=SAMPLES {
        send(&bed, &strangers, &connections, requests / SAMPLES).await?;
        bed.authgear.clear_calls();
        let sample = Sample {
            requests: nth * requests / SAMPLES,
            resident: bed.envoy.usage().resident,
            tokens: bed.count("authgear_cached_tokens").await,
            sessions: bed.count("authgear_cached_sessions").await,
        };
        report(&sample);
        let most = (cached * (workers + 1)) as u64;
        ensure!(
            sample.tokens <= most && sample.sessions <= most,
            "more is cached than {most}: {sample:?}"
        );
        run.samples.push(sample);
    }
    let evicting = async || {
        let tokens = bed.count("authgear_token_cache_evictions_total").await;
        let sessions = bed.count("authgear_session_cache_evictions_total").await;
        (tokens > 0 && sessions > 0).then_some(())
    };
    until(DEADLINE, "the caches to be full", evicting).await?;
    bed.envoy.assert_no_trap();
    Ok(run)
}

/// Sends so many requests of strangers, one under way on each connection.
async fn send(
    bed: &Arc<TestBed>,
    strangers: &Arc<Strangers>,
    connections: &[Connection],
    count: usize,
) -> anyhow::Result<()> {
    let sent = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for connection in connections {
        let (bed, strangers) = (bed.clone(), strangers.clone());
        let (connection, sent) = (connection.clone(), sent.clone());
        clients.spawn(async move {
            loop {
                let nth = sent.fetch_add(1, Ordering::SeqCst);
                if nth >= count {
                    return Ok(());
                }
                let (request, expected) = strangers.next(&bed, nth);
                let reply = request.over(&connection).try_send().await?;
                ensure!(
                    reply.status == expected,
                    "{} instead of {expected}: {reply:?}",
                    reply.status
                );
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.context("a client")??;
    }
    Ok(())
}

struct Strangers {
    key: SigningKey,
    user: User,
}

impl Strangers {
    /// A credential that has never been seen, and how it is answered.
    fn next(&self, bed: &TestBed, nth: usize) -> (Request, u16) {
        let request = bed.get("/api/orders");
        match nth % 4 {
            0 => (request.bearer(self.token().sign(&self.key)), 200),
            1 => {
                let signed = self.token().unsigned("ES256");
                let header = json!({ "alg": "ES256", "kid": self.key.kid, "typ": "at+jwt" });
                let payload = signed.split('.').nth(1).unwrap_or_default();
                let forged = random_alphanumeric(86);
                let token = format!("{}.{payload}.{forged}", b64(header.to_string().as_bytes()));
                (request.bearer(token), 401)
            }
            2 => {
                let cookie = format!("session={}", bed.authgear.session(&self.user));
                (request.cookie(cookie), 200)
            }
            _ => {
                let made_up = format!("session={}.{}", random_uuid(), random_alphanumeric(32));
                (request.cookie(made_up), 401)
            }
        }
    }

    fn token(&self) -> Token {
        let token = Token::user(ORIGIN, &self.user).claim("jti", random_alphanumeric(64));
        token.claim("exp", now() + 86_400)
    }
}
