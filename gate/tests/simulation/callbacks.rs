//! The host's callbacks: what is reported to a worker, and what it does then.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use gate::callout::{Answer, DispatchError};
use gate::config::Config;
use gate::engine::{Action, Caller, Decision, Engine, Gate, OutgoingCall, Request, edit_headers};

use crate::clients::{Ask, Presented};
use crate::ends::{apply, borrowed, identity};
use crate::host::{Call, OpenCall, Question, Running, State, Stream};
use crate::judge::Case;
use crate::knowledge::{CHECK, Documents, Knowledge, Said, Whose, Word};
use crate::policies;
use crate::projects::{ORIGINS, to_resolver};
use crate::rules::Route;
use crate::scenario::{GRACE, Settings, Weather};
use crate::world::{Event, Heard, World};

impl World {
    /// A worker's root is configured, for the first time or anew.
    pub(crate) fn configure(&mut self, worker: usize, settings: Settings) {
        let text = settings.document().to_string();
        let config =
            Config::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let budget = self.workers[worker].budget.clone();
        let engine = Engine::new(Gate::new(config), budget);
        // Those that are found in different ways lie apart.
        let documents = if self.scenario.shared {
            usize::from(settings.discover)
        } else {
            self.documents.push(Documents::default());
            self.documents.len() - 1
        };
        self.configured += 1;
        let id = self.configured;
        let running = Running {
            engine,
            settings,
            knowledge: [Knowledge::default(), Knowledge::default()],
            number: u64::from(id),
            shares: self.scenario.shared,
            documents,
            started: self.host.ticks(),
            open_calls: BTreeMap::new(),
            asked: BTreeMap::new(),
            fetch_started: 0,
            routes: HashMap::new(),
        };
        let this = &mut self.workers[worker];
        this.engines.insert(id, running);
        this.current = id;
        self.with_engine(worker, id, |engine, env| engine.start(env));
    }

    pub(crate) fn request(&mut self, worker: usize, ask: Ask) {
        let ask = Rc::new(ask);
        self.streams += 1;
        let (id, running) = (self.streams, self.workers[worker].current);
        self.trace.line(self.host.ticks(), Some(worker), || {
            format!(
                "#{id} {} asks for {} {:?} with {}",
                ask.who, ask.target.method, ask.target.path, ask.presented
            )
        });
        let this = self.workers[worker].engines.get_mut(&running).unwrap();
        let policy = &this.settings.policy;
        let route = this.routes.entry(policies::key_of(&ask.target));
        let route = route.or_insert_with(|| Rc::new(policies::route(policy, &ask.target)));
        let route = Rc::clone(route);
        let project = policies::project_of(policy, &ask.target);
        let presented = match (&*route, project) {
            (Route::Asked(asked) | Route::AskedOrAmbiguous(asked, _), Some(project)) => {
                ask.presented.counting(asked, project)
            }
            _ => Presented::Nothing,
        };
        let knowledge = &mut this.knowledge[project.unwrap_or(0)];
        for question in presented.questions() {
            let times = knowledge.presented.entry(question.to_owned());
            times.or_default().push(self.host.ticks());
        }
        if let Presented::Token(presentation) = &presented
            && presentation.meant
        {
            let message = presentation.token.message().to_owned();
            knowledge.meant.insert(message, self.host.ticks());
        }
        let stream = Stream {
            engine: running,
            route,
            project,
            presented,
            challenge: None,
            ask: Rc::clone(&ask),
            state: State::Going,
            arrived: self.host.ticks(),
            unix: self.host.unix(),
            offset: self.host.offset(),
            looked: self.workers[worker].ticked_at,
            waited: false,
            faulted: false,
            unattended_since: None,
            call: None,
        };
        self.workers[worker].streams.insert(id, stream);
        let headers = borrowed(&ask.headers);
        let request = Request::new(&headers);
        let address = || Some("10.0.0.1".to_owned());
        let decision = self.with_engine(worker, running, |engine, env| {
            engine.handle_request(id, &request, &address, env)
        });
        let edits = decision.edits(&headers);
        match &decision {
            Decision::Forward(admission) if self.random.below(200) == 0 => {
                self.fault(worker, id, Some(admission));
            }
            Decision::Forward(admission) => {
                let end = self.forwarded(&ask, admission, edits);
                self.ended(worker, id, end);
            }
            Decision::Respond(reply) => self.answered(worker, id, reply),
            Decision::Wait(_) => {
                let this = &self.workers[worker];
                let case = Case::new(self, worker, &this.streams[&id], &this.engines[&running]);
                if let Presented::Opaque(question) | Presented::Cookies(question) =
                    &case.stream.presented
                    && !case.may_wait(question)
                {
                    self.violate(|| format!("#{id} waits for what Authgear said a moment ago"));
                }
                if !identity(&apply(&ask.headers, edits)).is_empty() {
                    self.violate(|| "a forged header would survive in the log".to_owned());
                }
            }
        }
        if let Decision::Wait(call) = decision {
            let stream = self.workers[worker].streams.get_mut(&id).unwrap();
            (stream.state, stream.waited) = (State::Waiting, true);
            if call.is_none() {
                self.check_lead(worker, id);
            }
            if let Some(call) = call {
                let token = self.call(worker, running, call, Caller::Request(id));
                if let Some(stream) = self.workers[worker].streams.get_mut(&id) {
                    stream.call = token;
                }
            }
            self.set_pace(worker);
            let running = &self.workers[worker].engines[&running].engine;
            if !running.is_paused(id) {
                self.violate(|| format!("#{id} waits, and its body is not held back"));
            }
        }
        self.close_answered(worker);
    }

