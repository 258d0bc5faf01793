//! Tokens seen before: judged again, but not verified again (threats S13, C12, Q3, E13).

use super::*;

#[test]
fn a_signature_is_verified_once() {
    let mut fixture = Fixture::new();
    let good = bearer(&alice());
    for _ in 0..10 {
        assert_eq!(fixture.get("/", &[("authorization", &good)]), "alice");
    }
    // From a cookie it is the same token.
    assert_eq!(fixture.get("/", &[("cookie", &cookie(&alice()))]), "alice");
    assert!(
        fixture.verifier.0.get() <= 2,
        "{}",
        fixture.verifier.0.get()
    );
}

#[test]
fn a_refused_signature_is_verified_once_in_a_while() {
    let mut fixture = Fixture::new();
    let forged = format!(
        "Bearer {}",
        alice().sign(&SigningKey::es256().with_kid("a-key"))
    );
    for _ in 0..10 {
        assert_eq!(
            fixture.get("/", &[("authorization", &forged)]),
            "401 invalid_token"
        );
    }
    assert_eq!(fixture.verifier.0.get(), 1);
    fixture.pass(10);
    assert_eq!(
        fixture.get("/", &[("authorization", &forged)]),
        "401 invalid_token"
    );
    assert_eq!(fixture.verifier.0.get(), 2);
}

#[test]
fn what_fails_without_its_signature_never_gets_as_far() {
    let mut fixture = Fixture::new();
    for token in [
        alice().claim("exp", UNIX - 31),
        alice().claim("iss", "https://evil.example"),
        alice().audience("other"),
        alice().header("typ", "JWT"),
        alice().header("alg", "none"),
        alice().header("kid", "unknown"),
    ] {
        assert_eq!(
            fixture.get("/", &[("authorization", &bearer(&token))]),
            "401 invalid_token"
        );
    }
    assert_eq!(fixture.verifier.0.get(), 0);
}

#[test]
fn a_known_token_expires_to_the_second_and_a_clock_that_was_set_back_is_noticed() {
    let mut fixture = Fixture::new();
    let token = alice().claim("exp", UNIX + 10);
    let header = bearer(&token);
    let headers = [("authorization", header.as_str())];
    assert_eq!(fixture.get("/", &headers), "alice");
    // The skew of 30 seconds counts at both ends.
    for (unix, expected) in [
        (UNIX + 39, "alice"),
        (UNIX + 40, "401 invalid_token"),
        (UNIX + 41, "401 invalid_token"),
        (UNIX, "alice"),
        (UNIX - 130, "alice"),
        (UNIX - 131, "401 invalid_token"),
        (0, "401 invalid_token"),
        (u64::MAX, "401 invalid_token"),
    ] {
        fixture.now.unix = unix;
        assert_eq!(fixture.get("/", &headers), expected, "{unix}");
    }
}

#[test]
fn a_twin_of_a_known_token_is_a_stranger() {
    let mut fixture = Fixture::new();
    let good = bearer(&alice());
    assert_eq!(fixture.get("/", &[("authorization", &good)]), "alice");
    for twin in [
        format!("{good}="),
        format!("{good} "),
        good.replacen("Bearer ", "Bearer  ", 1),
        good[..good.len() - 1].to_owned(),
    ] {
        assert_eq!(
            fixture.get("/", &[("authorization", &twin)]),
            "401 invalid_token",
            "{twin}"
        );
    }
    let (head, tail) = good.split_at(good.len() - 5);
    let flipped = format!(
        "{head}{}",
        if tail.starts_with('A') {
            tail.replacen('A', "B", 1)
        } else {
            format!("A{}", &tail[1..])
        }
    );
    assert_eq!(
        fixture.get("/", &[("authorization", &flipped)]),
        "401 invalid_token"
    );
    assert_eq!(fixture.get("/", &[("authorization", &good)]), "alice");
}

#[test]
fn a_thousand_bad_tokens_do_not_keep_a_good_one_out() {
    let mut fixture = Fixture::new();
    let good = alice().sign(&KEY);
    let (message, _) = good.rsplit_once('.').unwrap();
    for nth in 0..1_000_u16 {
        let signature = testkit::b64(&[&nth.to_be_bytes()[..], &[7; 62]].concat());
        let forged = format!("Bearer {message}.{signature}");
        assert_eq!(
            fixture.get("/", &[("authorization", &forged)]),
            "401 invalid_token"
        );
    }
    assert_eq!(
        fixture.get("/", &[("authorization", &format!("Bearer {good}"))]),
        "alice"
    );
}
