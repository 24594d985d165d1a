//! The lists in `tests/contract/mod.rs` name every contract test, so that none is written and never run. The macro there cannot
//! find functions by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The parts of a list: `(@module MODULE, $backend, [NAME, NAME])`.
const BEFORE_MODULE: &str = "(@module ";
const BEFORE_NAMES: &str = "$backend, [";
const AFTER_NAMES: &str = "]";
/// How the argument of a contract test ends, without spaces: a backend by value. Helpers take a reference to it.
const TAKES_A_BACKEND: [&str; 2] = [":B)", ":B,)"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/contract")
}

fn read(file_name: &str) -> String {
    fs::read_to_string(folder().join(file_name)).expect("the file is readable")
}

/// The names of the modules in the folder.
fn modules() -> BTreeSet<String> {
    let entries = fs::read_dir(folder()).expect("the folder is readable");
    let files = entries.map(|entry| entry.expect("the entry is readable").file_name());
    let names = files.map(|file| file.into_string().expect("the name is text"));
    let modules = names.filter_map(|name| name.strip_suffix(".rs").map(str::to_owned));
    modules.filter(|module| module != "mod").collect()
}

/// The contract tests in a file, public or not, as `MODULE::NAME`.
fn written(module: &str) -> Vec<String> {
    let text = read(&format!("{module}.rs"));
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let signatures = code.split("async fn ").skip(1).map(|rest| {
        let signature = rest.split('{').next().unwrap_or(rest);
        signature.split_whitespace().collect::<String>()
    });
    let tests = signatures.filter(|signature| TAKES_A_BACKEND.iter().any(|end| signature.contains(end)));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = tests.filter_map(|test| test.split(|c| !is_name(c)).next().map(str::to_owned));
    names.map(|name| format!("{module}::{name}")).collect()
}

/// The names in the lists, as `MODULE::NAME`.
fn listed() -> Vec<String> {
    let text = read("mod.rs");
    let mut names = Vec::new();
    for list in text.split(BEFORE_MODULE).skip(1) {
        // The macro's own pattern starts like a list, but names no backend.
        let Some((module, rest)) = list.split_once(',') else { continue };
        let Some(rest) = rest.trim_start().strip_prefix(BEFORE_NAMES) else { continue };
        let (inside, _) = rest.split_once(AFTER_NAMES).expect("the list ends");
        let inside = inside.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.extend(inside.map(|name| format!("{module}::{name}")));
    }
    names
}

#[test]
fn every_contract_test_is_in_the_list() {
    let written: BTreeSet<String> = modules().iter().flat_map(|module| written(module)).collect();
    let listed: BTreeSet<String> = listed().into_iter().collect();
    assert!(written.len() > 100, "only {} contract tests were found", written.len());
    let missing: Vec<&String> = written.difference(&listed).collect();
    assert!(missing.is_empty(), "not in tests/contract/mod.rs: {missing:#?}");
    let unknown: Vec<&String> = listed.difference(&written).collect();
    assert!(unknown.is_empty(), "in tests/contract/mod.rs, but not a contract test: {unknown:#?}");
}

#[test]
fn every_file_of_the_contract_has_a_list() {
    let listed = listed();
    for module in modules() {
        let prefix = format!("{module}::");
        assert!(
            listed.iter().any(|name| name.starts_with(&prefix)),
            "tests/contract/{module}.rs has no list"
        );
    }
}
