//! What changes at Authgear and at the gateway.

use gate::engine::Budget;

use crate::authgear::Key;
use crate::jwt::POOL;
use crate::scenario::{Settings, Weather};
use crate::upstream::Storm;
use crate::world::{Event, World};

impl World {
    /// Something changes at Authgear.
    pub(crate) fn change(&mut self) {
        let now = self.host.ticks();
        let users = self.authgear.users.len();
        let user = self.random.index(users);
        let note = |world: &Self, text: String| world.trace.line(now, None, || text);
        let restless = self.scenario.restless && self.random.percent(90);
        let which = if restless { 1 } else { self.random.below(9) };
        match which {
            // The first user stays: an attack on somebody needs somebody.
            0 if user > 0 => {
                let for_a_time = self.random.percent(50);
                let until = if for_a_time {
                    now + self.random.between(500, 10_000)
                } else {
                    u64::MAX
                };
                self.authgear.ban(user, now, until);
                note(self, format!("Authgear bans user-{user} until {until}"));
                if for_a_time {
                    self.note_change(until);
                } else if users < 40 {
                    self.authgear.add_user(now, &mut self.random);
                }
            }
            1 => self.authgear.change_facts(user, now),
            2 => {
                let project = usize::from(self.random.percent(25));
                self.authgear.log_in(user, project, &mut self.random);
            }
            3 if !self.authgear.tokens.is_empty() => {
                let token = self.random.index(self.authgear.tokens.len());
                self.authgear.revoke(token, now);
                note(self, format!("Authgear revokes token {token}"));
            }
            4 | 5 => {
                let opaque = self.random.percent(30);
                let index = self.random.index(self.authgear.sessions.len());
                if self.authgear.sessions[index].user > 0 {
                    self.authgear.end_session(index, opaque, now);
                    note(
                        self,
                        format!("Authgear ends session {index}, opaque: {opaque}"),
                    );
                }
            }
            6 => self.rotate(now),
            _ if self.scenario.weather == Weather::Stormy && !self.ending => {
                self.storm = match self.storm {
                    Some(_) => None,
                    None => Some(Storm::draw(&mut self.random)),
                };
                note(self, format!("the weather changes: {:?}", self.storm));
            }
            _ => {}
        }
        self.note_change(now);
        let most = if self.scenario.restless { 300 } else { 6_000 };
        let pause = self.random.between(most / 60, most);
        self.push(now + pause, Event::Change);
    }

    /// In the order of time: the end of a ban is known when it begins.
    fn note_change(&mut self, at: u64) {
        let place = self.changes.partition_point(|other| *other <= at);
        self.changes.insert(place, at);
    }

    fn rotate(&mut self, now: u64) {
        let keys = &mut self.authgear.keys;
        let last = keys.len() - 1;
        if self.authgear.signing < last {
            // It was published before: now it signs.
            self.authgear.signing = last;
        } else if self.random.percent(30) && last > 0 {
            keys[last - 1].withdrawn_at.get_or_insert(now);
        } else if keys.len() < POOL {
            keys.push(Key {
                published_at: Some(now),
                withdrawn_at: None,
            });
            if self.scenario.hard_rotations {
                keys[last].withdrawn_at.get_or_insert(now);
                self.authgear.signing = last + 1;
            }
        }
        let (signing, published) = (self.authgear.signing, self.authgear.published());
        self.trace.line(now, None, || {
            format!("Authgear signs with key {signing}, and publishes {published:?}")
        });
    }

    /// A worker dies, and another starts: its clients' connections break, and its calls are not answered.
    fn die(&mut self, worker: usize) {
        self.trace.line(self.host.ticks(), Some(worker), || {
            "the worker dies".to_owned()
        });
        let settings = {
            let this = &self.workers[worker];
            this.engines[&this.current].settings.clone()
        };
        let engines: Vec<u32> = self.workers[worker].engines.keys().copied().collect();
        if engines
            .iter()
            .any(|engine| self.is_fetching(worker, *engine))
        {
            let now = self.host.ticks();
            self.host.died_fetching.push(now);
        }
        let this = &mut self.workers[worker];
        this.streams.clear();
        this.engines.clear();
        this.budget = Budget::default();
        (this.hurried, this.settled) = (false, 0);
        self.configure(worker, settings);
        self.set_timer(worker);
    }

    /// Something changes at the gateway.
    pub(crate) fn upset(&mut self) {
        let now = self.host.ticks();
        let worker = self.random.index(self.workers.len());
        match self.random.below(5) {
            3 if self.scenario.harm && self.scenario.shared => {
                if let Some(what) = self.host.process.harm(now, &mut self.random) {
                    self.trace
                        .line(now, None, || format!("a shared answer becomes {what}"));
                }
            }
            4 if self.scenario.deaths && !self.ending => self.die(worker),
            0 if self.scenario.stalls && !self.ending => {
                let pause = *self.random.of(&[30, 300, 3_000]);
                self.trace.line(now, Some(worker), || {
                    format!("the worker stalls for {pause} ms")
                });
                self.workers[worker].stall(now, pause);
                self.host.longest_stall = self.host.longest_stall.max(pause);
            }
            1 if self.scenario.clock_steps => {
                let offset = *self.random.of(&[-3_600, -40, -1, 0, 0, 1, 40, 3_600]);
                self.trace.line(now, None, || {
                    format!("the wall clock is set off by {offset} s")
                });
                self.host.set_clock(offset);
            }
            2 if self.scenario.reloads && !self.ending => {
                // Who shares holds each other to the same timeout: a lease that lasts longer is nobody's.
                let this = &self.workers[worker];
                let jwks_timeout = this.engines[&this.current].settings.jwks_timeout;
                let settings = Settings {
                    jwks_timeout,
                    ..Settings::draw(self.scenario.tenants, &mut self.random)
                };
                self.trace.line(now, Some(worker), || {
                    format!("the worker is configured anew: {settings:?}")
                });
                self.configure(worker, settings);
            }
            _ => {}
        }
        let most = if self.scenario.harm { 3_000 } else { 15_000 };
        let pause = self.random.between(300, most);
        self.push(now + pause, Event::Upset);
    }
}
