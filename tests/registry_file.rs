//! The registry file: writing and reading it, after a crash, after a failed write, and with damage.

use std::path::Path;

use ledger_limiter::limit::{Amount, LimitState, Status};
use ledger_limiter::registry::file::RegistryFile;

use crate::fixtures::{concurrency, rolling};

fn states() -> Vec<LimitState> {
    let to = Amount::new(2).expect("a valid capacity");
    vec![
        LimitState::active(rolling("rpm", 3, 60)),
        LimitState { status: Status::Decreasing { to }, ..LimitState::active(concurrency("slots", 5, 60)) },
    ]
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
    let file = RegistryFile::new(path.clone(), false);
    assert_eq!(file.read().expect("a missing file is empty"), []);
    file.write(states).await.expect("it is written");
    assert_eq!(file.read().expect("it is read"), states());
    assert_eq!(names(folder.path()), ["registry.json"], "the temporary file is gone");
    let text = std::fs::read_to_string(path).expect("it is read");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json[1]["status"], "decreasing");
    assert_eq!(json[1]["pending_decrease_to"], 2);
    assert_eq!(json[0]["definition"]["key"], "rpm");
}

#[tokio::test]
async fn a_crash_during_a_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = RegistryFile::new(folder.path().join("registry.json"), false);
    file.write(states).await.expect("it is written");
    std::fs::write(folder.path().join("registry.json.tmp"), "[{\"defin").expect("half a file");
    assert_eq!(file.read().expect("it is read"), states());
    assert_eq!(names(folder.path()), ["registry.json"], "reading removes the half-written temporary file");
}

#[tokio::test]
async fn a_failed_write_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registry.json");
    let file = RegistryFile::new(path.clone(), false);
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
        ("{}".to_owned(), "line 1 column"),
        (format!("[{},{}]", good("a"), good("a")), "[1]: key a appears twice"),
        (format!("[{},{}]", good("a"), good("b").replace("60", "0")), "[1]: definition.window_seconds"),
        (format!("[{}]", good("a").replace("rolling", "leaky")), "[0].definition.kind"),
        (format!("[{}]", good("a").replace("active", "decreasing")), "[0]: pending_decrease_to"),
        (format!("[{}]", good("a").replace("\"kind\"", "\"knid\"")), "[0].definition.knid"),
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
    assert_eq!(RegistryFile::new(copy, false).read().expect("it is read").len(), 12);
}
