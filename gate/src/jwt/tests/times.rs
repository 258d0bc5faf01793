//! Times, to the second (threats C1 to C3, Q3).

use super::*;

const EXPIRED: Result<(), TokenError> = Err(TokenError::Expired);
const EARLY: Result<(), TokenError> = Err(TokenError::NotYetValid);
const FUTURE: Result<(), TokenError> = Err(TokenError::IssuedInTheFuture);
const MALFORMED: Result<(), TokenError> = Err(TokenError::Claims);

fn skewed(skew: &str) -> JwtPolicy {
    policy(&json!({ "clock_skew": skew }))
}

#[test]
fn a_token_expires_to_the_second() {
    for (skew, exp, expected) in [
        ("0s", NOW - 1, EXPIRED),
        ("0s", NOW, EXPIRED),
        ("0s", NOW + 1, Ok(())),
        ("30s", NOW - 31, EXPIRED),
        ("30s", NOW - 30, EXPIRED),
        ("30s", NOW - 29, Ok(())),
        ("5m", NOW - 300, EXPIRED),
        ("5m", NOW - 299, Ok(())),
    ] {
        let token = alice().claim("iat", 1).claim("exp", exp).sign(&KEY);
        assert_eq!(
            inspect_with(&token, &skewed(skew), NOW),
            expected,
            "{skew} {exp}"
        );
    }
}

#[test]
fn a_token_begins_to_the_second() {
    for (name, early) in [("nbf", EARLY), ("iat", FUTURE)] {
        for (skew, at, expected) in [
            ("0s", NOW, Ok(())),
            ("0s", NOW + 1, early),
            ("30s", NOW + 30, Ok(())),
            ("30s", NOW + 31, early),
        ] {
            let token = alice().claim(name, at).sign(&KEY);
            assert_eq!(
                inspect_with(&token, &skewed(skew), NOW),
                expected,
                "{name} {skew} {at}"
            );
        }
        assert_eq!(
            inspect(&alice().without("iat").without("nbf").sign(&KEY)),
            Ok(()),
            "{name} absent"
        );
    }
    // A window that is none, even where the skew would forgive each end.
    let inverted = alice().claim("exp", NOW + 5).claim("nbf", NOW + 6);
    assert_eq!(inspect(&inverted.sign(&KEY)), EARLY);
    let of_no_length = alice().claim("exp", NOW + 5).claim("nbf", NOW + 5);
    assert_eq!(inspect(&of_no_length.sign(&KEY)), Ok(()));
}

#[test]
fn a_date_is_a_number_from_1970_to_9999() {
    for (exp, expected) in [
        ("253402300799", Ok(())),
        ("253402300799.0", Ok(())),
        ("2E+9", Ok(())),
        ("1999999999.5", Ok(())),
        ("0", EXPIRED),
        ("-0", EXPIRED),
        ("-0.0", EXPIRED),
        ("1e-300", EXPIRED),
        ("1e9", EXPIRED),
        ("253402300800", MALFORMED),
        ("1767227400000", MALFORMED),
        ("-1", MALFORMED),
        ("-1e300", MALFORMED),
        ("9223372036854775807", MALFORMED),
        ("9223372036854775808", MALFORMED),
        ("-9223372036854775808", MALFORMED),
        ("18446744073709551615", MALFORMED),
        ("18446744073709551616", MALFORMED),
        ("1e19", MALFORMED),
        ("1e308", MALFORMED),
        ("1e309", MALFORMED),
        ("1e999999999", MALFORMED),
        (&"9".repeat(50_000), MALFORMED),
        ("true", MALFORMED),
        ("null", MALFORMED),
        ("\"1999999999\"", MALFORMED),
        ("[1999999999]", MALFORMED),
    ] {
        let with = |name: &str| {
            let token = alice()
                .without("iat")
                .claim(name, "HERE")
                .payload()
                .to_string();
            inspect(&paid(token.replace("\"HERE\"", exp)))
        };
        assert_eq!(with("exp"), expected, "exp {exp:.40}");
        if expected == MALFORMED {
            assert_eq!(with("nbf"), MALFORMED, "nbf {exp:.40}");
            assert_eq!(with("iat"), MALFORMED, "iat {exp:.40}");
        }
    }
}

#[test]
fn fractions_of_a_second_are_cut_off() {
    let at = |exp: f64| inspect_with(&alice().claim("exp", exp).sign(&KEY), &skewed("0s"), NOW);
    let now = NOW as f64;
    assert_eq!(at(now + 0.9), EXPIRED);
    assert_eq!(at(now + 1.9), Ok(()));
}

#[test]
fn no_clock_makes_the_arithmetic_wrap() {
    let token = alice()
        .claim("exp", 253_402_300_799_u64)
        .claim("nbf", 0)
        .sign(&KEY);
    for (unix, expected) in [
        (0, FUTURE),
        (NOW, Ok(())),
        (u64::MAX, EXPIRED),
        (u64::MAX - 1, EXPIRED),
    ] {
        assert_eq!(
            inspect_with(&token, &skewed("5m"), unix),
            expected,
            "{unix}"
        );
    }
}

#[test]
fn a_lifetime_may_be_bounded() {
    let bounded = policy(&json!({ "max_lifetime": "1h" }));
    for (token, expected) in [
        (alice().claim("exp", NOW - 100 + 3_600), Ok(())),
        (
            alice().claim("exp", NOW - 100 + 3_601),
            Err(TokenError::Lifetime),
        ),
        (alice().without("iat"), Err(TokenError::Lifetime)),
        (alice().claim("iat", NOW + 10).claim("exp", NOW + 5), Ok(())),
    ] {
        assert_eq!(
            inspect_with(&token.sign(&KEY), &bounded, NOW),
            expected,
            "{token:?}"
        );
    }
}

#[test]
fn a_verified_token_is_held_to_its_times_again() {
    let token = alice()
        .claim("nbf", NOW - 50)
        .claim("exp", NOW + 10)
        .sign(&KEY);
    let verified = verify(&token, &key_of(&KEY), &RustCrypto).unwrap();
    // The skew of 30 seconds is part of both ends; nbf is later than iat.
    for (unix, expected) in [
        (0, EARLY),
        (NOW - 81, EARLY),
        (NOW - 80, Ok(())),
        (NOW + 39, Ok(())),
        (NOW + 40, EXPIRED),
        (u64::MAX, EXPIRED),
    ] {
        assert_eq!(verified.check_time(unix), expected, "{unix}");
    }
}
