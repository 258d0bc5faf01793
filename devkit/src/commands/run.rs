//! `devkit run`: everything at once on this machine, with the reference configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use devkit::authgear::{FakeAuthgear, Options};
use devkit::client::Request;
use devkit::demo::Demo;
use devkit::endpoint::Endpoint;
use devkit::envoy::{Envoy, Launch, Reference, filter_wasm};
use devkit::keys::User;
use devkit::wait::until;
use serde_json::json;

use super::serve::{asked_to_end, for_people};
/// Where Linux distributions and macOS keep the CAs they trust.
const CA_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Envoy with the filter, a demo application, and a fake Authgear unless an endpoint is given
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A real Authgear project instead of the fake Authgear: https://myproject.authgear.cloud
    #[arg(long, env = "AUTHGEAR_ENDPOINT", value_name = "URL")]
    endpoint: Option<Endpoint>,
    /// The CAs to verify that project's certificate with
    #[arg(long, env = "AUTHGEAR_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// 0 is any free port
    #[arg(
        long,
        env = "GATEWAY_PORT",
        value_name = "PORT",
        default_value_t = 10000
    )]
    gateway_port: u16,
    #[arg(
        long,
        env = "AUTHGEAR_PORT",
        value_name = "PORT",
        default_value_t = 10001
    )]
    authgear_port: u16,
    #[arg(long, env = "APP_PORT", value_name = "PORT", default_value_t = 10002)]
    app_port: u16,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let gateway = local(arguments.gateway_port);
    let app = local(arguments.app_port);
    let reference = Reference::read()?.wasm(&filter_wasm()?).listen(gateway);

    eprintln!("devkit: starting Authgear, the demo application and Envoy");
    // Authgear comes first: the application's page links to its login.
    let authgear = Authgear::choose(arguments.endpoint, arguments.authgear_port).await?;
    let login = authgear.fake().map(FakeAuthgear::origin);
    let demo = Demo::start(&app.to_string(), login)
        .await
        .with_context(|| {
            format!("demo application on {app}: is the port free? APP_PORT names another")
        })?;
    let reference = authgear.guard(reference.cluster("app", demo.address()), arguments.ca_file)?;

    let launch = Launch {
        concurrency: 2,
        inherit_log: true,
        ..Launch::default()
    };
    let envoy = Envoy::run(reference.into_bootstrap(), launch)
        .await
        .with_context(|| {
            format!("Envoy on {gateway}: is the port free? GATEWAY_PORT names another")
        })?;
    let url = format!("http://localhost:{}", envoy.address().port());
    if let Some(fake) = authgear.fake() {
        let other_name = url.replace("localhost", "127.0.0.1");
        for_people(fake, vec![url.clone(), other_name]);
    }
    serving(&envoy, authgear.fake()).await?;
    let admin = format!("http://localhost:{}", envoy.admin_address().port());
    match &authgear {
        Authgear::FakeAuthgear(fake) => print_for_fake(&url, &admin, fake),
        Authgear::Real(endpoint) => print_for_real(&url, &admin, endpoint),
    }

    tokio::select! {
        asked = asked_to_end() => {
            asked?;
            println!("\ndevkit: ending");
            envoy.end().await;
            Ok(())
        }
        status = envoy.wait_until_ended() => bail!("Envoy has ended by itself: {status}"),
    }
}

enum Authgear {
    Real(Endpoint),
    FakeAuthgear(FakeAuthgear),
}

impl Authgear {
    async fn choose(endpoint: Option<Endpoint>, port: u16) -> anyhow::Result<Self> {
        if let Some(endpoint) = endpoint {
            return Ok(Self::Real(endpoint));
        }
        let listen = local(port).to_string();
        let options = Options {
            listen: listen.clone(),
            ..Options::default()
        };
        let fake = FakeAuthgear::try_start(options).await.with_context(|| {
            format!("fake Authgear on {listen}: is the port free? AUTHGEAR_PORT names another")
        })?;
        // A browser keeps its cookies by name: gateway and login must both be `localhost`.
        let origin = format!("http://localhost:{}", fake.address().port());
        fake.configure(|settings| settings.origin = origin);
        Ok(Self::FakeAuthgear(fake))
    }

