//! The probe over TLS: whom it trusts, which name it asks for, and the certificate that it shows.

use super::*;

/// Runs the probe with flags in the folder; its error, if it fails.
fn probe(folder: &Path, address: &str, flags: &str) -> Result<(), String> {
    probe_by(program(folder), address, flags)
}

fn probe_by(mut command: Command, address: &str, flags: &str) -> Result<(), String> {
    let output = command.args(["probe", "--address", address]).args(flags.split_whitespace()).output();
    let output = output.expect("it runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Whether a probe failed with an error that says this.
fn assert_tells(result: Result<(), String>, error: &str) {
    let told = result.expect_err(error);
    assert!(told.contains(error), "{error}: {told}");
}

#[test]
fn the_probe_asks_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    let files = Files::write(folder.path(), &authority.sign("service"));
    files.replace("ca.pem", &authority.0.pem());
    files.replace("other.pem", &Authority::new("another one").0.pem());
    let server = Server::start_by(command(folder.path()));
    let by_name = server.address.replace("127.0.0.1", "localhost");
    let by_number = server.address.as_str();
    for (address, flags, error) in [
        (by_name.as_str(), "--ca-file ca.pem", None),
        // As a health check inside the container asks.
        (by_number, "--ca-file ca.pem --server-name localhost", None),
        (by_number, "--ca-file ca.pem", Some("not valid for name")),
        (&by_name, "--ca-file ca.pem --server-name limits.example.com", Some("not valid for name")),
        (&by_name, "--ca-file other.pem", Some("UnknownIssuer")),
        (&by_name, "--ca-file none.pem", Some("none.pem: no certificate")),
        (&by_name, "--ca-file key.pem", Some("key.pem: no certificate")),
        (&by_name, "--ca-file ca.pem --server-name a..b", Some("\"a..b\" is not a name")),
        (&by_name, "--client-key key.pem", Some("--client-certificate")),
        (&by_name, "", Some("does not answer in HTTP; if it speaks TLS, use --tls")),
    ] {
        let result = probe(folder.path(), address, flags);
        match error {
            None => assert_eq!(result, Ok(()), "{flags}"),
            Some(error) => assert_tells(result, error),
        }
    }
}

#[test]
fn the_probe_shows_a_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    let files = Files::write(folder.path(), &authority.sign("service"));
    let pair = authority.sign("health check");
    for (name, content) in
        [("ca.pem", &authority.0.pem()), ("probe.pem", &pair.certificate), ("probe.key", &pair.key)]
    {
        files.replace(name, content);
    }
    let mut command = command(folder.path());
    command.env("RATELIMITERD_TLS_CLIENT_CA_PATH", "ca.pem");
    command.env("RATELIMITERD_TLS_CLIENT_CERTIFICATES", "required");
    let server = Server::start_by(command);
    let trusts = "--ca-file ca.pem --server-name localhost";
    let shows = format!("{trusts} --client-certificate probe.pem --client-key probe.key");
    assert_eq!(probe(folder.path(), &server.address, &shows), Ok(()));
    assert_tells(probe(folder.path(), &server.address, trusts), "CertificateRequired");
}

#[test]
fn the_probe_trusts_the_certificates_of_the_system() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("authority");
    let files = Files::write(folder.path(), &authority.sign("service"));
    files.replace("system.pem", &authority.0.pem());
    let server = Server::start_by(command(folder.path()));
    let probe = |system: &str| {
        let mut command = program(folder.path());
        command.env("SSL_CERT_FILE", system);
        probe_by(command, &server.address, "--tls --server-name localhost")
    };
    assert_eq!(probe("system.pem"), Ok(()));
    assert_tells(probe("none.pem"), "no root certificate was found on this machine");
    assert_tells(probe("none.pem"), "none.pem");
}
