//! What the log says of a call to Authgear that fails on its way: the cause, as far as Envoy tells it, and the cluster.

use std::net::SocketAddr;

use devkit::authgear::{FakeAuthgear, Options};
use devkit::envoy;
use devkit::testbed::{ORIGIN, TestBed, closed_port};
use devkit::tls::TestCa;
use serde_json::{Value, json};

const HOST: &str = "auth.example.com";

/// A project whose keys and whose resolver are asked through a cluster with a fault.
struct Case {
    /// The cluster's name.
    name: &'static str,
    cluster: Option<Value>,
    /// What Envoy says by default, and what where it says why.
    expected: [&'static str; 2],
}

impl Case {
    fn host(&self) -> String {
        format!("{}.example.com", self.name)
    }
}

fn case(name: &'static str, cluster: Option<Value>, expected: [&'static str; 2]) -> Case {
    let cluster = cluster.map(|mut cluster| {
        cluster["name"] = json!(name);
        cluster["load_assignment"]["cluster_name"] = json!(name);
        cluster
    });
    Case {
        name,
        cluster,
        expected,
    }
}

fn over_tls(to: SocketAddr, name: &str, ca: &TestCa) -> Value {
    let mut cluster = envoy::cluster("over-tls", &[to]);
    cluster["transport_socket"] = envoy::upstream_tls(name, &json!({ "inline_string": ca.pem() }));
    cluster
}

async fn authgear(ca: Option<&TestCa>) -> FakeAuthgear {
    FakeAuthgear::start(Options {
        origin: Some(ORIGIN.to_owned()),
        tls: ca.map(|ca| ca.issue(&[HOST])),
        ..Options::default()
    })
    .await
}

/// One gateway in front of all of them.
async fn assert_said(cases: &[Case], with_reasons: bool) {
    let projects = cases.iter().map(|case| {
        let endpoint = format!("https://auth.{}", case.host());
        json!({ "endpoint": endpoint, "cluster": case.name, "hosts": [case.host()] })
    });
    let projects: Vec<Value> = projects.collect();
    let clusters: Vec<Value> = cases
        .iter()
        .filter_map(|case| case.cluster.clone())
        .collect();
    let bed = TestBed::builder()
        .configure(|config| config["projects"] = json!(projects))
        .envoy(|envoy| {
            let envoy = envoy.bootstrap(move |bootstrap| {
                let flag =
                    "envoy.reloadable_features.hide_transport_failure_reason_in_response_body";
                let layer = json!({ "name": "reasons", "static_layer": { flag: !with_reasons } });
                bootstrap["layered_runtime"] = json!({ "layers": [layer] });
            });
            clusters
                .into_iter()
                .fold(envoy, |envoy, cluster| envoy.raw_cluster(cluster))
        })
        .start()
        .await;
    for case in cases {
        let request = bed.get("/").host(&case.host()).cookie(bed.cookie());
        let reply = request.send().await;
        assert_eq!(reply.status, 503, "{}: {reply:?}", case.name);
        let of_cluster = format!("cluster \"{}\"", case.name);
        let expected = case.expected[usize::from(with_reasons || always_with_reasons())];
        for what in [": JWKS: ", ": resolver fails: "] {
            let line = bed.envoy.wait_for_line(&[what, &of_cluster]).await;
            assert!(line.contains(expected), "{}: {line}", case.name);
            assert!(!line.contains("session="), "{}: {line}", case.name);
        }
    }
    bed.assert_nothing_forwarded();
}

/// Earlier ones do not have the flag.
fn always_with_reasons() -> bool {
    envoy::version().unwrap() < [1, 38, 1]
}

#[tokio::test]
async fn a_cluster_that_leads_nowhere() {
    let mut lost = envoy::cluster("any", &[]);
    lost["type"] = json!("STRICT_DNS");
    lost["load_assignment"]["endpoints"] = json!([{ "lb_endpoints": [{
        "endpoint": { "address": { "socket_address": { "address": "no-such-host.invalid", "port_value": 443 } } },
    }] }]);
    let no_endpoint = "not sent: the cluster has no healthy endpoint (look at its addresses, DNS and health checks)";
    let cases = [
        case(
            "unknown",
            None,
            ["not sent: Envoy knows no such cluster: is it in \"clusters\", spelt so?"; 2],
        ),
        case(
            "no-endpoint",
            Some(envoy::cluster("any", &[])),
            [no_endpoint; 2],
        ),
        case("no-address", Some(lost), [no_endpoint; 2]),
        case(
            "closed-port",
            Some(envoy::cluster("any", &[closed_port()])),
            [
                "remote connection failure\" (nobody listens there, or TLS fails",
                "Connection refused\" (nobody listens there: look at address and port)",
            ],
        ),
    ];
    for with_reasons in [false, true] {
        assert_said(&cases, with_reasons).await;
    }
}

#[tokio::test]
async fn a_cluster_whose_tls_is_wrong() {
    const FAILS: &str = "remote connection failure\" (nobody listens there, or TLS fails: look at address and port, \"sni\", \"trusted_ca\"";
    const NOT_TRUSTED: &str =
        "(the certificate is not of that CA, or not for that name: look at \"trusted_ca\"";
    let (ca, other) = (TestCa::new(), TestCa::new());
    let (encrypted, plain) = (authgear(Some(&ca)).await, authgear(None).await);
    let cases = [
        case(
            "another-ca",
            Some(over_tls(encrypted.address(), HOST, &other)),
            [FAILS, NOT_TRUSTED],
        ),
        case(
            "another-name",
            Some(over_tls(encrypted.address(), "other.example.com", &ca)),
            [FAILS, NOT_TRUSTED],
        ),
        case(
            "tls-to-a-port-without",
            Some(over_tls(plain.address(), HOST, &ca)),
            [FAILS, "(that port does not speak TLS"],
        ),
        case(
            "no-tls-to-a-port-with-it",
            Some(envoy::cluster("any", &[encrypted.address()])),
            ["protocol error\" (no HTTP came back; where the port is for TLS, give the cluster a \"transport_socket\")";
                2],
        ),
    ];
    for with_reasons in [false, true] {
        assert_said(&cases, with_reasons).await;
    }
}
