//! What happens if somebody else changes a limit between the plan of a command and its changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Passes connections on to the service. Before the first request that changes something, it runs a command of somebody else.
fn intruder(world: &World, arguments: &'static str) -> String {
    let listener = TcpListener::bind(LOOPBACK).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (service, folder) = (world.server.address.clone(), world.folder.path().to_owned());
    let intrudes = Arc::new(AtomicBool::new(true));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a connection");
            let (service, folder, intrudes) = (service.clone(), folder.clone(), Arc::clone(&intrudes));
            std::thread::spawn(move || {
                pass_on(client, &service, || {
                    if intrudes.swap(false, Ordering::Relaxed) {
                        let mut command = program(&folder);
                        command.arg("limits").args(arguments.split_whitespace());
                        command.args(["--server", &format!("http://{service}")]);
                        Ended::of(command.output().expect("it runs")).exits_with(0);
                    }
                });
            });
        }
    });
    url
}

/// Passes one connection on, and calls `before_change` before a request that changes something. A request arrives in one
/// piece: it is shorter than a packet.
fn pass_on(mut client: TcpStream, service: &str, before_change: impl Fn()) {
    let mut server = TcpStream::connect(service).expect("it listens");
    let (mut answers, mut back) =
        (server.try_clone().expect("a second handle"), client.try_clone().expect("a second handle"));
    // An end of the connection ends the copy.
    std::thread::spawn(move || std::io::copy(&mut answers, &mut back).ok());
    let mut request = [0; 4_096];
    while let Ok(length @ 1..) = client.read(&mut request) {
        if request.starts_with(b"PUT ") || request.starts_with(b"DELETE ") {
            before_change();
        }
        server.write_all(&request[..length]).expect("it reads");
    }
}

#[test]
fn a_change_that_somebody_else_overtook_is_not_made() {
    const OVERTAKEN: &str = "limit a: somebody else has changed the limit meanwhile\n\
        error: 1 of 1 changes failed, and 0 were not tried; run the command again\n";
    struct Case {
        /// Whether limit `a` has capacity 1 before.
        exists: bool,
        /// The file wants limit `a` with capacity 2.
        command: &'static str,
        other: &'static str,
        stderr: &'static str,
        /// The capacity in the end, if the limit is there.
        capacity: Option<u64>,
    }
    let case = |exists, command, other, stderr, capacity| Case { exists, command, other, stderr, capacity };
    let creates = |capacity: &'static str| match capacity {
        "2" => "put a --kind rolling --window-seconds 60 --capacity 2",
        _ => "put a --kind rolling --window-seconds 60 --capacity 9",
    };
    for Case { exists, command, other, stderr, capacity } in [
        case(true, "apply -f a.json", "put a --capacity 9", OVERTAKEN, Some(9)),
        case(true, "apply -f a.json", "put a --capacity 2", "", Some(2)),
        case(true, "apply -f a.json", "delete a", OVERTAKEN, None),
        case(true, "put a --capacity 2", "put a --capacity 9", OVERTAKEN, Some(9)),
        case(true, "delete a", "put a --capacity 9", OVERTAKEN, Some(9)),
        case(true, "delete a", "delete a", "", None),
        case(false, "apply -f a.json", creates("9"), OVERTAKEN, Some(9)),
        case(false, "apply -f a.json", creates("2"), "", Some(2)),
        // Another limit is nobody's business.
        case(true, "apply -f a.json", "put b --kind rolling --window-seconds 60 --capacity 9", "", Some(2)),
    ] {
        let world = World::start();
        world.write("a.json", rolling("a", 2).to_string());
        if exists {
            world.run("put a --kind rolling --window-seconds 60 --capacity 1").exits_with(0);
        }
        let url = intruder(&world, other);
        let ended = world.run(&format!("{command} --server {url}"));
        assert_eq!(ended.stderr, stderr, "{command} against {other}");
        ended.exits_with(i32::from(!stderr.is_empty()));
        let found = world.capacities().into_iter().find(|(key, _)| key == "a").map(|(_, capacity)| capacity);
        assert_eq!(found, capacity, "{command} against {other}");
    }
}