    /// Makes a call. Its token, if the host could.
    fn call(
        &mut self,
        worker: usize,
        running: u32,
        call: OutgoingCall,
        caller: Caller,
    ) -> Option<u32> {
        let header = |name: &str| {
            let mut named = call.call.headers.iter().filter(|(other, _)| *other == name);
            named.next().map(|(_, value)| value.clone())
        };
        let authority = header(":authority").unwrap_or_default();
        let origin = format!("https://{authority}");
        let project = ORIGINS.iter().position(|other| *other == origin).unwrap();
        let question = match &*header(":path").unwrap_or_default() {
            "/oauth2/jwks" => Question::Keys,
            "/.well-known/openid-configuration" => Question::Discovery,
            _ => header("cookie")
                .or(header("authorization"))
                .map_or(Question::Check(project), |question| {
                    Question::Of(to_resolver(project, &question))
                }),
        };
        self.tokens += 1;
        let token = self.tokens;
        let now = self.host.ticks();
        self.trace.line(now, Some(worker), || {
            format!("   call {token} by {caller:?}: {question}")
        });
        self.check_call(worker, running, &question, caller);
        self.check_shared(running, worker, &question);
        self.check_asked_for(running, worker, &question);
        if let Question::Of(credential) = &question
            && self.workers[worker].engines[&running].shares
        {
            self.ledger.ask(credential, running, token, now);
        }
        let timeout = u64::try_from(call.call.timeout.as_millis()).unwrap();
        if self.scenario.weather != Weather::Fair && self.random.below(400) == 0 {
            self.trace.line(now, Some(worker), || {
                format!("   call {token} cannot be made")
            });
            self.heard(
                worker,
                running,
                token,
                &question,
                Heard::Word(Word::Outage),
                now,
            );
            self.with_engine(worker, running, |engine, env| {
                engine.handle_dispatched(call, Err(DispatchError::NotStarted), env)
            });
            return None;
        }
        let this = self.workers[worker].engines.get_mut(&running).unwrap();
        let open = OpenCall {
            question: question.clone(),
            until: now + timeout + GRACE,
        };
        this.open_calls.insert(token, open);
        if let Question::Of(credential) = &question {
            this.asked.insert(credential.clone(), token);
            this.knowledge[project]
                .asked
                .entry(credential.clone())
                .or_default()
                .push(now);
        }
        if question == Question::Discovery || !this.settings.discover {
            this.fetch_started = now;
        }
        let made = Call {
            worker,
            engine: running,
            caller,
            question,
            made_at: now,
            timeout,
        };
        self.calls.insert(token, made);
        self.with_engine(worker, running, |engine, env| {
            engine.handle_dispatched(call, Ok(token), env)
        });
        let at = now + self.random.below(20);
        self.push(at, Event::Serve { token });
        Some(token)
    }

    /// A call has ended. The answer to one that a stream has made is dropped where the stream has gone.
    pub(crate) fn response(&mut self, token: u32, answer: Option<&Answer>, heard: Heard) {
        let Some(call) = self.calls.remove(&token) else {
            return;
        };
        let Call {
            worker,
            engine: running,
            caller,
            question,
            made_at,
            ..
        } = call;
        let now = self.host.ticks();
        let this = &self.workers[worker];
        let gone = matches!(caller, Caller::Request(id) if !this.streams.contains_key(&id));
        let ours = this
            .engines
            .get(&running)
            .is_some_and(|this| this.engine.max_body_bytes(token).is_some());
        if gone || !ours {
            self.trace.line(now, Some(worker), || {
                format!("   answer {token} is dropped: {heard:?}")
            });
            return;
        }
        self.trace.line(now, Some(worker), || {
            format!("   answer {token}: {heard:?}")
        });
        self.workers[worker]
            .engines
            .get_mut(&running)
            .unwrap()
            .open_calls
            .remove(&token);
        self.heard(worker, running, token, &question, heard, made_at);
        self.with_engine(worker, running, |engine, env| {
            engine.handle_response(token, answer, caller, env)
        });
        self.perform(worker, running, caller);
        self.set_pace(worker);
        self.close_answered(worker);
    }

