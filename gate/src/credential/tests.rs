//! What a request presents (threats H1 to H4, H7 to H9, H12, R1).

use serde_json::{Value, json};

use super::*;
use crate::config::Config;

const MAX_TOKEN_BYTES: usize = 1_000;
const OPAQUE: &str = "kWlxrvZl4b0nT2lSyqMxw6kcHjaYSl3d";

fn project(jwt: Value, session: Value) -> Project {
    with_prefix("", jwt, session)
}

fn with_prefix(prefix: &str, jwt: Value, session: Value) -> Project {
    let mut project = json!({ "endpoint": "https://auth.example.com", "cluster": "authgear" });
    project["cookie_prefix"] = json!(prefix);
    project["jwt"] = jwt;
    project["session"] = session;
    let json = json!({ "projects": [project] }).to_string();
    Config::parse(json.as_bytes()).unwrap().projects[0].clone()
}

fn default() -> Project {
    project(json!({}), json!({}))
}

fn headers<'h, V: AsRef<[u8]>>(headers: &'h [(&str, V)]) -> Vec<(&'h [u8], &'h [u8])> {
    let lines = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_ref()));
    lines.collect()
}

/// What is presented, in one word and its text.
fn presented<V: AsRef<[u8]>>(lines: &[(&str, V)], project: &Project) -> String {
    let headers = headers(lines);
    match read(&headers, project, MAX_TOKEN_BYTES) {
        Err(conflict) => conflict.to_string(),
        Ok(Presented::Nothing) => "nothing".to_owned(),
        Ok(Presented::Bearer(BearerToken::Jwt(token))) => {
            format!("jwt {}", String::from_utf8_lossy(token))
        }
        Ok(Presented::Bearer(BearerToken::Opaque(token))) => format!("opaque {token}"),
        Ok(Presented::Bearer(BearerToken::Malformed)) => "malformed".to_owned(),
        Ok(Presented::Bearer(BearerToken::TooLong)) => "too long".to_owned(),
        Ok(Presented::Cookies(jar)) => {
            let ask = |credential: Option<SessionCredential>| match credential {
                Some(SessionCredential::Cookies(line)) => format!("ask {line}"),
                Some(SessionCredential::Bearer(_) | SessionCredential::Jwt(_)) => {
                    panic!("cookies are no token")
                }
                None | Some(SessionCredential::Nothing) => "nobody".to_owned(),
            };
            if let Some((name, token)) = jar.jwt(project) {
                let if_good = match ask(jar.session_beside(project, name)) {
                    asked if asked == "nobody" => String::new(),
                    asked => format!(", if good {asked}"),
                };
                let if_bad = match ask(jar.session(project)) {
                    asked if asked == "nobody" => "ask nobody".to_owned(),
                    asked => asked,
                };
                let token = String::from_utf8_lossy(token);
                return format!("{name} is jwt {token}{if_good}, if bad {if_bad}");
            }
            match ask(jar.session(project)) {
                asked if asked == "nobody" => "no value".to_owned(),
                asked => asked,
            }
        }
    }
}

fn authorization(value: impl AsRef<[u8]>) -> String {
    presented(&[("authorization", value.as_ref())], &default())
}

fn cookie(value: impl AsRef<[u8]>) -> String {
    presented(&[("cookie", value.as_ref())], &default())
}

#[test]
fn a_token_is_recognised_by_its_form() {
    let exact = format!("a.b.{}", "c".repeat(MAX_TOKEN_BYTES - 4));
    for (token, expected) in [
        ("a.b.c", "jwt a.b.c"),
        ("..", "jwt .."),
        (OPAQUE, &format!("opaque {OPAQUE}")),
        ("", "malformed"),
        ("short", "malformed"),
        ("a.b", "malformed"),
        ("a.b.c.d", "malformed"),
        ("a.b.c.d.e", "malformed"),
        (&"x".repeat(513), "malformed"),
        ("kWlxrvZl4b0nT2lSyqMxw6kcHjaYSl3 ", "malformed"),
        ("kWlxrvZl4b0nT2lSyqMxw6kcHjaYSl3\"", "malformed"),
        ("kWlxrvZl4b0nT2lSyqMxw6kcHjaYSl3;", "malformed"),
        ("kWlxrvZl4b0nT2lSyqMxw6kcHjaYSl3ü", "malformed"),
        (&exact, &format!("jwt {exact}")),
        (&format!("{exact}c"), "too long"),
        (&".".repeat(50_000), "too long"),
    ] {
        assert_eq!(
            authorization(format!("Bearer {token}")),
            expected,
            "{token:.80}"
        );
    }
}

