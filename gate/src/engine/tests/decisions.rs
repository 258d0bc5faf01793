//! Who passes: every requirement, with every kind of credential (threats C8, X6, P12).

use super::*;

#[test]
fn every_requirement_judges_every_credential() {
    let good = bearer(&alice());
    let bad = bearer(&alice().claim("exp", UNIX - 31));
    let forged = format!(
        "Bearer {}",
        alice().sign(&SigningKey::es256().with_kid("a-key"))
    );
    let unknown_key = format!(
        "Bearer {}",
        alice().sign(&SigningKey::es256().with_kid("b-key"))
    );
    let machines = bearer(&machine());
    let elsewhere = bearer(&machine().audience("https://api.example.com"));
    let opaque = format!("Bearer {OPAQUE}");
    let long = format!("Bearer {}", "x".repeat(4_097));
    let (good_cookie, bad_cookie) = (cookie(&alice()), cookie(&alice().claim("exp", UNIX - 31)));
    let machine_cookie = cookie(&machine());
    let (auth, cookies) = ("authorization", "cookie");
    let session = "session=s";
    let beside = |token: &str| format!("{token}; {session}");
    let (nobody, invalid, asked) = (
        "401 unauthenticated",
        "401 invalid_token",
        "wait for Session",
    );
    for (name, headers, on_optional, on_user) in [
        ("nothing", vec![], "anonymous", nobody),
        (
            "another scheme",
            vec![(auth, "Basic YTpi")],
            "anonymous",
            nobody,
        ),
        (
            "a foreign cookie",
            vec![(cookies, "foo=bar")],
            "anonymous",
            nobody,
        ),
        (
            "a good token",
            vec![(auth, good.as_str())],
            "alice",
            "alice",
        ),
        ("an expired token", vec![(auth, &bad)], invalid, invalid),
        ("a forged token", vec![(auth, &forged)], invalid, invalid),
        (
            "a token of an unknown key",
            vec![(auth, &unknown_key)],
            invalid,
            invalid,
        ),
        ("no token", vec![(auth, "Bearer")], invalid, invalid),
        (
            "a malformed token",
            vec![(auth, "Bearer a.b")],
            invalid,
            invalid,
        ),
        ("a long token", vec![(auth, &long)], invalid, invalid),
        ("an opaque token", vec![(auth, &opaque)], asked, asked),
        (
            "a machine",
            vec![(auth, &machines)],
            "anonymous",
            "403 forbidden",
        ),
        (
            "a machine meant for another",
            vec![(auth, &elsewhere)],
            invalid,
            invalid,
        ),
        (
            "a token in a cookie",
            vec![(cookies, &good_cookie)],
            "alice",
            "alice",
        ),
        (
            "an expired one in a cookie",
            vec![(cookies, &bad_cookie)],
            "anonymous",
            nobody,
        ),
        (
            "none in a cookie",
            vec![(cookies, "app_access_token=a.b.c")],
            "anonymous",
            nobody,
        ),
        (
            "a machine in a cookie",
            vec![(cookies, &machine_cookie)],
            "anonymous",
            "403 forbidden",
        ),
        ("a session", vec![(cookies, session)], asked, asked),
        (
            "an empty session",
            vec![(cookies, "session=")],
            "anonymous",
            nobody,
        ),
        (
            "a good token beside a session, in cookies",
            vec![(cookies, &beside(&good_cookie))],
            asked,
            asked,
        ),
        (
            "a bad token beside a session, in cookies",
            vec![(cookies, &beside(&bad_cookie))],
            asked,
            asked,
        ),
        (
            "a machine beside a session, in cookies",
            vec![(cookies, &beside(&machine_cookie))],
            asked,
            asked,
        ),
        (
            "a good token beside a session",
            vec![(auth, &good), (cookies, session)],
            "alice",
            "alice",
        ),
        (
            "a bad token beside a session",
            vec![(auth, &bad), (cookies, session)],
            invalid,
            invalid,
        ),
        (
            "a bad token beside a good one",
            vec![(auth, &bad), (cookies, &good_cookie)],
            invalid,
            invalid,
        ),
        (
            "a good token beside odd cookies",
            vec![(auth, &good), (cookies, "session=a; session=b")],
            "alice",
            "alice",
        ),
        (
            "two tokens",
            vec![(auth, &good), (auth, &good)],
            "400 invalid_request",
            "400 invalid_request",
        ),
        (
            "two sessions",
            vec![(cookies, "session=s; session=b")],
            asked,
            asked,
        ),
    ] {
        for (path, expected) in [
            ("/none", "unchecked"),
            ("/optional", on_optional),
            ("/", on_user),
        ] {
            assert_eq!(
                Fixture::new().get(path, &headers),
                expected,
                "{path} {name}"
            );
        }
        // And again with what is cached since the first time.
        let mut fixture = Fixture::new();
        for (path, expected) in [
            ("/", on_user),
            ("/optional", on_optional),
            ("/none", "unchecked"),
            ("/", on_user),
        ] {
            assert_eq!(
                fixture.get(path, &headers),
                expected,
                "again: {path} {name}"
            );
        }
    }
}

