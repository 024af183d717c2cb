//! A removed window's file in the watched folder. It is recorded as deployed, so that neither a
//! restart nor a retry of a failed deploy brings the window back: only a changed file does.

use super::folder;
use super::taken::Taken;
use crate::release::file;
use crate::{Registry, WindowName};
use hms_api::{LeftFile, Word};
use hms_disk::stamp::FileStamp;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

/// Records the component of `name` in the watched folder as deployed, whatever became of it. None
/// if there is none, or if the folder does not answer within
/// [`WindowsConfig::disk_time`](crate::WindowsConfig::disk_time). Must be called before the window
/// is removed for good: a host that ends in between must not deploy it again.
pub(crate) async fn leave_in_folder(registry: &Registry, name: &WindowName) -> Option<LeftFile> {
    let folder = registry.config.watched.clone()?;
    let (dir, wanted) = (folder.clone(), name.clone());
    let find = move || find(&dir, &wanted);
    let mut found = None;
    let noting = async {
        let Some((file, stamp)) = off_the_threads(find).await? else {
            return Ok(());
        };
        let path = folder.join(&file);
        found = Some(file);
        note_left(registry, name, &path, stamp).await
    };
    let noted = tokio::time::timeout(registry.config.disk_time, noting).await;
    let noted = noted.unwrap_or_else(|_| Err("the disk does not answer".into()));
    if let Err(error) = &noted {
        tracing::warn!(
            window = %name, error,
            "cannot record that the window's file in the windows folder must not be deployed again"
        );
    }
    Some(LeftFile {
        file: found?.to_string_lossy().into_owned(),
        folder: folder.to_string_lossy().into_owned(),
        deployed_again: Word::from(match noted {
            Ok(()) => "when it changes",
            Err(_) => "at the next start",
        }),
    })
}

async fn note_left(
    registry: &Registry,
    name: &WindowName,
    path: &Path,
    stamp: FileStamp,
) -> Result<(), String> {
    if (registry.taken.get(name).await).is_some_and(|taken| taken.stamp == stamp) {
        return Ok(());
    }
    // Larger files are never deployed.
    let digest = match stamp.bytes <= registry.config.max_upload_bytes {
        true => file::digest(path).await,
        false => Ok(String::new()),
    };
    let taken = Taken {
        digest: digest.map_err(|error| error.to_string())?,
        stamp,
        release: 0,
    };
    let noted = registry.taken.put(name, &taken).await;
    noted.map_err(|error| error.to_string())
}

/// The component of that window in the folder. Blocks on the file system.
fn find(dir: &Path, window: &WindowName) -> io::Result<Option<(OsString, FileStamp)>> {
    let is_its = |file: &OsStr| WindowName::from_file(Path::new(file)).as_ref() == Ok(window);
    let found = folder::read(dir, folder::MAX_FILES, &is_its)?;
    Ok(found.files.into_iter().find(|(file, _)| is_its(file)))
}

async fn off_the_threads<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fixture, Trouble, component, name};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn file_is_noted_before_its_window_is_removed() {
        let fixture = Fixture::new(false).await;
        fixture.deploy("w", 1, None).await;
        let folder = fixture.dir.path().join("watched");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("w.WASM"), component(2)).unwrap();
        // The disk takes the first write, and answers none.
        fixture.disk.trouble(Trouble::Hangs);
        let registry = fixture.registry.clone();
        let removal = tokio::spawn(async move { registry.remove(&name(), false).await });
        while fixture.registry.taken.get(&name()).await.is_none() {
            assert!(
                fixture.on_disk().is_some(),
                "removed, and its file not noted"
            );
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(
            fixture.on_disk().is_some(),
            "removed, and its file not noted"
        );
        fixture.disk.trouble(Trouble::None);
        let left = removal.await.unwrap().unwrap().left.unwrap();
        assert_eq!(
            (&*left.file, &*left.deployed_again),
            ("w.WASM", "when it changes")
        );
    }
}
