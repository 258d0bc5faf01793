//! The fake Authgear's Resolver Endpoint, against what Authgear's own answers.

use devkit::authgear::{Endpoint, FakeAuthgear, Options};
use devkit::client::Request;
use devkit::keys::{SigningKey, User};
use devkit::message::Reply;
use serde_json::json;

const PATH: &str = "/_resolver/resolve";
const CLEARED: &str =
    "session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax";

/// A project with alice, and a way to ask its resolver as a gateway would.
struct Project {
    authgear: FakeAuthgear,
    alice: User,
}

impl Project {
    async fn new() -> Self {
        let options = Options {
            origin: Some("https://auth.example.com".to_owned()),
            ..Options::default()
        };
        let authgear = FakeAuthgear::start(options).await;
        let alice = User::new("alice")
            .amr(&["pwd", "x_primary_password"])
            .roles(&["admin", "editor"]);
        let alice = authgear.add_user(alice);
        Self { authgear, alice }
    }

    fn ask(&self) -> Request {
        Request::new(self.authgear.address(), "GET", PATH)
            .host("auth.example.com")
            .header("x-forwarded-proto", "https")
    }

    fn session(&self) -> String {
        format!("session={}", self.authgear.session(&self.alice))
    }
}

/// The resolver's own headers, sorted.
fn verdict(reply: &Reply) -> Vec<(String, String)> {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.body.is_empty());
    reply.headers.starting_with("x-authgear-")
}

fn absent() -> Vec<(String, String)> {
    Vec::new()
}

fn refused() -> Vec<(String, String)> {
    vec![("x-authgear-session-valid".to_owned(), "false".to_owned())]
}

#[tokio::test]
async fn every_kind_of_credential_resolves_to_its_user() {
    let project = Project::new().await;
    let (authgear, alice) = (&project.authgear, &project.alice);
    let requests = [
        project.ask().bearer(authgear.access_token(alice)),
        project.ask().bearer(authgear.opaque_token(alice)),
        project.ask().header(
            "authorization",
            format!("bEARER {}", authgear.opaque_token(alice)),
        ),
        project
            .ask()
            .cookie(format!("app_session={}", authgear.app_session(alice))),
        project
            .ask()
            .cookie(format!("app_access_token={}", authgear.access_token(alice))),
        project
            .ask()
            .cookie(format!("app_access_token={}", authgear.opaque_token(alice))),
        project.ask().cookie(project.session()),
    ];
    for request in requests {
        let reply = request.clone().send().await;
        assert_eq!(verdict(&reply), alice.session_headers(), "{request:?}");
        assert!(!reply.headers.has("set-cookie"));
        assert!(!reply.headers.has("cache-control"));
    }
    let head = Request::new(authgear.address(), "HEAD", "/resolve").host("auth.example.com");
    assert_eq!(
        verdict(&head.cookie(project.session()).send().await),
        alice.session_headers()
    );
}

#[tokio::test]
async fn amr_is_present_but_empty_and_roles_are_absent_where_there_are_none() {
    let project = Project::new().await;
    let guest = project
        .authgear
        .add_user(User::new("guest").anonymous().authenticated_at(None));
    let cookie = format!("session={}", project.authgear.session(&guest));
    let reply = project.ask().cookie(cookie).send().await;
    assert_eq!(reply.headers.get("x-authgear-session-amr"), Some(&b""[..]));
    assert_eq!(
        reply.header("x-authgear-user-anonymous").as_deref(),
        Some("true")
    );
    assert!(!reply.headers.has("x-authgear-user-roles"));
    assert!(!reply.headers.has("x-authgear-session-authenticated-at"));
}

/// Authgear's resolver loses it (contract §3.2); a test may want what the specification says.
#[tokio::test]
async fn how_somebody_logged_in_is_never_said_unless_a_test_wants_it() {
    let project = Project::new().await;
    let ask = || project.ask().cookie(project.session());
    let methods = async || {
        let reply = ask().send().await;
        reply.header("x-authgear-session-amr")
    };
    assert_eq!(methods().await.as_deref(), Some(""));
    project
        .authgear
        .configure(|settings| settings.resolver_names_amr = true);
    assert_eq!(methods().await.as_deref(), Some("pwd x_primary_password"));
}