#[test]
fn where_only_tokens_are_accepted_nobody_is_asked() {
    let mut fixture = Fixture::with(json!({ "inline": { "keys": [KEY.jwk()] } }), json!(null));
    let (opaque, good) = (format!("Bearer {OPAQUE}"), cookie(&alice()));
    for (headers, on_optional, on_user) in [
        (
            ("authorization", opaque.as_str()),
            "401 invalid_token",
            "401 invalid_token",
        ),
        (("cookie", "session=s"), "anonymous", "401 unauthenticated"),
        (
            ("cookie", "app_access_token=opaque"),
            "anonymous",
            "401 unauthenticated",
        ),
        (("cookie", good.as_str()), "alice", "alice"),
    ] {
        assert_eq!(
            fixture.get("/optional", &[headers]),
            on_optional,
            "{headers:?}"
        );
        assert_eq!(fixture.get("/", &[headers]), on_user, "{headers:?}");
    }
}

#[test]
fn a_path_that_can_be_read_in_two_ways_is_refused_before_anything_else() {
    let good = bearer(&alice());
    for path in [
        "/none/../x",
        "/none/%2e%2e/x",
        "/none/..%2fx",
        "/none/..;/x",
        "/none%zz",
        "/none/%00",
        "",
        "none",
        "*",
        "http://a/none",
    ] {
        for headers in [vec![], vec![("authorization", good.as_str())]] {
            assert_eq!(
                Fixture::new().get(path, &headers),
                "400 invalid_request",
                "{path:?}"
            );
        }
    }
    let headers = [(&b":path"[..], &b"/none/\xff"[..])];
    let mut fixture = Fixture::new();
    let step = fixture
        .gate
        .enter(&Request::new(&headers), fixture.now, &fixture.verifier);
    assert_eq!(shown(&step), "400 invalid_request");
    assert_eq!(
        Fixture::new().get("/x/../y", &[]),
        "401 unauthenticated",
        "both readings ask for a user"
    );
}

#[test]
fn a_request_without_anything_is_refused() {
    let mut fixture = Fixture::new();
    let step = fixture
        .gate
        .enter(&Request::new(&[]), fixture.now, &fixture.verifier);
    assert_eq!(shown(&step), "400 invalid_request");
}

#[test]
fn no_header_but_the_path_moves_a_request_under_another_rule() {
    for (name, value) in [
        ("x-original-url", "/none"),
        ("x-rewrite-url", "/none"),
        ("x-envoy-original-path", "/none"),
        ("x-forwarded-uri", "/none"),
        ("x-forwarded-prefix", "/none"),
        ("x-http-method-override", "OPTIONS"),
        ("user-agent", "kube-probe/1.30"),
        ("x-envoy-internal", "true"),
        ("x-authgear-session-valid", "true"),
    ] {
        assert_eq!(
            Fixture::new().get("/", &[(name, value)]),
            "401 unauthenticated",
            "{name}"
        );
    }
    for path in ["/?/none", "/?x=/../none", "/x?path=/none/"] {
        assert_eq!(
            Fixture::new().get(path, &[]),
            "401 unauthenticated",
            "{path}"
        );
    }
}
