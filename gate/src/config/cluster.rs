//! The clusters that calls go to.

use super::error::{Collector, Problem};
use super::kind::Text;
use super::text::string;

pub(super) const CLUSTER: Text<String> = Text::new(EXPECTED, string);

const EXPECTED: &str = "the name of an upstream cluster";

/// The cluster of a project, for those of its calls that have none of their own.
pub(super) struct ProjectCluster {
    /// `None`: it is not given. The inner `None`: it was refused already.
    pub(super) given: Option<Option<String>>,
    pub(super) path: String,
}

impl ProjectCluster {
    /// The cluster of a call: its own, or else the project's.
    pub(super) fn or(&self, own: Option<Option<String>>, errors: &mut Collector) -> Option<String> {
        match own.as_ref().or(self.given.as_ref()) {
            Some(cluster) => cluster.clone(),
            None => {
                let expected = EXPECTED;
                errors.add_once(&self.path, Problem::Missing { expected });
                None
            }
        }
    }
}
