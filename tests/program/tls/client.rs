//! The client library over TLS: whom it trusts, and the certificate that it shows.

use ledger_limiter::client::{
    AttemptResult, ErrorKind, Http, HttpOptions, Requirements, TlsOptions, Transport,
};
use ledger_limiter::telemetry::with_sources;

use super::*;

/// A running service with TLS, and the files of its clients.
struct World {
    server: Server,
    authority: Authority,
    files: Files,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(client_certificates: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("authority");
        let files = Files::write(folder.path(), &authority.sign("service"));
        files.replace("ca.pem", &authority.0.pem());
        let mut command = command(folder.path());
        command.env("RATELIMITERD_TLS_CLIENT_CERTIFICATES", client_certificates);
        command
            .env("RATELIMITERD_TLS_CLIENT_CA_PATH", if client_certificates == "off" { "" } else { "ca.pem" });
        let limits = json!([{
            "definition": { "key": "rpm", "kind": "rolling", "capacity": 100, "window_seconds": 60 },
            "status": "active", "pending_decrease_to": 0,
        }]);
        std::fs::write(folder.path().join("registry.json"), limits.to_string()).expect("it is written");
        Self { server: Server::start_by(command), authority, files, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tls(&self) -> TlsOptions {
        TlsOptions::default().ca_file(self.path("ca.pem"))
    }

    fn url(&self, host: &str) -> String {
        let port = self.server.address.rsplit(':').next().expect("a port");
        format!("https://{host}:{port}")
    }

    /// Makes one attempt to reserve; an error is all that the library says of it.
    async fn reserve(&self, host: &str, tls: TlsOptions) -> Result<(), String> {
        let http = Http::with_options(&self.url(host), HttpOptions::default().tls(tls));
        reserve_by(&http.map_err(|error| with_sources(&error))?).await
    }
}

async fn reserve_by(http: &Http) -> Result<(), String> {
    let wants = Requirements::new([("rpm", 1)]).expect("valid");
    match http.reserve(&wants.attempt()).await {
        Ok(AttemptResult::Granted { .. }) => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(with_sources(&error)),
    }
}

#[tokio::test]
async fn the_library_calls_a_service_whose_certificate_it_trusts() {
    let world = World::start("off").await;
    assert_eq!(world.reserve("localhost", world.tls()).await, Ok(()));

    world.files.replace("other.pem", &Authority::new("another one").0.pem());
    let error = world.reserve("localhost", TlsOptions::default().ca_file(world.path("other.pem"))).await;
    assert!(error.as_ref().is_err_and(|error| error.contains("UnknownIssuer")), "{error:?}");
    let error = world.reserve("127.0.0.1", world.tls()).await;
    assert!(error.as_ref().is_err_and(|error| error.contains("not valid for name")), "{error:?}");
    let error = world.reserve("localhost", TlsOptions::default()).await;
    assert!(error.is_err(), "the system does not trust it, or has nobody to trust");
}

#[tokio::test]
async fn the_library_shows_its_certificate() {
    let world = World::start("required").await;
    let pair = world.authority.sign("caller");
    world.files.replace("caller.pem", &pair.certificate);
    world.files.replace("caller.key", &pair.key);
    let with_certificate = world.tls().certificate(world.path("caller.pem"), world.path("caller.key"));
    assert_eq!(world.reserve("localhost", with_certificate).await, Ok(()));
    let error = world.reserve("localhost", world.tls()).await;
    assert!(error.as_ref().is_err_and(|error| error.contains("CertificateRequired")), "{error:?}");

    let stranger = Authority::new("another one").sign("caller");
    world.files.replace("stranger.pem", &stranger.certificate);
    world.files.replace("stranger.key", &stranger.key);
    let of_a_stranger = world.tls().certificate(world.path("stranger.pem"), world.path("stranger.key"));
    let error = world.reserve("localhost", of_a_stranger).await;
    assert!(error.as_ref().is_err_and(|error| error.contains("alert")), "{error:?}");
}

#[tokio::test]
async fn the_library_refuses_a_certificate_that_has_expired() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("valid");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &authority.0).expect("signed").pem();
    let files = Files::write(folder.path(), &Pair { certificate, key: key.serialize_pem() });
    files.replace("ca.pem", &authority.0.pem());
    let server = Server::start_by(command(folder.path()));
    let tls = TlsOptions::default().ca_file(folder.path().join("ca.pem"));
    let url = server.address.replace("127.0.0.1", "https://localhost");
    let http = Http::with_options(&url, HttpOptions::default().tls(tls)).expect("the file is good");
    let error = reserve_by(&http).await;
    assert!(error.as_ref().is_err_and(|error| error.contains("expired")), "{error:?}");
}

