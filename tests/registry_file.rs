//! The registry file: writing and reading it, after a crash, after a failed write, and with damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::engine::{Engine, EngineOptions};
use ledger_limiter::ledger::memory::{ManualClock, MemoryLedger};
use ledger_limiter::limit::{Definition, LimitState, Status};
use ledger_limiter::registry::AdminError;
use ledger_limiter::registry::file::{LockedFile, RegistryFile};
use tempfile::TempDir;

use crate::fixtures::{amount, capacity, concurrency, key, lease, reserve, rolling, template};

fn states() -> Vec<LimitState> {
    let to = capacity(2);
    vec![
        LimitState::active(rolling("rpm", 3, 60)),
        LimitState { status: Status::Decreasing { to }, ..LimitState::active(concurrency("slots", 5, 60)) },
    ]
}

fn lock(path: &Path) -> LockedFile {
    RegistryFile::new(path.to_owned(), false).lock().expect("no other service has it")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<String> = entries.map(|entry| name(entry).expect("a name")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_written_file_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registry.json");
    let file = lock(&path);
    assert_eq!(file.read().expect("a missing file is empty"), []);
    file.write(states).await.expect("it is written");
    assert_eq!(file.read().expect("it is read"), states());
    assert_eq!(names(folder.path()), ["registry.json", "registry.json.lock"], "the temporary file is gone");
    let text = std::fs::read_to_string(path).expect("it is read");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json[1]["status"], "decreasing");
    assert_eq!(json[1]["pending_decrease_to"], 2);
    assert_eq!(json[0]["definition"]["key"], "rpm");
}

#[tokio::test]
async fn a_crash_during_a_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registry.json");
    lock(&path).write(states).await.expect("it is written");
    std::fs::write(folder.path().join("registry.json.tmp"), "[{\"defin").expect("half a file");
    assert_eq!(lock(&path).read().expect("it is read"), states());
    assert_eq!(
        names(folder.path()),
        ["registry.json", "registry.json.lock"],
        "the half-written temporary file is gone"
    );
}

#[tokio::test]
async fn a_failed_write_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registry.json");
    let file = lock(&path);
    file.write(states).await.expect("it is written");
    // A folder has the name of the temporary file, so the file cannot be created.
    std::fs::create_dir(folder.path().join("registry.json.tmp")).expect("a folder");
    let error = file.write(Vec::new).await.expect_err("it cannot be written");
    assert!(error.to_string().contains("registry.json"), "{error}");
    assert!(std::fs::read_to_string(path).expect("it is read").contains("slots"));
}

#[tokio::test]
async fn an_error_names_the_file_and_the_position_of_the_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registry.json");
    let good = |key: &str| {
        format!(
            r#"{{"definition":{{"key":"{key}","kind":"rolling","capacity":3,"window_seconds":60}},"status":"active","pending_decrease_to":0}}"#
        )
    };
    for (text, position) in [
        ("".to_owned(), "line 1 column 0"),
        ("[{\"definition\"".to_owned(), "line 1 column 14"),
        ("{}".to_owned(), "its top level: must be an array, not an object"),
        ("\u{feff}[]".to_owned(), "byte order mark"),
        (
            format!("[{}]", good("a").replace("3,", "3.5,")),
            "[0].definition.capacity: must be a whole number, not 3.5",
        ),
        (format!("[[{}]]", good("a")), "[0]: must be an object, not an array"),
        (format!("[{},{}]", good("a"), good("a")), "[1]: key a appears twice"),
        (format!("[{},{}]", good("a"), good("b").replace("60", "0")), "[1]: definition.window_seconds"),
        (format!("[{}]", good("a").replace("rolling", "leaky")), "[0].definition.kind"),
        (
            format!("[{}]", good("a").replace("active", "decreasing").replace("to\":0", "to\":3")),
            "[0]: pending_decrease_to must be below the capacity",
        ),
        (format!("[{}]", good("a").replace("\"kind\"", "\"knid\"")), "[0].definition: unknown field `knid`"),
        (format!("[{}] x", good("a")), "trailing characters"),
    ] {
        std::fs::write(&path, &text).expect("it is written");
        let error = RegistryFile::new(path.clone(), false).read().expect_err(&text).to_string();
        assert!(error.contains("registry.json") && error.contains(position), "{text}: {error}");
        assert_eq!(
            std::fs::read_to_string(&path).expect("it is read"),
            text,
            "the damaged file stays unchanged"
        );
    }
}

