//! What is kept of a token for the rules, and nothing else.

use super::*;
use crate::claim::Scalar;
use crate::principal::{Method, TokenFacts};

/// What the rules of this configuration ask.
fn asked(allow: &Value) -> NeededFacts {
    let json = json!({
        "projects": [{ "endpoint": ISSUER, "cluster": "a" }],
        "default": { "allow": allow },
    });
    let config = Config::parse(json.to_string().as_bytes()).unwrap();
    NeededFacts::of(std::iter::once(&*config.default))
}

fn facts_of(token: &str, needed: &NeededFacts) -> Result<TokenFacts, TokenError> {
    let inspected = InspectedToken::inspect(token.as_bytes(), &issuer(), &anything(), needed, NOW)?;
    let verified = inspected.verify(&key_of(&KEY), &RustCrypto)?;
    match verified.principal().method() {
        Method::Token { facts, .. } => Ok(facts.clone()),
        Method::Session => panic!("a token"),
    }
}

#[test]
fn nothing_is_kept_that_no_rule_asks_for() {
    let token = alice().claim("tenant", "acme").sign(&KEY);
    assert_eq!(facts_of(&token, &needed()), Ok(TokenFacts::default()));
    let kept = facts_of(&token, &asked(&json!({ "claims": { "tenant": "acme" } }))).unwrap();
    assert!(kept.scopes.is_empty());
    let [claim] = kept.claims.as_slice() else {
        panic!("{kept:?}");
    };
    assert_eq!(claim.values(), [Scalar::Text("acme".into())]);
}

#[test]
fn scopes_are_read_from_both_claims_in_both_forms() {
    let needed = asked(&json!({ "scopes_any": ["a"] }));
    for (scope, scp, expected) in [
        (json!("a b"), json!(null), &["a", "b"][..]),
        (json!(" a  b "), json!(null), &["a", "b"]),
        (json!(["a", "b c", 1]), json!(null), &["a", "b c"]),
        (json!("a"), json!(["b"]), &["a", "b"]),
        (json!(""), json!("b"), &["b"]),
        (json!(1), json!({ "a": 1 }), &[]),
        (json!("a\tb\nc"), json!(true), &["a\tb\nc"]),
    ] {
        let token = alice().claim("scope", scope.clone()).claim("scp", scp);
        let facts = facts_of(&token.sign(&KEY), &needed).unwrap();
        let scopes: Vec<&str> = facts.scopes.iter().map(AsRef::as_ref).collect();
        assert_eq!(scopes, expected, "{scope}");
    }
    let without = alice().without("scope").sign(&KEY);
    assert!(facts_of(&without, &needed).unwrap().scopes.is_empty());
}

#[test]
fn a_claim_that_a_rule_asks_for_and_that_is_there_twice_is_refused() {
    let text = alice()
        .claim("org", json!({ "id": 1 }))
        .claim("tenant", "acme");
    let text = text.payload().to_string();
    let twice = |more: &str| paid(text.replacen('{', &format!("{{{more},"), 1));
    for (allow, more) in [
        (
            json!({ "claims": { "tenant": "acme" } }),
            r#""tenant":"other""#,
        ),
        (json!({ "claims": { "/org/id": 1 } }), r#""org":{"id":2}"#),
        (json!({ "scopes_all": ["a"] }), r#""scope":"a""#),
        (
            json!({ "any_of": [{ "claims": { "tenant": "acme" } }] }),
            r#""tenant":"acme""#,
        ),
    ] {
        assert_eq!(
            facts_of(&twice(more), &asked(&allow)),
            Err(TokenError::Claims),
            "{more}"
        );
    }
    let below = paid(text.replace(r#"{"id":1}"#, r#"{"id":1,"id":2}"#));
    let needed_below = asked(&json!({ "claims": { "/org/id": 1 } }));
    assert_eq!(facts_of(&below, &needed_below), Err(TokenError::Claims));
    // One that nobody asks for is nobody's business.
    assert!(facts_of(&twice(r#""tenant":"other""#), &needed_below).is_ok());
}
