//! Several projects behind one gateway: which one a host has, and that nothing crosses from one to another.

use super::engine::Host;
use super::*;

const OTHER: &str = "https://auth.other.example";

static OTHER_KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::es256().with_kid("a-key"));

fn two(config: &mut Value) {
    config["projects"] = json!([
        { "endpoint": ISSUER, "cluster": "one", "hosts": ["one.example.com", "*.one.example.com"],
          "jwks": { "inline": { "keys": [KEY.jwk()] } }, "jwt": { "algorithms": ["ES256"] } },
        { "endpoint": OTHER, "cluster": "other", "hosts": ["other.example.com"],
          "jwks": { "inline": { "keys": [OTHER_KEY.jwk()] } }, "jwt": { "algorithms": ["ES256"] } },
    ]);
    config["rules"] = json!([{ "match": { "path": "/healthz" }, "require": "none" }]);
}

const AT_ONE: (&str, &str) = (":authority", "one.example.com");
const AT_OTHER: (&str, &str) = (":authority", "other.example.com:8443");

#[test]
fn each_host_has_its_own_project_and_others_have_none() {
    let mut host = Host::new(two);
    let token = bearer(&alice());
    let others = Token::user(OTHER, &ALICE)
        .claim("iat", UNIX - 100)
        .claim("exp", UNIX + 1_700);
    let others = format!("Bearer {}", others.sign(&OTHER_KEY));
    let at = |name| (":authority", name);
    let mut id = 0;
    for (authority, token, expected) in [
        (AT_ONE, &token, "alice"),
        (at("x.one.example.com"), &token, "alice"),
        (at("ONE.example.com."), &token, "alice"),
        (AT_OTHER, &token, "401 invalid_token"),
        (AT_OTHER, &others, "alice"),
        (AT_ONE, &others, "401 invalid_token"),
        (at("third.example.com"), &token, "421 no_project"),
        (at("x.other.example.com"), &others, "421 no_project"),
        (at("10.0.0.1"), &token, "421 no_project"),
        (at(""), &token, "421 no_project"),
        (at("one.example.com,x"), &token, "400 ambiguous_path"),
    ] {
        id += 1;
        let became = host.request(id, &[authority, ("authorization", token)]);
        assert_eq!(became, expected, "{authority:?}");
    }
    // Neither a header nor a second host chooses.
    let beside = [
        AT_OTHER,
        ("x-forwarded-host", "one.example.com"),
        ("host", "one.example.com"),
    ];
    let sent = [&beside[..], &[("authorization", &token)]].concat();
    assert_eq!(host.request(99, &sent), "401 invalid_token");
}

#[test]
fn what_is_for_everybody_is_for_every_host() {
    let mut host = Host::new(two);
    let at = (":authority", "10.0.0.1:8080");
    assert_eq!(host.request(1, &[(":path", "/healthz"), at]), "unchecked");
    assert_eq!(host.request(2, &[at]), "421 no_project");
    assert_eq!(
        host.request(3, &[(":path", "/healthz"), (":authority", "")]),
        "unchecked"
    );
}

/// One cookie, at both: two sessions, or one and none.
#[test]
fn no_answer_and_no_call_is_shared_with_another_project() {
    let mut host = Host::new(two);
    let cookie = ("cookie", "session=0123456789abcdef");
    assert_eq!(host.request(1, &[AT_ONE, cookie]), "call and wait");
    assert_eq!(host.request(2, &[AT_OTHER, cookie]), "call and wait");
    let asked: Vec<(&str, &str)> = host
        .calls
        .iter()
        .map(|(_, call)| {
            let authority = call.headers.iter().find(|(name, _)| *name == ":authority");
            (call.cluster.as_str(), authority.unwrap().1.as_str())
        })
        .collect();
    assert_eq!(
        asked,
        [("one", "auth.example.com"), ("other", "auth.other.example")]
    );
    let [(first, _), (second, _)] = [host.calls.remove(0), host.calls.remove(0)];
    host.answer(first, Some(&yes()), Caller::Request(1));
    host.answer(second, Some(&no()), Caller::Request(2));
    assert_eq!(
        host.ended,
        [
            (1, "alice".to_owned()),
            (2, "401 invalid_session".to_owned())
        ]
    );
    // What is cached is each one's own.
    assert_eq!(host.request(3, &[AT_ONE, cookie]), "alice");
    assert_eq!(host.request(4, &[AT_OTHER, cookie]), "401 invalid_session");
}

/// A crowd at one, and a resolver that does not answer: the other has all of its own room.
#[test]
fn a_crowd_at_one_project_starves_no_other() {
    let mut host = Host::new(|config| {
        two(config);
        config["limits"] = json!({ "waiting_requests": 10 });
    });
    let cookies: Vec<String> = (0..40)
        .map(|nth| format!("session=session-number-{nth:04}"))
        .collect();
    let (mut waiting, mut overloaded) = (0, 0);
    for (id, cookie) in cookies.iter().enumerate() {
        match host
            .request(u32::try_from(id).unwrap(), &[AT_ONE, ("cookie", cookie)])
            .as_str()
        {
            "call and wait" => waiting += 1,
            "503 overloaded" => overloaded += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((waiting, overloaded), (10, 30));
    for (nth, cookie) in cookies[..10].iter().enumerate() {
        let id = 100 + u32::try_from(nth).unwrap();
        let became = host.request(id, &[AT_OTHER, ("cookie", cookie)]);
        assert_eq!(became, "call and wait");
    }
}

/// One resolver fails until its breaker opens; the other is asked as ever.
#[test]
fn a_breaker_is_one_projects() {
    let mut host = Host::new(two);
    let ask = |host: &mut Host, id: u32, user: u32| {
        let cookie = format!("session=session-of-user-{user}");
        host.request(id, &[AT_ONE, ("cookie", &cookie)])
    };
    for user in 0..5 {
        assert_eq!(ask(&mut host, user, user), "call and wait");
        let (token, _) = host.calls.pop().expect("a call");
        let good = answer(200, &User::new(&format!("user-{user}")).headers(), b"");
        host.answer(token, Some(&good), Caller::Request(user));
    }
    host.pass(60_000);
    for user in 0..5 {
        assert_eq!(ask(&mut host, 10 + user, user), "call and wait");
    }
    for ((token, call), id) in std::mem::take(&mut host.calls).into_iter().zip(10..) {
        assert_eq!(call.cluster, "one");
        host.answer(token, Some(&answer(502, &[], b"")), Caller::Request(id));
    }
    assert_eq!(host.engine.levels(host.now).open_breakers, 1);
    let cookie = ("cookie", "session=another-session-0000");
    assert_eq!(
        host.request(1_000, &[AT_ONE, cookie]),
        "503 resolver_unavailable"
    );
    assert_eq!(host.request(1_001, &[AT_OTHER, cookie]), "call and wait");
}

#[test]
fn a_gate_is_ready_once_a_project_has_keys() {
    let mut host = Host::new(|config| {
        two(config);
        config["projects"][1]
            .as_object_mut()
            .unwrap()
            .remove("jwks");
    });
    let now = host.now;
    assert!(host.engine.is_ready(now));
    host.tick();
    let calls: Vec<&str> = host
        .calls
        .iter()
        .map(|(_, call)| call.cluster.as_str())
        .collect();
    assert_eq!(calls, ["other"]);
}
