//! The pages in `docs/coming-from` show code that runs, and only that.

use std::fs;
use std::path::Path;

use super::examples::lines;

#[path = "../examples/coming_from_governor.rs"]
mod governor;
#[path = "../examples/coming_from_system_threading_ratelimiting.rs"]
mod system_threading_ratelimiting;
#[path = "../examples/coming_from_x_time_rate.rs"]
mod x_time_rate;

/// Each page, and the example that it shows whole. Of the other pages, `program::coming_from` and the tests of the Python client
/// run the code.
const EXAMPLES: &[(&str, &str)] = &[
    ("governor-and-tower-governor", "coming_from_governor"),
    ("system-threading-ratelimiting", "coming_from_system_threading_ratelimiting"),
    ("x-time-rate", "coming_from_x_time_rate"),
];

/// The pages whose code other tests run.
const RUN_ELSEWHERE: &[&str] = &["limitador", "redis-script"];

pub fn page(name: &str) -> String {
    read(&format!("docs/coming-from/{name}.md"))
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of code in a language.
pub fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect()
}

/// The example without the comment that introduces it.
fn shown(example: &str) -> String {
    let code = read(&format!("examples/{example}.rs"));
    code.lines()
        .skip_while(|line| line.starts_with("//!") || line.is_empty())
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn a_page_shows_its_example_as_it_is() {
    for (name, example) in EXAMPLES {
        assert_eq!(blocks(&page(name), "rust"), [shown(example)], "docs/coming-from/{name}.md");
    }
}

#[test]
fn every_page_has_code_that_a_test_runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/coming-from");
    for file in fs::read_dir(folder).expect("the folder") {
        let path = file.expect("an entry").path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("the name is text");
        let is_run = EXAMPLES.iter().any(|(page, _)| *page == name) || RUN_ELSEWHERE.contains(&name);
        assert!(is_run, "no test runs the code of {}", path.display());
    }
}

/// A page says what its example prints.
fn assert_prints(name: &str, out: Vec<u8>) {
    let page = page(name);
    let said: Vec<&str> = blocks(&page, "text").iter().flat_map(|block| block.lines()).collect();
    assert_eq!(lines(out), said, "docs/coming-from/{name}.md");
}

#[tokio::test]
async fn the_example_for_dotnet_prints_what_its_page_says() {
    let mut out = Vec::new();
    system_threading_ratelimiting::run(&mut out).await.expect("it runs");
    assert_prints("system-threading-ratelimiting", out);
}

#[tokio::test]
async fn the_example_for_go_prints_what_its_page_says() {
    let mut out = Vec::new();
    x_time_rate::run(&mut out).await.expect("it runs");
    assert_prints("x-time-rate", out);
}

#[tokio::test]
async fn the_example_for_governor_prints_what_its_page_says() {
    let mut out = Vec::new();
    governor::check_keys(&mut out).await.expect("it runs");
    governor::serve(&mut out).await.expect("it runs");
    assert_prints("governor-and-tower-governor", out);
}
