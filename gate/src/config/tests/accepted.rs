//! What is accepted, and what it means.

use std::time::Duration;

use std::rc::Rc;

use super::*;
use crate::endpoint::Endpoint;
use crate::jose::{Algorithm, KeySet};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Authgear's cookies under a prefix.
fn cookies(prefix: &str) -> Vec<SessionCookie> {
    let names = [
        ("session", CookieRole::Session),
        ("app_session", CookieRole::AppSession),
        ("app_access_token", CookieRole::AccessToken),
    ];
    let cookies = names.map(|(name, role)| SessionCookie {
        name: format!("{prefix}{name}"),
        role,
    });
    cookies.to_vec()
}

/// What the smallest configuration means: every default of the reference.
fn defaults() -> Config {
    Config {
        projects: vec![Project {
            endpoint: Endpoint::parse(ENDPOINT).unwrap(),
            hosts: Vec::new(),
            keys: KeySource::Remote(RemoteKeys {
                cluster: "authgear".to_owned(),
                location: KeyLocation::Path("/oauth2/jwks".to_owned()),
                refresh: seconds(300),
                max_stale: seconds(3_600),
                timeout: seconds(5),
                unknown_kid_cooldown: seconds(30),
            }),
            jwt: JwtPolicy {
                audiences: texts(&[ENDPOINT]),
                client_ids: Vec::new(),
                algorithms: vec![Algorithm::Rs256],
                clock_skew: seconds(30),
                max_lifetime: None,
                require_typ: true,
                cookies: texts(&["app_access_token"]),
                headers: vec![TokenHeader {
                    name: "authorization".to_owned(),
                    scheme: Some("Bearer".to_owned()),
                }],
                revalidate: None,
            },
            session: Some(SessionPolicy {
                cluster: "authgear".to_owned(),
                path: "/_resolver/resolve".to_owned(),
                timeout: seconds(1),
                cookies: cookies(""),
                access_token_cookie: "app_access_token".to_owned(),
                ttl: seconds(10),
                negative_ttl: seconds(2),
                stale_if_error: seconds(0),
                relay_set_cookie: false,
            }),
        }],
        rules: Vec::new(),
        default: Rc::new(Requirement::new(Require::User)),
        role_headers: RoleHeaders::default(),
        client_identity_headers: ClientIdentityHeaders::Strip,
        limits: Limits {
            token_bytes: 16_384,
            cached_tokens: 4_096,
            cached_sessions: 4_096,
            waiting_requests: 1_024,
        },
        warnings: Vec::new(),
    }
}

#[test]
fn the_smallest_configuration_has_a_safe_default_for_everything() {
    assert_eq!(accepted(&smallest()), defaults());
}

#[test]
fn a_configuration_that_spells_out_the_defaults_means_the_same_as_the_smallest() {
    let spelt_out = json!({
        "projects": [{
            "endpoint": ENDPOINT,
            "hosts": [],
            "cluster": "authgear",
            "cookie_prefix": "",
            "jwks": { "uri": "/oauth2/jwks", "refresh": "5m", "max_stale": "1h", "timeout": "5s",
                      "unknown_kid_cooldown": "30s" },
            "jwt": { "audiences": [ENDPOINT], "client_ids": [], "algorithms": ["RS256"], "clock_skew": "30s",
                     "max_lifetime": null, "require_typ": true, "cookies": ["app_access_token"],
                     "headers": [{ "name": "authorization", "scheme": "Bearer" }], "revalidate": null },
            "session": { "cluster": "authgear", "path": "/_resolver/resolve", "timeout": "1s",
                         "cookies": ["session", "app_session", "app_access_token"], "ttl": "10s",
                         "negative_ttl": "2s", "stale_if_error": "0s", "relay_set_cookie": false },
            "login": null,
        }],
        "rules": [],
        "default": { "require": "user", "on_unauthenticated": "401", "accept": ["jwt", "session"], "allow": {} },
        "upstream": { "strip_credentials": false, "claim_headers": {} },
        "limits": { "token_bytes": 16384, "cached_tokens": 4096, "cached_sessions": 4096, "waiting_requests": 1024 },
        "client_identity_headers": "strip",
        "on_invalid_config": "refuse",
        "report_only": false,
    });
    assert_eq!(accepted(&spelt_out), defaults());
}