#[tokio::test]
async fn no_credential_is_no_verdict() {
    let project = Project::new().await;
    for request in [
        project.ask(),
        project.ask().cookie("other=1"),
        project.ask().header("authorization", "Basic eDp5"),
    ] {
        let reply = request.send().await;
        assert_eq!(verdict(&reply), absent());
        assert!(!reply.headers.has("set-cookie"));
    }
}

#[tokio::test]
async fn a_bad_token_or_app_session_alone_is_no_verdict() {
    let project = Project::new().await;
    let (authgear, alice) = (&project.authgear, &project.alice);
    let expired = authgear.issue(alice, &authgear.token(alice).expires_in(-1));
    let foreign = authgear.token(alice).sign(&SigningKey::rsa(9));
    let unknown_grant = authgear.token(alice).sign(&authgear.key());
    let revoked = authgear.access_token(alice);
    assert!(authgear.revoke(&revoked));
    let untrimmed = format!(" {}", authgear.access_token(alice));
    for token in [
        expired,
        foreign,
        unknown_grant,
        revoked,
        untrimmed,
        String::new(),
        "eyJ.x".to_owned(),
        "a".repeat(32),
    ] {
        let reply = project.ask().bearer(&token).send().await;
        assert_eq!(verdict(&reply), absent(), "{token}");
        assert!(!reply.headers.has("set-cookie"));
        let reply = project
            .ask()
            .cookie(format!("app_access_token={}", token.trim()))
            .send()
            .await;
        if !token.starts_with(' ') {
            assert_eq!(verdict(&reply), absent(), "{token}");
        }
    }
    let limited = authgear.app_session_without_full_access(alice);
    for session in [limited, "a".repeat(32), String::new()] {
        let reply = project
            .ask()
            .cookie(format!("app_session={session}"))
            .send()
            .await;
        assert_eq!(verdict(&reply), absent(), "{session}");
    }
}

#[tokio::test]
async fn a_bad_session_cookie_is_refused_and_taken_away() {
    let project = Project::new().await;
    let logged_out = project.authgear.session(&project.alice);
    assert!(project.authgear.revoke(&logged_out));
    for session in [
        logged_out,
        String::new(),
        "some-framework's".replace('\'', ""),
    ] {
        let reply = project
            .ask()
            .cookie(format!("session={session}"))
            .send()
            .await;
        assert_eq!(verdict(&reply), refused());
        let with_secure = CLEARED.replace("HttpOnly;", "HttpOnly; Secure;");
        assert_eq!(reply.headers.all("set-cookie"), [with_secure.as_bytes()]);
    }
    let plain = project.ask().header("x-original-proto", "ignored");
    assert_eq!(verdict(&plain.send().await), absent());
    let http = Request::new(project.authgear.address(), "GET", PATH).host("auth.example.com");
    let reply = http.cookie("session=x").send().await;
    assert_eq!(reply.headers.all("set-cookie"), [CLEARED.as_bytes()]);
}

#[tokio::test]
async fn a_user_who_is_disabled_or_deleted_has_lost_all_sessions_and_tokens() {
    let project = Project::new().await;
    let authgear = &project.authgear;
    for (name, end) in [
        ("a", FakeAuthgear::disable as fn(&FakeAuthgear, &User)),
        ("b", FakeAuthgear::delete),
    ] {
        let user = authgear.add_user(User::new(name));
        let tokens = [authgear.access_token(&user), authgear.opaque_token(&user)];
        let session = format!("session={}", authgear.session(&user));
        end(authgear, &user);
        for token in &tokens {
            let reply = project.ask().bearer(token).send().await;
            assert_eq!(verdict(&reply), absent(), "{name}");
        }
        let reply = project.ask().cookie(&session).send().await;
        assert_eq!(verdict(&reply), refused(), "{name}");
        assert!(reply.headers.has("set-cookie"));
        // What it is given after that is good for nothing either.
        let reply = project
            .ask()
            .bearer(authgear.access_token(&user))
            .send()
            .await;
        assert_eq!(verdict(&reply), refused(), "{name}");
    }
}