#[test]
fn the_example_limits_can_be_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/limits.json");
    let text = std::fs::read_to_string(path).expect("the example exists");
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("registry.json");
    std::fs::write(&copy, text).expect("it is written");
    assert_eq!(RegistryFile::new(copy, false).read().expect("it is read").len(), 16);
}

#[tokio::test]
async fn a_second_service_gets_an_error_that_names_the_file_and_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registry.json");
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink("registry.json", &link).expect("a link");
    let first = lock(&path);
    // A write replaces the file; the lock stays.
    first.write(states).await.expect("it is written");

    for second in [&path, &link] {
        let error = RegistryFile::new(second.clone(), true).lock().expect_err("it is in use").to_string();
        assert!(error.contains(&format!("{} is in use by another service", path.display())), "{error}");
        assert!(error.contains("registry.path"), "{error}");
    }

    drop(first);
    assert_eq!(lock(&link).read().expect("it is read"), states());
}

#[test]
fn two_mounts_of_one_file_are_one_file() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [first, second] = folders.each_ref().map(|folder| folder.path().join("registry.json"));
    std::fs::write(&first, "[]").expect("it is written");
    // A hard link is to a lock what a mount is: one file in two folders.
    std::fs::hard_link(&first, &second).expect("a link");
    let _lock = lock(&first);
    let error = RegistryFile::new(second, false).lock().expect_err("it is in use").to_string();
    assert!(error.contains("is in use by another service"), "{error}");
}

#[tokio::test]
async fn a_symbolic_link_stays_and_its_target_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    let target = folder.path().join("data/limits.json");
    let link = folder.path().join("registry.json");
    std::os::unix::fs::symlink("data/limits.json", folder.path().join("second.json")).expect("a link");
    std::os::unix::fs::symlink("second.json", &link).expect("a link");
    for keys in [&["a"][..], &["a", "b"]] {
        let wanted: Vec<LimitState> =
            keys.iter().map(|key| LimitState::active(rolling(key, 3, 60))).collect();
        let written = wanted.clone();
        lock(&link).write(move || written).await.expect("it is written");
        assert_eq!(RegistryFile::new(target.clone(), false).read_existing().expect("it is there"), wanted);
    }
    assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
    assert_eq!(names(folder.path()), ["data", "registry.json", "second.json"]);
    assert_eq!(names(&folder.path().join("data")), ["limits.json", "limits.json.lock"]);
}

#[tokio::test]
async fn a_damaged_copy_is_set_aside_and_written_again() {
    let service = Service::start(Role::Copy, "[{\"defin");
    let read = service.file.read().expect("a damaged copy is empty");
    assert_eq!(read, []);
    let names = names(service.folder.path());
    let aside =
        names.iter().find(|name| name.starts_with("registry.json.damaged-")).expect("it is set aside");
    let aside = std::fs::read_to_string(service.folder.path().join(aside)).expect("it is read");
    assert_eq!(aside, "[{\"defin");

    service.engine.bootstrap(&read).await.expect("the ledger answers");
    service.put(rolling("rpm", 3, 60)).await.expect("it is made");
    assert_eq!(service.saved_capacities(), [("rpm".to_owned(), 3)]);
}

/// Whether the definitions last in the file alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Lasting,
    Copy,
}

/// A service with a registry file.
struct Service {
    folder: TempDir,
    file: LockedFile,
    engine: Engine<MemoryLedger<Arc<ManualClock>>>,
}

