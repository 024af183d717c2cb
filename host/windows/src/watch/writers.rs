//! Which files are being written, according to the file system's events: however long a writer
//! pauses, its file is not complete before it is closed. If events are lost, or there are none,
//! only the stillness of the file counts, and the inspection of a deploy.

use super::folder::is_component;
use notify::Event;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// The files that are being written. Holds no more names than the folder has files.
#[derive(Clone, Default)]
pub(super) struct Writers(Arc<Mutex<HashSet<OsString>>>);

impl Writers {
    /// Whether somebody is writing that file.
    pub(super) fn hold(&self, file: &OsStr) -> bool {
        self.files().contains(file)
    }

    /// Processes an event.
    pub(super) fn heed(&self, event: &Event) {
        let mut files = self.files();
        if event.need_rescan() {
            // Events were lost, perhaps a close among them.
            files.clear();
            return;
        }
        let names = event.paths.iter().filter_map(|path| path.file_name());
        for file in names.filter(|file| is_component(file)) {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => {
                    files.insert(file.to_owned());
                }
                // Under that name there is now another file, or none, or a complete one.
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Create(_)
                | EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_)) => {
                    files.remove(file);
                }
                _ => {}
            }
        }
    }

    fn files(&self) -> MutexGuard<'_, HashSet<OsString>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, Flag, RenameMode};

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

    fn event(kind: EventKind) -> Event {
        Event::new(kind).add_path("/windows/a.wasm".into())
    }

    #[test]
    fn file_is_held_from_the_first_byte_until_it_is_closed_or_replaced() {
        let ends = [
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Create(CreateKind::File),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
        ];
        for end in ends {
            let writers = Writers::default();
            writers.heed(&event(EventKind::Create(CreateKind::File)));
            assert!(!writers.hold("a.wasm".as_ref()));
            writers.heed(&event(WRITTEN));
            assert!(writers.hold("a.wasm".as_ref()) && !writers.hold("b.wasm".as_ref()));
            writers.heed(&event(end));
            assert!(!writers.hold("a.wasm".as_ref()), "{end:?}");
        }
    }

    #[test]
    fn lost_events_hold_nothing_forever() {
        let writers = Writers::default();
        writers.heed(&event(WRITTEN));
        writers.heed(&Event::new(EventKind::Other).set_flag(Flag::Rescan));
        assert!(!writers.hold("a.wasm".as_ref()));
    }
}