#[tokio::test]
async fn a_suspended_user_is_refused_and_the_same_token_is_good_again_after_that() {
    let project = Project::new().await;
    let (authgear, alice) = (&project.authgear, &project.alice);
    let token = authgear.access_token(alice);
    let session = project.session();
    authgear.suspend(alice, true);
    let reply = project.ask().bearer(&token).send().await;
    assert_eq!(verdict(&reply), refused());
    assert!(!reply.headers.has("set-cookie"));
    let reply = project.ask().cookie(&session).send().await;
    assert_eq!(verdict(&reply), refused());
    assert!(reply.headers.has("set-cookie"));
    authgear.suspend(alice, false);
    for request in [project.ask().bearer(&token), project.ask().cookie(&session)] {
        assert_eq!(verdict(&request.send().await), alice.session_headers());
    }
}

#[tokio::test]
async fn a_machines_token_is_no_verdict() {
    let project = Project::new().await;
    let token = project
        .authgear
        .machine_token("https://api.example.com", "m1");
    assert_eq!(verdict(&project.ask().bearer(token).send().await), absent());
}

#[tokio::test]
async fn a_tokens_audience_is_judged_by_the_origin_of_the_call() {
    let project = Project::new().await;
    let token = project.authgear.access_token(&project.alice);
    let plain = || Request::new(project.authgear.address(), "GET", PATH).host("auth.example.com");
    assert_eq!(verdict(&plain().bearer(&token).send().await), absent());
    assert_eq!(
        verdict(&project.ask().bearer(&token).send().await),
        project.alice.session_headers()
    );
    // Sessions do not care.
    assert_eq!(
        verdict(&plain().cookie(project.session()).send().await),
        project.alice.session_headers()
    );
    // Nor do tokens, in newer versions (contract §9.2).
    project
        .authgear
        .configure(|settings| settings.check_audience = false);
    assert_eq!(
        verdict(&plain().bearer(&token).send().await),
        project.alice.session_headers()
    );
}

#[tokio::test]
async fn the_first_credential_that_resolves_wins_and_a_bad_one_is_skipped() {
    let project = Project::new().await;
    let authgear = &project.authgear;
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| authgear.add_user(User::new(name)));
    let bearer = authgear.access_token(&a);
    let cookies = [
        format!("session={}", authgear.session(&d)),
        format!("app_access_token={}", authgear.opaque_token(&c)),
        format!("app_session={}", authgear.app_session(&b)),
    ];
    let ask = |bearer: &str, cookies: &[String]| {
        project
            .ask()
            .bearer(bearer)
            .cookie(cookies.join("; "))
            .send()
    };
    assert_eq!(verdict(&ask(&bearer, &cookies).await), a.session_headers());
    assert_eq!(verdict(&ask("bad", &cookies).await), b.session_headers());
    assert_eq!(
        verdict(&ask("bad", &cookies[..2]).await),
        c.session_headers()
    );
    assert_eq!(
        verdict(&ask("bad", &cookies[..1]).await),
        d.session_headers()
    );
    let beside_a_bad_session = ask(&bearer, &["session=bad".to_owned()]).await;
    assert_eq!(verdict(&beside_a_bad_session), a.session_headers());
    assert!(!beside_a_bad_session.headers.has("set-cookie"));
}

#[tokio::test]
async fn the_first_authorization_and_the_first_cookie_of_a_name_count() {
    let project = Project::new().await;
    let (good, bad) = (project.session(), "session=bad");
    let ask = |cookies: String| project.ask().cookie(cookies).send();
    assert_eq!(
        verdict(&ask(format!("{good}; {bad}")).await),
        project.alice.session_headers()
    );
    assert_eq!(verdict(&ask(format!("{bad}; {good}")).await), refused());
    let two_lines = project.ask().cookie("x=1").cookie(&good).send().await;
    assert_eq!(verdict(&two_lines), project.alice.session_headers());
    let token = project.authgear.opaque_token(&project.alice);
    assert_eq!(
        verdict(&project.ask().bearer("bad").bearer(&token).send().await),
        absent()
    );
    assert_eq!(
        verdict(&project.ask().bearer(&token).bearer("bad").send().await),
        project.alice.session_headers()
    );
}

