//! The registry file as a mount point. A function stands for the kernel's rename, and refuses to replace the file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tempfile::TempDir;

use super::content::encode;
use super::lock::FileLock;
use super::replace::Target;
use super::{LockedFile, RegistryFile};
use crate::decide::ids::Ids;
use crate::ledger::memory::{ManualClock, MemoryLedger};
use crate::limit::{Amount, Definition, Kind, KindFields, KindName, LimitKey, LimitState, Overage};
use crate::registry::{Admin, Registry};

fn definition(key: &str) -> Definition {
    let fields = KindFields { window_seconds: 60, ..KindFields::default() };
    let kind = Kind::from_fields(KindName::Rolling, &fields).unwrap();
    let capacity = Amount::new(3).unwrap();
    Definition::new(LimitKey::parse_name(key).unwrap(), kind, capacity, "", "", Overage::Debt).unwrap()
}

fn states(keys: &[&str]) -> Vec<LimitState> {
    keys.iter().map(|key| LimitState::active(definition(key))).collect()
}

fn text(keys: &[&str]) -> String {
    encode(&states(keys)).unwrap()
}

/// Refuses the renames that the kernel refuses if `registry.json` is a mount point.
fn rename_around_mount(from: &Path, to: &Path) -> io::Result<()> {
    if [from, to].iter().any(|path| path.ends_with("registry.json")) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    fs::rename(from, to)
}

/// A folder in which `registry.json` is a mount point.
struct Mounted {
    folder: TempDir,
}

impl Mounted {
    fn with(content: &str) -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(this.path(), content).unwrap();
        this
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("registry.json")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.folder.path().join(format!("registry.json{ending}"))
    }

    fn lock(&self, is_copy: bool) -> LockedFile {
        let mut target = Target::resolve(&self.path()).unwrap();
        target.rename = rename_around_mount;
        let lock = FileLock::take(&target).unwrap();
        target.recover().unwrap();
        LockedFile::new(target, lock, is_copy)
    }

    fn content(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_mount_point_is_overwritten_in_place() {
    let mounted = Mounted::with(&text(&["a"]));
    // The mounted file stays the same file.
    let shown = fs::File::open(mounted.path()).unwrap();
    let file = mounted.lock(false);
    for keys in [&["a", "b", "c"][..], &["b"]] {
        let wanted = states(keys);
        file.write(move || wanted).await.unwrap();
        assert_eq!(mounted.content(), text(keys));
        assert_eq!(shown.metadata().unwrap().len(), text(keys).len() as u64);
        assert_eq!(mounted.names(), ["registry.json", "registry.json.lock"]);
    }
}

#[test]
fn a_crash_while_a_mount_point_is_overwritten_leaves_a_readable_file() {
    let (old, new) = (text(&["a"]), text(&["a", "b"]));
    for is_still_mounted in [true, false] {
        for (case, content) in [
            ("before the first byte", old.clone()),
            ("with space for the new content", format!("{old}      ")),
            ("in the middle", new[..new.len() / 2].to_owned()),
            ("before the end is cut off", format!("{new}  }}]")),
            ("before the journal is removed", new.clone()),
        ] {
            let mounted = Mounted::with(&content);
            fs::write(mounted.beside(".journal"), &new).unwrap();

            let from_file = RegistryFile::new(mounted.path(), false).read_existing().unwrap();
            let file = if is_still_mounted {
                mounted.lock(false)
            } else {
                RegistryFile::new(mounted.path(), false).lock().unwrap()
            };

            assert_eq!(from_file, states(&["a", "b"]), "{case}");
            assert_eq!(file.read().unwrap(), states(&["a", "b"]), "{case}");
            assert_eq!(mounted.content(), new, "{case}");
            assert_eq!(mounted.names(), ["registry.json", "registry.json.lock"], "{case}");
        }
    }
}

#[tokio::test]
async fn an_overwrite_that_cannot_have_a_journal_changes_nothing() {
    let mounted = Mounted::with(&text(&["a"]));
    let file = mounted.lock(false);
    file.read().unwrap();
    fs::create_dir(mounted.beside(".journal")).unwrap();

    let error = file.write(|| states(&["a", "b"])).await.unwrap_err().to_string();

    assert!(error.contains("registry.json"), "{error}");
    assert_eq!(mounted.content().trim_end(), text(&["a"]).trim_end());
    assert_eq!(mounted.names(), ["registry.json", "registry.json.journal", "registry.json.lock"]);
}

#[test]
fn a_read_only_folder_is_named_with_what_to_do() {
    let target = Target::resolve(Path::new("/etc/limits/registry.json")).unwrap();
    for kind in [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied] {
        let message = target.explain(kind.into()).to_string();
        assert!(message.contains("/etc/limits cannot be written"), "{message}");
        assert!(message.contains("mount the folder instead of the file"), "{message}");
    }
}

#[tokio::test]
async fn a_damaged_copy_at_a_mount_point_is_copied_aside_and_rewritten() {
    let mounted = Mounted::with("[{");
    let file = mounted.lock(true);

    assert_eq!(file.read().unwrap(), []);
    let names = mounted.names();
    let aside = names.iter().find(|name| name.starts_with("registry.json.damaged-")).unwrap();
    assert_eq!(fs::read_to_string(mounted.folder.path().join(aside)).unwrap(), "[{");

    file.write(|| states(&["a"])).await.unwrap();
    assert_eq!(mounted.content(), text(&["a"]));
}

#[test]
fn behind_the_damaged_journal_of_a_copy_the_file_is_read() {
    let mounted = Mounted::with(&text(&["a"]));
    fs::write(mounted.beside(".journal"), "[{").unwrap();
    let error = mounted.lock(false).read().unwrap_err().to_string();
    assert!(error.contains("registry.json.journal is damaged"), "{error}");
    assert_eq!(mounted.lock(true).read().unwrap(), states(&["a"]));
}

#[tokio::test]
async fn changes_in_flight_share_writes_and_each_is_saved_when_it_is_answered() {
    const CHANGES: usize = 100;
    static WRITES: AtomicUsize = AtomicUsize::new(0);
    fn counted(from: &Path, to: &Path) -> io::Result<()> {
        WRITES.fetch_add(1, Ordering::SeqCst);
        fs::rename(from, to)
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.json");
    let mut target = Target::resolve(&path).unwrap();
    target.rename = counted;
    let lock = FileLock::take(&target).unwrap();
    let ledger = Arc::new(MemoryLedger::new(Arc::new(ManualClock::new()), std::time::Duration::ZERO));
    let file = LockedFile::new(target, lock, false);
    let admin = Admin::new(Arc::new(Registry::new(ledger, Ids::new(1), Some(file))));
    admin.bootstrap(&[]).await.unwrap();

    join_all((0..CHANGES).map(async |number| {
        let key = format!("limit{number}");
        admin.put(&definition(&key)).await.unwrap();
        let saved = RegistryFile::new(path.clone(), false).read().unwrap();
        assert!(saved.iter().any(|state| state.definition.key.as_str() == key), "{key}");
    }))
    .await;

    let writes = WRITES.load(Ordering::SeqCst);
    assert!(writes <= CHANGES / 10, "{writes} writes for {CHANGES} changes");
}
