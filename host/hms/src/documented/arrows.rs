//! The arrows inside of the gateway, which cargo cannot hold.

use super::sources::sources;

/// The gateway's own arrows. Tests may look anywhere.
#[test]
fn gateway_imports_point_from_server_through_plugins_to_upstreams() {
    let above: [(&str, &[&str]); 4] = [
        (
            "request",
            &["server", "plugins", "routes", "upstream", "config"],
        ),
        ("routes", &["server", "upstream", "config"]),
        ("upstream", &["server", "plugins", "config"]),
        ("plugins", &["server", "config"]),
    ];
    for (folder, above) in above {
        for (path, text) in sources(&format!("host/gateway/src/{folder}")) {
            if path.to_string_lossy().contains("tests") {
                continue;
            }
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in code.lines().filter(|line| !line.contains("//")) {
                for name in above {
                    let named = format!("crate::{name}::");
                    assert!(!line.contains(&named), "{}: {line}", path.display());
                }
            }
        }
    }
}
