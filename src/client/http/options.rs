//! How calls over HTTP are made.

use std::time::Duration;

use super::BearerToken;
#[cfg(feature = "client-tls")]
use crate::tls::TlsOptions;

/// How calls over HTTP are made.
///
/// ```
/// use std::time::Duration;
///
/// use ledger_limiter::client::{Http, HttpOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = HttpOptions::default().request_timeout(Duration::from_secs(2)).requests_max(64);
/// let http = Http::with_options("http://127.0.0.1:8080", options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    pub(super) request_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) requests_max: usize,
    pub(super) batch_items_max: usize,
    pub(super) waits_max: usize,
    pub(super) token: Option<BearerToken>,
    #[cfg(feature = "client-tls")]
    pub(super) tls: TlsOptions,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(60),
            requests_max: 256,
            batch_items_max: 256,
            waits_max: 64,
            token: None,
            #[cfg(feature = "client-tls")]
            tls: TlsOptions::default(),
        }
    }
}

impl HttpOptions {
    /// Sets how long one attempt may take, with waiting for its turn and connecting. 5 s by default.
    #[must_use]
    pub fn request_timeout(self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self }
    }

    /// Sets how long connecting may take, with the handshake of TLS. 1 s by default.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets how long an unused connection stays open. 60 s by default.
    #[must_use]
    pub fn idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }

    /// Sets the most requests at a time; others wait for their turn. At least 1; 256 by default.
    #[must_use]
    pub fn requests_max(self, requests_max: usize) -> Self {
        Self { requests_max, ..self }
    }

    /// Sets the most items in one batch request; larger batches are sent in pieces. At least 1, and at most what the
    /// service takes, which is 256 by default on both sides.
    #[must_use]
    pub fn batch_items_max(self, batch_items_max: usize) -> Self {
        Self { batch_items_max, ..self }
    }

    /// Sets the most reserves that wait for room at the service at a time, each on a connection of its own beside those of
    /// [`requests_max`](Self::requests_max). Others ask again and again. 64 by default; 0 lets none wait there.
    #[must_use]
    pub fn waits_max(self, waits_max: usize) -> Self {
        Self { waits_max, ..self }
    }

    /// Sets the token that each request carries. None by default.
    ///
    /// Without TLS, whoever reads the network reads the token.
    #[must_use]
    pub fn token(self, token: BearerToken) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Sets whom the client trusts and the certificate that it shows, for `https` URLs.
    ///
    /// ```no_run
    /// use ledger_limiter::client::{Http, HttpOptions, TlsOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = TlsOptions::default().ca_file("ca.pem").certificate("client.pem", "client.key");
    /// let http = Http::with_options("https://limits.example.com:8443", HttpOptions::default().tls(tls))?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "client-tls")]
    #[must_use]
    pub fn tls(self, tls: TlsOptions) -> Self {
        Self { tls, ..self }
    }
}