#[test]
fn a_scheme_is_read_as_authgear_reads_it() {
    let two_opaque = format!("Bearer {OPAQUE},Bearer {OPAQUE}");
    let digest = "Digest username=\"a\", realm=\"b\",Bearer a.b.c".to_owned();
    for (value, expected) in [
        ("bearer a.b.c", "jwt a.b.c"),
        ("BEARER a.b.c", "jwt a.b.c"),
        ("bEaReR a.b.c", "jwt a.b.c"),
        ("Bearer", "malformed"),
        ("Bearer ", "malformed"),
        // Split at the first space; the rest is the token, untrimmed.
        ("Bearer  a.b.c", "jwt  a.b.c"),
        ("Bearer \ta.b.c", "jwt \ta.b.c"),
        ("Bearer a.b.c ", "jwt a.b.c "),
        ("Bearer a.b.c, Bearer d.e.f", "malformed"),
        // Envoy joins two headers so.
        ("Basic eDp5,Bearer a.b.c", "several_tokens"),
        ("Basic eDp5,bearer bad", "several_tokens"),
        ("Bearer a.b.c,Bearer bad", "jwt a.b.c,Bearer bad"),
        ("Bearer bad,Bearer a.b.c", "jwt bad,Bearer a.b.c"),
        ("Bearer a.b.c,Basic eDp5", "jwt a.b.c,Basic eDp5"),
        (&two_opaque, "malformed"),
        (&digest, "several_tokens"),
        ("Digest username=\"a\", realm=\"b\"", "nothing"),
        ("Digest a=b, c=d, bearer a.b.c", "several_tokens"),
        ("Digest a=b, c=Bearer", "nothing"),
        // Another scheme is no bearer token at all.
        ("Bearer\ta.b.c", "nothing"),
        ("Bearer\u{a0}a.b.c", "nothing"),
        ("Bearera.b.c", "nothing"),
        ("Bearer:a.b.c", "nothing"),
        ("Bearers a.b.c", "nothing"),
        ("Negotiate", "nothing"),
        (" Bearer a.b.c", "nothing"),
        ("Basic a.b.c", "nothing"),
        ("DPoP a.b.c", "nothing"),
        ("Token a.b.c", "nothing"),
        ("JWT a.b.c", "nothing"),
        ("a.b.c", "nothing"),
        ("", "nothing"),
    ] {
        assert_eq!(authorization(value), expected, "{value:?}");
    }
}

#[test]
fn more_than_one_authorization_is_refused_whatever_they_say() {
    let (bearer, other, basic) = ("Bearer a.b.c", "Bearer d.e.f", "Basic YTpi");
    for pair in [
        [bearer, other],
        [bearer, bearer],
        [bearer, basic],
        [basic, bearer],
        [basic, basic],
        [bearer, ""],
    ] {
        let lines = pair.map(|value| ("authorization", value));
        assert_eq!(presented(&lines, &default()), "several_tokens", "{pair:?}");
    }
}

#[test]
fn tokens_of_other_headers_are_read_where_they_are_configured() {
    let both = json!({ "headers": [{ "name": "authorization", "scheme": "Bearer" }, { "name": "x-token" }] });
    let project = project(both, json!({}));
    let (header, token) = ("authorization", "x-token");
    for (lines, expected) in [
        (vec![(token, "a.b.c")], "jwt a.b.c"),
        (vec![(token, "Bearer a.b.c")], "jwt Bearer a.b.c"),
        // Empty is absent.
        (vec![(token, "")], "nothing"),
        (vec![(token, ""), (token, "")], "nothing"),
        (vec![(header, "Bearer a.b.c"), (token, "")], "jwt a.b.c"),
        (vec![(header, "Bearer"), (token, "")], "malformed"),
        (vec![(header, "Bearer"), (token, "a.b.c")], "several_tokens"),
        (vec![(header, ""), (token, "a.b.c")], "jwt a.b.c"),
        (vec![(token, " ")], "malformed"),
        (vec![(token, ""), (token, "a.b.c")], "several_tokens"),
        (vec![(token, "a.b.c"), (token, "")], "several_tokens"),
        (
            vec![(token, ""), (token, ""), (token, "a.b.c")],
            "several_tokens",
        ),
        (vec![(header, "Bearer a.b.c")], "jwt a.b.c"),
        (vec![(header, "Basic a"), (token, "a.b.c")], "jwt a.b.c"),
        (
            vec![(header, "Bearer a.b.c"), (token, "a.b.c")],
            "jwt a.b.c",
        ),
        (
            vec![(header, "Bearer a.b.c"), (token, "d.e.f")],
            "several_tokens",
        ),
        (vec![(token, "a.b.c"), (token, "a.b.c")], "several_tokens"),
        (vec![(header, ""), (header, "")], "several_tokens"),
        (vec![(token, ""), ("cookie", "session=s")], "ask session=s"),
    ] {
        assert_eq!(presented(&lines, &project), expected, "{lines:?}");
    }
}

