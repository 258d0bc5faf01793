//! Which of two requirements asks for more, and what both ask together.

use super::*;
use crate::policy::{Accept, Audiences, Condition};

fn with(require: Require, change: impl FnOnce(&mut Requirement)) -> Requirement {
    let mut requirement = Requirement::new(require);
    change(&mut requirement);
    requirement
}

fn user(change: impl FnOnce(&mut Requirement)) -> Requirement {
    with(Require::User, change)
}

fn roles(roles: &[&str]) -> Condition {
    Condition::RolesAny(roles.iter().map(|role| (*role).to_owned()).collect())
}

fn for_one_of(audiences: &[&str]) -> Vec<Audiences> {
    vec![Audiences::Of(
        audiences
            .iter()
            .map(|audience| (*audience).to_owned())
            .collect(),
    )]
}

const JWT: Accept = Accept {
    jwt: true,
    session: false,
};
const SESSION: Accept = Accept {
    jwt: false,
    session: true,
};

#[test]
fn who_may_pass_is_in_order_but_for_users_and_machines() {
    use Require::{Machine, Nobody, None, Optional, User, UserOrMachine};
    let all = [None, Optional, UserOrMachine, User, Machine, Nobody];
    for (rank, one) in all.into_iter().enumerate() {
        for (other_rank, other) in all.into_iter().enumerate() {
            let apart = matches!((one, other), (User, Machine) | (Machine, User));
            let more = rank > other_rank || apart;
            let [one, other] = [one, other].map(Requirement::new);
            assert_eq!(one.asks_more(&other), more, "{one:?} {other:?}");
        }
    }
    let both = Requirement::new(User).and(&Requirement::new(Machine));
    assert_eq!(both.require, Nobody);
}

#[test]
fn each_condition_asks_for_more() {
    let plain = Requirement::new(Require::User);
    let more = [
        user(|asked| asked.accept = JWT),
        user(|asked| asked.allow = vec![roles(&["a"])]),
        user(|asked| asked.allow = vec![Condition::Verified(true)]),
    ];
    for one in &more {
        assert!(one.asks_more(&plain) && !plain.asks_more(one), "{one:?}");
        assert!(!one.asks_more(one));
    }
    for (nth, one) in more.iter().enumerate() {
        for other in &more[nth + 1..] {
            assert!(one.asks_more(other) && other.asks_more(one));
        }
    }
    let [.., verified] = &more;
    let both = user(|asked| asked.allow = vec![Condition::Verified(true), roles(&["a"])]);
    assert!(both.asks_more(verified) && !verified.asks_more(&both));
    // An anonymous request has no role: `none` and `optional` let it pass, whatever else is asked.
    assert!(both.asks_more(&Requirement::new(Require::Optional)));
}

#[test]
fn audiences_are_compared_as_sets_and_the_projects_are_not_known() {
    let project = Requirement::new(Require::User);
    let [one, two, both] = [&["x"][..], &["y"], &["x", "y"]]
        .map(|audiences| user(|asked| asked.audiences = for_one_of(audiences)));
    assert!(one.asks_more(&both) && !both.asks_more(&one));
    assert!(one.asks_more(&two) && two.asks_more(&one));
    assert!(one.asks_more(&project) && project.asks_more(&one));
}

#[test]
fn two_that_cannot_be_compared_are_asked_together() {
    let one = user(|asked| {
        asked.accept = JWT;
        asked.allow = vec![roles(&["a"])];
        asked.audiences = for_one_of(&["x"]);
    });
    let other = with(Require::UserOrMachine, |asked| {
        asked.accept = SESSION;
        asked.allow = vec![roles(&["b"])];
    });
    let both = one.and(&other);
    for single in [&one, &other] {
        assert!(both.asks_more(single) && !single.asks_more(&both));
    }
    assert_eq!(both.require, Require::User);
    assert_eq!(both.allow, [roles(&["a"]), roles(&["b"])]);
    assert!(!both.accept.jwt && !both.accept.session);
    assert_eq!(
        both.audiences,
        [for_one_of(&["x"]).remove(0), Audiences::Project]
    );
}

/// A path that a backend may take for either is guarded by both rules.
#[test]
fn a_path_near_to_one_rule_and_in_another_asks_for_both() {
    let policy = policy(
        r#"[{"match":{"path":"/reports"},"require":"user","allow":{"roles_any":["reader"]}},
            {"match":{"path_prefix":"/reports/"},"require":"user","allow":{"roles_any":["writer"]}}]"#,
    );
    let allow = |path: &str| {
        let requirement = policy.requirement(b"GET", b"h", path.as_bytes(), &[]);
        requirement.unwrap().0.allow.clone()
    };
    let [reader, writer] = ["reader", "writer"].map(|role| roles(&[role]));
    assert_eq!(allow("/reports"), std::slice::from_ref(&reader));
    assert_eq!(allow("/reports/x"), std::slice::from_ref(&writer));
    assert_eq!(allow("/reports/"), [reader.clone(), writer]);
    assert_eq!(allow("/REPORTS"), [reader]);
}

#[test]
fn readings_that_ask_for_something_else_are_refused() {
    let policy = policy(
        r#"[{"match":{"path_prefix":"/a"},"require":"user","allow":{"roles_any":["reader"]}},
            {"match":{"path_prefix":"/b"},"require":"user","allow":{"roles_any":["writer"]}}]"#,
    );
    let judge = |path: &str| {
        policy
            .requirement(b"GET", b"h", path.as_bytes(), &[])
            .map(|_| ())
    };
    assert_eq!(judge("/a/..%2fb"), Err(PathRefused::Readings));
    assert_eq!(judge("/a/x%2f..%2fy"), Ok(()));
}
