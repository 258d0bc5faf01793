//! Whether what becomes of a request is right: each forward must be justified, and each refusal excused, by what is true at
//! Authgear and by what Authgear has answered. The rules are those of docs/behaviour.md.

use gate::engine::Reason;

use crate::authgear::{Identity, Said};
use crate::clients::{Presentation, Presented};
use crate::decision::{self, Verdict};
use crate::host::{Running, Stream};
use crate::jwt::Jwt;
use crate::knowledge::{Knowledge, Word};
use crate::policies;
use crate::rules::{Asked, OfWhom, Route};
use crate::scenario::Settings;
use crate::world::World;

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Unchecked,
    Anonymous,
    User(Identity),
    /// The one that acts in this user's place.
    Machine(usize),
    Refused(Reason),
}

/// Whom a credential authenticates.
#[derive(Clone, Copy, Debug)]
enum Who<'w> {
    User(Identity, By),
    Machine(&'w Jwt),
}

/// By what a user was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Token,
    Session,
}

/// A request between its arrival and its end.
pub(crate) struct Case<'w> {
    pub(crate) world: &'w World,
    pub(crate) stream: &'w Stream,
    pub(crate) settings: &'w Settings,
    pub(crate) knowledge: &'w Knowledge,
    pub(crate) running: &'w Running,
    pub(crate) worker: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// For one request, the resolver is asked so often at most: the call, again where its answer was lost, once more after a 500,
/// once without what the client chose.
const MOST_CALLS: usize = 8;

pub(crate) type Judgement = Result<(), String>;

pub(crate) fn require(holds: bool, otherwise: &str) -> Judgement {
    if holds {
        Ok(())
    } else {
        Err(otherwise.to_owned())
    }
}

impl<'w> Case<'w> {
    pub(crate) fn new(
        world: &'w World,
        worker: usize,
        stream: &'w Stream,
        running: &'w Running,
    ) -> Self {
        Self {
            world,
            stream,
            settings: &running.settings,
            knowledge: &running.knowledge[stream.judged_by()],
            running,
            worker,
            from: stream.arrived,
            to: world.host.ticks(),
        }
    }

    pub(crate) fn judge(&self, end: End) -> Judgement {
        self.is_asked_for_within_bounds()?;
        self.judge_end(end)
    }

    /// Who waits for the resolver alone has it asked so often at most.
    fn is_asked_for_within_bounds(&self) -> Judgement {
        let (Presented::Opaque(question) | Presented::Cookies(question)) = &self.stream.presented
        else {
            return Ok(());
        };
        let times = self.knowledge.asked.get(question);
        let since = |times: &Vec<u64>| times.iter().filter(|at| **at >= self.from).count();
        let asked = times.map_or(0, since);
        require(
            asked <= MOST_CALLS,
            &format!("Authgear was asked {asked} times"),
        )
    }

    fn judge_end(&self, end: End) -> Judgement {
        let ask = &self.stream.ask;
        if self.stream.faulted {
            return require(
                matches!(end, End::Refused(Reason::Internal)),
                "a fault lets nobody in",
            );
        }
        if ask.forged && self.settings.refuse_forged {
            let refused = matches!(end, End::Refused(Reason::ClientIdentityHeaders));
            return require(refused, "forged headers were to be refused");
        }
        let is_ambiguous = matches!(end, End::Refused(Reason::Path(_)));
        let asked = match &*self.stream.route {
            Route::AskedOrAmbiguous(..) | Route::Ambiguous(_) if is_ambiguous => return Ok(()),
            Route::Ambiguous(why) => return Err(format!("its {why} is ambiguous")),
            Route::Asked(asked) | Route::AskedOrAmbiguous(asked, _) => asked,
        };
        self.note(vec![format!("require {}", decision::require(asked))]);
        match (asked.of_whom, end) {
            (OfWhom::Nobody, End::Unchecked) => Ok(()),
            (OfWhom::Nobody, _) => Err("a public path was not forwarded unchecked".to_owned()),
            (_, End::Refused(Reason::NoProject)) if self.stream.project.is_none() => Ok(()),
            _ if self.stream.project.is_none() => Err("no project guards its host".to_owned()),
            (_, End::Unchecked) => Err("went on unchecked where somebody was asked for".to_owned()),
            (_, End::User(identity)) => {
                let by = self.user(identity)?;
                self.passes(asked, Who::User(identity, by), "user")
            }
            (_, End::Machine(user)) => {
                let token = self.machine()?;
                require(token.identity.user == user, "it is another machine's token")?;
                self.passes(asked, Who::Machine(token), "machine")
            }
            (OfWhom::Everybody, End::Anonymous) => {
                Err("nobody went on where a user is required".to_owned())
            }
            (OfWhom::WhoPresents, End::Anonymous) => self.anonymous(),
            (
                _,
                End::Refused(reason @ (Reason::Unmet(_) | Reason::NotAUser | Reason::NotAMachine)),
            ) => self.denied(asked, reason),
            (_, End::Refused(reason)) => self.refused(asked, reason),
        }
    }

