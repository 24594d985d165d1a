//! `ratelimiterd limits` over TLS, with tokens.

use super::*;
use crate::program::limits::World;

#[test]
fn the_service_is_called_over_tls_with_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    let files = Files::write(folder.path(), &authority.sign("service"));
    files.replace("ca.pem", &authority.0.pem());
    let token = |name: &str, scope: &str| {
        let mut command = program(folder.path());
        command.args(["token", "new", "--name", name, "--write", "tokens.toml", "--scope", scope]);
        let output = command.output().expect("it runs");
        std::fs::write(folder.path().join(name), output.stdout).expect("it is written");
    };
    token("reader", "read");
    token("operator", "read,admin");
    let mut command = command(folder.path());
    command.env("RATELIMITERD_AUTH_TOKENS_PATH", "tokens.toml");
    let world = World { server: Server::start_by(command), folder };
    let port = world.server.address.rsplit(':').next().expect("a port").to_owned();
    let run = |arguments: &str| {
        world.run(&format!("{arguments} --server https://localhost:{port} --ca-file ca.pem"))
    };
    world.write(
        "a.json",
        json!({ "key": "a", "kind": "rolling", "capacity": 1, "window_seconds": 60 }).to_string(),
    );

    run("apply -f a.json --token-file operator").exits_with(0);
    assert!(run("list --token-file reader").exits_with(0).contains("rolling"));
    run("diff -f a.json --token-file reader").exits_with(0);
    for (arguments, told) in [
        ("list", "the limits failed: the call was refused: "),
        ("delete a --token-file reader", "limit a: the call was refused: "),
        ("list --token-file missing", "error: --token-file: cannot read the token file missing"),
    ] {
        let refused = run(arguments);
        assert!(refused.stderr.contains(told), "{refused:?}");
        refused.exits_with(1);
    }
    let untrusted = world.run(&format!("list --server https://localhost:{port} --token-file reader"));
    untrusted.exits_with(1);
    // The flags of the service may also stand before the subcommand.
    world
        .run(&format!("--server https://localhost:{port} --ca-file ca.pem --token-file reader list"))
        .exits_with(0);
}
