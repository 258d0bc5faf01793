//! Rules that ask for more than a user: kinds of credential, audiences, machines, conditions; and what a denial says.

use super::*;

const JOBS: &str = "https://api.example.com/jobs";
const REPORTS: &str = "https://api.example.com/reports";

fn rules() -> Value {
    let rule = |path: &str, mut rule: Value| {
        rule["match"] = json!({ "path_prefix": path });
        rule
    };
    json!([
        rule("/jwt", json!({ "require": "user", "accept": ["jwt"] })),
        rule(
            "/session",
            json!({ "require": "user", "accept": ["session"] })
        ),
        rule(
            "/maybe-jwt",
            json!({ "require": "optional", "accept": ["jwt"] })
        ),
        rule(
            "/jobs",
            json!({ "require": "machine", "audiences": [JOBS] })
        ),
        rule(
            "/reports",
            json!({ "require": "user", "audiences": [REPORTS] })
        ),
        rule(
            "/both",
            json!({ "require": ["user", "machine"], "audiences": [JOBS, REPORTS], "accept": ["jwt", "session"] })
        ),
        rule(
            "/admin",
            json!({ "require": "user", "allow": { "roles_any": ["admin"] } })
        ),
        rule(
            "/scoped",
            json!({ "require": "user", "allow": { "scopes_all": ["read", "write"], "scopes_any": ["read", "x"] } })
        ),
        rule(
            "/recent",
            json!({ "require": "user", "allow": { "max_auth_age": "2m" } })
        ),
        rule(
            "/strong",
            json!({ "require": "user", "allow": { "amr_any": ["mfa"] } })
        ),
        rule(
            "/tenant",
            json!({ "require": "user", "allow": { "claims": { "tenant": ["acme"] } } })
        ),
    ])
}

fn fixture() -> Fixture {
    Fixture::ruled(
        json!({ "inline": { "keys": [KEY.jwk()] } }),
        json!({}),
        rules(),
    )
}

fn jobs() -> Token {
    machine().audience(JOBS)
}

/// The answer to a request with this token.
fn answer_to(fixture: &mut Fixture, path: &str, token: &Token) -> Reply {
    match fixture.enter(path, &[("authorization", &bearer(token))]) {
        Step::Reply(reply) => reply,
        other => panic!("{path}: {other:?}"),
    }
}

fn challenge(reply: &Reply) -> Option<String> {
    let mut headers = reply.headers().into_iter();
    headers.find_map(|(name, value)| (name == "www-authenticate").then_some(value))
}

#[test]
fn credentials_of_a_kind_that_does_not_count_are_not_looked_at() {
    let mut fixture = fixture();
    let (good, opaque) = (bearer(&alice()), format!("Bearer {OPAQUE}"));
    let (token, session) = (cookie(&alice()), "session=s");
    let beside = format!("{token}; {session}");
    let expired = format!("{}; {session}", cookie(&alice().claim("exp", UNIX - 31)));
    let (nobody, invalid) = ("401 unauthenticated", "401 invalid_token");
    for (headers, on_jwt, on_session, on_maybe) in [
        (
            [("authorization", good.as_str())],
            "alice",
            invalid,
            "alice",
        ),
        (
            [("authorization", &opaque)],
            invalid,
            "wait for Session",
            invalid,
        ),
        (
            [("cookie", session)],
            nobody,
            "wait for Session",
            "anonymous",
        ),
        ([("cookie", &token)], "alice", nobody, "alice"),
        // The token alone counts, whatever session is beside it.
        ([("cookie", &beside)], "alice", "wait for Session", "alice"),
        (
            [("cookie", &expired)],
            nobody,
            "wait for Session",
            "anonymous",
        ),
    ] {
        for (path, expected) in [
            ("/jwt", on_jwt),
            ("/session", on_session),
            ("/maybe-jwt", on_maybe),
        ] {
            let became = fixture.get(path, &headers);
            assert!(became.starts_with(expected), "{path} {headers:?}: {became}");
        }
    }
    // Nor does the resolver hear of the token that does not count.
    let Step::Wait(pending) = fixture.enter("/session", &[("cookie", &beside)]) else {
        panic!("it waits");
    };
    let expected = SessionCredential::Cookies(session.into());
    assert!(matches!(pending.wait_for(), WaitFor::Session(asked) if *asked == expected));
}

