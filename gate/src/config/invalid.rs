//! What happens with an invalid configuration.
//!
//! If the filter refuses it, the host decides what happens. Envoy does not start, or keeps the listener that it had; behind
//! Envoy Gateway it applies the new routes all the same, and serves them without a filter. There the filter accepts the
//! configuration, and refuses every request.

use std::time::Duration;

use super::error::ConfigErrors;
use super::kind::Choice;
use crate::json::Node;
use crate::time::Ticks;

/// What the filter does with an invalid configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// It refuses the configuration.
    Refuse,
    /// It accepts the configuration. The last valid one stays in use; if there is none, every request is answered 503.
    Close,
}

/// What a plugin does while its configuration is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// It uses the last valid one.
    LastGood,
    /// It answers every request with 503.
    Closed,
}

/// An invalid configuration that was accepted: the lines that report it at intervals.
#[derive(Debug)]
pub struct Invalid {
    errors: ConfigErrors,
    consequence: Consequence,
    /// When the next lines are due; `None`: there was none yet.
    due_at: Option<Ticks>,
}

/// The values of the member that decides. For the meaning of its absence see [`OnInvalid::choose`].
pub(super) const CHOICE: Choice<OnInvalid> = Choice::new(
    Some(OnInvalid::Refuse),
    "\"refuse\" or \"close\"",
    &[("refuse", OnInvalid::Refuse), ("close", OnInvalid::Close)],
    &[],
);

/// Its name.
pub(super) const MEMBER: &str = "on_invalid_config";

impl OnInvalid {
    /// What the filter does with an invalid configuration: what the configuration itself says, if that member can be read,
    /// else what follows from the control plane, which the plugin's `vm_id` shows.
    #[must_use]
    pub fn choose(text: &[u8], vm_id: &[u8]) -> Self {
        Self::read_leniently(text).unwrap_or_else(|| Self::from_vm_id(vm_id))
    }

    /// What a document says, even if it has errors. `None`: it is no object, or does not say it exactly once and clearly.
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
    /// A configuration with these errors, which have been logged once.
    #[must_use]
    pub fn new(errors: ConfigErrors, consequence: Consequence) -> Self {
        Self {
            errors,
            consequence,
            due_at: None,
        }
    }

    /// The lines that are due: first the consequence, and at intervals the errors too.
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

/// How often the errors are logged again.
const REPEAT_AFTER: Duration = Duration::from_secs(5 * 60);

/// How many of the errors are logged again, so that the log stays readable.
const MAX_REPEATED_ERRORS: usize = 10;
