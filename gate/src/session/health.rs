//! Whether the resolver answers: for the log.

/// How many calls in a row have failed by an outage of the resolver's, and whether that was logged.
#[derive(Debug, Default)]
pub(crate) struct Health {
    calls: u64,
    logged: bool,
}

impl Health {
    /// A call has failed by an outage. Returns how many in a row have.
    pub(crate) fn failed(&mut self) -> u64 {
        self.calls = self.calls.saturating_add(1);
        self.calls
    }

    /// The outage was logged, so that its end is logged, too.
    pub(crate) fn logged(&mut self) {
        self.logged = true;
    }

    /// There was a verdict. Returns whether it ends an outage that was logged.
    pub(crate) fn answered(&mut self) -> bool {
        std::mem::take(self).logged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_outage_is_news_once_and_only_where_its_beginning_was() {
        let mut health = Health::default();
        assert!(!health.answered());
        assert_eq!([health.failed(), health.failed()], [1, 2]);
        assert!(!health.answered(), "not logged");
        assert_eq!(health.failed(), 1);
        health.logged();
        assert!(health.answered());
        assert!(!health.answered());
    }
}
