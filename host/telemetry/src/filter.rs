//! What `HMS_LOG` says.

use anyhow::{anyhow, bail};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Reads a level and targets with levels of their own, separated by commas: `info,egress=off`. What
/// says no level for the others leaves them at `others`.
///
/// # Errors
/// When something is neither. A word without a level is not taken for a target, with which all else
/// would be silent: it is a level with a typing error.
pub(crate) fn parse(text: &str, others: LevelFilter) -> anyhow::Result<Targets> {
    let mut filter = Targets::new().with_default(others);
    for directive in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        filter = match directive.split_once('=') {
            None => filter.with_default(level(directive)?),
            Some((target, set)) => {
                let target = target.trim();
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
                if target.is_empty() || !target.bytes().all(fits) {
                    bail!(
                        "'{directive}': before the '=' is the name of a target, as in egress=off"
                    );
                }
                filter.with_target(target, level(set.trim())?)
            }
        };
    }
    Ok(filter)
}

fn level(text: &str) -> anyhow::Result<LevelFilter> {
    let read = text.parse().ok().filter(|_| !text.is_empty());
    read.ok_or_else(|| {
        anyhow!("'{text}' is not a level: use error, warn, info, debug, trace or off")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn parse(text: &str) -> anyhow::Result<Targets> {
        super::parse(text, LevelFilter::INFO)
    }

    #[test]
    fn target_has_its_own_level_and_the_others_have_the_first() {
        let filter = parse("info, egress=off,hms_gateway=debug").unwrap();
        assert!(filter.would_enable("access", &Level::INFO));
        assert!(!filter.would_enable("access", &Level::DEBUG));
        assert!(!filter.would_enable("egress", &Level::ERROR));
        assert!(filter.would_enable("hms_gateway::routes", &Level::DEBUG));
    }

    #[test]
    fn targets_alone_leave_the_others_at_their_level() {
        for text in ["", ",", "egress=off"] {
            let filter = parse(text).unwrap();
            assert!(filter.would_enable("access", &Level::INFO), "{text}");
            assert!(!filter.would_enable("access", &Level::DEBUG), "{text}");
            assert_eq!(
                filter.would_enable("egress", &Level::INFO),
                text != "egress=off"
            );
        }
    }

    #[test]
    fn last_of_two_levels_holds() {
        let filter = parse("debug,WARN").unwrap();
        assert!(filter.would_enable("access", &Level::WARN));
        assert!(!filter.would_enable("access", &Level::INFO));
    }

    #[test]
    fn unknown_level_is_refused_with_the_levels() {
        for wrong in ["loud", "info,egress", "access=loud", "a=b=c", "access="] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("is not a level: use error, warn"), "{error}");
        }
        for wrong in [
            "=info",
            "info,[{user=1}]=debug",
            "span[x]=info",
            "info;egress=off",
            "info egress=off",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("the name of a target"), "{error}");
        }
    }
}