#[tokio::test]
async fn a_client_goes_on_when_the_certificate_of_the_service_is_replaced() {
    let world = World::start("off").await;
    let renewed_by = Authority::new("new authority");
    world.files.replace("ca.pem", &(world.authority.0.pem() + &renewed_by.0.pem()));
    let url = world.url("localhost");
    let client = |tls, idle_timeout| {
        let options = HttpOptions::default().tls(tls).idle_timeout(idle_timeout);
        Http::with_options(&url, options).expect("the files are good")
    };
    // One client keeps its connection; the other opens one for each call, so that it sees the new certificate.
    let keeps = client(world.tls(), Duration::from_secs(60));
    let reconnects = client(world.tls(), Duration::from_millis(1));
    assert_eq!(reserve_by(&keeps).await, Ok(()));
    assert_eq!(reserve_by(&reconnects).await, Ok(()));

    let pair = renewed_by.sign("renewed");
    world.files.replace("key.pem", &pair.key);
    world.files.replace("certificate.pem", &pair.certificate);
    world.files.replace("new.pem", &renewed_by.0.pem());
    let trusts_the_new_one_only = TlsOptions::default().ca_file(world.path("new.pem"));
    let started = Instant::now();
    while reserve_by(&client(trusts_the_new_one_only.clone(), SOON)).await.is_err() {
        assert!(started.elapsed() < SOON, "the new certificate is used");
        assert_eq!(reserve_by(&reconnects).await, Ok(()), "while the files change");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    assert_eq!(reserve_by(&reconnects).await, Ok(()), "a new connection");
    assert_eq!(reserve_by(&keeps).await, Ok(()), "the connection of before");
    world.files.replace("old.pem", &world.authority.0.pem());
    let trusts_the_old_one_only = TlsOptions::default().ca_file(world.path("old.pem"));
    let error = reserve_by(&client(trusts_the_old_one_only, SOON)).await;
    assert!(error.as_ref().is_err_and(|error| error.contains("UnknownIssuer")), "{error:?}");
}

#[tokio::test]
async fn a_handshake_without_an_answer_ends_after_the_time_to_connect() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, Authority::new("authority").0.pem()).expect("it is written");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", silent.local_addr().expect("it is bound"));
    let options = HttpOptions::default()
        .tls(TlsOptions::default().ca_file(authority))
        .connect_timeout(Duration::from_millis(100))
        .request_timeout(Duration::from_secs(60));
    let http = Http::with_options(&url, options).expect("the file is good");
    let call = tokio::time::timeout(SOON, reserve_by(&http));
    let error = call.await.expect("it ends before the time of the request");
    assert!(error.is_err(), "{error:?}");
    // The connection is closed, and not kept for a caller that has gone.
    let (mut stream, _) = silent.accept().await.expect("a connection");
    let mut hello = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut hello)).await.expect("it is closed").ok();
}

#[test]
fn a_bad_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    std::fs::write(&empty, "").expect("it is written");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, Authority::new("authority").0.pem()).expect("it is written");
    let trusts = TlsOptions::default().ca_file(&authority);
    let other_key = folder.path().join("other.key");
    std::fs::write(&other_key, Authority::new("another one").sign("caller").key).expect("it is written");
    for (tls, name, kind) in [
        (TlsOptions::default().ca_file(&missing), "missing.pem: no certificate", ErrorKind::File),
        (TlsOptions::default().ca_file(&empty), "empty.pem: no certificate", ErrorKind::File),
        (trusts.clone().certificate(&missing, &missing), "missing.pem: no certificate", ErrorKind::File),
        (TlsOptions::default().ca_file(&other_key), "other.key: no certificate", ErrorKind::File),
        (trusts.clone().certificate(&authority, &empty), "empty.pem: no private key", ErrorKind::File),
        (
            trusts.certificate(&authority, &other_key),
            "ca.pem: the certificate or key cannot be used",
            ErrorKind::InvalidRequest,
        ),
    ] {
        let made = Http::with_options("https://localhost:1", HttpOptions::default().tls(tls.clone()));
        let error = made.err().expect("a bad file");
        assert_eq!(error.kind(), kind, "{name}");
        let error = with_sources(&error);
        assert!(error.contains(name) && !error.contains("PRIVATE KEY"), "{error}");
        // Without TLS the files are not read.
        assert!(Http::with_options("http://localhost:1", HttpOptions::default().tls(tls)).is_ok());
    }
}

#[cfg(feature = "loadtest")]
#[tokio::test]
async fn the_load_generator_calls_a_service_over_tls() {
    let world = World::start("required").await;
    let pair = world.authority.sign("caller");
    world.files.replace("caller.pem", &pair.certificate);
    world.files.replace("caller.key", &pair.key);
    world.files.replace("other.pem", &Authority::new("another one").0.pem());
    let run = async |flags: &str| {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_ratelimiter-loadtest"))
            .args(["--target", &world.url("localhost"), "--concurrency", "2"])
            .args(["--duration", "200ms", "--warmup", "10ms"])
            .args(flags.split_whitespace())
            .current_dir(world.folder.path())
            .output()
            .await
            .expect("it runs")
    };
    let shows = "--client-certificate caller.pem --client-key caller.key";
    let output = run(&format!("--ca-file ca.pem --json report.json {shows}")).await;
    assert!(output.status.success(), "{output:?}");
    let report = std::fs::read(world.path("report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert!(report["granted"].as_u64() > Some(0) && report["errors"] == 0, "{report}");
    for (flags, told) in [
        ("--ca-file ca.pem".to_owned(), "CertificateRequired"),
        (format!("--ca-file key.pem {shows}"), "key.pem"),
        (format!("--ca-file other.pem {shows}"), "UnknownIssuer"),
    ] {
        let output = run(&flags).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(told), "{flags}: {error}");
    }
}
