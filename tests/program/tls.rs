//! TLS: certificates of the service and of its clients, and their change while the service runs.

#[cfg(feature = "client-tls")]
mod client;
#[cfg(feature = "cli")]
mod limits;
mod probe;
#[cfg(feature = "client-tls")]
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::bounds::{SHORT_MS, SOON};
use super::*;

type AsyncStream = tokio::net::TcpStream;

/// An authority of certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed"))
    }

    fn sign(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// What a client that trusts this authority uses.
    fn client(&self, own: Option<&Pair>) -> TlsConnector {
        self.client_of(own, &[b"http/1.1"])
    }

    fn client_of(&self, own: Option<&Pair>, protocols: &[&[u8]]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("valid");
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

/// The files of a service.
struct Files(PathBuf);

impl Files {
    fn write(folder: &Path, pair: &Pair) -> Self {
        let files = Self(folder.to_owned());
        files.replace("certificate.pem", &pair.certificate);
        files.replace("key.pem", &pair.key);
        files
    }

    /// Replaces a file at once, as orchestrators do.
    fn replace(&self, name: &str, content: &str) {
        let temporary = self.0.join(format!("{name}.new"));
        std::fs::write(&temporary, content).expect("it is written");
        std::fs::rename(temporary, self.0.join(name)).expect("it is renamed");
    }
}

fn command(folder: &Path) -> Command {
    let mut command = program(folder);
    command.env("RATELIMITERD_TLS_CERTIFICATE_PATH", "certificate.pem");
    command.env("RATELIMITERD_TLS_KEY_PATH", "key.pem");
    command
}

async fn connect(server: &Server, client: &TlsConnector) -> std::io::Result<TlsStream<AsyncStream>> {
    let stream = AsyncStream::connect(&server.address).await?;
    client.connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

/// The answer to `GET /healthz` on a connection of its own.
async fn health(server: &Server, client: &TlsConnector) -> std::io::Result<String> {
    let mut stream = connect(server, client).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn assert_healthy(server: &Server, client: &TlsConnector) {
    let answer = health(server, client).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}

#[tokio::test]
async fn http1_and_http2_are_served_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("ours");
    Files::write(folder.path(), &authority.sign("service"));
    let server = Server::start_by(command(folder.path()));
    assert_healthy(&server, &authority.client(None)).await;
    let client = authority.client_of(None, &[b"h2", b"http/1.1"]);
    let stream = connect(&server, &client).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/healthz").body(()).expect("a request");
    let (answer, _) = send.ready().await.expect("open").send_request(request, true).expect("it is sent");
    assert_eq!(answer.await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_refuses_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    Files::write(folder.path(), &Authority::new("ours").sign("service"));
    let server = Server::start_by(command(folder.path()));
    assert!(health(&server, &Authority::new("another").client(None)).await.is_err());
}

#[tokio::test]
async fn plain_http_and_old_versions_of_tls_are_refused_and_harm_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("ours");
    Files::write(folder.path(), &authority.sign("service"));
    let server = Server::start_by(command(folder.path()));
    // A hello of TLS 1.1 with one cipher suite, signature and curve, as an old client sends it.
    let mut hello = vec![0x16, 3, 1, 0, 63, 1, 0, 0, 59, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    hello.extend([0, 16, 0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23]);
    for (sent, answer) in [
        (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), None),
        // The alert "protocol version".
        (hello, Some(70)),
    ] {
        let mut stream = AsyncStream::connect(&server.address).await.expect("it listens");
        stream.write_all(&sent).await.expect("it is sent");
        let mut read = Vec::new();
        let reading = tokio::time::timeout(SOON, stream.read_to_end(&mut read)).await;
        reading.expect("the connection ends").ok();
        assert!(!read.starts_with(b"HTTP"), "{read:?}");
        if let Some(answer) = answer {
            assert_eq!((read.first(), read.last()), (Some(&0x15), Some(&answer)), "{read:?}");
        }
    }
    assert_healthy(&server, &authority.client(None)).await;
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_the_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("ours");
    Files::write(folder.path(), &authority.sign("service"));
    let mut command = command(folder.path());
    command.env("RATELIMITERD_CONNECTIONS_HANDSHAKE_TIMEOUT_MS", SHORT_MS);
    let server = Server::start_by(command);
    for sent in [&b""[..], &[0x16, 3, 1, 2]] {
        let mut stream = AsyncStream::connect(&server.address).await.expect("it listens");
        stream.write_all(sent).await.expect("it is sent");
        let read = tokio::time::timeout(SOON, stream.read(&mut [0; 64])).await.expect("it is closed");
        assert_eq!(read.unwrap_or(0), 0);
    }
    assert_healthy(&server, &authority.client(None)).await;
}

#[tokio::test]
async fn a_required_certificate_of_clients_must_be_shown_and_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, clients, another) =
        (Authority::new("ours"), Authority::new("clients"), Authority::new("another"));
    let files = Files::write(folder.path(), &ours.sign("service"));
    files.replace("clients.pem", &clients.0.pem());
    for (setting, without_is_served) in [("required", false), ("optional", true)] {
        let mut command = command(folder.path());
        command.env("RATELIMITERD_TLS_CLIENT_CA_PATH", "clients.pem");
        command.env("RATELIMITERD_TLS_CLIENT_CERTIFICATES", setting);
        let server = Server::start_by(command);
        let is_served = async |own: Option<&Pair>| {
            health(&server, &ours.client(own)).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        };
        assert!(is_served(Some(&clients.sign("gateway"))).await, "{setting}");
        assert!(!is_served(Some(&another.sign("gateway"))).await, "{setting}");
        assert_eq!(is_served(None).await, without_is_served, "{setting}");
    }
}

#[tokio::test]
async fn a_certificate_of_a_client_gives_the_scopes_of_its_entry() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let files = Files::write(folder.path(), &ours.sign("service"));
    files.replace("clients.pem", &clients.0.pem());
    let entry = |name: &str, scopes: &str| {
        format!("[[certificate]]\nname = '{name}'\nsubject = 'CN:{name}'\nscopes = {scopes}\n")
    };
    files.replace(
        "certificates.toml",
        &(entry("operator", "['admin', 'read']") + &entry("scraper", "['metrics']")),
    );
    let mut command = command(folder.path());
    command.env("RATELIMITERD_TLS_CLIENT_CA_PATH", "clients.pem");
    command.env("RATELIMITERD_TLS_CLIENT_CERTIFICATES", "optional");
    command.env("RATELIMITERD_AUTH_CERTIFICATES_PATH", "certificates.toml");
    let server = Server::start_by(command);
    let status = async |path: &str, name: Option<&str>| {
        let own = name.map(|name| clients.sign(name));
        let mut stream = connect(&server, &ours.client(own.as_ref())).await.expect("a handshake");
        let address = &server.address;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer["HTTP/1.1 ".len()..][..3].parse::<u16>().expect("a status")
    };
    for (name, limits, metrics) in [
        (Some("operator"), 200, 403),
        (Some("scraper"), 403, 200),
        (Some("stranger"), 401, 401),
        (None, 401, 401),
    ] {
        assert_eq!(status("/v1/admin/limits", name).await, limits, "{name:?}");
        assert_eq!(status("/metrics", name).await, metrics, "{name:?}");
        assert_eq!(status("/healthz", name).await, 200, "{name:?}");
    }
    files.replace("certificates.toml", &entry("operator", "['metrics']"));
    let started = Instant::now();
    while status("/metrics", Some("operator")).await != 200 {
        assert!(started.elapsed() < SOON, "the changed file is used");
    }
    assert_eq!(status("/metrics", Some("scraper")).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_under_load_and_no_request_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::write(folder.path(), &old.sign("service"));
    let server = Arc::new(Server::start_by(command(folder.path())));
    let mut both = RootCertStore::empty();
    for authority in [&old, &new] {
        both.add(authority.0.der().clone()).expect("valid");
    }
    let config = ClientConfig::builder().with_root_certificates(both).with_no_client_auth();
    let client = TlsConnector::from(Arc::new(config));
    let (is_done, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (server, client) = (Arc::clone(&server), client.clone());
            let (is_done, requests) = (Arc::clone(&is_done), Arc::clone(&requests));
            tokio::spawn(async move {
                while !is_done.load(Ordering::Relaxed) {
                    assert_healthy(&server, &client).await;
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut kept = connect(&server, &client).await.expect("a handshake");
    let pair = new.sign("service");
    files.replace("certificate.pem", &pair.certificate);
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_healthy(&server, &old.client(None)).await;
    files.replace("key.pem", &pair.key);
    let started = Instant::now();
    while health(&server, &new.client(None)).await.is_err() {
        assert!(started.elapsed() < SOON, "the new certificate is used");
    }
    assert!(health(&server, &old.client(None)).await.is_err());
    is_done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("every request is answered");
    }
    assert!(requests.load(Ordering::Relaxed) > 100);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it is open");
    assert!(kept.read(&mut [0; 64]).await.expect("an answer") > 0);
}

#[tokio::test]
async fn a_bad_certificate_is_logged_once_and_the_last_good_one_stays_until_it_is_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("ours");
    let pair = authority.sign("service");
    let files = Files::write(folder.path(), &pair);
    let (server, log) = Server::spawn(command(folder.path()), "info", LOOPBACK);
    for content in ["", "no PEM", &authority.sign("another").certificate] {
        files.replace("certificate.pem", content);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_healthy(&server, &authority.client(None)).await;
    }
    std::fs::remove_file(folder.path().join("certificate.pem")).expect("it is removed");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_healthy(&server, &authority.client(None)).await;
    files.replace("certificate.pem", &pair.certificate);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.send_sigterm();
    let levels: Vec<String> = log
        .filter(|line| line["target"].as_str().is_some_and(|target| target.contains("tls")))
        .map(|line| line["level"].as_str().expect("a level").to_owned())
        .collect();
    assert_eq!(levels, ["ERROR", "ERROR", "ERROR", "ERROR", "INFO"]);
}

#[tokio::test]
async fn a_hangup_reads_the_files_again_and_does_not_stop_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("ours");
    Files::write(folder.path(), &authority.sign("service"));
    let (server, mut log) = Server::spawn(command(folder.path()), "info", LOOPBACK);
    server.send_signal("HUP");
    let line =
        log.find(|line| line["fields"]["message"].as_str().is_some_and(|text| text.starts_with("SIGHUP")));
    assert!(line.is_some());
    assert_healthy(&server, &authority.client(None)).await;
}

#[test]
fn files_that_cannot_be_used_stop_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("ours");
    let (pair, another) = (authority.sign("service"), authority.sign("another"));
    let files = Files::write(folder.path(), &pair);
    let variables =
        [("RATELIMITERD_TLS_CERTIFICATE_PATH", "certificate.pem"), ("RATELIMITERD_TLS_KEY_PATH", "key.pem")];
    let serve = ["serve", "--server-backend", "memory", "--server-listen-addr", "127.0.0.1:0"];
    for (certificate, key, expected) in [
        ("", &*pair.key, "certificate.pem: no certificate can be read from it"),
        (&*pair.certificate, "", "key.pem: no private key can be read from it"),
        (&*pair.certificate, &*another.key, "certificate.pem: the certificate cannot be used with the key"),
    ] {
        files.replace("certificate.pem", certificate);
        files.replace("key.pem", key);
        let error = error_of(folder.path(), &serve, &variables);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("PRIVATE KEY"), "{error}");
    }
}

#[tokio::test]
async fn pipelined_requests_of_a_client_that_hangs_up_are_carried_out_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("ours");
    Files::write(folder.path(), &authority.sign("service"));
    let server = Server::start_by(command(folder.path()));
    let client = authority.client(None);
    let mut puts = String::new();
    for index in 0..20 {
        let limit =
            json!({ "key": format!("limit-{index}"), "kind": "rolling", "capacity": 1, "window_seconds": 1 });
        puts.push_str(&bounds::put_limit(&limit));
    }
    let mut stream = connect(&server, &client).await.expect("a handshake");
    stream.write_all(puts.as_bytes()).await.expect("it is sent");
    stream.flush().await.expect("it is sent");
    // Without a word of TLS.
    drop(stream);
    let started = Instant::now();
    loop {
        let mut stream = connect(&server, &client).await.expect("a handshake");
        stream
            .write_all(b"GET /v1/admin/limits HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        if answer.matches("\"key\":\"limit-").count() == 20 {
            return;
        }
        assert!(started.elapsed() < SOON, "{answer}");
    }
}