#[test]
fn look_alikes_are_no_credentials() {
    for (name, value) in [
        ("proxy-authorization", "Bearer a.b.c"),
        ("x-authorization", "Bearer a.b.c"),
        ("authorization-", "Bearer a.b.c"),
        ("x-token", "a.b.c"),
        ("x-access-token", "a.b.c"),
        ("x-forwarded-authorization", "Bearer a.b.c"),
        ("cookie", "access_token=a.b.c"),
        ("sec-websocket-protocol", "bearer, a.b.c"),
        (":path", "/?access_token=a.b.c"),
        ("cookies", "session=a"),
        ("set-cookie", "session=a"),
        ("x-authgear-session-valid", "true"),
    ] {
        assert_eq!(presented(&[(name, value)], &default()), "nothing", "{name}");
    }
}

#[test]
fn a_token_in_a_header_wins_and_cookies_are_not_looked_at() {
    for bearer in ["Bearer a.b.c", "Bearer d.e.f"] {
        let expected = format!("jwt {}", &bearer[7..]);
        for cookies in [
            "session=x",
            "session=x; session=y",
            "app_access_token=g.h.i",
        ] {
            let lines = [("authorization", bearer), ("cookie", cookies)];
            assert_eq!(presented(&lines, &default()), expected);
        }
    }
    let lines = [("authorization", "Basic YTpi"), ("cookie", "session=x")];
    assert_eq!(presented(&lines, &default()), "ask session=x");
}

#[test]
fn the_projects_cookies_are_sent_on_and_no_others() {
    for (value, expected) in [
        ("session=a", "ask session=a"),
        ("foo=1; session=a; bar=2", "ask session=a"),
        // Always in the same order: the same cache key whatever order the browser sends.
        (
            "app_access_token=c; app_session=b; session=a",
            "ask session=a; app_session=b; app_access_token=c",
        ),
        ("session=a;app_session=b", "ask session=a; app_session=b"),
        ("  session=a  ;  x=y  ", "ask session=a"),
        ("session =a", "ask session=a"),
        ("session=a=b==", "ask session=a=b=="),
        ("session=\"a\"", "ask session=a"),
        ("session= a", "ask session= a"),
        ("session=a,b", "ask session=a,b"),
        ("session=a;", "ask session=a"),
        (";;session=a;;", "ask session=a"),
        ("=; x; session=a; \"; =", "ask session=a"),
        ("x=\"y; session=a", "ask session=a"),
        ("foo=bar", "nothing"),
        ("", "nothing"),
        (";;;", "nothing"),
        ("=a", "nothing"),
        ("=", "nothing"),
        ("\"", "nothing"),
    ] {
        assert_eq!(cookie(value), expected, "{value:?}");
    }
}

#[test]
fn a_name_is_the_whole_name() {
    for value in [
        "Session=a",
        "SESSION=a",
        "xsession=a",
        "sessionx=a",
        "__Host-session=a",
        "__Secure-session=a",
        "session.sig=a",
        "$session=a",
        "session2=a",
        "session[0]=a",
        "x=session=a",
        "x, session=a",
        "session:a",
        "%73ession=a",
        "ses sion=a",
        "\u{a0}session=a",
        "my_app_session=a",
    ] {
        assert_eq!(cookie(value), "nothing", "{value:?}");
    }
    let prefixed = with_prefix(
        "p_",
        json!({}),
        json!({ "cookies": ["p_session", "p_app_session"] }),
    );
    for (value, expected) in [
        ("p_session=a; session=b", "ask p_session=a"),
        ("session=b; app_session=c", "nothing"),
        (
            "p_app_access_token=a.b.c; p_session=a",
            "p_app_access_token is jwt a.b.c, if good ask p_session=a; p_app_access_token=a.b.c, if bad ask p_session=a",
        ),
    ] {
        assert_eq!(
            presented(&[("cookie", value)], &prefixed),
            expected,
            "{value}"
        );
    }
}

