//! The requests that wait for one answer.

use std::collections::BTreeSet;

use crate::time::Ticks;

/// Requests, by the contexts of the host. They are kept as deadlines are, so that one kind of set is compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crowd(BTreeSet<(Ticks, u32)>);

impl Crowd {
    /// One request.
    pub(crate) fn of(request: u32) -> Self {
        let mut crowd = Self::default();
        crowd.insert(request);
        crowd
    }

    pub(crate) fn insert(&mut self, request: u32) {
        self.0.insert((Ticks::default(), request));
    }

    pub(crate) fn remove(&mut self, request: u32) {
        self.0.remove(&(Ticks::default(), request));
    }

    pub(crate) fn pop_first(&mut self) -> Option<u32> {
        self.0.pop_first().map(|(_, request)| request)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(_, request)| *request)
    }
}
