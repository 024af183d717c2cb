//! Scheme, host, port, method and path are granted together, and a refusal says what would do it.

use super::*;
use hms_harness::eventually;
use http::Method;

/// Guest, how it is told a URL, and what it answers without an answer of the service.
const WAYS: [(&str, &str, u16); 2] = [
    ("fetcher", "/w/forward?url=", 500),
    ("caller-wstd", "/w/get?", 502),
];

#[tokio::test]
async fn call_passes_by_scheme_host_port_method_and_path_and_a_refusal_names_what_allows_it() {
    for (component, way, refused) in WAYS {
        let (service, other) = (service().await, service().await);
        let grants = Grants::new();
        let more = "    methods: [POST]\n    paths: [/v1/charges/**]\n";
        grants.write("w", &to(&service.url(), more));
        let host = host(&[("w", component)], &grants, &[]).await;
        let call = async |method: Method, url: String| {
            host.call(method, &format!("{way}{url}"), &[], "").await
        };
        let url = service.url();
        for path in ["/v1/charges", "/v1/charges/7"] {
            let answer = call(Method::POST, format!("{url}{path}")).await;
            assert_eq!(answer.status, 200, "{component}: {}", answer.text());
            assert_eq!(answer.json()["path"], path);
        }

        let named = url.replace("127.0.0.1", "localhost");
        let tls = url.replace("http:", "https:");
        for (method, origin, path) in [
            (Method::GET, &url, "/v1/charges/7"),
            (Method::PUT, &url, "/v1/charges/7"),
            (Method::POST, &url, "/v1/refunds"),
            (Method::POST, &url, "/v1/chargesX"),
            (Method::POST, &tls, "/v1/charges"),
            (Method::POST, &named, "/v1/charges"),
            (Method::POST, &other.url(), "/v1/charges"),
        ] {
            let answer = call(method.clone(), format!("{origin}{path}")).await;
            assert_eq!(answer.status, refused, "{component}: {}", answer.text());
            let log = cli(&host, "logs", &["w"]).await;
            let line = format!("no grant allows {method} {origin}{path}");
            assert!(log.contains(&line), "{component}: {line}\n{log}");
            // The address of a name is not known before it is called.
            let private = match origin.contains("127.0.0.1") {
                true => r#", private: ["127.0.0.1/32"]"#,
                false => "",
            };
            let entry = format!(
                "- {{to: \"{origin}\", methods: [\"{method}\"], paths: [\"{path}\"]{private}}}"
            );
            assert!(log.contains(&entry), "{component}: {entry}\n{log}");
        }
        assert_eq!((service.seen().len(), other.seen().len()), (2, 0));
        assert_eq!(host.failures("w", "no-network").await, 7, "{component}");

        // The entry of the log, as it stands.
        let log = cli(&host, "logs", &["w"]).await;
        let entry = log
            .lines()
            .rev()
            .find_map(|line| line.split_once("yaml: - {"));
        let (_, entry) = entry.unwrap();
        grants.write("w", &format!("outbound:\n  - {{{entry}\n"));
        eventually("what the log names allows it", || async {
            let answer = call(Method::POST, format!("{}/v1/charges", other.url())).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn window_without_a_grants_file_calls_nobody() {
    for component in CALLERS {
        let (service, grants) = (service().await, Grants::new());
        let host = host(&[("w", component)], &grants, &[]).await;
        let answer = ask(&host, "get", &format!("{}/a?key=value", service.url())).await;
        assert_eq!(answer.status, 502);
        assert!(
            answer.text().contains("HttpRequestDenied"),
            "{}",
            answer.text()
        );
        let log = cli(&host, "logs", &["w"]).await;
        let line = format!(
            r#"add to {}/w.yaml: outbound: [{{to: "{}", methods: ["GET"], paths: ["/a"], private: ["127.0.0.1/32"]}}]"#,
            grants.args()[1],
            service.url()
        );
        assert!(log.contains(&line), "{log}");
        assert!(!log.contains("key=value"), "{log}");
        assert!(service.seen().is_empty());
    }
}

/// Whether a name below `localhost` has an address is up to the machine.
#[tokio::test]
async fn wildcard_is_for_names_below_its_own_alone() {
    for component in CALLERS {
        let (service, grants) = (service().await, Grants::new());
        let below = service.url().replace("127.0.0.1", "*.city.localhost");
        grants.write("w", &to(&below, ""));
        let host = host(&[("w", component)], &grants, &[]).await;
        for (name, granted) in [
            ("a.city.localhost", true),
            ("A.b.City.LocalHost.", true),
            ("city.localhost", false),
            ("acity.localhost", false),
            ("localhost", false),
            ("a.city.localhost.example", false),
            ("127.0.0.1", false),
        ] {
            let url = service.url().replace("127.0.0.1", name);
            let answer = ask(&host, "get", &format!("{url}/")).await;
            let text = answer.text();
            let passed = answer.status == 200 || text.contains("DnsError");
            let denied = text.contains("HttpRequestDenied");
            assert_eq!(
                (passed, denied),
                (granted, !granted),
                "{component} {name}: {text}"
            );
        }
    }
}