    fn fake(&self) -> Option<&FakeAuthgear> {
        match self {
            Self::FakeAuthgear(fake) => Some(fake),
            Self::Real(_) => None,
        }
    }

    /// Makes the gateway guard for it.
    fn guard(&self, reference: Reference, ca_file: Option<PathBuf>) -> anyhow::Result<Reference> {
        match self {
            Self::FakeAuthgear(fake) => {
                let origin = json!(fake.origin());
                let reference = reference.cluster("authgear", fake.address());
                Ok(reference
                    .configure(|configuration| configuration["projects"][0]["endpoint"] = origin))
            }
            Self::Real(endpoint) if endpoint.tls => {
                Ok(reference.endpoint(endpoint, Some(&authorities(ca_file)?)))
            }
            Self::Real(endpoint) => {
                let origin = &endpoint.origin;
                eprintln!(
                    "devkit: warning: {origin} is not https: tokens and cookies travel in the clear"
                );
                Ok(reference.endpoint(endpoint, None))
            }
        }
    }
}

/// The CAs to verify a real Authgear's certificate with.
fn authorities(ca_file: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = match ca_file {
        Some(path) => path,
        None => {
            let usual = CA_BUNDLES
                .iter()
                .map(PathBuf::from)
                .find(|path| path.is_file());
            usual.context("no CA bundle at any usual path: name one with AUTHGEAR_CA_FILE")?
        }
    };
    if !path.is_file() {
        bail!("AUTHGEAR_CA_FILE: {}: no such file", path.display());
    }
    Ok(path)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Waits until requests really get through: to the application, and with the fake Authgear as a user, which needs its keys.
async fn serving(envoy: &Envoy, fake: Option<&FakeAuthgear>) -> anyhow::Result<()> {
    let token = fake.map(|fake| fake.access_token(&User::new("alice")));
    let served = async || {
        let request = match &token {
            Some(token) => Request::new(envoy.address(), "GET", "/api/me").bearer(token),
            None => Request::new(envoy.address(), "GET", "/public/"),
        };
        let status = request.try_send().await.ok()?.status;
        (status == 200)
            .then_some(Ok(()))
            .or_else(|| envoy.ended().map(Err))
    };
    match until(Duration::from_secs(30), "the gateway to serve", served).await? {
        Ok(()) => Ok(()),
        Err(status) => bail!("Envoy has ended by itself: {status}"),
    }
}

fn print_for_fake(url: &str, admin: &str, fake: &FakeAuthgear) {
    let (alice, bob) = (fake.user("alice"), fake.user("bob"));
    let token = alice
        .map(|alice| fake.access_token(&alice))
        .unwrap_or_default();
    let session = bob.map(|bob| fake.session(&bob)).unwrap_or_default();
    let authgear = fake.origin();
    println!(
        "
The gateway is ready: {url}

In a browser
  {url}/              who you are, and what the application receives
  {authgear}/login         log in as a demo user (fake Authgear)

With curl
  no credential:            curl -i {url}/api/me
  alice's access token:     curl -i {url}/api/me -H 'Authorization: Bearer {token}'
  bob's session:            curl -i {url}/api/me -H 'Cookie: session={session}'
  forged headers are gone:  curl -i {url}/public/headers -H 'X-Authgear-User-Id: mallory'
  rotate the signing key:   curl -X POST {authgear}/_control/rotate
  another token:            curl {authgear}/_control/token -d '{{\"user\":\"bob\"}}'
  the filter's statistics:  curl '{admin}/stats?filter=authgear'

Ctrl-C ends everything.
"
    );
}

fn print_for_real(url: &str, admin: &str, endpoint: &Endpoint) {
    println!(
        "
The gateway is ready: {url}
It guards the demo application for {}.

With curl
  no credential:         curl -i {url}/api/me
  your access token:     curl -i {url}/api/me -H 'Authorization: Bearer …'
  your session:          curl -i {url}/api/me -H 'Cookie: session=…'
  filter's statistics:   curl '{admin}/stats?filter=authgear'

Ctrl-C ends everything.
",
        endpoint.origin
    );
}
