//! The token cache (threats S11, Q3, E1).

use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::time::Ticks;

const START: Ticks = Ticks::from_millis(1_000);
const WRONG: Option<CachedToken> = Some(CachedToken::Refused(TokenError::Signature));

fn verified(subject: &str) -> Rc<VerifiedToken> {
    let token = alice().subject(subject).sign(&KEY);
    Rc::new(verify(&token, &key_of(&KEY), &RustCrypto).unwrap())
}

/// The time between two confirmations.
const SHORT: Duration = Duration::from_secs(1);

#[test]
fn a_token_is_known_by_every_byte_of_it() {
    let mut cache = TokenCache::new(8);
    let alice = verified("alice");
    let token = b"header.payload.signature";
    assert_eq!(cache.get(token, 1, None, START), None);
    cache.insert_verified(token, &alice, 1, None, START);
    assert_eq!(
        cache.get(token, 1, None, START),
        Some(CachedToken::Verified {
            token: Rc::clone(&alice),
            standing: Standing {
                confirm: false,
                unconfirmed: false
            }
        })
    );
    for nth in 0..token.len() {
        let mut twin = token.to_vec();
        twin[nth] ^= 1;
        assert_eq!(cache.get(&twin, 1, None, START), None, "{nth}");
        assert_eq!(cache.get(&token[..nth], 1, None, START), None, "{nth}");
    }
    assert_eq!(
        cache.get(b"header.payload.signature=", 1, None, START),
        None
    );
    cache.remove(token);
    assert_eq!(cache.get(token, 1, None, START), None);
    assert_eq!(cache.len(), 0);
}

/// Of an ECDSA signature (r, s) anybody can make (r, n - s).
#[test]
fn the_resolvers_verdict_on_a_token_applies_to_every_signature() {
    const ONE: &[u8] = b"header.payload.one";
    const TWO: &[u8] = b"header.payload.two";
    let every = Some(Duration::from_secs(30));
    let alice = confirmable("c");
    let mut cache = TokenCache::new(1);
    let known = |cache: &mut TokenCache, token| cache.get(token, 1, every, START).is_some();
    assert!(cache.insert_verified(ONE, &alice, 1, every, START).confirm);
    assert!(
        !known(&mut cache, TWO),
        "a miss: it must be verified itself"
    );
    assert!(
        !cache.insert_verified(TWO, &alice, 1, every, START).confirm,
        "but the resolver is asked once"
    );
    assert!(known(&mut cache, TWO) && !known(&mut cache, ONE));
    assert_eq!((cache.len(), cache.take_evicted()), (1, 0));
    assert!(cache.peek(ONE).is_some() && cache.peek(TWO).is_some());
    let later = START.after(Duration::from_secs(30));
    assert!(cache.insert_verified(ONE, &alice, 1, every, later).confirm);
    // A wrong signature changes nothing for the others.
    cache.insert_refused(b"header.payload.bad", TokenError::Signature, 1, START);
    assert!(known(&mut cache, ONE) && !cache.is_revoked(ONE));

    // Without a verdict, neither is accepted.
    cache.unconfirmed(ONE, later, later);
    let twin = cache.insert_verified(TWO, &alice, 1, every, later);
    assert!(twin.unconfirmed && !twin.confirm, "{twin:?}");
    cache.answered(ONE, later, SHORT);
    assert!(
        !cache
            .insert_verified(TWO, &alice, 1, every, later)
            .unconfirmed
    );

    cache.revoke(TWO, START);
    for token in [ONE, TWO, b"header.payload.three"] {
        assert!(cache.is_revoked(token) && cache.get(token, 1, every, START).is_none());
    }
    assert!(!cache.is_revoked(b"header.other.one") && !cache.is_revoked(b"header.payloads"));
    cache.revoke(ONE, START);
    assert_eq!(cache.take_evicted(), 0, "it is one");
}

#[test]
fn new_keys_evict_everything() {
    let mut cache = TokenCache::new(8);
    cache.insert_verified(b"good", &verified("alice"), 1, None, START);
    cache.insert_refused(b"bad", TokenError::Signature, 1, START);
    assert_eq!(cache.get(b"bad", 1, None, START), WRONG);
    assert_eq!(cache.get(b"good", 2, None, START), None);
    assert_eq!(cache.get(b"bad", 2, None, START), None);
    // Not even under the old generation again.
    assert_eq!(cache.get(b"good", 1, None, START), None);
    assert_eq!(cache.len(), 0);
}

