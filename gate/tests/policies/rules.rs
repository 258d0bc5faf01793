//! Which rules apply to a request, and what they ask, by docs/behaviour.md, "Methods and hosts" and "Paths", and by
//! docs/configuration.md, `rules[]` and `rules[].match`.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use serde_json::{Value, json};

use crate::client::{HoldsFor, header_holds, parameter_holds};
use crate::readings::{self, MOST_READINGS};
use crate::requests::Request;

/// Those of all projects that are drawn.
pub(crate) const ENDPOINTS: [&str; 3] = [
    "https://auth.example.com",
    "https://auth.other.test",
    "https://auth.third.test",
];

/// What a rule, or several together, ask.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) of_whom: OfWhom,
    pub(crate) users: bool,
    pub(crate) machines: bool,
    pub(crate) jwt: bool,
    pub(crate) session: bool,
    /// One of each of these must be a token's audience. `None`: one of the project's.
    pub(crate) audiences: Vec<Option<Vec<String>>>,
    /// Names and values of the conditions. Each claim is one of its own.
    pub(crate) allow: Vec<(String, Value)>,
    /// Whether two rules ask it.
    pub(crate) together: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OfWhom {
    /// `none`.
    Nobody,
    /// `optional`.
    WhoPresents,
    /// Anything else.
    Everybody,
}

/// A rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) path: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) hosts: Vec<String>,
    /// What is asked of headers, and of the query.
    pub(crate) headers: Vec<(String, Value)>,
    pub(crate) query: Vec<(String, Value)>,
    /// The requests that it is not for.
    pub(crate) not: Value,
    pub(crate) asked: Asked,
}

/// What is asked of a request.
pub(crate) enum Route {
    /// The request is ambiguous, and why.
    Ambiguous(&'static str),
    /// This is asked.
    Asked(Asked),
    /// This is asked, or the request is ambiguous: the documentation does not say which, and why.
    AskedOrAmbiguous(Asked, &'static str),
}

impl Asked {
    /// What a rule asks, or `default`.
    pub(crate) fn new(rule: &Value) -> Self {
        let require = rule.get("require").cloned().unwrap_or(json!("user"));
        let accept = texts(&rule["accept"]);
        let audiences = rule.get("audiences").map(texts);
        let is = |who: &str| require == json!(who) || texts(&require).contains(&who.to_owned());
        let only_jwt = audiences.is_some() || (is("machine") && !is("user"));
        let anybody = is("none") || is("optional");
        Self {
            of_whom: match require.as_str() {
                Some("none") => OfWhom::Nobody,
                Some("optional") => OfWhom::WhoPresents,
                _ => OfWhom::Everybody,
            },
            users: anybody || is("user"),
            machines: anybody || is("machine"),
            jwt: accept.is_empty() || accept.contains(&"jwt".to_owned()),
            session: if accept.is_empty() {
                !only_jwt
            } else {
                accept.contains(&"session".to_owned())
            },
            audiences: vec![audiences],
            allow: conditions(&rule["allow"]),
            together: false,
        }
    }

    /// Whether it asks all that `other` asks.
    pub(crate) fn asks_all_of(&self, other: &Self) -> bool {
        if other.of_whom == OfWhom::Nobody {
            return true;
        }
        let mut all = self.of_whom >= other.of_whom;
        all &= other.users || !self.users;
        all &= other.machines || !self.machines;
        all &= other.jwt || !self.jwt;
        all &= other.session || !self.session;
        for audiences in &other.audiences {
            all &= self.audiences.iter().any(|mine| match (mine, audiences) {
                (Some(mine), Some(others)) => mine.iter().all(|one| others.contains(one)),
                (mine, others) => mine == others,
            });
        }
        for condition in &other.allow {
            all &= self.allow.contains(condition);
        }
        all
    }

    pub(crate) fn asks_the_same_as(&self, other: &Self) -> bool {
        self.asks_all_of(other) && other.asks_all_of(self)
    }

    /// All that both ask.
    fn and(&self, other: &Self) -> Self {
        Self {
            of_whom: self.of_whom.max(other.of_whom),
            users: self.users && other.users,
            machines: self.machines && other.machines,
            jwt: self.jwt && other.jwt,
            session: self.session && other.session,
            audiences: [self.audiences.clone(), other.audiences.clone()].concat(),
            allow: [self.allow.clone(), other.allow.clone()].concat(),
            together: true,
        }
    }
}

/// The conditions of an `allow`, or of an alternative.
pub(crate) fn conditions(allow: &Value) -> Vec<(String, Value)> {
    let mut conditions = Vec::new();
    for (name, value) in allow.as_object().into_iter().flatten() {
        if value.is_null() {
            continue;
        }
        if name == "claims" {
            for (claim, test) in value.as_object().into_iter().flatten() {
                let is_list = test.is_array() || test.is_object();
                let test = if is_list { test.clone() } else { json!([test]) };
                conditions.push((name.clone(), json!([claim, test])));
            }
        } else {
            conditions.push((name.clone(), value.clone()));
        }
    }
    conditions
}

pub(crate) fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| Some(item.as_str()?.to_owned()))
        .collect()
}

