//! Several projects, told apart by hosts.

use super::*;

fn project(name: &str, hosts: &[&str]) -> Value {
    json!({ "endpoint": format!("https://{name}.example.com"), "cluster": name, "hosts": hosts })
}

fn projects(projects: &[Value]) -> Value {
    json!({ "projects": projects })
}

#[test]
fn each_project_has_its_hosts_and_one_may_have_all_others() {
    let config = accepted(&projects(&[
        project("a", &["app.example.com", "*.app.example.com"]),
        project("b", &["*.example.com"]),
        project("c", &[]),
    ]));
    let hosts: Vec<usize> = config
        .projects
        .iter()
        .map(|project| project.hosts.len())
        .collect();
    assert_eq!(hosts, [2, 1, 0]);
    assert_eq!(
        config.projects[0].hosts[0],
        HostPattern::Exact("app.example.com".to_owned())
    );
}

#[test]
fn projects_that_one_request_could_be_for_are_refused() {
    for (given, expected) in [
        (
            vec![project("a", &[]), project("b", &[])],
            "projects[1].hosts: missing: projects[0] guards all hosts that no other project has, and only one can",
        ),
        (
            vec![
                project("a", &["x.example"]),
                project("b", &["y.example", "x.example"]),
            ],
            "projects[1].hosts[1]: is a host of projects[0] already",
        ),
        (
            vec![
                project("a", &["*.x.example"]),
                project("b", &["*.x.example"]),
            ],
            "projects[1].hosts[0]: is a host of projects[0] already",
        ),
        (
            vec![project("a", &["x.example"]), project("a", &["y.example"])],
            "projects[1].endpoint: is that of projects[0]: write one project, with all its hosts",
        ),
        (
            vec![project("a", &["X.example"])],
            "projects[0].hosts[0]: expected a host in lower case, without a scheme, a port or a dot at its end, or \"*.\" and a domain, found the string \"X.example\"",
        ),
    ] {
        assert_eq!(refused(projects(&given).to_string()), [expected]);
    }
    // A host and the domain that it lies below are two.
    accepted(&projects(&[
        project("a", &["x.y.example"]),
        project("b", &["*.y.example"]),
    ]));
}

#[test]
fn there_may_be_so_many_projects_and_no_more() {
    let many = |most: usize| -> Vec<Value> {
        (0..most)
            .map(|nth| project(&format!("p{nth}"), &[&format!("h{nth}.example")]))
            .collect()
    };
    accepted(&projects(&many(100)));
    assert_eq!(
        refused(projects(&many(101)).to_string()),
        ["projects: more than 100: use several gateways"]
    );
}

#[test]
fn a_rule_for_a_host_that_nobody_guards_is_warned_of() {
    let rule =
        |hosts: Value, require: &str| json!({ "match": { "hosts": hosts }, "require": require });
    let mut json = projects(&[
        project("a", &["a.example", "*.a.example"]),
        project("b", &["x.b.example"]),
    ]);
    json["rules"] = json!([
        rule(json!(["a.example", "c.example"]), "user"),
        rule(json!(["*.b.example", "x.a.example"]), "optional"),
        rule(json!(["d.example"]), "none"),
        rule(json!(["b.example"]), "user"),
    ]);
    let config = accepted(&json);
    let paths = warned_of(&config);
    assert_eq!(
        paths,
        ["rules[0].match.hosts[1]", "rules[3].match.hosts[0]"]
    );
    json["projects"][1]["hosts"] = json!([]);
    assert_eq!(accepted(&json).warnings, []);
}
