//! What workers that share have asked the resolver, and what it has answered each of them: one worker's answer may be
//! another's. Kept by the world, out of the calls that it makes and the answers that it hands over.

use std::collections::{BTreeSet, HashMap};

use crate::jwt::kind_of;
use crate::knowledge::{Word, message};

/// A question of some engine's.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) engine: u32,
    pub(crate) token: u32,
    /// The signature, of a token that is asked about: with another it is another question.
    signature: String,
    /// When it was sent.
    pub(crate) at: u64,
    /// When its answer was heard, and what that was.
    pub(crate) heard: Option<(u64, Word)>,
    /// Whether its answer is lost: the request that made the call has gone, or its engine.
    pub(crate) lost: bool,
}

/// A verdict: the answer to one engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) engine: u32,
    pub(crate) asked_at: u64,
    pub(crate) at: u64,
    pub(crate) word: Word,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    asked: HashMap<String, Vec<Asked>>,
    /// The kinds of tokens of which any engine got a yes to one that it asked about.
    pub(crate) confirmed_kinds: BTreeSet<String>,
    /// How many tokens any engine knows to be revoked, at the most.
    pub(crate) revoked: usize,
    /// Of each user, to how many credentials any engine got a yes.
    named: HashMap<usize, Vec<String>>,
}

/// A credential as answers are kept by it: a token is the same under each of its signatures.
pub(crate) fn subject(credential: &str) -> &str {
    if is_token(credential) {
        message(credential)
    } else {
        credential
    }
}

fn signature(credential: &str) -> &str {
    credential
        .strip_prefix(subject(credential))
        .unwrap_or_default()
}

pub(crate) fn is_token(credential: &str) -> bool {
    credential.contains('.') && credential.starts_with("Bearer ")
}

impl Ledger {
    pub(crate) fn ask(&mut self, credential: &str, engine: u32, token: u32, at: u64) {
        let asked = self
            .asked
            .entry(subject(credential).to_owned())
            .or_default();
        asked.push(Asked {
            engine,
            token,
            signature: signature(credential).to_owned(),
            at,
            heard: None,
            lost: false,
        });
    }

    /// These calls will not be answered.
    pub(crate) fn lose(&mut self, is_lost: impl Fn(&Asked) -> bool) {
        for asked in self.asked.values_mut().flatten() {
            asked.lost |= asked.heard.is_none() && is_lost(asked);
        }
    }

    pub(crate) fn hear(&mut self, credential: &str, token: u32, word: Word, now: u64) {
        let asked = self.asked.get_mut(subject(credential));
        let mut asked = asked.into_iter().flatten().rev();
        if let Some(asked) = asked.find(|asked| asked.token == token) {
            asked.heard = Some((now, word));
        }
        self.revoked += usize::from(matches!(word, Word::No { .. }) && is_token(credential));
        if let Word::Yes(identity, _) = word {
            if is_token(credential) {
                self.confirmed_kinds.insert(kind_of(message(credential)));
            }
            let named = self.named.entry(identity.user).or_default();
            if !named.iter().any(|other| other == credential) {
                named.push(credential.to_owned());
            }
        }
    }

    /// The questions about a credential, the first of them first.
    pub(crate) fn asked(&self, credential: &str) -> &[Asked] {
        self.asked
            .get(subject(credential))
            .map_or(&[], |asked| asked)
    }

    /// What was asked since, by anybody.
    pub(crate) fn asked_since(&self, since: u64) -> impl Iterator<Item = &str> {
        let recent = move |asked: &Vec<Asked>| asked.last().is_some_and(|last| last.at >= since);
        let asked = self.asked.iter();
        asked
            .filter(move |(_, asked)| recent(asked))
            .map(|(question, _)| question.as_str())
    }

    /// The last question of each engine's in just these words.
    pub(crate) fn last_asked(&self, credential: &str) -> Vec<&Asked> {
        let mut last: Vec<&Asked> = Vec::new();
        let asked = self.asked(credential).iter();
        for asked in asked.filter(|asked| asked.signature == signature(credential)) {
            last.retain(|other| other.engine != asked.engine);
            last.push(asked);
        }
        last
    }

    pub(crate) fn verdicts(&self, credential: &str) -> impl Iterator<Item = Verdict> {
        self.asked(credential).iter().filter_map(|asked| {
            let (at, word) = asked.heard?;
            let is_verdict = matches!(word, Word::Yes(..) | Word::No { .. });
            is_verdict.then_some(Verdict {
                engine: asked.engine,
                asked_at: asked.at,
                at,
                word,
            })
        })
    }

    pub(crate) fn was_good(&self, credential: &str) -> bool {
        self.verdicts(credential)
            .any(|verdict| matches!(verdict.word, Word::Yes(..)))
    }

    /// Of how many of a user's credentials there was a yes.
    pub(crate) fn named(&self, user: usize) -> usize {
        self.named.get(&user).map_or(0, Vec::len)
    }
}
