//! `authgear-filter probe`: asks a gateway from outside whether it is shut.
//!
//! What is sent is planned first ([`plan`], [`spelling`]) and said, then sent request by request ([`client`]); each answer is judged by
//! itself ([`judge`], [`echo`], [`advice`]), and all of it reported ([`report`]); who waits
//! at a terminal sees how far it is ([`progress`]).

mod advice;
mod client;
mod echo;
mod judge;
mod plan;
mod progress;
mod report;
mod spelling;
mod target;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::client::{Answer, Client, ClientError};
use self::judge::{Outcome, Verdict};
use self::plan::{Kind, Probe, Wishes};
use self::progress::Progress;
use self::target::Target;
use self::token::Token;

const EXAMPLES: &str = "\
Examples:
  Is the gate shut, on both routes?
    authgear-filter probe https://app.example.com/account https://app.example.com/api

  What would be sent?
    authgear-filter probe --dry-run https://app.example.com/account

  Is it shut, and does a user get in?
    authgear-filter probe --token-file token.txt https://app.example.com/account

  Before the DNS name leads to the new gateway
    authgear-filter probe --header 'host: app.example.com' http://127.0.0.1:10000/account

  With the demo application of `make run`, which echoes headers
    authgear-filter probe --exact --echo --token-file token.txt http://localhost:10000/api/me

Exit status:
  0  shut: the filter refused every request, and let the good token through, if there is one
  1  open: a request got through that should not
  2  a route could not be asked (name, connection, TLS, no answer), or the arguments are wrong
  3  inconclusive: somebody else than the filter answered, or the good token was refused
  Of several, the first of 1, 2, 3 that holds.";

/// Asks a gateway from outside whether it is shut
///
/// Each URL is a route that should ask for a user. Requests without a credential, with forged identity headers, with an unsigned
/// token, with a cookie of garbage and with odd spellings of the path go to a path below it that does not exist; the filter itself
/// must refuse each of them. What will be sent is said before it is sent. Nothing but GET is sent unless --post asks for it, no
/// redirect is followed, no proxy is used.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ProbeArguments {
    /// Routes that should ask for a user: http or https
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,

    /// A file with an access token that is good for every URL: it must get in. It is sent as Bearer, and never printed
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The backend echoes headers as JSON: look that the user's arrive once, and no forged one does
    #[arg(long, requires = "token_file")]
    echo: bool,

    /// Ask for the paths as they are given, instead of one below each that does not exist: an open gate hands it to the backend
    #[arg(long)]
    exact: bool,

    /// Send requests by POST, too, without a body
    #[arg(long)]
    post: bool,

    /// A name of the cookie in which garbage is sent; may be repeated
    #[arg(long, value_name = "NAME", default_values = ["session", "app_session", "app_access_token"])]
    cookie_name: Vec<String>,

    /// A header that every request needs; may be repeated. Its value is not printed
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// A file of certificates (PEM) that are trusted beside those of this machine
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// How long one request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,

    /// Send the token over plain http to another machine, where everybody on the way can read it
    #[arg(long, requires = "token_file")]
    insecure_http: bool,

    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,

    /// How the outcome is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How the outcome is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for each URL
    Human,
    /// One JSON document
    Json,
}

/// A route, what is to be sent to it, and what came of that.
pub(crate) struct Route {
    target: Target,
    probes: Vec<Probe>,
    /// As many as were sent.
    outcomes: Vec<Outcome>,
}

impl Route {
    fn verdict(&self) -> Verdict {
        let verdicts = self.outcomes.iter().map(|outcome| outcome.verdict);
        // Nothing was shown where nothing was sent.
        verdicts.max().unwrap_or(Verdict::NotAsked)
    }
}

pub(crate) fn run(arguments: &ProbeArguments) -> ExitCode {
    match try_run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("authgear-filter: {error}");
            ExitCode::from(2)
        }
    }
}

