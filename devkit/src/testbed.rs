//! The fixture of an end-to-end test: fake Authgear, Envoy with the filter, a backend that records.
//!
//! ```no_run
//! # async fn test() {
//! use devkit::testbed::TestBed;
//! use serde_json::json;
//!
//! let bed = TestBed::builder().rules(json!([{ "match": { "path": "/healthz" }, "require": "none" }])).start().await;
//!
//! let reply = bed.get("/api/me").bearer(&bed.token()).send().await;
//!
//! assert_eq!(reply.status, 200);
//! assert_eq!(bed.only_forwarded().identity(), bed.alice.headers());
//! bed.finish().await;
//! # }
//! ```

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::authgear::{FakeAuthgear, Options};
use crate::backend::Backend;
use crate::client::{Connection, InFlight, Request};
use crate::envoy::{self, Envoy, EnvoyError};
use crate::keys::User;
use crate::message::{Recorded, Reply};
use crate::tls::TestCa;
use crate::wait::{DEADLINE, until};

/// The project's public origin: another scheme and host than the fake Authgear's own, as in production.
pub const ORIGIN: &str = "https://auth.example.com";
const HOST: &str = "auth.example.com";

/// Where the keys are.
pub const JWKS: &str = "/oauth2/jwks";
/// Where the resolver is.
pub const RESOLVER: &str = "/_resolver/resolve";

type Prepare = Box<dyn FnOnce(&FakeAuthgear) + Send>;

/// How a test bed differs from the default one.
#[must_use = "nothing runs until `start`"]
pub struct Builder {
    config: Value,
    as_struct: bool,
    options: Options,
    ca: Option<TestCa>,
    envoy: envoy::Builder,
    prepare: Vec<Prepare>,
}

