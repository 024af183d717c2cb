//! What operators see of the grants, in the types of the admin API. No value of a secret is in it.

use crate::ability::plain;
use crate::{GrantsFile, GrantsFolder, WindowGrants};
use hms_api::{Granted, GrantsStatus, NextRun, SecretStatus};
use hms_manifest::FileStatus;
use std::collections::BTreeMap;
use std::path::Path;
use time::OffsetDateTime;

/// What became of a file of `folder`, whose secrets have these faults.
pub fn grants_status(
    status: &FileStatus<GrantsFile>,
    folder: &Path,
    secret_faults: &BTreeMap<String, String>,
) -> GrantsStatus {
    let granted = status.live.as_ref().map(|live| {
        let granted = of_file(live, folder, &status.file);
        let secrets = granted.grants.secrets.keys().map(|name| SecretStatus {
            name: name.clone(),
            fault: secret_faults.get(name).cloned(),
        });
        Granted {
            window: live.window.to_string(),
            digest: live.digest.clone(),
            sentences: plain(&granted),
            secrets: secrets.collect(),
            schedules: next_runs(live),
        }
    });
    GrantsStatus {
        file: status.file.clone(),
        state: status.state(),
        faults: status.faults.clone(),
        granted,
        since: status.since,
    }
}

/// When each schedule of `live` comes next.
fn next_runs(live: &GrantsFile) -> Vec<NextRun> {
    let now = OffsetDateTime::now_utc();
    let now_ms = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let schedules = live.grants.schedules.iter();
    let next = schedules.map(|schedule| {
        let delay = schedule.delay_ms(live.window.as_str());
        // One whose time has come, and whose delay has not passed, is still to come.
        let next = schedule.next_after(now_ms.saturating_sub(delay));
        let next = next.map(|at| i128::from(at.saturating_add(delay)) * 1_000_000);
        NextRun {
            name: schedule.name.clone(),
            next: next.and_then(|at| OffsetDateTime::from_unix_timestamp_nanos(at).ok()),
        }
    });
    next.collect()
}

/// What `file` of `folder`, with the text that `read` is of, grants; without the values of secrets.
pub fn of_file(read: &GrantsFile, folder: &Path, file: &str) -> WindowGrants {
    WindowGrants {
        grants: read.grants.clone(),
        digest: Some(read.digest.clone()),
        folder: folder.to_owned(),
        file: file.to_owned(),
        ..WindowGrants::default()
    }
}

impl GrantsFolder {
    /// Every file, by name. Does not block.
    pub fn statuses(&self) -> Vec<GrantsStatus> {
        let files = self.files().status();
        files.iter().map(|status| self.shown(status)).collect()
    }

    /// The file of window `name`, and its text. Does not block.
    pub fn status(&self, name: &str) -> Option<(GrantsStatus, String)> {
        let (status, text) = self.files().get(name)?;
        Some((self.shown(&status), text))
    }

    /// What became of a file, with what is known of its secrets.
    pub fn shown(&self, status: &FileStatus<GrantsFile>) -> GrantsStatus {
        let window = status.live.as_ref().map(|live| live.window.as_str());
        let granted = window.map(|window| self.current(window));
        let faults = granted.map(|granted| granted.secret_faults.clone());
        grants_status(status, self.files().dir(), &faults.unwrap_or_default())
    }

    /// What window `name` would be granted if its file were `read`; without the values of secrets.
    pub fn would_be(&self, name: &str, read: &GrantsFile) -> WindowGrants {
        let there = self.files().get(name).map(|(status, _)| status.file);
        let file = there.unwrap_or_else(|| format!("{name}.yaml"));
        self.granted(&file, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hms_manifest::Manifest;

    #[test]
    fn next_run_of_a_schedule_is_to_come_with_its_delay() {
        let text = "schedules: {a: {cron: '* * * * *', to: /a, jitter: 30s}}\n";
        let live = GrantsFile::parse("payments", text).unwrap();
        let delay = live.grants.schedules[0].delay_ms("payments");
        let [next] = &next_runs(&live)[..] else {
            panic!("one schedule");
        };
        let next = next.next.unwrap();
        let now = OffsetDateTime::now_utc();
        assert!(next + time::Duration::SECOND > now && next - now <= time::Duration::MINUTE);
        let ms = next.unix_timestamp_nanos() / 1_000_000;
        assert_eq!(ms % 60_000, i128::from(delay));
    }
}