#[test]
fn a_token_that_does_not_count_has_its_own_reason() {
    let reply = answer_to(&mut fixture(), "/session", &alice());
    let reason = reply.reason().to_string();
    assert_eq!(reason, "invalid_token: not_accepted");
}

#[test]
fn machines_pass_where_they_are_asked_for_and_only_with_their_audience() {
    let mut fixture = fixture();
    for (path, token, expected) in [
        ("/jobs", jobs(), "a machine"),
        ("/jobs", jobs().audience(json!([ISSUER, JOBS])), "a machine"),
        ("/jobs", jobs().audience(REPORTS), "401 invalid_token"),
        ("/jobs", machine(), "401 invalid_token"),
        (
            "/jobs",
            jobs().audience(format!("{JOBS}/")),
            "401 invalid_token",
        ),
        ("/jobs", alice().audience(JOBS), "403 forbidden"),
        ("/jobs", jobs().subject("client_id_other"), "403 forbidden"),
        ("/jobs", jobs().without("client_id"), "403 forbidden"),
        (
            "/jobs",
            jobs().claim("client_id", "a b").subject("client_id_a b"),
            "403 forbidden",
        ),
        ("/both", jobs(), "a machine"),
        ("/both", alice().audience(REPORTS), "alice"),
        ("/both", alice(), "401 invalid_token"),
        ("/jwt", machine(), "403 forbidden"),
        ("/maybe-jwt", machine(), "anonymous"),
        ("/maybe-jwt", jobs(), "401 invalid_token"),
    ] {
        let became = fixture.get(path, &[("authorization", &bearer(&token))]);
        assert_eq!(became, expected, "{path} {:?}", token.payload());
    }
    let became = fixture.get("/jobs", &[("cookie", "session=s")]);
    assert_eq!(became, "401 unauthenticated");
}

#[test]
fn a_machine_has_one_header_and_nobody_else_has_it() {
    let mut fixture = fixture();
    let token = bearer(&jobs());
    let sent = [
        ("authorization", token.as_str()),
        ("x-authgear-client-id", "forged"),
    ];
    let headers = request("/jobs", &sent);
    let request = Request::new(&headers);
    let Step::Forward(admission) = fixture.gate.enter(&request, fixture.now, &fixture.verifier)
    else {
        panic!("forwarded");
    };
    assert_eq!(Counter::from(&admission), Counter::ForwardedMachine);
    let edits = edit_headers(&headers, &admission);
    let name: &[u8] = b"x-authgear-client-id";
    assert_eq!(
        edits,
        [Edit::Remove(name), Edit::Set(name, b"m1"[..].into())]
    );

    let of_user = ("authorization", bearer(&alice()));
    let Step::Forward(of_user) = fixture.enter("/jwt", &[(of_user.0, of_user.1.as_str())]) else {
        panic!("forwarded");
    };
    let edits = edit_headers(&[], &of_user);
    assert!(
        edits
            .iter()
            .all(|edit| !matches!(edit, Edit::Set(header, _) if *header == name))
    );
}

/// Two resources of one project do not take each other's tokens, cached or not.
#[test]
fn a_cached_token_is_judged_by_the_rule_at_hand() {
    let mut fixture = fixture();
    let token = bearer(&alice().audience(REPORTS));
    let headers = [("authorization", token.as_str())];
    for _ in 0..2 {
        assert_eq!(fixture.get("/reports", &headers), "alice");
        assert_eq!(fixture.get("/jwt", &headers), "401 invalid_token");
        assert_eq!(fixture.get("/both", &headers), "alice");
    }
    assert_eq!(fixture.verifier.0.get(), 1);
}