#[test]
fn every_member_of_the_reference_is_read() {
    let config = accepted(&json!({
        "projects": [{
            "endpoint": "http://localhost:10001",
            "cluster": "authgear",
            "cookie_prefix": "x_app_",
            "jwks": { "discover": true, "refresh": "1s", "max_stale": "0s", "timeout": "50ms",
                      "unknown_kid_cooldown": "1h" },
            "jwt": { "audiences": ["a", "b"], "client_ids": ["c"],
                     "algorithms": ["RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA"],
                     "clock_skew": "0s", "max_lifetime": "7d", "require_typ": false, "cookies": [],
                     "headers": [{ "name": "x-token" }, { "name": "x-other", "scheme": null }] },
            "session": { "cluster": "resolver", "path": "/resolve?x=y", "timeout": "60s", "cookies": ["x_app_session"],
                         "ttl": "0s", "negative_ttl": "5m", "stale_if_error": "1d", "relay_set_cookie": true },
        }],
        "rules": [
            { "match": { "path_prefix": "/healthz", "methods": ["GET", "M-SEARCH"] }, "require": "none" },
            { "match": { "path": "/blog/", "hosts": ["app.example.com", "*.example.org"] }, "require": "optional" },
            { "match": {}, "require": "user", "on_unauthenticated": "401" },
        ],
        "default": { "require": "none" },
        "client_identity_headers": "refuse",
        "on_invalid_config": "close",
        "limits": { "token_bytes": 256, "cached_tokens": 0, "cached_sessions": 1, "waiting_requests": 1 },
    }));
    assert_eq!(
        config.client_identity_headers,
        ClientIdentityHeaders::Refuse
    );
    let project = &config.projects[0];
    assert_eq!(project.endpoint.authority(), "localhost:10001");
    assert_eq!(
        project.keys,
        KeySource::Remote(RemoteKeys {
            cluster: "authgear".to_owned(),
            location: KeyLocation::Discover,
            refresh: seconds(1),
            max_stale: seconds(0),
            timeout: Duration::from_millis(50),
            unknown_kid_cooldown: seconds(3_600),
        })
    );
    assert_eq!(
        project.jwt,
        JwtPolicy {
            audiences: texts(&["a", "b"]),
            client_ids: texts(&["c"]),
            algorithms: Algorithm::ALL[1..].to_vec(),
            clock_skew: seconds(0),
            max_lifetime: Some(seconds(7 * 86_400)),
            require_typ: false,
            cookies: Vec::new(),
            headers: ["x-token", "x-other"]
                .map(|name| TokenHeader {
                    name: name.to_owned(),
                    scheme: None,
                })
                .to_vec(),
            revalidate: None,
        }
    );
    assert_eq!(
        project.session,
        Some(SessionPolicy {
            cluster: "resolver".to_owned(),
            path: "/resolve?x=y".to_owned(),
            timeout: seconds(60),
            cookies: vec![SessionCookie {
                name: "x_app_session".to_owned(),
                role: CookieRole::Session,
            }],
            access_token_cookie: "x_app_app_access_token".to_owned(),
            ttl: seconds(0),
            negative_ttl: seconds(300),
            stale_if_error: seconds(86_400),
            relay_set_cookie: true,
        })
    );
    let rule = |path, methods: &[&str], hosts: &[HostPattern], require| Rule {
        matches: RuleMatch {
            path,
            methods: texts(methods),
            hosts: hosts.to_vec(),
            ..RuleMatch::default()
        },
        requirement: Rc::new(Requirement::new(require)),
    };
    let hosts = [
        HostPattern::Exact("app.example.com".to_owned()),
        HostPattern::Below(".example.org".to_owned()),
    ];
    assert_eq!(
        config.rules,
        [
            rule(
                Some(PathPattern::Prefix("/healthz".to_owned())),
                &["GET", "M-SEARCH"],
                &[],
                Require::None
            ),
            rule(
                Some(PathPattern::Exact("/blog/".to_owned())),
                &[],
                &hosts,
                Require::Optional
            ),
            rule(None, &[], &[], Require::User),
        ]
    );
    assert_eq!(config.default.require, Require::None);
    assert_eq!(
        config.limits,
        Limits {
            token_bytes: 256,
            cached_tokens: 0,
            cached_sessions: 1,
            waiting_requests: 1,
        }
    );
}

#[test]
fn a_rule_that_names_no_requirement_in_default_means_a_user() {
    assert_eq!(
        accepted(&with(&[("/default", json!({}))])).default.require,
        Require::User
    );
}

#[test]
fn session_null_means_tokens_only() {
    let config = accepted(&with(&[("/projects/0/session", json!(null))]));
    assert_eq!(config.projects[0].session, None);
}

/// The keys of the project, which are in the configuration.
fn inline(config: &Config) -> &KeySet {
    match &config.projects[0].keys {
        KeySource::Inline(set) => set,
        KeySource::Remote(_) => panic!("remote keys"),
    }
}

#[test]
fn keys_in_the_configuration_need_no_cluster() {
    let project = json!({ "endpoint": ENDPOINT, "jwks": { "inline": jwks() }, "session": null });
    let config = accepted(&json!({ "projects": [project] }));
    let set = inline(&config);
    assert_eq!(set.count(), 1);
    let key = set.select("a", Algorithm::Es256).unwrap();
    assert_eq!(key.spki(), KEY.spki_der());
    assert_eq!(config.warnings, []);
}