#[test]
fn it_caches_as_many_as_it_may_and_the_latest() {
    let mut cache = TokenCache::new(3);
    let alice = verified("alice");
    for nth in 0..10_u8 {
        cache.insert_verified(&[nth], &alice, 1, None, START);
        // An entry that is hit stays.
        assert!(cache.get(&[0], 1, None, START).is_some(), "{nth}");
    }
    assert_eq!(cache.len(), 3);
    let known: Vec<u8> = (0..10)
        .filter(|nth| cache.get(&[*nth], 1, None, START).is_some())
        .collect();
    assert_eq!(known, [0, 8, 9]);
    assert_eq!((cache.take_evicted(), cache.take_evicted()), (7, 0));
}

#[test]
fn a_cache_of_size_0_caches_nothing() {
    let mut cache = TokenCache::new(0);
    cache.insert_verified(b"good", &verified("alice"), 1, None, START);
    cache.insert_refused(b"bad", TokenError::Signature, 1, START);
    assert_eq!(cache.get(b"good", 1, None, START), None);
    assert_eq!(cache.get(b"bad", 1, None, START), None);
    assert_eq!(cache.len(), 0);
}

#[test]
fn refused_tokens_are_cached_for_ten_seconds() {
    let mut cache = TokenCache::new(8);
    cache.insert_refused(b"bad", TokenError::Signature, 1, START);
    assert_eq!(
        cache.get(b"bad", 1, None, START.after(Duration::from_millis(9_999))),
        WRONG
    );
    assert_eq!(
        cache.get(b"bad", 1, None, START.after(Duration::from_secs(10))),
        None
    );
    assert_eq!(cache.len(), 0);
}

#[test]
fn a_flood_of_refused_tokens_evicts_no_verified_one() {
    let mut cache = TokenCache::new(2);
    cache.insert_verified(b"good", &verified("alice"), 1, None, START);
    for nth in 0..10_000_u32 {
        cache.insert_refused(&nth.to_be_bytes(), TokenError::Signature, 1, START);
    }
    assert!(cache.get(b"good", 1, None, START).is_some());
    let known =
        (0..10_000_u32).filter(|nth| cache.get(&nth.to_be_bytes(), 1, None, START).is_some());
    assert_eq!(known.count(), 256);
}

#[test]
fn a_long_refused_token_is_not_cached() {
    let mut cache = TokenCache::new(2);
    for (length, expected) in [(4_096, WRONG), (4_097, None)] {
        let token = vec![b'x'; length];
        cache.insert_refused(&token, TokenError::Signature, 1, START);
        assert_eq!(cache.get(&token, 1, None, START), expected, "{length}");
    }
}

/// A token that the resolver is asked to confirm.
fn confirmable(client_id: &str) -> Rc<VerifiedToken> {
    let token = alice().claim("client_id", client_id).sign(&KEY);
    let policy = policy(&json!({ "revalidate": "30s" }));
    let inspected =
        InspectedToken::inspect(token.as_bytes(), &issuer(), &policy, &needed(), NOW).unwrap();
    Rc::new(inspected.verify(&key_of(&KEY), &RustCrypto).unwrap())
}

#[test]
fn a_token_is_confirmed_at_most_as_often_as_it_should_be() {
    let mut cache = TokenCache::new(8);
    let every = Some(Duration::from_secs(30));
    let after = |seconds| START.after(Duration::from_secs(seconds));
    let mut confirm = |seconds, every| match cache.get(b"t", 1, every, after(seconds)) {
        Some(CachedToken::Verified { standing, .. }) => standing.confirm,
        None => {
            cache
                .insert_verified(b"t", &confirmable("c"), 1, every, after(seconds))
                .confirm
        }
        other => panic!("{other:?}"),
    };
    let due: Vec<u64> = (0..100).filter(|second| confirm(*second, every)).collect();
    assert_eq!(due, [0, 30, 60, 90]);
    assert!(!confirm(1_000, None), "not where it is not asked for");
}