    /// Records what an engine is answered.
    fn heard(
        &mut self,
        worker: usize,
        running: u32,
        token: u32,
        question: &Question,
        heard: Heard,
        made_at: u64,
    ) {
        let now = self.host.ticks();
        let authgear = &self.authgear;
        let project = question.project();
        let this = self.workers[worker].engines.get_mut(&running).unwrap();
        let said = |word| Said {
            asked_at: made_at,
            at: now,
            word,
        };
        match (question, heard) {
            (Question::Check(_), Heard::Word(word)) => {
                this.knowledge[project].record(CHECK, said(word), Whose::default());
            }
            (Question::Of(credential), Heard::Word(word)) => {
                let whose = Whose {
                    user: authgear.owner(credential),
                    was_good: this.shares && self.ledger.was_good(credential),
                };
                this.knowledge[project].record(credential, said(word), whose);
                if this.shares {
                    self.ledger.hear(credential, token, word, now);
                }
            }
            (_, Heard::Keys(keys)) => {
                let started = if this.settings.discover {
                    this.fetch_started
                } else {
                    made_at
                };
                let documents = &mut self.documents[this.documents];
                let in_time = now < made_at + this.settings.jwks_timeout + 1_000;
                let sure = in_time && documents.is_quiet_since(started);
                documents.record(keys, this.settings.refresh, sure, now);
            }
            (_, Heard::Word(_)) => self.documents[this.documents].failed(now),
            (_, Heard::Discovered) => {}
        }
    }

    fn perform(&mut self, worker: usize, running: u32, caller: Caller) {
        loop {
            let action = self.with_engine(worker, running, |engine, env| {
                engine.poll_action(caller, env)
            });
            let Some(action) = action else {
                break;
            };
            self.workers[worker].settled += 1;
            self.check_budget(worker);
            match action {
                Action::Resume(id, admission) => {
                    let Some(ask) = self.goes_on(worker, id) else {
                        continue;
                    };
                    let headers = borrowed(&ask.headers);
                    let edits = edit_headers(&headers, &admission);
                    if self.random.below(200) == 0 {
                        self.fault(worker, id, Some(&admission));
                        continue;
                    }
                    let end = self.forwarded(&ask, &admission, edits);
                    self.ended(worker, id, end);
                }
                Action::Respond(id, reply) => {
                    if self.goes_on(worker, id).is_some() {
                        self.answered(worker, id, &reply);
                    }
                }
                Action::Call(call) => {
                    if caller != Caller::Root {
                        self.violate(|| "a call was asked for in a stream's callback".to_owned());
                    }
                    self.call(worker, running, call, Caller::Root);
                }
            }
        }
    }

    /// A request that is resumed must be one that waits.
    fn goes_on(&mut self, worker: usize, id: u32) -> Option<Rc<Ask>> {
        let stream = self.workers[worker].streams.get(&id);
        let waits = stream.filter(|stream| stream.state == State::Waiting);
        let ask = waits.map(|stream| Rc::clone(&stream.ask));
        if ask.is_none() {
            self.violate(|| format!("#{id} does not wait, and is resumed"));
        }
        ask
    }

    pub(crate) fn tick(&mut self, worker: usize) {
        let this = &mut self.workers[worker];
        this.budget.renew();
        this.settled = 0;
        let needed = |id: &u32| {
            *id == this.current || this.streams.values().any(|stream| stream.engine == *id)
        };
        let (needed, ended): (Vec<u32>, Vec<u32>) = this.engines.keys().partition(|id| needed(id));
        for id in ended {
            self.with_engine(worker, id, |engine, env| engine.end(env));
            self.ledger.lose(|asked| asked.engine == id);
            self.workers[worker].engines.remove(&id);
        }
        let now = self.host.ticks();
        for id in needed {
            let this = &mut self.workers[worker];
            let in_use = id == this.current;
            this.engines
                .get_mut(&id)
                .unwrap()
                .open_calls
                .retain(|_, call| now < call.until);
            self.with_engine(worker, id, |engine, env| engine.handle_timeout(in_use, env));
            self.perform(worker, id, Caller::Root);
            self.check_levels(worker, id);
        }
        self.workers[worker].ticked_at = now;
        self.close_answered(worker);
        self.check_waiting(worker);
        self.workers[worker].hurried = self.is_due(worker);
        self.set_timer(worker);
    }

    fn is_due(&self, worker: usize) -> bool {
        let now = self.now();
        self.workers[worker]
            .engines
            .values()
            .any(|running| running.engine.is_due(now))
    }

    fn set_pace(&mut self, worker: usize) {
        if self.is_due(worker) && !self.workers[worker].hurried {
            self.workers[worker].hurried = true;
            self.set_timer(worker);
        }
    }

    pub(crate) fn set_timer(&mut self, worker: usize) {
        let late = if self.scenario.stalls {
            self.random.below(20)
        } else {
            self.random.below(2)
        };
        let this = &mut self.workers[worker];
        this.timer += 1;
        let (timer, every) = (this.timer, if this.hurried { 1 } else { 100 });
        let at = self.host.ticks() + every + late;
        self.push(at, Event::Tick { worker, timer });
    }
}
