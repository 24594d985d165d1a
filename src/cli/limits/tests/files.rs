//! Files of definitions, as tables.

use std::path::{Path, PathBuf};

use super::super::files::read;
use super::*;

const RPM: &str = r#"{"key":"rpm","kind":"rolling","capacity":3,"window_seconds":60}"#;

/// A folder with these files.
fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        std::fs::write(path, text).expect("it is written");
    }
    folder
}

fn error_of(folder: &Path, names: &[&str]) -> String {
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let error = read(&paths).expect_err("it is refused").to_string();
    error.replace(&format!("{}/", folder.display()), "")
}

#[test]
fn a_file_holds_one_definition_or_a_list_in_json_or_yaml() {
    let two = format!("[{RPM}, {}]", RPM.replace("rpm", "tpm"));
    let yaml_one = "# a limit\nkey: rpm\nkind: rolling\ncapacity: 3\nwindow_seconds: 60\n";
    let yaml_list = "- key: tpm\n  kind: rolling\n  capacity: 3\n  window_seconds: 60\n- {key: rpm, kind: rolling, capacity: 3, window_seconds: 60}\n";
    let documents = format!("---\n{yaml_one}---\n{}---\n# nothing\n", yaml_one.replace("rpm", "tpm"));
    for (name, text, keys) in [
        ("a.json", RPM, &["rpm"][..]),
        ("a.json", &two, &["rpm", "tpm"]),
        ("a.json", "[]", &[]),
        ("a.yaml", yaml_one, &["rpm"]),
        ("a.yml", yaml_list, &["rpm", "tpm"]),
        ("a.yaml", &documents, &["rpm", "tpm"]),
        ("a.yaml", &two, &["rpm", "tpm"]),
        ("a.yaml", "# nothing\n", &[]),
    ] {
        let folder = folder_with(&[(name, text)]);
        let found = read(&[folder.path().join(name)]).expect("it is read");
        let expected: Vec<Definition> = keys.iter().map(|key| rolling(key, 3)).collect();
        assert_eq!(found, expected, "{name}: {text}");
    }
}

#[test]
fn a_folder_holds_the_files_of_its_sub_folders_and_no_others() {
    let of = |key: &str| RPM.replace("rpm", key);
    let folder = folder_with(&[
        ("b.json", &of("b")),
        ("teams/a.yaml", &of("a")),
        ("teams/deep/c.yml", &of("c")),
        ("README.md", "no definition"),
        (".hidden.json", "no definition"),
        ("..data/d.json", &of("d")),
    ]);
    let keys = |paths: &[PathBuf]| -> Vec<String> {
        let found = read(paths).expect("it is read");
        found.iter().map(|definition| definition.key.to_string()).collect()
    };
    assert_eq!(keys(&[folder.path().to_owned()]), ["a", "b", "c"]);
    assert_eq!(keys(&[folder.path().join("teams"), folder.path().join("b.json")]), ["a", "b", "c"]);
}

#[test]
fn a_bad_file_is_an_error_that_names_the_file_and_the_place() {
    let capacity = |value: &str| RPM.replace(":3", &format!(":{value}"));
    for (name, text, error) in [
        ("a.json", "", "a.json: EOF while parsing a value at line 1 column 0"),
        ("a.json", "[{", "a.json: EOF while parsing an object at line 1 column 2"),
        (
            "a.json",
            "3",
            "a.json: invalid type: integer `3`, expected a definition or a list of definitions at line 1 column 1",
        ),
        ("a.json", r#"{"key":"a","key":"b"}"#, "a.json: duplicate field `key` at line 1 column 16"),
        ("a.json", &format!("{RPM}{RPM}"), "a.json: trailing characters at line 1 column 64"),
        (
            "a.json",
            &format!("[{RPM}, {}]", capacity("9223372036854775808")),
            "a.json: definition 2: capacity must be at most 9223372036854775807",
        ),
        (
            "a.yaml",
            &capacity("9223372036854775808"),
            "a.yaml: definition 1: capacity must be at most 9223372036854775807",
        ),
        ("a.yaml", "key: [", "a.yaml: "),
        ("a.yaml", "key: a\nkey: b\n", "a.yaml: "),
        ("a.yaml", "kye: a\n", "a.yaml: "),
        ("a.txt", RPM, "a.txt: the name must end in .json, .yaml or .yml"),
        ("other/x", "", "a.json: cannot be read"),
    ] {
        let folder = folder_with(&[(name, text)]);
        let name = if name == "other/x" { "a.json" } else { name };
        let found = error_of(folder.path(), &[name]);
        assert!(found.starts_with(error), "{name} {text}: {found}");
        assert!(!found.contains('\n'), "{found}");
    }
}

#[test]
fn an_error_in_yaml_names_the_line() {
    for (text, told) in [
        ("- key: a\n  kind: rolling\n  capacity: many\n  window_seconds: 60\n", "line 3"),
        ("- key: a\n  kind: rolling\n  capacity: 3\n  windows: 60\n", "windows"),
        ("key: a\nkind: rolling\nkey: b\n", "line 3"),
    ] {
        let folder = folder_with(&[("a.yaml", text)]);
        let found = error_of(folder.path(), &["a.yaml"]);
        assert!(found.contains(told), "{found}");
    }
}

#[test]
fn a_key_is_defined_once_in_all_files() {
    let folder = folder_with(&[("a.json", RPM), ("b.yaml", &format!("[{RPM}]"))]);
    let found = error_of(folder.path(), &["a.json", "b.yaml"]);
    assert_eq!(
        found.replace(&folder.path().display().to_string(), ""),
        "b.yaml: definition 1: limit rpm is already defined at a.json: definition 1"
    );
    let twice = folder_with(&[("a.json", &format!("[{RPM},{RPM}]"))]);
    assert!(error_of(twice.path(), &["a.json"]).contains("definition 2: limit rpm is already defined"));
}

#[test]
fn a_folder_without_definitions_is_an_error_and_not_an_empty_list() {
    let folder = folder_with(&[("teams/README.md", "")]);
    let found = error_of(folder.path(), &["teams"]);
    assert_eq!(found, "teams: the folder holds no file whose name ends in .json, .yaml or .yml");
}

#[test]
fn a_file_may_be_longer_than_the_budget_of_the_reader_of_yaml() {
    let lines = (0..30_000)
        .map(|n| format!("- {{key: k:{n}, kind: rolling, capacity: 3, window_seconds: 60, unit: token}}\n"));
    let folder = folder_with(&[("a.yaml", &lines.collect::<String>())]);
    assert_eq!(read(&[folder.path().join("a.yaml")]).expect("it is read").len(), 30_000);
}
