//! The arrows inside of the gateway, which cargo cannot hold.

use super::sources::sources;
use std::path::Path;

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
            for name in named(code, depth(&path)) {
                let at = path.display();
                assert!(!above.contains(&&*name), "{at} names crate::{name}");
            }
        }
    }
}

/// How many `super::` lead from a file of the gateway to the root of its crate.
fn depth(path: &Path) -> usize {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str()).collect();
    let root = parts.iter().rposition(|part| *part == "gateway").unwrap();
    let inside = &parts[root + 1..];
    inside.iter().filter(|part| **part != "mod.rs").count()
}

/// What `code` names in the root of its crate, which is `depth` modules above: by `crate::` or by
/// so many `super::`, alone or in braces.
fn named(code: &str, depth: usize) -> Vec<String> {
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root) {
            // Not the end of a longer path or name.
            if code[..at].ends_with(|c: char| c == ':' || c == '_' || c.is_alphanumeric()) {
                continue;
            }
            let behind = &code[at + root.len()..];
            match behind.strip_prefix('{') {
                Some(group) => names.extend(members(group)),
                None => names.push(first_name(behind)),
            }
        }
    }
    names
}

/// The first name of each member of a group of imports, whose text begins behind its brace.
fn members(group: &str) -> Vec<String> {
    let (mut open, mut names) = (1, vec![first_name(group)]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => names.push(first_name(&group[at + 1..])),
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names
}

fn first_name(text: &str) -> String {
    let name = text.trim_start().chars();
    name.take_while(|c| *c == '_' || c.is_alphanumeric())
        .collect()
}

#[test]
fn imports_are_found_in_every_spelling() {
    for code in [
        "use crate::server;",
        "use crate::server::Connection;",
        "use crate::{routes::Table, server};",
        "use crate::{\n    routes::{Table, Route},\n    server::{self, Connection},\n};",
        "use super::super::server;",
        "use super::super::{plugins, server::Connection};",
        "pub(crate) fn serve() { crate::server::serve() } // as said",
    ] {
        assert!(named(code, 2).contains(&"server".to_owned()), "{code}");
    }
    for code in [
        "use super::server;",
        "use super::super::super::server;",
        "use hms_crate::server;",
        "use crate::servers;",
        "use crate::{routes::server, routes::{server}};",
        "// use crate::server;",
    ] {
        assert!(!named(code, 2).contains(&"server".to_owned()), "{code}");
    }
}
