//! TLS for the server of the tests of the client library.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// The server's side of TLS. Its certificate is of `localhost` and signs itself.
pub struct Tls {
    acceptor: TlsAcceptor,
    folder: tempfile::TempDir,
}

impl Tls {
    pub fn new() -> Self {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![signed.cert.der().clone()], key).expect("a pair");
        let folder = tempfile::tempdir().expect("a folder");
        let tls = Self { acceptor: TlsAcceptor::from(Arc::new(config)), folder };
        std::fs::write(tls.ca_file(), signed.cert.pem()).expect("it is written");
        tls
    }

    /// The file of the certificate that clients must trust.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}
