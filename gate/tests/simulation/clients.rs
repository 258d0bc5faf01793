//! Who comes, and what they present: users, crowds, strangers, attackers.

use std::fmt;
use std::rc::Rc;

use crate::authgear::{Authgear, Identity};
use crate::jwt::{Jwt, POOL};
use crate::policies::{self, OTHER_HOST};
use crate::projects::to_resolver;
use crate::random::Random;
use crate::requests::Request;
use crate::rules::{Asked, OfWhom};
use crate::scenario::{ISSUER, Scenario};

/// What a request asks for, and how the documentation reads what it presents.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) who: String,
    /// What it is for, as the evaluator of policies reads it.
    pub(crate) target: Request,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) presented: Presented,
    /// Whether it carries headers that only the gateway may set.
    pub(crate) forged: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Presented {
    Nothing,
    /// Credentials that contradict each other.
    Conflict,
    /// A token that nobody needs to be asked about.
    Malformed,
    /// A token in a header, of a kind that does not count.
    NotAccepted,
    /// An opaque token, as the resolver is asked about it.
    Opaque(String),
    /// The cookies that the resolver is asked about.
    Cookies(String),
    Token(Presentation),
}

/// A JWT, and what is asked where it does not stand alone.
#[derive(Clone, Debug)]
pub(crate) struct Presentation {
    pub(crate) token: Rc<Jwt>,
    pub(crate) in_header: bool,
    /// Whether it is the project's own, and for the audiences that are asked for.
    pub(crate) meant: bool,
    /// What the resolver is asked where the token is good.
    pub(crate) beside: Option<String>,
    /// What it is asked where the token is bad.
    pub(crate) fallback: Option<String>,
}