#[tokio::test]
async fn cookie_names_carry_the_prefix() {
    let project = Project::new().await;
    project.authgear.configure(|settings| {
        settings.cookie_prefix = "x_".to_owned();
        settings.cookie_domain = Some("example.com".to_owned());
    });
    assert_eq!(
        verdict(&project.ask().cookie(project.session()).send().await),
        absent()
    );
    assert_eq!(
        verdict(
            &project
                .ask()
                .cookie(format!("x_{}", project.session()))
                .send()
                .await
        ),
        project.alice.session_headers()
    );
    let reply = project.ask().cookie("x_session=bad").send().await;
    let cleared = reply.header("set-cookie").expect("a clearing cookie");
    assert!(
        cleared.starts_with("x_session=; Path=/; Domain=example.com; Expires=Thu, 01 Jan 1970"),
        "{cleared}"
    );
}

#[tokio::test]
async fn the_tenant_is_chosen_by_the_forwarded_host_first() {
    let project = Project::new().await;
    let status = async |request: Request| request.send().await;
    let elsewhere = project.ask().header("x-forwarded-host", "app.example.com");
    let reply = status(elsewhere).await;
    assert_eq!((reply.status, reply.text().trim()), (404, "app not found"));
    let other = || Request::new(project.authgear.address(), "GET", PATH).host("app.example.com");
    assert_eq!(other().send().await.status, 404);
    assert_eq!(
        other()
            .header("x-original-host", "auth.example.com:8080")
            .send()
            .await
            .status,
        200
    );
    project
        .authgear
        .configure(|settings| settings.trust_proxy = false);
    assert_eq!(
        other()
            .header("x-forwarded-host", "auth.example.com")
            .send()
            .await
            .status,
        404
    );
    project
        .authgear
        .configure(|settings| settings.tenant_by_host = false);
    assert_eq!(other().send().await.status, 200);
}

#[tokio::test]
async fn other_paths_methods_and_a_trailing_slash_are_answered_as_go_does() {
    let project = Project::new().await;
    let ask = async |method: &str, path: &str| {
        Request::new(project.authgear.address(), method, path)
            .host("auth.example.com")
            .send()
            .await
    };
    for method in ["POST", "OPTIONS", "PUT", "DELETE"] {
        assert_eq!(ask(method, PATH).await.status, 405, "{method}");
    }
    let slash = ask("GET", "/_resolver/resolve/").await;
    assert_eq!(
        (slash.status, slash.header("location").as_deref()),
        (301, Some(PATH))
    );
    let unknown = ask("GET", "/_resolver/other").await;
    assert_eq!(
        (unknown.status, unknown.text().trim()),
        (404, "404 page not found")
    );
    assert_eq!(ask("GET", "/healthz").await.status, 200);
}

#[tokio::test]
async fn two_calls_at_once_for_one_session_cannot_both_have_its_lock() {
    let project = Project::new().await;
    project
        .authgear
        .configure(|settings| settings.session_lock = true);
    let (hold, cookie) = (project.authgear.hold(Endpoint::Resolver), project.session());
    let first = project.ask().cookie(&cookie).start();
    hold.wait_for(1).await;
    let second = project.ask().cookie(&cookie).start();
    hold.wait_for(2).await;
    let other = project.ask().cookie(project.session()).start();
    hold.wait_for(3).await;
    hold.release();
    assert_eq!(first.reply().await.status, 200);
    let second = second.reply().await;
    assert_eq!(
        (second.status, &second.json()["error"]["reason"]),
        (500, &json!("UnexpectedError"))
    );
    assert_eq!(other.reply().await.status, 200);
    assert_eq!(
        project.ask().cookie(&cookie).send().await.status,
        200,
        "the lock is free again"
    );
}