/// The resolver accepts every JWT of the project.
#[test]
fn a_token_refused_for_its_audience_is_never_asked_of_the_resolver() {
    let mut fixture = fixture();
    let token = cookie(&alice());
    let beside = format!("{token}; session=s");
    assert_eq!(
        fixture.get("/reports", &[("cookie", &token)]),
        "401 unauthenticated"
    );
    assert_eq!(
        fixture.get("/reports", &[("cookie", &beside)]),
        "401 unauthenticated"
    );
    // Where sessions count as well, the session beside it does; the token is not sent.
    for cookies in [&beside, &format!("session=s; {token}")] {
        let Step::Wait(pending) = fixture.enter("/both", &[("cookie", cookies)]) else {
            panic!("it waits");
        };
        let expected = SessionCredential::Cookies("session=s".into());
        assert!(matches!(pending.wait_for(), WaitFor::Session(asked) if *asked == expected));
    }
    assert_eq!(
        fixture.get("/both", &[("cookie", &token)]),
        "401 unauthenticated"
    );
    let became = fixture.get("/reports", &[("authorization", &bearer(&alice()))]);
    assert_eq!(became, "401 invalid_token");
}

/// Nor to confirm it, in the background; and a request that is refused puts nothing off for those that are not.
#[test]
fn a_token_refused_for_its_audience_is_not_confirmed_either() {
    let config = json!({
        "projects": [{
            "endpoint": ISSUER,
            "cluster": "authgear",
            "jwks": { "inline": { "keys": [KEY.jwk()] } },
            "jwt": { "algorithms": ["ES256"], "revalidate": "30s" },
        }],
        "rules": rules(),
    });
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    let mut fixture = Fixture {
        gate: Gate::new(config),
        ..fixture()
    };
    let token = bearer(&alice());
    let asked = [(0, SessionCredential::Jwt(token[7..].into()))];
    let headers = [("authorization", token.as_str())];
    let refused = |fixture: &mut Fixture| {
        let became = fixture.get("/reports", &headers);
        assert_eq!(became, "401 invalid_token");
        assert_eq!(fixture.gate.take_background_calls(), []);
    };
    // Seen for the first time; cached; due to be confirmed; without a verdict; revoked.
    refused(&mut fixture);
    assert_eq!(fixture.get("/jwt", &headers), "alice");
    assert_eq!(fixture.gate.take_background_calls(), asked);
    let (_, credential) = &asked[0];
    let _ = fixture.resolved(0, credential, Some(&yes()));
    fixture.pass(31);
    refused(&mut fixture);
    assert_eq!(fixture.get("/jwt", &headers), "alice");
    assert_eq!(fixture.gate.take_background_calls(), asked);
    let _ = fixture.resolved(0, credential, Some(&answer(403, &[], b"")));
    fixture.pass(31);
    refused(&mut fixture);
    assert_eq!(fixture.get("/jwt", &headers), "503 unavailable");
    assert_eq!(fixture.gate.take_background_calls(), asked);
    let _ = fixture.resolved(0, credential, Some(&no()));
    fixture.pass(31);
    refused(&mut fixture);
    assert_eq!(fixture.get("/jwt", &headers), "401 invalid_token");
    assert_eq!(fixture.gate.take_background_calls(), asked);
}

