//! A model of Authgear: what is true of users, sessions, tokens and keys, and since when. What the engine does is judged
//! by this, never by what the engine caches.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::jwt::Jwt;
use crate::policies;
use crate::projects::{ORIGINS, OTHER_KEY, asked_of};
use crate::random::Random;
use crate::requests::User as Facts;

/// A user as the resolver, or a token, describes one: which, and which edition of the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: usize,
    pub(crate) edition: usize,
}

#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) bans: Vec<(u64, u64)>,
    /// When each edition of the facts came up.
    editions: Vec<u64>,
}

/// A session, or an opaque access token.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) text: String,
    pub(crate) project: usize,
    pub(crate) user: usize,
    pub(crate) ended_at: Option<u64>,
    /// Authgear asks about a session one call at a time.
    pub(crate) locked_until: u64,
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) published_at: Option<u64>,
    pub(crate) withdrawn_at: Option<u64>,
}

/// What the resolver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Yes(Identity),
    /// `false`, in so many words.
    No,
    /// Nothing.
    Silence,
}

#[derive(Debug)]
pub(crate) struct Authgear {
    pub(crate) users: Vec<User>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) opaque: Vec<Session>,
    pub(crate) tokens: Vec<Jwt>,
    pub(crate) keys: Vec<Key>,
    by_text: HashMap<String, (Kind, usize)>,
    revoked: HashMap<usize, u64>,
    /// The key that signs.
    pub(crate) signing: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Session,
    Opaque,
    Token,
}

impl Authgear {
    pub(crate) fn new(users: usize, random: &mut Random) -> Self {
        let mut authgear = Self {
            users: Vec::new(),
            sessions: Vec::new(),
            opaque: Vec::new(),
            tokens: Vec::new(),
            keys: vec![Key {
                published_at: Some(0),
                withdrawn_at: None,
            }],
            by_text: HashMap::new(),
            revoked: HashMap::new(),
            signing: 0,
        };
        for _ in 0..users {
            authgear.add_user(0, random);
        }
        authgear
    }

    pub(crate) fn add_user(&mut self, now: u64, random: &mut Random) -> usize {
        let user = self.users.len();
        let id = format!("user-{user}");
        self.users.push(User {
            id,
            bans: Vec::new(),
            editions: vec![now],
        });
        for _ in 0..random.between(1, 3) {
            self.log_in(user, 0, random);
        }
        self.log_in(user, 1, random);
        user
    }

    pub(crate) fn log_in(&mut self, user: usize, project: usize, random: &mut Random) {
        for kind in [Kind::Session, Kind::Opaque] {
            let text = format!("{:016x}{:016x}", random.next(), random.next());
            let session = Session {
                text: text.clone(),
                project,
                user,
                ended_at: None,
                locked_until: 0,
            };
            let list = if kind == Kind::Session {
                &mut self.sessions
            } else {
                &mut self.opaque
            };
            self.by_text.insert(text, (kind, list.len()));
            list.push(session);
        }
    }

    /// Issues a token to a user who may have one.
    pub(crate) fn issue(
        &mut self,
        project: usize,
        user: usize,
        unix: u64,
        lifetime: u64,
        random: &mut Random,
    ) -> usize {
        let identity = Identity {
            user,
            edition: self.users[user].editions.len() - 1,
        };
        let machine = random.percent(25);
        let mut token = Jwt {
            text: String::new(),
            project,
            identity,
            key: if project == 0 {
                self.signing
            } else {
                OTHER_KEY
            },
            not_before: unix,
            expires: unix + lifetime,
            machine,
            audiences: policies::audiences(random, project, machine),
            genuine: true,
            claims: Rc::default(),
            kind: "".into(),
        };
        let kid = if project == 0 { self.signing } else { 0 };
        token.sign(
            ORIGINS[project],
            &format!("key-{kid}"),
            random.next(),
            &self.users,
        );
        let index = self.tokens.len();
        self.by_text
            .insert(token.message().to_owned(), (Kind::Token, index));
        self.tokens.push(token);
        index
    }