    /// What the policy says to a user, or a machine, by what is true of them.
    fn verdict(&self, asked: &Asked, who: Who<'_>) -> (Verdict, Vec<String>) {
        // Whoever waits is judged by the clock at the end.
        let now = self.world.host.unix();
        let project = self.stream.judged_by();
        match (who, &self.stream.presented) {
            (Who::User(identity, By::Token), Presented::Token(presentation)) => {
                let user = self.world.authgear.facts(identity);
                let claims = &presentation.token.claims;
                policies::judge(asked, project, now, Some(&user), Some(claims))
            }
            (Who::User(identity, _), _) => {
                let user = self.world.authgear.facts(identity);
                policies::judge(asked, project, now, Some(&user), None)
            }
            (Who::Machine(token), _) => {
                policies::judge(asked, project, now, None, Some(&token.claims))
            }
        }
    }

    fn passes(&self, asked: &Asked, who: Who<'_>, as_whom: &str) -> Judgement {
        let (verdict, notes) = self.verdict(asked, who);
        self.note(notes);
        let passes = matches!(verdict, Verdict::Forwarded(whom, _) if whom == as_whom);
        require(passes, &format!("who it is is to be answered {verdict:?}"))
    }

    fn note(&self, notes: Vec<String>) {
        let mut met = self.world.met.borrow_mut();
        for note in notes {
            *met.entry(note).or_default() += 1;
        }
    }

    /// There is somebody whom the credential authenticates, and whom the policy denies this with these words.
    fn denied(&self, asked: &Asked, reason: Reason) -> Judgement {
        let presented = &self.stream.presented;
        let token = match presented {
            Presented::Token(presentation) => Some(presentation.token.identity),
            _ => None,
        };
        let questions = presented.questions();
        let others = questions.flat_map(|question| self.world.authgear.identities(question));
        let reply = gate::engine::Reply::new(reason, false);
        let words = Verdict::Answered(
            reply.status(),
            reply.code().to_owned(),
            self.stream.challenge.clone(),
        );
        let mut why = "nobody's credential was presented".to_owned();
        let machine = self.machine().ok().map(Who::Machine);
        let users = token.into_iter().chain(others).filter_map(|identity| {
            let by = self.user(identity);
            let by = by.map_err(|error| why = error).ok()?;
            Some(Who::User(identity, by))
        });
        for who in machine.into_iter().chain(users.collect::<Vec<_>>()) {
            let (verdict, notes) = self.verdict(asked, who);
            if verdict == words {
                self.note(notes);
                return Ok(());
            }
            why = format!("{who:?} is to be {verdict:?}");
        }
        Err(format!("denied by {reason}, {words:?}, but {why}"))
    }

