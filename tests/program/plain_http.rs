//! The calls of `docs/gateways/plain-http.md`, made to the program.

use serde_json::Value;

use super::Server;
use super::coming_from::{Call, without_times};
use crate::coming_from::blocks;

/// A header without the numbers of its hint, which has a random part.
fn without_hint(name: &str, value: &str) -> String {
    match name {
        "retry-after" => "some seconds".to_owned(),
        "ratelimit" => value.split(";t=").next().unwrap_or(value).to_owned(),
        _ => value.to_owned(),
    }
}

#[tokio::test]
async fn the_calls_of_the_page_are_answered_as_it_says() {
    let page = include_str!("../../docs/gateways/plain-http.md");
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let blocks = blocks(page, "console");
    assert_eq!(blocks.len(), 3, "{blocks:?}");
    for call_and_answer in blocks.iter().flat_map(|block| block.split("$ ").skip(1)) {
        let mut lines = call_and_answer.lines();
        let call = lines.next().expect("a command");
        let answer = Call::parse(call).send(&server).await;
        let status = answer.status();
        assert_eq!(lines.next(), Some(format!("HTTP/1.1 {status}").as_str()), "{call}");
        let headers = answer.headers().clone();
        let body = answer.text().await.expect("a body");
        for line in lines {
            if line.starts_with('{') {
                let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
                assert_eq!(without_times(read(&body)), without_times(read(line)), "{call}");
                continue;
            }
            let (name, expected) = line.split_once(": ").expect("a header");
            let value = headers.get(name).unwrap_or_else(|| panic!("{call}: no {name}"));
            let value = value.to_str().expect("text");
            assert_eq!(without_hint(name, value), without_hint(name, expected), "{call}: {name}");
        }
    }
}
