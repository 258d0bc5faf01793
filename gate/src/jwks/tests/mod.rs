//! Fixtures for the tests of keys: documents, and a key ring with a clock.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::callout::Answer;
use crate::config::{Config, KeySource, RemoteKeys};
use crate::endpoint::Endpoint;
use crate::jose::tests::named;
use crate::jose::{Algorithm, KeySet, NoKey};
use crate::time::Ticks;

mod discovery;
mod life;
mod shared;
mod unknown;

const ENDPOINT: &str = "https://auth.example.com";

fn endpoint() -> Endpoint {
    Endpoint::parse(ENDPOINT).unwrap()
}

fn answer(status: u16, body: &[u8]) -> Answer {
    Answer {
        headers: vec![(":status".to_owned(), status.to_string().into_bytes())],
        body: Some(body.to_vec()),
    }
}

fn with_header(mut answer: Answer, name: &str, value: &str) -> Answer {
    answer
        .headers
        .push((name.to_owned(), value.as_bytes().to_vec()));
    answer
}

/// The result of a key lookup, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Known {
    Found,
    Wait,
    Unknown,
    Unavailable,
}

/// A key ring and its clock, in milliseconds.
struct Fixture {
    ring: KeyRing,
    now: u64,
    /// Added to every pause: 0 takes the shortest that jitter allows, `u64::MAX` the longest.
    entropy: u64,
}

impl Fixture {
    fn new(jwks: &Value) -> Self {
        let json =
            json!({ "projects": [{ "endpoint": ENDPOINT, "cluster": "authgear", "jwks": jwks }] });
        let config = Config::parse(json.to_string().as_bytes()).unwrap();
        let KeySource::Remote(remote) = config.projects[0].keys.clone() else {
            panic!("remote keys");
        };
        let remote: RemoteKeys = remote;
        Self {
            ring: KeyRing::remote(endpoint(), remote),
            // Any start but 0.
            now: 77_000,
            entropy: 0,
        }
    }

    /// A ring that has just fetched this document.
    fn fetched(jwks: &Value, document: &[u8]) -> Self {
        let mut fixture = Self::new(jwks);
        let fetch = fixture.expect_fetch();
        assert!(matches!(
            fixture.answered(&fetch, &answer(200, document)),
            Fetched::Replaced { .. }
        ));
        fixture
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_millis(self.now)
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
    }

    fn poll(&mut self) -> Option<Fetch> {
        let now = self.ticks();
        let polled = self.ring.poll(testing::ALONE, now);
        assert!(!polled.fetch_ended, "there are no other workers");
        polled.fetch
    }

    fn expect_fetch(&mut self) -> Fetch {
        self.poll()
            .unwrap_or_else(|| panic!("no fetch at {}", self.now))
    }

    fn answered(&mut self, fetch: &Fetch, answer: &Answer) -> Fetched {
        let now = self.ticks();
        self.ring
            .answered(fetch.id, Some(answer), testing::ALONE, now, self.entropy)
    }

    fn unanswered(&mut self, fetch: &Fetch) -> Fetched {
        let now = self.ticks();
        self.ring
            .answered(fetch.id, None, testing::ALONE, now, self.entropy)
    }

    fn lookup(&mut self, kid: &str) -> Known {
        self.look(kid, false)
    }

    fn look(&mut self, kid: &str, waited: bool) -> Known {
        let now = self.ticks();
        match self.ring.lookup(kid, Algorithm::Es256, waited, now) {
            Lookup::Found(_) => Known::Found,
            Lookup::Wait => Known::Wait,
            Lookup::Unknown(NoKey::UnknownKeyId) => Known::Unknown,
            Lookup::Unknown(other) => panic!("{other:?}"),
            Lookup::Unavailable(_) => Known::Unavailable,
        }
    }

    /// Lets time pass, second by second, until a fetch is due: how many seconds that took.
    fn until_fetch(&mut self) -> (u64, Fetch) {
        for second in 0..100_000 {
            if let Some(fetch) = self.poll() {
                return (second, fetch);
            }
            self.pass(1_000);
        }
        panic!("no fetch in a day");
    }
}