#[test]
fn keys_in_the_configuration_that_cannot_be_used_are_a_warning_beside_one_that_can() {
    let twice = r#"{"kty":"RSA","kid":"b","n":"x","n":"twice","e":"AQAB"}"#;
    let other = r#"{"kty":"oct","kid":"c","k":"AAAA"}"#;
    let good = KEY.jwk();
    let keys = format!(r#"{{"keys":[{good},{twice},{other}],"x":1.5,"y":[null,true]}}"#);
    let json = format!(
        r#"{{"projects":[{{"endpoint":"{ENDPOINT}","cluster":"a","jwks":{{"inline":{keys}}}}}]}}"#
    );
    let config = Config::parse(json.as_bytes()).unwrap();
    assert_eq!(inline(&config).count(), 1);
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["projects[0].jwks.inline: keys[1] is malformed, keys[2] is of an unsupported kind"]
    );
}

#[test]
fn sessions_beside_keys_in_the_configuration_use_their_own_cluster() {
    let mut json = with(&[
        ("/projects/0/jwks", json!({ "inline": jwks() })),
        ("/projects/0/session", json!({ "cluster": "resolver" })),
    ]);
    json["projects"][0]
        .as_object_mut()
        .unwrap()
        .remove("cluster");
    let config = accepted(&json);
    assert_eq!(
        config.projects[0].session.as_ref().unwrap().cluster,
        "resolver"
    );
}

#[test]
fn an_explicit_no_to_the_other_sources_of_keys_is_no_source() {
    for jwks in [
        json!({ "discover": true, "inline": null }),
        json!({ "uri": "/keys", "inline": null }),
        json!({ "uri": "/keys", "discover": false }),
        json!({ "discover": false }),
    ] {
        accepted(&with(&[("/projects/0/jwks", jwks)]));
    }
}

#[test]
fn doubles_of_envoys_struct_are_whole_numbers() {
    for (text, bytes) in [
        ("300.0", 300),
        ("3e2", 300),
        ("65536.0", 65_536),
        ("256", 256),
    ] {
        let json = smallest().to_string().replacen(
            '{',
            &format!(r#"{{"limits":{{"token_bytes":{text}}},"#),
            1,
        );
        let config = Config::parse(json.as_bytes()).unwrap();
        assert_eq!(config.limits.token_bytes, bytes, "{text}");
    }
}

#[test]
fn every_unit_of_a_duration_is_read() {
    for (text, expected) in [
        ("1000ms", seconds(1)),
        ("0090s", seconds(90)),
        ("2m", seconds(120)),
        ("24h", seconds(86_400)),
        ("1d", seconds(86_400)),
    ] {
        let config = accepted(&with(&[("/projects/0/jwks", json!({ "refresh": text }))]));
        let KeySource::Remote(keys) = &config.projects[0].keys else {
            panic!("remote keys");
        };
        assert_eq!(keys.refresh, expected, "{text}");
    }
}

#[test]
fn a_cookie_prefix_gives_all_cookies_their_names() {
    for prefix in ["my_", "my", "myapp_", "app_", "session", "app_session", "-"] {
        let config = accepted(&with(&[("/projects/0/cookie_prefix", json!(prefix))]));
        let project = &config.projects[0];
        let session = project.session.as_ref().unwrap();
        assert_eq!(session.cookies, cookies(prefix));
        let token = format!("{prefix}app_access_token");
        assert_eq!(session.access_token_cookie, token);
        assert_eq!(project.jwt.cookies, [token]);
    }
}

#[test]
fn what_a_cookie_contains_follows_from_its_whole_name() {
    for (prefix, name, role) in [
        ("my", "mysession", CookieRole::Session),
        ("my", "myapp_session", CookieRole::AppSession),
        ("myapp_", "myapp_session", CookieRole::Session),
        ("myapp_", "myapp_app_session", CookieRole::AppSession),
        ("", "app_session", CookieRole::AppSession),
        ("app_", "app_session", CookieRole::Session),
        ("app_session", "app_sessionsession", CookieRole::Session),
        (
            "app_access_token",
            "app_access_tokenapp_session",
            CookieRole::AppSession,
        ),
    ] {
        let config = accepted(&with(&[
            ("/projects/0/cookie_prefix", json!(prefix)),
            ("/projects/0/session", json!({ "cookies": [name] })),
            ("/projects/0/jwt", json!({ "cookies": [name, "another"] })),
        ]));
        let project = &config.projects[0];
        let name = name.to_owned();
        assert_eq!(project.jwt.cookies, [name.clone(), "another".to_owned()]);
        let session = project.session.as_ref().unwrap();
        assert_eq!(session.cookies, [SessionCookie { name, role }], "{prefix}");
        // The resolver reads an access token there, whatever other cookies are configured.
        let token = format!("{prefix}app_access_token");
        assert_eq!(session.access_token_cookie, token);
    }
}

/// Where an unknown member is said to belong elsewhere, there is such a place.
#[cfg(feature = "schema")]
#[test]
fn every_other_name_leads_to_a_member() {
    let members: Vec<String> = schema::members()
        .into_iter()
        .map(|(section, member)| format!("{section}.{}", member.name))
        .collect();
    for (name, places) in section::ELSEWHERE {
        for place in places.split("\" or \"") {
            let known = members.iter().any(|member| member == place);
            assert!(known || place.ends_with(".inline.keys"), "{name}: {place}");
        }
    }
}
