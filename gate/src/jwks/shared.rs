//! What the workers of one process tell each other of a project's keys, so that one of them fetches for all.
//!
//! Two records lie in the data that workers share. The *notice* is small, is read at every tick, and is written with
//! compare-and-swap: who fetches, how the last fetch ended, when the next is due. The *document* is what that fetch
//! brought; it is read only when the notice says that there is another one. Both are bytes that were written by whoever
//! shares the host's `vm_id`: what cannot be read is as good as absent, and a document is parsed as one that was fetched.
//! Whether it is true cannot be told, so that records are used only under a `vm_id` of the plugin's own; see
//! [`NoSharedData`].

use std::fmt;

use crate::config::{KeyLocation, RemoteKeys};
use crate::endpoint::Endpoint;
use crate::time::Ticks;

/// Data that the workers of one process share (Proxy-Wasm ABI 0.2.1, "shared data").
pub trait SharedData: fmt::Debug {
    /// The bytes under this name, and their version. `None`: there are none, or the host shares nothing.
    fn read(&self, name: &str) -> Option<(Vec<u8>, u32)>;

    /// Writes; over this version of the bytes only, if one is given.
    ///
    /// # Errors
    /// Nothing was written.
    fn write(&self, name: &str, bytes: &[u8], over: Option<u32>) -> Result<(), NotWritten>;
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// Another worker was faster.
    Conflict,
    /// The host shares nothing between workers: each is on its own.
    Unsupported,
}

/// Nothing is shared: each worker is on its own. For a plugin without a `vm_id`: under the empty one every plugin of the
/// process could write records, keys of its own among them.
#[derive(Clone, Copy, Debug)]
pub struct NoSharedData;

impl SharedData for NoSharedData {
    fn read(&self, _: &str) -> Option<(Vec<u8>, u32)> {
        None
    }

    fn write(&self, _: &str, _: &[u8], _: Option<u32>) -> Result<(), NotWritten> {
        Err(NotWritten::Unsupported)
    }
}

/// A worker among those that share.
#[derive(Clone, Copy)]
pub struct Shared<'s> {
    /// What is shared.
    pub data: &'s dyn SharedData,
    /// This worker: a number that no other draws.
    pub worker: u64,
}

/// How things stand with a project's keys, for all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FetchState {
    /// How many fetches have ended, well or not.
    pub(super) attempts: u64,
    /// How many documents there have been.
    pub(super) document_version: u64,
    /// When the document was fetched, or found to be the same.
    pub(super) fetched_at: Ticks,
    /// When the next fetch is due.
    pub(super) due_at: Ticks,
    /// When the next is due after one that failed, if there are no keys that serve and a request needs some.
    pub(super) needed_at: Ticks,
    /// Fetches that failed since the last good one.
    pub(super) failures: u64,
    /// When a token with an unknown `kid` last caused a fetch; 0: never.
    pub(super) unknown_at: Ticks,
    /// Who fetches; 0: nobody.
    pub(super) lease_owner: u64,
    /// The lease expires then.
    pub(super) lease_expires_at: Ticks,
}

impl FetchState {
    const FIELDS: usize = 9;

    fn read(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let numbers: [[u8; 8]; Self::FIELDS] = numbers.try_into().ok()?;
        if !rest.is_empty() {
            return None;
        }
        let [
            attempts,
            document_version,
            fetched_at,
            due_at,
            needed_at,
            failures,
            unknown_at,
            lease_owner,
            lease_expires_at,
        ] = numbers.map(u64::from_le_bytes);
        Some(Self {
            attempts,
            document_version,
            fetched_at: Ticks::from_millis(fetched_at),
            due_at: Ticks::from_millis(due_at),
            needed_at: Ticks::from_millis(needed_at),
            failures,
            unknown_at: Ticks::from_millis(unknown_at),
            lease_owner,
            lease_expires_at: Ticks::from_millis(lease_expires_at),
        })
    }

    fn write(&self) -> Vec<u8> {
        [
            self.attempts,
            self.document_version,
            self.fetched_at.as_millis(),
            self.due_at.as_millis(),
            self.needed_at.as_millis(),
            self.failures,
            self.unknown_at.as_millis(),
            self.lease_owner,
            self.lease_expires_at.as_millis(),
        ]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
    }

    /// Who fetches now, if anybody does; a hold that lasts longer than any that is taken is nobody's.
    pub(super) fn lease_owner(&self, now: Ticks, longest: std::time::Duration) -> Option<u64> {
        let held = now < self.lease_expires_at && self.lease_expires_at <= now.after(longest);
        (self.lease_owner != 0 && held).then_some(self.lease_owner)
    }
}

/// The version of no record. Hosts compare versions only where there is a record, so that what is written over this
/// one is written only where there is none.
const ABSENT: u32 = u32::MAX;

/// Where the records of a project's keys lie: everything that decides which document is fetched is in the names.
#[derive(Debug)]
pub(super) struct SharedStore {
    fetch_state: String,
    document: String,
}

