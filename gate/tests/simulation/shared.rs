//! What the workers of a process share, as Envoy does it: the version of what is not there does not matter. And what may
//! befall it, since anybody who has the same `vm_id` can write there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use gate::jwks::{NotWritten, SharedData};

use crate::random::Random;

#[derive(Debug, Default)]
pub(crate) struct Process {
    data: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    versions: Cell<u32>,
    /// The next write is to find that another was faster.
    race: Cell<bool>,
    /// When something befell the answers of the resolver: whoever shares them may have lost some.
    harmed: RefCell<Vec<u64>>,
}

/// What the name of a record of the resolver's answers has in it, and no other.
const ANSWERS: &str = "\nsession ";
/// Where a record of theirs has its times: since when somebody asks, and when the question of the answer was sent.
const TIMES: [usize; 2] = [41, 49];
/// So far ahead is no clock; and no world lives so long that what is written now becomes true.
const TO_COME: u64 = 100_000_000;

impl SharedData for Process {
    fn read(&self, name: &str) -> Option<(Vec<u8>, u32)> {
        self.data.borrow().get(name).cloned()
    }

    fn write(&self, name: &str, bytes: &[u8], over: Option<u32>) -> Result<(), NotWritten> {
        let mut data = self.data.borrow_mut();
        let present = data.get(name).map(|(_, version)| *version);
        if over.is_some() && name.contains(ANSWERS) && self.race.take() {
            // The other has written the same record again, or what nobody can read.
            let same = data.get(name).map(|(bytes, _)| bytes.clone());
            self.versions.set(self.versions.get() + 1);
            let same = same.unwrap_or_default();
            data.insert(name.to_owned(), (same, self.versions.get()));
            return Err(NotWritten::Conflict);
        }
        if over.is_some() && present.is_some() && over != present {
            return Err(NotWritten::Conflict);
        }
        self.versions.set(self.versions.get() + 1);
        data.insert(name.to_owned(), (bytes.to_vec(), self.versions.get()));
        Ok(())
    }
}

impl Process {
    /// Something befalls one of the resolver's answers. What is written is never a good answer to another's question: who
    /// shares the `vm_id` could write that, too, and nothing helps against it.
    pub(crate) fn harm(&self, now: u64, random: &mut Random) -> Option<&'static str> {
        self.harmed.borrow_mut().push(now);
        if random.percent(25) {
            self.race.set(true);
            return Some("another worker is faster");
        }
        let mut data = self.data.borrow_mut();
        let names: Vec<String> = data
            .keys()
            .filter(|name| name.contains(ANSWERS))
            .cloned()
            .collect();
        if names.is_empty() {
            return None;
        }
        // Often the one that was written last: it is the one that matters.
        let last = names.iter().max_by_key(|name| data[*name].1);
        let name = if random.percent(60) {
            last.unwrap().clone()
        } else {
            random.of(&names).clone()
        };
        let mut bytes = data[&name].0.clone();
        let what = match random.below(6) {
            0 => {
                bytes = (0..random.below(5_000))
                    .map(|_| random.next() as u8)
                    .collect();
                "garbage"
            }
            1 => {
                bytes.truncate(random.index(bytes.len() + 1));
                "less of it"
            }
            2 => {
                bytes.clone_from(&data[random.of(&names)].0);
                "the record of another question"
            }
            3 => {
                let ahead = *random.of(&[TO_COME, u64::MAX - now]);
                set_times(&mut bytes, now + ahead, random);
                "times to come"
            }
            4 => {
                set_times(&mut bytes, *random.of(&[0, 1]), random);
                "times long past"
            }
            _ => {
                bytes.push(random.next() as u8);
                "more of it"
            }
        };
        self.versions.set(self.versions.get() + 1);
        data.insert(name, (bytes, self.versions.get()));
        Some(what)
    }

    /// Whether something befell the answers between two moments.
    pub(crate) fn was_harmed(&self, from: u64, to: u64) -> bool {
        let harmed = self.harmed.borrow();
        harmed.iter().any(|at| from <= *at && *at <= to)
    }

    /// Whether there is room for another answer for certain, or nearly so.
    pub(crate) fn has_room(&self) -> bool {
        let data = self.data.borrow();
        data.keys().filter(|name| name.contains(ANSWERS)).count() < 400
    }
}

fn set_times(bytes: &mut [u8], time: u64, random: &mut Random) {
    for offset in TIMES {
        if let Some(field) = bytes.get_mut(offset..offset + 8)
            && random.percent(70)
        {
            field.copy_from_slice(&time.to_le_bytes());
        }
    }
}
