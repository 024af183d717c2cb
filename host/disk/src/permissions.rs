//! Who else on this machine can read or write what the host relies on.

use anyhow::{Context, bail};
use rustix::fs::Mode;
use std::fs::{self, Metadata, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Mode bits by which group and others can write, and can do anything at all.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS_ANY: u32 = 0o077;

/// Mode bits by which everybody can write or read. A group is chosen by whoever sets it, so it is
/// not warned of.
const ALL_WRITE: u32 = 0o002;
const ALL_READ: u32 = 0o004;

/// Folders below the data folder that are looked into: `windows/NAME` and `artifacts/native` are
/// two deep.
const MAX_DEPTH: usize = 4;

/// What this process makes from now on is its user's alone.
pub fn make_private_files() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS_ANY));
}

/// Makes sure that a data folder is for this user alone. What others can read is closed to them,
/// which is said in the log.
///
/// # Errors
/// A sentence, where others can write the folder or what they reach in it, or it or something in it
/// is another user's: what lies there may be theirs.
pub fn secure_data(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let folder = fs::metadata(path).with_context(|| format!("cannot inspect {shown}"))?;
    let mode = mode(&folder);
    if let Err(error) = fs::read_dir(path)
        && error.kind() == ErrorKind::PermissionDenied
    {
        bail!(
            "the data folder {shown} belongs to user {}, and this host runs as user {}, who cannot \
             read it: run it as that user, or choose another folder with --data",
            folder.uid(),
            user()
        );
    }
    if !ours(&folder) {
        bail!(
            "the data folder {shown} belongs to user {}, and this host runs as user {}: run `chown \
             {}` on it, or choose another with --data",
            folder.uid(),
            user(),
            user()
        );
    }
    if mode & OTHERS_WRITE != 0 {
        bail!(
            "the data folder {shown} is writable by other users (mode {mode:04o}), but the host \
             trusts native code and secrets in it: check that nothing in it is theirs and run \
             `chmod 700 {shown}`, or choose another with --data, such as a new folder inside it"
        );
    }
    let open = mode & OTHERS_ANY != 0;
    // Below a folder that is closed nobody else reaches anything, so only whose it is counts there.
    let depth = if open { MAX_DEPTH } else { 1 };
    // All of it before anything is closed: the next start would find a closed folder, and take what
    // is in it.
    below(path, depth, &mut |entry, metadata| {
        check(path, entry, metadata, open)
    })?;
    if open {
        close(path, mode)?;
        below(
            path,
            depth,
            &mut |entry, metadata| match metadata.is_symlink() {
                true => Ok(()),
                false => close(entry, self::mode(metadata)),
            },
        )?;
        tracing::warn!(
            "the data folder {shown} was readable by other users (mode {mode:04o}): changed to 0700"
        );
    }
    Ok(())
}

/// Has `each` see all that is in `folder`, so many folders deep. Of a link it sees the link itself:
/// whoever made it says where it leads.
fn below(
    folder: &Path,
    depth: usize,
    each: &mut dyn FnMut(&Path, &Metadata) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let shown = folder.display();
    let entries = fs::read_dir(folder).with_context(|| format!("{shown} cannot be listed"))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        each(&path, &metadata)?;
        if metadata.is_dir() && depth > 1 {
            below(&path, depth - 1, each)?;
        }
    }
    Ok(())
}

/// Whether something in the data folder `data` may be another user's.
fn check(data: &Path, path: &Path, metadata: &Metadata, open: bool) -> anyhow::Result<()> {
    let (shown, mode) = (path.display(), mode(metadata));
    if !ours(metadata) {
        bail!(
            "{shown} belongs to user {}, in a data folder of user {}: check what it is, and remove it or run `chown -h {}` on it",
            metadata.uid(),
            user(),
            user()
        );
    }
    if open && !metadata.is_symlink() && mode & OTHERS_WRITE != 0 {
        let data = data.display();
        bail!(
            "{shown} is writable by other users (mode {mode:04o}), in a data folder that they can \
             enter, but the host trusts native code and secrets in it: check that nothing in it is \
             theirs and run `chmod -R go= {data}`; you can delete {data}/artifacts/native, which \
             is compiled again"
        );
    }
    Ok(())
}

fn close(path: &Path, mode: u32) -> anyhow::Result<()> {
    if mode & OTHERS_ANY == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS_ANY)).with_context(|| {
        format!(
            "{} is readable by other users (mode {mode:04o}), and the host cannot change that: run `chmod go=` on it",
            path.display()
        )
    })
}

