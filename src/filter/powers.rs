//! What this host can do, found out when the root is configured: not every host can do all that Proxy-Wasm names, and some
//! answer `Ok` without doing it.

use super::host;
use gate::config::{Host, Power};

/// The host of a root context. Asked in the root's own callback.
#[derive(Debug)]
pub(super) struct ThisHost {
    pub(super) root_id: u32,
    /// Whether it took the period of the ticks.
    pub(super) ticks: bool,
}

impl Host for ThisHost {
    fn has(&self, power: Power) -> bool {
        match power {
            Power::Clock => host::has_clock(),
            Power::Callouts => host::refuses_bad_calls(),
            Power::Ticks => self.ticks,
            Power::EffectiveContext => distinguishes_contexts(host::act_for, self.root_id),
            // A power that is not known here is not there.
            _ => false,
        }
    }
}

/// Whether the host lets the root act for itself, and refuses a context that does not exist. A host that accepts every
/// context would perform the decision about one request on another.
fn distinguishes_contexts(mut act_for: impl FnMut(u32) -> bool, root_id: u32) -> bool {
    const NOBODY: u32 = u32::MAX;
    let nobody = act_for(NOBODY);
    // Last, so that what follows is done as the root.
    let root = act_for(root_id);
    root && !nobody
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_says_yes_or_no_to_every_context_distinguishes_none() {
        for (host, expected) in [
            ((|context| context == 1) as fn(u32) -> bool, true),
            (|context| context < 1_000, true),
            (|_| true, false),
            (|_| false, false),
            (|context| context == u32::MAX, false),
            (|context| context == 2, false),
        ] {
            assert_eq!(distinguishes_contexts(host, 1), expected);
        }
    }

    #[test]
    fn the_root_acts_for_itself_afterwards() {
        let mut current = 7;
        distinguishes_contexts(
            |context| {
                current = context;
                true
            },
            7,
        );
        assert_eq!(current, 7);
    }
}