impl Builder {
    /// The filter's whole configuration, instead of the smallest one.
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// Changes the filter's configuration.
    pub fn configure(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Changes the configuration's first project.
    pub fn project(self, change: impl FnOnce(&mut Value)) -> Self {
        self.configure(|config| change(&mut config["projects"][0]))
    }

    /// The first project's `jwks`.
    pub fn jwks(self, policy: Value) -> Self {
        self.project(|project| project["jwks"] = policy)
    }

    /// The first project's `session`.
    pub fn session(self, policy: Value) -> Self {
        self.project(|project| project["session"] = policy)
    }

    /// Calls to Authgear have so much time that none times out while a test keeps its answer back.
    pub fn patient(self) -> Self {
        self.project(|project| {
            project["jwks"]["timeout"] = json!("30s");
            project["session"]["timeout"] = json!("30s");
        })
    }

    /// The configuration's rules.
    pub fn rules(self, rules: Value) -> Self {
        self.configure(|config| config["rules"] = rules)
    }

    /// Hands the configuration to Envoy as a `Struct`.
    pub fn as_struct(mut self) -> Self {
        self.as_struct = true;
        self
    }

    /// Envoy's workers; one unless said otherwise.
    pub fn workers(self, workers: usize) -> Self {
        self.envoy(|envoy| envoy.concurrency(workers))
    }

    /// Lets [`TestBed::reconfigure`] change the filter's configuration while Envoy runs.
    pub fn reloadable(self) -> Self {
        self.envoy(envoy::Builder::reloadable)
    }

    /// Changes how Envoy loads the filter, its `PluginConfig`.
    pub fn plugin(self, patch: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.envoy(|envoy| envoy.plugin(patch))
    }

    /// The plugin's `allow_on_headers_stop_iteration`: whether Envoy lets body and trailers of a request pass whose headers
    /// are paused.
    pub fn stop_iteration(self, allowed: bool) -> Self {
        self.plugin(move |plugin| plugin["allow_on_headers_stop_iteration"] = json!(allowed))
    }

    /// Changes how Envoy is started: `.envoy(|envoy| envoy.concurrency(2))`.
    pub fn envoy(mut self, change: impl FnOnce(envoy::Builder) -> envoy::Builder) -> Self {
        self.envoy = change(self.envoy);
        self
    }

    /// Changes how the fake Authgear is started.
    pub fn authgear(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Has Authgear speak TLS, and Envoy verify it: the cluster demands a certificate for the project's host.
    pub fn tls(mut self) -> Self {
        let ca = TestCa::new();
        self.options.tls = Some(ca.issue(&[HOST]));
        self.ca = Some(ca);
        self
    }

    /// Does something with the fake Authgear before Envoy starts: faults that must be there from the first call.
    pub fn prepare(mut self, prepare: impl FnOnce(&FakeAuthgear) + Send + 'static) -> Self {
        self.prepare.push(Box::new(prepare));
        self
    }

    /// Starts everything, and waits until Envoy serves.
    ///
    /// # Panics
    /// Where it does not come about; [`Builder::try_start`] says why instead.
    pub async fn start(self) -> TestBed {
        self.try_start()
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts everything, and waits until Envoy serves.
    ///
    /// # Errors
    /// Where Envoy does not start: a configuration that the filter refuses, say.
    pub async fn try_start(self) -> Result<TestBed, EnvoyError> {
        crate::process::raise_file_limit();
        let authgear = FakeAuthgear::start(self.options).await;
        let backend = Backend::start().await;
        let alice = authgear.add_user(User::new("alice").roles(&["admin"]));
        for prepare in self.prepare {
            prepare(&authgear);
        }
        let envoy = self.envoy.upstream(backend.address());
        let envoy = match &self.ca {
            Some(ca) => envoy.tls_cluster("authgear", authgear.address(), HOST, &ca.pem()),
            None => envoy.cluster("authgear", &[authgear.address()]),
        };
        let envoy = if self.as_struct {
            envoy.filter_struct(&self.config)
        } else {
            envoy.filter(&self.config)
        };
        Ok(TestBed {
            envoy: envoy.try_start().await?,
            authgear,
            backend,
            alice,
            config: self.config,
        })
    }
}

/// A test bed. It ends when this is dropped, and then fails its test if a VM has trapped.
pub struct TestBed {
    /// The gateway.
    pub envoy: Envoy,
    /// The fake Authgear, behind the cluster `authgear`.
    pub authgear: FakeAuthgear,
    /// The backend behind the gateway, the cluster `app`.
    pub backend: Backend,
    /// A user with the role `admin`.
    pub alice: User,
    /// The filter's configuration now.
    pub config: Value,
}

impl TestBed {
    /// The default test bed: one project, no rules, every default.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A builder of another test bed.
    pub fn builder() -> Builder {
        Builder {
            config: json!({ "projects": [{ "endpoint": ORIGIN, "cluster": "authgear" }] }),
            as_struct: false,
            options: Options {
                origin: Some(ORIGIN.to_owned()),
                ..Options::default()
            },
            ca: None,
            envoy: Envoy::builder(),
            prepare: Vec::new(),
        }
    }

    /// A `GET` through the gateway.
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// A `POST` through the gateway.
    pub fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    /// Any request through the gateway.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.envoy.address(), method, target)
    }

    /// Any bytes to the gateway, and the answer: status 0 where it only closes.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> Reply {
        crate::client::raw_reply(self.envoy.address(), bytes.as_ref()).await
    }

    /// A new access token (JWT) of alice's.
    #[must_use]
    pub fn token(&self) -> String {
        self.authgear.access_token(&self.alice)
    }

    /// A new session of alice's, as a `Cookie` header: `session=…`.
    #[must_use]
    pub fn cookie(&self) -> String {
        format!("session={}", self.authgear.session(&self.alice))
    }

    /// What reached the backend.
    #[must_use]
    pub fn forwarded(&self) -> Vec<Recorded> {
        self.backend.requests()
    }

    /// The one request that reached the backend.
    ///
    /// # Panics
    /// Where there is none, or more than one.
    #[must_use]
    pub fn only_forwarded(&self) -> Recorded {
        let mut forwarded = self.forwarded();
        assert_eq!(
            forwarded.len(),
            1,
            "requests reached the backend: {forwarded:#?}"
        );
        forwarded.remove(0)
    }

    /// Nothing reached the backend.
    ///
    /// # Panics
    /// Otherwise.
    pub fn assert_nothing_forwarded(&self) {
        let forwarded = self.forwarded();
        assert!(forwarded.is_empty(), "reached the backend: {forwarded:#?}");
    }

    /// The calls for keys since the record was last cleared.
    #[must_use]
    pub fn jwks_calls(&self) -> usize {
        self.authgear.calls_to(JWKS).len()
    }

    /// The calls to the resolver about a credential since the record was last cleared; the filter makes others to see
    /// whether it answers at all.
    #[must_use]
    pub fn resolver_calls(&self) -> usize {
        let calls = self.authgear.calls_to(RESOLVER).into_iter();
        let credentials = ["cookie", "authorization"];
        let about_some = calls.filter(|call| {
            let mut of_call = credentials.iter();
            of_call.any(|name| call.headers.has(name))
        });
        about_some.count()
    }

    /// Waits until one worker has fetched the keys, for all of them, and clears the record of its calls.
    ///
    /// # Panics
    /// When the keys do not come.
    pub async fn keys_are_there(&self) {
        self.envoy.wait_for_log("keys in use").await;
        self.authgear.clear_calls();
    }

    /// Waits until exactly so many requests are under way in the gateway.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn wait_for_active(&self, n: usize) {
        self.envoy
            .wait_for_stat("http.gateway.downstream_rq_active", |active| {
                active == n as u64
            })
            .await;
    }