    /// Until then, or for ever.
    pub(crate) fn ban(&mut self, user: usize, now: u64, until: u64) {
        self.users[user].bans.push((now, until));
    }

    pub(crate) fn change_facts(&mut self, user: usize, now: u64) {
        self.users[user].editions.push(now);
    }

    pub(crate) fn end_session(&mut self, index: usize, opaque: bool, now: u64) {
        let list = if opaque {
            &mut self.opaque
        } else {
            &mut self.sessions
        };
        list[index].ended_at.get_or_insert(now);
    }

    pub(crate) fn revoke(&mut self, token: usize, now: u64) {
        self.revoked.entry(token).or_insert(now);
    }

    /// The ban of a user that holds at some moment, the longest.
    pub(crate) fn ban_of(&self, user: usize, at: u64) -> Option<(u64, u64)> {
        let bans = self.users[user].bans.iter().copied();
        bans.filter(|(since, until)| *since <= at && at < *until)
            .max_by_key(|(_, until)| *until)
    }

    fn identity(&self, user: usize, at: u64) -> Identity {
        let editions = &self.users[user].editions;
        let edition = editions.iter().rposition(|since| *since <= at).unwrap_or(0);
        Identity { user, edition }
    }

    /// What is true of a credential, as the resolver reads it out of `cookie` or `authorization`, at some moment.
    pub(crate) fn truth(&self, credential: &str, at: u64, unix: u64) -> Said {
        let mut known = false;
        let (project, credential) = asked_of(credential);
        let parts = parts(credential);
        // The first that lives counts, in this order.
        for name in ["app_session", "app_access_token", "session", ""] {
            for (_, text) in parts.iter().filter(|(part, _)| *part == name) {
                let Some((kind, index)) = self.find(project, text) else {
                    continue;
                };
                let (user, lives) = match kind {
                    Kind::Token => {
                        let token = &self.tokens[index];
                        let revoked = self.revoked.get(&index).is_some_and(|since| *since <= at);
                        let is_ours = !token.machine && token.audiences.contains(&ORIGINS[project]);
                        let lives = unix < token.expires && !revoked && is_ours;
                        (token.identity.user, lives)
                    }
                    Kind::Session | Kind::Opaque => {
                        let list = if kind == Kind::Session {
                            &self.sessions
                        } else {
                            &self.opaque
                        };
                        let session = &list[index];
                        (
                            session.user,
                            session.ended_at.is_none_or(|ended| at < ended),
                        )
                    }
                };
                known = true;
                match self.ban_of(user, at) {
                    None if lives => return Said::Yes(self.identity(user, at)),
                    // For a time: it is kept. For ever: it is revoked.
                    Some((_, until)) if lives && until < u64::MAX => return Said::No,
                    _ => {}
                }
            }
        }
        // On the cookie of a login it always says so.
        let login = credential
            .split("; ")
            .any(|part| part.starts_with("session="));
        // Of the ended and the unknown it says this or that.
        if login || known && credential.len().is_multiple_of(2) {
            Said::No
        } else {
            Said::Silence
        }
    }

    /// Whether nothing of this credential is made up.
    pub(crate) fn knows_all(&self, credential: &str) -> bool {
        let (project, credential) = asked_of(credential);
        parts(credential)
            .iter()
            .all(|(_, text)| self.find(project, text).is_some())
    }

    /// Whose credential this is.
    pub(crate) fn owner(&self, credential: &str) -> Option<usize> {
        let mut found = self.known_in(credential);
        found.next().map(|(kind, index)| match kind {
            Kind::Session => self.sessions[index].user,
            Kind::Opaque => self.opaque[index].user,
            Kind::Token => self.tokens[index].identity.user,
        })
    }

