//! The headers that are forwarded to the backend (threats X1, X3 to X5).

use super::*;
use crate::principal::{Assertion, Method, Principal, Subject, User as Known};

fn user() -> Admission {
    let user = Known::new(&Assertion {
        user_id: &ALICE.id,
        anonymous: false,
        verified: true,
        can_reauthenticate: true,
        roles: &[],
        amr: &["pwd"],
        authenticated_at: None,
    });
    let subject = Subject::User(user.unwrap());
    let principal = Rc::new(Principal::new(subject, Method::Session));
    Admission::Principal(principal, Rc::default())
}

/// The headers as they are forwarded; names and values.
fn edited(headers: &[(String, Vec<u8>)], admission: &Admission) -> Vec<(String, Vec<u8>)> {
    let mut edited = headers.to_vec();
    for edit in edit_headers(&borrowed(headers), admission) {
        let (Edit::Remove(changed) | Edit::Set(changed, _)) = edit;
        let index = edited
            .iter()
            .position(|(name, _)| name.as_bytes() == changed);
        edited.retain(|(name, _)| name.as_bytes() != changed);
        if let Edit::Set(name, value) = edit {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let set = (name, value.into_owned());
            edited.insert(index.unwrap_or(edited.len()), set);
        }
    }
    edited
}

fn borrowed(headers: &[(String, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_slice()))
        .collect()
}

fn lines(headers: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

#[test]
fn a_request_with_nothing_to_remove_or_add_goes_on_as_it_is() {
    let headers = lines(&[
        (":path", "/"),
        ("connection", "close, upgrade"),
        ("authorization", "Bearer x"),
        ("cookie", "session=a"),
    ]);
    for admission in [Admission::Unchecked, Admission::Anonymous] {
        assert!(
            edit_headers(&borrowed(&headers), &admission).is_empty(),
            "{admission:?}"
        );
    }
}

#[test]
fn the_family_is_removed_in_every_spelling_on_every_way() {
    let spoofed = [
        "x-authgear-user-id",
        "X-Authgear-User-Id",
        "x_authgear_user_id",
        "x-authgear_user-id",
        "X_AUTHGEAR_USER_ID",
        "x.authgear.user.id",
        "x-authgear-user-roles",
        "x-authgear-session-authenticated-at",
        "x-authgear-session-acr",
        "x-authgear-foo",
        "x-authgear",
    ];
    let mut headers = lines(&[("accept", "*/*")]);
    for name in spoofed {
        headers.extend(lines(&[(name, "admin"), (name, "root")]));
    }
    for admission in [Admission::Unchecked, Admission::Anonymous] {
        assert_eq!(
            edited(&headers, &admission),
            lines(&[("accept", "*/*")]),
            "{admission:?}"
        );
    }
    let expected = lines(&[
        ("accept", "*/*"),
        ("x-authgear-session-valid", "true"),
        ("x-authgear-user-id", &ALICE.id),
        ("x-authgear-user-anonymous", "false"),
        ("x-authgear-user-verified", "true"),
        ("x-authgear-user-can-reauthenticate", "true"),
        ("x-authgear-session-amr", "pwd"),
    ]);
    assert_eq!(edited(&headers, &user()), expected);
}

#[test]
fn no_client_has_a_header_of_ours_removed_behind_us() {
    for (value, expected) in [
        ("close, x-authgear-user-id", Some("close")),
        ("X-Authgear-User-Id", None),
        ("x_authgear_user_id , keep-alive", Some("keep-alive")),
        ("authorization", None),
        ("Cookie, upgrade, AUTHORIZATION", Some("upgrade")),
        (",,x-authgear-user-roles,,", None),
        ("upgrade, x-other", Some("upgrade, x-other")),
        ("x-authgearing", Some("x-authgearing")),
        ("", Some("")),
    ] {
        let headers = lines(&[("connection", value), ("upgrade", "websocket")]);
        let mut wanted: Vec<(&str, &str)> = expected
            .map(|value| ("connection", value))
            .into_iter()
            .collect();
        wanted.push(("upgrade", "websocket"));
        assert_eq!(
            edited(&headers, &Admission::Anonymous),
            lines(&wanted),
            "{value:?}"
        );
    }
}

#[test]
fn trailers_of_the_family_are_named_for_removal() {
    let trailers = lines(&[
        ("grpc-status", "0"),
        ("x-authgear-user-id", "a"),
        ("x_authgear_user_roles", "b"),
        ("authorization", "c"),
    ]);
    let trailers = borrowed(&trailers);
    let removed: Vec<&[u8]> = edit_trailers(&trailers).collect();
    let expected: [&[u8]; 2] = [b"x-authgear-user-id", b"x_authgear_user_roles"];
    assert_eq!(removed, expected);
}

#[test]
fn whoever_sends_one_of_the_family_is_refused_where_the_configuration_says_so() {
    let config = |member: Value| {
        let mut config = json!({
            "projects": [{ "endpoint": ISSUER, "cluster": "authgear" }],
            "default": { "require": "none" },
        });
        config["client_identity_headers"] = member;
        Gate::new(Config::parse(config.to_string().as_bytes()).unwrap())
    };
    let (mut strip, mut refuse) = (config(json!("strip")), config(json!("refuse")));
    let fixture = Fixture::new();
    for (name, value, forged) in [
        ("x-authgear-user-id", "", true),
        ("X_AUTHGEAR_USER_ROLES", "admin", true),
        ("x.authgear", "1", true),
        ("connection", "close, x-authgear-user-id", true),
        ("connection", "X_Authgear_Foo", true),
        ("connection", "close, authorization, cookie", false),
        ("x-authgearing", "1", false),
        ("accept", "x-authgear-user-id", false),
    ] {
        for path in ["/", "/%zz"] {
            let headers = [(name, value)];
            let headers = request(path, &headers);
            let request = Request::new(&headers);
            let step = refuse.enter(&request, fixture.now, &fixture.verifier);
            let reason = match step {
                Step::Reply(reply) => Some(reply.reason()),
                _ => None,
            };
            let refused = reason == Some(Reason::ClientIdentityHeaders);
            assert_eq!(refused, forged, "{name}: {value}, {path}");
            let step = strip.enter(&request, fixture.now, &fixture.verifier);
            assert_eq!(matches!(step, Step::Forward(_)), path == "/");
        }
    }
}

/// Whether a backend could take this name for one of ours: what is neither letter nor digit reads as a dash.
fn is_ours(name: &[u8]) -> bool {
    let fold = |byte: &u8| match byte.to_ascii_lowercase() {
        byte if byte.is_ascii_alphanumeric() => byte,
        _ => b'-',
    };
    let folded: Vec<u8> = name.iter().map(fold).collect();
    folded == b"x-authgear" || folded.starts_with(b"x-authgear-")
}

/// A generator of its own: the same lists on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64 (Marsaglia 2003)
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<'p>(&mut self, parts: &[&'p str]) -> &'p str {
        parts[self.roll(parts.len())]
    }

    fn name(&mut self) -> String {
        let separator = ["-", "_", ".", "~", ""];
        let mut name = String::new();
        for part in [
            &["x", "X", "y", ""][..],
            &["authgear", "AuthGear", "authgea", "authgears"],
            &["user", "session", ""],
            &["id", "valid", "roles", ""],
        ] {
            name.push_str(self.pick(part));
            name.push_str(self.pick(&separator));
        }
        match self.roll(6) {
            0 => self
                .pick(&[
                    "connection",
                    "cookie",
                    "authorization",
                    ":path",
                    "accept",
                    "x-forwarded-for",
                ])
                .to_owned(),
            1 => "connection".to_owned(),
            _ => name,
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        for _ in 0..self.roll(4) {
            value.extend_from_slice(self.name().as_bytes());
            value.extend_from_slice(self.pick(&[",", ", ", " ,\t", ";", "\u{ff}"]).as_bytes());
        }
        value
    }
}

