//! `devkit authgear`, `devkit demo`, `devkit health`: the parts by themselves, for docker-compose.

use anyhow::{Context, bail};
use devkit::authgear::{Options, StandIn};
use devkit::client::Request;
use devkit::demo::Demo;
use tokio::signal::unix::{SignalKind, signal};

use crate::Arguments;

pub const GATEWAY: &str = "http://localhost:10000";
pub const AUTHGEAR: &str = "http://localhost:10001";

pub async fn authgear(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.only(&["listen", "origin", "return-origin"], 0)?;
    let listen = arguments
        .get("listen")
        .context("authgear: --listen ADDRESS:PORT is missing")?;
    let origin = arguments
        .get("origin")
        .unwrap_or_else(|| AUTHGEAR.to_owned());
    let mut back = arguments.all("return-origin");
    if back.is_empty() {
        back.push(GATEWAY.to_owned());
    }
    let options = Options {
        listen: listen.clone(),
        origin: Some(origin),
        ..Options::default()
    };
    let authgear = StandIn::try_start(options)
        .await
        .with_context(|| format!("authgear: {listen}"))?;
    for_people(&authgear, back);
    eprintln!(
        "devkit: stand-in Authgear on {}, as {}",
        authgear.address(),
        authgear.origin()
    );
    asked_to_end().await
}

/// Makes a stand-in fit for people: users to log in as, and any host name to reach it by.
pub fn for_people(authgear: &StandIn, return_origins: Vec<String>) {
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

pub async fn demo(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.only(&["listen", "login"], 0)?;
    let listen = arguments
        .get("listen")
        .context("demo: --listen ADDRESS:PORT is missing")?;
    let login = arguments
        .get("login")
        .unwrap_or_else(|| AUTHGEAR.to_owned());
    let demo = Demo::start(&listen, Some(login))
        .await
        .with_context(|| format!("demo: {listen}"))?;
    eprintln!("devkit: demo application on {}", demo.address());
    asked_to_end().await
}

pub async fn health(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.only(&[], 1)?;
    let url = arguments.plain(0).context("health: which URL?")?;
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
        .with_context(|| url.to_owned())?;
    let address = addresses
        .next()
        .with_context(|| format!("{url}: no address"))?;
    let reply = Request::new(address, "GET", &format!("/{path}"))
        .host(authority)
        .try_send()
        .await;
    match reply.with_context(|| url.to_owned())?.status {
        200 => Ok(()),
        status => bail!("{url}: {status}"),
    }
}

/// Ctrl-C, or SIGTERM: process 1 of a container gets no default for either.
pub async fn asked_to_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