impl Service {
    fn start(role: Role, content: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("registry.json");
        std::fs::write(&path, content).expect("it is written");
        let file = RegistryFile::new(path, role == Role::Copy).lock().expect("no other service has it");
        let ledger = MemoryLedger::new(Arc::new(ManualClock::new()), Duration::from_secs(60));
        let options = EngineOptions::default().with_registry_file(file.clone());
        Self { folder, file, engine: Engine::new(Arc::new(ledger), options) }
    }

    /// A service that has these limits.
    async fn with(role: Role, limits: &[Definition]) -> Self {
        let service = Self::start(role, "[]");
        service.engine.bootstrap(&[]).await.expect("the ledger answers");
        for limit in limits {
            service.put(limit.clone()).await.expect("it is made");
        }
        service
    }

    async fn put(&self, definition: Definition) -> Result<Status, AdminError> {
        self.engine.admin().put(&definition).await
    }

    /// Makes every write fail from now on: a folder stands in the place of the temporary file.
    fn fill_disk(&self) -> PathBuf {
        let obstacle = self.folder.path().join("registry.json.tmp");
        std::fs::create_dir(&obstacle).expect("a folder");
        obstacle
    }

    /// The capacities in force.
    async fn capacities(&self) -> Vec<(String, u64)> {
        let list = self.engine.admin().list().await.expect("the ledger answers");
        list.into_iter().map(|usage| key_and_capacity(usage.state())).collect()
    }

    /// The capacities in the file.
    fn saved_capacities(&self) -> Vec<(String, u64)> {
        let path = self.folder.path().join("registry.json");
        let saved = RegistryFile::new(path, false).read_existing().expect("it is read");
        saved.iter().map(key_and_capacity).collect()
    }
}

fn key_and_capacity(state: &LimitState) -> (String, u64) {
    (state.definition.key.as_str().to_owned(), state.definition.capacity.get())
}

#[tokio::test]
async fn a_change_that_cannot_be_saved_is_not_in_force() {
    let service = Service::with(Role::Lasting, &[rolling("rpm", 3, 60)]).await;
    let before = vec![("rpm".to_owned(), 3)];
    let obstacle = service.fill_disk();

    let created = service.put(rolling("new", 1, 60)).await;
    let raised = service.put(rolling("rpm", 4, 60)).await;
    let lowered = service.put(rolling("rpm", 2, 60)).await;
    let deleted = service.engine.admin().delete(&key("rpm")).await.map(|()| Status::Deleted);

    for (change, result) in [("create", created), ("raise", raised), ("lower", lowered), ("delete", deleted)]
    {
        assert!(matches!(result, Err(AdminError::NotSaved(_))), "{change}: {result:?}");
    }
    assert_eq!(service.capacities().await, before);
    assert_eq!(service.saved_capacities(), before);
    let history = service.engine.admin().history(&key("rpm")).await.expect("the ledger answers");
    assert_eq!(history.len(), 1, "{history:?}");

    std::fs::remove_dir(obstacle).expect("it is there");
    service.put(rolling("rpm", 4, 60)).await.expect("it is saved");
    let after = vec![("rpm".to_owned(), 4)];
    assert_eq!(service.capacities().await, after);
    assert_eq!(service.saved_capacities(), after);
}

#[tokio::test]
async fn a_change_that_the_copy_misses_is_in_force_and_written_later() {
    let service = Service::with(Role::Copy, &[rolling("rpm", 3, 60)]).await;
    let obstacle = service.fill_disk();

    service.put(rolling("rpm", 4, 60)).await.expect("the ledger has it");

    assert_eq!(service.capacities().await, [("rpm".to_owned(), 4)]);
    assert_eq!(service.saved_capacities(), [("rpm".to_owned(), 3)]);
    std::fs::remove_dir(obstacle).expect("it is there");
    service.engine.registry().refresh_and_save().await.expect("the ledger answers");
    assert_eq!(service.saved_capacities(), [("rpm".to_owned(), 4)]);
}