#[test]
fn of_cookies_of_one_name_the_first_that_authgear_can_read_counts() {
    let too_long = format!("session={}; session=good", "x".repeat(MAX_TOKEN_BYTES + 1));
    let longest = format!("session=\"{}\"; session=good", "x".repeat(MAX_TOKEN_BYTES));
    let longest_asked = format!("ask session={}", "x".repeat(MAX_TOKEN_BYTES));
    let good = "ask session=good";
    for (value, expected) in [
        (&b"session=good; session=bad"[..], good),
        (b"session=bad; x=y; session=good", "ask session=bad"),
        (b"session=good; session=good", good),
        (b"session=\"good\"; session=bad", good),
        (b"session=good; session=\"bad\"", good),
        (b"session =good; session=bad", good),
        (b"session\t=good ;session=bad", good),
        (b"x=1; session=good; x=2", good),
        // These count: they are values, and none of Authgear's.
        (b"session=; session=good", "no value"),
        (b"session; session=good", "no value"),
        (b"session=\"\"; session=good", "no value"),
        (b"session= ; session=good", "no value"),
        (b"session= bad; session=good", "ask session= bad"),
        (b"session=\" bad\"; session=good", "ask session= bad"),
        (b"session=b a d; session=good", "ask session=b a d"),
        (
            b"session=bad, session=good",
            "ask session=bad, session=good",
        ),
        (
            b"session=bad,session=x; session=good",
            "ask session=bad,session=x",
        ),
        (b"session==; session=good", "ask session=="),
        (b"session=%22; session=good", "ask session=%22"),
        // Without its quotes it would be sent as `good`, for the spaces around a header's value are not part of it.
        (b"session=\"good \"; session=good", "no value"),
        (b"session=\"  \"; session=good", "no value"),
        (too_long.as_bytes(), "no value"),
        (longest.as_bytes(), &*longest_asked),
        // These do not: Authgear drops them.
        (b"session=b\\ad; session=good", good),
        (b"session=b\"ad; session=good", good),
        (b"session=\"; session=good", good),
        (b"session=\"bad; session=good", good),
        (b"session=bad\"; session=good", good),
        (b"session=\"\"bad\"\"; session=good", good),
        (b"session= \"bad\"; session=good", good),
        (b"session=\"bad\"x; session=good", good),
        (b"session=\"bad; x=y\"; session=good", good),
        (b"session=\xa1; session=good", good),
        (b"session=\xc3\xa4; session=good", good),
        (b"session=b\0ad; session=good", good),
        (b"session=b\tad; session=good", good),
        (b"session=\tbad; session=good", good),
        (b"session=bad\x0b; session=good", good),
        (b"session=bad\x0c; session=good", good),
        (b"session=bad\x7f; session=good", good),
        (b"session\x0c=bad; session=good", good),
        (b"session\xa0=bad; session=good", good),
        (b"\"session\"=bad; session=good", good),
        (b"Session=bad; session=good", good),
        // Nothing is left.
        (b"session=\xa1; session=\\", "nothing"),
        (b"session=\"a;session=b\"", "nothing"),
    ] {
        let shown = String::from_utf8_lossy(value);
        assert_eq!(cookie(value), expected, "{shown}");
        // In several lines, too.
        let lines: Vec<_> = value.split(|byte| *byte == b';').collect();
        let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        assert_eq!(presented(&lines, &default()), expected, "{shown}, in lines");
        // What is sent is read there as it was read here.
        if let Some(asked) = expected.strip_prefix("ask ") {
            assert_eq!(cookie(asked), expected, "{shown}, as it is sent");
        }
    }
}