impl SharedStore {
    pub(super) fn new(endpoint: &Endpoint, remote: &RemoteKeys) -> Self {
        let origin = endpoint.origin();
        let cluster = &remote.cluster;
        let location = match &remote.location {
            KeyLocation::Path(path) => path.as_str(),
            KeyLocation::Discover => "discovery",
        };
        // A line break is in none of the parts.
        let name =
            |record| format!("authgear-filter\njwks 2\n{origin}\n{cluster}\n{location}\n{record}");
        Self {
            fetch_state: name("state"),
            document: name("document"),
        }
    }

    /// The notice and its version; the first worker finds neither, and one that cannot be read has only a version.
    pub(super) fn read_state(&self, data: &dyn SharedData) -> (Option<FetchState>, Option<u32>) {
        match data.read(&self.fetch_state) {
            Some((bytes, version)) => (FetchState::read(&bytes), Some(version)),
            None => (None, None),
        }
    }

    /// Writes the notice over the version that was read, or, where there was none, if there still is none.
    pub(super) fn write_state(
        &self,
        data: &dyn SharedData,
        fetch_state: &FetchState,
        over: Option<u32>,
    ) -> Result<(), NotWritten> {
        data.write(
            &self.fetch_state,
            &fetch_state.write(),
            over.or(Some(ABSENT)),
        )
    }

    /// The document and its version, which may be newer than the one that the fetch state names.
    pub(super) fn read_document(&self, data: &dyn SharedData) -> Option<(u64, Vec<u8>)> {
        let (bytes, _) = data.read(&self.document)?;
        let (document_version, document) = bytes.split_first_chunk()?;
        Some((u64::from_le_bytes(*document_version), document.to_vec()))
    }

    pub(super) fn write_document(
        &self,
        data: &dyn SharedData,
        document_version: u64,
        document: &[u8],
    ) {
        let bytes = [&document_version.to_le_bytes(), document].concat();
        // Only the owner of the lease writes it, and the fetch state follows only where it can be read back.
        let _ = data.write(&self.document, &bytes, None);
    }
}

/// Hosts for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;

    use super::{NoSharedData, NotWritten, Shared, SharedData};

    /// A host that shares nothing.
    pub(crate) const ALONE: Shared<'static> = Shared {
        data: &NoSharedData,
        worker: 1,
    };

    /// A process whose workers share: as Envoy does it, the version of what is not there does not matter.
    #[derive(Debug, Default)]
    pub(crate) struct Process {
        data: RefCell<HashMap<String, (Vec<u8>, u32)>>,
        versions: Cell<u32>,
    }

    impl Process {
        /// One of its workers.
        pub(crate) fn worker(&self, number: u64) -> Shared<'_> {
            Shared {
                data: self,
                worker: number,
            }
        }

        /// Overwrites every record, as whoever shares the host's `vm_id` can.
        pub(crate) fn overwrite(&self, bytes: &[u8]) {
            for (value, version) in self.data.borrow_mut().values_mut() {
                *value = bytes.to_vec();
                *version = self.next();
            }
        }

        fn next(&self) -> u32 {
            self.versions.set(self.versions.get() + 1);
            self.versions.get()
        }
    }

    impl SharedData for Process {
        fn read(&self, name: &str) -> Option<(Vec<u8>, u32)> {
            self.data.borrow().get(name).cloned()
        }

        fn write(&self, name: &str, bytes: &[u8], over: Option<u32>) -> Result<(), NotWritten> {
            let mut data = self.data.borrow_mut();
            let present = data.get(name).map(|(_, version)| *version);
            if over.is_some() && present.is_some() && over != present {
                return Err(NotWritten::Conflict);
            }
            data.insert(name.to_owned(), (bytes.to_vec(), self.next()));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_state_is_read_as_it_was_written_and_nothing_else_is_one() {
        let fetch_state = FetchState {
            attempts: 1,
            document_version: 2,
            fetched_at: Ticks::from_millis(3),
            due_at: Ticks::from_millis(4),
            needed_at: Ticks::from_millis(8),
            failures: 5,
            unknown_at: Ticks::from_millis(6),
            lease_owner: 7,
            lease_expires_at: Ticks::from_millis(u64::MAX),
        };
        let bytes = fetch_state.write();
        assert_eq!(FetchState::read(&bytes), Some(fetch_state));
        for wrong in [&bytes[..71], &[&bytes[..], &[0]].concat(), b""] {
            assert_eq!(FetchState::read(wrong), None);
        }
    }

    #[test]
    fn a_lease_without_end_is_nobodys() {
        let longest = std::time::Duration::from_secs(6);
        let now = Ticks::from_millis(1_000);
        let lease_expires_at = |millis| FetchState {
            lease_owner: 7,
            lease_expires_at: Ticks::from_millis(millis),
            ..FetchState::default()
        };
        assert_eq!(lease_expires_at(1_000).lease_owner(now, longest), None);
        assert_eq!(lease_expires_at(1_001).lease_owner(now, longest), Some(7));
        assert_eq!(lease_expires_at(7_000).lease_owner(now, longest), Some(7));
        assert_eq!(lease_expires_at(7_001).lease_owner(now, longest), None);
    }
}