#[tokio::test]
async fn every_write_of_the_file_is_counted() {
    let service = Service::with(Role::Copy, &[]).await;
    let counts = service.engine.registry().save_counts();
    let before = counts.written();

    service.put(rolling("rpm", 3, 60)).await.expect("it is made");
    assert_eq!((counts.written(), counts.failed()), (before + 1, 0), "a change");
    service.fill_disk();
    service.put(rolling("rpm", 4, 60)).await.expect("the ledger has it");
    assert_eq!((counts.written(), counts.failed()), (before + 1, 1), "a change on a full disk");
}

#[tokio::test]
async fn a_change_that_the_ledger_refuses_is_removed_from_the_file() {
    let service = Service::with(Role::Lasting, &[template(rolling("tenant:{tenant}", 3, 60), 2)]).await;
    for instance in ["tenant:a", "tenant:b"] {
        let made = reserve(lease(), &[(instance, 1)]);
        service.engine.limiter().reserve(&made).await.expect("the ledger answers");
    }

    let result = service.put(template(rolling("tenant:{tenant}", 3, 60), 1)).await;

    assert!(matches!(result, Err(AdminError::TooManyInstances(_))), "{result:?}");
    let saved = RegistryFile::new(service.folder.path().join("registry.json"), false).read();
    let saved = saved.expect("it is read");
    assert_eq!(saved[0].definition.instances_max, Some(amount(2)));
}

#[tokio::test]
async fn a_decrease_is_applied_although_the_disk_is_full() {
    let service = Service::with(Role::Lasting, &[rolling("rpm", 3, 60)]).await;
    let lowered = service.put(rolling("rpm", 2, 60)).await.expect("it is saved");
    assert_eq!(lowered, Status::Decreasing { to: capacity(2) });
    let obstacle = service.fill_disk();

    service.engine.admin().apply_decreases().await.expect("the ledger answers");

    assert_eq!(service.capacities().await, [("rpm".to_owned(), 2)]);
    std::fs::remove_dir(obstacle).expect("it is there");
    service.engine.registry().refresh_and_save().await.expect("the ledger answers");
    assert_eq!(service.saved_capacities(), [("rpm".to_owned(), 2)]);
}

#[tokio::test]
async fn a_file_that_holds_the_definitions_is_not_written() {
    // Content that an operator spelled differently than a write would.
    let content = r#"[{"definition":{"key":"rpm","kind":"rolling","capacity":3,"window_seconds":60},"status":"active","pending_decrease_to":0}]"#;
    let service = Service::start(Role::Lasting, content);
    let read = service.file.read().expect("it is read");

    service.engine.bootstrap(&read).await.expect("the ledger answers");

    let path = service.folder.path().join("registry.json");
    assert_eq!(std::fs::read_to_string(path).expect("it is read"), content);
    assert_eq!(service.capacities().await, [("rpm".to_owned(), 3)]);
}

#[tokio::test]
async fn a_change_before_the_bootstrap_drops_no_limit_of_the_file() {
    for role in [Role::Lasting, Role::Copy] {
        let service = Service::start(role, "[]");
        service.file.write(states).await.expect("it is written");
        let seed = service.file.read().expect("it is read");
        // The ledger is ready, but does not have the limits of the file.
        let other = Engine::new(Arc::clone(service.engine.ledger()), EngineOptions::default());
        other.bootstrap(&[]).await.expect("the ledger answers");

        let early = service.put(rolling("early", 1, 60)).await;

        assert_eq!(early.is_ok(), role == Role::Copy, "{role:?}: {early:?}");
        assert_eq!(service.file.read().expect("it is read"), seed, "{role:?}");
        service.engine.bootstrap(&seed).await.expect("the ledger answers");
        service.put(rolling("late", 1, 60)).await.expect("it is made");
        let keys: Vec<String> = service.saved_capacities().into_iter().map(|(key, _)| key).collect();
        let expected: &[&str] = match role {
            Role::Lasting => &["late", "rpm", "slots"],
            Role::Copy => &["early", "late", "rpm", "slots"],
        };
        assert_eq!(keys, expected, "{role:?}");
    }
}
