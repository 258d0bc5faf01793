//! `devkit authgear`, `devkit demo`, `devkit health`: the parts by themselves, for docker-compose.

use anyhow::{Context, bail};
use devkit::authgear::{FakeAuthgear, Options};
use devkit::client::Request;
use devkit::demo::Demo;
use tokio::signal::unix::{SignalKind, signal};

const GATEWAY: &str = "http://localhost:10000";
const AUTHGEAR: &str = "http://localhost:10001";

/// The fake Authgear
#[derive(clap::Args)]
pub(crate) struct AuthgearArguments {
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,
    /// Its public origin
    #[arg(long, value_name = "URL", default_value = AUTHGEAR)]
    origin: String,
    /// Where its login page may send a browser back to; may be repeated
    #[arg(long = "return-origin", value_name = "URL", default_value = GATEWAY)]
    return_origins: Vec<String>,
}

pub(crate) async fn authgear(arguments: AuthgearArguments) -> anyhow::Result<()> {
    let listen = arguments.listen;
    let options = Options {
        listen: listen.clone(),
        origin: Some(arguments.origin),
        ..Options::default()
    };
    let authgear = FakeAuthgear::try_start(options)
        .await
        .with_context(|| format!("authgear: {listen}"))?;
    for_people(&authgear, arguments.return_origins);
    eprintln!(
        "devkit: fake Authgear on {}, as {}",
        authgear.address(),
        authgear.origin()
    );
    asked_to_end().await
}

/// Makes a fake Authgear fit for people: users to log in as, and any host name to reach it by.
pub(crate) fn for_people(authgear: &FakeAuthgear, return_origins: Vec<String>) {
    authgear.add_demo_users();
    authgear.configure(|settings| {
        settings.tenant_by_host = false;
        settings.redirect_uris = return_origins
            .iter()
            .map(|origin| format!("{origin}/.authgear/return"))
            .collect();
        settings.return_origins = return_origins;
    });
}

/// The demo application
#[derive(clap::Args)]
pub(crate) struct DemoArguments {
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: String,
    /// The origin of the login page
    #[arg(long, value_name = "URL", default_value = AUTHGEAR)]
    login: String,
}

pub(crate) async fn demo(arguments: DemoArguments) -> anyhow::Result<()> {
    let listen = arguments.listen;
    let demo = Demo::start(&listen, Some(arguments.login))
        .await
        .with_context(|| format!("demo: {listen}"))?;
    eprintln!("devkit: demo application on {}", demo.address());
    asked_to_end().await
}

/// Whether a URL answers 200
#[derive(clap::Args)]
pub(crate) struct HealthArguments {
    url: String,
}

pub(crate) async fn health(HealthArguments { url }: HealthArguments) -> anyhow::Result<()> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("{url}: not an http:// URL"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let named = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut addresses = tokio::net::lookup_host(&named)
        .await
        .with_context(|| url.clone())?;
    let address = addresses
        .next()
        .with_context(|| format!("{url}: no address"))?;
    let reply = Request::new(address, "GET", &format!("/{path}"))
        .host(authority)
        .try_send()
        .await;
    match reply.with_context(|| url.clone())?.status {
        200 => Ok(()),
        status => bail!("{url}: {status}"),
    }
}

/// Ctrl-C, or SIGTERM: process 1 of a container gets no default for either.
pub(crate) async fn asked_to_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
