//! What is wrong with a command line or a service, and the subcommands beside `limits`.

use super::*;

#[test]
fn what_is_wrong_with_the_command_line_or_the_service_exits_with_1() {
    let world = World::start();
    for (arguments, told) in [
        ("", "Usage: ratelimiterd limits"),
        ("lst", "unrecognized subcommand 'lst'"),
        ("apply", "--file <PATH>"),
        ("list --server nowhere", "error: --server: \"nowhere\" must be of the form http://HOST:PORT"),
        ("list --server http://127.0.0.1:1", "error: reading the limits failed: "),
        ("apply -f missing.yaml", "error: missing.yaml: cannot be read: "),
    ] {
        let ended = world.run(arguments);
        assert!(ended.stderr.contains(told), "{arguments}: {ended:?}");
        ended.exits_with(1);
    }
    assert!(world.run("--help").exits_with(0).contains("Exit codes:\n  0  done"));
}

#[test]
fn a_service_starts_although_the_variables_of_its_clients_are_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command.args(["check-config"]).env("RATELIMITERD_URL", "http://127.0.0.1:1");
    assert!(command.output().expect("it runs").status.success());
}

#[test]
fn shells_get_completions() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = program(folder.path()).args(["completions", shell]).output();
        let script = Ended::of(output.expect("it runs")).exits_with(0);
        for word in ["limits", "apply", "dry-run", "token-file"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // The script of the shell that is here is valid.
    let output = program(folder.path()).args(["completions", "bash"]).output().expect("it runs");
    std::fs::write(folder.path().join("completions.bash"), output.stdout).expect("it is written");
    let checked = Command::new("bash").arg("-n").arg(folder.path().join("completions.bash")).status();
    assert!(checked.expect("bash runs").success());
}

#[test]
fn each_subcommand_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = program(folder.path()).args(["man", "pages/man1"]).output().expect("it runs");
    Ended::of(output).exits_with(0);
    for (page, told) in [
        ("ratelimiterd.1", ".TH ratelimiterd 1"),
        ("ratelimiterd-limits.1", "Exit codes:"),
        ("ratelimiterd-limits-apply.1", "prune"),
        ("ratelimiterd-serve.1", "server\\-listen\\-addr"),
    ] {
        let text = std::fs::read_to_string(folder.path().join("pages/man1").join(page)).expect("a page");
        assert!(text.contains(told), "{page}: {text}");
    }
    std::fs::write(folder.path().join("file"), "").expect("it is written");
    let output = program(folder.path()).args(["man", "file"]).output().expect("it runs");
    let refused = Ended::of(output);
    assert!(refused.stderr.starts_with("error: file: the manual pages cannot be written"), "{refused:?}");
    refused.exits_with(1);
}

#[cfg(feature = "top")]
#[test]
fn top_needs_a_terminal() {
    let world = World::start();
    let output = program(world.folder.path()).args(["top", "--server", &world.server.url("")]).output();
    let refused = Ended::of(output.expect("it runs"));
    assert_eq!(refused.stderr, "error: top needs a terminal; use limits watch instead\n");
    refused.exits_with(1);
}
