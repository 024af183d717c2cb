//! A grant by itself leads to the public internet alone, and never to the host itself.

use super::*;

const METADATA: &str = "http://169.254.169.254/latest/meta-data/";

#[tokio::test]
async fn redirect_to_metadata_is_the_guests_to_follow_and_is_refused() {
    for component in CALLERS {
        let service =
            Server::start(|_| Reply::new(302, json!({})).with_header("location", METADATA));
        let (service, grants) = (service.await, Grants::new());
        grants.write("w", &to(&service.url(), ""));
        let host = host(&[("w", component)], &grants, &[]).await;
        let moved = ask(&host, "get", &format!("{}/", service.url())).await;
        assert_eq!(moved.status, 302, "{component}: {}", moved.text());
        assert_eq!(moved.header("location"), METADATA);
        let denied = ask(&host, "get", METADATA).await;
        assert!(
            denied.text().contains("HttpRequestDenied"),
            "{}",
            denied.text()
        );
        // Granted, and still no address of the public internet.
        grants.write("w", "outbound:\n  - to: http://169.254.169.254\n");
        fails_by(&host, METADATA, "DestinationIpProhibited").await;
    }
}

#[tokio::test]
async fn loopback_is_refused_in_every_spelling_without_its_network() {
    for component in CALLERS {
        let (service, grants) = (service().await, Grants::new());
        let host = host(&[("w", component)], &grants, &[]).await;
        for name in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
        ] {
            let url = service.url().replace("127.0.0.1", name);
            grants.write("w", &format!("outbound:\n  - to: \"{url}\"\n"));
            fails_by(&host, &format!("{url}/"), "DestinationIpProhibited").await;
        }
        let log = cli(&host, "logs", &["w"]).await;
        for private in [
            r#"private: ["127.0.0.1/32"]"#,
            r#"private: ["64:ff9b::7f00:1/128"]"#,
        ] {
            assert!(log.contains(private), "{log}");
        }
        assert!(service.seen().is_empty());
        let url = service.url();
        grants.write("w", &to(&url, ""));
        hms_harness::eventually("its network is granted", || async {
            let answer = ask(&host, "get", &format!("{url}/")).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn listeners_of_the_host_are_refused_though_their_network_is_granted() {
    for component in CALLERS {
        let grants = Grants::new();
        let host = host(&[("w", component)], &grants, &[]).await;
        for own in [host.gateway(), host.admin_url()] {
            let named = own.replace("127.0.0.1", "localhost");
            for url in [own, named.as_str()] {
                grants.write("w", &to(url, ""));
                fails_by(&host, &format!("{url}/readyz"), "DestinationIpProhibited").await;
            }
        }
        let log = cli(&host, "logs", &["w"]).await;
        // Until its file is read, a call is refused for another reason.
        let own: Vec<&str> = log.lines().filter(|it| it.contains("listens on")).collect();
        assert!(!own.is_empty(), "{log}");
        for line in own {
            assert!(line.contains("no grant allows that"), "{log}");
            assert!(!line.contains("private:"), "{log}");
        }
    }
}
