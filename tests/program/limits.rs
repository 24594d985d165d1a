//! `ratelimiterd limits` against a running service: what it prints, what it changes, and how it exits.

mod apply;
mod races;
mod reads;
mod service;

use std::process::Output;

use super::*;

/// A running service, and the folder of the files.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Self { code: output.status.code().expect("it exits"), stdout, stderr }
    }

    /// Checks the exit code, and answers standard output.
    #[track_caller]
    pub(super) fn exits_with(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.stdout
    }

    /// The same, with standard output as JSON.
    #[track_caller]
    pub(super) fn json(self, code: i32) -> Value {
        serde_json::from_str(&self.exits_with(code)).expect("JSON")
    }
}

impl World {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(folder.path());
        Self { server, folder }
    }

    /// `ratelimiterd limits` with arguments that hold no spaces.
    pub(super) fn command(&self, arguments: &str) -> Command {
        let mut command = program(self.folder.path());
        command.arg("limits").args(arguments.split_whitespace());
        command.env("RATELIMITERD_URL", self.server.url(""));
        command
    }

    pub(super) fn run(&self, arguments: &str) -> Ended {
        Ended::of(self.command(arguments).output().expect("it runs"))
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        std::fs::write(path, text).expect("it is written");
    }

    /// The keys and capacities of all limits.
    fn capacities(&self) -> Vec<(String, u64)> {
        let limits = self.run("list --json").json(0);
        let of = |limit: &Value| {
            let definition = &limit["definition"];
            (
                definition["key"].as_str().expect("a key").to_owned(),
                definition["capacity"].as_u64().expect("one"),
            )
        };
        limits.as_array().expect("a list").iter().map(of).collect()
    }
}

fn rolling(key: &str, capacity: u64) -> Value {
    json!({ "key": key, "kind": "rolling", "capacity": capacity, "window_seconds": 60 })
}
