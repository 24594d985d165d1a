//! Clients that close their connection, or half of it, behind their request.

use std::net::Shutdown;

use super::*;

/// How many connections of a kind a test opens, one after another.
const TRIES: usize = 60;

fn request(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Completes leases, with `completes_per_connection` pipelined in one send on a connection that is closed at once.
/// The service must carry out each complete.
async fn assert_hang_ups_lose_no_complete(completes_per_connection: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let client = reqwest::Client::new();
    let limit = json!({ "key": "slots", "kind": "concurrency", "capacity": TRIES, "timeout_seconds": 600 });
    let put = client.put(server.url("/v1/admin/limits")).json(&limit).send().await.expect("an answer");
    assert_eq!(put.status(), 200);
    let reserved = async || {
        let answer = client.get(server.url("/v1/admin/limits/slots")).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        answer["limit"]["usage"]["reserved"].as_u64().expect("a number")
    };
    let leases: Vec<String> = (0..TRIES).map(|_| lease().to_string()).collect();
    for id in &leases {
        let reserve = json!({ "lease_id": id, "requirements": [{ "key": "slots", "amount": 1 }] });
        let answer = client.post(server.url("/v1/reserve")).json(&reserve).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(reserved().await, TRIES as u64);
    for ids in leases.chunks(completes_per_connection) {
        let requests: String =
            ids.iter().map(|id| request("/v1/complete", &json!({ "lease_id": id }))).collect();
        let mut stream = TcpStream::connect(&server.address).expect("it listens");
        stream.write_all(requests.as_bytes()).expect("it is sent");
        drop(stream);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while reserved().await > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(reserved().await, 0);
}

#[tokio::test]
async fn a_complete_is_carried_out_although_its_client_hangs_up_at_once() {
    assert_hang_ups_lose_no_complete(1).await;
}

#[tokio::test]
async fn pipelined_completes_are_carried_out_although_their_client_hangs_up_at_once() {
    assert_hang_ups_lose_no_complete(10).await;
}

#[test]
fn a_client_that_closes_its_sending_half_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    for attempt in 0..TRIES {
        let mut stream = TcpStream::connect(&server.address).expect("it listens");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it is sent");
        stream.shutdown(Shutdown::Write).expect("it is closed");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("it is answered");
        assert!(response.starts_with("HTTP/1.1 200"), "attempt {attempt}: {response:?}");
    }
}
