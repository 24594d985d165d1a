//! The receiver of `docs/alerts.md`.

use super::*;

/// The receiver in Python, killed when it is dropped.
struct Example {
    child: Child,
    address: SocketAddr,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Example {
    fn start(secret: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/alert_receiver.py");
        let mut child = Command::new("python3")
            .args([script, "--port", "0", "--secret-file"])
            .arg(secret)
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let line = lines.next().expect("a line").expect("text");
        let address = line.strip_prefix("listening on ").expect("an address").parse().expect("an address");
        Self { child, address, lines }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn the_example_receiver_takes_signed_events_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut example = Example::start(&write_secret(folder.path()));
    let server = service(folder.path(), example.address, &[]).await;
    take(&server, 81).await;
    for expected in ["tpm has reached 50 %", "tpm has reached 80 %"] {
        assert_eq!(example.lines.next().expect("a line").expect("text"), expected);
    }
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"delivered\"} 2").await;

    let other = folder.path().join("other");
    std::fs::write(&other, "another secret than that\n").expect("it is written");
    let strict = Example::start(&other);
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path(), strict.address, &[]).await;
    take(&server, 81).await;
    metric(&server, "ratelimiterd_alert_events_total{outcome=\"refused\"} 2").await;
}

#[tokio::test]
async fn the_example_receiver_refuses_old_and_forged_signatures() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = Example::start(&write_secret(folder.path()));
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let body = json!({ "id": "1-80", "key": "tpm", "threshold_percent": 80 }).to_string();
    let signed = |at: u64, body: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = ring::hmac::sign(&key, format!("{at}.{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={at},v1={hex}")
    };
    let fresh = signed(now, &body);
    for (signature, status) in [
        (fresh.clone(), 204),
        (fresh, 204),
        (signed(now - 301, &body), 401),
        (signed(now + 400, &body), 401),
        (signed(now, "{}"), 401),
        (format!("t={now},v1="), 401),
        (format!("t={now}"), 401),
        ("v1=00".to_owned(), 401),
        ("t=x,v1=00".to_owned(), 401),
        (String::new(), 401),
    ] {
        let post = reqwest::Client::new()
            .post(format!("http://{}/", example.address))
            .header("x-ratelimiterd-signature", &signature)
            .body(body.clone());
        assert_eq!(post.send().await.expect("an answer").status(), status, "{signature}");
    }
}
