//! What of a JWT is good, bad or unclear to an engine: by its form, by the clock, by the keys, by the resolver.

use crate::authgear::Said;
use crate::clients::{Presentation, Presented};
use crate::judge::{Case, Judgement};
use crate::knowledge::{Documents, Word, message};
use crate::projects::OTHER_KEY;
use crate::scenario::Weather;

impl<'w> Case<'w> {
    /// Until when the engine had got all documents when the request came.
    pub(crate) fn looked(&self) -> u64 {
        let running = &self.world.workers[self.worker].engines[&self.stream.engine];
        let looked = if running.shares {
            self.stream.looked.max(running.started)
        } else {
            self.from
        };
        // What came within the same millisecond came before or after.
        looked.saturating_sub(1)
    }

    pub(crate) fn documents(&self) -> &Documents {
        let running = &self.world.workers[self.worker].engines[&self.stream.engine];
        &self.world.documents[running.documents]
    }

    pub(crate) fn serves(&self) -> u64 {
        self.settings.refresh + self.settings.max_stale
    }

    /// Whether a token is in time at any moment of the request; `None`: on the brink, or the clock was set meanwhile.
    pub(crate) fn in_time(&self, presentation: &Presentation) -> Option<bool> {
        let in_time = |unix| presentation.token.is_in_time(unix, self.settings.skew);
        let first = in_time(self.stream.unix);
        if !self.stream.waited {
            return first;
        }
        let same = self.world.host.offset() == self.stream.offset;
        (same && first == in_time(self.world.host.unix()))
            .then_some(first)
            .flatten()
    }

    pub(crate) fn may_be_good(&self, presentation: &Presentation) -> bool {
        let token = &presentation.token;
        let serves = self.serves();
        presentation.meant
            && token.genuine
            && self.in_time(presentation) != Some(false)
            && (self.has_own_keys()
                || self
                    .documents()
                    .may_know(token.key, self.looked(), self.from, self.to, serves))
    }

    pub(crate) fn may_be_bad(&self, presentation: &Presentation) -> bool {
        let token = &presentation.token;
        !presentation.meant
            || !token.genuine
            || self.in_time(presentation) != Some(true)
            || self.may_not_know_its_key(presentation)
            || self.may_be_revoked(presentation)
    }

    /// Whether a token may be refused for this very reason.
    pub(crate) fn may_be_bad_for(&self, presentation: &Presentation, error: &str) -> bool {
        let token = &presentation.token;
        let untimely = self.in_time(presentation) != Some(true);
        match error {
            "expired" | "not_yet_valid" => untimely,
            "unknown_key" => self.may_not_know_its_key(presentation),
            "wrong_issuer" => !token.genuine || token.project != self.stream.judged_by(),
            "revoked" => self.may_be_revoked(presentation),
            "wrong_audience" => !presentation.meant,
            _ => !token.genuine,
        }
    }

    /// Whether the keys are those of the configuration, which none of its own tokens lacks.
    fn has_own_keys(&self) -> bool {
        self.stream.project == Some(1)
    }

    fn may_not_know_its_key(&self, presentation: &Presentation) -> bool {
        let (key, looked) = (presentation.token.key, self.looked());
        if self.has_own_keys() {
            return key != OTHER_KEY;
        }
        self.documents().may_not_know(key, looked, self.to)
    }

    pub(crate) fn may_lack_keys(&self, presentation: &Presentation) -> bool {
        if self.has_own_keys() {
            return false;
        }
        let (documents, looked) = (self.documents(), self.looked());
        let unknown = documents.may_not_know(presentation.token.key, looked, self.to);
        documents.may_be_none(looked, self.to, self.serves())
            || (unknown && documents.may_have_failed(looked, self.to))
    }

    pub(crate) fn words_on(
        &self,
        presentation: &Presentation,
    ) -> impl Iterator<Item = (u64, Word)> {
        let bearer = format!("Bearer {}", presentation.token.text);
        let history = self.knowledge.history(message(&bearer));
        let words = history.map(|history| history.between(0, self.to).collect::<Vec<_>>());
        words.unwrap_or_default().into_iter()
    }

    fn revoked_by_others(&self) -> usize {
        if self.running.shares {
            self.world.ledger.revoked
        } else {
            0
        }
    }

    /// No in so many words, or silence about a kind that was confirmed; and no yes between that and the request.
    pub(crate) fn may_be_revoked(&self, presentation: &Presentation) -> bool {
        let kind = &*presentation.token.kind;
        let confirms = self.knowledge.confirmed_kinds.contains(kind)
            || (self.running.shares && self.world.ledger.confirmed_kinds.contains(kind));
        let no = |word| matches!(word, Word::No { explicit } if explicit || confirms);
        let yes = |(at, word): &(u64, Word)| *at < self.from && matches!(word, Word::Yes(..));
        let since = self.words_on(presentation).filter(yes).last();
        let since = since.map_or(0, |(at, _)| at);
        let bearer = format!("Bearer {}", presentation.token.text);
        let mut others = self.told_to_others(&bearer);
        self.words_on(presentation)
            .any(|(at, word)| no(word) && at >= since)
            || others.any(|verdict| no(verdict.word) && verdict.at >= since)
    }

