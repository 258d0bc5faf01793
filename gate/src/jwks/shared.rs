//! What the workers of one process share of a project's keys, so that one of them fetches for all.
//!
//! Workers share two records. The *fetch state* is small, is read at every tick, and is written with compare-and-swap: which
//! worker has the lease to fetch, how the last fetch ended, when the next is due. The *document* is what that fetch
//! returned; it is read only when the fetch state names another version of it. Anybody who shares the host's `vm_id` can
//! write both: a record that cannot be read counts as absent, and a document is parsed like one that was fetched. Nobody
//! can check whether it is genuine, so records are used only under a `vm_id` of the plugin's own; see [`NoSharedData`].

use std::fmt;

use crate::config::{KeyLocation, RemoteKeys};
use crate::endpoint::Endpoint;
use crate::time::Ticks;

/// Data that the workers of one process share (Proxy-Wasm ABI 0.2.1, "shared data").
pub trait SharedData: fmt::Debug {
    /// Whether anything is shared at all: without it nobody needs to look.
    fn is_shared(&self) -> bool {
        true
    }

    /// The bytes under this name, and their version. `None`: there are none, or the host shares no data.
    fn read(&self, name: &str) -> Option<(Vec<u8>, u32)>;

    /// Writes the bytes; if `over` is given, only over that version of them.
    ///
    /// # Errors
    /// Nothing was written.
    fn write(&self, name: &str, bytes: &[u8], over: Option<u32>) -> Result<(), NotWritten>;
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// Another worker has written since.
    Conflict,
    /// The host shares no data between workers: each works alone.
    Unsupported,
}

/// No data is shared: each worker works alone. For a plugin without a `vm_id`: under the empty one every plugin of the
/// process could write records, its own keys among them.
#[derive(Clone, Copy, Debug)]
pub struct NoSharedData;

impl SharedData for NoSharedData {
    fn is_shared(&self) -> bool {
        false
    }

    fn read(&self, _: &str) -> Option<(Vec<u8>, u32)> {
        None
    }

    fn write(&self, _: &str, _: &[u8], _: Option<u32>) -> Result<(), NotWritten> {
        Err(NotWritten::Unsupported)
    }
}

/// A worker, and the data that it shares with others.
#[derive(Clone, Copy)]
pub struct Shared<'s> {
    /// The shared data.
    pub data: &'s dyn SharedData,
    /// This worker's number; no other worker has the same.
    pub worker: u64,
}

/// The state of the fetches of a project's keys, for all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FetchState {
    /// How many fetches have ended, with or without success.
    pub(super) attempts: u64,
    /// The version of the document: it counts the documents that were fetched.
    pub(super) document_version: u64,
    /// When the document was fetched, or found to be the same.
    pub(super) fetched_at: Ticks,
    /// When the next fetch is due.
    pub(super) due_at: Ticks,
    /// When the next fetch is due after a failed one, if there are no usable keys and a request needs some.
    pub(super) needed_at: Ticks,
    /// How many fetches have failed since the last success.
    pub(super) failures: u64,
    /// When a token with an unknown `kid` last caused a fetch; 0: never.
    pub(super) unknown_at: Ticks,
    /// The worker that has the lease to fetch; 0: none.
    pub(super) lease_owner: u64,
    /// When the lease expires.
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

    /// The worker that fetches now, if any does. A lease that lasts longer than any worker takes one is ignored.
    pub(super) fn lease_owner(&self, now: Ticks, max_lease: std::time::Duration) -> Option<u64> {
        let is_valid = now < self.lease_expires_at && self.lease_expires_at <= now.after(max_lease);
        (self.lease_owner != 0 && is_valid).then_some(self.lease_owner)
    }
}

/// A version that no record has. Hosts compare versions only where there is a record: a write over this version succeeds
/// only where there is none.
pub(crate) const ABSENT: u32 = u32::MAX;

/// Reads and writes the records of a project's keys. Everything that decides which document is fetched is in their names.
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
        // None of the parts contains a line break.
        let name =
            |record| format!("authgear-filter\njwks 2\n{origin}\n{cluster}\n{location}\n{record}");
        Self {
            fetch_state: name("state"),
            document: name("document"),
        }
    }

    /// The fetch state and the version of its record. The first worker finds neither; a record that cannot be read has only a
    /// version.
    pub(super) fn read_state(&self, data: &dyn SharedData) -> (Option<FetchState>, Option<u32>) {
        match data.read(&self.fetch_state) {
            Some((bytes, version)) => (FetchState::read(&bytes), Some(version)),
            None => (None, None),
        }
    }

    /// Writes the fetch state over the version that was read or, where there was no record, only if there still is none.
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

    /// A process whose workers share data. As in Envoy, the version given is not compared where there is no record.
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
