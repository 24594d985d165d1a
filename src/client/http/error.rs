//! Why a transport over HTTP cannot be built.

use crate::client::ErrorKind;
#[cfg(feature = "client-tls")]
use crate::tls::TlsOptionsError;

/// Why a transport over HTTP cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address is not a URL.
    #[error("{url:?} is not a URL")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        source: hyper::http::uri::InvalidUri,
    },
    /// The URL does not have the form `http://HOST:PORT` or `https://HOST:PORT`.
    #[error("{0:?} must be of the form http://HOST:PORT or https://HOST:PORT, without a query")]
    Form(String),
    /// The files for TLS cannot be used.
    #[cfg(feature = "client-tls")]
    #[error("TLS cannot be used")]
    Tls(#[from] TlsOptionsError),
    /// This build has no TLS.
    #[cfg(not(feature = "client-tls"))]
    #[error("{0:?} needs the feature client-tls")]
    NoTls(String),
    /// An option of this name is 0, so nothing could ever be sent.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

impl HttpError {
    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            #[cfg(feature = "client-tls")]
            Self::Tls(TlsOptionsError::File { .. }) => ErrorKind::File,
            #[cfg(feature = "client-tls")]
            Self::Tls(
                TlsOptionsError::Unusable { .. }
                | TlsOptionsError::NoRoots { .. }
                | TlsOptionsError::Library(_),
            ) => ErrorKind::InvalidRequest,
            #[cfg(not(feature = "client-tls"))]
            Self::NoTls(_) => ErrorKind::InvalidRequest,
            Self::Url { .. } | Self::Form(_) | Self::Zero(_) => ErrorKind::InvalidRequest,
        }
    }
}