    /// The token, if it authenticates a machine.
    fn machine(&self) -> Result<&'w Jwt, String> {
        let Presented::Token(presentation) = &self.stream.presented else {
            return Err("no token was presented".to_owned());
        };
        let is_machine = presentation.token.machine && self.may_be_good(presentation);
        require(is_machine, "the token is no machine's, or not good")?;
        require(
            presentation.fallback.is_none(),
            "the session beside a machine's token was not asked about",
        )?;
        Ok(&presentation.token)
    }

    /// Whether the credential authenticates this user, and by what.
    fn user(&self, identity: Identity) -> Result<By, String> {
        match &self.stream.presented {
            Presented::Opaque(question) | Presented::Cookies(question) => {
                self.session(question, identity).map(|()| By::Session)
            }
            Presented::Token(presentation) => self.token(presentation, identity),
            other => Err(format!("went on as a user with nothing good: {other}")),
        }
    }

    fn token(&self, presentation: &Presentation, identity: Identity) -> Result<By, String> {
        let token = &presentation.token;
        let mut why = "the token was not good, and nothing stood beside it".to_owned();
        if self.may_be_good(presentation) {
            let instead = if token.machine {
                &presentation.fallback
            } else {
                &presentation.beside
            };
            match instead {
                Some(question) => match self.session(question, identity) {
                    Ok(()) => return Ok(By::Session),
                    Err(error) => why = error,
                },
                None if token.machine => why = "it is a machine's token".to_owned(),
                None => {
                    self.is_not_disowned(presentation)?;
                    require(token.identity == identity, "it is another user's token")?;
                    return Ok(By::Token);
                }
            }
        } else if self.may_be_unconfirmed(presentation)
            && let Some(question) = &presentation.beside
            && self.session(question, identity).is_ok()
        {
            return Ok(By::Session);
        }
        if let Some(question) = &presentation.fallback
            && self.may_be_bad(presentation)
        {
            return self.session(question, identity).map(|()| By::Session);
        }
        Err(why)
    }

    /// Whether it was true at Authgear within the time that caching, an outage and a call may take together.
    pub(crate) fn is_true(&self, question: &str, identity: Identity) -> Judgement {
        let settings = self.settings;
        let stalled = self.world.workers[self.worker].stalled_since(self.from);
        let cached_for = settings.ttl + settings.stale_if_error + settings.session_patience();
        let since = self
            .from
            .saturating_sub(cached_for + stalled + self.world.host.longest_stall);
        let authgear = &self.world.authgear;
        let mut moments = self
            .world
            .changes
            .iter()
            .rev()
            .copied()
            .skip_while(|at| *at > self.to)
            .take_while(|at| *at >= since);
        let true_at = |at| {
            let said = authgear.truth(question, at, self.world.host.true_unix(at));
            said == Said::Yes(identity)
        };
        let held = true_at(since) || moments.any(true_at) || true_at(self.to);
        require(
            held,
            "it has not been true at Authgear for longer than anything grants",
        )
    }

    /// Nobody in particular went on where somebody may.
    fn anonymous(&self) -> Judgement {
        match &self.stream.presented {
            Presented::Nothing => Ok(()),
            Presented::Cookies(question) => self.no_session(question),
            Presented::Token(presentation) => {
                if self.machine().is_ok() {
                    return Ok(());
                }
                require(
                    !presentation.in_header,
                    "a bad token in a header is to be refused",
                )?;
                self.no_token(presentation)
            }
            other => Err(format!("went on as nobody with {other}")),
        }
    }

    fn refused(&self, asked: &Asked, reason: Reason) -> Judgement {
        if self.world.is_healthy() && !self.is_asked_about_otherwise() {
            // A second 500 in a row may be the session's lock, whatever the worker does.
            let refused = match reason {
                Reason::ResolverUnavailable(error) => error.status() != 500,
                Reason::CircuitOpen(_) | Reason::TimedOut => true,
                _ => false,
            };
            require(!refused, "Authgear is well, and nobody floods anything")?;
        }
        let presented = &self.stream.presented;
        match (reason, presented) {
            (Reason::NoCredential, Presented::Nothing) => require(
                asked.of_whom == OfWhom::Everybody,
                "nobody may be forwarded there",
            ),
            (Reason::Conflict(_), Presented::Conflict) => Ok(()),
            (Reason::Token(error, ..), Presented::Malformed) => {
                require(error.to_string() == "malformed", "it is malformed")
            }
            (Reason::Token(error, ..), Presented::Token(presentation)) => {
                let alone = presentation.fallback.is_none();
                require(alone, "a session beside the token was not asked about")?;
                require(
                    self.may_be_bad_for(presentation, &error.to_string()),
                    "the token is good",
                )
            }
            (Reason::InvalidOpaqueToken, Presented::Opaque(question))
            | (Reason::InvalidSession, Presented::Cookies(question)) => self.no_session(question),
            (Reason::InvalidSession, Presented::Token(presentation)) => self.no_token(presentation),
            (Reason::Token(error, ..), Presented::NotAccepted) => {
                require(error.to_string() == "not_accepted", "it is not accepted")
            }
            (Reason::KeysUnavailable(_), Presented::Token(presentation)) => {
                require(self.may_lack_keys(presentation), "there are keys")
            }
            (Reason::TokenUnconfirmed, Presented::Token(presentation)) => require(
                self.may_be_unconfirmed(presentation),
                "nothing is unclear about the token",
            ),
            (Reason::ResolverUnavailable(_), presented) => {
                let excused = self.has_failed(presented) || self.knowledge.breaker.may_be_open;
                require(
                    excused,
                    "Authgear has answered whatever it was asked for this request",
                )
            }
            (Reason::CircuitOpen(_), _) => require(
                self.knowledge.breaker.may_be_open,
                "the breaker has no reason to be open: no two checks and no five users failed",
            ),
            (Reason::TimedOut, presented) => self.timed_out(presented),
            (Reason::Overloaded, presented) => self.overloaded(presented),
            _ => Err(format!("refused by {reason} with {presented}")),
        }
    }

    /// Neither the token nor what stands beside it is good.
    fn no_token(&self, presentation: &Presentation) -> Judgement {
        let good = self.may_be_good(presentation) || self.may_be_unconfirmed(presentation);
        if let (true, Some(question)) = (good, &presentation.beside)
            && self.no_session(question).is_ok()
        {
            return Ok(());
        }
        require(
            self.may_be_bad(presentation)
                || (good && presentation.token.machine && presentation.fallback.is_some()),
            "the token is good",
        )?;
        match &presentation.fallback {
            Some(question) => self.no_session(question),
            None => Ok(()),
        }
    }

    fn timed_out(&self, presented: &Presented) -> Judgement {
        let waited = self.to - self.from;
        let token = matches!(presented, Presented::Token(_));
        let (session, keys) = (
            self.settings.session_patience(),
            self.settings.key_patience(),
        );
        let shortest = if token { session.min(keys) } else { session };
        require(waited >= shortest, "it did not wait as long as it may")?;
        // Authgear locks a session that is asked about in many ways at once, and answers 500.
        let calm = self.world.is_calm() && !self.has_failed(presented);
        let dead = token && self.waits_for_the_dead();
        require(
            !calm || dead,
            "Authgear answers soon, and no worker stalls or has died in a fetch",
        )
    }

    /// Whether a worker has died in the midst of a fetch whose lease has not expired when this request came.
    fn waits_for_the_dead(&self) -> bool {
        let lease = (self.settings.jwks_timeout + 1_000) * self.settings.key_calls();
        let mut deaths = self.world.host.died_fetching.iter();
        deaths.any(|died| died + lease >= self.from && *died <= self.to)
    }

    /// Whether a call for this request's sake has failed meanwhile.
    fn has_failed(&self, presented: &Presented) -> bool {
        let histories = presented
            .questions()
            .filter_map(|question| self.knowledge.history(question));
        let mut words = histories.flat_map(|history| history.between(self.from, self.to));
        words.any(|(_, word)| matches!(word, Word::Outage | Word::Odd | Word::Stopped))
    }

    /// Whether two questions have a session in common.
    pub(crate) fn is_beside(&self, question: &str, other: &str) -> bool {
        let parts = question.split("; ");
        let mut sessions = parts.filter_map(|part| part.split_once('='));
        sessions.any(|(_, session)| other.contains(session))
    }

    fn overloaded(&self, presented: &Presented) -> Judgement {
        let limit = self.settings.waiting_requests;
        let (keys, sessions) = self.world.waiting(self.worker, self.stream);
        let running = &self.world.workers[self.worker].engines[&self.stream.engine];
        let mut questions = presented.questions();
        // For one session there are so many, and those that were asked for and are not made yet.
        let one = questions.any(|question| {
            let of = |other: &str| self.is_beside(question, other);
            let waiting = self.world.workers[self.worker].streams.values();
            let waiting = waiting.filter(|stream| stream.presented.questions().any(of));
            let beside = self
                .world
                .calls_beside(self.worker, self.stream.engine, question);
            beside + waiting.count() >= 8
        });
        let calls = one || running.calls_of(self.stream.judged_by()) >= limit + 256;
        let keys = match presented {
            Presented::Token(_) => keys >= limit.div_ceil(8),
            _ => false,
        };
        let sessions = presented.questions().next().is_some() && (sessions >= limit || calls);
        // Who waited for keys first was answered at a moment that has passed.
        let excused = keys || sessions || self.stream.waited;
        require(excused, "there was room for one more to wait")
    }
}
