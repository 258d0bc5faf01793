//! A JWKS document (RFC 7517 §5), read key by key: a key that cannot be used does not affect the others.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::json::is_object;
use super::key::KeyError;
use super::{Algorithm, VerifyingKey};

/// The usable keys of a document; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySet {
    keys: HashMap<String, Vec<Rc<VerifyingKey>>>,
    count: usize,
}

/// Why a set has no key for a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// No key has this ID.
    UnknownKeyId,
    /// None that has it suits the algorithm.
    KeyMismatch,
}

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DroppedKey {
    /// Its index in `keys`.
    pub index: usize,
    /// What is wrong with it.
    pub error: KeyError,
}

/// Why a document gives no keys.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum DocumentError {
    /// Not JSON, or not `{"keys": […]}`.
    #[error("is not a JWKS document ({0})")]
    Malformed(String),
    /// More keys than the bound.
    #[error("has more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// `keys` is empty.
    #[error("has no keys")]
    Empty,
    /// All keys were dropped.
    #[error("has no usable key: {}", Dropped(.0))]
    NoneUsable(Vec<DroppedKey>),
}

const MAX_KEYS: usize = 10_000;

#[derive(Deserialize)]
struct RawKeySet<'d> {
    #[serde(borrow)]
    keys: Vec<&'d RawValue>,
}

impl KeySet {
    /// Reads a document: the usable keys, and why the others were dropped.
    ///
    /// # Errors
    /// The document gives no usable key.
    pub(crate) fn parse(document: &[u8]) -> Result<(Self, Vec<DroppedKey>), DocumentError> {
        let text = std::str::from_utf8(document)
            .map_err(|_| DocumentError::Malformed("not UTF-8".to_owned()))?;
        if !is_object(text) {
            return Err(DocumentError::Malformed("not an object".to_owned()));
        }
        let raw: RawKeySet<'_> = serde_json::from_str(text).map_err(|error| {
            DocumentError::Malformed(error.to_string().chars().take(200).collect())
        })?;
        if raw.keys.is_empty() {
            return Err(DocumentError::Empty);
        }
        if raw.keys.len() > MAX_KEYS {
            return Err(DocumentError::TooManyKeys);
        }
        let mut set = Self {
            keys: HashMap::new(),
            count: 0,
        };
        let mut dropped = Vec::new();
        for (index, jwk) in raw.keys.iter().enumerate() {
            if let Err(error) = set.add(jwk.get()) {
                dropped.push(DroppedKey { index, error });
            }
        }
        if set.count == 0 {
            return Err(DocumentError::NoneUsable(dropped));
        }
        Ok((set, dropped))
    }

    /// The key of this ID for this algorithm.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn select(
        &self,
        key_id: &str,
        algorithm: Algorithm,
    ) -> Result<&Rc<VerifyingKey>, NoKey> {
        let keys = self.keys.get(key_id).ok_or(NoKey::UnknownKeyId)?;
        let mut suitable = keys.iter().filter(|key| key.suits(algorithm));
        suitable.next().ok_or(NoKey::KeyMismatch)
    }

    /// How many keys there are.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn add(&mut self, jwk: &str) -> Result<(), KeyError> {
        let (key_id, key) = VerifyingKey::from_jwk(jwk)?;
        let same_id = self.keys.entry(key_id).or_default();
        if same_id.iter().any(|other| other.has_algorithm_of(&key)) {
            return Err(KeyError::Duplicate);
        }
        same_id.push(Rc::new(key));
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

/// Dropped keys as a person reads them, the first few of them.
pub(crate) struct Dropped<'d>(pub(crate) &'d [DroppedKey]);

impl fmt::Display for Dropped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_SHOWN_KEYS: usize = 5;
        for (nth, key) in self.0.iter().take(MAX_SHOWN_KEYS).enumerate() {
            let separator = if nth > 0 { ", " } else { "" };
            write!(formatter, "{separator}keys[{}] {}", key.index, key.error)?;
        }
        let more = self.0.len().saturating_sub(MAX_SHOWN_KEYS);
        if more > 0 {
            write!(formatter, ", and {more} more")?;
        }
        Ok(())
    }
}