/// Says in the log where everybody on this machine can change `what`, which the host trusts.
pub fn warn_if_writable(path: &Path, what: &str) {
    if let Some(mode) = fs::metadata(path).ok().map(|found| mode(&found))
        && mode & ALL_WRITE != 0
    {
        tracing::warn!(
            "{what} {} is writable by every user of this machine (mode {mode:04o}): run `chmod o-w` on it",
            path.display()
        );
    }
}

/// Says in the log where everybody on this machine can read `what`, which is secret.
pub fn warn_if_readable(path: &Path, what: &str) {
    if let Some(mode) = fs::metadata(path).ok().map(|found| mode(&found))
        && mode & (ALL_READ | ALL_WRITE) != 0
    {
        tracing::warn!(
            "{what} {} is readable by every user of this machine (mode {mode:04o}): run `chmod o=` on it",
            path.display()
        );
    }
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o7777
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Of the user that this process is, or of root, who can do everything anyway.
fn ours(metadata: &Metadata) -> bool {
    metadata.uid() == user() || metadata.uid() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        chmod(folder.path(), mode);
        folder
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn mode_of(path: &Path) -> u32 {
        mode(&fs::metadata(path).unwrap())
    }

    #[test]
    fn data_folder_writable_by_others_is_rejected_unchanged() {
        for mode in [0o777, 0o1777, 0o770, 0o702, 0o720, 0o2775] {
            let data = folder(mode);
            let why = secure_data(data.path()).unwrap_err().to_string();
            assert!(why.contains("chmod 700"), "{mode:o}: {why}");
            assert_eq!(mode_of(data.path()), mode);
        }
    }

    #[test]
    fn data_folder_readable_by_others_is_made_private_with_its_content() {
        for mode in [0o755, 0o750, 0o711, 0o2755, 0o704] {
            let data = folder(mode);
            let below = data.path().join("windows/payments");
            fs::create_dir_all(&below).unwrap();
            let store = below.join("store.redb");
            fs::write(&store, "").unwrap();
            chmod(&store, 0o644);
            chmod(&below, 0o755);
            let outside = folder(0o755);
            symlink(outside.path(), data.path().join("link")).unwrap();
            secure_data(data.path()).unwrap();
            assert_eq!(mode_of(data.path()) & 0o777, 0o700, "{mode:o}");
            assert_eq!((mode_of(&below), mode_of(&store)), (0o700, 0o600));
            assert_eq!(mode_of(outside.path()), 0o755, "a link leads out");
        }
        secure_data(folder(0o700).path()).unwrap();
    }

    #[test]
    fn writable_content_of_an_open_data_folder_is_rejected_unchanged() {
        for (folder_mode, file_mode) in [(0o777, 0o644), (0o755, 0o666), (0o755, 0o620)] {
            let data = folder(0o755);
            let native = data.path().join("artifacts/native");
            fs::create_dir_all(&native).unwrap();
            let planted = native.join("code");
            fs::write(&planted, "").unwrap();
            chmod(&planted, file_mode);
            chmod(&native, folder_mode);
            // Twice: the first refusal must not be what lets the second start pass.
            for _ in 0..2 {
                let why = secure_data(data.path()).unwrap_err().to_string();
                let command = format!("chmod -R go= {}", data.path().display());
                assert!(
                    why.contains("artifacts/native") && why.contains(&command),
                    "{why}"
                );
                let modes = (mode_of(data.path()), mode_of(&native), mode_of(&planted));
                assert_eq!(modes, (0o755, folder_mode, file_mode));
            }
            // Nobody else reaches it.
            chmod(data.path(), 0o700);
            secure_data(data.path()).unwrap();
        }
    }

    #[test]
    fn file_of_another_user_keeps_the_host_from_starting() {
        let data = folder(0o700);
        let planted = data.path().join("host.redb");
        symlink("/etc/passwd", &planted).unwrap();
        let theirs = std::os::unix::fs::lchown(&planted, Some(65534), None);
        if theirs.is_err() {
            // Only root can make a file another user's.
            return;
        }
        let why = secure_data(data.path()).unwrap_err().to_string();
        assert!(why.contains("host.redb") && why.contains("65534"), "{why}");
        fs::remove_file(&planted).unwrap();
        secure_data(data.path()).unwrap();

        std::os::unix::fs::chown(data.path(), Some(65534), None).unwrap();
        let why = secure_data(data.path()).unwrap_err().to_string();
        assert!(why.contains("chown"), "{why}");
    }
}
