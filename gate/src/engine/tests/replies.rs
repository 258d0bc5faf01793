//! What an answer says to the client, and what it does not (threats S12, P15).

use super::*;
use crate::credential::Conflict;
use crate::jwt::TokenError;
use crate::policy::PathRefused;

fn reply(step: Step) -> Reply {
    match step {
        Step::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const FRESH: (&str, &str) = ("cache-control", "no-store");

fn headers(reply: &Reply) -> Vec<(&'static str, String)> {
    let mut headers = reply.headers();
    headers.sort();
    headers
}

fn owned(headers: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    headers.sort();
    headers
}

#[test]
fn every_answer_has_its_status_its_code_and_its_headers() {
    let challenge = ("www-authenticate", r#"Bearer realm="auth.example.com""#);
    let invalid = (
        "www-authenticate",
        r#"Bearer realm="auth.example.com", error="invalid_token""#,
    );
    let (machines, good) = (bearer(&machine()), bearer(&alice()));
    let session = [("cookie", "session=s")];
    let unavailable = r#"{"code":"unavailable","message":"Authentication is unavailable at the moment. Try again later."}"#;
    let forbidden = r#"{"code":"forbidden","message":"This is for users only."}"#;
    let ambiguous = r#"{"code":"invalid_request","message":"The request is ambiguous."}"#;
    let mut fixture = Fixture::new();
    let give_up = |fixture: &mut Fixture, reason| fixture.wait("/", &session).give_up(reason);
    for (reply, status, extra, body) in [
        (
            reply(fixture.enter("/", &[])),
            401,
            Some(challenge),
            r#"{"code":"unauthenticated","message":"Authentication is required."}"#,
        ),
        (
            reply(fixture.enter("/", &[("cookie", "session=")])),
            401,
            Some(challenge),
            r#"{"code":"unauthenticated","message":"Authentication is required."}"#,
        ),
        (
            reply(fixture.enter("/", &[("authorization", "Bearer x")])),
            401,
            Some(invalid),
            r#"{"code":"invalid_token","message":"The access token is not valid."}"#,
        ),
        (
            reply(fixture.enter("/optional", &[("authorization", "Bearer x")])),
            401,
            Some(invalid),
            r#"{"code":"invalid_token","message":"The access token is not valid."}"#,
        ),
        (
            reply(fixture.enter("/", &[("authorization", &machines)])),
            403,
            None,
            forbidden,
        ),
        (
            reply(fixture.enter("/", &[("authorization", &good), ("authorization", &good)])),
            400,
            None,
            ambiguous,
        ),
        (
            reply(fixture.enter("/none/../x", &[])),
            400,
            None,
            ambiguous,
        ),
        (
            give_up(&mut fixture, Reason::TimedOut),
            503,
            Some(("retry-after", "1")),
            unavailable,
        ),
        (
            give_up(&mut fixture, Reason::Overloaded),
            503,
            Some(("retry-after", "1")),
            unavailable,
        ),
        (
            give_up(&mut fixture, Reason::Internal),
            503,
            Some(("retry-after", "1")),
            unavailable,
        ),
        (
            give_up(
                &mut fixture,
                Reason::ResolverUnavailable(ResolverError::NoAnswer),
            ),
            503,
            Some(("retry-after", "1")),
            unavailable,
        ),
    ] {
        let mut expected = vec![JSON, FRESH];
        expected.extend(extra);
        assert_eq!(
            (reply.status(), reply.body().as_str()),
            (status, body),
            "{reply:?}"
        );
        assert_eq!(headers(&reply), owned(&expected), "{reply:?}");
        let body: Value = serde_json::from_str(&reply.body()).unwrap();
        assert_eq!(body["code"], reply.code());
    }
}

#[test]
fn a_bad_token_in_a_cookie_is_answered_like_no_credential() {
    let mut fixture = Fixture::new();
    let whole = |reply: &Reply| (reply.status(), headers(reply), reply.body());
    let none = whole(&reply(fixture.enter("/", &[])));
    for token in [
        cookie(&alice().claim("exp", 1)),
        cookie(&alice().header("kid", "unknown")),
        "app_access_token=a.b.c".to_owned(),
    ] {
        let reply = reply(fixture.enter("/", &[("cookie", &token)]));
        assert_eq!(whole(&reply), none, "{token}");
        assert_eq!(reply.code(), "unauthenticated", "{token}");
        // The operator sees what it was.
        assert_eq!(reply.reason().name(), "invalid_token", "{token}");
        assert!(matches!(
            Counter::from(reply.reason()),
            Counter::RefusedInvalidToken
        ));
    }
}

#[test]
fn retry_after_says_when_keys_are_fetched_next() {
    let mut fixture = Fixture::new();
    for (retry_in, expected) in [
        (Duration::ZERO, "1"),
        (Duration::from_millis(1), "1"),
        (Duration::from_millis(1_001), "2"),
        (Duration::from_secs(30), "30"),
        (Duration::MAX, "18446744073709551615"),
    ] {
        let pending = fixture.wait("/", &[("cookie", "session=s")]);
        let reply = pending.give_up(Reason::KeysUnavailable(retry_in));
        assert!(
            reply
                .headers()
                .contains(&("retry-after", expected.to_owned())),
            "{retry_in:?}"
        );
    }
}

#[test]
fn every_bad_token_gets_the_same_answer() {
    let mut fixture = Fixture::new();
    let mut answers = Vec::new();
    for token in [
        "Bearer".to_owned(),
        "Bearer a.b".to_owned(),
        "Bearer a.b.c".to_owned(),
        format!("Bearer {}", "x".repeat(5_000)),
        bearer(&alice().claim("exp", 1)),
        bearer(&alice().claim("nbf", UNIX + 100)),
        bearer(&alice().claim("iss", "x")),
        bearer(&alice().audience("x")),
        bearer(&alice().without("sub")),
        bearer(&alice().header("typ", "JWT")),
        bearer(&alice().header("crit", json!(["x"]))),
        bearer(&alice().header("alg", "HS256")),
        bearer(&alice().header("kid", "unknown")),
        bearer(&alice().claim("cnf", json!({}))),
        format!("Bearer {}", alice().unsigned("none")),
        format!(
            "Bearer {}",
            alice().sign(&SigningKey::es256().with_kid("a-key"))
        ),
    ] {
        let reply = reply(fixture.enter("/", &[("authorization", &token)]));
        answers.push((reply.status(), headers(&reply), reply.body()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
}

#[test]
fn grpc_is_answered_in_its_own_way() {
    for (content_type, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        // Envoy does not take these for gRPC, and it is Envoy that writes gRPC answers.
        ("Application/GRPC", false),
        ("application/grpc; charset=utf-8", false),
        ("application/grpc-web", false),
        ("application/grpcx", false),
        ("application/json", false),
        ("text/plain; application/grpc", false),
    ] {
        let mut fixture = Fixture::new();
        let reply = reply(fixture.enter("/", &[("content-type", content_type)]));
        assert_eq!(reply.status(), 401, "{content_type}");
        let is_json = reply
            .headers()
            .contains(&("content-type", "application/json".to_owned()));
        assert_eq!(is_json, !grpc, "{content_type}");
        assert_eq!(
            reply.body() == "Authentication is required.",
            grpc,
            "{content_type}"
        );
        // It is kept across a wait.
        let pending = fixture.wait(
            "/",
            &[("content-type", content_type), ("cookie", "session=s")],
        );
        let body = pending.give_up(Reason::TimedOut).body();
        assert_eq!(body.starts_with('{'), !grpc, "{content_type}");
    }
}

#[test]
fn the_log_has_what_is_known_beyond_the_reasons_name() {
    let pause = Duration::from_secs(1);
    for (reason, text) in [
        (Reason::NoCredential, "no_credential"),
        (
            Reason::Conflict(Conflict::SeveralTokens),
            "conflicting_credentials: several_tokens",
        ),
        (
            Reason::Path(PathRefused::Method),
            "ambiguous_path: the method is not one in capitals",
        ),
        (
            Reason::Token(TokenError::Expired, TokenSource::Header),
            "invalid_token: expired",
        ),
        (
            Reason::Token(TokenError::Expired, TokenSource::Cookie),
            "invalid_token: expired (in a cookie)",
        ),
        (Reason::InvalidOpaqueToken, "invalid_token"),
        (Reason::KeysUnavailable(pause), "keys_unavailable"),
        (
            Reason::ResolverUnavailable(ResolverError::Status(500)),
            "resolver_unavailable: answered with status 500",
        ),
        (
            Reason::TokenUnconfirmed,
            "resolver_unavailable: the token's confirmation was answered without a verdict",
        ),
        (
            Reason::CircuitOpen(pause),
            "resolver_unavailable: not asked, it has failed too often",
        ),
    ] {
        assert_eq!(reason.to_string(), text, "{reason:?}");
    }
}

/// At once, and after a wait; whatever is asked for, by whatever rule.
#[test]
fn an_answer_names_the_request_where_envoy_has_named_it() {
    const ID: &str = "5f1c2f4e-93a1-4bd0-8e9c-4c1c3f6f0a55";
    let long = "x".repeat(129);
    for (id, named) in [
        (ID, true),
        (&long[..128], true),
        (&long, false),
        ("", false),
        ("a b", false),
        ("a\r\nb", false),
        ("\u{e4}", false),
        // What JSON would escape.
        ("a\"b", false),
        ("a\\b", false),
    ] {
        let mut host = engine::Host::new(|config| {
            config["rules"] = json!([{ "match": { "path": "/a" }, "require": "none" }]);
            config["limits"]["waiting_requests"] = json!(1);
        });
        let named_request = |path, more: &[(&str, &str)], content_type| {
            let mut headers = vec![("x-request-id", id), ("content-type", content_type)];
            headers.extend(more);
            let headers: Vec<(String, String)> = headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            (path, headers)
        };
        let mut ask = |nth: u32, (path, headers): (&str, Vec<(String, String)>)| {
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            let headers = request(path, &headers);
            let request = Request::new(&headers);
            host.with(|engine, env| engine.handle_request(nth, &request, &|| None, env))
        };
        let mut replies = Vec::new();
        for (nth, asked) in (1..).zip([
            named_request("/", &[], ""),
            named_request("/a/%zz", &[], ""),
            named_request("/", &[("authorization", "Bearer x")], ""),
            named_request(
                "/",
                &[
                    ("authorization", "Bearer a.b.c"),
                    ("authorization", "Bearer d.e.f"),
                ],
                "",
            ),
        ]) {
            let Decision::Respond(reply) = ask(nth, asked) else {
                panic!("{nth}")
            };
            replies.push(reply);
        }
        let first = ask(11, named_request("/", &[("cookie", "session=a")], ""));
        let Decision::Wait(Some(_)) = first else {
            panic!("{first:?}")
        };
        let Decision::Respond(reply) = ask(12, named_request("/", &[("cookie", "session=b")], ""))
        else {
            panic!("it waits")
        };
        replies.push(reply);
        let grpc = ask(13, named_request("/", &[], "application/grpc"));
        let Decision::Respond(grpc) = grpc else {
            panic!("{grpc:?}")
        };
        // Nobody answers the first: it gives up.
        host.pass(10_000);
        let waited = host.with(|engine, env| engine.poll_action(Caller::Root, env));
        let Some(Action::Respond(11, reply)) = waited else {
            panic!("{waited:?}")
        };
        replies.push(reply);
        for reply in replies {
            let body: Value = serde_json::from_str(&reply.body()).unwrap();
            assert_eq!(
                body["request_id"].as_str(),
                named.then_some(id),
                "{reply:?}"
            );
            assert_eq!(reply.request_id(), named.then_some(id));
        }
        // The text of gRPC's answer is a message alone; the log has it all the same.
        assert_eq!(grpc.body(), "Authentication is required.");
        assert_eq!(grpc.request_id(), named.then_some(id));
    }
}