pub(crate) fn rules(config: &Value) -> Vec<Rule> {
    let mut rules = Vec::new();
    for rule in config["rules"].as_array().into_iter().flatten() {
        rules.push(matching(&rule["match"], Asked::new(rule)));
    }
    rules
}

fn matching(matches: &Value, asked: Asked) -> Rule {
    let mut rule = Rule {
        path: matches["path"].as_str().map(str::to_owned),
        prefix: matches["path_prefix"].as_str().map(str::to_owned),
        methods: texts(&matches["methods"]),
        hosts: texts(&matches["hosts"]),
        headers: members(&matches["headers"]),
        query: members(&matches["query"]),
        not: matches["not"].clone(),
        asked,
    };
    // All below a path is a prefix with a slash.
    if let Some(parent) = rule.path.as_ref().and_then(|path| path.strip_suffix("**")) {
        rule.prefix = Some(parent.to_owned());
        rule.path = None;
    }
    rule
}

fn members(object: &Value) -> Vec<(String, Value)> {
    let members = object.as_object().into_iter().flatten();
    members
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// A request, but for its path.
struct Seen<'r> {
    request: &'r Request,
    method: String,
    host: Option<String>,
    hides_a_query: bool,
}

/// What is asked of a request. `notes`: what was met on the way.
pub(crate) fn route(config: &Value, request: &Request, notes: &mut Vec<String>) -> Route {
    let Some(method) = method(&request.method) else {
        return Route::Ambiguous("method");
    };
    let Ok(host) = host(&request.authority) else {
        return Route::Ambiguous("host");
    };
    let Some(readings) = readings::read(&request.path.0) else {
        return Route::Ambiguous("path");
    };
    if readings.all.len() > 2 * MOST_READINGS {
        return Route::Ambiguous("path of many readings");
    }
    let rules = rules(config);
    let default = Asked::new(&config["default"]);
    if readings.hides_a_query {
        notes.push("a query within the path".to_owned());
    }
    let seen = Seen {
        request,
        method,
        host,
        hides_a_query: readings.hides_a_query,
    };
    let asked = first(&rules, &default, &seen, &readings.normal, notes);
    let in_others = |paths: &BTreeSet<Vec<u8>>| -> Vec<Asked> {
        let unnoted = &mut Vec::new();
        let paths = paths.iter();
        paths
            .map(|path| first(&rules, &default, &seen, path, unnoted))
            .collect()
    };
    let others = in_others(&readings.all);
    if !others.iter().all(|other| other.asks_the_same_as(&asked)) {
        return Route::Ambiguous("readings");
    }
    if others.len() > 1 {
        notes.push("readings agree".to_owned());
    }
    if others.len().max(readings.greedy.len()) > MOST_READINGS / 2 {
        // The table does not say which of its rows go together, so that nobody can count them to the last one.
        return Route::AskedOrAmbiguous(asked, "about as many readings as there may be");
    }
    let greedy = in_others(&readings.greedy);
    if !greedy.iter().all(|other| other.asks_the_same_as(&asked)) {
        return Route::AskedOrAmbiguous(asked, "readings that the table may not mean");
    }
    if asked.of_whom != OfWhom::Nobody && others.iter().any(|other| *other != asked) {
        // What rules ask together may be the same though the rules are not.
        return Route::AskedOrAmbiguous(asked, "the same by other rules");
    }
    Route::Asked(asked)
}

#[derive(Clone, Copy, PartialEq)]
enum Fit {
    No,
    /// It is for what many take for the same.
    Nearly,
    Wholly,
}