#[test]
fn of_each_name_its_first_cookie_counts() {
    for (lines, expected) in [
        (
            vec!["session=a", "app_session=b; session=c", "app_session=d"],
            "ask session=a; app_session=b",
        ),
        (
            vec!["app_session=\\; session=a", "app_session=b"],
            "ask session=a; app_session=b",
        ),
        (
            vec!["session=; session=a", "app_session=b"],
            "ask app_session=b",
        ),
        (
            vec!["app_access_token=a.b.c", "app_access_token=d.e.f"],
            "app_access_token is jwt a.b.c, if bad ask nobody",
        ),
        (
            vec!["app_access_token=opaque", "app_access_token=d.e.f"],
            "ask app_access_token=opaque",
        ),
        (
            vec!["app_access_token=; app_access_token=d.e.f", "session=s"],
            "ask session=s",
        ),
        (
            vec!["app_access_token=a.b.\"c; app_access_token=\"d.e.f\"; session=s"],
            "app_access_token is jwt d.e.f, if good ask session=s; app_access_token=d.e.f, if bad ask session=s",
        ),
        (
            vec!["app_access_token=\"a.b.c\""],
            "app_access_token is jwt a.b.c, if bad ask nobody",
        ),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        assert_eq!(presented(&headers, &default()), expected, "{lines:?}");
    }
}

#[test]
fn a_value_that_authgear_never_sets_is_not_sent_to_it() {
    let longest = format!("session={}", "x".repeat(MAX_TOKEN_BYTES));
    assert_eq!(cookie(&longest), format!("ask {longest}"));
    let long = format!("{longest}x");
    for value in [
        &b"session="[..],
        b"session",
        b"session=\"\"",
        b"session=\"a \"",
        long.as_bytes(),
    ] {
        assert_eq!(
            cookie(value),
            "no value",
            "{}",
            String::from_utf8_lossy(value)
        );
    }
    assert_eq!(
        cookie(&b"session=\xa1; app_session=b"[..]),
        "ask app_session=b"
    );
    assert_eq!(
        cookie(&b"\xff=\xfe; session=a; foo=\xa1"[..]),
        "ask session=a"
    );
    assert_eq!(
        authorization(&b"Bearer \xa1.\xa2.\xa3"[..]),
        "jwt \u{fffd}.\u{fffd}.\u{fffd}"
    );
    assert_eq!(authorization(&b"\xa1"[..]), "nothing");
}

#[test]
fn a_jwt_in_a_cookie_is_verified_here_before_the_resolver_sees_it() {
    for (value, expected) in [
        (
            "app_access_token=a.b.c",
            "app_access_token is jwt a.b.c, if bad ask nobody",
        ),
        (
            "app_access_token=a.b.c; session=s",
            "app_access_token is jwt a.b.c, if good ask session=s; app_access_token=a.b.c, if bad ask session=s",
        ),
        (
            "app_access_token=a.b.c; app_session=s",
            "app_access_token is jwt a.b.c, if good ask app_session=s; app_access_token=a.b.c, if bad ask app_session=s",
        ),
        (
            "app_access_token=a.b.c; app_session=",
            "app_access_token is jwt a.b.c, if bad ask nobody",
        ),
        ("app_access_token=opaque", "ask app_access_token=opaque"),
        ("session=a.b.c", "ask session=a.b.c"),
    ] {
        assert_eq!(cookie(value), expected, "{value}");
    }
    let nowhere = project(json!({ "cookies": [] }), json!({}));
    for (value, expected) in [
        ("app_access_token=a.b.c", "no value"),
        ("app_access_token=a.b.c; session=s", "ask session=s"),
        ("app_access_token=opaque", "ask app_access_token=opaque"),
    ] {
        assert_eq!(
            presented(&[("cookie", value)], &nowhere),
            expected,
            "{value}"
        );
    }
    let tokens_only = project(json!({}), json!(null));
    for (value, expected) in [
        (
            "app_access_token=a.b.c; session=s; app_session=s",
            "app_access_token is jwt a.b.c, if bad ask nobody",
        ),
        ("app_access_token=opaque", "no value"),
        ("session=s", "nothing"),
    ] {
        assert_eq!(
            presented(&[("cookie", value)], &tokens_only),
            expected,
            "{value}"
        );
    }
}