impl Presented {
    /// What the resolver may be asked for this request's sake.
    pub(crate) fn questions(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Opaque(question) | Self::Cookies(question) => (Some(question), None),
            Self::Token(token) => (token.beside.as_ref(), token.fallback.as_ref()),
            _ => (None, None),
        };
        [first, second].into_iter().flatten().map(String::as_str)
    }

    /// What of it counts where this is asked (docs/configuration.md, `accept` and `audiences`).
    pub(crate) fn counting(&self, asked: &Asked, project: usize) -> Self {
        if asked.of_whom == OfWhom::Nobody {
            return Self::Nothing;
        }
        let asks = |question: &String| to_resolver(project, question);
        match self {
            Self::Opaque(_) if !asked.session => Self::NotAccepted,
            Self::Opaque(question) => Self::Opaque(asks(question)),
            Self::Cookies(_) if !asked.session => Self::Nothing,
            Self::Cookies(question) => Self::Cookies(asks(question)),
            Self::Token(presentation) if !asked.jwt => match &presentation.fallback {
                _ if presentation.in_header => Self::NotAccepted,
                Some(question) if asked.session => Self::Cookies(asks(question)),
                _ => Self::Nothing,
            },
            Self::Token(presentation) => {
                let others = |question: &Option<String>| {
                    let question = question.as_ref().filter(|_| asked.session);
                    question.map(asks)
                };
                let Jwt {
                    project: issuer,
                    audiences,
                    ..
                } = &*presentation.token;
                Self::Token(Presentation {
                    meant: *issuer == project && policies::is_meant(asked, project, audiences),
                    beside: others(&presentation.beside),
                    fallback: others(&presentation.fallback),
                    ..presentation.clone()
                })
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for Presented {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opaque(question) | Self::Cookies(question) => {
                formatter.write_str(&short(question))
            }
            Self::Token(Presentation {
                token,
                in_header,
                meant,
                beside,
                fallback,
            }) => {
                let Identity { user, edition } = token.identity;
                let Jwt {
                    key,
                    not_before,
                    expires,
                    machine,
                    genuine,
                    ..
                } = token.as_ref();
                write!(
                    formatter,
                    "a JWT of user-{user} ({edition}) by key-{key}, from {not_before} to {expires}, machine: {machine}, \
                     genuine: {genuine}, in a header: {in_header}, meant for it: {meant}; {} beside it, {} instead",
                    beside.as_deref().map_or("nothing".to_owned(), short),
                    fallback.as_deref().map_or("nothing".to_owned(), short),
                )
            }
            other => write!(formatter, "{other:?}"),
        }
    }
}

/// A credential in a form that a person can distinguish: of each part, the end.
pub(crate) fn short(credential: &str) -> String {
    let parts = credential.split("; ").map(|part| {
        let (name, text) = part.split_once(['=', ' ']).unwrap_or(("", part));
        let end = text.len().saturating_sub(6);
        format!("{name} …{}", text.get(end..).unwrap_or_default())
    });
    parts.collect::<Vec<_>>().join(", ")
}

pub(crate) fn draw(
    authgear: &mut Authgear,
    scenario: &Scenario,
    unix: u64,
    random: &mut Random,
) -> Ask {
    let target = policies::target(random);
    // Mostly what is the host's own.
    let at_home = random.percent(85);
    let project = usize::from(scenario.tenants && (target.authority == OTHER_HOST) == at_home);
    let mut ask = if random.percent(scenario.strangers) {
        stranger(authgear, unix, random)
    } else {
        regular(authgear, project, unix, random)
    };
    ask.target = target;
    let Request {
        method,
        authority,
        path,
        headers,
        ..
    } = &ask.target;
    let pseudo = [
        (":method", method.as_bytes()),
        (":authority", authority.as_bytes()),
        (":path", &path.0),
    ];
    let headers = headers.iter().map(|(name, value)| (*name, &value.0[..]));
    let first: Vec<(Vec<u8>, Vec<u8>)> = pseudo
        .into_iter()
        .chain(headers)
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    ask.headers.splice(0..0, first);
    if random.percent(50) {
        ask.header("user-agent", "a browser");
    }
    if random.percent(10) {
        forge(&mut ask, random);
    }
    ask
}

/// Somebody whom Authgear knows, or knew.
fn regular(authgear: &mut Authgear, project: usize, unix: u64, random: &mut Random) -> Ask {
    let user = random.index(authgear.users.len());
    let mut ask = Ask::of(format!("user-{user}"));
    let session = session_of(authgear, project, user, random);
    match random.below(10) {
        0..4 => ask.cookies(&[("session", &session)]),
        4 => ask.bearer_opaque(&opaque_of(authgear, project, user, random)),
        5 => ask.cookies(&[("session", &session), ("app_session", &session)]),
        _ => {
            let token = token_of(authgear, project, user, unix, random);
            match random.below(4) {
                0 | 1 => ask.bearer(token, random.percent(30).then_some(&*session)),
                2 => ask.token_cookie(token, None),
                _ => ask.token_cookie(token, Some(&session)),
            }
        }
    }
    ask
}

fn session_of(authgear: &Authgear, project: usize, user: usize, random: &mut Random) -> String {
    let theirs = authgear
        .sessions
        .iter()
        .filter(|session| (session.project, session.user) == (project, user));
    let theirs: Vec<&str> = theirs.map(|session| &*session.text).collect();
    (*random.of(&theirs)).to_owned()
}

fn opaque_of(authgear: &Authgear, project: usize, user: usize, random: &mut Random) -> String {
    let theirs = authgear
        .opaque
        .iter()
        .filter(|token| (token.project, token.user) == (project, user));
    let theirs: Vec<&str> = theirs.map(|token| &*token.text).collect();
    (*random.of(&theirs)).to_owned()
}

/// A token of this user's: one that was issued before, or a new one.
fn token_of(
    authgear: &mut Authgear,
    project: usize,
    user: usize,
    unix: u64,
    random: &mut Random,
) -> Jwt {
    let theirs = authgear
        .tokens
        .iter()
        .rev()
        .filter(|token| (token.project, token.identity.user) == (project, user));
    let theirs: Vec<&Jwt> = theirs.take(4).collect();
    if !theirs.is_empty() && random.percent(90) {
        let token = *random.of(&theirs);
        return if random.percent(10) {
            token.twin()
        } else {
            token.clone()
        };
    }
    let lifetime = *random.of(&[2, 20, 300, 3_600]);
    let index = authgear.issue(project, user, unix, lifetime, random);
    authgear.tokens[index].clone()
}

/// Somebody who has nothing good, or one good thing and makes the most of it.
fn stranger(authgear: &mut Authgear, unix: u64, random: &mut Random) -> Ask {
    let mut ask = Ask::of("stranger".to_owned());
    let made_up = format!("{:032x}", random.next());
    match random.below(14) {
        0 => {}
        1 | 2 => ask.cookies(&[("session", &made_up)]),
        3 => ask.bearer_opaque(&made_up),
        4 => {
            ask.presented = Presented::Malformed;
            ask.header("authorization", "Bearer not!a!token");
        }
        5 => {
            // The first that Authgear can read counts, whoever has the others.
            let others = authgear.sessions[0].text.clone();
            ask.header("cookie", "session=a\\b; session=c\"d");
            ask.header(
                "cookie",
                &format!("session=\"{made_up}\"; session={others}"),
            );
            ask.presented = Presented::Cookies(format!("session={made_up}"));
        }
        6 => {
            ask.presented = Presented::Conflict;
            ask.header("authorization", &format!("Bearer {made_up}"));
            ask.header("authorization", "Bearer another");
        }
        7 | 8 => {
            // The first of all users, whom nobody bans, sprays.
            "user-0 with random cookies".clone_into(&mut ask.who);
            let session = authgear.sessions[0].text.clone();
            ask.cookies(&[("session", &session), ("app_session", &made_up)]);
        }
        kind => {
            let identity = Identity {
                user: random.index(authgear.users.len()),
                edition: 0,
            };
            let mut token = Jwt {
                text: String::new(),
                project: 0,
                identity,
                key: authgear.signing,
                not_before: unix.saturating_sub(100),
                expires: unix + 1_000,
                machine: false,
                audiences: policies::audiences(random, 0, false),
                genuine: true,
                claims: Rc::default(),
                kind: "".into(),
            };
            let mut kid = format!("key-{}", authgear.signing);
            let mut issuer = ISSUER;
            match kind {
                9 => token.expires = unix.saturating_sub(random.between(1, 90)),
                10 => token.not_before = unix + random.between(1, 90),
                11 => issuer = "https://evil.example.com",
                12 => kid = format!("made-up-{}", random.below(1_000)),
                _ => {}
            }
            token.genuine = kind < 11;
            if kind == 12 {
                token.key = POOL;
            }
            token.sign(issuer, &kid, random.next(), &authgear.users);
            if random.percent(70) {
                ask.bearer(token, None);
            } else {
                ask.token_cookie(token, random.percent(50).then_some(&*made_up));
            }
        }
    }
    ask
}

/// Adds what only the gateway may say.
fn forge(ask: &mut Ask, random: &mut Random) {
    let forged = [
        ("x-authgear-user-id", "user-0"),
        ("x-authgear-session-valid", "true"),
        ("x_authgear_user_id", "user-0"),
        ("x-authgear-user-roles", "edition-0"),
        ("x-authgear_anything", "admin"),
        ("connection", "close, x-authgear-user-id"),
    ];
    for _ in 0..random.between(1, 3) {
        let (name, value) = *random.of(&forged);
        ask.header(name, value);
    }
    ask.forged = true;
}

impl Ask {
    fn of(who: String) -> Self {
        Self {
            who,
            target: Request::default(),
            headers: Vec::new(),
            presented: Presented::Nothing,
            forged: false,
        }
    }

    fn header(&mut self, name: &str, value: &str) {
        self.headers.push((name.into(), value.into()));
    }

    fn cookies(&mut self, cookies: &[(&str, &str)]) {
        let line: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let line = line.join("; ");
        self.header("cookie", &format!("theme=dark; {line}"));
        self.presented = Presented::Cookies(line);
    }

    fn bearer_opaque(&mut self, token: &str) {
        let bearer = format!("Bearer {token}");
        self.header("authorization", &bearer);
        self.presented = Presented::Opaque(bearer);
    }

    /// A JWT in a header; cookies beside it do not count.
    fn bearer(&mut self, token: Jwt, session: Option<&str>) {
        self.header("authorization", &format!("Bearer {}", token.text));
        if let Some(session) = session {
            self.header("cookie", &format!("session={session}"));
        }
        self.presented = Presented::Token(Presentation {
            token: Rc::new(token),
            in_header: true,
            meant: true,
            beside: None,
            fallback: None,
        });
    }

    fn token_cookie(&mut self, token: Jwt, session: Option<&str>) {
        let text = &token.text;
        let (beside, fallback) = match session {
            Some(session) => {
                let fallback = format!("session={session}");
                let beside = format!("{fallback}; app_access_token={text}");
                self.header("cookie", &beside);
                (Some(beside), Some(fallback))
            }
            None => {
                self.header("cookie", &format!("app_access_token={text}"));
                (None, None)
            }
        };
        self.presented = Presented::Token(Presentation {
            token: Rc::new(token),
            in_header: false,
            meant: true,
            beside,
            fallback,
        });
    }
}
