//! The recipes of docs/guides: their configurations are taken out of the pages, and every row of their tables is sent.

use std::fs;

use devkit::authgear::Endpoint::{Jwks, Resolver};
use devkit::authgear::{FakeAuthgear, Fault, Options};
use devkit::backend::Backend;
use devkit::client::Request;
use devkit::envoy::{Envoy, checkout};
use devkit::keys::{Token, User, now};
use devkit::message::Reply;
use devkit::testbed::{ORIGIN, TestBed};
use devkit::tls::TestCa;
use serde_json::{Value, json};

/// A page of docs/guides.
struct Page(String);

impl Page {
    fn read(name: &str) -> Self {
        let path = checkout().join(format!("docs/guides/{name}.md"));
        Self(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")))
    }

    /// The blocks of code with this info string.
    fn blocks(&self, info: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut open: Option<bool> = None;
        for line in self.0.lines().map(|line| (line, line.trim_start())) {
            match (line, open) {
                ((_, fence), None) if fence.starts_with("```") => {
                    let wanted = fence == format!("```{info}");
                    if wanted {
                        found.push(String::new());
                    }
                    open = Some(wanted);
                }
                ((_, "```"), Some(_)) => open = None,
                ((whole, _), Some(true)) => {
                    let block = found.last_mut().expect("an open block");
                    block.push_str(whole);
                    block.push('\n');
                }
                _ => {}
            }
        }
        found
    }

    /// The one block of JSON with this info string.
    fn json(&self, info: &str) -> Value {
        let blocks = self.blocks(info);
        assert_eq!(blocks.len(), 1, "blocks of {info}");
        serde_json::from_str(&blocks[0]).unwrap_or_else(|error| panic!("{info}: {error}"))
    }

    /// The filter's configuration.
    fn config(&self) -> Value {
        self.json("json filter-config")
    }

    /// The rows of the table whose first row begins with these cells, as (what is asked, what is answered): the cells of
    /// the heading are what is asked, and the rest is answered.
    fn table(&self, heading: &[&str]) -> Vec<(Vec<String>, Vec<String>)> {
        let cells = |line: &str| -> Vec<String> {
            let line = line.trim().trim_matches('|');
            line.split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let mut lines = self.0.lines();
        let begins = |line: &str| line.starts_with('|') && cells(line).starts_with(&owned(heading));
        assert!(lines.any(begins), "no table of {heading:?}");
        let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
        rows.map(|line| {
            let mut asked = cells(line);
            let answered = asked.split_off(heading.len());
            (asked, answered)
        })
        .collect()
    }
}

fn owned(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// What stands between backticks.
fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The reply is what a cell of a table says: the status, the code (or the text) of the body, the challenge.
fn assert_told(reply: &Reply, cell: &str, row: &dyn std::fmt::Debug) {
    assert!(
        cell.starts_with(&reply.status.to_string()),
        "{row:?}: {cell}, and not {reply:?}"
    );
    let told = codes(cell);
    assert_eq!(told.is_empty(), reply.status == 200, "{row:?}: {cell}");
    if let Some(code) = told.first() {
        let json: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let answered = json.map_or_else(
            || reply.text(),
            |json| json["code"].as_str().unwrap_or_default().to_owned(),
        );
        assert_eq!(&answered, code, "{row:?}: {reply:?}");
    }
    if let Some(challenge) = told.get(1) {
        let answered = reply.header("www-authenticate");
        assert_eq!(answered.as_deref(), Some(*challenge), "{row:?}");
    }
}

/// Sends each row of a table its request, twice: what is cached is judged like what is new. The requests are in the order
/// of the rows, each with what its row asks.
async fn assert_rows(rows: &[(Vec<String>, Vec<String>)], requests: Vec<(&[&str], Vec<Request>)>) {
    let asked: Vec<&Vec<String>> = rows.iter().map(|(asked, _)| asked).collect();
    let sent: Vec<Vec<String>> = requests.iter().map(|(asked, _)| owned(asked)).collect();
    assert_eq!(
        asked,
        sent.iter().collect::<Vec<_>>(),
        "the rows of the page"
    );
    for ((asked, cells), (_, requests)) in rows.iter().zip(requests) {
        assert_eq!(cells.len(), requests.len(), "{asked:?}: {cells:?}");
        for (cell, request) in cells.iter().zip(requests) {
            for _ in 0..2 {
                let reply = request.clone().send().await;
                assert_told(&reply, cell, &(asked, &request));
            }
        }
    }
}

fn session(authgear: &FakeAuthgear, user: &User) -> String {
    format!("session={}", authgear.session(user))
}

async fn another_project(origin: &str) -> FakeAuthgear {
    FakeAuthgear::start(Options {
        origin: Some(origin.to_owned()),
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn machines() {
    let page = Page::read("machines");
    let mut bed = TestBed::builder()
        .config(page.config())
        .reloadable()
        .start()
        .await;
    let authgear = &bed.authgear;
    let payload = page.json("json example");
    let text = |name: &str| payload[name].as_str().unwrap().to_owned();
    let (client, resource) = (
        text("client_id"),
        payload["aud"][0].as_str().unwrap().to_owned(),
    );
    let machine = Token::machine(&text("iss"), &resource, &client).scope(&text("scope"));
    // Nothing in it but what the page shows.
    let mut shown = machine.payload();
    for name in ["iat", "exp", "jti"] {
        assert!(shown.as_object_mut().unwrap().remove(name).is_some());
    }
    assert_eq!(shown, payload);

    let key = authgear.key();
    let elsewhere = another_project("https://auth.other.example").await;
    let bob = authgear.add_user(User::new("bob").verified(false));
    let of_alice = authgear.token(&bed.alice);
    let for_resource = of_alice
        .clone()
        .audience(json!([resource]))
        .scope(&text("scope"));
    let other_client = Token::machine(ORIGIN, &resource, "a-client-of-another-name");
    let everywhere = |present: &dyn Fn(Request) -> Request| -> Vec<Request> {
        ["/orders/import", "/orders/17", "/"]
            .iter()
            .map(|path| present(bed.get(path)))
            .collect()
    };
    let bearer = |token: String| everywhere(&move |request| request.bearer(&token));
    let cookie = session(authgear, &bed.alice);
    let rows: Vec<(&[&str], Vec<Request>)> = vec![
        (&["the token above"], bearer(machine.sign(&key))),
        (
            &["with `orders:read` alone"],
            bearer(machine.clone().scope("orders:read").sign(&key)),
        ),
        (
            &["with `orders:write` alone"],
            bearer(machine.clone().scope("orders:write").sign(&key)),
        ),
        (
            &["another client's, same scopes"],
            bearer(other_client.scope(&text("scope")).sign(&key)),
        ),
        (
            &["a machine's for another resource"],
            bearer(
                machine
                    .clone()
                    .audience(json!(["https://api.example.com/other"]))
                    .sign(&key),
            ),
        ),
        (
            &["expired, by more than `jwt.clock_skew`"],
            bearer(machine.clone().expires_in(-60).sign(&key)),
        ),
        (
            &["of another project"],
            bearer(
                machine
                    .clone()
                    .claim("iss", elsewhere.origin())
                    .sign(&elsewhere.key()),
            ),
        ),
        (&["a verified user's token"], bearer(bed.token())),
        (
            &["a user's for the resource, with both scopes"],
            bearer(authgear.issue(&bed.alice, &for_resource)),
        ),
        (
            &["a verified user's session cookie"],
            everywhere(&|request| request.cookie(&cookie)),
        ),
        (
            &["an unverified user's token"],
            bearer(authgear.access_token(&bob)),
        ),
        (&["nothing"], everywhere(&|request| request)),
    ];
    assert_rows(&page.table(&["what is presented"]), rows).await;

    let table = page.table(&["who"]);
    let cells: Vec<&str> = table
        .iter()
        .map(|(_, answered)| answered[0].as_str())
        .collect();
    let named = codes(cells[0])[0].split_once(": ").unwrap();
    for (token, expected) in [
        (
            machine.sign(&key),
            vec![(named.0.to_owned(), named.1.to_owned())],
        ),
        (bed.token(), bed.alice.headers()),
    ] {
        bed.backend.clear();
        let forged = bed.get("/orders").header("x-authgear-client-id", "forged");
        let forged = forged.header("x-authgear-user-id", "forged");
        assert_eq!(forged.bearer(token).send().await.status, 200);
        assert_eq!(bed.only_forwarded().identity(), expected);
    }

    // Locked out: off the list of clients.
    let request = |bed: &TestBed| bed.get("/orders/import").bearer(machine.sign(&key)).send();
    assert_eq!(request(&bed).await.status, 200);
    let replace =
        |config: &mut Value| config["rules"][0]["allow"]["client_ids"] = json!(["another"]);
    bed.reconfigure(replace).await.unwrap();
    assert_eq!(request(&bed).await.status, 403);
    bed.finish().await;
}

/// A gateway as the page has it, in front of the stand-ins of its two projects and a third one.
struct Tenants {
    bed: TestBed,
    beta: FakeAuthgear,
    gamma: FakeAuthgear,
    users: [User; 3],
}

async fn tenants(page: &Page, is_beta_down: bool) -> Tenants {
    let config = page.config();
    let acme = config["projects"][0]["endpoint"]
        .as_str()
        .unwrap()
        .to_owned();
    let beta = another_project(config["projects"][1]["endpoint"].as_str().unwrap()).await;
    let gamma = another_project("https://auth.gamma.example").await;
    let of_beta = beta.add_user(User::new("bob of beta"));
    let of_gamma = gamma.add_user(User::new("carol of gamma"));
    if is_beta_down {
        beta.fault(Jwks, Fault::Status(503));
        beta.fault(Resolver, Fault::Status(503));
    }
    let addresses = [beta.address(), gamma.address()];
    let mut builder = TestBed::builder()
        .authgear(|options| options.origin = Some(acme))
        .config(config);
    builder = builder.configure(|config| config["projects"][0]["cluster"] = json!("authgear"));
    let bed = builder
        .reloadable()
        .envoy(move |envoy| {
            envoy
                .cluster("authgear-beta", &[addresses[0]])
                .cluster("authgear-gamma", &[addresses[1]])
        })
        .start()
        .await;
    let users = [bed.alice.clone(), of_beta, of_gamma];
    Tenants {
        bed,
        beta,
        gamma,
        users,
    }
}

impl Tenants {
    /// The request of a row: its host, and its path and what it presents, as the page writes them.
    fn request(&self, host: &str, request: &str) -> Request {
        let host = codes(host)[0];
        let path = codes(request)
            .first()
            .filter(|code| code.starts_with('/'))
            .copied();
        let to = self.bed.get(path.unwrap_or("/account")).host(host);
        let presented = request.rsplit_once("`, ").map_or(request, |(_, what)| what);
        let [of_acme, of_beta, of_gamma] = &self.users;
        let plain = self.bed.authgear.add_user(User::new("dave"));
        let is_betas = host.ends_with("beta.example");
        match presented {
            "nothing" => to,
            "a token of acme's" => to.bearer(self.bed.authgear.access_token(of_acme)),
            "a token of acme's without the role" => {
                to.bearer(self.bed.authgear.access_token(&plain))
            }
            "a session of acme's" => to.cookie(session(&self.bed.authgear, of_acme)),
            "a token of beta's" => to.bearer(self.beta.access_token(of_beta)),
            "a session of beta's" => to.cookie(session(&self.beta, of_beta)),
            "a token of gamma's" => to.bearer(self.gamma.access_token(of_gamma)),
            "a token, keys were fetched before" => to.bearer(self.beta.access_token(of_beta)),
            "a session that is not cached" => to.cookie(session(&self.beta, of_beta)),
            "a token" if !is_betas => to.bearer(self.bed.authgear.access_token(of_acme)),
            "a session" if !is_betas => to.cookie(session(&self.bed.authgear, of_acme)),
            _ => panic!("what does {request:?} present to {host}?"),
        }
    }

    async fn assert_table(&self, rows: Vec<(Vec<String>, Vec<String>)>, expected: usize) {
        assert_eq!(rows.len(), expected, "{rows:#?}");
        for (asked, answered) in rows {
            let request = self.request(&asked[0], &asked[1]);
            for _ in 0..2 {
                let reply = request.clone().send().await;
                assert_told(&reply, &answered[0], &asked);
            }
        }
    }
}

#[tokio::test]
async fn several_tenants() {
    let page = Page::read("tenants");
    let mut tenants = tenants(&page, false).await;
    let table = page.table(&["host", "request"]);
    tenants.assert_table(table, 13).await;
    tenants.bed.backend.clear();
    let request = tenants.request("`shop.beta.example`", "a token of beta's");
    assert_eq!(request.send().await.status, 200);
    let identity = tenants.bed.only_forwarded().identity();
    assert_eq!(identity, tenants.users[1].headers());

    // A tenant more.
    let row = page.table(&["request to `app.gamma.example`"]);
    let [(asked, answered)] = row.as_slice() else {
        panic!("{row:?}");
    };
    let request = tenants.request("`app.gamma.example`", &asked[0]);
    assert_told(&request.clone().send().await, &answered[0], asked);
    tenants.bed.authgear.clear_calls();
    let project = page.json("json filter-config at=/projects/1");
    let add = |config: &mut Value| config["projects"].as_array_mut().unwrap().push(project);
    tenants.bed.reconfigure(add).await.unwrap();
    assert_told(&request.send().await, &answered[1], asked);
    let request = tenants.request("`app.acme.example`", "a token of acme's");
    assert_eq!(request.send().await.status, 200);
    assert_eq!(tenants.bed.jwks_calls(), 0);
}

#[tokio::test]
async fn one_tenants_outage() {
    let page = Page::read("tenants");
    let down = page.0.find("## 4.").expect("the section of outages");
    let outage = || Page(page.0[down..].to_owned()).table(&["host", "request"]);
    let before = tenants(&page, false).await;
    let request = before.request("`beta.example`", "a token of beta's");
    assert_eq!(request.send().await.status, 200);
    before.beta.fault(Jwks, Fault::Status(503));
    before.beta.fault(Resolver, Fault::Hang);
    before.assert_table(outage(), 5).await;

    // An Envoy that starts meanwhile.
    let meanwhile = tenants(&page, true).await;
    let request = meanwhile.request("`beta.example`", "a token of beta's");
    assert_eq!(request.send().await.status, 503);
    let request = meanwhile.request("`app.acme.example`", "a token of acme's");
    assert_eq!(request.send().await.status, 200);
    let line = "https://auth.beta.example: JWKS:";
    assert!(page.0.contains(line));
    meanwhile.bed.envoy.wait_for_log(line).await;
}

#[tokio::test]
async fn access_by_roles_scopes_and_a_fresh_login() {
    let page = Page::read("access");
    let bed = TestBed::builder().config(page.config()).start().await;
    bed.keys_are_there().await;
    let authgear = &bed.authgear;
    let user =
        |name: &str, minutes: i64| User::new(name).authenticated_at(Some(now() - 60 * minutes));
    let support = authgear.add_user(user("support", 1).roles(&["support"]));
    let plain = authgear.add_user(user("plain", 1));
    let long_ago = authgear.add_user(user("long ago", 60));
    let unverified = authgear.add_user(user("unverified", 60).verified(false));
    let token = |user: &User| authgear.access_token(user);
    let scoped = |scope: &str| {
        let resource = json!(["https://api.example.com/notes"]);
        let token = authgear.token(&plain).audience(resource).scope(scope);
        authgear.issue(&plain, &token)
    };
    let claim = |plan: &str| {
        let token = authgear
            .token(&plain)
            .claim("https://example.com/plan", plan);
        authgear.issue(&plain, &token)
    };
    let credential = |who: &str| -> Result<String, String> {
        Ok(match who {
            "a user with the role `support`, by token" => token(&support),
            "the same, by session" | "`support`, by session" => {
                return Err(session(authgear, &support));
            }
            "without the role" | "logged in a minute ago" => token(&plain),
            "a token without scopes of the resource" => token(&plain),
            "logged in an hour ago" => token(&long_ago),
            "the same, with a token refreshed just now" => authgear.refreshed_token(&long_ago),
            "not verified, logged in an hour ago" => token(&unverified),
            "a token with `notes:read`" => scoped("openid notes:read"),
            "a token with `notes:write`" => scoped("openid notes:write"),
            "a token with the claim `team`" => claim("team"),
            "a token with the claim `free`" => claim("free"),
            "a session" | "any other session" => return Err(session(authgear, &plain)),
            _ => panic!("who is {who:?}?"),
        })
    };
    let rows = page.table(&["request", "who"]);
    assert_eq!(rows.len(), 18, "{rows:#?}");
    for (asked, answered) in rows {
        let (method, path) = codes(&asked[0])[0].split_once(' ').unwrap();
        let request = bed.request(method, path);
        let request = match credential(&asked[1]) {
            Ok(token) => request.bearer(token),
            Err(cookie) => request.cookie(cookie),
        };
        for _ in 0..2 {
            let reply = request.clone().send().await;
            assert_told(&reply, &answered[0], &asked);
        }
    }
    // What a rule with `methods` leaves to the rules behind it.
    let request = bed.request("DELETE", "/api/payouts");
    assert_eq!(request.bearer(token(&long_ago)).send().await.status, 200);
    bed.finish().await;
}

#[tokio::test]
async fn access_by_amr() {
    let page = Page::read("access");
    let rules = page.json("json filter-config at=/rules");
    let bed = TestBed::builder().rules(rules).start().await;
    let mfa = bed.authgear.add_user(User::new("mfa").amr(&["pwd", "mfa"]));
    let to = bed.get("/api/payouts");
    let requests: Vec<(&[&str], Vec<Request>)> = vec![
        (
            &["with the first token after it"],
            vec![to.clone().bearer(bed.authgear.access_token(&mfa))],
        ),
        (
            &["with a refreshed token"],
            vec![to.clone().bearer(bed.authgear.refreshed_token(&mfa))],
        ),
        (
            &["with the session"],
            vec![to.cookie(session(&bed.authgear, &mfa))],
        ),
    ];
    let table = page.table(&["who logged in by `mfa` a minute ago"]);
    assert_rows(&table, requests).await;
    bed.finish().await;
}

const JOBS: &str = "https://api.example.com/jobs";

/// The requests of the page's table, in its order.
fn as_before(authgear: &FakeAuthgear, get: &dyn Fn(&str) -> Request) -> Vec<(String, Request)> {
    let key = authgear.key();
    let alice = authgear.add_user(User::new("alice").roles(&["admin"]));
    let plain = authgear.add_user(User::new("plain"));
    let token = || authgear.access_token(&plain);
    let expired = authgear.token(&plain).expires_in(-3600).sign(&key);
    let audience = |audience: &str| {
        let token = authgear.token(&alice).audience(json!([audience]));
        token.sign(&key)
    };
    let endless = authgear.token(&alice).without("exp");
    let session = session(authgear, &alice);
    let rows = [
        ("`/api`, a user's token", get("/api").bearer(token())),
        (
            "`/api`, a user's token in `x-access-token`",
            get("/api").header("x-access-token", token()),
        ),
        ("`/api`, nothing", get("/api")),
        ("`/api`, an expired token", get("/api").bearer(&expired)),
        (
            "`/api`, a token that expired 45 seconds ago",
            get("/api").bearer(authgear.token(&plain).expires_in(-45).sign(&key)),
        ),
        (
            "`/api`, a token for another audience",
            get("/api").bearer(audience(JOBS)),
        ),
        (
            "`/api`, a token without `exp`",
            get("/api").bearer(endless.sign(&key)),
        ),
        ("`/api`, a session cookie", get("/api").cookie(session)),
        (
            "`/api/admin`, with the role",
            get("/api/admin").bearer(authgear.access_token(&alice)),
        ),
        (
            "`/api/admin`, without the role",
            get("/api/admin").bearer(token()),
        ),
        (
            "`/API/admin/x`, without the role",
            get("/API/admin/x").bearer(token()),
        ),
        ("`/other`, nothing", get("/other")),
        ("`/healthz`, a bad token", get("/healthz").bearer(&expired)),
        ("`/blog`, nothing", get("/blog")),
        ("`/blog`, an expired token", get("/blog").bearer(&expired)),
        (
            "`/jobs`, a machine's token",
            get("/jobs").bearer(authgear.machine_token(JOBS, "nightly")),
        ),
        (
            "`/jobs`, a user's token for that audience",
            get("/jobs").bearer(audience(JOBS)),
        ),
    ];
    rows.map(|(row, request)| (row.to_owned(), request)).into()
}

/// As in production, the keys come by TLS: `jwt_authn` does not say in a header which origin it means.
#[tokio::test]
async fn from_jwt_authn() {
    let page = Page::read("from-jwt-authn");
    let filters: Vec<Value> = page
        .blocks("yaml envoy-filter")
        .iter()
        .map(|yaml| serde_yaml_ng::from_str(yaml).unwrap())
        .collect();
    let [jwt_authn, rbac] = filters.as_slice() else {
        panic!("{filters:#?}");
    };
    let (ca, host) = (TestCa::new(), "auth.example.com");
    let authgear = FakeAuthgear::start(Options {
        origin: Some(ORIGIN.to_owned()),
        tls: Some(ca.issue(&[host])),
        ..Options::default()
    })
    .await;
    let backend = Backend::start().await;
    let envoy = || {
        let envoy = Envoy::builder().upstream(backend.address());
        envoy.tls_cluster("authgear", authgear.address(), host, &ca.pem())
    };
    let old = envoy().filter_before(jwt_authn.clone());
    let old = old.filter_before(rbac.clone()).start().await;
    let new = envoy().filter(&page.config()).start().await;
    // The first step.
    let both = envoy().filter(&page.config());
    let both = both
        .filter_after(jwt_authn.clone())
        .filter_after(rbac.clone());
    let both = both.start().await;
    let get = |envoy: &Envoy, path: &str| Request::new(envoy.address(), "GET", path);

    let [to_old, to_new, to_both] =
        [&old, &new, &both].map(|envoy| as_before(&authgear, &|path| get(envoy, path)));
    let mut rows = page.table(&["request"]);
    let (new_key, of_new_key) = rows.pop().unwrap();
    let asked: Vec<&String> = rows.iter().map(|(asked, _)| &asked[0]).collect();
    let sent: Vec<&String> = to_old.iter().map(|(row, _)| row).collect();
    assert_eq!(asked, sent);
    for (nth, (asked, answers)) in rows.iter().enumerate() {
        let send = |requests: &[(String, Request)]| requests[nth].1.clone().send();
        assert_told(&send(&to_old).await, &answers[0], asked);
        assert_told(&send(&to_new).await, &answers[1], asked);
        let passes = answers.iter().all(|answer| answer == "200");
        let reply = send(&to_both).await;
        assert_eq!(reply.status == 200, passes, "{asked:?}: {reply:?}");
    }

    // What the backend gets.
    let forwarded = async |request: Request| {
        backend.clear();
        assert_eq!(request.send().await.status, 200);
        backend.requests().remove(0).headers
    };
    let alice = authgear.user("alice").unwrap();
    let names = [
        "x-user-id",
        "x-jwt-payload",
        "authorization",
        "x-authgear-user-id",
    ];
    for (envoy, expected) in [
        (&old, [true, true, false, false]),
        (&new, [false, false, true, true]),
        (&both, [true, true, false, true]),
    ] {
        let request = get(envoy, "/api").bearer(authgear.access_token(&alice));
        let headers = forwarded(request).await;
        assert_eq!(names.map(|name| headers.has(name)), expected);
    }
    // What a client sends itself.
    for (path, asks) in [("/healthz", false), ("/blog", true), ("/other", false)] {
        let request = get(&old, path).header("x-user-id", "forged");
        let headers = forwarded(request.header("x_user_id", "forged")).await;
        let names = ["x-user-id", "x_user_id"];
        // Earlier ones left it where no token is asked for.
        let removed = asks || devkit::envoy::version().unwrap() >= [1, 40, 0];
        assert_eq!(
            names.map(|name| headers.has(name)),
            [!removed, true],
            "{path}"
        );
    }
    for path in ["/healthz", "/blog"] {
        let request = get(&new, path).header("x-authgear-user-id", "forged");
        let headers = forwarded(request.header("x_authgear_user_id", "forged")).await;
        let names = ["x-authgear-user-id", "x_authgear_user_id"];
        assert_eq!(
            names.map(|name| headers.has(name)),
            [false, false],
            "{path}"
        );
    }

    // Another key signs from now on.
    authgear.swap_key();
    for (envoy, answer) in [&old, &new].into_iter().zip(&of_new_key) {
        let request = get(envoy, "/api").bearer(authgear.access_token(&alice));
        assert_told(&request.send().await, answer, &new_key);
    }
    new.assert_no_trap();
    both.assert_no_trap();
}
