//! Where a backup or a data folder may be made. Not inside of a backup: every file of one counts,
//! so it would be damaged. And no backup inside of a host's data or routes folder: it would be lost
//! with the host, and the host would refuse its manifests as routes in the wrong place.

use super::{Head, Member};
use anyhow::{Context, bail};
use hms_disk::data::LOCK;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

/// Bytes of a head that are looked at.
const HEAD_BYTES: u64 = 4096;

/// Where `path` is, or will be once it is made: absolute, with no link and no `..` in it.
///
/// # Errors
/// When a folder on the way cannot be looked at.
pub fn resolve(path: &Path) -> anyhow::Result<PathBuf> {
    real(path).with_context(|| format!("cannot inspect {}", path.display()))
}

fn real(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut there = path.as_path();
    let mut missing = Vec::new();
    let mut found = loop {
        match fs::canonicalize(there) {
            Ok(found) => break found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (Some(above), Some(last)) = (there.parent(), there.components().next_back())
                else {
                    return Err(error);
                };
                missing.push(last);
                there = above;
            }
            Err(error) => return Err(error),
        }
    };
    let mut back = false;
    for part in missing.into_iter().rev() {
        match part {
            Component::ParentDir => back |= found.pop(),
            part => found.push(part),
        }
    }
    match back {
        // What it goes back to may be there, and a link.
        true => real(&found),
        false => Ok(found),
    }
}

/// The backup that `place` is, or is inside of. `place` is [`resolve`]d.
pub fn backup_around(place: &Path) -> Option<&Path> {
    place.ancestors().find(|folder| is_backup(folder))
}

fn is_backup(folder: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(Member::Head.place(folder));
    let read = read.and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && Head::is_one(&head)
}

/// The data folder of a host that `place` is, or is inside of. `place` is [`resolve`]d.
fn data_around(place: &Path) -> Option<&Path> {
    let has = |folder: &Path, name: &str| folder.join(name).is_file();
    place
        .ancestors()
        .find(|folder| has(folder, LOCK) && has(folder, "host.redb"))
}

/// That a backup can be made at `place`, which is [`resolve`]d.
///
/// # Errors
/// A sentence, where that is inside of another backup or of a data folder, or inside of the data
/// folder `data` or the routes folder that its host had last.
pub fn check_target(place: &Path, data: Option<&Path>) -> anyhow::Result<()> {
    let shown = place.display();
    let advice = "choose a folder outside of it";
    if let Some(around) = place.parent().and_then(backup_around) {
        let around = around.display();
        bail!("{shown} is inside the backup {around}, which it would damage: {advice}");
    }
    let data = data.and_then(|data| fs::canonicalize(data).ok());
    let data = data.filter(|data| data.join(LOCK).is_file());
    let within = data.as_deref().filter(|data| place.starts_with(data));
    if let Some(around) = within.or_else(|| data_around(place)) {
        let around = around.display();
        bail!("{shown} is inside the data folder {around}, and would be lost with it: {advice}");
    }
    for (kept, many) in [
        (Member::KeptRoutes, "routes"),
        (Member::KeptGrants, "grants"),
    ] {
        let folder = data.as_ref().and_then(|data| folder_of(&kept, data));
        if let Some(folder) = folder.filter(|folder| place.starts_with(folder)) {
            let folder = folder.display();
            bail!(
                "{shown} is inside the {many} folder {folder}, whose host would refuse the \
                 backup's manifests as misplaced {many}: {advice}"
            );
        }
    }
    Ok(())
}

/// The folder of manifests that the host of `data` had last, as it notes it with the last good
/// texts.
fn folder_of(kept: &Member, data: &Path) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct FolderField {
        folder: PathBuf,
    }
    let json = fs::read(kept.place(data)).ok()?;
    let kept: FolderField = serde_json::from_slice(&json).ok()?;
    fs::canonicalize(kept.folder).ok()
}

/// That a data folder can be made at `data`, with its manifests in `folders` by their options, of
/// the backup in the folder `backup`, where it is one.
///
/// # Errors
/// A sentence, where one would be inside of another, or of some other backup.
pub fn check_restore(
    data: &Path,
    folders: [(&str, Option<&Path>); 2],
    backup: Option<&Path>,
) -> anyhow::Result<()> {
    let data = resolve(data)?;
    let mut places = vec![("--data", data.clone())];
    for (option, folder) in folders {
        if let Some(folder) = folder {
            places.push((option, resolve(folder)?));
        }
    }
    let backup = backup.map(resolve).transpose()?;
    for (option, place) in &places {
        let shown = place.display();
        let within = backup.as_deref().filter(|backup| place.starts_with(backup));
        if let Some(around) = within.or_else(|| backup_around(place)) {
            bail!(
                "{option} {shown} is inside the backup {}, which it would damage: choose a folder \
                 outside of it",
                around.display()
            );
        }
        if let Some(backup) = backup.as_ref().filter(|backup| backup.starts_with(place)) {
            bail!(
                "the backup {} is inside {option} {shown}: choose another folder",
                backup.display()
            );
        }
    }
    for (option, place) in places.iter().skip(1) {
        let many = option.trim_start_matches('-');
        if *place != data.join(many) && (place.starts_with(&data) || data.starts_with(place)) {
            bail!(
                "one of {option} {} and --data {} is inside the other: choose separate folders, or \
                 omit {option} for DATA/{many}",
                place.display(),
                data.display()
            );
        }
    }
    Ok(())
}
