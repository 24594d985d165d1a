//! A listener for operators beside the one for callers.

use super::*;

const UNUSED_LEASE: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[tokio::test]
async fn operators_and_callers_are_served_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command.env("RATELIMITERD_SERVER_ADMIN_LISTEN_ADDR", "127.0.0.1:0");
    let server = Server::start_by(command);
    let admin = server.admin_address.clone().expect("it is logged");
    let client = reqwest::Client::new();
    let limit = json!({ "key": "rpm", "kind": "rolling", "capacity": 3, "window_seconds": 60 });
    let reserve = json!({ "lease_id": UNUSED_LEASE, "requirements": [{ "key": "rpm", "amount": 1 }] });
    let complete = json!({ "lease_id": UNUSED_LEASE });
    let extend = json!({ "lease_id": UNUSED_LEASE, "extend_id": UNUSED_LEASE, "key": "rpm", "amount": 1 });
    let batch = json!({ "requests": [complete] });
    let rate = json!({ "limit": 1, "burst": 1 });
    for (method, path, body, for_callers, for_operators) in [
        ("GET", "/healthz", Value::Null, 200, 200),
        ("GET", "/readyz", Value::Null, 200, 200),
        ("PUT", "/v1/admin/limits", limit, 404, 200),
        ("GET", "/v1/admin/limits", Value::Null, 404, 200),
        ("GET", "/v1/admin/limits/rpm", Value::Null, 404, 200),
        ("GET", "/metrics", Value::Null, 404, 200),
        ("GET", "/v1/admin/denials", Value::Null, 404, 200),
        ("GET", "/ui", Value::Null, 404, 200),
        ("GET", "/ui/app.js", Value::Null, 404, 200),
        ("PUT", "/v1/objects/bucket/rate", rate, 405, 200),
        ("GET", "/v1/objects/bucket/available_permits", Value::Null, 200, 405),
        ("POST", "/v1/reserve", reserve, 200, 404),
        ("POST", "/v1/extend", extend, 200, 404),
        ("POST", "/v1/complete", complete, 200, 404),
        ("POST", "/v1/complete/batch", batch, 200, 404),
        ("DELETE", "/v1/admin/limits/rpm", Value::Null, 404, 200),
    ] {
        for (address, expected) in [(&server.address, for_callers), (&admin, for_operators)] {
            let method = method.parse().expect("a method");
            let mut request = client.request(method, format!("http://{address}{path}"));
            if !body.is_null() {
                request = request.json(&body);
            }
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), expected, "{path} of {address}");
        }
    }
}

#[test]
fn a_taken_port_for_operators_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", "127.0.0.1:0"];
    let error = error_of(folder.path(), &serve, &[("RATELIMITERD_SERVER_ADMIN_LISTEN_ADDR", &address)]);
    assert!(error.contains(&format!("cannot listen on {address} (server.admin_listen_addr)")), "{error}");
}

#[test]
fn a_stop_ends_both_listeners() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(folder.path());
    command.env("RATELIMITERD_SERVER_ADMIN_LISTEN_ADDR", "127.0.0.1:0");
    let server = Server::start_by(command);
    let admin = server.admin_address.clone().expect("it is logged");
    let mut idle = TcpStream::connect(&admin).expect("it listens");
    server.send_sigterm();
    server.assert_exits_with_0();
    assert!(TcpStream::connect(&admin).is_err());
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0);
}