    /// Takes the lock of every session that is asked about. `false`: another call has locked one.
    pub(crate) fn lock(&mut self, credential: &str, now: u64, until: u64) -> bool {
        let found = self.known_in(credential);
        let asked = found
            .filter(|(kind, _)| *kind == Kind::Session)
            .map(|(_, index)| index);
        let asked: Vec<usize> = asked.collect();
        if asked
            .iter()
            .any(|index| now < self.sessions[*index].locked_until)
        {
            return false;
        }
        for index in asked {
            self.sessions[index].locked_until = until;
        }
        true
    }

    /// What the project that is asked knows of a credential.
    fn known_in<'c>(
        &self,
        credential: &'c str,
    ) -> impl Iterator<Item = (Kind, usize)> + use<'_, 'c> {
        let (project, credential) = asked_of(credential);
        let parts = parts(credential).into_iter();
        parts.filter_map(move |(_, text)| self.find(project, text))
    }

    fn find(&self, project: usize, text: &str) -> Option<(Kind, usize)> {
        let message = match text.rsplit_once('.') {
            Some((message, _)) => message,
            None => text,
        };
        let (kind, index) = self.by_text.get(message).copied()?;
        let whose = match kind {
            Kind::Session => self.sessions[index].project,
            Kind::Opaque => self.opaque[index].project,
            Kind::Token => self.tokens[index].project,
        };
        (whose == project).then_some((kind, index))
    }

    /// The keys that are published.
    pub(crate) fn published(&self) -> Vec<usize> {
        let keys = self.keys.iter().enumerate();
        let published = |key: &Key| key.published_at.is_some() && key.withdrawn_at.is_none();
        keys.filter(|(_, key)| published(key))
            .map(|(nth, _)| nth)
            .collect()
    }

    /// What is true of a user.
    pub(crate) fn facts(&self, identity: Identity) -> Facts {
        policies::facts(&self.users[identity.user].id, identity)
    }

    /// All that may ever have been true of whoever has a credential, the last first.
    pub(crate) fn identities(&self, credential: &str) -> Vec<Identity> {
        let found = self.known_in(credential);
        let users: BTreeSet<usize> = found
            .map(|(kind, index)| match kind {
                Kind::Session => self.sessions[index].user,
                Kind::Opaque => self.opaque[index].user,
                Kind::Token => self.tokens[index].identity.user,
            })
            .collect();
        let all = users.into_iter().flat_map(|user| {
            let editions = (0..self.users[user].editions.len()).rev();
            editions.map(move |edition| Identity { user, edition })
        });
        all.collect()
    }

    /// A user's headers, sorted.
    pub(crate) fn headers(&self, identity: Identity) -> Vec<(String, String)> {
        let facts = self.facts(identity);
        let at = facts.authenticated_at.map(u64::cast_signed);
        let mut user = testkit::User::new("")
            .authenticated_at(at)
            .verified(facts.verified)
            .can_reauthenticate(facts.can_reauthenticate);
        user.id = facts.id;
        user.anonymous = facts.anonymous;
        user.roles = facts.roles;
        user.headers()
    }

    /// Whom these headers name, if they are a user's to the letter.
    pub(crate) fn identify(&self, headers: &[(String, String)]) -> Option<Identity> {
        let value = |name: &str| {
            let mut named = headers.iter().filter(|(other, _)| other == name);
            named.next().map(|(_, value)| value.as_str())
        };
        let user = value("x-authgear-user-id")?
            .strip_prefix("user-")?
            .parse()
            .ok()?;
        let edition = value("x-authgear-user-roles")?
            .strip_prefix("edition-")?
            .split(',')
            .next()?
            .parse()
            .ok()?;
        let identity = Identity { user, edition };
        let exists = user < self.users.len() && self.headers(identity) == headers;
        exists.then_some(identity)
    }
}

/// The parts of a credential, by the cookie's name; a token in `authorization` has none.
fn parts(credential: &str) -> Vec<(&str, &str)> {
    match credential.strip_prefix("Bearer ") {
        Some(token) => vec![("", token)],
        None => credential
            .split("; ")
            .filter_map(|part| part.split_once('='))
            .collect(),
    }
}
