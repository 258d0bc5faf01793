//! What the filter costs, beside Envoy's own filters: CPU time per request, memory, start.
//!
//! Ratios are the result, not microseconds: all variants are measured in one run, in turn, on the same machine.
//! `docs/benchmark.md` says how to read it.

mod chart;
mod gateways;
mod growth;
mod idle;
mod load;
mod machine;
mod measure;
mod origin;
mod report;
mod requests;

use std::path::PathBuf;
use std::rc::Rc;
use std::{fs, thread};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::envoy::{Builder, checkout};
use crate::keys::{SigningKey, User};
use crate::process::children;
pub use growth::Sizes;
use machine::Cores;
use measure::{Effort, Gateway, Resolver, Variant, measure};
use origin::Origin;
use report::Figures;
use requests::{ANSWERED, FORWARDED};

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many rounds each variant runs.
    pub rounds: usize,
    /// How many requests a turn is.
    pub requests: usize,
    /// How many different tokens and sessions there are for filters that are to see new ones.
    pub credentials: usize,
    /// How many of them the filter may cache meanwhile.
    pub cached: usize,
    /// How often Envoy is started to see what that takes.
    pub starts: usize,
    /// Whether to measure how the cost grows with what is cached and configured.
    pub growth: Option<Sizes>,
    /// Where the summary goes; `None`: nowhere.
    pub summary: Option<PathBuf>,
    /// Where a chart goes.
    pub svg: Option<PathBuf>,
    /// Whether Envoy gets a core for itself, where there are two.
    pub pinned: bool,
    /// Whether to say on standard error what is going on.
    pub talkative: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 60,
            requests: 2_500,
            credentials: 4_096,
            cached: 64,
            starts: 5,
            growth: Some(Sizes::FULL),
            summary: Some(checkout().join("target/bench/summary.json")),
            svg: None,
            pinned: true,
            talkative: true,
        }
    }
}

impl Options {
    /// A run of seconds: that everything works, and no figure to rely on.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 1,
            requests: 256,
            credentials: 96,
            cached: 8,
            starts: 1,
            growth: Some(Sizes::QUICK),
            pinned: false,
            ..Self::default()
        }
    }

    fn say(&self, what: &str) {
        if self.talkative {
            eprintln!("bench: {what}");
        }
    }
}

/// `devkit bench`: measures, prints, and writes what was asked for.
///
/// # Errors
/// Something is missing, or a variant did not answer as it must.
pub fn command(options: &Options) -> anyhow::Result<()> {
    let summary = run(options)?;
    print!("{}", report::table(&summary));
    Ok(())
}

/// Measures; answers the summary.
///
/// # Errors
/// Something is missing, or a variant did not answer as it must.
pub fn run(options: &Options) -> anyhow::Result<Value> {
    // On a thread of its own: cores are chosen for threads, and this one must be nobody else's.
    let summary = thread::scope(|scope| scope.spawn(|| Bench::new(options)?.run()).join());
    let summary = summary.map_err(|_| anyhow!("the benchmark panicked"))??;
    if let Some(path) = &options.summary {
        write(path, &format!("{summary:#}\n"))?;
    }
    if let Some(path) = &options.svg {
        write(path, &chart::svg(&summary))?;
    }
    Ok(summary)
}

fn write(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// What a run has at hand.
struct Bench<'o> {
    options: &'o Options,
    runtime: Runtime,
    cores: Option<Cores>,
    user: User,
    key: SigningKey,
}

