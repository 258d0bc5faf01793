//! The memory of tokens (threats E03, E04, K14, Q04, Q06, Q19).

use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::time::Ticks;

const START: Ticks = Ticks::from_millis(1_000);
const WRONG: Option<Remembered> = Some(Remembered::Refused(TokenError::Signature));

fn verified(subject: &str) -> Rc<VerifiedToken> {
    let token = alice().subject(subject).sign(&KEY);
    Rc::new(verify(&token, &key_of(&KEY), &signature::RustCrypto).unwrap())
}

#[test]
fn a_token_is_known_by_every_byte_of_it() {
    let mut cache = TokenCache::new(8);
    let alice = verified("alice");
    let token = b"header.payload.signature";
    assert_eq!(cache.recall(token, 1, START), None);
    cache.verified(token, &alice, 1);
    assert_eq!(
        cache.recall(token, 1, START),
        Some(Remembered::Verified(Rc::clone(&alice)))
    );
    for nth in 0..token.len() {
        let mut twin = token.to_vec();
        twin[nth] ^= 1;
        assert_eq!(cache.recall(&twin, 1, START), None, "{nth}");
        assert_eq!(cache.recall(&token[..nth], 1, START), None, "{nth}");
    }
    assert_eq!(cache.recall(b"header.payload.signature=", 1, START), None);
    cache.forget(token);
    assert_eq!(cache.recall(token, 1, START), None);
    assert!(cache.is_empty());
}

#[test]
fn new_keys_make_it_forget_everything() {
    let mut cache = TokenCache::new(8);
    cache.verified(b"good", &verified("alice"), 1);
    cache.refused(b"bad", TokenError::Signature, 1, START);
    assert_eq!(cache.recall(b"bad", 1, START), WRONG);
    assert_eq!(cache.recall(b"good", 2, START), None);
    assert_eq!(cache.recall(b"bad", 2, START), None);
    // Not even under the old generation again.
    assert_eq!(cache.recall(b"good", 1, START), None);
    assert!(cache.is_empty());
}

#[test]
fn it_holds_as_many_as_it_may_and_the_latest() {
    let mut cache = TokenCache::new(3);
    let alice = verified("alice");
    for nth in 0..10_u8 {
        cache.verified(&[nth], &alice, 1);
        // What is asked for stays.
        assert!(cache.recall(&[0], 1, START).is_some(), "{nth}");
    }
    assert_eq!(cache.len(), 3);
    let known: Vec<u8> = (0..10)
        .filter(|nth| cache.recall(&[*nth], 1, START).is_some())
        .collect();
    assert_eq!(known, [0, 8, 9]);
}

#[test]
fn a_memory_of_none_remembers_nothing() {
    let mut cache = TokenCache::new(0);
    cache.verified(b"good", &verified("alice"), 1);
    cache.refused(b"bad", TokenError::Signature, 1, START);
    assert_eq!(cache.recall(b"good", 1, START), None);
    assert_eq!(cache.recall(b"bad", 1, START), None);
    assert_eq!(cache.len(), 0);
}

#[test]
fn refused_tokens_are_remembered_for_a_moment() {
    let mut cache = TokenCache::new(8);
    cache.refused(b"bad", TokenError::Signature, 1, START);
    assert_eq!(
        cache.recall(b"bad", 1, START.after(Duration::from_millis(9_999))),
        WRONG
    );
    assert_eq!(
        cache.recall(b"bad", 1, START.after(Duration::from_secs(10))),
        None
    );
    assert_eq!(cache.len(), 0);
}

#[test]
fn a_flood_of_refused_tokens_drives_out_no_good_one() {
    let mut cache = TokenCache::new(2);
    cache.verified(b"good", &verified("alice"), 1);
    for nth in 0..10_000_u32 {
        cache.refused(&nth.to_be_bytes(), TokenError::Signature, 1, START);
    }
    assert!(cache.recall(b"good", 1, START).is_some());
    let known = (0..10_000_u32).filter(|nth| cache.recall(&nth.to_be_bytes(), 1, START).is_some());
    assert_eq!(known.count(), 256);
}

#[test]
fn a_long_refused_token_is_not_remembered() {
    let mut cache = TokenCache::new(2);
    for (length, expected) in [(4_096, WRONG), (4_097, None)] {
        let token = vec![b'x'; length];
        cache.refused(&token, TokenError::Signature, 1, START);
        assert_eq!(cache.recall(&token, 1, START), expected, "{length}");
    }
}