#[test]
fn a_denial_says_what_would_be_enough_and_no_more() {
    let mut fixture = fixture();
    let scoped = |scope| alice().scope(scope);
    let plain = |code| format!("Bearer realm=\"auth.example.com\", error=\"{code}\"");
    for (path, token, status, code, expected, reason) in [
        (
            "/admin",
            alice(),
            403,
            "forbidden",
            None,
            "condition_not_met: roles_any",
        ),
        (
            "/tenant",
            alice().claim("tenant", "x"),
            403,
            "forbidden",
            None,
            "condition_not_met: claims",
        ),
        (
            "/scoped",
            scoped("read"),
            403,
            "insufficient_scope",
            Some(plain("insufficient_scope") + ", scope=\"read x write\""),
            "insufficient_scope: scopes_all",
        ),
        (
            "/scoped",
            alice().without("scope"),
            403,
            "insufficient_scope",
            Some(plain("insufficient_scope") + ", scope=\"read x write\""),
            "insufficient_scope: scopes_any",
        ),
        (
            "/recent",
            alice().claim("auth_time", UNIX - 121),
            401,
            "insufficient_user_authentication",
            Some(plain("insufficient_user_authentication") + ", max_age=\"120\""),
            "insufficient_authentication: max_auth_age",
        ),
        (
            "/strong",
            alice(),
            401,
            "insufficient_user_authentication",
            Some(plain("insufficient_user_authentication")),
            "insufficient_authentication: amr_any",
        ),
        ("/jwt", machine(), 403, "forbidden", None, "not_a_user"),
        (
            "/jobs",
            alice().audience(JOBS),
            403,
            "forbidden",
            None,
            "not_a_machine",
        ),
    ] {
        let reply = answer_to(&mut fixture, path, &token);
        assert_eq!((reply.status(), reply.code()), (status, code), "{path}");
        assert_eq!(challenge(&reply), expected, "{path}");
        assert_eq!(reply.reason().to_string(), reason, "{path}");
        let body = reply.body();
        assert!(
            !body.contains("admin") && !body.contains("tenant"),
            "{body}"
        );
    }
    for (path, token) in [
        ("/admin", alice().roles(&["admin"])),
        ("/tenant", alice().claim("tenant", json!(["x", "acme"]))),
        ("/scoped", scoped("write read")),
        ("/recent", alice()),
        ("/strong", alice().claim("amr", json!(["mfa"]))),
    ] {
        let became = fixture.get(path, &[("authorization", &bearer(&token))]);
        assert_eq!(became, "alice", "{path}");
    }
}

#[test]
fn a_session_that_is_asked_what_only_a_token_says_is_denied() {
    for (path, expected) in [
        ("/scoped", "token_needed: scopes_any"),
        ("/tenant", "token_needed: claims"),
        ("/admin", "condition_not_met: roles_any"),
        ("/strong", "insufficient_authentication: amr_any"),
    ] {
        let mut fixture = fixture();
        let pending = fixture.wait(path, &[("cookie", "session=s")]);
        let WaitFor::Session(credential) = pending.wait_for() else {
            panic!("{pending:?}");
        };
        let verdict = fixture.resolved(0, credential, Some(&yes()));
        let Step::Reply(reply) = fixture.gate.session_settled(pending, &verdict, fixture.now)
        else {
            panic!("denied");
        };
        assert_eq!(reply.reason().to_string(), expected);
        let tells = reply.status() == 401;
        assert_eq!(challenge(&reply).is_some(), tells);
    }
}

/// A time that was recent enough when the token was verified is not for ever.
#[test]
fn the_age_of_an_authentication_is_judged_at_each_request() {
    let mut fixture = fixture();
    let token = bearer(&alice().claim("auth_time", UNIX - 60));
    let headers = [("authorization", token.as_str())];
    assert_eq!(fixture.get("/recent", &headers), "alice");
    fixture.pass(60);
    assert_eq!(fixture.get("/recent", &headers), "alice");
    fixture.pass(1);
    assert_eq!(
        fixture.get("/recent", &headers),
        "401 insufficient_user_authentication"
    );
    assert_eq!(fixture.get("/jwt", &headers), "alice");
}

#[test]
fn a_users_roles_have_their_headers_and_no_clients() {
    let mut fixture = fixture();
    let mut roles = RoleHeaders::default();
    for role in ["admin", "owner"] {
        roles.add(role, &format!("x-authgear-role-{role}")).unwrap();
    }
    fixture.gate.role_headers = Rc::new(roles);
    let token = bearer(&alice().roles(&["reader", "admin"]));
    let forged = ("x-authgear-role-owner", "true");
    let sent = [("authorization", token.as_str()), forged];
    let headers = request("/jwt", &sent);
    let step = fixture
        .gate
        .enter(&Request::new(&headers), fixture.now, &fixture.verifier);
    let Step::Forward(admission) = step else {
        panic!("forwarded");
    };
    let edits = edit_headers(&headers, &admission);
    assert_eq!(edits.first(), Some(&Edit::Remove(b"x-authgear-role-owner")));
    let of_roles: Vec<&Edit<'_>> = edits
        .iter()
        .filter(|edit| matches!(edit, Edit::Set(name, _) if name.starts_with(b"x-authgear-role-")))
        .collect();
    assert_eq!(
        of_roles,
        [&Edit::Set(b"x-authgear-role-admin", b"true"[..].into())]
    );
}
