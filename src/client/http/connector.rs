//! Opens connections for `http` and `https` URLs.

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::tls::{TlsOptions, TlsOptionsError, trusting_nobody};

pub(super) type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;

/// A connector that gives a connection, with its TLS handshake, `timeout`. Files are read only for an `https` URL.
pub(super) fn connector(
    mut http: HttpConnector,
    is_https: bool,
    options: &TlsOptions,
    timeout: Duration,
) -> Result<Connector, TlsOptionsError> {
    // It would refuse `https` URLs.
    http.enforce_http(false);
    let config = if is_https { options.config()? } else { trusting_nobody()? };
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    // The time-out of `HttpConnector` ends with TCP. A peer that accepts and says nothing would then hold a connection
    // for as long as it likes, also after its caller has given up.
    let mut connector = TimeoutConnector::new(https);
    connector.set_connect_timeout(Some(timeout));
    Ok(connector)
}