#[test]
fn whatever_stands_beside_a_good_token_is_asked_about_with_it_under_authgears_name() {
    let all = |jwt: &[&str], client_ids: &[&str]| {
        project(
            json!({ "cookies": jwt, "client_ids": client_ids }),
            json!({}),
        )
    };
    let (mine, both) = (all(&["mine"], &[]), all(&["mine", "app_access_token"], &[]));
    let of_client = all(&["mine"], &["the-app"]);
    let sessions_only = project(
        json!({ "cookies": ["mine"] }),
        json!({ "cookies": ["session"] }),
    );
    let prefixed = with_prefix("my_", json!({ "cookies": ["mine"] }), json!({}));
    let in_session = project(json!({ "cookies": ["session"] }), json!({}));
    for (value, project, expected) in [
        ("mine=a.b.c", &mine, "ask nobody"),
        ("mine=a.b.c; session=", &mine, "ask nobody"),
        ("mine=a.b.c; other=s", &mine, "ask nobody"),
        (
            "mine=a.b.c; session=s",
            &mine,
            "ask session=s; app_access_token=a.b.c",
        ),
        (
            "mine=a.b.c; app_session=s",
            &mine,
            "ask app_session=s; app_access_token=a.b.c",
        ),
        (
            "mine=a.b.c; session=s",
            &sessions_only,
            "ask session=s; app_access_token=a.b.c",
        ),
        ("mine=a.b.c; app_session=s", &sessions_only, "ask nobody"),
        (
            "mine=a.b.c; my_session=s; session=t",
            &prefixed,
            "ask my_session=s; my_app_access_token=a.b.c",
        ),
        // Authgear reads one access token: of two, the one that `jwt.cookies` names first.
        (
            "mine=a.b.c; app_access_token=opaque",
            &mine,
            "ask app_access_token=a.b.c",
        ),
        (
            "mine=a.b.c; app_access_token=opaque; session=s",
            &mine,
            "ask session=s; app_access_token=a.b.c",
        ),
        (
            "mine=a.b.c; app_access_token=d.e.f",
            &both,
            "ask app_access_token=a.b.c",
        ),
        ("mine=opaque; app_access_token=d.e.f", &both, "ask nobody"),
        // Not a credential of this project: its cookie is not read for a JWT, or its client is not known.
        ("mine=a.b.c; app_access_token=d.e.f", &mine, "ask nobody"),
        (
            "mine=a.b.c; app_access_token=opaque",
            &of_client,
            "ask nobody",
        ),
        (
            "mine=a.b.c; app_access_token=opaque; session=s",
            &of_client,
            "ask session=s; app_access_token=a.b.c",
        ),
        ("session=a.b.c", &in_session, "ask nobody"),
        (
            "session=a.b.c; app_session=s",
            &in_session,
            "ask app_session=s; app_access_token=a.b.c",
        ),
    ] {
        let what = presented(&[("cookie", value)], project);
        let if_good = what.split_once(", if good ").map(|(_, asked)| asked);
        let if_good = if_good.and_then(|asked| asked.split_once(", if bad "));
        let asked = if_good.map_or("ask nobody", |(asked, _)| asked);
        assert_eq!(asked, expected, "{value}: {what}");
    }
}

#[test]
fn where_a_tokens_client_matters_the_resolver_is_asked_about_no_other_token() {
    let jwt = json!({ "client_ids": ["the-app"], "cookies": ["app_access_token"] });
    let ours = project(jwt, json!({}));
    let jwt = json!({ "client_ids": ["the-app"], "cookies": [] });
    let session = json!({ "cookies": ["my_app_access_token", "my_app_session"] });
    let prefixed = with_prefix("my_", jwt, session);
    for (value, project, expected) in [
        ("app_access_token=opaque", &ours, "no value"),
        ("app_access_token=opaque; session=s", &ours, "ask session=s"),
        (
            "app_access_token=a.b.c; app_session=s",
            &ours,
            "app_access_token is jwt a.b.c, if good ask app_session=s; app_access_token=a.b.c, if bad ask app_session=s",
        ),
        ("my_app_access_token=opaque", &prefixed, "no value"),
        (
            "my_app_access_token=a.b.c; my_app_session=s",
            &prefixed,
            "ask my_app_session=s",
        ),
    ] {
        assert_eq!(
            presented(&[("cookie", value)], project),
            expected,
            "{value}"
        );
    }
}

#[test]
fn five_hundred_cookies_are_read_as_one() {
    let many: Vec<String> = (0..500)
        .map(|nth| format!("cookie_{nth}={}", "x".repeat(90)))
        .collect();
    let line = format!("{}; session=a; {}", many.join("; "), many.join("; "));
    assert_eq!(cookie(&line), "ask session=a");
    assert_eq!(cookie("session=a; ".repeat(5_000)), "ask session=a");
}