    /// Sends a request again and again until it is answered so; answers that reply.
    ///
    /// # Panics
    /// When it never is.
    pub async fn until_status(&self, expected: u16, request: impl Fn() -> Request) -> Reply {
        let what = format!("an answer of {expected}");
        let last = std::cell::RefCell::new(None);
        let is_so = async || {
            let reply = request().send().await;
            if reply.status == expected {
                return Some(reply);
            }
            last.replace(Some(reply));
            None
        };
        until(DEADLINE, &what, is_so)
            .await
            .unwrap_or_else(|error| panic!("{error}; the last was {:?}", last.take()))
    }

    /// How far one of the filter's own statistics has come, as of the workers' last ticks.
    pub async fn count(&self, metric: &str) -> u64 {
        let stat = self.envoy.stat(&format!("wasmcustom.{metric}")).await;
        stat.unwrap_or(0)
    }

    /// Waits until one of the filter's own statistics is as it should be.
    ///
    /// # Panics
    /// When that does not come about.
    pub async fn wait_for_count(&self, metric: &str, fits: impl Fn(u64) -> bool) -> u64 {
        let name = format!("wasmcustom.{metric}");
        self.envoy.wait_for_stat(&name, fits).await
    }

    /// A connection to each of the workers, in their order. No other client may connect meanwhile.
    ///
    /// # Panics
    /// Where Envoy does not report its workers.
    pub async fn every_worker(&self) -> Vec<Connection> {
        let accepted = async || -> Vec<u64> {
            let stats = self.envoy.stats(".worker_").await;
            let ours = stats
                .into_iter()
                .filter(|(name, _)| {
                    name.starts_with("listener.127") && name.ends_with("downstream_cx_total")
                })
                .map(|(_, count)| count);
            ours.collect()
        };
        let mut before = accepted().await;
        let mut connections = vec![None; before.len()];
        assert!(!connections.is_empty(), "Envoy reports no worker");
        while connections.iter().any(Option::is_none) {
            let connection = Connection::open(self.envoy.address(), false).await;
            let somewhere = async || {
                let now = accepted().await;
                let index = now.iter().zip(&before).position(|(now, then)| now > then);
                index.map(|index| (index, now))
            };
            let (index, now) = until(DEADLINE, "a worker to accept", somewhere)
                .await
                .unwrap_or_else(|error| panic!("{error}"));
            before = now;
            connections[index] = Some(connection);
        }
        connections.into_iter().flatten().collect()
    }

    /// Configures the filter otherwise while Envoy runs; needs [`Builder::reloadable`].
    ///
    /// # Errors
    /// Where the filter refuses it.
    pub async fn reconfigure(&mut self, change: impl FnOnce(&mut Value)) -> Result<(), EnvoyError> {
        let mut config = self.config.clone();
        change(&mut config);
        self.envoy.reload(&config).await?;
        self.config = config;
        Ok(())
    }

    /// Ends the test bed: no VM has trapped, and once Authgear is well again, a good request still passes.
    ///
    /// # Panics
    /// Otherwise.
    pub async fn finish(self) {
        self.authgear.clear_faults();
        let alice = self.authgear.add_user(self.alice.clone());
        let token = self.authgear.access_token(&alice);
        let reply = self
            .get("/the-next-good-request")
            .bearer(&token)
            .send()
            .await;
        assert_eq!(reply.status, 200, "the next good request: {reply:?}");
        self.envoy.assert_no_trap();
    }
}

impl Drop for TestBed {
    fn drop(&mut self) {
        // A test that fails already says why itself.
        if !std::thread::panicking() {
            self.envoy.assert_no_trap();
        }
    }
}

/// Waits for all of a crowd: each has been answered with this status.
///
/// # Panics
/// Otherwise.
pub async fn assert_answered(crowd: Vec<InFlight>, expected: u16) {
    for request in crowd {
        let reply = request.reply().await;
        assert_eq!(reply.status, expected, "{reply:?}");
    }
}

/// An address where nobody listens.
///
/// # Panics
/// Where there is no port left.
#[must_use]
pub fn closed_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