/// What the first of these rules asks that is for a request, else what `default` does.
fn first(
    rules: &[Rule],
    default: &Asked,
    seen: &Seen<'_>,
    path: &[u8],
    notes: &mut Vec<String>,
) -> Asked {
    let Some((rule, later)) = rules.split_first() else {
        return default.clone();
    };
    let fit = fit(rule, seen, path, notes);
    if !rule.not.is_null() {
        notes.push(format!(
            "not, {}",
            if fit == Fit::No { "no" } else { "yes" }
        ));
    }
    if fit == Fit::Wholly {
        return rule.asked.clone();
    }
    let without = first(later, default, seen, path, notes);
    if fit == Fit::No {
        return without;
    }
    if without.asks_all_of(&rule.asked) {
        notes.push("near rule asks for less".to_owned());
        without
    } else if rule.asked.asks_all_of(&without) {
        notes.push("near rule asks for more".to_owned());
        rule.asked.clone()
    } else {
        notes.push("near rule and another".to_owned());
        rule.asked.and(&without)
    }
}

fn fit(rule: &Rule, seen: &Seen<'_>, path: &[u8], notes: &mut Vec<String>) -> Fit {
    let mut found = fit_of_path(rule, path);
    let known = |known: &String| is_for_method(known, &seen.method);
    if !rule.methods.is_empty() && !rule.methods.iter().any(known) {
        found = Fit::No;
    }
    if !rule.hosts.is_empty() {
        match &seen.host {
            None if found == Fit::Wholly => found = Fit::Nearly,
            None => {}
            Some(host) if rule.hosts.iter().any(|known| is_for_host(known, host)) => {}
            Some(_) => found = Fit::No,
        }
    }
    let headers = rule.headers.iter();
    let headers = headers.map(|(name, asked)| {
        let holds = header_holds(name, asked, seen.request);
        ("header", asked, holds)
    });
    let parameters = rule.query.iter().map(|(name, asked)| {
        let holds = parameter_holds(name, asked, seen.request, seen.hides_a_query);
        ("parameter", asked, holds)
    });
    for (what, asked, holds) in headers.chain(parameters) {
        let wish = match asked["present"] {
            Value::Bool(true) => " to be there",
            Value::Bool(false) => " not to be there",
            _ => "",
        };
        let whom = match holds {
            HoldsFor::Nobody => "nobody",
            HoldsFor::Some => "some",
            HoldsFor::All => "all",
        };
        notes.push(format!("{what} asked{wish}, for {whom}"));
        found = match (holds, found) {
            (HoldsFor::Nobody, _) | (_, Fit::No) => Fit::No,
            (HoldsFor::Some, _) => Fit::Nearly,
            (HoldsFor::All, found) => found,
        };
    }
    if !rule.not.is_null() && found != Fit::No {
        let inner = matching(&rule.not, rule.asked.clone());
        match fit(&inner, seen, path, notes) {
            Fit::No => {}
            Fit::Nearly => found = Fit::Nearly,
            Fit::Wholly => found = Fit::No,
        }
    }
    found
}

fn fit_of_path(rule: &Rule, path: &[u8]) -> Fit {
    let small = path.to_ascii_lowercase();
    if let Some(written) = &rule.path {
        let small_written = written.to_ascii_lowercase();
        let shorter = |text: &[u8]| text.strip_suffix(b"/").map(<[u8]>::to_vec);
        let near = |written: &[u8], path: &[u8]| is_the_same(written, path);
        let without_slash =
            shorter(&small).is_some_and(|path| near(small_written.as_bytes(), &path));
        let with_slash =
            shorter(small_written.as_bytes()).is_some_and(|written| near(&written, &small));
        if is_the_same(written.as_bytes(), path) {
            Fit::Wholly
        } else if near(small_written.as_bytes(), &small) || without_slash || with_slash {
            Fit::Nearly
        } else {
            Fit::No
        }
    } else if let Some(written) = &rule.prefix {
        if is_below(written.as_bytes(), path) {
            Fit::Wholly
        } else if is_below(&written.to_ascii_lowercase().into_bytes(), &small) {
            Fit::Nearly
        } else {
            Fit::No
        }
    } else {
        Fit::Wholly
    }
}

/// What follows each slash.
fn segments(path: &[u8]) -> Vec<Vec<u8>> {
    let mut segments: Vec<Vec<u8>> = path
        .split(|sign| *sign == b'/')
        .map(<[u8]>::to_vec)
        .collect();
    segments.remove(0);
    segments
}

/// Whether a segment is this one; `*` is any one.
fn is_segment(written: &[u8], segment: &[u8]) -> bool {
    if written == b"*" {
        !segment.is_empty()
    } else {
        written == segment
    }
}

