//! The calls of `docs/coming-from/limitador.md`, made to the program.

use serde_json::{Map, Value};

use super::Server;
use crate::coming_from::{blocks, page};

/// The address that the page names.
const ADDRESS: &str = "127.0.0.1:8080";

/// A call of curl.
#[derive(Debug)]
pub(super) struct Call {
    method: reqwest::Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// The words of a command. Single quotes hold one together.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(ToOwned::to_owned));
        }
    }
    words
}

impl Call {
    /// Reads a command with the options that the pages use, and no others.
    pub(super) fn parse(command: &str) -> Self {
        let mut words = words(command).into_iter();
        let begin = [words.next(), words.next()].map(Option::unwrap_or_default);
        assert!(begin == ["curl", "-s"] || begin == ["curl", "-i"], "{command}");
        let mut call =
            Self { method: reqwest::Method::GET, url: String::new(), headers: Vec::new(), body: None };
        let mut method = None;
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value follows its option");
            match word.as_str() {
                "-X" => method = Some(value().parse().expect("a method")),
                "-H" => {
                    let header = value();
                    let (name, value) = header.split_once(": ").expect("a header");
                    call.headers.push((name.to_owned(), value.to_owned()));
                }
                "-d" => call.body = Some(value()),
                url => {
                    assert!(url.starts_with("http://") && call.url.is_empty(), "{word} in {command}");
                    call.url = word;
                }
            }
        }
        let default = if call.body.is_some() { reqwest::Method::POST } else { reqwest::Method::GET };
        call.method = method.unwrap_or(default);
        call
    }

    async fn make(self, server: &Server) -> Value {
        self.send(server).await.json().await.expect("JSON")
    }

    pub(super) async fn send(self, server: &Server) -> reqwest::Response {
        let url = self.url.replace(ADDRESS, &server.address);
        assert!(url.contains(&server.address), "{url}");
        let mut request = reqwest::Client::new().request(self.method, url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = self.body.into_iter().fold(request, reqwest::RequestBuilder::body);
        request.send().await.expect("an answer")
    }
}

/// The answer with a 1 in place of each time and hint that is not 0.
pub(super) fn without_times(answer: Value) -> Value {
    let Value::Object(fields) = answer else { return answer };
    let one_if_time = |(name, value): (String, Value)| {
        let is_time = name.ends_with("_ms") && value.as_u64().is_some_and(|ms| ms > 0);
        (name, if is_time { 1.into() } else { value })
    };
    Value::Object(fields.into_iter().map(one_if_time).collect::<Map<_, _>>())
}

#[tokio::test]
async fn the_calls_for_users_of_limitador_are_answered_as_their_page_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let page = page("limitador");
    let lines: Vec<&str> = blocks(&page, "console").iter().flat_map(|block| block.lines()).collect();
    assert!(lines.len() >= 12, "{lines:?}");
    for call_and_answer in lines.chunks(2) {
        let &[call, expected] = call_and_answer else { panic!("{call_and_answer:?} has no answer") };
        let call = Call::parse(call.strip_prefix("$ ").expect("a command"));
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        let told = format!("{call:?}");
        assert_eq!(without_times(call.make(&server).await), without_times(expected), "{told}");
    }
}
