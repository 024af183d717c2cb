//! `hms limits`: one flag for each row of the table of limits.

use super::HostArgs;
use super::client::{durable, read};
use super::show::table;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use hms_core::body;
use hms_core::limits::{LimitsChange, Row, TABLE, Unit};
use hms_core::units::{Size, Time};
use hms_telemetry::tell_json;
use hms_windows::WindowName;
use http::{Method, header};

/// Show or change the limits of a window. A change applies at once and survives restarts.
#[derive(Debug, Args)]
pub(super) struct Limits {
    /// The window
    name: WindowName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    host: HostArgs,
}

/// What the flags ask for.
#[derive(Debug, Default)]
struct Change(LimitsChange);

impl Args for Change {
    fn augment_args(command: Command) -> Command {
        TABLE.into_iter().fold(command, |command, row| {
            command.arg(
                Arg::new(row.flag)
                    .long(row.flag)
                    .value_parser(move |text: &str| parse(&row, text))
                    .value_name(match row.unit {
                        Unit::Bytes => "SIZE",
                        Unit::Milliseconds => "TIME",
                        Unit::Count => "N",
                    })
                    .help(format!("{} [{}]", row.what, shown(&row, row.default)))
                    .help_heading("Limits (`default` resets)"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Change {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut change = LimitsChange::default();
        for row in &TABLE {
            if let Some(value) = matches.get_one::<Option<u64>>(row.flag) {
                change.0.insert(row.limit, *value);
            }
        }
        Ok(Change(change))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn parse(row: &Row, text: &str) -> Result<Option<u64>, String> {
    if text == "default" {
        return Ok(None);
    }
    let value = match row.unit {
        Unit::Bytes => text.parse::<Size>()?.bytes(),
        Unit::Milliseconds => text.parse::<Time>()?.ms(),
        Unit::Count => text.parse().map_err(|_| "use a whole number".to_owned())?,
    };
    if (row.least..=row.most).contains(&value) {
        return Ok(Some(value));
    }
    Err(format!(
        "use {} to {}",
        shown(row, row.least),
        shown(row, row.most)
    ))
}

/// A value with its unit, as the flags take it.
fn shown(row: &Row, value: u64) -> String {
    match row.unit {
        Unit::Bytes => Size::of(value).to_string(),
        Unit::Milliseconds => Time::of_ms(value).to_string(),
        Unit::Count => value.to_string(),
    }
}

impl Limits {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}/limits", self.name);
        let client = self.host.client()?;
        let answer = if self.change.0.0.is_empty() {
            client.call(Method::GET, &path).await?
        } else {
            let kind = (
                header::CONTENT_TYPE.as_str(),
                "application/merge-patch+json".to_owned(),
            );
            let change = body::full(serde_json::to_vec(&self.change.0)?);
            read(client.send(Method::PATCH, &path, &[kind], change).await?).await?
        };
        if self.json {
            tell_json(&answer);
            return durable(&answer);
        }
        let rows = TABLE.iter().map(|row| {
            let value = answer["limits"][row.name].as_u64().unwrap_or_default();
            let set = answer["set"].get(row.name).is_some();
            [
                row.flag.to_owned(),
                shown(row, value),
                if set { "set" } else { "default" }.to_owned(),
                row.what.to_owned(),
            ]
        });
        table(["LIMIT", "VALUE", "", "WHAT IT LIMITS"], rows.collect());
        if let Some(why) = answer["reuse_off"].as_str() {
            say!("reuse is not in effect: {why}");
        }
        durable(&answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_runtime::Limit;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        change: Change,
    }

    fn read(args: &[&str]) -> Result<LimitsChange, String> {
        let args = std::iter::once(&"limits").chain(args);
        let line: Result<Line, _> = clap::Parser::try_parse_from(args);
        line.map(|line| line.change.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn limits_page_lists_every_limit_as_it_is() {
        let page = include_str!("../../../../docs/limits.md");
        let rows = TABLE.iter().map(|row| {
            format!(
                "| `--{}` | `{}` | {} | {} to {} | {} | {} |\n",
                row.flag,
                row.name,
                shown(row, row.default),
                shown(row, row.least),
                shown(row, row.most),
                row.what,
                row.why
            )
        });
        let table: String = rows.collect();
        assert!(page.contains(&table), "docs/limits.md must have:\n{table}");
    }

    #[test]
    fn every_flag_reads_its_unit_and_default_resets_it() {
        let change = read(&[
            "--memory",
            "64MiB",
            "--cpu-time",
            "500ms",
            "--queue",
            "default",
        ]);
        let expected = [
            (Limit::MemoryBytes, Some(64 << 20)),
            (Limit::CpuTimeMs, Some(500)),
            (Limit::Queue, None),
        ];
        assert_eq!(change.unwrap(), LimitsChange(expected.into()));
    }

    #[test]
    fn value_out_of_bounds_is_rejected_with_the_bounds() {
        let refused = read(&["--memory", "12"]).unwrap_err();
        assert!(
            refused.contains("'12' for '--memory <SIZE>': use 1MiB to 4GiB")
                && !refused.contains("\n\n\n"),
            "{refused}"
        );
        assert!(
            read(&["--queue", "many"])
                .unwrap_err()
                .contains("whole number")
        );
    }
}