fn try_run(arguments: &ProbeArguments) -> Result<ExitCode, String> {
    let (mut routes, wishes) = read(arguments)?;
    if arguments.dry_run {
        return Ok(report::dry_run(&routes, &wishes, arguments.format));
    }
    let tls = routes.iter().any(|route| route.target.tls);
    let timeout = Duration::from_secs(arguments.timeout);
    let client = Client::new(tls, arguments.ca_file.as_deref(), timeout)
        .map_err(|error| error.to_string())?;
    report::announce(&routes, &wishes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut progress = Progress::new(&routes);
    for route in &mut routes {
        runtime.block_on(probe(&client, route, &wishes, &mut progress));
    }
    progress.end();
    // Looking up a name cannot be stopped, and is not waited for.
    runtime.shutdown_background();
    Ok(report::report(&routes, &wishes, arguments.format))
}

/// How many requests to one route may go without an answer. Where the first does, none is expected.
const MAX_FAILURES: usize = 3;

async fn probe(client: &Client, route: &mut Route, wishes: &Wishes, progress: &mut Progress) {
    let mut issuer = None;
    let mut failures = 0_usize;
    for probe in &route.probes {
        progress.next(probe);
        let headers = plan::headers(probe, &route.target, wishes, issuer.as_deref());
        let result: Result<Answer, ClientError> = client
            .send(&route.target, &probe.method, &probe.target, headers)
            .await;
        if let (Kind::NoCredential, Ok(answer)) = (&probe.kind, &result) {
            issuer = judge::issuer(answer).or(issuer);
        }
        let outcome = judge::judge(&route.target, probe, &wishes.marker, wishes.echo, &result);
        route.outcomes.push(outcome);
        if result.is_err() {
            failures = failures.saturating_add(1);
            if route.outcomes.len() == 1 || failures == MAX_FAILURES {
                return;
            }
        }
    }
}

/// Reads the arguments. What is wrong with them is said without repeating them: there may be secrets in them.
fn read(arguments: &ProbeArguments) -> Result<(Vec<Route>, Wishes), String> {
    let mut targets = Vec::new();
    for (index, url) in (1_u32..).zip(&arguments.urls) {
        let target = Target::parse(url).map_err(|error| format!("URL {index}: {error}"))?;
        if arguments.token_file.is_some() && !arguments.insecure_http && !target.is_private() {
            return Err(format!(
                "URL {index}: everybody on the way could read the token of --token-file: probe over https, or say --insecure-http"
            ));
        }
        targets.push(target);
    }
    let token = match &arguments.token_file {
        None => None,
        Some(path) => {
            let token = Token::read(path);
            Some(token.map_err(|error| format!("--token-file {}: {error}", path.display()))?)
        }
    };
    for name in &arguments.cookie_name {
        if HeaderName::try_from(name.as_str()).is_err() {
            return Err("--cookie-name: is not the name of a cookie".to_owned());
        }
    }
    let wishes = Wishes {
        cookies: arguments.cookie_name.clone(),
        post: arguments.post,
        exact: arguments.exact,
        token,
        echo: arguments.echo,
        headers: read_headers(&arguments.headers)?,
        marker: format!("authgear-probe-{:016x}", rand::random::<u64>()),
    };
    let routes = targets.into_iter().map(|target| Route {
        probes: plan::plan(&target, &wishes),
        target,
        outcomes: Vec::new(),
    });
    Ok((routes.collect(), wishes))
}

/// What the probe writes itself, or what would make every answer worthless.
const OWN_HEADERS: [&str; 9] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn read_headers(lines: &[String]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (index, line) in (1_u32..).zip(lines) {
        let error = |text: &str| format!("--header {index}: {text}");
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| error("is not \"name: value\""))?;
        let name = HeaderName::try_from(name.trim_ascii())
            .map_err(|_| error("its name is not the name of a header"))?;
        let is_own = OWN_HEADERS.contains(&name.as_str());
        if is_own || gate::engine::is_identity_header(name.as_str().as_bytes()) {
            return Err(error(&format!(
                "{name} is what the probe itself sends, or leaves away"
            )));
        }
        let value = HeaderValue::try_from(value.trim_ascii())
            .map_err(|_| error("its value has a control character in it"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let lines = ["Host: app.example.com".to_owned(), "x-key:a: b".to_owned()];
        let headers = read_headers(&lines).unwrap();
        assert_eq!(headers["host"], "app.example.com");
        assert_eq!(headers["x-key"], "a: b");
    }

    #[test]
    fn a_header_that_is_refused_is_not_repeated() {
        for line in [
            "s3cret",
            "s3 cret: x",
            "x: s3cret\r\ny: z",
            "Authorization: s3cret",
            "cookie: s3cret",
            "X-Authgear-User-Id: s3cret",
            "x_authgear_user_id: s3cret",
        ] {
            let error = read_headers(&[line.to_owned()]).unwrap_err();
            assert!(error.starts_with("--header 1: "), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
