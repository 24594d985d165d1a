//! The webhook of alerts over TLS.

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::super::alerts::{put_limit, take, write_secret};
use super::*;

/// A receiver that answers 204 to each request; the head of each. A client that does not trust it leaves no head.
async fn receiver(pair: &Pair) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a pair")));
    let listener = tokio::net::TcpListener::bind(LOOPBACK).await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let (heads, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4_096];
            let length = stream.read(&mut head).await.unwrap_or(0);
            heads.send(String::from_utf8_lossy(&head[..length]).into_owned()).ok();
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.ok();
            stream.shutdown().await.ok();
        }
    });
    (port, received)
}

fn service(folder: &Path, port: u16, authority: &Authority) -> Server {
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, authority.0.pem()).expect("it is written");
    let mut command = program(folder);
    command
        .env("RATELIMITERD_ALERTS_WEBHOOK_URL", format!("https://localhost:{port}/hook"))
        .env("RATELIMITERD_ALERTS_WEBHOOK_SECRET_PATH", write_secret(folder))
        .env("RATELIMITERD_ALERTS_WEBHOOK_CA_PATH", ca)
        .env("RATELIMITERD_ALERTS_WEBHOOK_RETRY_MS", "10")
        .env("RATELIMITERD_ALERTS_WEBHOOK_ATTEMPTS_MAX", "2")
        .env("RATELIMITERD_ALERTS_LOOK_INTERVAL_MS", "100");
    Server::start_by(command)
}

#[tokio::test]
async fn events_are_posted_to_a_receiver_of_a_trusted_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    let (port, mut heads) = receiver(&authority.sign("receiver")).await;
    let server = service(folder.path(), port, &authority);
    put_limit(&server).await;
    take(&server, 50).await;
    let head = tokio::time::timeout(SOON, heads.recv()).await.expect("an event").expect("it runs");
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn no_event_is_posted_to_a_receiver_of_another_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let (authority, another) = (Authority::new("authority"), Authority::new("another"));
    let (port, mut heads) = receiver(&another.sign("receiver")).await;
    let server = service(folder.path(), port, &authority);
    put_limit(&server).await;
    take(&server, 50).await;
    crate::fixtures::eventually("it gives up", SOON, || async {
        let text = reqwest::get(server.url("/metrics")).await.expect("an answer").text().await.expect("text");
        text.contains("ratelimiterd_alert_events_total{outcome=\"gave_up\"} 1")
    })
    .await;
    assert!(heads.try_recv().is_err(), "it was sent nothing");
}