fn is_the_same(written: &[u8], path: &[u8]) -> bool {
    let (written, path) = (segments(written), segments(path));
    if written.len() != path.len() {
        return false;
    }
    (0..path.len()).all(|nth| is_segment(&written[nth], &path[nth]))
}

/// Whether a path is this one, or below it by whole segments; with a slash at the end of the prefix, only below.
pub(crate) fn is_below(prefix: &[u8], path: &[u8]) -> bool {
    let path = segments(path);
    let mut written = segments(prefix);
    if written.last().is_some_and(Vec::is_empty) {
        written.pop();
        if path.len() <= written.len() {
            return false;
        }
    }
    if path.len() < written.len() {
        return false;
    }
    (0..written.len()).all(|nth| is_segment(&written[nth], &path[nth]))
}

pub(crate) fn is_for_method(known: &str, method: &str) -> bool {
    known == method || (known == "GET" && method == "HEAD")
}

fn is_for_host(known: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    match known.strip_prefix("*.") {
        Some(domain) => {
            let end = format!(".{domain}");
            host.ends_with(&end) && host != end
        }
        None => host == known,
    }
}

/// The project that judges requests for a host, by docs/configuration.md, "Several projects". `None`: there is none.
pub(crate) fn project_of<'c>(
    config: &'c Value,
    authority: &str,
    notes: &mut Vec<String>,
) -> Option<&'c Value> {
    let host = host(authority).ok()?;
    let projects = config["projects"].as_array()?;
    let mut best: Option<(usize, &Value)> = None;
    let mut of_others = false;
    for project in projects {
        for known in texts(&project["hosts"]) {
            let Some(host) = &host else { continue };
            if !is_for_host(&known, host) {
                continue;
            }
            // The host itself comes before every domain.
            let rank = if known.starts_with("*.") {
                known.len()
            } else {
                usize::MAX
            };
            of_others |= best.is_some_and(|(_, other)| other != project);
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, project));
            }
        }
    }
    if let Some((rank, project)) = best {
        let by = if rank == usize::MAX { "host" } else { "domain" };
        notes.push(format!("project by its {by}"));
        if of_others {
            notes.push(format!("project by its {by}, within another's domain"));
        }
        return Some(project);
    }
    let others = projects
        .iter()
        .find(|project| texts(&project["hosts"]).is_empty());
    if others.is_some() {
        notes.push("project of all others".to_owned());
        if host.is_none() {
            notes.push("project of a request that names no host".to_owned());
        }
    }
    others
}

/// A token in capitals (RFC 9110 §9.1).
fn method(method: &str) -> Option<String> {
    let fits = |sign: char| {
        sign.is_ascii_uppercase() || sign.is_ascii_digit() || "!#$%&'*+-.^_`|~".contains(sign)
    };
    (!method.is_empty() && method.chars().all(fits)).then(|| method.to_owned())
}

/// The host of an `:authority`; `None`: there is none. `Err`: it is more or less than a host and a port.
fn host(authority: &str) -> Result<Option<String>, ()> {
    if authority.is_empty() {
        return Ok(None);
    }
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(())?;
        let address: Result<Ipv6Addr, _> = authority[1..end].parse();
        address.map_err(|_| ())?;
        authority.split_at(end + 1)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let host = host.strip_suffix('.').unwrap_or(host);
        for label in host.split('.') {
            let fits = |sign: char| sign.is_ascii_alphanumeric() || sign == '-' || sign == '_';
            if label.is_empty() || !label.chars().all(fits) {
                return Err(());
            }
        }
        (host, port)
    };
    if !port.is_empty() {
        let digits = port.strip_prefix(':').ok_or(())?;
        let all_digits = !digits.is_empty() && digits.chars().all(|sign| sign.is_ascii_digit());
        if !all_digits || digits.parse::<u32>().map_err(|_| ())? > 65_535 {
            return Err(());
        }
    }
    Ok(Some(host.to_owned()))
}

/// What contradicts itself in a configuration, or each other: docs/configuration.md, `rules[]`, `rules[].allow` and "Errors".
pub(crate) fn contradictions(config: &Value) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let projects = config["projects"].as_array().unwrap();
    let rules_json = config["rules"].as_array().into_iter().flatten();
    for rule in rules_json.chain(config.get("default")) {
        contradictions_of(rule, projects, &mut found);
    }
    let rules = rules(config);
    for (nth, rule) in rules.iter().enumerate() {
        let before = rules[..nth]
            .iter()
            .find(|before| matches_all_of(before, rule));
        if before.is_some_and(|before| !before.asked.asks_the_same_as(&rule.asked)) {
            found.insert("never reached");
        }
    }
    found
}