impl<'o> Bench<'o> {
    fn new(options: &'o Options) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            cores: options.pinned.then(Cores::choose).flatten(),
            user: User::new("alice").roles(&["admin", "editor"]),
            key: SigningKey::rsa(0),
        })
    }

    fn effort(&self) -> Effort {
        Effort {
            rounds: self.options.rounds,
            requests: self.options.requests,
        }
    }

    fn run(&self) -> anyhow::Result<Value> {
        let count = self.options.credentials;
        self.options.say(&format!("signing {count} tokens"));
        let tokens = requests::sign_tokens(count, &self.user, &self.key);
        let jwks = json!({ "keys": [self.key.jwk()] });
        let origin = self.origin(&[(gateways::JWKS.to_owned(), jwks)])?;
        let mut variants = self.variants(&origin, &tokens)?;
        let figures = measure(&mut variants, &origin, self.effort(), |what| {
            self.options.say(what);
        })?;
        let figures = Figures::new(&variants, figures);
        let version = self.cache_held(&variants)?;
        drop(variants);

        self.options.say("memory and start");
        let idle = idle::measure(self, &origin)?;
        let growth = match &self.options.growth {
            Some(sizes) => Some(growth::measure(self, sizes)?),
            None => None,
        };
        Ok(report::summary(
            self.options,
            &figures,
            &idle,
            growth.as_ref(),
            &json!({ "envoy": version, "cores": thread::available_parallelism().map_or(1, usize::from),
                     "envoy_has_a_core_for_itself": self.cores.is_some() }),
        ))
    }

    /// What is behind Envoy; its threads leave Envoy's core alone.
    fn origin(&self, documents: &[(String, Value)]) -> anyhow::Result<Origin> {
        if let Some(cores) = self.cores {
            cores.for_the_rest();
        }
        Ok(Origin::start(documents, &self.user.headers())?)
    }

    /// An Envoy on its core.
    fn start(&self, envoy: Builder) -> anyhow::Result<Rc<Gateway>> {
        self.start_on(Cores::for_envoy, envoy)
    }

    fn start_on(&self, choice: fn(Cores), envoy: Builder) -> anyhow::Result<Rc<Gateway>> {
        let others = children(std::process::id());
        if let Some(cores) = self.cores {
            choice(cores);
        }
        let started = self.runtime.block_on(envoy.try_start());
        if let Some(cores) = self.cores {
            cores.for_the_rest();
        }
        let envoy = started?;
        let mut new = children(std::process::id())
            .into_iter()
            .filter(|pid| !others.contains(pid));
        let pid = new.next();
        Ok(Rc::new(Gateway { envoy, pid }))
    }

    fn variants(&self, origin: &Origin, tokens: &[String]) -> anyhow::Result<Vec<Variant>> {
        let address = origin.address();
        let sessions = requests::sessions(tokens.len());
        let small_cache = |limit: &str| {
            let mut configuration = gateways::configuration();
            configuration["limits"][limit] = json!(self.options.cached);
            // Nor are answers shared that other workers, or this one, have had before.
            if limit == "cached_sessions" {
                configuration["projects"][0]["session"]["ttl"] = json!("1ms");
            }
            self.start(gateways::ours(address, &configuration))
        };
        self.options.say("starting Envoys");
        let plain = self.start(gateways::plain(address))?;
        let noop = self.start(gateways::noop(address)?)?;
        let native = self.start(gateways::jwt_authn(address, false))?;
        let native_cached = self.start(gateways::jwt_authn(address, true))?;
        let ext_authz = self.start(gateways::ext_authz(address))?;
        let ours = self.start(gateways::ours(address, &gateways::configuration()))?;
        let few_tokens = small_cache("cached_tokens")?;
        let few_sessions = small_cache("cached_sessions")?;

        let new_tokens = requests::with_tokens(ANSWERED, tokens);
        let one_token = requests::with_tokens(ANSWERED, &tokens[..1]);
        let new_sessions = requests::with_sessions(ANSWERED, &sessions);
        let one_session = requests::with_sessions(ANSWERED, &sessions[..1]);
        let nobody = requests::without_credential(ANSWERED);
        let garbage = requests::with_tokens(ANSWERED, &["eyJ.garbage.token"]);
        let expired = crate::keys::Token::user(crate::testbed::ORIGIN, &self.user);
        let expired = expired.expires_in(-3_600).sign(&self.key);
        let expired = requests::with_tokens(ANSWERED, &[expired]);
        let forwarded = requests::without_credential(FORWARDED);

        let asked = Resolver::Asked;
        Ok(vec![
            Variant::new("base", &plain, &new_tokens)?,
            Variant::new("base_session", &plain, &new_sessions)?,
            Variant::new("base_nobody", &plain, &nobody)?,
            Variant::new("forwarded", &plain, &forwarded)?,
            Variant::new("noop_wasm", &noop, &new_tokens)?.beside("base"),
            Variant::new("jwt_authn", &native, &new_tokens)?.beside("base"),
            Variant::new("jwt_authn_cached", &native_cached, &one_token)?.beside("base"),
            Variant::new("ext_authz", &ext_authz, &new_sessions)?
                .beside("base_session")
                .resolver(asked),
            Variant::new("jwt_new", &few_tokens, &new_tokens)?.beside("base"),
            Variant::new("jwt_seen", &ours, &one_token)?.beside("base"),
            Variant::new("session_new", &few_sessions, &new_sessions)?
                .beside("base_session")
                .resolver(asked),
            Variant::new("session_seen", &ours, &one_session)?.beside("base_session"),
            Variant::new("refused", &ours, &nobody)?
                .beside("base_nobody")
                .status(401),
            Variant::new("refused_garbage", &ours, &garbage)?
                .beside("base_nobody")
                .status(401),
            Variant::new("refused_expired", &ours, &expired)?
                .beside("base")
                .status(401),
        ])
    }

    /// `jwt_authn`'s cache was hit where it should be, and only there. Answers Envoy's version.
    fn cache_held(&self, variants: &[Variant]) -> anyhow::Result<String> {
        let find = |name: &str| variants.iter().find(|variant| variant.name == name);
        let hits = |name: &str| {
            let envoy = &find(name)?.gateway.envoy;
            let hits = envoy.stat("http.gateway.jwt_authn.jwt_cache_hit");
            Some(self.runtime.block_on(hits).unwrap_or(0))
        };
        let measured = (self.options.rounds * self.options.requests) as u64;
        ensure!(hits("jwt_authn") == Some(0), "jwt_authn has a cache");
        ensure!(
            hits("jwt_authn_cached") >= Some(measured),
            "jwt_authn has no cache"
        );
        let envoy = &find("base").context("no base")?.gateway.envoy;
        let info = self.runtime.block_on(envoy.admin("/server_info"))?.json();
        let version = info["version"].as_str().unwrap_or_default();
        Ok(version.split('/').nth(1).unwrap_or(version).to_owned())
    }
}
