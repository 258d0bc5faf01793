//! The configurations that are in use in this VM, so that after a bad one the last good one can stay in
//! use: the host brings a new configuration into the same VM, as a new root context.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::host::Plugin;

thread_local! {
    /// A VM has one thread.
    static LAST_GOOD: RefCell<LastGood> = RefCell::default();
}

/// The text of a good configuration is in use while a root context keeps it.
#[derive(Debug, Default)]
struct LastGood {
    /// Those configured last come last.
    entries: Vec<(Plugin, Weak<[u8]>)>,
}

/// Lets later root contexts of this plugin find the text, as long as the caller keeps it.
pub(super) fn insert(plugin: &Plugin, text: &Rc<[u8]>) {
    LAST_GOOD.with(|last_good| {
        if let Ok(mut last_good) = last_good.try_borrow_mut() {
            last_good.insert(plugin, text);
        }
    });
}

/// The text that was last configured under the names of this plugin, of those that are still in use.
pub(super) fn find(plugin: &Plugin) -> Option<Rc<[u8]>> {
    LAST_GOOD.with(|last_good| last_good.try_borrow().ok()?.find(plugin))
}

impl LastGood {
    fn insert(&mut self, plugin: &Plugin, text: &Rc<[u8]>) {
        // Under the empty `vm_id`, plugins that have nothing to do with each other share a VM, and may share their names.
        if plugin.vm_id.is_empty() {
            return;
        }
        self.entries.retain(|(_, text)| text.strong_count() > 0);
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push((plugin.clone(), Rc::downgrade(text)));
    }

    fn find(&self, plugin: &Plugin) -> Option<Rc<[u8]>> {
        let same = |(known, _): &&(Plugin, Weak<[u8]>)| known == plugin;
        let texts = self.entries.iter().rev().filter(same);
        texts.filter_map(|(_, text)| text.upgrade()).next()
    }
}

/// How many configurations are kept at once: more than a gateway has that is configured again while it drains.
const MAX_ENTRIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(vm_id: &str, root_id: &str, name: &str) -> Plugin {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Plugin {
            vm_id: bytes(vm_id),
            root_id: bytes(root_id),
            name: bytes(name),
        }
    }

    fn text(text: &str) -> Rc<[u8]> {
        text.as_bytes().into()
    }

    fn found(last_good: &LastGood, plugin: &Plugin) -> Option<String> {
        let text = last_good.find(plugin)?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn the_last_one_that_is_in_use_is_found() {
        let (mut last_good, ours) = (LastGood::default(), plugin("vm", "root", "ours"));
        assert_eq!(found(&last_good, &ours), None);
        let first = text("first");
        last_good.insert(&ours, &first);
        let second = text("second");
        last_good.insert(&ours, &second);
        assert_eq!(found(&last_good, &ours).as_deref(), Some("second"));
        drop(second);
        assert_eq!(found(&last_good, &ours).as_deref(), Some("first"));
        // Whoever takes it over keeps it in use.
        let taken_over = last_good.find(&ours).unwrap();
        drop(first);
        assert_eq!(found(&last_good, &ours).as_deref(), Some("first"));
        drop(taken_over);
        assert_eq!(found(&last_good, &ours), None);
    }

    #[test]
    fn nobody_finds_anothers() {
        let mut last_good = LastGood::default();
        let text = text("ours");
        last_good.insert(&plugin("vm", "root", "ours"), &text);
        for other in [
            plugin("vm", "root", "other"),
            plugin("vm", "other", "ours"),
            plugin("other", "root", "ours"),
            plugin("vm", "", "ours"),
            plugin("", "root", "ours"),
            Plugin::default(),
        ] {
            assert_eq!(found(&last_good, &other), None, "{other:?}");
        }
    }

    #[test]
    fn without_a_vm_id_nothing_is_known() {
        let (mut last_good, ours) = (LastGood::default(), plugin("", "root", "ours"));
        let text = text("ours");
        last_good.insert(&ours, &text);
        assert_eq!(found(&last_good, &ours), None);
    }

    #[test]
    fn it_does_not_grow() {
        let (mut last_good, ours) = (LastGood::default(), plugin("vm", "root", "ours"));
        let mut held = Vec::new();
        for nth in 0..1_000 {
            let text = text(&nth.to_string());
            last_good.insert(&ours, &text);
            held.push(text);
        }
        assert_eq!(last_good.entries.len(), MAX_ENTRIES);
        assert_eq!(found(&last_good, &ours).as_deref(), Some("999"));
        held.clear();
        last_good.insert(&ours, &text("last"));
        assert_eq!(last_good.entries.len(), 1);
    }
}
