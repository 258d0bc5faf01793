//! Several projects behind one Envoy, told apart by host.

use devkit::authgear::Endpoint::{Jwks, Resolver};
use devkit::authgear::{FakeAuthgear, Fault, Options};
use devkit::keys::User;
use devkit::testbed::{ORIGIN, RESOLVER, TestBed};
use serde_json::json;

const OTHER: &str = "https://auth.other.example";
const ONE: &str = "one.example.com";
const TWO: &str = "two.example.com";

/// A gateway in front of two projects; each knows a user of its own by the name of alice.
async fn two_projects() -> (TestBed, FakeAuthgear, User) {
    let options = Options {
        origin: Some(OTHER.to_owned()),
        ..Options::default()
    };
    let other = FakeAuthgear::start(options).await;
    let alice = other.add_user(User::new("another alice").roles(&["other"]));
    let address = other.address();
    let bed = TestBed::builder()
        .configure(|config| {
            config["projects"][0]["hosts"] = json!([ONE, "*.one.example.com"]);
            let second = json!({ "endpoint": OTHER, "cluster": "other", "hosts": [TWO] });
            config["projects"]
                .as_array_mut()
                .expect("projects")
                .push(second);
            config["rules"] = json!([{ "match": { "path": "/healthz" }, "require": "none" }]);
        })
        .envoy(move |envoy| envoy.cluster("other", &[address]))
        .start()
        .await;
    (bed, other, alice)
}

#[tokio::test]
async fn a_host_has_its_projects_users_and_nobody_elses() {
    let (bed, other, other_alice) = two_projects().await;
    let get = |host: &str, path: &str| bed.get(path).host(host);
    let (ours, theirs) = (bed.token(), other.access_token(&other_alice));
    let (cookie, their_cookie) = (
        bed.cookie(),
        format!("session={}", other.session(&other_alice)),
    );
    let us = bed.alice.headers();
    let them = other_alice.headers();
    for (request, status, identity) in [
        (get(ONE, "/").bearer(&ours), 200, Some(&us)),
        (
            get("x.one.example.com:8080", "/").bearer(&ours),
            200,
            Some(&us),
        ),
        (get(TWO, "/").bearer(&theirs), 200, Some(&them)),
        (get(TWO, "/").bearer(&ours), 401, None),
        (get(ONE, "/").bearer(&theirs), 401, None),
        (get(ONE, "/").cookie(&cookie), 200, Some(&us)),
        (get(TWO, "/").cookie(&their_cookie), 200, Some(&them)),
        (get(TWO, "/").cookie(&cookie), 401, None),
        (get(ONE, "/").cookie(&their_cookie), 401, None),
        (get("three.example.com", "/").bearer(&ours), 421, None),
        (get("10.0.0.1", "/").bearer(&ours), 421, None),
        (get("10.0.0.1", "/healthz"), 200, None),
        (
            get(TWO, "/").header("x-forwarded-host", ONE).bearer(&ours),
            401,
            None,
        ),
    ] {
        // Asked twice: what is cached is each project's own.
        for _ in 0..2 {
            bed.backend.clear();
            let reply = request.clone().send().await;
            assert_eq!(reply.status, status, "{request:?}: {reply:?}");
            match identity {
                Some(identity) => assert_eq!(bed.only_forwarded().identity(), *identity),
                None if status == 200 => assert_eq!(bed.only_forwarded().identity(), []),
                None => bed.assert_nothing_forwarded(),
            }
        }
    }
    let reply = get("three.example.com", "/").send().await;
    assert_eq!(reply.json()["code"], "misdirected_request");
    bed.wait_for_count("authgear_requests_refused_no_project_total", |count| {
        count == 5
    })
    .await;
    for call in other.calls() {
        assert_eq!(call.authority, "auth.other.example");
    }
    let refused = get(TWO, "/").send().await;
    let challenge = refused.header("www-authenticate").expect("a challenge");
    assert_eq!(challenge, "Bearer realm=\"auth.other.example\"");
}

/// One project's Authgear hangs, and its users come in a crowd.
#[tokio::test]
async fn an_outage_of_one_project_is_no_outage_of_another() {
    let (bed, other, other_alice) = two_projects().await;
    other.fault(Resolver, Fault::Hang);
    other.fault(Jwks, Fault::Hang);
    let crowd: Vec<_> = (0..200)
        .map(|nth| {
            let cookie = format!("session=session-of-number-{nth:04}");
            tokio::spawn(bed.get("/").host(TWO).cookie(cookie).send())
        })
        .collect();
    other.wait_for_calls(RESOLVER, 100).await;
    for _ in 0..50 {
        let reply = bed.get("/").host(ONE).cookie(bed.cookie()).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let reply = bed.get("/").host(ONE).bearer(bed.token()).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    for refused in crowd {
        assert_eq!(refused.await.expect("an answer").status, 503);
    }
    other.clear_faults();
    let cookie = format!("session={}", other.session(&other_alice));
    bed.until_status(200, || bed.get("/").host(TWO).cookie(&cookie))
        .await;
    assert_eq!(bed.authgear.origin(), ORIGIN);
}
