//! The claims of an access token (RFC 9068 §2.2, and Authgear's own).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use crate::jose::json::present;

/// The claims, of the right JSON types, not yet judged. A claim that is given twice is an error of the parser.
#[derive(Deserialize)]
pub(super) struct Claims<'t> {
    #[serde(borrow)]
    pub(super) iss: Cow<'t, str>,
    #[serde(borrow)]
    pub(super) aud: Texts<'t>,
    #[serde(borrow)]
    pub(super) sub: Cow<'t, str>,
    pub(super) exp: NumericDate,
    #[serde(default, deserialize_with = "present")]
    pub(super) nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    pub(super) iat: Option<NumericDate>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) client_id: Option<Cow<'t, str>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) cnf: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    pub(super) auth_time: Option<PastDate>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) amr: Option<List<'t>>,
    #[serde(rename = "https://authgear.com/claims/user/is_anonymous")]
    #[serde(default, deserialize_with = "present")]
    pub(super) is_anonymous: Option<bool>,
    #[serde(rename = "https://authgear.com/claims/user/is_verified")]
    #[serde(default, deserialize_with = "present")]
    pub(super) is_verified: Option<bool>,
    #[serde(rename = "https://authgear.com/claims/user/can_reauthenticate")]
    #[serde(default, deserialize_with = "present")]
    pub(super) can_reauthenticate: Option<bool>,
    #[serde(rename = "https://authgear.com/claims/user/roles")]
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) roles: Option<List<'t>>,
}

/// A date in Unix seconds (RFC 7519 §2), from 1970 to 9999; fractions are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NumericDate(pub(super) u64);

impl NumericDate {
    const MAX_UNIX_SECONDS: u64 = 253_402_300_799;
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        // Exact: a double represents every whole number of this range.
        if (0.0..=Self::MAX_UNIX_SECONDS as f64).contains(&seconds) {
            Ok(Self(seconds as u64))
        } else {
            Err(D::Error::custom("a date out of range"))
        }
    }
}

/// As [`NumericDate`], but a date before 1970 counts as unknown: Authgear writes an unknown `auth_time` like that.
#[derive(Clone, Copy, Debug)]
pub(super) struct PastDate(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for PastDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if seconds <= 0.0 {
            Ok(Self(None))
        } else if seconds <= NumericDate::MAX_UNIX_SECONDS as f64 && seconds.fract() == 0.0 {
            Ok(Self(Some(seconds as u64)))
        } else {
            Err(D::Error::custom("a date out of range"))
        }
    }
}

/// An array of strings.
#[derive(Debug, Default)]
pub(super) struct List<'t>(pub(super) Vec<Cow<'t, str>>);

/// A string, or an array of strings (RFC 7519 §4.1.3).
#[derive(Debug)]
pub(super) struct Texts<'t>(pub(super) Vec<Cow<'t, str>>);

impl<'de: 't, 't> Deserialize<'de> for List<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_seq(TextsVisitor)
            .map(|texts| Self(texts.0))
    }
}

impl<'de: 't, 't> Deserialize<'de> for Texts<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

/// A string that borrows where JSON lets it.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or an array of strings")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Texts(vec![Cow::Borrowed(text)]))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Texts(vec![Cow::Owned(text.to_owned())]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(Text(text)) = items.next_element()? {
            texts.push(text);
        }
        Ok(Texts(texts))
    }
}