    pub(crate) fn may_be_unconfirmed(&self, presentation: &Presentation) -> bool {
        let mut words = self.words_on(presentation);
        // Another user than the token's is no confirmation either.
        presentation.meant && words.any(|(_, word)| matches!(word, Word::Odd))
    }

    /// A token that stands alone has not been disowned by the resolver in a way that the engine must know of.
    pub(crate) fn is_not_disowned(&self, presentation: &Presentation) -> Judgement {
        let before = self
            .words_on(presentation)
            .filter(|(at, _)| *at <= self.from);
        let words: Vec<(u64, Word)> = before.collect();
        let room = self.settings.cached_tokens;
        let bearer = format!("Bearer {}", presentation.token.text);
        let later = |at: u64| self.told_to_others(&bearer).any(|verdict| verdict.at > at);
        let verdicts =
            |(_, word): &&(u64, Word)| matches!(word, Word::Yes(..) | Word::No { explicit: true });
        if let Some((at, Word::No { .. })) = words.iter().rfind(verdicts)
            && !later(*at)
            && self.knowledge.revoked + self.revoked_by_others() <= room
        {
            return Err(format!("Authgear disowned the token at {at}"));
        }
        let last = words
            .iter()
            .rfind(|(_, word)| !matches!(word, Word::Outage | Word::Stopped));
        let cached = self.world.authgear.tokens.len() + 500 < room;
        // New keys empty its cache; another worker's reach it later, as another worker's answer may.
        if let Some((at, Word::Odd)) = last
            && cached
            && !later(*at)
            && self
                .documents()
                .last()
                .is_some_and(|document| document + 4_000 < *at)
        {
            return Err(format!(
                "Authgear answered without a verdict on the token at {at}"
            ));
        }
        Ok(())
    }

    /// A token with which the request was let in though Authgear has disowned it for so long that the engine, had it asked
    /// in time, would know; where it had to ask, and there was no trouble.
    pub(crate) fn let_in_late(&self) -> Option<&'w str> {
        let revalidate = self.settings.revalidate.filter(|_| !self.has_own_keys())?;
        let Presented::Token(presentation) = &self.stream.presented else {
            return None;
        };
        let token = &presentation.token;
        let (world, at) = (self.world, self.from);
        let (banned_at, _) = world.authgear.ban_of(token.identity.user, at)?;
        let unix = world.host.true_unix(at);
        let said = world
            .authgear
            .truth(&format!("Bearer {}", token.text), at, unix);
        let is_no = match said {
            Said::No => true,
            Said::Silence => self.knowledge.confirmed_kinds.contains(&*token.kind),
            Said::Yes(_) => false,
        };
        let late = at >= banned_at + revalidate && is_no;
        (late && self.is_asked_in_time(presentation, revalidate)).then(|| token.message())
    }

    /// Whether the engine asks about a token as often as it should, without trouble.
    fn is_asked_in_time(&self, presentation: &Presentation, revalidate: u64) -> bool {
        let (world, at) = (self.world, self.from);
        let cached = world.authgear.tokens.len() + 500 < self.settings.cached_tokens;
        // After a question that failed the next comes only after the same time again.
        let failed = |(failed_at, word)| {
            matches!(word, Word::Outage | Word::Stopped | Word::Odd) && at <= failed_at + revalidate
        };
        let failed = self.words_on(presentation).any(failed);
        let calm = world.scenario.weather != Weather::Stormy && !world.scenario.stalls && !failed;
        cached && calm && presentation.beside.is_none()
    }

    /// A token as which the request was refused though Authgear has said yes to it for so long that the engine, had it asked
    /// in time, would know.
    pub(crate) fn shut_out_late(&self) -> Option<&'w str> {
        let revalidate = self.settings.revalidate.filter(|_| !self.has_own_keys())?;
        let Presented::Token(presentation) = &self.stream.presented else {
            return None;
        };
        if !presentation.meant {
            return None;
        }
        let (world, at) = (self.world, self.from);
        let text = format!("Bearer {}", presentation.token.text);
        let yes = |at| {
            let said = world.authgear.truth(&text, at, world.host.true_unix(at));
            matches!(said, Said::Yes(_))
        };
        let since = at.saturating_sub(revalidate);
        let mut changes = world.changes.iter().copied();
        let late = yes(since)
            && yes(at)
            && !changes.any(|change| since <= change && change <= at && !yes(change));
        (late && self.is_asked_in_time(presentation, revalidate))
            .then(|| presentation.token.message())
    }
}
