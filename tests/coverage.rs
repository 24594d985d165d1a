//! The pages in `docs/coverage` name tests that exist.

use std::fs;
use std::path::Path;

/// A page, and where its tests are.
struct Page {
    path: &'static str,
    folder: &'static str,
    /// The files with the tests that the page names without a module.
    without_module: &'static [&'static str],
}

const PAGES: &[Page] = &[
    Page {
        path: "docs/coverage/dotnet.md",
        folder: "tests/permits",
        without_module: &["by_kind", "composition"],
    },
    Page { path: "docs/coverage/go-rate.md", folder: "tests/objects", without_module: &[] },
    Page { path: "docs/coverage/governor.md", folder: "tests/objects", without_module: &[] },
    Page { path: "docs/coverage/tower-governor.md", folder: "tests/tower", without_module: &[] },
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of tests in the last column of the page's tables.
fn named_tests(page: &str) -> Vec<&str> {
    let rows = page.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once(" | "));
    let codes = rows.flat_map(|(_, last)| last.split('`').skip(1).step_by(2));
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c == ':';
    codes.filter(|code| code.contains('_') && code.chars().all(is_name)).collect()
}

#[test]
fn every_test_that_a_coverage_page_names_exists() {
    for Page { path, folder, without_module } in PAGES {
        let page_text = read(path);
        let named = named_tests(&page_text);
        assert!(named.len() > 20, "{path} names {} tests", named.len());
        for test in named {
            let (modules, name) = match test.split_once("::") {
                Some((module, name)) => (vec![module], name),
                None => (without_module.to_vec(), test),
            };
            let is_in =
                |module: &&str| read(&format!("{folder}/{module}.rs")).contains(&format!("fn {name}("));
            assert!(modules.iter().any(is_in), "{path} names {test}, which is in none of {modules:?}");
        }
    }
}

/// The tests of these folders exist because of the pages, so a page names each of them.
#[test]
fn every_test_of_objects_and_of_the_tower_layer_is_named_by_a_page() {
    let pages: String = PAGES.iter().map(|page| read(page.path)).collect();
    let named = named_tests(&pages);
    for folder in ["tests/objects", "tests/tower"] {
        for (module, name) in tests_in(folder) {
            assert!(named.contains(&format!("{module}::{name}").as_str()), "no page names {module}::{name}");
        }
    }
}

/// The module and the name of each test in a folder.
fn tests_in(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut tests = Vec::new();
    for file in files {
        let path = file.expect("an entry").path();
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("the name is text");
        let source = fs::read_to_string(&path).expect("a source");
        let mut lines = source.lines();
        while lines.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test")) {
            let function = lines.next().expect("a function follows the attribute");
            let (_, name) = function.split_once("fn ").expect("a function");
            let (name, _) = name.split_once('(').expect("arguments follow the name");
            tests.push((module.to_owned(), name.to_owned()));
        }
    }
    assert!(tests.len() > 10, "{folder} has {} tests", tests.len());
    tests
}
