//! What becomes of a configuration that cannot be understood.
//!
//! A filter that refuses it leaves it to the host what happens then. Envoy does not start, or keeps the listener that it
//! had; behind Envoy Gateway it takes the new routes all the same, and serves them without a filter. There the
//! configuration is taken, and nothing is let in.

use std::time::Duration;

use super::error::ConfigErrors;
use super::kind::Choice;
use super::node::Node;
use crate::time::Ticks;

/// What becomes of a configuration that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// It is refused.
    Refuse,
    /// It is taken. The last good configuration stays in use; where there is none, every request is answered 503.
    Close,
}

/// What a plugin does while its configuration cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// It goes on with the last good one.
    LastGood,
    /// It answers every request with 503.
    Closed,
}

/// A configuration that cannot be understood and was taken: the lines that say so again and again.
#[derive(Debug)]
pub struct Invalid {
    errors: ConfigErrors,
    consequence: Consequence,
    /// When the next lines are due; `None`: there was none yet.
    due_at: Option<Ticks>,
}

/// The values of the member of the document that decides. What is meant where it is left out, see [`OnInvalid::choose`].
pub(super) const CHOICE: Choice<OnInvalid> = Choice::new(
    Some(OnInvalid::Refuse),
    "\"refuse\" or \"close\"",
    &[("refuse", OnInvalid::Refuse), ("close", OnInvalid::Close)],
    &[],
);

/// Its name.
pub(super) const MEMBER: &str = "on_invalid_config";

impl OnInvalid {
    /// What becomes of a configuration that cannot be understood: what it says itself, if that much of it can be read,
    /// else what the plugin's `vm_id` tells of the control plane.
    #[must_use]
    pub fn choose(text: &[u8], vm_id: &[u8]) -> Self {
        Self::read_leniently(text).unwrap_or_else(|| Self::from_vm_id(vm_id))
    }

    /// What a document says, whatever else is wrong with it. `None`: it is no object, or does not say it once and clearly.
    #[must_use]
    pub(crate) fn read_leniently(text: &[u8]) -> Option<Self> {
        let Ok(Node::Object(members)) = super::read_document(text) else {
            return None;
        };
        let mut named = members.iter().filter(|(name, _)| name == MEMBER);
        match (named.next(), named.next()) {
            (Some((_, Node::String(value))), None) => CHOICE.find(value),
            _ => None,
        }
    }

    /// Envoy Gateway calls the VM after the policy: `envoyextensionpolicy/NAMESPACE/NAME/wasm/NUMBER`, without its kind
    /// where it runs standalone.
    #[must_use]
    pub(crate) fn from_vm_id(vm_id: &[u8]) -> Self {
        let mut parts = vm_id.split(|byte| *byte == b'/');
        let mut is = |fits: fn(&[u8]) -> bool| parts.next().is_some_and(fits);
        let of_envoy_gateway = is(|kind| matches!(kind, b"" | b"envoyextensionpolicy"))
            && is(|namespace| !namespace.is_empty())
            && is(|name| !name.is_empty())
            && is(|literal| literal == b"wasm")
            && is(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
            && parts.next().is_none();
        if of_envoy_gateway {
            Self::Close
        } else {
            Self::Refuse
        }
    }
}

impl Invalid {
    /// A configuration with these errors, which have been told once.
    #[must_use]
    pub fn new(errors: ConfigErrors, consequence: Consequence) -> Self {
        Self {
            errors,
            consequence,
            due_at: None,
        }
    }

    /// The lines that are due: at first what follows, then now and again the errors too.
    pub fn lines(&mut self, now: Ticks) -> Vec<String> {
        let mut lines = Vec::new();
        match self.due_at {
            Some(due_at) if now < due_at => return lines,
            Some(_) => {
                let repeated = self.errors.iter().take(MAX_REPEATED_ERRORS);
                lines.extend(repeated.map(|error| format!("configuration refused: {error}")));
                let more = self.errors.iter().count().saturating_sub(lines.len());
                if more > 0 {
                    lines.push(format!("configuration refused: {more} more errors"));
                }
            }
            None => {}
        }
        self.due_at = Some(now.after(REPEAT_AFTER));
        lines.push(self.consequence.line().to_owned());
        lines
    }
}

impl Consequence {
    fn line(self) -> &'static str {
        match self {
            Self::LastGood => {
                "the last good configuration stays in use, as the new one was refused"
            }
            Self::Closed => {
                "every request is answered 503, as the configuration was refused and there is none before it"
            }
        }
    }
}

/// How often an operator is told again.
const REPEAT_AFTER: Duration = Duration::from_secs(5 * 60);

/// How many of the errors are told again, so that the log stays readable.
const MAX_REPEATED_ERRORS: usize = 10;