#[test]
fn whatever_is_sent_no_reserved_name_goes_on_but_ours_and_each_once() {
    let mut dice = Dice(0x5eed_0000_cafe_f00d);
    let (mut reserved, mut nominated) = (0, 0);
    let protected = |name: &[u8]| {
        is_ours(name)
            || name.eq_ignore_ascii_case(b"authorization")
            || name.eq_ignore_ascii_case(b"cookie")
    };
    for round in 0..20_000 {
        let headers: Vec<(String, Vec<u8>)> = (0..dice.roll(9))
            .map(|_| (dice.name(), dice.value()))
            .collect();
        reserved += headers
            .iter()
            .filter(|(name, _)| is_ours(name.as_bytes()))
            .count();
        let lines = borrowed(&headers);
        let forged = headers.iter().any(|(name, value)| {
            let mut names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            is_ours(name.as_bytes()) || (name == "connection" && names.any(is_ours))
        });
        assert_eq!(
            Request::new(&lines).has_reserved_headers(),
            forged,
            "{round}: {headers:?}"
        );
        for admission in [Admission::Unchecked, Admission::Anonymous, user()] {
            let edited = edited(&headers, &admission);
            let ours: Vec<(String, Vec<u8>)> = match &admission {
                Admission::Principal(principal, _) => principal
                    .user()
                    .unwrap()
                    .headers()
                    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                    .collect(),
                _ => Vec::new(),
            };
            let family: Vec<_> = edited
                .iter()
                .filter(|(name, _)| is_ours(name.as_bytes()))
                .cloned()
                .collect();
            assert_eq!(family, ours, "{round}: {headers:?}");
            for (name, value) in &edited {
                if name == "connection" {
                    let mut names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                    assert!(!names.any(protected), "{round}: {headers:?}");
                }
            }
            // All the others are forwarded, in their order, as they are.
            let others = |headers: &[(String, Vec<u8>)]| -> Vec<(String, Vec<u8>)> {
                let others = headers
                    .iter()
                    .filter(|(name, _)| !is_ours(name.as_bytes()) && name != "connection");
                others.cloned().collect()
            };
            assert_eq!(others(&edited), others(&headers), "{round}: {headers:?}");
            nominated += usize::from(edited.len() - ours.len() != headers.len());
        }
    }
    assert!(
        reserved > 5_000 && nominated > 5_000,
        "{reserved} {nominated}"
    );
}