const OF_TOKENS: [&str; 4] = ["client_ids", "claims", "scopes_any", "scopes_all"];

fn contradictions_of(rule: &Value, projects: &[Value], found: &mut BTreeSet<&'static str>) {
    let asked = Asked::new(rule);
    if asked.of_whom == OfWhom::Nobody {
        let given = rule.get("accept").is_some() || rule.get("audiences").is_some();
        if given || !asked.allow.is_empty() {
            found.insert("none asks");
        }
        return;
    }
    let everybody = asked.of_whom == OfWhom::Everybody;
    if !everybody && !asked.allow.is_empty() {
        found.insert("optional allows");
    }
    if everybody && asked.machines && !asked.users && asked.session {
        found.insert("machine with sessions");
    }
    let elsewhere = projects.iter().any(|project| {
        let audiences = texts(&project["jwt"]["audiences"]);
        let mut audiences = audiences.iter();
        audiences.any(|audience| json!(audience) != project["endpoint"])
    });
    if everybody && asked.machines && rule.get("audiences").is_none() && !elsewhere {
        found.insert("machine without audiences");
    }
    if !asked.jwt && projects.iter().all(|project| project["session"].is_null()) {
        found.insert("sessions that are off");
    }
    for (name, value) in &asked.allow {
        let mut all = vec![(name.clone(), value.clone())];
        if name == "any_of" {
            all.clear();
            for alternative in value.as_array().into_iter().flatten() {
                all.extend(conditions(alternative));
            }
        }
        for (inner, value) in all {
            let clients = texts(&value);
            let known = projects.iter().any(|project| {
                let allowed = texts(&project["jwt"]["client_ids"]);
                allowed.is_empty() || clients.iter().any(|client| allowed.contains(client))
            });
            if inner == "client_ids" && !known {
                found.insert("clients that the project refuses");
            }
            let of_tokens = OF_TOKENS.contains(&&*inner);
            if of_tokens && !asked.jwt {
                found.insert("a token's condition without tokens");
            }
            if everybody && !of_tokens && !asked.users {
                found.insert("a user's condition without users");
            }
            if everybody && !of_tokens && asked.machines && name != "any_of" {
                found.insert("a user's condition for machines too");
            }
        }
    }
}

/// A value alone is a list of one.
fn as_list(asked: &Value) -> Value {
    match asked {
        Value::String(_) => json!([asked]),
        other => other.clone(),
    }
}

/// Whether one rule matches all paths, methods and hosts of another, as they are written.
fn matches_all_of(rule: &Rule, other: &Rule) -> bool {
    let path = other.path.as_ref().or(other.prefix.as_ref());
    let paths = match (&rule.path, &rule.prefix, path) {
        (Some(mine), _, Some(_)) => {
            let theirs = other.path.as_ref();
            theirs.is_some_and(|theirs| is_the_same(mine.as_bytes(), theirs.as_bytes()))
        }
        (Some(_), _, None) => false,
        (_, Some(mine), Some(path)) => is_below(mine.as_bytes(), path.as_bytes()),
        (_, Some(mine), None) => mine == "/",
        (None, None, _) => true,
    };
    let known = |method: &String| rule.methods.iter().any(|mine| is_for_method(mine, method));
    let methods =
        rule.methods.is_empty() || (!other.methods.is_empty() && other.methods.iter().all(known));
    let known = |host: &String| {
        let below = host.strip_prefix('*').unwrap_or(host);
        rule.hosts
            .iter()
            .any(|mine| mine == host || is_for_host(mine, below))
    };
    let hosts = rule.hosts.is_empty() || (!other.hosts.is_empty() && other.hosts.iter().all(known));
    let not = rule.not.is_null() || rule.not == other.not;
    // What it asks of the client, the other must ask as well.
    let same = |(name, asked): &(String, Value), other: &(String, Value)| {
        *name == other.0 && as_list(asked) == as_list(&other.1)
    };
    let headers = rule.headers.iter();
    let client = headers.chain(&rule.query).all(|one| {
        let mut others = other.headers.iter().chain(&other.query);
        others.any(|theirs| same(one, theirs))
    });
    paths && methods && hosts && not && client
}
