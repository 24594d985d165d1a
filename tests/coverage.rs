//! The pages in `docs/coverage` name tests that exist.

use std::fs;
use std::path::Path;

/// Each page, the folder of its tests, and the files of tests that it names without a module.
const PAGES: &[(&str, &str, &[&str])] =
    &[("docs/coverage/dotnet.md", "tests/permits", &["by_kind", "composition"])];

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
    for (page, folder, without_module) in PAGES {
        let page_text = read(page);
        let named = named_tests(&page_text);
        assert!(named.len() > 20, "{page} names {} tests", named.len());
        for test in named {
            let (modules, name) = match test.split_once("::") {
                Some((module, name)) => (vec![module], name),
                None => (without_module.to_vec(), test),
            };
            let is_there = modules
                .iter()
                .any(|module| read(&format!("{folder}/{module}.rs")).contains(&format!("async fn {name}(")));
            assert!(is_there, "{page} names {test}, which is in none of {modules:?}");
        }
    }
}
