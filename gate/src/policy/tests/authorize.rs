//! Whether a principal may pass: who it is, and each condition.

use std::time::Duration;

use super::*;
use crate::claim::{Claim, ClaimPath, Scalar};
use crate::principal::{Assertion, ClientId, Method, Principal, Subject, TokenFacts, User};

const NOW: u64 = 1_767_225_700;

fn user() -> Subject {
    let user = User::new(&Assertion {
        user_id: "alice",
        anonymous: false,
        verified: true,
        can_reauthenticate: false,
        roles: &["reader", "writer"],
        amr: &["pwd", "otp"],
        authenticated_at: Some(NOW - 100),
    });
    Subject::User(user.unwrap())
}

fn machine() -> Subject {
    Subject::Machine(ClientId::new("jobs"))
}

fn claim(name: &str, json: &str) -> Claim {
    let node = serde_json::from_str(json).unwrap();
    Claim::new(ClaimPath::parse(name).unwrap(), Some(&node))
}

fn token() -> Method {
    Method::Token {
        client_id: Some("app".into()),
        facts: TokenFacts {
            scopes: vec!["read".into(), "write".into()],
            claims: vec![
                claim("tenant", "\"acme\""),
                claim("levels", "[1, 2]"),
                claim("staff", "true"),
                claim("nothing", "null"),
                claim("/org/id", "7"),
            ],
        },
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn by_value(name: &str, json: &[&str]) -> Condition {
    let values = json
        .iter()
        .map(|json| Scalar::from_node(&serde_json::from_str(json).unwrap()));
    let test = ClaimTest::AnyOf(values.map(Option::unwrap).collect());
    Condition::Claim(ClaimPath::parse(name).unwrap(), test)
}

fn by_presence(name: &str, present: bool) -> Condition {
    Condition::Claim(ClaimPath::parse(name).unwrap(), ClaimTest::Present(present))
}

fn judge(principal: &Principal, require: Require, allow: Vec<Condition>) -> Result<Permit, Denial> {
    let requirement = Requirement {
        allow,
        ..Requirement::new(require)
    };
    authorize::authorize(Authenticated::Principal(principal), &requirement, NOW)
}

#[test]
fn every_principal_meets_every_requirement() {
    use Denial::{NotAMachine, NotAUser, Unauthenticated};
    let alice = Principal::new(user(), Method::Session);
    let machine = Principal::new(machine(), token());
    let unnamed = Principal::new(Subject::Machine(None), token());
    let nobody = |deliberate| Authenticated::Nobody { deliberate };
    let (anonymous, passes) = (Ok(Permit::Anonymous), Ok(Permit::Principal));
    let order = [
        Require::None,
        Require::Optional,
        Require::User,
        Require::Machine,
        Require::UserOrMachine,
        Require::Nobody,
    ];
    let refused = |denial| [Err(denial); 4];
    let rows = [
        (
            Authenticated::Principal(&alice),
            [
                anonymous,
                passes,
                passes,
                Err(NotAMachine),
                passes,
                Err(NotAMachine),
            ],
        ),
        (
            Authenticated::Principal(&machine),
            [
                anonymous,
                anonymous,
                Err(NotAUser),
                passes,
                passes,
                Err(NotAUser),
            ],
        ),
        (
            Authenticated::Principal(&unnamed),
            [
                anonymous,
                anonymous,
                Err(NotAUser),
                Err(NotAMachine),
                Err(NotAMachine),
                Err(NotAUser),
            ],
        ),
        (nobody(false), {
            let [a, b, c, d] = refused(Unauthenticated);
            [anonymous, anonymous, a, b, c, d]
        }),
        (nobody(true), {
            let [a, b, c, d] = refused(Unauthenticated);
            [anonymous, Err(Unauthenticated), a, b, c, d]
        }),
    ];
    for (who, expected) in rows {
        for (require, expected) in order.into_iter().zip(expected) {
            let permitted = authorize::authorize(who, &Requirement::new(require), NOW);
            assert_eq!(permitted, expected, "{who:?} {require:?}");
        }
    }
}

#[test]
fn every_condition_holds_or_not() {
    let alice = Principal::new(user(), token());
    let seconds = Duration::from_secs;
    let holds = [
        Condition::RolesAny(texts(&["x", "writer"])),
        Condition::RolesAll(texts(&["writer", "reader"])),
        Condition::Verified(true),
        Condition::Anonymous(false),
        Condition::CanReauthenticate(false),
        Condition::AmrAny(texts(&["otp", "x"])),
        Condition::AmrAll(texts(&["otp", "pwd"])),
        Condition::MaxAuthAge(seconds(100)),
        Condition::ClientIds(texts(&["x", "app"])),
        Condition::ScopesAny(texts(&["x", "read"])),
        Condition::ScopesAll(texts(&["write", "read"])),
        by_value("tenant", &["\"other\"", "\"acme\""]),
        by_value("levels", &["2"]),
        by_value("staff", &["true"]),
        by_value("/org/id", &["7"]),
        by_presence("tenant", true),
        by_presence("nothing", false),
        Condition::AnyOf(vec![
            vec![Condition::Verified(false)],
            vec![Condition::Verified(true)],
        ]),
    ];
    for condition in holds {
        let judged = judge(&alice, Require::User, vec![condition.clone()]);
        assert_eq!(judged, Ok(Permit::Principal), "{condition:?}");
    }
    let fails = [
        Condition::RolesAny(texts(&["x", "Writer"])),
        Condition::RolesAll(texts(&["writer", "x"])),
        Condition::Verified(false),
        Condition::Anonymous(true),
        Condition::CanReauthenticate(true),
        Condition::AmrAny(texts(&["mfa"])),
        Condition::AmrAll(texts(&["otp", "mfa"])),
        Condition::MaxAuthAge(seconds(99)),
        Condition::ClientIds(texts(&["x"])),
        Condition::ScopesAny(texts(&["x", "rea"])),
        Condition::ScopesAll(texts(&["read", "x"])),
        by_value("tenant", &["\"other\""]),
        by_value("levels", &["\"2\"", "3"]),
        by_value("staff", &["\"true\"", "false"]),
        by_value("unread", &["1"]),
        by_presence("tenant", false),
        by_presence("nothing", true),
        Condition::AnyOf(vec![
            vec![Condition::Verified(false)],
            vec![Condition::Anonymous(true)],
        ]),
        Condition::AnyOf(vec![vec![
            Condition::Verified(true),
            Condition::Anonymous(true),
        ]]),
    ];
    for condition in fails {
        let unmet = Unmet {
            condition: condition.name(),
            needs_token: false,
        };
        let judged = judge(&alice, Require::User, vec![condition.clone()]);
        assert_eq!(judged, Err(Denial::Unmet(unmet)), "{condition:?}");
        // Whatever else holds.
        let judged = judge(
            &alice,
            Require::User,
            vec![Condition::Verified(true), condition],
        );
        assert_eq!(judged, Err(Denial::Unmet(unmet)));
    }
}

#[test]
fn a_session_has_no_scopes_clients_and_claims() {
    let alice = Principal::new(user(), Method::Session);
    for condition in [
        Condition::ClientIds(texts(&["app"])),
        Condition::ScopesAny(texts(&["read"])),
        Condition::ScopesAll(texts(&["read"])),
        by_value("tenant", &["\"acme\""]),
        by_presence("absent", false),
    ] {
        let name = condition.name();
        let alone = judge(&alice, Require::User, vec![condition.clone()]);
        let unmet = |condition, needs_token| {
            Err(Denial::Unmet(Unmet {
                condition,
                needs_token,
            }))
        };
        assert_eq!(alone, unmet(name, true));
        let any_of =
            |alternatives| judge(&alice, Require::User, vec![Condition::AnyOf(alternatives)]);
        assert_eq!(
            any_of(vec![vec![condition.clone()]]),
            unmet(ConditionName::AnyOf, true)
        );
        let or_not_met = vec![vec![condition.clone()], vec![Condition::Verified(false)]];
        assert_eq!(any_of(or_not_met), unmet(ConditionName::AnyOf, false));
        assert_eq!(
            any_of(vec![vec![condition], vec![Condition::Verified(true)]]),
            Ok(Permit::Principal)
        );
    }
}

#[test]
fn a_machine_has_scopes_and_claims_and_nothing_of_a_user() {
    let machine = Principal::new(machine(), token());
    for condition in [
        Condition::RolesAny(texts(&["reader"])),
        Condition::Verified(false),
        Condition::Anonymous(false),
        Condition::CanReauthenticate(false),
        Condition::AmrAny(texts(&["pwd"])),
        Condition::MaxAuthAge(Duration::MAX),
    ] {
        let judged = judge(&machine, Require::UserOrMachine, vec![condition.clone()]);
        let unmet = Unmet {
            condition: condition.name(),
            needs_token: false,
        };
        assert_eq!(judged, Err(Denial::Unmet(unmet)), "{condition:?}");
        let either = Condition::AnyOf(vec![
            vec![condition],
            vec![Condition::ScopesAll(texts(&["read"]))],
        ]);
        assert_eq!(
            judge(&machine, Require::UserOrMachine, vec![either]),
            Ok(Permit::Principal)
        );
    }
}

#[test]
fn a_time_that_is_not_known_is_too_long_ago_and_one_to_come_is_not() {
    let at = |authenticated_at| {
        let user = User::new(&Assertion {
            user_id: "alice",
            anonymous: false,
            verified: true,
            can_reauthenticate: true,
            roles: &[],
            amr: &[],
            authenticated_at,
        });
        let alice = Principal::new(Subject::User(user.unwrap()), Method::Session);
        judge(
            &alice,
            Require::User,
            vec![Condition::MaxAuthAge(Duration::from_secs(60))],
        )
        .is_ok()
    };
    assert!(!at(None) && !at(Some(0)) && !at(Some(NOW - 61)));
    assert!(at(Some(NOW - 60)) && at(Some(NOW)) && at(Some(NOW + 1_000)));
}
