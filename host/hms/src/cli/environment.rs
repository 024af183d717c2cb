//! Settings that come from the environment, so that what is said of them names the variable:
//! whoever set `HMS_MAX_TOKEN` looks in vain for `--max-token`.

use clap::error::{ContextKind, ContextValue, Error};
use clap::{Arg, Command};
use std::ffi::OsString;

/// The flags whose values come from the environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FromEnvironment(Vec<Setting>);

#[derive(Debug, PartialEq, Eq)]
struct Setting {
    /// With its dashes.
    flag: String,
    variable: String,
}

impl FromEnvironment {
    /// The flags of `command` and its verbs that are not among `args`, and whose variable is set.
    pub(super) fn of(command: &Command, args: &[OsString]) -> Self {
        let mut found = FromEnvironment::default();
        found.add(command, args);
        found
    }

    fn add(&mut self, command: &Command, args: &[OsString]) {
        let settings = command.get_arguments().filter_map(setting);
        for setting in settings {
            let is_set = std::env::var_os(&setting.variable).is_some();
            if is_set && !self.0.contains(&setting) && !is_given(&setting.flag, args) {
                self.0.push(setting);
            }
        }
        for verb in command.get_subcommands() {
            self.add(verb, args);
        }
    }

    /// `text` with the names of variables in place of the flags that were not given.
    pub(super) fn named(&self, text: &str) -> String {
        let mut named = text.to_owned();
        for Setting { flag, variable } in &self.0 {
            let mut rest = std::mem::take(&mut named);
            while let Some(at) = rest.find(flag.as_str()) {
                let behind = rest.split_off(at + flag.len());
                rest.truncate(at);
                let is_whole = !rest.ends_with(is_of_a_name) && !behind.starts_with(is_of_a_name);
                named.push_str(&rest);
                named.push_str(if is_whole { variable } else { flag });
                rest = behind;
            }
            named.push_str(&rest);
        }
        named
    }

    /// The same for a mistake that clap has found.
    pub(super) fn name_in(&self, error: &mut Error) {
        for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
            let value = match error.get(kind) {
                Some(ContextValue::String(text)) => ContextValue::String(self.named(text)),
                Some(ContextValue::Strings(texts)) => {
                    ContextValue::Strings(texts.iter().map(|text| self.named(text)).collect())
                }
                _ => continue,
            };
            error.insert(kind, value);
        }
    }
}

fn setting(arg: &Arg) -> Option<Setting> {
    Some(Setting {
        flag: format!("--{}", arg.get_long()?),
        variable: arg.get_env()?.to_str()?.to_owned(),
    })
}

/// As `--flag`, or as `--flag=value`.
fn is_given(flag: &str, args: &[OsString]) -> bool {
    args.iter().any(|arg| {
        let arg = arg.to_string_lossy();
        let value = arg.strip_prefix(flag);
        value.is_some_and(|value| value.is_empty() || value.starts_with('='))
    })
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_is_named_by_its_flag_or_variable_whichever_set_it() {
        let setting = |flag: &str, variable: &str| Setting {
            flag: flag.into(),
            variable: variable.into(),
        };
        let environment = FromEnvironment(vec![
            setting("--tls-key", "HMS_TLS_KEY"),
            setting("--jwks", "HMS_JWKS"),
        ]);
        for (text, expected) in [
            ("--jwks <FILE|URL>", "HMS_JWKS <FILE|URL>"),
            ("--tls-key k: no", "HMS_TLS_KEY k: no"),
            ("with --jwks, or --oidc", "with HMS_JWKS, or --oidc"),
            ("--jwks --jwks", "HMS_JWKS HMS_JWKS"),
            ("--jwks-url ---jwks x--jwks", "--jwks-url ---jwks x--jwks"),
        ] {
            assert_eq!(environment.named(text), expected);
        }
    }

    #[test]
    fn command_line_setting_is_not_attributed_to_the_environment() {
        let args = ["hms", "serve", "--jwks", "k", "--tls-cert=c"].map(OsString::from);
        assert!(is_given("--jwks", &args) && is_given("--tls-cert", &args));
        assert!(!is_given("--tls", &args) && !is_given("--oidc", &args));
    }
}
