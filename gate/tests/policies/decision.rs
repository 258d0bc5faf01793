//! What becomes of a request, by docs/behaviour.md, "Which credential counts", "The decision", "Answers" and "Access tokens",
//! and by docs/configuration.md, `rules[].allow`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::requests::{Request, Says, Token, User};
use crate::rules::{self, Asked, OfWhom, Route, conditions, texts};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Forwarded: as whom, and with which headers of the family.
    Forwarded(&'static str, BTreeMap<String, String>),
    /// Answered: status, code and challenge.
    Answered(u32, String, Option<String>),
}

/// What a resolver was asked: whose, and by which header; and its values in any order.
pub(crate) type Question = (String, BTreeSet<String>);

/// Users whom the resolver has named, and the questions, where the configuration lets them be cached.
pub(crate) type Memory = BTreeMap<Question, User>;

/// The outcomes that are right: more than one where the documentation leaves open which it is.
pub(crate) type Outcomes = Vec<(Verdict, Option<Question>)>;

/// Who presents a credential.
struct Who<'r> {
    kind: Kind,
    /// What the token claims, if it is one that was verified here.
    token: Option<&'r Value>,
}

enum Kind {
    User(User),
    Machine(String),
    /// A token that is neither a user's nor a machine's.
    Neither,
}

/// What is found where a request's credential is read.
enum Found<'r> {
    Somebody(Who<'r>),
    /// No credential, or none that is valid. `by_intent`: there was a token in a header.
    Nobody {
        by_intent: bool,
    },
    Contradictory,
    /// The resolver is needed, and gives no verdict.
    Unavailable,
}

/// A configuration and a request, and what is met on the way to a decision.
pub(crate) struct Case<'r> {
    pub(crate) config: &'r Value,
    pub(crate) request: &'r Request,
    memory: &'r Memory,
    pub(crate) notes: Vec<String>,
    /// The project that judges the request; none yet, or none at all.
    project: &'r Value,
    question: Option<Question>,
}

impl<'r> Case<'r> {
    pub(crate) fn new(config: &'r Value, request: &'r Request, memory: &'r Memory) -> Self {
        Self {
            config,
            request,
            memory,
            notes: Vec::new(),
            project: &Value::Null,
            question: None,
        }
    }

    pub(crate) fn judge(&mut self) -> Outcomes {
        match rules::route(self.config, self.request, &mut self.notes) {
            Route::Ambiguous(what) => {
                self.note(format!("ambiguous {what}"));
                vec![(bad_request(), None)]
            }
            Route::Asked(asked) => self.decide(&asked),
            Route::AskedOrAmbiguous(asked, why) => {
                self.note(format!("unsure: {why}"));
                let mut outcomes = self.decide(&asked);
                outcomes.push((bad_request(), None));
                outcomes
            }
        }
    }

    /// What becomes of a user, or, without one, of a machine. `claims`: those of the token by which they were authenticated.
    #[allow(dead_code, reason = "tests/simulation uses it")]
    pub(crate) fn admits(
        &mut self,
        asked: &Asked,
        user: Option<&User>,
        claims: Option<&'r Value>,
    ) -> Verdict {
        self.project = &self.config["projects"][0];
        let client = || claims.and_then(|claims| claims["client_id"].as_str());
        let who = Who {
            kind: match user {
                Some(user) => Kind::User(user.clone()),
                None => Kind::Machine(client().unwrap_or_default().to_owned()),
            },
            token: claims,
        };
        self.admit(asked, &who).remove(0)
    }

    fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    fn decide(&mut self, asked: &Asked) -> Outcomes {
        self.note(format!("require {}", require(asked)));
        if asked.of_whom == OfWhom::Nobody {
            return vec![(forwarded("unchecked", &[]), None)];
        }
        match rules::project_of(self.config, &self.request.authority, &mut self.notes) {
            Some(project) => self.project = project,
            None => return vec![(answered(421, "misdirected_request", None), None)],
        }
        let realm = self.realm();
        let answered = |status, code: &str, rest: Option<&str>| {
            let challenge = rest.map(|rest| format!("{realm}{rest}"));
            answered(status, code, challenge)
        };
        let verdict = match self.find(asked) {
            Found::Contradictory => bad_request(),
            Found::Unavailable => answered(503, "unavailable", None),
            Found::Nobody { by_intent: true } => {
                answered(401, "invalid_token", Some(r#", error="invalid_token""#))
            }
            Found::Nobody { .. } if asked.of_whom == OfWhom::WhoPresents => {
                forwarded("anonymous", &[])
            }
            Found::Nobody { .. } => answered(401, "unauthenticated", Some("")),
            Found::Somebody(who) => {
                let verdicts = self.admit(asked, &who);
                let question = self.question.take();
                let each = verdicts.into_iter();
                return each.map(|verdict| (verdict, question.clone())).collect();
            }
        };
        vec![(verdict, self.question.take())]
    }

    /// Who presents the credential that counts.
    fn find(&mut self, asked: &Asked) -> Found<'r> {
        let request = self.request;
        if request.authorization.len() > 1 {
            self.note("two tokens in headers".to_owned());
            return Found::Contradictory;
        }
        for value in &request.authorization {
            let mut parts = value.splitn(2, ' ');
            if parts
                .next()
                .unwrap_or_default()
                .eq_ignore_ascii_case("bearer")
            {
                return self.find_in_header(asked, parts.next().unwrap_or_default());
            }
        }
        self.find_in_cookies(asked)
    }

    fn find_in_header(&mut self, asked: &Asked, token: &str) -> Found<'r> {
        let bad = Found::Nobody { by_intent: true };
        if is_jwt(token) {
            return match self.good_token(asked, token) {
                Some(token) if asked.jwt => {
                    self.note("good token in a header".to_owned());
                    Found::Somebody(who_has(token))
                }
                Some(_) => {
                    self.note("good token in a header, not accepted".to_owned());
                    bad
                }
                None => {
                    let tokens = &self.request.tokens;
                    let others = tokens.iter().filter(|other| other.text == token);
                    if others
                        .clone()
                        .any(|one| one.sound && one.claims["iss"] != self.project["endpoint"])
                    {
                        self.note("token of another project".to_owned());
                    }
                    if tokens
                        .iter()
                        .any(|one| one.text == token && one.signed_elsewhere)
                    {
                        self.note("token signed with another project's key".to_owned());
                    }
                    self.note("bad token in a header".to_owned());
                    bad
                }
            };
        }
        let of_letters = token
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || "-_".contains(sign));
        let is_opaque = of_letters && (20..=512).contains(&token.len());
        if !is_opaque || !asked.session || !self.has_sessions() || self.has_client_ids() {
            return bad;
        }
        self.ask("authorization", vec![format!("Bearer {token}")], bad)
    }

    fn find_in_cookies(&mut self, asked: &Asked) -> Found<'r> {
        let nobody = Found::Nobody { by_intent: false };
        let mut sessions = Vec::new();
        let mut jwt = None;
        let mut opaque = None;
        for (name, value) in &self.request.cookies {
            match *name {
                "session" | "app_session" => sessions.push(format!("{name}={value}")),
                "app_access_token" if is_jwt(value) => jwt = Some(value),
                "app_access_token" => opaque = Some(format!("{name}={value}")),
                _ => {}
            }
        }
        if opaque.is_some() && !self.has_client_ids() {
            sessions.extend(opaque);
        }
        if !asked.session || !self.has_sessions() {
            sessions.clear();
        }
        if let Some(jwt) = jwt
            && asked.jwt
            && let Some(token) = self.good_token(asked, jwt)
        {
            let who = who_has(token);
            if sessions.is_empty() {
                self.note("good token in a cookie alone".to_owned());
                return Found::Somebody(who);
            }
            // Beside a user's token the resolver is asked about all; beside another's the sessions decide.
            if matches!(who.kind, Kind::User(_)) {
                self.note("a user's token in a cookie beside sessions".to_owned());
                sessions.push(format!("app_access_token={jwt}"));
            } else {
                self.note("another token in a cookie beside sessions".to_owned());
            }
        } else if jwt.is_some() && asked.jwt {
            self.note("bad token in a cookie".to_owned());
        } else if jwt.is_some() {
            self.note("token in a cookie, not accepted".to_owned());
        }
        if sessions.is_empty() {
            return nobody;
        }
        self.ask("cookie", sessions, nobody)
    }

    fn endpoint(&self) -> &'r str {
        self.project["endpoint"].as_str().unwrap()
    }

    fn realm(&self) -> String {
        let host = self.endpoint().strip_prefix("https://").unwrap();
        format!(r#"Bearer realm="{host}""#)
    }

    fn has_sessions(&self) -> bool {
        !self.project["session"].is_null()
    }

    fn has_client_ids(&self) -> bool {
        !texts(&self.project["jwt"]["client_ids"]).is_empty()
    }

    /// Asks the resolver. `otherwise`: what it is where it says no.
    fn ask(&mut self, header: &str, values: Vec<String>, otherwise: Found<'r>) -> Found<'r> {
        let login = values.iter().any(|value| value.starts_with("session="));
        self.note(format!("resolver asked by {header}"));
        let asked = format!("{} by {header}", self.endpoint());
        let question = (asked, values.into_iter().collect());
        if let Some(user) = self.memory.get(&question) {
            self.note("session seen before".to_owned());
            return Found::Somebody(Who {
                kind: Kind::User(user.clone()),
                token: None,
            });
        }
        let of_another = |(asked, values): &Question| asked != &question.0 && *values == question.1;
        if self.memory.keys().any(of_another) {
            self.note("session of another project".to_owned());
        }
        self.question = Some(question);
        match &self.request.resolver {
            Says::Yes(user) => Found::Somebody(Who {
                kind: Kind::User(user.clone()),
                token: None,
            }),
            Says::No => otherwise,
            // On the cookie of a login it always says something.
            Says::Nothing if login => Found::Unavailable,
            Says::Nothing => otherwise,
            Says::NoVerdict(_) => Found::Unavailable,
        }
    }

    /// The token, if it is valid for all who ask.
    fn good_token(&self, asked: &Asked, text: &str) -> Option<&'r Token> {
        let token = self
            .request
            .tokens
            .iter()
            .find(|token| token.text == text)?;
        let (claims, now) = (&token.claims, self.request.now);
        let skew = 30;
        let seconds = |name: &str| claims[name].as_u64();
        let mut good = token.sound && claims["iss"] == self.project["endpoint"];
        let meant_for = match &claims["aud"] {
            Value::String(one) => vec![one.clone()],
            list => texts(list),
        };
        for audiences in &asked.audiences {
            let audiences = audiences
                .clone()
                .unwrap_or_else(|| self.audiences_of_project());
            good &= meant_for
                .iter()
                .any(|audience| audiences.contains(audience));
        }
        good &= seconds("exp").is_some_and(|exp| now < exp + skew);
        for name in ["nbf", "iat"] {
            good &= seconds(name).is_none_or(|start| start <= now + skew);
        }
        let clients = texts(&self.project["jwt"]["client_ids"]);
        let client = claims["client_id"].as_str().unwrap_or_default();
        good &= clients.is_empty() || clients.iter().any(|known| known == client);
        good &= claims.get("cnf").is_none();
        if claims.get(IS_ANONYMOUS).is_some() {
            good &= claims[IS_VERIFIED].is_boolean() && claims[CAN_REAUTHENTICATE].is_boolean();
        }
        good &= !token.tenant_twice || !self.some_rule_names_the_tenant();
        good.then_some(token)
    }

    fn audiences_of_project(&self) -> Vec<String> {
        let audiences = texts(&self.project["jwt"]["audiences"]);
        if audiences.is_empty() {
            vec![self.endpoint().to_owned()]
        } else {
            audiences
        }
    }

    fn some_rule_names_the_tenant(&self) -> bool {
        let rules = self.config["rules"].as_array().into_iter().flatten();
        let mut named = false;
        for rule in rules.chain(self.config.get("default")) {
            let mut allows = vec![rule["allow"].clone()];
            allows.extend(
                rule["allow"]["any_of"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            for allow in allows {
                let claims = allow["claims"].as_object().into_iter().flatten();
                named |= claims
                    .into_iter()
                    .any(|(name, _)| name == "tenant" || name == "/tenant");
            }
        }
        named
    }

    fn admit(&mut self, asked: &Asked, who: &Who<'_>) -> Vec<Verdict> {
        if asked.of_whom == OfWhom::WhoPresents {
            return vec![match &who.kind {
                Kind::User(user) => forwarded("user", &self.user_headers(user)),
                _ => forwarded("anonymous", &[]),
            }];
        }
        let (as_whom, headers) = match &who.kind {
            Kind::User(user) if asked.users => ("user", self.user_headers(user)),
            Kind::Machine(client) if asked.machines => {
                ("machine", vec![("x-authgear-client-id", client.clone())])
            }
            _ => return vec![answered(403, "forbidden", None::<String>)],
        };
        let realm = self.realm();
        let answered = |status, code: &str, rest: Option<&str>| {
            let challenge = rest.map(|rest| format!("{realm}{rest}"));
            answered(status, code, challenge)
        };
        let mut forbidden = false;
        let mut lacks_scope = false;
        let mut lacks_login = false;
        for (name, value) in &asked.allow {
            if self.holds(name, value, who) {
                continue;
            }
            match &**name {
                "scopes_any" | "scopes_all" if who.token.is_some() => lacks_scope = true,
                "amr_any" | "amr_all" | "max_auth_age" => lacks_login = true,
                _ => forbidden = true,
            }
        }
        // 401 only "where a later login would do": where something else is lacking as well, it would not.
        let mut verdicts = Vec::new();
        if forbidden {
            verdicts.push(answered(403, "forbidden", None));
        }
        if lacks_scope {
            let scopes = named_scopes(asked).join(" ");
            let challenge = format!(r#", error="insufficient_scope", scope="{scopes}""#);
            verdicts.push(answered(403, "insufficient_scope", Some(&challenge)));
        }
        if lacks_login {
            let mut challenge = r#", error="insufficient_user_authentication""#.to_owned();
            if let Some(age) = longest_age(asked) {
                challenge += &format!(r#", max_age="{age}""#);
            }
            verdicts.push(answered(
                401,
                "insufficient_user_authentication",
                Some(&challenge),
            ));
        }
        if verdicts.is_empty() {
            verdicts.push(forwarded(as_whom, &headers));
        }
        verdicts.truncate(1);
        verdicts
    }

    /// What the backend gets of a user.
    fn user_headers(&mut self, user: &User) -> Vec<(&'r str, String)> {
        let mut headers = vec![
            ("x-authgear-session-valid", "true".to_owned()),
            ("x-authgear-user-id", user.id.clone()),
            ("x-authgear-user-anonymous", user.anonymous.to_string()),
            ("x-authgear-user-verified", user.verified.to_string()),
            (
                "x-authgear-user-can-reauthenticate",
                user.can_reauthenticate.to_string(),
            ),
            ("x-authgear-session-amr", user.amr.join(" ")),
        ];
        if !user.roles.is_empty() {
            headers.push(("x-authgear-user-roles", user.roles.join(",")));
        }
        if let Some(at) = user.authenticated_at {
            headers.push(("x-authgear-session-authenticated-at", at.to_string()));
        }
        let of_roles = self.config["upstream"]["role_headers"].as_object();
        for (role, name) in of_roles.into_iter().flatten() {
            let has_it = user.roles.contains(role);
            self.note(format!("header of a role, has it: {has_it}"));
            if has_it {
                headers.push((name.as_str().unwrap(), "true".to_owned()));
            }
        }
        headers
    }

    fn holds(&mut self, name: &str, value: &Value, who: &Who<'_>) -> bool {
        let user = match &who.kind {
            Kind::User(user) => Some(user),
            _ => None,
        };
        let list = texts(value);
        let holds = match name {
            "roles_any" => {
                user.is_some_and(|user| list.iter().any(|role| user.roles.contains(role)))
            }
            "roles_all" => {
                user.is_some_and(|user| list.iter().all(|role| user.roles.contains(role)))
            }
            "amr_any" => {
                user.is_some_and(|user| list.iter().any(|method| user.amr.contains(method)))
            }
            "amr_all" => {
                user.is_some_and(|user| list.iter().all(|method| user.amr.contains(method)))
            }
            "verified" => user.is_some_and(|user| json!(user.verified) == *value),
            "anonymous" => user.is_some_and(|user| json!(user.anonymous) == *value),
            "can_reauthenticate" => {
                user.is_some_and(|user| json!(user.can_reauthenticate) == *value)
            }
            "max_auth_age" => {
                let at = user.and_then(|user| user.authenticated_at);
                let over = at.map(|at| self.request.now as i64 - (at + seconds(value)) as i64);
                if let Some(over @ 0..=1) = over {
                    self.note(format!("max_auth_age over by {over}"));
                }
                at.is_some_and(|at| self.request.now <= at + seconds(value))
            }
            "client_ids" => who.token.is_some_and(|claims| {
                list.iter()
                    .any(|client| json!(client) == claims["client_id"])
            }),
            "scopes_any" => who
                .token
                .is_some_and(|claims| list.iter().any(|scope| scopes_of(claims).contains(scope))),
            "scopes_all" => who
                .token
                .is_some_and(|claims| list.iter().all(|scope| scopes_of(claims).contains(scope))),
            "claims" => who.token.is_some_and(|claims| {
                claim_holds(claim_at(claims, value[0].as_str().unwrap()), &value[1])
            }),
            "any_of" => {
                let mut one_holds = false;
                for alternative in value.as_array().unwrap() {
                    let mut all_hold = true;
                    for (name, value) in conditions(alternative) {
                        all_hold &= self.holds(&name, &value, who);
                    }
                    one_holds |= all_hold;
                }
                one_holds
            }
            other => panic!("no condition: {other}"),
        };
        let word = if holds { "holds" } else { "fails" };
        let form = match name {
            "claims" => &*match (
                &value[1]["present"],
                value[0].as_str().unwrap().starts_with('/'),
            ) {
                (Value::Bool(present), _) => format!("claims present {present}"),
                (_, true) => "claims by path".to_owned(),
                (_, false) => "claims by name".to_owned(),
            },
            name => name,
        };
        self.note(format!("{form} {word}"));
        holds
    }
}

pub(crate) const IS_ANONYMOUS: &str = "https://authgear.com/claims/user/is_anonymous";
pub(crate) const IS_VERIFIED: &str = "https://authgear.com/claims/user/is_verified";
pub(crate) const CAN_REAUTHENTICATE: &str = "https://authgear.com/claims/user/can_reauthenticate";
pub(crate) const ROLES: &str = "https://authgear.com/claims/user/roles";

/// Who is asked for, in words.
pub(crate) fn require(asked: &Asked) -> &'static str {
    match (asked.of_whom, asked.users, asked.machines) {
        (OfWhom::Nobody, _, _) => "none",
        (OfWhom::WhoPresents, _, _) => "optional",
        (_, true, true) => "user or machine",
        (_, true, false) => "user",
        (_, false, true) => "machine",
        (_, false, false) => "user and machine",
    }
}

fn is_jwt(token: &str) -> bool {
    token.split('.').count() == 3
}

fn who_has(token: &Token) -> Who<'_> {
    let claims = &token.claims;
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let flag = |name: &str| claims[name] == json!(true);
    let kind = if claims.get(IS_ANONYMOUS).is_some() {
        Kind::User(User {
            id: text("sub"),
            anonymous: flag(IS_ANONYMOUS),
            verified: flag(IS_VERIFIED),
            can_reauthenticate: flag(CAN_REAUTHENTICATE),
            roles: texts(&claims[ROLES]),
            amr: texts(&claims["amr"]),
            authenticated_at: claims["auth_time"].as_u64().filter(|seconds| *seconds > 0),
        })
    } else if text("sub") == format!("client_id_{}", text("client_id"))
        && !text("client_id").is_empty()
    {
        Kind::Machine(text("client_id"))
    } else {
        Kind::Neither
    };
    Who {
        kind,
        token: Some(claims),
    }
}

fn scopes_of(claims: &Value) -> Vec<String> {
    let mut scopes = Vec::new();
    for name in ["scope", "scp"] {
        match &claims[name] {
            Value::String(text) => scopes.extend(text.split(' ').map(str::to_owned)),
            list => scopes.extend(texts(list)),
        }
    }
    scopes
}

/// A claim by its name, or by its path (RFC 6901) where that begins with a slash.
fn claim_at<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    let Some(path) = name.strip_prefix('/') else {
        return claims.get(name);
    };
    let mut value = claims;
    for name in path.split('/') {
        let name = name.replace("~1", "/").replace("~0", "~");
        value = value.as_object()?.get(&name)?;
    }
    Some(value)
}

fn claim_holds(claim: Option<&Value>, test: &Value) -> bool {
    let claim = claim.filter(|claim| !claim.is_null());
    if let Some(present) = test["present"].as_bool() {
        return claim.is_some() == present;
    }
    let is_one_of = |value: &Value| {
        test.as_array()
            .unwrap()
            .iter()
            .any(|one| is_same(one, value))
    };
    match claim {
        None => false,
        Some(Value::Array(values)) => values.iter().any(is_one_of),
        Some(value) => is_one_of(value),
    }
}

/// Whether two values are the same: numbers by what they are, if that is exact.
fn is_same(one: &Value, other: &Value) -> bool {
    const MOST: f64 = 9_007_199_254_740_991.0;
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let [one, other] = [one, other].map(|number| number.as_f64().unwrap());
            one.abs() <= MOST && other.abs() <= MOST && one == other
        }
        (one, other) => one == other && !one.is_object() && !one.is_array(),
    }
}

