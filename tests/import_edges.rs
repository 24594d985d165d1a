//! The imports between the top modules of the crate point one way. The table below holds every allowed edge; `ARCHITECTURE.md`
//! explains it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From each module, the modules that it may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("limit", &[]),
    ("tls", &[]),
    ("json", &["limit"]),
    ("telemetry", &["time"]),
    ("ledger", &["limit", "telemetry", "time"]),
    ("audit", &["ledger", "time"]),
    ("protocol", &["limit"]),
    ("decide", &["ledger", "limit", "protocol", "time"]),
    ("registry", &["decide", "json", "ledger", "limit", "telemetry"]),
    ("limiter", &["decide", "ledger", "limit", "protocol", "registry", "telemetry", "time"]),
    ("engine", &["decide", "ledger", "limit", "limiter", "registry", "telemetry"]),
    ("client", &["engine", "ledger", "limit", "limiter", "protocol", "registry", "telemetry", "time", "tls"]),
    // For the tests of users.
    ("testing", &["client", "ledger", "time"]),
    // Of the tests of the crate.
    ("fuzz", &["decide", "json", "ledger", "limit", "protocol", "registry", "server"]),
    (
        "server",
        &[
            "decide",
            "engine",
            "json",
            "ledger",
            "limit",
            "limiter",
            "protocol",
            "registry",
            "telemetry",
            "time",
            "tls",
        ],
    ),
];

/// What `decide` must not use: async, clocks and JSON. Only the codec of definitions uses serde.
const FORBIDDEN_IN_DECIDE: &[&str] =
    &["tokio::", "futures_util::", "async fn", "SystemTime", "Instant", "serde", "tigerbeetle"];
const MAY_USE_SERDE: &str = "definition_codec.rs";

fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The source of a file without its comments.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("the file is readable");
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// The files of each top module, except the programs.
fn modules() -> BTreeMap<String, Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let mut modules = BTreeMap::<String, Vec<PathBuf>>::new();
    for file in files {
        let relative = file.strip_prefix(&root).expect("the file is below the root");
        let first = relative.components().next().expect("the path has a component").as_os_str();
        let name = first.to_str().expect("the name is text").trim_end_matches(".rs").to_owned();
        if !matches!(name.as_str(), "lib" | "main" | "cli" | "loadtest") {
            modules.entry(name).or_default().push(file);
        }
    }
    modules
}

/// The modules that a source names after `crate::`.
fn imports(code: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.split("crate::").skip(1).map(move |rest| rest.split(|c| !is_name(c)).next().unwrap_or(rest))
}

#[test]
fn imports_between_modules_point_one_way() {
    let modules = modules();
    let mut forbidden = Vec::new();
    for (module, files) in &modules {
        let allowed = ALLOWED.iter().find(|(name, _)| name == module).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("module {module} is not in the table"));
        for file in files {
            let code = code_of(file);
            for import in imports(&code).filter(|import| modules.contains_key(*import)) {
                if import != module && !allowed.contains(&import) {
                    forbidden.push(format!("{} imports {import}", file.display()));
                }
            }
        }
    }
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

#[test]
fn every_edge_of_the_table_is_used() {
    let modules = modules();
    for (module, allowed) in ALLOWED {
        assert!(modules.contains_key(*module), "{module} is not a module");
        for import in *allowed {
            let used = modules[*module].iter().any(|file| imports(&code_of(file)).any(|it| it == *import));
            assert!(used, "no file of {module} imports {import}: remove it from the table");
        }
    }
}

#[test]
fn decide_uses_no_async_no_clock_and_no_json() {
    for file in &modules()["decide"] {
        let code = code_of(file);
        for forbidden in FORBIDDEN_IN_DECIDE {
            let is_codec = *forbidden == "serde" && file.ends_with(MAY_USE_SERDE);
            assert!(is_codec || !code.contains(forbidden), "{} uses {forbidden}", file.display());
        }
    }
}

/// A path of modules below the crate, such as `decide`, `settle`.
type ModulePath = Vec<String>;

/// The module of a file below `src`.
fn module_path(relative: &Path) -> ModulePath {
    let parts = relative.iter().map(|part| part.to_str().expect("the name is text"));
    parts.map(|part| part.trim_end_matches(".rs").to_owned()).filter(|part| part != "mod").collect()
}

/// The paths that a source names after `crate::` or `super::`, each item of braces by itself.
fn imported_paths(code: &str, module: &[String]) -> Vec<ModulePath> {
    let mut paths = Vec::new();
    for (start, prefix) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = &code[..start];
        if before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') || before.ends_with("super::") {
            continue;
        }
        let mut base = if prefix == "crate::" { Vec::new() } else { module.to_vec() };
        let mut rest = &code[start..];
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        let rest = rest.trim_start_matches("crate::");
        let items = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or(group).split(',').map(str::trim).collect(),
            None => {
                let is_of_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                vec![rest.split(|c| !is_of_path(c)).next().unwrap_or(rest)]
            }
        };
        for item in items {
            let names = item.split("::").map(|name| {
                name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or(name).to_owned()
            });
            paths.push(base.iter().cloned().chain(names.take(3)).collect());
        }
    }
    paths
}

/// The files and folders next to each other in a folder, and which of them import which.
type Siblings = BTreeMap<String, BTreeSet<String>>;

/// The imports among the siblings of each folder. Unit tests may import anything.
fn siblings_by_folder() -> BTreeMap<ModulePath, Siblings> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let is_test = |file: &PathBuf| file.iter().any(|part| part == "tests" || part == "tests.rs");
    let mut folders = BTreeMap::<ModulePath, Siblings>::new();
    for file in files.iter().filter(|file| !is_test(file)) {
        let module = module_path(file.strip_prefix(&root).expect("the file is below the root"));
        let code = code_of(file);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&code);
        let paths = imported_paths(code, &module);
        for (depth, name) in module.iter().enumerate() {
            let folder = &module[..depth];
            let imported =
                paths.iter().filter(|path| path.starts_with(folder)).filter_map(|path| path.get(depth));
            let edges = folders.entry(folder.to_vec()).or_default().entry(name.clone()).or_default();
            edges.extend(imported.filter(|other| *other != name).cloned());
        }
    }
    folders
}

#[test]
fn files_next_to_each_other_import_without_circles() {
    for (folder, mut siblings) in siblings_by_folder() {
        // Removes siblings that import none of the others, until only circles are left, or nothing.
        loop {
            let names: BTreeSet<String> = siblings.keys().cloned().collect();
            let before = siblings.len();
            siblings.retain(|_, imports| imports.iter().any(|import| names.contains(import)));
            if siblings.len() == before {
                break;
            }
        }
        assert!(siblings.is_empty(), "circles in src/{}: {siblings:#?}", folder.join("/"));
    }
}

#[test]
fn paths_are_read_through_braces_and_parents() {
    let module = ["decide", "settle", "steps"].map(str::to_owned);
    let code = "use super::{Settlement, leg_action::Exceed};\nuse super::super::ids::Ids;\nuse crate::ledger::Chain;";
    let paths = imported_paths(code, &module);
    let joined: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        joined,
        [
            "ledger::Chain",
            "decide::settle::Settlement",
            "decide::settle::leg_action::Exceed",
            "decide::ids::Ids"
        ]
    );
}
