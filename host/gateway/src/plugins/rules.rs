//! The plugins of one route, as its manifest lists them, and what other parts ask of them.

use super::{ALL, Description, Rules};
use hms_manifest::{Node, Tree, unknown};

impl Rules {
    /// The middlewares of the route: windows that a request visits before its upstream.
    pub fn middlewares(&self) -> &[String] {
        self.wasm.as_ref().map_or(&[], |rule| &rule.windows)
    }

    /// Whether a window of the route, including middlewares, gets the request's credentials.
    /// Without `auth` they are for the upstream.
    pub fn window_gets_credentials(&self) -> bool {
        let rule = self.auth.as_ref();
        rule.is_none_or(|rule| rule.pass_credentials == Some(true))
    }

    /// Whether a service of the route gets them.
    pub fn service_gets_credentials(&self) -> bool {
        let rule = self.auth.as_ref();
        rule.is_none_or(|rule| rule.pass_credentials != Some(false))
    }

    /// Whether the gateway answers preflights for the route.
    pub fn answers_preflights(&self) -> bool {
        self.cors.is_some()
    }

    /// Reads a manifest's `plugins`.
    pub fn read(node: &Node<'_>) -> Rules {
        let mut rules = Rules::default();
        if *node.tree() == Tree::Nothing {
            return rules;
        }
        let expected = "a list of plugins, as in 'plugins: [auth, rate-limit]'";
        let mut seen = Vec::new();
        for entry in node.list(expected).unwrap_or_default() {
            let Some(plugin) = rules.read_entry(&entry) else {
                continue;
            };
            if !plugin.repeats && seen.contains(&plugin.name) {
                entry.fault(format_args!("the plugin '{}' is duplicated", plugin.name));
            }
            seen.push(plugin.name);
        }
        rules
    }

    /// One entry of the list: a plugin's name, or a mapping of the name to its settings.
    fn read_entry(&mut self, entry: &Node<'_>) -> Option<&'static Description> {
        let (name, settings) = match entry.tree() {
            Tree::Text(name) => (name.as_str(), entry.clone()),
            Tree::Map(_) => {
                let mut entries = entry.entries("a mapping")?.into_iter();
                let Some((name, settings)) = entries.next() else {
                    entry.fault("an empty entry in the list of plugins");
                    return None;
                };
                if let Some((other, _)) = entries.next() {
                    entry.fault(format_args!(
                        "'{other}' stands beside '{name}': indent the settings of a plugin deeper than its name, and begin each plugin with '- '"
                    ));
                    return None;
                }
                (name, settings)
            }
            _ => {
                entry.fault("use the name of a plugin, alone or with its settings, as in '- rate-limit: {limit: 30, window: 60}'");
                return None;
            }
        };
        let known: Vec<&str> = ALL.iter().map(|plugin| plugin.name).collect();
        let Some(plugin) = ALL.iter().find(|plugin| plugin.name == name) else {
            entry.fault(unknown("plugin", name, &known));
            return None;
        };
        let map = if matches!(entry.tree(), Tree::Text(_)) {
            entry.no_fields(plugin.fields)
        } else {
            let fields: Vec<&str> = plugin.fields.iter().map(|field| field.name).collect();
            let expected = format!("the settings of {name}: {}", fields.join(", "));
            settings.map(plugin.fields, &expected)?
        };
        self.take(plugin.name, &map);
        Some(plugin)
    }
}