/// A duration in seconds.
fn seconds(duration: &Value) -> u64 {
    let text = duration.as_str().unwrap();
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    match unit {
        "s" => number,
        "m" => number * 60,
        "h" => number * 3_600,
        other => panic!("no unit: {other}"),
    }
}

fn named_scopes(asked: &Asked) -> Vec<String> {
    let mut scopes = Vec::new();
    for (name, value) in &asked.allow {
        if name == "scopes_any" || name == "scopes_all" {
            for scope in texts(value) {
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            }
        }
    }
    // The order says nothing.
    scopes.sort();
    scopes
}

/// A challenge with its scopes in order, which says nothing.
pub(crate) fn sorted_scopes(challenge: &str) -> String {
    let Some((before, rest)) = challenge.split_once("scope=\"") else {
        return challenge.to_owned();
    };
    let (scopes, after) = rest.split_once('"').unwrap();
    let mut scopes: Vec<&str> = scopes.split(' ').collect();
    scopes.sort_unstable();
    format!("{before}scope=\"{}\"{after}", scopes.join(" "))
}

fn longest_age(asked: &Asked) -> Option<u64> {
    let ages = asked
        .allow
        .iter()
        .filter(|(name, _)| name == "max_auth_age");
    ages.map(|(_, value)| seconds(value)).min()
}

fn forwarded(as_whom: &'static str, headers: &[(&str, String)]) -> Verdict {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    Verdict::Forwarded(as_whom, headers.collect())
}

fn answered(status: u32, code: &str, challenge: Option<String>) -> Verdict {
    Verdict::Answered(status, code.to_owned(), challenge)
}

fn bad_request() -> Verdict {
    answered(400, "invalid_request", None)
}
