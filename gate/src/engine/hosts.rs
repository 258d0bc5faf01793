//! Which project guards a host.

use crate::config::{HostPattern, Project};
use crate::hashing::TextIndex;
use crate::policy::{host_and_domains, in_small_letters};

/// The projects by the hosts that they guard. Finding one takes as long as the host has labels, however many there are.
#[derive(Debug)]
pub(super) struct ProjectHosts {
    /// By host, or by domain with the dot before it, which stands for every host below it.
    hosts: TextIndex,
    /// The one that guards all hosts that no other does.
    others: Option<usize>,
}

impl ProjectHosts {
    pub(super) fn new<'p>(projects: impl Iterator<Item = &'p Project>) -> Self {
        let mut hosts = TextIndex::default();
        let mut others = None;
        for (index, project) in projects.enumerate() {
            if project.hosts.is_empty() {
                others = Some(index);
            }
            for HostPattern::Exact(host) | HostPattern::Below(host) in &project.hosts {
                hosts.insert(host, index);
            }
        }
        Self { hosts, others }
    }

    /// The project of this host, which is without a port and without a dot at its end: that of the host itself, of the longest
    /// domain that it lies below, or of all others. `None` for the host: the request names none.
    pub(super) fn find(&self, host: Option<&str>) -> Option<usize> {
        host.and_then(|host| self.guard_of(host)).or(self.others)
    }

    fn guard_of(&self, host: &str) -> Option<usize> {
        if self.hosts.is_empty() {
            return None;
        }
        let host = in_small_letters(host);
        host_and_domains(&host).find_map(|text| self.hosts.get(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hosts(projects: &[&[&str]]) -> ProjectHosts {
        let projects: Vec<String> = projects
            .iter()
            .enumerate()
            .map(|(nth, hosts)| {
                format!(r#"{{"endpoint":"https://p{nth}","cluster":"c","hosts":{hosts:?}}}"#)
            })
            .collect();
        let json = format!(r#"{{"projects":[{}]}}"#, projects.join(","));
        let config = Config::parse(json.as_bytes()).unwrap();
        ProjectHosts::new(config.projects.iter())
    }

    #[test]
    fn the_most_specific_host_wins() {
        let hosts = hosts(&[
            &["a.example.com", "*.a.example.com"],
            &["*.example.com", "b.a.example.com"],
            &[],
        ]);
        for (host, expected) in [
            ("a.example.com", 0),
            ("A.EXAMPLE.com", 0),
            ("x.a.example.com", 0),
            ("x.y.a.example.com", 0),
            ("b.a.example.com", 1),
            ("x.b.a.example.com", 0),
            ("c.example.com", 1),
            ("xa.example.com", 1),
            ("example.com", 2),
            (".example.com", 2),
            ("example.org", 2),
            ("10.0.0.1", 2),
            ("[::1]", 2),
        ] {
            assert_eq!(hosts.find(Some(host)), Some(expected), "{host}");
        }
        assert_eq!(hosts.find(None), Some(2));
    }

    #[test]
    fn a_host_that_nobody_guards_has_no_project() {
        let hosts = hosts(&[&["a.example.com"], &["*.b.example.com"]]);
        for host in [
            Some("b.example.com"),
            Some("x.a.example.com"),
            Some(""),
            None,
        ] {
            assert_eq!(hosts.find(host), None, "{host:?}");
        }
    }

    #[test]
    fn one_project_without_hosts_guards_all() {
        let hosts = hosts(&[&[]]);
        assert_eq!(hosts.find(Some("anything")), Some(0));
        assert_eq!(hosts.find(None), Some(0));
    }
}
