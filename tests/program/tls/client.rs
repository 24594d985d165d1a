//! The client library over TLS: whom it trusts, and the certificate that it shows.

use ledger_limiter::client::{AttemptResult, Http, HttpOptions, Requirements, TlsOptions, Transport};
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

    /// Makes one attempt to reserve; an error is all that the library says of it.
    async fn reserve(&self, host: &str, tls: TlsOptions) -> Result<(), String> {
        let port = self.server.address.rsplit(':').next().expect("a port");
        let http = Http::with_options(&format!("https://{host}:{port}"), HttpOptions::default().tls(tls));
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
    assert!(error.as_ref().is_err_and(|error| error.contains("certificate")), "another name: {error:?}");
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
    assert!(world.reserve("localhost", world.tls()).await.is_err(), "without one");
}

#[tokio::test]
async fn a_client_goes_on_when_the_certificate_of_the_service_is_replaced() {
    let world = World::start("off").await;
    let url = format!("https://localhost:{}", world.server.address.rsplit(':').next().expect("a port"));
    // No connection is used twice for long, so that the new certificate is seen.
    let options = HttpOptions::default().tls(world.tls()).idle_timeout(Duration::from_millis(1));
    let http = Http::with_options(&url, options).expect("the files are good");
    assert_eq!(reserve_by(&http).await, Ok(()));
    let pair = world.authority.sign("renewed");
    world.files.replace("key.pem", &pair.key);
    world.files.replace("certificate.pem", &pair.certificate);
    for _ in 0..20 {
        assert_eq!(reserve_by(&http).await, Ok(()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_bad_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    std::fs::write(&empty, "").expect("it is written");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, Authority::new("authority").0.pem()).expect("it is written");
    let trusts = TlsOptions::default().ca_file(&authority);
    for (tls, name) in [
        (TlsOptions::default().ca_file(&missing), "missing.pem: no certificate"),
        (TlsOptions::default().ca_file(&empty), "empty.pem: no certificate"),
        (trusts.clone().certificate(&missing, &missing), "missing.pem: no certificate"),
        (trusts.certificate(&authority, &empty), "empty.pem: no private key"),
    ] {
        let made = Http::with_options("https://localhost:1", HttpOptions::default().tls(tls.clone()));
        let error = with_sources(&made.err().expect("a bad file"));
        assert!(error.contains(name), "{error}");
        // Without TLS the files are not read.
        assert!(Http::with_options("http://localhost:1", HttpOptions::default().tls(tls)).is_ok());
    }
}

#[cfg(feature = "loadtest")]
#[tokio::test]
async fn the_load_generator_calls_a_service_over_tls() {
    let world = World::start("off").await;
    let target = world.server.address.replace("127.0.0.1", "https://localhost");
    let run = async |ca_file: &str| {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_ratelimiter-loadtest"))
            .args(["--target", &target, "--duration", "200ms", "--warmup", "10ms", "--concurrency", "2"])
            .args(["--ca-file", ca_file])
            .current_dir(world.folder.path())
            .output()
            .await
            .expect("it runs")
    };
    let output = run("ca.pem").await;
    assert!(output.status.success(), "{output:?}");
    for (ca_file, told) in [("key.pem", "key.pem"), ("other.pem", "UnknownIssuer")] {
        world.files.replace("other.pem", &Authority::new("another one").0.pem());
        let output = run(ca_file).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(told), "{error}");
    }
}