#[test]
fn only_tokens_that_the_resolver_knows_are_confirmed() {
    let mut cache = TokenCache::new(8);
    let unconfirmable = verified("alice");
    assert_eq!(unconfirmable.revalidation_scope(), None);
    cache.insert_verified(b"t", &unconfirmable, 1, None, START);
    let cached = cache.get(b"t", 1, Some(Duration::ZERO), START);
    assert!(matches!(
        cached,
        Some(CachedToken::Verified { standing, .. }) if !standing.confirm
    ));
    // The resolver has confirmed a token of one client, and none of the other.
    let (mine, other) = (confirmable("mine"), confirmable("other"));
    cache.confirmed(b"any", mine.revalidation_scope().unwrap().clone());
    assert!(cache.has_confirmed(confirmable("mine").revalidation_scope().unwrap()));
    assert!(!cache.has_confirmed(other.revalidation_scope().unwrap()));
}

#[test]
fn a_revoked_token_stays_revoked_whatever_becomes_of_the_keys() {
    let mut cache = TokenCache::new(2);
    cache.insert_verified(b"t", &confirmable("c"), 1, None, START);
    assert!(!cache.is_revoked(b"t"));
    cache.revoke(b"t", START);
    assert!(cache.is_revoked(b"t") && !cache.is_revoked(b"u"));
    assert_eq!(cache.get(b"t", 1, None, START), None);
    assert_eq!(cache.get(b"t", 2, None, START), None);
    let alice = confirmable("c");
    for nth in 0..10_000_u32 {
        cache.insert_refused(&nth.to_be_bytes(), TokenError::Signature, 2, START);
        cache.insert_verified(&nth.to_be_bytes(), &alice, 2, None, START);
    }
    assert!(cache.is_revoked(b"t"), "no flood of others evicts it");
}

#[test]
fn a_token_is_asked_about_again_a_whole_time_after_the_question() {
    let mut cache = TokenCache::new(2);
    let alice = confirmable("c");
    let at = |millis| START.after(Duration::from_millis(millis));
    let every = Some(SHORT);
    assert!(cache.insert_verified(b"t", &alice, 1, every, at(0)).confirm);
    // The resolver was asked at a later tick, or earlier by another worker.
    for asked_at in [90, 300] {
        assert!(!cache.is_judged(b"t", at(asked_at)));
        cache.answered(b"t", at(asked_at), SHORT);
        assert!(cache.is_judged(b"t", at(asked_at)) && !cache.is_judged(b"t", at(asked_at + 1)));
        assert!(
            !cache
                .insert_verified(b"t", &alice, 1, every, at(asked_at + 999))
                .confirm
        );
    }
    assert!(
        cache
            .insert_verified(b"t", &alice, 1, every, at(1_300))
            .confirm
    );
    assert!(!cache.is_judged(b"u", at(0)));
}

#[test]
fn a_revoked_token_is_accepted_again_only_once_it_is_confirmed() {
    let mut cache = TokenCache::new(2);
    let mine = confirmable("mine");
    let at = |seconds| START.after(Duration::from_secs(seconds));
    let every = Duration::from_secs(30);
    cache.insert_verified(b"t.1", &mine, 1, Some(every), at(0));
    cache.answered(b"t.1", at(0), every);
    cache.revoke(b"t.1", at(0));
    assert!(cache.is_judged(b"t.1", at(0)) && cache.peek(b"t.1").is_some());
    // Whatever its signature, that which was verified is asked about, once in that time.
    let due = |cache: &mut TokenCache, seconds| {
        let due = cache.recheck(b"t.2", every, NOW, at(seconds));
        due.map(|(text, _)| text)
    };
    for (seconds, asked) in [
        (29, false),
        (30, true),
        (30, false),
        (59, false),
        (60, true),
    ] {
        let expected = asked.then(|| b"t.1".to_vec());
        assert_eq!(due(&mut cache, seconds), expected, "{seconds}");
    }
    assert!(
        cache.recheck(b"t.1", every, u64::MAX, at(600)).is_none(),
        "it has expired"
    );
    // Another worker asked later.
    cache.answered(b"t.1", at(100), every);
    cache.revoke(b"t.1", at(100));
    assert_eq!(due(&mut cache, 129), None);
    cache.confirmed(b"t.1", mine.revalidation_scope().unwrap().clone());
    assert!(!cache.is_revoked(b"t.1"));
    assert_eq!(
        cache.get(b"t.1", 1, None, at(130)),
        None,
        "it is verified anew"
    );
    // Of one that is not cached any more nothing is known but that it is refused.
    cache.revoke(b"u.1", at(0));
    assert!(cache.is_revoked(b"u.2"));
    assert!(cache.recheck(b"u.1", every, NOW, at(600)).is_none());
}
