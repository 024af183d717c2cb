//! `hms limits`: one flag for each row of the table of limits.

use super::HostArgs;
use super::client::durable;
use super::show::{table, text};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use hms_api::{Changed, Limits as SetLimits, LimitsPatch, ShownLimits, Word};
use hms_core::body;
use hms_core::limits::{LimitsChange, Row, TABLE, Unit};
use hms_core::units::{Size, Time};
use hms_telemetry::print_json;
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
                    .help(format!("{} [{}]", row.what, row.shown(row.default)))
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
        row.shown(row.least),
        row.shown(row.most)
    ))
}

impl Limits {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let path = format!("/windows/{}/limits", self.name);
        let client = self.host.client()?;
        let patch = self.change.0.0.iter();
        let patch: LimitsPatch = patch
            .map(|(limit, value)| (Word::from(limit.row().name), *value))
            .collect();
        let (answer, values, reuse_off, on_disk) = if patch.is_empty() {
            let answer = client.call(Method::GET, &path).await?;
            let ShownLimits { values, reuse_off } = answer.read()?;
            (answer, values, reuse_off, Ok(()))
        } else {
            let kind = (
                header::CONTENT_TYPE.as_str(),
                "application/merge-patch+json".to_owned(),
            );
            let body = body::full(serde_json::to_vec(&patch)?);
            let answer = client.send(Method::PATCH, &path, &[kind], body).await?;
            let answer = client.take(answer).await?;
            let changed: Changed<SetLimits> = answer.read()?;
            let on_disk = durable(&changed);
            (answer, changed.what, None, on_disk)
        };
        if self.json {
            print_json(&answer.read()?);
            return on_disk;
        }
        let rows = TABLE.iter().map(|row| {
            let value = values.limits.get(row.name).copied().unwrap_or_default();
            let source = values.sources.iter();
            let source = source
                .filter(|source| source.limit == *row.name)
                .map(|source| text(&source.place))
                .next();
            let own = match values.set.contains_key(row.name) {
                true => "set",
                false => "default",
            };
            [
                row.flag.to_owned(),
                row.shown(value),
                source.unwrap_or_else(|| own.to_owned()),
                row.what.to_owned(),
            ]
        });
        table(["LIMIT", "VALUE", "", "WHAT IT LIMITS"], rows.collect());
        if let Some(why) = reuse_off {
            say!("reuse is not in effect: {}", text(&why));
        }
        on_disk
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
                row.shown(row.default),
                row.shown(row.least),
                row.shown(row.most),
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
